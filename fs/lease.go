package fs

import (
	"github.com/spf13/afero"

	"ifmatch/fs/vfs"
)

// A Lease is a read lease on an open file (fcntl(2), F_SETLEASE). It is granted only while no one has the file open for
// writing, and while it is held nobody gets to write: who opens the file for that waits, and breaks the lease. So what is
// read while a lease is held throughout is one version, and no look at time stamps says that as surely.
//
// Whoever waits for it waits for us: hold it for as long as a look or a chunk takes, ask whether it is still held, and
// give way. Never open for writing what this process has a lease on.
type Lease struct {
	calls vfs.Calls
	file  afero.File
}

// Lease takes a read lease on an open file. ErrBusy says that a program has it open for writing, errors.ErrUnsupported
// that there are no leases on this file: not on this system or file system, or not for us, who do not own it.
func (s *FS) Lease(f afero.File) (*Lease, error) {
	if err := s.calls.Lease(f); err != nil {
		return nil, err
	}
	return &Lease{s.calls, f}, nil
}

// Held reports whether nobody has asked to write since the lease was taken.
func (l *Lease) Held() bool {
	held, err := l.calls.Leased(l.file)
	return err == nil && held
}

// Release lets those in who wait. The file stays open.
func (l *Lease) Release() { l.calls.Unlease(l.file) }
