package main

import (
	"strings"
	"testing"
	"time"

	"ifmatch/fs"
)

func TestVersionAt(t *testing.T) {
	start := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	hour := func(h float64) time.Time { return start.Add(time.Duration(h * float64(time.Hour))) }
	// kept is a version that was made, or written to last, at one time, and gave way at another one.
	kept := func(name, cause string, made, gone float64) fs.Kept {
		k := fs.Kept{Tag: name, Cause: cause, Gone: hour(gone)}
		k.Kind, k.Born, k.Modified = fs.Regular, hour(made).UnixNano(), hour(made).UnixNano()
		return k
	}
	unborn := func(k fs.Kept) fs.Kept { k.Born = 0; return k }
	dated := func(k fs.Kept, modified float64) fs.Kept { k.Modified = hour(modified).UnixNano(); return k }
	nothing := fs.Info{}
	current := func(made float64) fs.Info {
		return fs.Info{Kind: fs.Regular, Fingerprint: fs.Fingerprint{Born: hour(made).UnixNano()}}
	}
	one, two := kept("1", "PUT", 1, 2), kept("2", "PUT", 2, 3)
	for _, test := range []struct {
		name string
		kept []fs.Kept
		now  fs.Info
		at   float64
		want string // its tag, or of the error after what is the same in all
	}{
		{"the first", []fs.Kept{one, two}, current(3), 1.5, "1"},
		{"the second", []fs.Kept{one, two}, current(3), 2.5, "2"},
		{"the instant of a change", []fs.Kept{one, two}, current(3), 2, "2"},
		{"what is there now", []fs.Kept{one, two}, current(3), 3.5, "the current version was there"},
		{"what is there now, made nobody knows when", []fs.Kept{one, two}, fs.Info{Kind: fs.Regular}, 3.5, "the current version was there"},
		{"before the first", []fs.Kept{one, two}, current(3), 0.5, ": the next version was made at 11, and was there until 12"},
		{"before the first that is kept", []fs.Kept{two}, current(3), 1.5, ": the next version was made at 12, and was there until 13"},
		{"after a removal", []fs.Kept{kept("1", "DELETE", 1, 2), kept("2", "PUT", 4, 5)}, current(5), 3,
			": a version was there until 12 (DELETE), and the next version was made at 14, and was there until 15"},
		{"removed and made anew", []fs.Kept{kept("1", "DELETE", 1, 2)}, current(4), 3,
			": a version was there until 12 (DELETE), and the current version was made at 14"},
		{"removed", []fs.Kept{one, kept("2", "DELETE", 2, 3)}, nothing, 3.5, ": a version was there until 13 (DELETE), and it does not exist now"},
		{"replaced by what is not kept", []fs.Kept{one, kept("3", "PUT", 4, 5)}, current(5), 3,
			": a version was there until 12 (PUT), and the next version was made at 14, and was there until 15"},
		{"it came by a rename", []fs.Kept{kept("1", "DELETE", 1, 2), kept("moved", "PUT", 0, 5)}, current(5), 3, "moved"},
		{"its birth is not known", []fs.Kept{unborn(one)}, current(2), 0.5, "1"},
		{"the history was copied to another disk", []fs.Kept{kept("1", "PUT", 9, 2)}, current(9), 0.5, "1"},
		{"an overlay made it as it gave way", []fs.Kept{dated(kept("1", "PUT", 1.999, 2), 0)}, current(2), 1, "1"},
		{"its date is of long ago", []fs.Kept{dated(one, 0)}, current(2), 0.5, ": the next version was made at 11, and was there until 12"},
		{"written to after it was replaced", []fs.Kept{two, kept("late", fs.CauseLate, 1, 4)}, current(3), 1.5, "late"},
		{"replaced, and written to later", []fs.Kept{two, kept("late", fs.CauseLate, 1, 4)}, current(3), 2.5, "2"},
		{"replaced by what is there now, and written to later", []fs.Kept{kept("late", fs.CauseLate, 1, 4)}, current(2), 3, "the current version was there"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, err := versionAt(test.kept, test.now, hour(test.at))
			if err == nil {
				if k.Tag != test.want {
					t.Errorf("got %s, want %s", k.Tag, test.want)
				}
				return
			}
			got := err.Error()
			for h := range 10 {
				got = strings.ReplaceAll(got, stamp(hour(float64(h))), hour(float64(h)).Format("15"))
			}
			want := test.want
			if strings.HasPrefix(want, ":") {
				want = "no kept version was there at " + stamp(hour(test.at)) + want + " (see: ifmatch history list)"
			} else {
				want += " at " + stamp(hour(test.at))
			}
			for h := range 10 {
				want = strings.ReplaceAll(want, stamp(hour(float64(h))), hour(float64(h)).Format("15"))
			}
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
