package tree

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strings"
	"time"
)

// The errors of the protocol between a [Store] and its callers. They are wrapped with the operation and the name, so
// compare them with [errors.Is].
var (
	ErrNotExist     = iofs.ErrNotExist
	ErrExist        = iofs.ErrExist
	ErrPermission   = iofs.ErrPermission                                               // of the store itself, on its storage
	ErrLink         = fmt.Errorf("a symbolic link is on the path (%w)", ErrPermission) // nothing is written through one
	ErrNoParent     = errors.New("the collection it belongs to does not exist")
	ErrIsCollection = errors.New("is a collection")
	ErrSame         = errors.New("source and destination are the same")
	ErrNested       = errors.New("source and destination contain one another")
	ErrReserved     = errors.New("the name is reserved") // for the state of the store
	ErrBadName      = errors.New("no such name can be kept")
	ErrNameTooLong  = errors.New("the name is too long")
	ErrTooMany      = errors.New("it has more members than are listed") // see [ListOptions]
	ErrNoLock       = errors.New("no such lock covers it")
	ErrBusy         = errors.New("is changing too fast, or is in use") // try again
	ErrChanged      = fmt.Errorf("a program on the server has changed it while it was read (%w)", ErrBusy)
	ErrUnsure       = errors.New("it has happened, and may not last") // the only error after a change, but see Store.Move
	ErrTagUnknown   = errors.New("the tag is not known yet")          // only between a Check and its Store

	// ErrSegmentLong is an ErrNameTooLong of a name that is short enough as a whole.
	ErrSegmentLong = fmt.Errorf("a segment of it is (%w)", ErrNameTooLong)
)

// A RespelledError is what a Check returns if the resource that it is about has come to another spelling of its name
// since the request has begun. See [PutOptions]. Elsewhere it is an [ErrBusy]: the next request finds that spelling.
type RespelledError struct {
	Name string // the spelling that exists, in the same collection
}

func (e *RespelledError) Error() string {
	return fmt.Sprintf("it has come as %q meanwhile (%v)", e.Name, ErrBusy)
}
func (e *RespelledError) Unwrap() error { return ErrBusy }

// The limits and failures of the storage. Mostly they are the kind of a [StorageError].
var (
	ErrNoSpace     = errors.New("no space is left") // on the storage, in a quota, or within a limit
	ErrReadOnly    = errors.New("the tree is read-only")
	ErrTime        = errors.New("no such time can be kept")
	ErrUnsupported = errors.New("the store cannot keep that")
	ErrNotServed   = errors.New("something is there that is not served")
	ErrTooLarge    = errors.New("larger than a file can be")
	ErrUnavailable = errors.New("what is served is not there now") // try again
	ErrFailed      = errors.New("the storage has failed")
)

// kinds are the errors of the protocol that the cause of a [StorageError] may be, too.
var kinds = []error{
	ErrNotExist, ErrExist, ErrPermission, ErrLink, ErrNoParent, ErrIsCollection, ErrSame, ErrNested, ErrReserved, ErrBadName,
	ErrNameTooLong, ErrTooMany, ErrNoLock, ErrBusy, ErrChanged, ErrUnsure, ErrTagUnknown, ErrSegmentLong, ErrNoSpace,
	ErrReadOnly, ErrTime, ErrUnsupported, ErrNotServed, ErrTooLarge, ErrUnavailable, ErrFailed,
}

// A StorageError reports that the storage of a [Store] cannot do something, and says why. [errors.Is] finds its Kind.
type StorageError struct {
	Kind error // one of the errors above
	// Hint is a sentence for people: the reason, and the remedy.
	Hint string
	// RetryAfter is the time after which the operation may succeed (0: that depends on the Kind).
	RetryAfter time.Duration
	Err        error // the cause, for the log (may be nil)
}

// Error returns the first part of the hint, and the cause.
func (e *StorageError) Error() string {
	why, _, _ := strings.Cut(e.Hint, ";")
	if e.Err != nil {
		why += ": " + e.Err.Error()
	}
	return why
}

// Unwrap returns the kind.
func (e *StorageError) Unwrap() error { return e.Kind }

// Is finds causes that are no error of the protocol. A server of a database whose socket is not there says nothing of a
// resource.
func (e *StorageError) Is(target error) bool {
	return e.Err != nil && !slices.Contains(kinds, target) && errors.Is(e.Err, target)
}

// As finds the cause.
func (e *StorageError) As(target any) bool { return e.Err != nil && errors.As(e.Err, target) }

// A MemberError reports the member of a collection, below the source or the destination, at which a change of the whole
// collection has failed. Nothing has changed.
type MemberError struct {
	Name       string
	Collection bool
	Err        error
}

func (e *MemberError) Error() string { return fmt.Sprintf("at the member %q: %v", e.Name, e.Err) }
func (e *MemberError) Unwrap() error { return e.Err }

// A BadNameError reports a name that cannot exist.
type BadNameError struct {
	Name   string
	Reason string
}

func (e *BadNameError) Error() string { return fmt.Sprintf("the name %q %s", e.Name, e.Reason) }

// A BodyError reports that the body of a client broke off, or has another length than announced. The client has
// failed, not the store, and the old version is still there.
type BodyError struct{ Err error }

func (e *BodyError) Error() string { return "reading the body: " + e.Err.Error() }
func (e *BodyError) Unwrap() error { return e.Err }

// A LockedError reports a lock whose token was not sent, and the name that it protects.
type LockedError struct {
	Name string
	Lock Lock
}

func (e *LockedError) Error() string { return fmt.Sprintf("%q is locked at %q", e.Name, e.Lock.Root) }
