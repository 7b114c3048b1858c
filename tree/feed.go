package tree

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"
)

// A Change is a change of the tree that a store has made, or has seen on its disk.
type Change struct {
	Cursor Cursor // the position after this change, for [Feed.Changes]
	Name   string // the name whose content, properties or existence has changed
	From   string // of a MOVE by one rename, the former name, else ""
	// State has Name, Exists, Collection and Tag after the change, and nothing else. Exists is false if the name was
	// removed. The Tag is "" if it was not known.
	State   State
	Old     ETag // of the version that was at Name before, "" if there was none, or it was not known
	Created bool // the name was free before, as far as that was known
	// OldFile and OldCollection tell of what was at Name before. OldFile: it was no collection, and followers have been
	// told of no collection there. OldCollection: it was a collection when this change was made. If neither is set and
	// Created is not, followers may know of a collection there that another program has replaced since.
	OldFile, OldCollection bool
	// Cause is the method, [CauseDisk], or another word such as "restore".
	Cause string
	// Again says that more than this is not known: anything at Name and below it can have changed. It must be listed
	// again.
	Again     bool
	Principal Principal // the user of the request
	Time      time.Time // by the clock of the store
}

// CauseDisk is the cause of a change that another program has made.
const CauseDisk = "disk"

// Deep reports whether a change can have changed all names below its Name, and its From.
func (c Change) Deep() bool {
	switch {
	case c.Again, c.From != "", !c.State.Exists:
		return true
	case c.Cause == CauseDisk, c.Cause == "MKCOL", c.Cause == "PROPPATCH":
		return false // on the disk, each new member of a new collection is a change of its own
	}
	return c.State.Collection || c.OverCollection()
}

// OverCollection reports whether a collection can have been at Name before the change.
func (c Change) OverCollection() bool { return !c.Created && !c.OldFile && c.Old == "" }

// Brought reports whether a change can have brought to a name the resource that is there after it, or have taken one away
// from there: a change of that name, or of a collection above. A change of properties is none.
func (c Change) Brought(name string) bool {
	switch {
	case c.Cause == "PROPPATCH":
		return false
	case name == c.Name, c.From != "" && name == c.From:
		return true
	}
	return c.Deep() && (Below(name, c.Name) || c.From != "" && Below(name, c.From))
}

// A Maker finds the change that made the present version of a name, or took it away. It is given the changes of a store,
// the latest first.
type Maker struct {
	Name  string
	Found Change // if Known
	Known bool
}

// Take takes the next older change. It reports whether no older one is needed. A change on the disk that left the content
// as it was made no version: it may also be an echo of a write of the store.
func (m *Maker) Take(c Change) (enough bool) {
	if !c.Brought(m.Name) {
		return false
	}
	if m.Known && (c.Name != m.Name || !c.State.Exists || c.State.Tag != m.Found.State.Tag) {
		return true
	}
	m.Found, m.Known = c, true
	return c.Cause != CauseDisk || !c.State.Exists || c.State.Tag == ""
}

// Unsure reports whether it is not known that a collection was at Name before the change, nor that none was. A client that
// may know of Name only if a collection is there must not be told the name.
func (c Change) Unsure() bool {
	return !c.Again && !c.State.Collection && c.OverCollection() && !c.OldCollection
}

// OfCollection reports whether a collection is at a name of the change, Name or From, or can have been there before the
// change.
func (c Change) OfCollection(name string) bool {
	return c.Again || c.State.Collection || name == c.Name && c.OverCollection()
}

// Without returns the change as it is without the names that are hidden. ok is false if nothing of it is left. A MOVE
// from a hidden name has no From, and a MOVE to one is a removal.
func (c Change) Without(hidden func(name string) bool) (left Change, ok bool) {
	from := c.From != "" && !hidden(c.From)
	switch {
	case !hidden(c.Name):
		if !from {
			c.From = ""
		}
		return c, true
	case from:
		c.OldFile, c.OldCollection = !c.State.Collection, c.State.Collection
		c.Name, c.From, c.State, c.Old, c.Created = c.From, "", State{Name: c.From}, "", false
		return c, true
	}
	return c, false
}

// Concerns reports whether a change is of a name, or of a resource below that name. alike compares two names of the
// same number of segments (nil: byte for byte).
func (c Change) Concerns(name string, alike func(a, b string) bool) bool {
	for _, changed := range []string{c.Name, c.From} {
		if changed == "" && (c.Name != "" || c.From != "") {
			continue // it has no From
		}
		if within(changed, name, alike) || c.Deep() && within(name, changed, alike) {
			return true
		}
	}
	return false
}

// ConcernsIn is [Change.Concerns] with the names that a store takes for one.
func (c Change) ConcernsIn(ctx context.Context, s Store, name string) (concerns bool, err error) {
	err = s.Try(ctx, Condition{Names: []string{name}, Check: func(v View) error {
		concerns = c.Concerns(name, func(a, b string) bool { return SameName(v, a, b) })
		return nil
	}})
	return concerns, err
}

// Concern reports whether one of the changes [Change.Concerns] a name. Names for which hidden is true do not count (nil: all
// count).
func Concern(changes []Change, name string, hidden func(string) bool, alike func(a, b string) bool) bool {
	return slices.ContainsFunc(changes, func(c Change) bool {
		ok := true
		if hidden != nil {
			c, ok = c.Without(hidden)
		}
		return ok && c.Concerns(name, alike)
	})
}

// FollowChanges yields the changes of a store, as [Feed.Changes] does. read returns the next changes after a cursor, and whether
// there may be more behind them. wait waits until there may be more than the last read has found.
func FollowChanges(since, until Cursor, read func(since Cursor) (changes []Change, more bool, err error),
	wait func() error,
) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		for since == "" || since != until {
			changes, more, err := read(since)
			for _, c := range changes {
				if since = c.Cursor; !yield(c, nil) || since == until {
					return
				}
			}
			if err == nil && !more {
				if until != "" {
					return
				}
				err = wait()
			}
			if err != nil {
				yield(Change{}, err)
				return
			}
		}
	}
}

// within reports whether name is dir, or below dir.
func within(name, dir string, alike func(a, b string) bool) bool {
	if Within(name, dir) {
		return true
	}
	return alike != nil && alike(FirstSegments(name, strings.Count(dir, "/")+1), dir)
}

// A Cursor is a position in the order of all changes of a store. It is text without spaces. The zero value is before
// all changes that the store knows.
type Cursor string

// A Feed is a [Store] that reports its changes.
type Feed interface {
	// Now returns the position after the last change. It waits a moment for changes that the disk has told of and that
	// were not looked at yet.
	Now(ctx context.Context) (Cursor, error)

	// Changes yields the changes after a cursor in the order in which they happened, up to another one that Now has
	// returned later. If until is "", it waits for more until the context ends. All changes of the store are in it, and
	// those of other programs as far as they were seen. After a crash the last change may be one that has not taken place.
	// [ErrNotExist] means that the store has forgotten changes after the cursor, or never had that cursor, so that the
	// tree has to be listed again.
	Changes(ctx context.Context, since, until Cursor) iter.Seq2[Change, error]

	// Latest returns the latest change by which the resource at a name came there, or went from there: see
	// [Maker]. It looks through the changes that are kept, and waits for none. [ErrNotExist] means that there is none
	// among them.
	Latest(ctx context.Context, name string) (Change, error)
}

// A FeedView is a [View] of a store that is a [Feed].
type FeedView interface {
	View
	// Since reports whether a name, or a resource below it, has changed since a cursor. Changes of names for which hidden
	// is true do not count (nil: all count). It must be the same function in all calls for one store. The error is [ErrNotExist] as
	// for [Feed.Changes]. [ErrTagUnknown] means that the store has to leave the commit and look, as for a tag.
	Since(name string, since Cursor, hidden func(name string) bool) (bool, error)
}
