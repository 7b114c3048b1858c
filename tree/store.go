package tree

import (
	"context"
	"io"
	"iter"
	"time"
)

// A Store is a tree of files and collections. All names are canonical (see [CheckName]). All methods may be called
// concurrently.
//
// Writes are linearizable. Each write happens at one instant between its call and its return, and its Condition is
// true at that instant. A failed write has changed nothing, unless the error is [ErrUnsure]. A reader sees the old
// version or the new version, whole. No call waits for the body of another call. The documentation of each store says
// what is durable when a write returns.
//
// Errors wrap the errors of this package, besides those that a Check returns.
type Store interface {
	// Stat returns the state of a name. The error is [ErrNotExist] if nothing is there.
	Stat(ctx context.Context, name string, opts ReadOptions) (State, error)

	// List yields a resource and, if it is a collection, the members below it up to the Depth, each collection before
	// its members. It follows no link but dir itself. The condition is checked against the state that is yielded
	// first. Its error and [ErrTooMany] come before everything else. A member that cannot be read is yielded with an
	// error and its name, and the listing goes on. An error with an empty name ends the listing.
	List(ctx context.Context, dir string, opts ListOptions, cond Condition) iter.Seq2[State, error]

	// Open opens the content of a file. The State, with its tag and its properties, belongs to the opened version.
	// The condition is checked against that State: the View of its Check returns it for the name. A tag that is not
	// known at TagDeadline stays unknown.
	Open(ctx context.Context, name string, opts ReadOptions, cond Condition) (Content, State, error)

	// Try checks a condition against the current tree, and changes nothing. A handler can so refuse a request before
	// it reads the body. The write itself checks the condition again when it commits.
	Try(ctx context.Context, cond Condition) error

	// Put stores body as the content of a file, and reports whether the name is new. The collection of the name must
	// exist ([ErrNoParent]). The name must not be a collection ([ErrIsCollection]). An error of body is returned as a
	// [BodyError].
	Put(ctx context.Context, name string, body io.Reader, opts PutOptions, cond Condition) (s State, created bool, err error)

	// Mkdir makes a collection. The name must be free ([ErrExist]), and its collection must exist ([ErrNoParent]).
	Mkdir(ctx context.Context, name string, opts MkdirOptions, cond Condition) (State, error)

	// Remove removes a file, or a collection with all members below it, and their locks.
	Remove(ctx context.Context, name string, cond Condition) error

	// Move renames from to the name to, and replaces a resource at that name. It ends the locks on from and on
	// members of the replaced resource. Locks on to itself remain. The errors are [ErrSame] if both names are the
	// same, and [ErrNested] if one contains the other. A store that has to copy can fail with [ErrBusy] after that, if
	// the source was changed meanwhile: then both are there, and the [StorageError] says so.
	Move(ctx context.Context, from, to string, opts CopyOptions, cond Condition) (s State, created bool, err error)

	// Copy copies from to the name to, and replaces a resource at that name, all of it at one instant. The errors are
	// those of Move. The copy has the properties of the original and none of its locks. If a member cannot be copied,
	// the error is a [MemberError], also of a Move that has to copy.
	Copy(ctx context.Context, from, to string, opts CopyOptions, cond Condition) (s State, created bool, err error)

	// Lock takes a lock, and makes an empty file if nothing is there (RFC 4918 §7.3). The error is a [LockedError] if
	// another lock conflicts.
	Lock(ctx context.Context, req LockRequest, cond Condition) (l Lock, created bool, err error)

	// Refresh sets the timeout of the lock that covers name and has one of the tokens, counted from now. The error is
	// [ErrNoLock] if there is no such lock.
	Refresh(ctx context.Context, name string, tokens []string, timeout time.Duration, cond Condition) (Lock, error)

	// Unlock ends the lock with this token. The error is [ErrNoLock] if no such lock covers name.
	Unlock(ctx context.Context, name, token string, cond Condition) error

	// PatchProperties applies a patch to a resource. The error is [ErrNotExist] if nothing is there.
	PatchProperties(ctx context.Context, name string, patch Patch, cond Condition) error

	// Versions yields the versions that the history keeps of a name and of all names below it, the oldest first. An
	// error ends the sequence.
	Versions(ctx context.Context, name string, opts VersionOptions) iter.Seq2[Version, error]

	// OpenVersion opens the content of a version that is a file. The error is [ErrNotExist] if the history keeps it
	// no longer.
	OpenVersion(ctx context.Context, id string) (Content, Version, error)

	// Restore makes a copy of a version at a name, with its properties and all its members. The version stays in the
	// history. A replaced version goes into the history. The error is [ErrSame] if the name has the same content
	// already.
	Restore(ctx context.Context, id, to string, opts RestoreOptions, cond Condition) (s State, created bool, err error)
}

// A Speller is a [Store] in which a name can stand for another name that exists and that people read as the same
// name.
type Speller interface {
	// Spelled returns the existing name that a name from a client stands for. It returns the name itself if that
	// exists, if no such name exists, or if there are several.
	Spelled(ctx context.Context, name string) (string, error)
}

// Quotas is a [Store] that knows how many bytes are used and available (RFC 4331). ErrUnsupported says that it does
// not know that for this name.
type Quotas interface {
	Quota(ctx context.Context, name string) (used, available int64, err error)
}

// An Allowance is what a limit leaves of a path. It is not the room on the storage.
type Allowance struct {
	Name            string // of the collection that is limited, with all below it
	Used, Available int64  // in bytes
}

// Limited is a [Store] that bounds how many bytes may be below some names. A write that would have a sum grow above its
// limit fails with [ErrNoSpace].
type Limited interface {
	// Allowances returns what the limits of a name leave, the innermost first. A limit whose sum is not known yet is
	// missing.
	Allowances(name string) []Allowance

	// Reserve keeps room for a file of some bytes that is to get a name, for bodies that come in several requests. The
	// error is [ErrNoSpace], or [ErrBusy] while the sums are not known. The Put of the file uses the room if its context
	// is one of [WithReservation]. The caller ends the reservation after that, or without it. A reservation lives as long
	// as the process.
	Reserve(ctx context.Context, name string, bytes int64) (Reservation, error)
}

// A Reservation is room that is kept.
type Reservation interface {
	// End gives the room back. It may be called more than once.
	End()
}
