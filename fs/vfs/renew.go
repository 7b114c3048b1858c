package vfs

import (
	iofs "io/fs"
	"strings"
	"sync/atomic"
	"time"
)

// Renewal reports whether a path from the root is on a file system whose names the kernel must not remember. dir is the
// directory from which on each segment is asked for anew.
type Renewal func(name string) (dir string, ok bool)

// RenewNames makes each call that takes a name renew the name first, if the Renewal says so.
//
// The kernel remembers which file a name of a FUSE file system stands for, for as long as the file system has allowed,
// and for each spelling by itself. If a file has several spellings, a change by one of them leaves the others
// unchanged: they still stand for the file that was replaced, or moved.
func (s *FS) RenewNames(renewal Renewal) { s.sys.(*renewing).renewal.Store(&renewal) }

// renewing is a System that renews names before each call that takes them.
type renewing struct {
	System
	renewal atomic.Pointer[Renewal]
}

// renew renews all segments of a name that the kernel may remember. It returns no error: if the name is bad, the call
// that follows fails.
func (r *renewing) renew(at At, name string) {
	renewal := r.renewal.Load()
	if renewal == nil {
		return
	}
	full := at.Join(name)
	dir, ok := (*renewal)(full)
	switch {
	case !ok:
	case isIn(at.path, dir):
		r.Renew(at, ".", name)
	default:
		r.Renew(At{}, dir, strings.TrimPrefix(full, dir+"/"))
	}
}

// isIn reports whether a path from the root is a directory, or a name below that directory.
func isIn(path, dir string) bool {
	return path == dir || dir == "." || strings.HasPrefix(path, dir+"/")
}

func (r *renewing) Lstat(at At, name string) (Info, error) {
	r.renew(at, name)
	return r.System.Lstat(at, name)
}

func (r *renewing) Readlink(at At, name string) (string, error) {
	r.renew(at, name)
	return r.System.Readlink(at, name)
}

func (r *renewing) GetAttrAt(at At, name, attr string) ([]byte, error) {
	r.renew(at, name)
	return r.System.GetAttrAt(at, name, attr)
}

func (r *renewing) OpenDir(at At, name string) (At, error) {
	r.renew(at, name)
	return r.System.OpenDir(at, name)
}

func (r *renewing) Open(at At, name string) (*File, error) {
	r.renew(at, name)
	return r.System.Open(at, name)
}

func (r *renewing) Create(at At, name string) (*File, error) {
	r.renew(at, name)
	return r.System.Create(at, name)
}

func (r *renewing) Append(at At, name string) (*File, error) {
	r.renew(at, name)
	return r.System.Append(at, name)
}

func (r *renewing) AppendTo(at At, name string) (*File, error) {
	r.renew(at, name)
	return r.System.AppendTo(at, name)
}

func (r *renewing) Mkdir(at At, name string, mode iofs.FileMode) error {
	r.renew(at, name)
	return r.System.Mkdir(at, name, mode)
}

func (r *renewing) Symlink(target string, at At, name string) error {
	r.renew(at, name)
	return r.System.Symlink(target, at, name)
}

func (r *renewing) Link(from At, name string, to At, other string) error {
	r.renew(from, name)
	r.renew(to, other)
	return r.System.Link(from, name, to, other)
}

func (r *renewing) Rename(from At, name string, to At, other string) error {
	r.renew(from, name)
	r.renew(to, other)
	return r.System.Rename(from, name, to, other)
}

func (r *renewing) RenameNew(from At, name string, to At, other string) error {
	r.renew(from, name)
	r.renew(to, other)
	return r.System.RenameNew(from, name, to, other)
}

func (r *renewing) Exchange(from At, name string, to At, other string) error {
	r.renew(from, name)
	r.renew(to, other)
	return r.System.Exchange(from, name, to, other)
}

func (r *renewing) Remove(at At, name string) error {
	r.renew(at, name)
	return r.System.Remove(at, name)
}

func (r *renewing) Chtimes(at At, name string, modified time.Time) error {
	r.renew(at, name)
	return r.System.Chtimes(at, name, modified)
}
