//go:build windows

package vfs

import (
	"errors"
	"os"
)

// NoWait makes an open of the operating system not wait for a pipe or a lease. On this system no open waits.
const NoWait = 0

// No two servers share a directory here: a lock on a file of os.Root would make it unreadable for other programs.
func tryFlock(*os.File) error { return errors.ErrUnsupported }
func funlock(*os.File) error  { return nil }

// A directory cannot be synced here. NTFS keeps its names in a journal.
func fsyncDir(*os.File) error { return nil }
