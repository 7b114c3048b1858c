package tree

import (
	"testing"
	"time"
)

func at(second int64) time.Time { return time.Unix(second, 0).UTC() }

// TestDateRange is the rule by which a date stands for a version, in seconds: of one with the date 10, that came to its name not
// later than since, and of other versions that were shown not later than earlier.
func TestDateRange(t *testing.T) {
	const never = -1 << 40
	for _, r := range []struct {
		name                 string
		earlier, since, date int64
		want                 Truth
	}{
		{"nothing speaks against it: its own date", never, never, 10, True},
		{"nothing speaks against it: a later date", never, never, 11, True},
		{"an earlier date", never, never, 9, False},

		// Written in the second that it is shown with, as most are.
		{"its own date, of the second in which it came", 9, 10, 10, True},
		{"a date after it came", 9, 10, 11, True},
		{"another version of the same second", 10, 10, 10, False},
		{"another version of the same second, a date after both", 10, 10, 11, True},

		// Its date was put off to the next second, because another version was shown with the one in which it came.
		{"put off: the date of the other version", 9, 9, 9, False},
		{"put off: its own date", 9, 9, 10, True},

		// Its date was set back.
		{"set back: its own date, which no other had", 9, 20, 10, True},
		{"set back: a date before it came", 9, 20, 19, False},
		{"set back: the date at which it came", 9, 20, 20, False},
		{"set back: a date after it came", 9, 20, 21, True},
		{"set back to the date of another version", 10, 20, 10, False},
		{"set back before another version: its own date", 15, 20, 10, False},
		{"set back before another version: that one's date", 15, 20, 15, False},
		{"set back before another version: a date after it came", 15, 20, 21, True},

		// Another version was shown with a date that was then still to come, for the clock stepped back.
		{"the clock stepped back: its own date", 30, 10, 10, False},
		{"the clock stepped back: a date after it came", 30, 10, 20, False},
		{"the clock stepped back: the date of the other version", 30, 10, 30, False},
		{"the clock stepped back: a date after both", 30, 10, 31, True},
	} {
		t.Run(r.name, func(t *testing.T) {
			dates := DateRange{LastModified: at(10), Earlier: at(r.earlier), Since: at(r.since)}
			if got := dates.Proves(at(r.date).Add(time.Second - 1)); got != r.want {
				t.Errorf("got %v, want %v", got, r.want)
			}
			if got := (State{Dates: dates}).ProvenBy(at(r.date)); got != r.want {
				t.Errorf("of a State: got %v, want %v", got, r.want)
			}

			// As long as the tag is not known, another version can turn out to be this one, touched. Then it is worth a hash.
			dates.Earlier = time.Time{}
			touched := dates.Proves(at(r.date))
			dates.Earlier, dates.Unsure = at(r.earlier), true
			want := r.want
			if r.want == False && touched == True {
				want = Unknown
			}
			if got := dates.Proves(at(r.date)); got != want {
				t.Errorf("without the tag: got %v, want %v", got, want)
			}
		})
	}
	for _, s := range []State{{}, {Dates: DateRange{}}} {
		if got := s.ProvenBy(at(10)); got != False {
			t.Errorf("%+v: got %v", s, got)
		}
	}
}

// TestDatesAhead: a date that was in the future when it was sent for another version identifies no version except the
// one that has it as its own date. Earlier says that no other version had it then.
func TestDatesAhead(t *testing.T) {
	for _, r := range []struct {
		name                  string
		modified, since, date int64
		want                  Truth
	}{
		{"its own date, before those", 10, 10, 10, True},
		{"a date after it came, before those", 10, 10, 19, True},
		{"the first of those", 10, 10, 20, False},
		{"one between", 10, 10, 25, False},
		{"the last of those", 10, 10, 30, False},
		{"a date after all", 10, 10, 31, True},
		{"the only one of others", 10, 10, 40, False},
		{"its own date, among those", 25, 25, 25, True},
		{"its own date, among those, and a date after all", 25, 25, 31, True},
		{"its own date, which has not come, after those", 50, 10, 50, True},
		{"its own date, which has not come, and one of those", 50, 10, 30, False},
		{"its own date, which has not come, and that at which it came", 50, 10, 10, False},
	} {
		t.Run(r.name, func(t *testing.T) {
			dates := DateRange{LastModified: at(r.modified), Since: at(r.since), Ahead: []Span{{40, 40}, NoTime, {20, 30}}}
			if got := dates.Proves(at(r.date)); got != r.want {
				t.Errorf("got %v, want %v", got, r.want)
			}
			dates.Unsure = true
			if got := dates.Proves(at(r.date)); got == False && r.want == False && r.date >= r.modified && r.date > r.since {
				t.Errorf("without the tag: got %v, and it may be the one that was touched", got)
			}
		})
	}
}

func TestSpan(t *testing.T) {
	s := NoTime.With(7).With(5).Join(NoTime)
	if s != (Span{5, 7}) || !s.Has(5) || !s.Has(6) || s.Has(8) || NoTime.Has(0) {
		t.Errorf("got %v", s)
	}
}

func TestTruth(t *testing.T) {
	if False.Not() != True || Unknown.Not() != Unknown || min(True, Unknown) != Unknown || max(False, Unknown) != Unknown {
		t.Error("this is not Kleene's logic")
	}
	if TruthOf(true) != True || TruthOf(false) != False {
		t.Error("TruthOf")
	}
}
