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

func uncache(*os.File) {}

// kindsIn returns the next members of a directory, with only name and kind. The kind is Nothing if the file system does
// not tell it. It returns io.EOF at the end. See getdents64(2).
func kindsIn(*os.File) ([]Info, error) { return nil, errors.ErrUnsupported }

func reflink(_, _ *os.File) error { return errors.ErrUnsupported }
func nextData(_ *os.File, _ int64) (from, to int64, err error) {
	return 0, 0, errors.ErrUnsupported
}
func copyRange(_, _ *os.File, _ int64, _ int) (int, error) { return 0, errors.ErrUnsupported }

func lease(*os.File) error          { return errNoLease }
func unlease(*os.File)              {}
func leased(*os.File) (bool, error) { return false, errNoLease }

func mapWritable(*os.File) ([]byte, error) { return nil, errNoLease }
func unmap([]byte)                         {}

// HolderOf says which process has an open file locked. This system does not tell.
func HolderOf(*os.File) string { return "another process" }
