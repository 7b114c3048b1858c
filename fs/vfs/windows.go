//go:build windows

package vfs

import (
	"errors"
	"os"
)

// NoWait makes an open of the operating system wait for no pipe and no lease; here none waits.
const NoWait = 0

// No two servers share a directory here: os.Root's files cannot be locked without their being unreadable for others.
func tryFlock(*os.File) error { return errors.ErrUnsupported }
func funlock(*os.File) error  { return nil }

// A directory cannot be synced here; NTFS keeps its names in a journal.
func fsyncDir(*os.File) error { return nil }
