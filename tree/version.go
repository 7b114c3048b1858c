package tree

import (
	"context"
	"iter"
	"time"
)

// A Version is a former version of a name, which a write replaced or removed. The history of a [Store] keeps it for a
// time.
type Version struct {
	State        // of the kept version: Name is its former name, or "" if that is not known any more
	ID    string // unique, and never used again
	// Target is the target of a version that is a link.
	Target string
	Gone   time.Time // when the version was replaced or removed
	// Cause is the method that replaced or removed it, or another word such as [CauseLate].
	Cause     string
	Principal Principal // the user of that request
	// Late says that a local program wrote to the version after it was replaced.
	Late bool
}

// CauseLate is the cause of a version that came about when a local program wrote to a replaced version.
const CauseLate = "late"

// VersionOptions qualify a [Store.Versions].
type VersionOptions struct {
	Want Want // WantTag, or 0 for the tags that are known
	// Inside is the ID of a version that is a collection. Then the versions are its members, by name.
	Inside string
}

// RestoreOptions qualify a [Store.Restore].
type RestoreOptions struct {
	NoOverwrite bool // fail with ErrExist if the name is taken
}

// A Change is a change that a write has made to the tree.
type Change struct {
	Cursor    Cursor // the position after this change, for [Feed.Changes]
	Name      string // the name whose content or existence has changed
	From      string // of a MOVE, the former name, else ""
	State     State  // the state after the change: Exists is false if the name was removed
	Cause     string // the method, or another word
	Principal Principal
	Time      time.Time // by the clock of the store
}

// A Cursor is a position in the order of all changes of a store. The zero value is before all changes that the store
// knows.
type Cursor string

// A Feed is a [Store] that reports its changes.
type Feed interface {
	// Changes yields the changes after a cursor in the order in which they happened, and waits for more until the
	// context ends. [ErrNotExist] means that the store has forgotten changes after the cursor, so that the tree has
	// to be listed again.
	Changes(ctx context.Context, since Cursor) iter.Seq2[Change, error]
}
