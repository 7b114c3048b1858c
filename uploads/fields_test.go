package uploads

import (
	"encoding/base64"
	"maps"
	"strings"
	"testing"
)

func TestParseMetadata(t *testing.T) {
	for field, want := range map[string]Metadata{
		"":                                 {},
		"filename bm90ZS50eHQ=":            {"filename": "note.txt"},
		"filename bm90ZS50eHQ=,mtime MQ==": {"filename": "note.txt", "mtime": "1"},
		"a MQ== ,  b":                      {"a": "1", "b": ""},
		"a ,b Mg==":                        {"a": "", "b": "2"},
		"a *":                              nil,
		"a MQ":                             nil,
		"a MQ==,a Mg==":                    nil,
		",":                                nil,
		"\xffe MQ==":                       nil,
		strings.Repeat("a", maxMetadata+1): nil,
	} {
		got, err := ParseMetadata(field)
		if (err == nil) != (want != nil) || want != nil && !maps.Equal(got, want) {
			t.Errorf("%.40q: %q, %v, want %q", field, got, err, want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for field, want := range map[string]int64{
		"0": 0, "12": 12, "012": 12, "9223372036854775807": 1<<63 - 1,
		"": -1, "-1": -1, "+1": -1, "1 ": -1, "1.0": -1, "0x1": -1, "1e3": -1, "9223372036854775808": -1,
	} {
		if got, err := ParseSize(field); (err == nil) != (want >= 0) || want >= 0 && got != want {
			t.Errorf("%q: %d, %v, want %d", field, got, err, want)
		}
	}
}

func TestParseChecksum(t *testing.T) {
	for field, good := range map[string]bool{
		"crc32 AAAAAA==":                     true,
		"md5 1B2M2Y8AsgTpgAmY7PhCfg==":       true,
		"sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=":  true,
		"sha1 AAAAAA==":                      false,
		"sha1":                               false,
		"":                                   false,
		"SHA1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=":  false,
		"sha1  2jmj7l5rSw0yVb/vlWAYkK/YBwk=": false,
	} {
		h, sum, err := ParseChecksum(field)
		if (err == nil) != good || good && len(sum) != h.Size() {
			t.Errorf("%q: %x, %v", field, sum, err)
		}
	}
}

// FuzzParseMetadata: what was parsed, and is written again, parses equal.
func FuzzParseMetadata(f *testing.F) {
	f.Add("filename bm90ZS50eHQ=,mtime MQ==,empty")
	f.Add("a ,b Mg==")
	f.Fuzz(func(t *testing.T, field string) {
		all, err := ParseMetadata(field)
		if err != nil {
			return
		}
		var pairs []string
		for key, value := range all {
			pairs = append(pairs, key+" "+base64.StdEncoding.EncodeToString([]byte(value)))
		}
		written := strings.Join(pairs, ",")
		if len(written) > maxMetadata { // spaces were trimmed, and others come
			return
		}
		if again, err := ParseMetadata(written); err != nil || !maps.Equal(again, all) {
			t.Errorf("%q is %q, and written again %q (%v)", field, all, again, err)
		}
	})
}

// FuzzParseChecksum: what was parsed has the size of its hash function, and another text is another sum.
func FuzzParseChecksum(f *testing.F) {
	f.Add("crc32 AAAAAA==")
	f.Add("sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=")
	f.Fuzz(func(t *testing.T, field string) {
		h, sum, err := ParseChecksum(field)
		if err != nil {
			return
		}
		name, _, _ := strings.Cut(field, " ")
		again, same, err := ParseChecksum(name + " " + base64.StdEncoding.EncodeToString(sum))
		if err != nil || again.Size() != h.Size() || string(same) != string(sum) {
			t.Errorf("%q: %x, and again %x (%v)", field, sum, same, err)
		}
	})
}
