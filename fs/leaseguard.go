package fs

import (
	"errors"
	iofs "io/fs"
	"syscall"
)

// A Lease is a read lease on an open file (fcntl(2), F_SETLEASE). It is granted only while no program has the file open
// for writing. While it is held no program gets to write: one that opens the file for writing waits, and breaks the
// lease. So what is read under an unbroken lease is one version, and no look at time stamps proves that as surely.
//
// Hold a lease for as long as a look or a chunk takes, ask whether it is still held, and release it if not. This
// process must never open for writing a file on which it has a lease.
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

// A leaseGuard is what is known of a file or collection that a commit is about to replace, move or remove.
type leaseGuard struct {
	seen  Info
	exact bool
	file  *File // open for reading, where there is a lease
	lease *Lease
}

// guard checks that a name stands for exactly what was seen, if that is asked for, and that no program writes to it,
// where there are leases. The guard must be released.
func (v *volume) guard(name string, seen Info, how How) (*leaseGuard, error) {
	return v.guardAt(v.at(name), seen, how)
}

// guardAt is guard of a place.
func (v *volume) guardAt(p Place, seen Info, how How) (*leaseGuard, error) {
	h := &leaseGuard{seen: seen, exact: how.Exact}
	if err := v.checkNoMounts(p.name, seen); err != nil {
		return nil, err
	}
	if !how.Exact {
		return h, nil
	}
	if seen.Kind != Regular || !v.able().Leases {
		return h, h.checkAll(p.Lstat())
	}
	f, err := how.Opened, error(nil)
	if f == nil {
		f, err = p.open()
	}
	switch {
	case errors.Is(err, iofs.ErrPermission):
		return h, h.checkAll(p.Lstat()) // nor can we have a lease on it
	case errors.Is(err, syscall.EAGAIN):
		return nil, ErrWriter // it would wait for one who holds a lease for writing
	case err != nil:
		return nil, asChanged(err)
	}
	h.file = f
	h.lease, err = v.Lease(f)
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	if err == nil {
		err = h.checkAll(f.Stat())
	}
	if err == nil && h.lease != nil && how.Doubtful[seen.Fingerprint] {
		err = ErrMoved
	}
	if err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

// checkNoMounts fails where a file system is mounted below a directory: a rename would take it along, into the history
// too, and the expiry would delete what is on it.
func (s *FS) checkNoMounts(name string, seen Info) error {
	if seen.Kind != Directory {
		return nil
	}
	mounted, err := s.calls.Mounts(name)
	if err != nil {
		return asChanged(err)
	}
	if len(mounted) > 0 {
		return &MountedError{mounted[0]}
	}
	return nil
}

// checkAll compares a look with what was seen: the whole fingerprint; of a directory only which one it is, since its
// members are not its content.
func (h *leaseGuard) checkAll(now Info, err error) error {
	if err != nil {
		return asChanged(err)
	}
	same := now.Kind == h.seen.Kind && now.Fingerprint == h.seen.Fingerprint
	if h.seen.Kind == Directory {
		same = now.SameFile(h.seen) // its members are not its content
	}
	if !same {
		return ErrMoved
	}
	return nil
}

// check looks at the name that the guarded file or collection was just moved to, and compares it.
func (h *leaseGuard) check(v *volume, at string) error { return h.checkAt(v.at(at)) }

// checkAt is check of a place.
func (h *leaseGuard) checkAt(p Place) error {
	if !h.exact {
		return nil
	}
	now, err := p.Lstat()
	if err != nil {
		return err
	}
	return h.compare(now)
}

func (h *leaseGuard) compare(now Info) error {
	switch {
	case !h.exact:
		if now.Kind != h.seen.Kind {
			return ErrMoved
		}
	case !now.SameFile(h.seen):
		return ErrMoved
	case h.lease != nil:
		if !h.lease.Held() {
			return ErrWriter
		}
	case now.Kind == Regular && (now.Size != h.seen.Size || now.Modified != h.seen.Modified):
		return ErrMoved
	}
	return nil
}

// release ends the lease. Programs that wait may write then.
func (h *leaseGuard) release() {
	if h.file != nil {
		h.file.Close()
	}
}
