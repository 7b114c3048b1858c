package byterange

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		about  string
		values []string
		want   []tree.Part // of 10 bytes (nil: ignored)
	}{
		{"none", nil, nil},
		{"one", []string{"bytes=0-4"}, []tree.Part{{Offset: 0, Length: 5}}},
		{"open", []string{"bytes=5-"}, []tree.Part{{Offset: 5, Length: 5}}},
		{"the last", []string{"bytes=-3"}, []tree.Part{{Offset: 7, Length: 3}}},
		{"more than the last", []string{"bytes=-30"}, []tree.Part{{Offset: 0, Length: 10}}},
		{"several, with white space and empty elements", []string{"bytes=0-0, ,2-3 ,-1"}, []tree.Part{{Offset: 0, Length: 1}, {Offset: 2, Length: 2}, {Offset: 9, Length: 1}}},
		{"the unit has no case (RFC 9110 §14.1)", []string{"Bytes=1-2"}, []tree.Part{{Offset: 1, Length: 2}}},
		{"longer than it is", []string{"bytes=8-30"}, []tree.Part{{Offset: 8, Length: 2}}},
		{"longer than any file", []string{"bytes=0-99999999999999999999999"}, []tree.Part{{Offset: 0, Length: 10}}},
		{"beyond the end", []string{"bytes=10-"}, []tree.Part{}},
		{"one of several beyond the end", []string{"bytes=0-0,10-11,2-3"}, []tree.Part{{Offset: 0, Length: 1}, {Offset: 2, Length: 2}}},
		{"the last none, which is beyond the end (RFC 9110 §14.1.2)", []string{"bytes=-0"}, []tree.Part{}},
		{"the last none among others", []string{"bytes=0-1,-0"}, []tree.Part{{Offset: 0, Length: 2}}},
		{"an unknown unit is ignored (RFC 9110 §14.2)", []string{"lines=1-2"}, nil},
		{"malformed: no unit", []string{"0-4"}, nil},
		{"malformed: no range", []string{"bytes="}, nil},
		{"malformed: no dash", []string{"bytes=4"}, nil},
		{"malformed: nothing but a dash", []string{"bytes=-"}, nil},
		{"malformed: backwards", []string{"bytes=4-2"}, nil},
		{"malformed: letters", []string{"bytes=a-b"}, nil},
		{"malformed: a sign", []string{"bytes=+1-2"}, nil},
		{"malformed: one of several", []string{"bytes=0-1,x"}, nil},
		{"in several lines, which it cannot be", []string{"bytes=0-1", "bytes=2-3"}, nil},
		{"too many to be meant well", []string{"bytes=" + strings.Repeat("0-0,", MaxParts+1)}, nil},
		{"more than all there is", []string{"bytes=0-5,3-"}, nil},
	} {
		got, ok := Parse(http.Header{"Range": tt.values}, 10)
		if ok != (tt.want != nil) || ok && len(got)+len(tt.want) > 0 && !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %q gives %v, %v, want %v", tt.about, tt.values, got, ok, tt.want)
		}
	}
}

func TestParseIgnoresRangesOfNothing(t *testing.T) {
	for _, value := range []string{"bytes=0-", "bytes=-1", "bytes=-5,0-0"} {
		if got, ok := Parse(http.Header{"Range": {value}}, 0); ok {
			t.Errorf("%q gives %v", value, got)
		}
	}
}
