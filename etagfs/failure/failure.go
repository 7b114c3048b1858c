// Package failure says in the words of the contract why a directory fails: which error of package tree an error of the
// file system is, and the hint that its user sees.
package failure

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"syscall"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// These are the errors of a directory, with the hints that users see.
var (
	errDenied  = forbidden("the user of the server has no right to do that on its disk; the administrator can grant it")
	errEscapes = &tree.StorageError{Kind: tree.ErrNotServed, Hint: "a symbolic link leads out of what is served"}
	errSpecial = &tree.StorageError{Kind: tree.ErrNotServed, Hint: "this is neither a file nor a collection"}
	errNoGive  = forbidden("the disk cannot give that name away: something is mounted on it, or it is a directory in " +
		"a lower layer of an overlay; nothing has changed")
	// ErrReadOnlyDisk says that the file system is mounted read-only.
	ErrReadOnlyDisk = &tree.StorageError{Kind: tree.ErrReadOnly,
		Hint: "the disk it is on is read-only; nothing has changed; the administrator can mount it writable"}
	// ErrLost says that what the store serves is gone from the disk.
	ErrLost = &tree.StorageError{Kind: tree.ErrUnavailable, RetryAfter: time.Second,
		Hint: "what is served here is gone from the server's disk, or its own state is; nothing has changed, and its " +
			"log says more"}
	// ErrExhausted says that the process has too many files open.
	ErrExhausted = &tree.StorageError{Kind: tree.ErrUnavailable, RetryAfter: time.Second,
		Hint: "the server has too much open at once; nothing has changed, try again"}
	errDisk = &tree.StorageError{Kind: tree.ErrFailed,
		Hint: "the disk fails; what was there is there, and the server's log says what it said"}
	errTooLarge = &tree.StorageError{Kind: tree.ErrTooLarge,
		Hint: "the disk takes no file as large as that; nothing has changed"}
	errBadName  = &tree.StorageError{Kind: tree.ErrBadName, Hint: "the disk takes no such name; use another one"}
	errLongName = &tree.StorageError{Kind: tree.ErrNameTooLong, Hint: "the disk takes no name as long as that"}
	errNoSpace  = &tree.StorageError{Kind: tree.ErrNoSpace,
		Hint: "there is no room for it: the disk is full, or a quota is reached; nothing has changed; make room, and " +
			"try again"}
	errRoomKept = &tree.StorageError{Kind: tree.ErrNoSpace,
		Hint: "the disk has the room, but uploads that are on the way have announced that they need it; nothing has " +
			"changed; try again when they have ended"}
	errTime        = &tree.StorageError{Kind: tree.ErrTime, Hint: "the disk keeps no such time; nothing has changed"}
	errUnsupported = &tree.StorageError{Kind: tree.ErrUnsupported,
		Hint: "the disk cannot keep that; nothing has changed"}
	// ErrWriter says that a local program has the file open for writing.
	ErrWriter = Busy("a program on the server has it open for writing; nothing has been done, try again when it has " +
		"finished")
	// ErrHeldUp says that a commit did not end in time, since its disk does not answer.
	ErrHeldUp = Busy("a change on the way to it does not come to its end, since its disk does not answer; try again")
	// ErrDirHeld says that another process holds the lock of the directory.
	ErrDirHeld = Busy("another program on the server holds the lock of the directory; nothing has been done, try again")
)

// ErrNotCollection says that the resource to be read as a directory is no directory.
var ErrNotCollection = errors.New("is not a collection")

func forbidden(hint string) *tree.StorageError {
	return &tree.StorageError{Kind: tree.ErrPermission, Hint: hint}
}

// Busy returns a [tree.ErrBusy] with a hint. The client may try again after a second.
func Busy(hint string) *tree.StorageError {
	return &tree.StorageError{Kind: tree.ErrBusy, Hint: hint, RetryAfter: time.Second}
}

// Full returns the error that a bound is reached, for one client or for all clients.
func Full(format string, args ...any) error {
	return &tree.StorageError{Kind: tree.ErrNoSpace, Hint: fmt.Sprintf(format, args...) + "; nothing has changed"}
}

// meanings maps an error of the file system to the error for the user of a store. An error that is not in it is passed
// on as it is.
var meanings = []struct{ below, above error }{
	{fs.ErrAway, tree.ErrUnsure},
	{fs.ErrShelved, tree.ErrUnsure},
	{fs.ErrStands, tree.ErrUnsure},
	{volumes.ErrReserved, tree.ErrReserved},
	{vfs.ErrLink, tree.ErrLink},
	{volumes.ErrEscapes, errEscapes},
	{volumes.ErrSpecial, errSpecial},
	{vfs.ErrWriter, ErrWriter},
	{vfs.ErrBusy, tree.ErrBusy},
	{volumes.ErrMoved, tree.ErrBusy},
	{syscall.EAGAIN, tree.ErrBusy},
	{syscall.ELOOP, tree.ErrNotExist},
	{syscall.ENOTDIR, tree.ErrNotExist},
	{syscall.ENAMETOOLONG, errLongName},
	{room.ErrKept, errRoomKept},
	{syscall.ENOSPC, errNoSpace},
	{syscall.EDQUOT, errNoSpace},
	{syscall.EXDEV, errNoGive},
	{syscall.EBUSY, errNoGive}, // the name itself is a mount point
	{syscall.EROFS, ErrReadOnlyDisk},
	{syscall.EFBIG, errTooLarge},
	{syscall.EILSEQ, errBadName},
	{syscall.EMFILE, ErrExhausted},
	{syscall.ENFILE, ErrExhausted},
	{syscall.ENOMEM, ErrExhausted},
	{syscall.EACCES, errDenied},
	{syscall.EPERM, errDenied},
	{syscall.EIO, errDisk},
	{syscall.ENXIO, errDisk},
	{syscall.ENODEV, errDisk},
	{syscall.ENOTCONN, errDisk}, // a FUSE file system whose server has ended
	{syscall.ESTALE, errDisk},   // the NFS server does not know the file any more
	{volumes.ErrLost, ErrLost},
	{volumes.ErrTime, errTime},
	{errors.ErrUnsupported, errUnsupported},
}

// OfFollow returns a [tree.Follow] as one of [volumes.Snapshot].
func OfFollow(follow tree.Follow) func(at string, err error) error {
	if follow == nil {
		return nil
	}
	return func(at string, err error) error { return follow(at, Of(err)) }
}

// Unsure marks the error of a step after the change. The change is not acknowledged, and it is there.
func Unsure(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", tree.ErrUnsure, err)
}

// Of returns the error of the contract that an error of the file system means. That error wraps the given one. An error
// without a meaning of its own is returned as it is.
func Of(err error) error {
	if err == nil {
		return nil
	}
	is := errors.Is
	if isPlain(err) {
		is = func(err, target error) bool { return err == target }
	} else if member := new(tree.MemberError); errors.As(err, &member) {
		return &tree.MemberError{Name: member.Name, Collection: member.Collection, Err: Of(member.Err)}
	} else if mounted := new(fs.MountedError); errors.As(err, &mounted) {
		return forbidden(fmt.Sprintf("a file system is mounted at %q, so that this can be neither moved nor removed; "+
			"its members can; nothing has changed", mounted.At))
	}
	for _, m := range meanings {
		if is(err, m.below) && !is(err, m.above) {
			return fmt.Errorf("%w: %w", m.above, err)
		}
	}
	return err
}

// isPlain reports whether an error is no other error than itself. Conditions fail with such errors, and so each 304 and
// each 412 has one. To search that one for all errors of a disk would take longer than all else that the answer needs.
func isPlain(err error) bool {
	switch err.(type) {
	case *tree.MemberError, *fs.MountedError, interface{ Unwrap() error }, interface{ Unwrap() []error },
		interface{ Is(error) bool }, interface{ As(any) bool }:
		return false
	}
	return true
}

// Lock explains why the locks of a commit cannot be had.
func Lock(err error) error {
	switch {
	case errors.Is(err, volumes.ErrHeldUp):
		return fmt.Errorf("%w: %w", ErrHeldUp, err)
	case errors.Is(err, vfs.ErrBusy):
		return fmt.Errorf("%w: %w", ErrDirHeld, err)
	}
	return err
}

// OfStaging is [Of] for an error of a staged file. It distinguishes two errors: the staging directory is gone, or the
// name that a client asked for does not exist.
func OfStaging(err error) error {
	if errors.Is(err, iofs.ErrNotExist) {
		return fmt.Errorf("%w: %v", ErrLost, err)
	}
	return Of(err)
}

// maxOnce bounds the subjects whose errors are remembered.
const maxOnce = 1 << 10

// Once reports errors that come again and again: the error of a subject is not reported if it is the same as before.
type Once struct {
	report func(error)
	told   *lru.Cache[string, string] // the last error by subject
}

// NewOnce returns a Once that reports to report.
func NewOnce(report func(error)) *Once {
	told, _ := lru.New[string, string](maxOnce) // it fails only for a size below one
	return &Once{report, told}
}

// Report reports an error of a subject, such as a file by its name.
func (o *Once) Report(subject string, err error) {
	if before, ok := o.told.Get(subject); !ok || before != err.Error() {
		o.told.Add(subject, err.Error())
		o.report(err)
	}
}

// Forget says that a subject has no error any more. Its next one is reported.
func (o *Once) Forget(subject string) { o.told.Remove(subject) }
