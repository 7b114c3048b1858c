package feed

import (
	"cmp"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The questions of a Check: has a name changed since a cursor?

// A ScanKey is a name, and a cursor since which it may have changed.
type ScanKey struct {
	Name  string
	Since tree.Cursor
}

// A scan is what is known of the changes of a name since a cursor. It is remembered, so that a transaction has only
// the newest changes to look at.
type scan struct {
	upTo    tree.Cursor // up to there, nothing has changed
	changed bool
}

// maxRecent is how many changes a transaction looks at. If there are more, they are looked at outside of the lock.
const maxRecent = 512

// maxScans is how many scans are remembered.
const maxScans = 1 << 10

// concerns is [tree.Concern], where names that some file system takes for one count as the same.
func concerns(changes []tree.Change, name string, hidden func(string) bool) bool {
	return tree.Concern(changes, name, hidden, fs.Alike)
}

// Scan reads the changes of a name since a cursor, and reports whether it has changed, or may have. Names for which
// hidden is true do not count (nil: all count).
func (f *Feed) Scan(key ScanKey, hidden func(string) bool) (changed bool, err error) {
	found, ok := f.scans.Get(key)
	if !ok {
		found.upTo = key.Since
	}
	for !found.changed {
		changes, err := f.journal.Read(found.upTo)
		if err != nil {
			return false, err
		}
		if len(changes) == 0 {
			break
		}
		found.upTo = changes[len(changes)-1].Cursor
		found.changed = concerns(changes, key.Name, hidden)
	}
	f.scans.Add(key, found)
	return found.changed || f.Unsettled(), nil
}

// ScanRecent is Scan for a commit. It looks at no more than the latest changes, which are in memory. all is false if
// there are more, so that a Scan outside of the lock is needed.
func (f *Feed) ScanRecent(key ScanKey, hidden func(string) bool) (changed, all bool, err error) {
	known, _ := f.scans.Get(key)
	if known.changed {
		return true, true, nil
	}
	since := key.Since
	if known.upTo != "" {
		since = known.upTo
	}
	changes, all, err := f.journal.Recent(since, maxRecent)
	if err != nil || !all {
		return false, all, err
	}
	return concerns(changes, key.Name, hidden), true, nil
}

// CatchUp takes in all changes that were made until now. It must be called under the lock of the journal.
func (f *Feed) CatchUp() error { return cmp.Or(f.flush(), f.journal.Adopt()) }
