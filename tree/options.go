package tree

import (
	"crypto"
	"time"

	"golang.org/x/net/webdav"
)

// Want says which values a caller needs beyond names, sizes and times. A store computes no others.
type Want uint8

// The values that a State has only on request.
const (
	WantTag Want = 1 << iota
	WantProperties
	WantLocks
	WantSums
)

// A Follow decides about a look that a symbolic link has led to another name. It gets that name, without links, or the
// error of the look. Its error becomes the error of the look, and [ErrNotExist] means that the link leads nowhere. A
// store asks it before it opens, hashes or lists what the link has led to. It must not call the store.
type Follow func(target string, err error) error

// ReadOptions qualify a [Store.Stat] and a [Store.Open].
type ReadOptions struct {
	Want Want
	// TagDeadline is the time until which the store waits for an unknown tag or unknown sums. After it, the store
	// leaves them out. Zero: the store always waits. The deadline does not apply to a Condition.
	TagDeadline time.Time
	Follow      Follow // asked about links (nil: all are followed)
	// NoContent says that no byte of an opened content will be asked for, so that a store need not open it.
	NoContent bool
}

// ListOptions qualify a [Store.List].
type ListOptions struct {
	Want        Want
	TagDeadline time.Time // as in [ReadOptions]
	Depth       int       // 0: only the resource, 1: also its members, -1: also all members below
	Limit       int       // the maximum number of members below it (0: no limit), see [ErrTooMany]
	// Show selects members (nil: all). Other members are not listed, entered or counted. resolved is as in [State]. A
	// member that is a link may be a collection. Show is called often, and must not call the store.
	Show   func(name string, resolved *string, collection bool) bool
	Follow Follow // as in [ReadOptions]. A member that is a link to nowhere is left out
}

// Reading returns the same options for one of the listed resources.
func (o ListOptions) Reading() ReadOptions {
	return ReadOptions{Want: o.Want, TagDeadline: o.TagDeadline, Follow: o.Follow}
}

// PutOptions qualify a [Store.Put].
type PutOptions struct {
	// Modified is the modification time to record, which may be any time. Zero: now, or up to a second later, so that
	// the time is later than any that was sent for another version of the name. A store that cannot record the time
	// ignores it. The returned State has the time that was recorded.
	Modified time.Time
	// Length is the expected length of the body in bytes, or -1 if it is not known. If the body has another length,
	// the error is a [BodyError] and nothing is stored. If there is no room for it, the error is [ErrNoSpace] before
	// the body is read.
	Length int64
	// Hashes are computed of the body while it is read, besides the SHA-256 of its tag.
	Hashes []crypto.Hash
	// Verify, if not nil, is called after the body has been read, before the Check of the commit and before the new
	// version is visible. If it fails, nothing is stored and the caller gets its error.
	Verify func(Sums) error
	// Describe, if not nil, returns a change of the dead properties for the tag of the body. It is made in the same
	// commit, unless the store cannot keep the properties, or has no room for them. A file that has these bytes already
	// gets a new version only if its properties differ.
	Describe func(ETag) []webdav.Proppatch
	// Respelled, if not nil, is called if the Check of the commit fails with a [RespelledError]. The body has arrived
	// then, and the store goes on with that name and with the condition that Respelled returns for it.
	Respelled func(name string) (Condition, error)
}

// CopyOptions qualify a [Store.Copy] and a [Store.Move].
type CopyOptions struct {
	NoOverwrite bool // RFC 4918 §10.6 "Overwrite: F": fail with ErrExist if the destination exists
	Shallow     bool // RFC 4918 §9.8.3 "Depth: 0": a collection without its members (Copy only)

	// Modified is the modification time of the destination, not that of its members.
	// Zero: a copy gets the time that it would get anyway, and a moved resource keeps its time. A store that cannot
	// record the time ignores it, also where the owner of a moved file does not permit the change. The returned State
	// has the time that was recorded.
	Modified time.Time
}

// MkdirOptions qualify a [Store.Mkdir].
type MkdirOptions struct {
	Modified time.Time // the modification time to record (zero, or a time that cannot be recorded: now)
}

// A Patch changes the properties of one resource, all of it or nothing.
type Patch struct {
	// Properties are set or removed in this order (RFC 4918 §9.2).
	Properties []webdav.Proppatch
	// Modified is the modification time to record (zero: no change). If the store cannot record it, the error is
	// [ErrTime].
	Modified time.Time
	// Executable says whether local programs may execute the file (nil: no change). For a collection the error is
	// [ErrIsCollection].
	Executable *bool
}
