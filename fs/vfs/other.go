//go:build !linux

package vfs

import (
	"errors"
	"os"
)

func openKernel(root *os.Root) (System, error) { return newRootSystem(root), nil }

func (rootSystem) RenameNew(At, string, At, string) error { return errors.ErrUnsupported }
func (rootSystem) Exchange(At, string, At, string) error  { return errors.ErrUnsupported }

// Renew does nothing: this system is not known to remember wrong names.
func (rootSystem) Renew(At, string, string) {}

func fdatasync(f *os.File) error { return f.Sync() }

func syncfs(*os.File) error { return errors.ErrUnsupported }

func (osFiles) Lease(*File) error          { return errNoLease }
func (osFiles) Leased(*File) (bool, error) { return false, errNoLease }
func (osFiles) Unlease(*File)              {}

func unmap([]byte) {}

// HolderOf says which process has an open file locked. This system does not tell.
func HolderOf(*os.File) string { return "another process" }
