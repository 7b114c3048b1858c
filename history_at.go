package main

import (
	"fmt"
	"time"

	"ifmatch/fs"
)

// versionAt returns which of the versions that are kept of a name, the oldest first, was there at a time. If it is none of
// them, the error says why; now is what is there now.
//
// A version was there from when the one before gave way until it gave way itself, unless it was made only later: then
// something else was there in between, or nothing. What came under its name by a rename was made before, and nobody knows
// when it came. So that is taken for what was there.
func versionAt(kept []fs.Kept, now fs.Info, at time.Time) (*fs.Kept, error) {
	var before, next, late *fs.Kept
	for i := range kept {
		switch k := &kept[i]; {
		case k.Cause == fs.CauseLate: // it had given way long before, and has bytes that it had not then
			if late == nil && k.Gone.After(at) && !wasMadeAfter(*k, at) {
				late = k
			}
		case !k.Gone.After(at):
			before = k
		case next == nil:
			next = k
		}
	}
	isNow := next == nil && now.Exists()
	switch {
	case next != nil && !wasMadeAfter(*next, at):
		return next, nil
	case isNow && !now.BirthTime().After(at):
		return nil, fmt.Errorf("what is there now was there at %s", stamp(at))
	case late != nil:
		return late, nil
	}
	why := "nothing is there now"
	switch {
	case isNow:
		why = "what is there now was made at " + stamp(now.BirthTime())
	case next != nil:
		why = fmt.Sprintf("the next one was made at %s, and was there until %s", stamp(next.BirthTime()), stamp(next.Gone))
	}
	if before != nil {
		why = fmt.Sprintf("one was there until %s (%s), and %s", stamp(before.Gone), before.Cause, why)
	}
	return nil, fmt.Errorf("no version that is kept was there at %s: %s (see: ifmatch history list)", stamp(at), why)
}

func stamp(t time.Time) string { return t.Local().Format(time.RFC3339) }

// copiedUpWithin bounds how long before it gave way an overlay may have made the file that it gave way as, which was in a
// lower layer until then and keeps its modification time.
const copiedUpWithin = time.Minute

// wasMadeAfter reports whether a version is known to have been made after a time.
func wasMadeAfter(k fs.Kept, at time.Time) bool {
	born := k.BirthTime()
	switch {
	case born.IsZero(), born.After(k.Gone): // the history was copied since
		return false
	case k.Gone.Sub(born) < copiedUpWithin && born.Sub(k.ModTime()) > time.Second:
		return false
	}
	return born.After(at)
}
