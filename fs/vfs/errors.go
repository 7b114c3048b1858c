package vfs

import (
	"errors"
	"fmt"
	"syscall"
)

// The errors of this package, besides those of io/fs and the operating system.
var (
	ErrLink   = errors.New("a symbolic link is on the way")
	ErrBusy   = errors.New("another process holds the lock")
	ErrWriter = fmt.Errorf("a program has the file open for writing (%w)", ErrBusy)

	// ErrAttribute says that an extended attribute has no room for a value, which has little to do with that on the disk.
	ErrAttribute = fmt.Errorf("more than can be kept beside a file (%w)", syscall.ENOSPC)
)

var errNoLease = fmt.Errorf("no leases: %w", errors.ErrUnsupported)
