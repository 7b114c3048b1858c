package fs

// A Lease is a read lease on an open file (fcntl(2), F_SETLEASE). It is granted only while no program has the file open for
// writing. While it is held no program gets to write: one that opens the file for writing waits, and breaks the lease. So
// what is read under an unbroken lease is one version, and no look at time stamps proves that as surely.
//
// Hold a lease for as long as a look or a chunk takes, ask whether it is still held, and release it if not. This process
// must never open for writing a file on which it has a lease.
type Lease struct{ file *File }

// Lease takes a read lease on an open file. ErrBusy says that a program has it open for writing, errors.ErrUnsupported
// that there are no leases on this file: not on this system or file system, or not for a process that does not own it.
func (s *FS) Lease(f *File) (*Lease, error) {
	if err := f.Lease(); err != nil {
		return nil, err
	}
	return &Lease{f}, nil
}

// Held reports whether no program has asked to write since the lease was taken.
func (l *Lease) Held() bool {
	held, err := l.file.Leased()
	return err == nil && held
}

// Release ends the lease, and lets programs write that wait. The file stays open.
func (l *Lease) Release() { l.file.Unlease() }
