// Package versionat finds the version of a file that was current at a time.
package versionat

import (
	"fmt"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Find returns the version of a name that was current at a time. kept are the kept versions, the oldest first,
// and now is the current version. If none of the kept versions was current then, the error says why.
//
// A version was current from the end of the one before until its own end, unless the file was made later: then there
// was another version in between, or none. A file that was renamed to the name was made before, at an unknown time,
// and counts as current since the end of the version before.
func Find(kept []tree.Version, now tree.State, at time.Time) (*tree.Version, error) {
	var before, next, late *tree.Version
	for i := range kept {
		switch v := &kept[i]; {
		case v.Cause == tree.CauseLate: // replaced long before, and written to afterwards
			if late == nil && v.Gone.After(at) && !wasMadeAfter(*v, at) {
				late = v
			}
		case !v.Gone.After(at):
			before = v
		case next == nil:
			next = v
		}
	}
	isNow := next == nil && now.Exists
	switch {
	case next != nil && !wasMadeAfter(*next, at):
		return next, nil
	case isNow && !now.Created.After(at):
		return nil, fmt.Errorf("the current version was there at %s", Stamp(at))
	case late != nil:
		return late, nil
	}
	why := "it does not exist now"
	switch {
	case isNow:
		why = "the current version was made at " + Stamp(now.Created)
	case next != nil:
		why = fmt.Sprintf("the next version was made at %s, and was there until %s",
			Stamp(next.Created), Stamp(next.Gone))
	}
	if before != nil {
		why = fmt.Sprintf("a version was there until %s (%s), and %s", Stamp(before.Gone), before.Cause, why)
	}
	return nil, fmt.Errorf("no kept version was there at %s: %s (see: ifmatch history list)", Stamp(at), why)
}

// Stamp formats a time as messages have it.
func Stamp(t time.Time) string { return t.Local().Format(time.RFC3339) }

// copiedUpWithin bounds the age of a file that an overlay made only when the version was replaced. Until then the
// version was in a lower layer, and the new file keeps its modification time.
const copiedUpWithin = time.Minute

// wasMadeAfter reports whether a version was certainly made after a time.
func wasMadeAfter(v tree.Version, at time.Time) bool {
	born := v.Created
	switch {
	case born.IsZero(), born.After(v.Gone): // the history was copied since
		return false
	case v.Gone.Sub(born) < copiedUpWithin && born.Sub(v.Modified) > time.Second:
		return false
	}
	return born.After(at)
}
