package tree

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"strings"
	"time"
)

// The errors of the protocol between a [Store] and its callers. They are wrapped with the operation and the name, so
// compare them with [errors.Is].
var (
	ErrNotExist     = iofs.ErrNotExist
	ErrExist        = iofs.ErrExist
	ErrPermission   = iofs.ErrPermission                                      // of the store itself, on its storage
	ErrLink         = kindOf(ErrPermission, "a symbolic link is on the path") // nothing is written through one
	ErrNoParent     = kind("the collection it belongs to does not exist")
	ErrIsCollection = kind("is a collection")
	ErrSame         = kind("source and destination are the same")
	ErrNested       = kind("source and destination contain one another")
	ErrReserved     = kind("the name is reserved") // for the state of the store
	ErrBadName      = kind("no such name can be kept")
	ErrNameTooLong  = kind("the name is too long")
	ErrTooMany      = kind("it has more members than are listed") // see [ListOptions]
	ErrNoLock       = kind("no such lock covers it")
	ErrBusy         = kind("is changing too fast, or is in use") // try again
	ErrChanged      = kindOf(ErrBusy, "a program on the server has changed it while it was read")
	ErrUnsure       = kind("it has happened, and may not last") // the only error after a change, but see Store.Move
	ErrTagUnknown   = kind("the tag is not known yet")          // only between a Check and its Store

	// ErrSegmentLong is an ErrNameTooLong of a name that is short enough as a whole.
	ErrSegmentLong = kindOf(ErrNameTooLong, "a segment of it is")
)

// A protocolError is one of the errors of the protocol. It may be a special case of another one.
type protocolError struct {
	text string
	of   error // nil: of none
}

func kind(text string) error             { return &protocolError{text: text} }
func kindOf(of error, text string) error { return &protocolError{text, of} }

func (e *protocolError) Error() string {
	if e.of == nil {
		return e.text
	}
	return fmt.Sprintf("%s (%v)", e.text, e.of)
}
func (e *protocolError) Unwrap() error { return e.of }

// isKind reports whether an error is one of the protocol, itself.
func isKind(err error) bool {
	_, ours := err.(*protocolError)
	return ours || err == ErrNotExist || err == ErrExist || err == ErrPermission
}

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
	ErrNoSpace     = kind("no space is left") // on the storage, in a quota, or within a limit
	ErrReadOnly    = kind("the tree is read-only")
	ErrTime        = kind("no such time can be kept")
	ErrUnsupported = kind("the store cannot keep that")
	ErrNotServed   = kind("something is there that is not served")
	ErrTooLarge    = kind("larger than a file can be")
	ErrUnavailable = kind("what is served is not there now") // try again
	ErrFailed      = kind("the storage has failed")
)

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
	return e.Err != nil && !isKind(target) && errors.Is(e.Err, target)
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
