package precondition

import (
	"net/http"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestOneRuleForDates: the Dates of a State decide If-Unmodified-Since (412), If-Modified-Since (304) and If-Range
// (206) alike, except that If-Range takes only the exact date.
func TestOneRuleForDates(t *testing.T) {
	at := func(second int64) time.Time { return time.Unix(second, 0).UTC() }
	dates := tree.DateRange{LastModified: at(10), Since: at(12), Ahead: []tree.Span{{First: 20, Last: 30}}}
	unproven := dates
	unproven.Earlier = at(10)
	unsure := unproven
	unsure.Unsure = true
	for _, r := range []struct {
		name  string
		dates tree.Dates
		date  int64
		want  tree.Truth
	}{
		{"its own date", dates, 10, tree.True},
		{"an earlier date", dates, 9, tree.False},
		{"a date after it came", dates, 13, tree.True},
		{"a date before it came", dates, 12, tree.False},
		{"a date of another version, ahead of the clock then", dates, 25, tree.False},
		{"its own date, which another version had", unproven, 10, tree.False},
		{"its own date, which another version had, or itself", unsure, 10, tree.Unknown},
		{"no date proves it", nil, 10, tree.False},
	} {
		t.Run(r.name, func(t *testing.T) {
			s := tree.State{Name: "f", Exists: true, Tag: `"f"`, Modified: at(10), Dates: r.dates}
			view := &fakeView{states: map[string]tree.State{"f": s}}
			date := at(r.date).Format(http.TimeFormat)
			want := map[tree.Truth]string{tree.True: "", tree.False: "412 If-Unmodified-Since f", tree.Unknown: "hash"}[r.want]
			if got := answer(parse(t, "f", "If-Unmodified-Since: "+date).Write(view)); got != want {
				t.Errorf("If-Unmodified-Since: %s, want %s", got, want)
			}
			want = map[tree.Truth]string{tree.True: "304", tree.False: "", tree.Unknown: "hash"}[r.want]
			if got := answer(parse(t, "f", "If-Modified-Since: "+date).Read(view)); got != want {
				t.Errorf("If-Modified-Since: %s, want %s", got, want)
			}
			if got := RangeApplies(headers("If-Range: "+date), s); got != (r.want == tree.True && r.date == 10) {
				t.Errorf("If-Range lets a part be sent: %v", got)
			}
		})
	}
}
