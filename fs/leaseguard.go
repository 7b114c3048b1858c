package fs

import (
	"errors"
	iofs "io/fs"
	"syscall"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// A leaseGuard holds the caller's look at a file or collection that a commit is about to replace, move or remove, and
// the lease on it.
type leaseGuard struct {
	seen  vfs.Info
	exact bool
	file  *vfs.File // open for reading, if the commit is exact and there are leases
	lease *vfs.File // the file, if there is a lease on it
}

// guard checks that no file system is mounted below a place. For an exact commit it also checks that the place has the
// version that the caller has seen, and, if there are leases, that no program writes to the version. The guard must be
// released.
func (v *volume) guard(p volumes.Place, seen vfs.Info, how How) (*leaseGuard, error) {
	h := &leaseGuard{seen: seen, exact: how.Exact}
	if err := v.checkNoMounts(p.Name, seen); err != nil {
		return nil, err
	}
	if !how.Exact {
		return h, nil
	}
	if seen.Kind != vfs.Regular || !v.Able().Leases {
		return h, h.checkAll(p.Lstat())
	}
	f, err := how.Opened, error(nil)
	if f == nil {
		f, err = p.OpenAny()
	}
	switch {
	case errors.Is(err, iofs.ErrPermission):
		return h, h.checkAll(p.Lstat()) // this process cannot get a lease on it either
	case errors.Is(err, syscall.EAGAIN):
		return nil, vfs.ErrWriter // opening it would wait for a program that has a lease for writing
	case err != nil:
		return nil, asChanged(err)
	}
	h.file = f
	if err = f.Lease(); err == nil {
		h.lease = f
	}
	if err = vfs.Ignoring(err, errors.ErrUnsupported); err == nil {
		err = h.checkAll(f.Stat())
	}
	if err == nil && h.lease != nil && how.Doubtful[seen.Fingerprint] {
		err = volumes.ErrMoved
	}
	if err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

// checkNoMounts fails if a file system is mounted below a directory. A rename would move the mounted file system too,
// also into the history, and the expiry of the history would delete the files on it.
func (s *FS) checkNoMounts(name string, seen vfs.Info) error {
	if seen.Kind != vfs.Directory {
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

// MayLeave fails if the file or collection at a name can certainly not be moved away: a file system is mounted at it or
// below it, or it is on one that takes no writes. It changes nothing.
func (s *FS) MayLeave(name string, seen vfs.Info) error {
	if err := s.checkNoMounts(name, seen); err != nil {
		return err
	}
	p, err := s.Resolve(name)
	if err != nil {
		return err
	}
	defer p.Close()
	// rename(2) of a name to itself changes nothing, but fails if the mount is not writable. The directory is resolved
	// once: if a local program turned the path between two resolutions, the rename would move the file.
	return p.In.RenameTo(p.Base, p.In, p.Base)
}

// checkAll compares a look with the caller's look: the whole fingerprint. For a directory it compares only the
// identity, since the members of a directory are not its content.
func (h *leaseGuard) checkAll(now vfs.Info, err error) error {
	if err != nil {
		return asChanged(err)
	}
	same := now.Kind == h.seen.Kind && now.Fingerprint == h.seen.Fingerprint
	if h.seen.Kind == vfs.Directory {
		same = now.SameFile(h.seen) // its members are not its content
	}
	if !same {
		return volumes.ErrMoved
	}
	return nil
}

// check looks at the place that the guarded file or collection was just moved to, and compares the look.
func (h *leaseGuard) check(p volumes.Place) error {
	if !h.exact {
		return nil
	}
	now, err := p.Lstat()
	if err != nil {
		return err
	}
	return h.compare(now)
}

func (h *leaseGuard) compare(now vfs.Info) error {
	switch {
	case !h.exact:
		if now.Kind != h.seen.Kind {
			return volumes.ErrMoved
		}
	case !now.SameFile(h.seen):
		return volumes.ErrMoved
	case h.lease != nil:
		if !h.lease.Leased() {
			return vfs.ErrWriter
		}
	case now.Kind == vfs.Regular && (now.Size != h.seen.Size || now.Modified != h.seen.Modified):
		return volumes.ErrMoved
	}
	return nil
}

// release ends the lease. Programs that wait may write then.
func (h *leaseGuard) release() { h.file.Close() }
