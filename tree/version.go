package tree

import (
	"context"
	"iter"
	"time"
)

// A Version is one that a name had, and that gave way to a write. The history of a [Store] keeps it for a time.
type Version struct {
	State        // as it is kept: Name is the name that it had, "" where that is not known any more
	ID    string // no two versions have the same, and none gets another one
	// Target is where a Link led.
	Target string
	Gone   time.Time // when it gave way
	// Cause is the method to which it gave way, or another word for that; see [CauseLate].
	Cause     string
	Principal Principal // for whom that was done
	// Late: a local program has written to it after it gave way.
	Late bool
}

// CauseLate is the cause of a version that a local program made by writing to one that had given way.
const CauseLate = "late"

// VersionOptions qualify a [Store.Versions].
type VersionOptions struct {
	Want Want // WantTag, or nothing more than is known
	// Inside is the ID of a version that is a collection: then the versions are those of its members, by name.
	Inside string
}

// RestoreOptions qualify a [Store.Restore].
type RestoreOptions struct {
	NoOverwrite bool // fail with ErrExist where something is at the name
}

// A Change is one that a write has made to the tree.
type Change struct {
	Cursor    Cursor // from which [Feed.Changes] goes on behind this change
	Name      string // what has changed: its content, or what is at the name
	From      string // of a MOVE, the name that it had; else ""
	State     State  // as the change has left it: Exists is false for what was removed
	Cause     string // the method, or another word for what was done
	Principal Principal
	Time      time.Time // by the clock of the store
}

// A Cursor is a place in the order of all changes of a store. The zero value comes before those that the store still knows.
type Cursor string

// A Feed is a [Store] that tells of its changes.
type Feed interface {
	// Changes yields the changes after a cursor, in the order in which they happened, and waits for more until the context is
	// done. [ErrNotExist] says that the store does not know any more what came after the cursor: then the tree has to be listed
	// anew.
	Changes(ctx context.Context, since Cursor) iter.Seq2[Change, error]
}
