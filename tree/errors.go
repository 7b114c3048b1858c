package tree

import (
	"errors"
	"fmt"
	iofs "io/fs"
)

// The errors of a [Store]. They come wrapped, with the operation and the name; compare them with [errors.Is].
var (
	ErrNotExist   = iofs.ErrNotExist   // nothing is there
	ErrExist      = iofs.ErrExist      // something is there
	ErrPermission = iofs.ErrPermission // the operating system forbids it

	ErrNoParent      = errors.New("the collection it belongs to does not exist")
	ErrIsCollection  = errors.New("is a collection")
	ErrNotCollection = errors.New("is not a collection")
	ErrSame          = errors.New("source and destination are the same")
	ErrNested        = errors.New("source and destination contain one another")
	ErrReserved      = errors.New("the name is reserved")                        // the store keeps its own state there
	ErrLink          = errors.New("a symbolic link is on the way")               // writes do not go through links
	ErrEscapes       = errors.New("a symbolic link leads out of the tree")       //
	ErrSpecial       = errors.New("is neither a file nor a collection")          // a device, a pipe, a socket
	ErrNameTooLong   = errors.New("the name is longer than the disk can take")   //
	ErrNoSpace       = errors.New("no space is left")                            // of the disk, a quota, or a bound
	ErrReadOnly      = errors.New("the tree is read-only")                       //
	ErrReadOnlyDisk  = errors.New("the disk is read-only")                       // it was not always, or not all of it is
	ErrTooLarge      = errors.New("larger than the disk takes a file")           //
	ErrBadName       = errors.New("the disk takes no such name")                 // in which not every byte can be
	ErrDisk          = errors.New("the disk fails")                              //
	ErrTime          = errors.New("the disk keeps no such time")                 //
	ErrExhausted     = errors.New("out of memory, or of open files")             // of this process or the system; try again
	ErrLost          = errors.New("the tree, or the state beside it, is gone")   // until it is opened anew
	ErrBusy          = errors.New("is changing too fast, or is held by another") // try again
	ErrWriter        = fmt.Errorf("a program on the server has it open for writing (%w)", ErrBusy)
	ErrChanged       = fmt.Errorf("a program on the server has changed it while it was read (%w)", ErrBusy)
	ErrHeld          = fmt.Errorf("another process holds the directory (%w)", ErrBusy)
	ErrRoomKept      = fmt.Errorf("the room is kept for uploads on the way (%w)", ErrNoSpace)
	ErrSegmentLong   = fmt.Errorf("a segment of it is (%w)", ErrNameTooLong)
	ErrNoLock        = errors.New("no such lock covers it")             //
	ErrUnsupported   = errors.New("the file system below cannot do it") //
	ErrOtherMount    = errors.New("the disk cannot rename it there")    //
	ErrUnsure        = errors.New("it has happened, and may not last")  // the only error after a change
	ErrTagUnknown    = errors.New("the tag is not known yet")           // only between a Check and its Store
)

// A MountedError reports that something cannot be moved, removed or replaced because a file system is mounted at a name: at
// it, or below it.
type MountedError struct{ Name string }

func (e *MountedError) Error() string { return fmt.Sprintf("a file system is mounted at %q", e.Name) }

// A MemberError reports at which member of a collection a change of the whole has failed: below its source, or below its
// destination. Nothing has changed.
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

// A BodyError reports that the content a client sent broke off, or is not what it said it would be. It is the client's
// failure, not the disk's, and the old version is still there.
type BodyError struct{ Err error }

func (e *BodyError) Error() string { return "reading the body: " + e.Err.Error() }
func (e *BodyError) Unwrap() error { return e.Err }

// A BoundError reports that there is as much of something as there can be, of one client or of all. It is an [ErrNoSpace].
type BoundError struct{ Reason string }

func (e *BoundError) Error() string { return e.Reason }
func (e *BoundError) Unwrap() error { return ErrNoSpace }

// A LockedError reports the lock that is in the way, and the name it protects.
type LockedError struct {
	Name string
	Lock Lock
}

func (e *LockedError) Error() string { return fmt.Sprintf("%q is locked at %q", e.Name, e.Lock.Root) }
