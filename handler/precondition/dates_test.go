package precondition

import (
	"net/http"
	"testing"
	"time"

	"ifmatch/tree"
)

// TestDates is the rule by which a date stands for a version, in seconds: of one that is shown with the date 10, that came
// to its name not later than since, and of other versions that were shown not later than earlier.
func TestDates(t *testing.T) {
	const never = -1 << 40
	for _, r := range []struct {
		name                 string
		earlier, since, date int64
		want                 truth
	}{
		{"nothing speaks against it: its own date", never, never, 10, isTrue},
		{"nothing speaks against it: a later date", never, never, 11, isTrue},
		{"an earlier date", never, never, 9, isFalse},

		// Written in the second that it is shown with, as most are.
		{"its own date, of the second in which it came", 9, 10, 10, isTrue},
		{"a date after it came", 9, 10, 11, isTrue},
		{"another version of the same second", 10, 10, 10, isFalse},
		{"another version of the same second, a date after both", 10, 10, 11, isTrue},

		// Its date was put off to the next second, because another version was shown with the one in which it came.
		{"put off: the date of the other version", 9, 9, 9, isFalse},
		{"put off: its own date", 9, 9, 10, isTrue},

		// Its date was set back.
		{"set back: its own date, which no other had", 9, 20, 10, isTrue},
		{"set back: a date before it came", 9, 20, 19, isFalse},
		{"set back: the date at which it came", 9, 20, 20, isFalse},
		{"set back: a date after it came", 9, 20, 21, isTrue},
		{"set back to the date of another version", 10, 20, 10, isFalse},
		{"set back before another version: its own date", 15, 20, 10, isFalse},
		{"set back before another version: that one's date", 15, 20, 15, isFalse},
		{"set back before another version: a date after it came", 15, 20, 21, isTrue},

		// Another version was shown with a date that was then still to come, for the clock stepped back.
		{"the clock stepped back: its own date", 30, 10, 10, isFalse},
		{"the clock stepped back: a date after it came", 30, 10, 20, isFalse},
		{"the clock stepped back: the date of the other version", 30, 10, 30, isFalse},
		{"the clock stepped back: a date after both", 30, 10, 31, isTrue},
	} {
		t.Run(r.name, func(t *testing.T) {
			at := func(second int64) time.Time { return time.Unix(second, 0).UTC() }
			s := tree.State{Name: "f", Exists: true, Tag: `"f"`, Modified: at(10), Earlier: at(r.earlier), Since: at(r.since)}
			if got := provenBy(s, at(r.date)); got != r.want {
				t.Errorf("got %v, want %v", got, r.want)
			}

			// One rule for all: 412 by If-Unmodified-Since, 304 by If-Modified-Since, 206 by If-Range.
			view := &fakeView{states: map[string]tree.State{"f": s}}
			date := at(r.date).Format(http.TimeFormat)
			proven := r.want == isTrue
			if got := parse(t, "f", "If-Unmodified-Since: "+date).Write(view) == nil; got != proven {
				t.Errorf("If-Unmodified-Since lets it pass: %v", got)
			}
			if got := answer(parse(t, "f", "If-Modified-Since: "+date).Read(view)) == "304"; got != proven {
				t.Errorf("If-Modified-Since answers 304: %v", got)
			}
			if got := RangeApplies(headers("If-Range: "+date), s); got != (proven && r.date == 10) {
				t.Errorf("If-Range lets a part be sent: %v", got)
			}

			// As long as the tag is not known, another version can turn out to be this one, touched. Then it is worth a hash.
			s.Tag = ""
			s.Earlier = time.Time{}
			touched := provenBy(s, at(r.date))
			s.Earlier = at(r.earlier)
			want := r.want
			if r.want == isFalse && touched == isTrue {
				want = unknown
			}
			if got := provenBy(s, at(r.date)); got != want {
				t.Errorf("without the tag: got %v, want %v", got, want)
			}
			if RangeApplies(headers("If-Range: "+date), s) && want != isTrue {
				t.Error("without the tag, If-Range lets a part be sent")
			}
			// Of what is no file no date proves anything, and no tag can.
			for _, s := range []tree.State{{Collection: true}, {Link: true, Dead: true}} {
				s.Name, s.Exists, s.Modified = "f", true, at(10)
				if got := provenBy(s, at(r.date)); got != isFalse {
					t.Errorf("%+v: got %v", s, got)
				}
			}
		})
	}
}

// TestDatesAhead: what another version was shown with before it had come is refused as well, and nothing else is for it.
func TestDatesAhead(t *testing.T) {
	at := func(second int64) time.Time { return time.Unix(second, 0).UTC() }
	for _, r := range []struct {
		name                  string
		modified, since, date int64
		want                  truth
	}{
		{"its own date, before those", 10, 10, 10, isTrue},
		{"a date after it came, before those", 10, 10, 19, isTrue},
		{"the first of those", 10, 10, 20, isFalse},
		{"one between", 10, 10, 25, isFalse},
		{"the last of those", 10, 10, 30, isFalse},
		{"a date after all", 10, 10, 31, isTrue},
		{"its own date, among those", 25, 25, 25, isFalse},
		{"its own date, among those, and a date after all", 25, 25, 31, isTrue},
		{"its own date, which has not come, after those", 40, 10, 40, isTrue},
		{"its own date, which has not come, and one of those", 40, 10, 30, isFalse},
		{"its own date, which has not come, and that at which it came", 40, 10, 10, isFalse},
		{"its own date, which has not come, among those", 25, 10, 25, isFalse},
	} {
		t.Run(r.name, func(t *testing.T) {
			s := tree.State{Name: "f", Exists: true, Tag: `"f"`, Modified: at(r.modified), Since: at(r.since)}
			s.Ahead = tree.Span{First: at(20), Last: at(30)}
			if got := provenBy(s, at(r.date)); got != r.want {
				t.Errorf("got %v, want %v", got, r.want)
			}
			if s.Tag = ""; r.want == isFalse && s.Ahead.Has(at(r.date)) && r.date >= r.modified {
				if got := provenBy(s, at(r.date)); got != unknown {
					t.Errorf("without the tag: got %v, and it may be the one that was touched", got)
				}
			}
		})
	}
}
