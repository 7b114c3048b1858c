package tree

import (
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
	// Since says that versions which gave way before that time need not be yielded (zero: all are). A store may yield
	// them all the same.
	Since time.Time
}

// RestoreOptions qualify a [Store.Restore].
type RestoreOptions struct {
	NoOverwrite bool // fail with ErrExist if the name is taken
}
