package precondition

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func TestParseETagList(t *testing.T) {
	for value, want := range map[string]string{
		``:                      ``,
		`*`:                     `*`,
		` * , *,`:               `*`,
		`""`:                    `""`,
		`"a"`:                   `"a"`,
		`W/"a"`:                 `W/"a"`,
		`"a","b"`:               `"a", "b"`,
		",\t\"a\" ,, W/\"b\" ,": `"a", W/"b"`,
		`"a,b", "*"`:            `"a,b", "*"`,
		"\"\x80\xff!#~\"":       "\"\x80\xff!#~\"",
		`"\"`:                   `"\"`, // a backslash is a character like any other: entity tags have no escapes
	} {
		list, ok := parseETagList(value)
		if !ok || list.String() != want {
			t.Errorf("parseETagList(%q) = %q, %v, want %q", value, list, ok, want)
		}
	}
	for _, value := range []string{
		`a`, `"`, `"a`, `a"`, `W/`, `W/a`, `w/"a"`, `W/ "a"`, `W/W/"a"`, `"a""b"`, `"a" "b"`, `"a";"b"`, `**`, `* *`, `*"a"`,
		`*, "a"`, `"a", *`, `"a b"`, "\"a\tb\"", "\"a\x7f\"", "\"a\x00\"", "\"a\nb\"", `"a", b`, `'a'`, `"\""`,
	} {
		if list, ok := parseETagList(value); ok || !reflect.DeepEqual(list, etagList{}) {
			t.Errorf("parseETagList(%q) = %v, %v, want nothing", value, list, ok)
		}
	}
}

// The example table of RFC 9110 §8.8.3.2. The current tag is always strong here, so two of its rows remain.
func TestComparison(t *testing.T) {
	s := tree.State{Exists: true, Tag: `"1"`}
	for _, r := range []struct {
		tag          etag
		strong, weak tree.Truth
	}{
		{etag{true, `"1"`}, tree.False, tree.True},
		{etag{false, `"1"`}, tree.True, tree.True},
		{etag{true, `"2"`}, tree.False, tree.False},
		{etag{false, `"2"`}, tree.False, tree.False},
	} {
		if got := Strict.strong(r.tag, s); got != r.strong {
			t.Errorf("strong(%v, %v) = %v", r.tag, s.Tag, got)
		}
		if got := Strict.weak(r.tag, s); got != r.weak {
			t.Errorf("weak(%v, %v) = %v", r.tag, s.Tag, got)
		}
	}
}

// A tag as proxies change it matches only where Loose is chosen. No other change matches.
func TestComparisonOfMangledTags(t *testing.T) {
	s := tree.State{Exists: true, Tag: `"x-y"`}
	for value, want := range map[string]bool{
		`W/"x-y"`:        true,
		`"x-y-gzip"`:     true,
		`"x-y-br"`:       true,
		`"x-y-zstd"`:     true,
		`"x-y-deflate"`:  true,
		`"x-y--gzip"`:    true,
		`"x-y;gzip"`:     true,
		`W/"x-y-gzip"`:   true,
		`"x-y"`:          true,
		`"x-y-GZIP"`:     false,
		`"x-y---gzip"`:   false,
		`"x-y-gzip-br"`:  false,
		`"x-y-"`:         false,
		`"x-ygzip"`:      false,
		`"x-y-gzip "`:    false,
		`"x-gzip"`:       false,
		`"x"`:            false,
		`"x-y-y-gzip"`:   false,
		`"-gzip"`:        false,
		`W/"x"`:          false,
		`""`:             false,
		`"x-y-gzi`:       false,
		`"xx-y-gzip"`:    false,
		`"gzip-x-y"`:     false,
		`W/"x-y-snappy"`: false,
	} {
		tag, _, _ := cutETag(value)
		if got := Loose.strong(tag, s); got != tree.TruthOf(want) {
			t.Errorf("strong: %s is %v, want %v", value, got, want)
		}
		if got := Loose.weak(tag, s); got != tree.TruthOf(want) {
			t.Errorf("weak: %s is %v, want %v", value, got, want)
		}
		// Reported only if it would have made the difference.
		failed := Failed{tags: []etag{{false, `"other"`}, tag}}
		if got := failed.Mangled(s); got != (want && value != string(s.Tag)) {
			t.Errorf("Mangled with %s: %v", value, got)
		}
	}
	for _, s := range []tree.State{{}, {Exists: true, Collection: true}, {Exists: true, Dead: true}} {
		for _, value := range []string{`"-gzip"`, `W/"-gzip"`, `"--gzip"`, `""`, `W/""`} {
			if tag, _, _ := cutETag(value); Loose.strong(tag, s) != tree.False || Loose.weak(tag, s) != tree.False {
				t.Errorf("%s is the tag of what has none: %+v", value, s)
			}
		}
	}
}

// FuzzMangledTag: a tag that matches begins with the tag of the version, and strict comparison accepts no other.
func FuzzMangledTag(f *testing.F) {
	for _, seed := range []string{`"f"`, `W/"f"`, `"f-gzip"`, `"f--br"`, `"f-gzip-gzip"`, `"f;gzip"`, `"g"`} {
		f.Add(seed)
	}
	s := tree.State{Exists: true, Tag: `"f"`}
	f.Fuzz(func(t *testing.T, value string) {
		tag, rest, ok := cutETag(value)
		if !ok || rest != "" {
			return
		}
		if got, want := Strict.strong(tag, s), tree.TruthOf(value == `"f"`); got != want {
			t.Errorf("strict: %s is %v", value, got)
		}
		if Loose.strong(tag, s) == tree.True && tag.opaque != `"f"` && !strings.HasPrefix(tag.opaque, `"f-`) && !strings.HasPrefix(tag.opaque, `"f;`) {
			t.Errorf("loose: %s is taken for %s", value, s.Tag)
		}
	})
}

func FuzzETagList(f *testing.F) {
	for _, seed := range []string{`*`, `"a", W/"b"`, `,"a,b",`, "\"\xff\"", `"a" "b"`, `*, *`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		list, ok := parseETagList(value)
		if !ok {
			return
		}
		again, ok := parseETagList(list.String())
		if !ok || !reflect.DeepEqual(list, again) {
			t.Fatalf("%q was printed as %q and read as %v", value, list, again)
		}
	})
}

// For one well-formed header, GET answers as net/http does.
func FuzzReadAgainstServeContent(f *testing.F) {
	names := []string{"If-Match", "If-None-Match", "If-Unmodified-Since", "If-Modified-Since", "If-Range"}
	for i := range names {
		for _, value := range []string{
			`*`, `"f"`, `W/"f"`, `"a", "f"`, `,"a"`, "\"a,b\xfc*\"", atModified, before, after,
			"Thursday, 02-Jan-20 03:04:05 GMT", "Thu Jan  2 03:04:05 2020",
		} {
			f.Add(uint8(i), value, false)
			f.Add(uint8(i), value, true)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, value string, odd bool) {
		name, target := names[int(which)%len(names)], "f"
		if odd {
			target = "odd"
		}
		value = strings.TrimSpace(value) // as net/http does before a handler sees it
		if !wellFormed(name, value) {
			return
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set(name, value)
		if name == "If-Range" {
			r.Header.Set("Range", "bytes=0-0")
		}
		s, _ := world().State(target)

		w := httptest.NewRecorder()
		w.Header().Set("ETag", string(s.Tag))
		http.ServeContent(w, r, "", s.Modified, strings.NewReader("ab"))

		if got := ourStatus(t, r.Header, s); got != w.Code {
			t.Errorf("%s: %q on %s = %d, net/http says %d", name, value, s.Tag, got, w.Code)
		}
	})
}

func wellFormed(name, value string) bool {
	date, err := http.ParseTime(value)
	if _, short := time.Parse(time.RFC850, value); short == nil && !inCentury(date, now).Equal(date) {
		return false // net/http takes it for a date of another century
	}
	switch name {
	case "If-Match", "If-None-Match":
		_, ok := parseETagList(value)
		return ok && value != ""
	case "If-Range":
		_, rest, ok := cutETag(value)
		return ok && rest == "" || err == nil
	}
	return err == nil
}

func ourStatus(t *testing.T, h http.Header, s tree.State) int {
	c, err := Parse(h, now, s.Name, resolve, Strict)
	if err != nil {
		t.Fatal(err)
	}
	switch got := answer(c.Read(world())); {
	case strings.HasPrefix(got, "412"):
		return http.StatusPreconditionFailed
	case got == "304":
		return http.StatusNotModified
	case got != "":
		t.Fatal(got)
	case h.Get("Range") != "" && RangeApplies(h, s):
		return http.StatusPartialContent
	}
	return http.StatusOK
}
