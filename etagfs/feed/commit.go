package feed

import (
	"errors"
	"fmt"

	"r-seed-1f3a754f.example/ifmatch/etagfs/journal"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Commit tells of the changes of one commit. Each is appended to the journal before it is made, and shown after it. A
// nil Commit tells nothing.
type Commit struct {
	f      *Feed
	shared func(do func(through bool) error) error

	over   foundThing        // the resource that the change told of last has found at its name
	knew   bool              // followers know of that
	told   bool              // a change was told of
	untold []journal.Pending // changes that were told of when the lock of the journal was given up since
}

// Commit begins to tell of a commit. shared calls do under the lock of the journal, and says whether the commit holds
// that lock to its end.
func (f *Feed) Commit(shared func(do func(through bool) error) error) *Commit {
	if f == nil {
		return nil
	}
	return &Commit{f: f, shared: shared}
}

// Tell says that the commit is about to make a change over the resource that a look has found at its name. Settle shows
// the change, or takes it back if the commit has failed. Tell fills in the time, and the old resource as followers know
// it.
func (c *Commit) Tell(change tree.Change, over vfs.Info) error {
	if c == nil {
		return nil
	}
	f := c.f
	c.over, c.knew = foundBy(over), f.knows(change.Name, over, f.FS.AbilitiesOf(over).FineTimes)
	change.Created, change.Time = !over.Exists(), f.Clock()
	change.OldFile = c.knew && over.Kind != vfs.Directory
	change.OldCollection = over.Kind == vfs.Directory
	return c.shared(func(through bool) error {
		if !through {
			defer f.journal.Rest()
		}
		if err := f.flush(); err != nil {
			return err
		}
		err := f.journal.Append(change)
		c.told = c.told || err == nil
		if err == nil && !through {
			c.untold = append(c.untold, f.journal.Pending(change))
		}
		return err
	})
}

// Made notes a look at a name after a change, so that an event for that resource is no news. deep says that
// everything below the name has come with it.
func (c *Commit) Made(name string, now vfs.Info, deep bool) {
	if c == nil {
		return
	}
	f := c.f
	f.told.add(name, foundBy(now), c.over, deep, c.knew)
	if !now.Exists() {
		f.told.meet(name)
	} else if f.isWatched() && f.told.isEarly(name) {
		f.Missed()
	}
}

// Settle ends the changes that the commit has told of. happened says whether they were made.
func (c *Commit) Settle(happened bool) {
	if c == nil || !c.told {
		return
	}
	f := c.f
	failed := c.shared(func(through bool) (err error) {
		defer f.journal.Rest()
		switch {
		case !through:
			return errors.Join(f.flush(), f.settle(c.untold, happened))
		case happened:
			f.journal.Show()
		default:
			f.journal.TakeBack()
		}
		return nil
	})
	if failed != nil && happened {
		f.owe(c.untold)
		f.Report(fmt.Errorf("a change is told of later: %w", failed))
	}
}

// settle settles changes that were appended under an earlier lock.
func (f *Feed) settle(changes []journal.Pending, happened bool) error {
	for i, p := range changes {
		if err := f.journal.Settle(p, happened); err != nil {
			f.owe(changes[i+1:])
			return err
		}
	}
	return nil
}

// owe remembers changes that have happened and could not be settled. The next one to write the journal settles them.
// There are no more of them than commits that were under way at once, since no commit begins without the journal.
func (f *Feed) owe(changes []journal.Pending) {
	f.owing.mu.Lock()
	defer f.owing.mu.Unlock()
	f.owing.changes = append(f.owing.changes, changes...)
}

// flush settles the changes that are owed. It must be called under the lock of the journal.
func (f *Feed) flush() error {
	f.owing.mu.Lock()
	changes := f.owing.changes
	f.owing.changes = nil
	f.owing.mu.Unlock()
	err := f.settle(changes, true)
	if err != nil {
		err = errors.Join(err, errOwing)
	}
	return err
}

// errOwing says that the journal lacks a change that has happened.
var errOwing = errors.New("the journal of changes lacks one")
