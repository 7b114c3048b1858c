package handler

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/afero"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
)

// A steppedClock stands still until it is told to go on.
type steppedClock struct{ unixNano atomic.Int64 }

func (c *steppedClock) Now() time.Time          { return time.Unix(0, c.unixNano.Load()) }
func (c *steppedClock) Advance(d time.Duration) { c.unixNano.Add(int64(d)) }

// A fewDates is a disk that keeps the times from 1980 to 2107, as FAT does, and in even seconds. A date outside of
// the range silently becomes the nearest one in it.
type fewDates struct{ afero.Fs }

func (f fewDates) Chtimes(name string, accessed, modified time.Time) error {
	first, last := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2107, 12, 31, 23, 59, 58, 0, time.UTC)
	switch {
	case modified.Before(first):
		modified = first
	case modified.After(last):
		modified = last
	}
	return f.Fs.Chtimes(name, accessed, modified.Truncate(2*time.Second))
}

// datedWorld is a handler with a clock, and the dates that it has shown for the name f.
type datedWorld struct {
	t     *testing.T
	h     http.Handler
	clock steppedClock
	shown map[string]map[string]bool // Last-Modified, by ETag
}

func newDatedWorld(t *testing.T, below afero.Fs) *datedWorld {
	t.Helper()
	w := &datedWorld{t: t, shown: map[string]map[string]bool{}}
	w.clock.unixNano.Store(time.Now().Truncate(time.Second).Add(100 * time.Millisecond).UnixNano())
	opened, err := fs.OpenAfero(below, fs.Options{Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	store, err := etagfs.New(opened, etagfs.Options{Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	w.h = newTestHandler(t, Config{Store: store, Now: w.clock.Now})
	return w
}

var toldModified = regexp.MustCompile(`"modified":"([^"]*)"`)

// ask sends a request about /f, and sees to it that each version has one Last-Modified, which is not ahead of the clock.
func (w *datedWorld) ask(method, body string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	answer := ask(w.t, w.h, method, "/f", body, header...)
	tag, date := answer.Header().Get("ETag"), answer.Header().Get("Last-Modified")
	if told := toldModified.FindStringSubmatch(answer.Body.String()); told != nil && told[1] != date {
		w.t.Errorf("%s %v: %q in the header, %q in the body", method, header, date, told[1])
	}
	if tag == "" || date == "" {
		return answer
	}
	if at, err := http.ParseTime(date); err != nil || at.After(w.clock.Now()) {
		w.t.Errorf("%s %v: Last-Modified is %q, and it is %v", method, header, date, w.clock.Now())
	}
	if w.shown[tag] == nil {
		w.shown[tag] = map[string]bool{}
	}
	w.shown[tag][date] = true
	if len(w.shown[tag]) > 1 {
		w.t.Errorf("%s %v: the version %s was shown with %v", method, header, tag, w.shown[tag])
	}
	return answer
}

// look asks in each way that shows Last-Modified, and returns it.
func (w *datedWorld) look() string {
	w.t.Helper()
	date := w.ask("HEAD", "").Header().Get("Last-Modified")
	for _, answer := range []*httptest.ResponseRecorder{
		w.ask("GET", ""), w.ask("GET", "", "If-None-Match: *"), w.ask("GET", "", "Range: bytes=0-0"),
		w.ask("PUT", "x", `If-Match: "x"`), w.ask("PUT", "x", "If-None-Match: *"), w.ask("PUT", "x", "Overwrite: F"),
	} {
		if got := answer.Header().Get("Last-Modified"); got != date {
			w.t.Errorf("HEAD says %q, and another %q with %d", date, got, answer.Code)
		}
	}
	return date
}

func (w *datedWorld) property(name string) string {
	w.t.Helper()
	answer := ask(w.t, w.h, "PROPFIND", "/f", propfindOf("<"+name+"/>"), "Depth: 0")
	_, rest, _ := strings.Cut(answer.Body.String(), "<D:prop><")
	_, rest, _ = strings.Cut(rest, ">")
	value, _, _ := strings.Cut(rest, "<")
	return value
}

// TestOneLastModified: a version always has the same Last-Modified, or none as long as the date is in the future. The
// date identifies the version.
func TestOneLastModified(t *testing.T) {
	mtime := func(w *datedWorld, in time.Duration) string {
		return fmt.Sprint("X-OC-Mtime: ", w.clock.Now().Add(in).Unix())
	}
	for _, test := range []struct {
		name string
		do   func(w *datedWorld)
		come time.Duration // when the date has
	}{
		{"one version", func(w *datedWorld) { w.ask("PUT", "one") }, 0},
		{"three of one second", func(w *datedWorld) {
			for _, body := range []string{"one", "two", "three"} {
				w.ask("PUT", body)
			}
		}, time.Second},
		{"three of one second, looked at", func(w *datedWorld) {
			for _, body := range []string{"one", "two", "three"} {
				w.ask("PUT", body)
				w.look()
			}
		}, time.Second},
		{"a client's clock is fast", func(w *datedWorld) { w.ask("PUT", "one", mtime(w, 2*time.Minute)) }, 2 * time.Minute},
		{"a client's clock is fast, and it writes again", func(w *datedWorld) {
			w.ask("PUT", "one", mtime(w, 2*time.Minute))
			w.look()
			w.clock.Advance(time.Minute)
			w.ask("PUT", "two", mtime(w, 2*time.Minute))
		}, 2 * time.Minute},
		{"what was dated far ahead is replaced", func(w *datedWorld) {
			w.ask("PUT", "one", mtime(w, 24*365*50*time.Hour))
			w.property("getlastmodified")
			w.ask("PUT", "two")
		}, 0},
		{"what was dated far ahead is touched, renamed and marked", func(w *datedWorld) {
			w.ask("PUT", "one", mtime(w, time.Hour))
			w.look()
			w.ask("MOVE", "", "Destination: /g")
			ask(w.t, w.h, "MOVE", "/g", "", "Destination: /f")
			w.ask("PROPPATCH", patchOf("<x>1</x>"))
		}, time.Hour},
		{"the clock is set back", func(w *datedWorld) {
			w.ask("PUT", "one")
			w.clock.Advance(-time.Hour)
		}, time.Hour},
		{"the same again, with another date, is shown with that", func(w *datedWorld) {
			w.ask("PUT", "one", mtime(w, -time.Hour))
			w.shown = map[string]map[string]bool{}
			w.ask("PUT", "one", mtime(w, time.Hour))
		}, time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newDatedWorld(t, afero.NewMemMapFs())
			test.do(w)
			stored := w.property("getlastmodified")
			for passed := time.Duration(0); passed < test.come; passed += test.come / 2 {
				if date := w.look(); date != "" {
					t.Errorf("%v after, it is shown with %s", passed, date)
				}
				w.clock.Advance(test.come / 2)
			}
			w.clock.Advance(2 * time.Second)
			date := w.look()
			if date == "" || date != stored || date != w.property("getlastmodified") {
				t.Errorf("Last-Modified %q, getlastmodified was %q, and is %q", date, stored, w.property("getlastmodified"))
			}
			if answer := w.ask("GET", "", "If-Modified-Since: "+date); answer.Code != http.StatusNotModified {
				t.Errorf("If-Modified-Since: %d", answer.Code)
			}
			if answer := w.ask("PUT", "last", "If-Unmodified-Since: "+date); answer.Code != http.StatusNoContent {
				t.Errorf("If-Unmodified-Since %s: %d %s", date, answer.Code, answer.Body)
			}
			if answer := w.ask("PUT", "lost", "If-Unmodified-Since: "+date); answer.Code != http.StatusPreconditionFailed {
				t.Errorf("and again: %d", answer.Code)
			}
		})
	}
}

// TestDateOfAnotherVersion: a date that a version was told with before it had come does not stand for the next one, then or
// later.
func TestDateOfAnotherVersion(t *testing.T) {
	for _, told := range []struct {
		how  string
		tell func(w *datedWorld, unix string)
	}{
		{"accepted", func(w *datedWorld, unix string) { w.ask("PUT", "one", "X-OC-Mtime: "+unix) }},
		{"by PROPFIND", func(w *datedWorld, unix string) {
			w.ask("PUT", "one", "X-OC-Mtime: "+unix)
			w.property("lastmodified")
		}},
		{"by PROPPATCH", func(w *datedWorld, unix string) {
			w.ask("PUT", "one")
			w.ask("PROPPATCH", patchOf("<lastmodified>"+unix+"</lastmodified>"))
		}},
	} {
		t.Run(told.how, func(t *testing.T) {
			w := newDatedWorld(t, afero.NewMemMapFs())
			date := w.clock.Now().Add(5 * time.Second)
			told.tell(w, fmt.Sprint(date.Unix()))
			w.ask("PUT", "two")
			for range 10 {
				answer := w.ask("PUT", "three", "If-Unmodified-Since: "+date.UTC().Format(http.TimeFormat))
				if answer.Code != http.StatusPreconditionFailed || !strings.Contains(answer.Body.String(), "If-Match") {
					t.Errorf("%d %s", answer.Code, answer.Body)
				}
				w.clock.Advance(time.Second)
			}
		})
	}
}

// TestDatesThatADiskDoesNotKeep: a 200 and "accepted" say that the file has the date that was sent. Neither is sent where
// the disk keeps another date.
func TestDatesThatADiskDoesNotKeep(t *testing.T) {
	w := newDatedWorld(t, fewDates{afero.NewMemMapFs()})
	now := func() string { return fmt.Sprint(w.clock.Now().Unix() &^ 1) }
	for _, date := range []struct {
		unix, put string // put: the date after a PUT with it ("": none)
	}{
		{"1000000000", "1000000000"},
		{"1000000001", "1000000000"}, // nearly
		{"-11644473600", "now"},
		{"0", "now"},
		{"4354819199", "4354819198"},
		{"4354819200", "now"},
		{"253402300799", "now"},
		{"1e300", "now"},
	} {
		t.Run(date.unix, func(t *testing.T) {
			w.t = t
			want := date.put
			if want == "now" {
				want = now()
			}
			exact := want == date.unix
			check := func(how string, answer *httptest.ResponseRecorder, want string) {
				t.Helper()
				if got := w.property("lastmodified"); got != want && want != "" {
					t.Errorf("%s: it has %s, want %s", how, got, want)
				}
				if accepted := answer.Header().Get("X-OC-Mtime") == "accepted"; answer.Code >= 300 || accepted != exact {
					t.Errorf("%s: %d, accepted %v", how, answer.Code, accepted)
				}
			}
			mtime := "X-OC-Mtime: " + date.unix
			check("PUT", w.ask("PUT", date.unix, mtime), want)
			check("PUT of the same", w.ask("PUT", date.unix, mtime), want)
			ask(t, w.h, "PUT", "/g", "other")
			check("COPY", ask(t, w.h, "COPY", "/g", "", "Destination: /f", mtime), want)

			before := w.property("lastmodified")
			answer := w.ask("PROPPATCH", patchOf("<x>"+date.unix+"</x><lastmodified>"+date.unix+"</lastmodified>")).Body.String()
			after, x := w.property("lastmodified"), w.property("x")
			if exact {
				if !strings.Contains(answer, " 200 ") || after != date.unix || x != date.unix {
					t.Errorf("PROPPATCH: %s; it has %s and %s", answer, after, x)
				}
			} else if !strings.Contains(answer, " 409 ") || strings.Contains(answer, " 200 ") || after != before || x == date.unix {
				t.Errorf("PROPPATCH: %s; it had %s, and has %s and %s", answer, before, after, x)
			}

			w.ask("DELETE", "")
			if date.put == "now" {
				want = "" // the clock is not that of the disk
			}
			check("MKCOL", w.ask("MKCOL", "", mtime), want)
			w.ask("DELETE", "")
			ask(t, w.h, "PUT", "/g", "other", "X-OC-Mtime: 1200000000")
			if date.put == "now" {
				want = "1200000000" // as none
			}
			check("MOVE", ask(t, w.h, "MOVE", "/g", "", "Destination: /f", mtime), want)
			w.clock.Advance(time.Minute)
		})
	}
}
