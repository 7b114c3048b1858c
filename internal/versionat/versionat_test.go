package versionat

import (
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func TestVersionAt(t *testing.T) {
	start := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	hour := func(h float64) time.Time { return start.Add(time.Duration(h * float64(time.Hour))) }
	// kept is a version that was made, or written to last, at one time, and gave way at another one.
	kept := func(name, cause string, made, gone float64) tree.Version {
		state := tree.State{Exists: true, Tag: tree.ETag(name), Created: hour(made), Modified: hour(made)}
		return tree.Version{State: state, Cause: cause, Gone: hour(gone)}
	}
	unborn := func(k tree.Version) tree.Version { k.Created = time.Time{}; return k }
	dated := func(k tree.Version, modified float64) tree.Version { k.Modified = hour(modified); return k }
	nothing := tree.State{}
	current := func(made float64) tree.State { return tree.State{Exists: true, Created: hour(made)} }
	one, two := kept("1", "PUT", 1, 2), kept("2", "PUT", 2, 3)
	for _, test := range []struct {
		name string
		kept []tree.Version
		now  tree.State
		at   float64
		want string // its tag, or the end of the error
	}{
		{"the first", []tree.Version{one, two}, current(3), 1.5, "1"},
		{"the second", []tree.Version{one, two}, current(3), 2.5, "2"},
		{"the instant of a change", []tree.Version{one, two}, current(3), 2, "2"},
		{"what is there now", []tree.Version{one, two}, current(3), 3.5, "the current version was there"},
		{"what is there now, made nobody knows when", []tree.Version{one, two}, tree.State{Exists: true}, 3.5, "the current version was there"},
		{"before the first", []tree.Version{one, two}, current(3), 0.5, ": the next version was made at 11, and was there until 12"},
		{"before the first that is kept", []tree.Version{two}, current(3), 1.5, ": the next version was made at 12, and was there until 13"},
		{"after a removal", []tree.Version{kept("1", "DELETE", 1, 2), kept("2", "PUT", 4, 5)}, current(5), 3,
			": a version was there until 12 (DELETE), and the next version was made at 14, and was there until 15"},
		{"removed and made anew", []tree.Version{kept("1", "DELETE", 1, 2)}, current(4), 3,
			": a version was there until 12 (DELETE), and the current version was made at 14"},
		{"removed", []tree.Version{one, kept("2", "DELETE", 2, 3)}, nothing, 3.5, ": a version was there until 13 (DELETE), and it does not exist now"},
		{"replaced by what is not kept", []tree.Version{one, kept("3", "PUT", 4, 5)}, current(5), 3,
			": a version was there until 12 (PUT), and the next version was made at 14, and was there until 15"},
		{"it came by a rename", []tree.Version{kept("1", "DELETE", 1, 2), kept("moved", "PUT", 0, 5)}, current(5), 3, "moved"},
		{"its birth is not known", []tree.Version{unborn(one)}, current(2), 0.5, "1"},
		{"the history was copied to another disk", []tree.Version{kept("1", "PUT", 9, 2)}, current(9), 0.5, "1"},
		{"an overlay made it as it gave way", []tree.Version{dated(kept("1", "PUT", 1.999, 2), 0)}, current(2), 1, "1"},
		{"its date is of long ago", []tree.Version{dated(one, 0)}, current(2), 0.5, ": the next version was made at 11, and was there until 12"},
		{"written to after it was replaced", []tree.Version{two, kept("late", tree.CauseLate, 1, 4)}, current(3), 1.5, "late"},
		{"replaced, and written to later", []tree.Version{two, kept("late", tree.CauseLate, 1, 4)}, current(3), 2.5, "2"},
		{"replaced by what is there now, and written to later", []tree.Version{kept("late", tree.CauseLate, 1, 4)}, current(2), 3, "the current version was there"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, err := Find(test.kept, test.now, hour(test.at))
			if err == nil {
				if string(k.Tag) != test.want {
					t.Errorf("got %s, want %s", k.Tag, test.want)
				}
				return
			}
			got := err.Error()
			for h := range 10 {
				got = strings.ReplaceAll(got, Stamp(hour(float64(h))), hour(float64(h)).Format("15"))
			}
			want := test.want
			if strings.HasPrefix(want, ":") {
				want = "no kept version was there at " + Stamp(hour(test.at)) + want + " (see: ifmatch history list)"
			} else {
				want += " at " + Stamp(hour(test.at))
			}
			for h := range 10 {
				want = strings.ReplaceAll(want, Stamp(hour(float64(h))), hour(float64(h)).Format("15"))
			}
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
