package vfs

import (
	iofs "io/fs"
	"strings"
	"sync/atomic"
	"time"
)

// Renewal says whether a path from the root is of a file system whose names the kernel may not remember, and from which
// directory on: what each segment after that stands for is asked anew.
type Renewal func(name string) (dir string, ok bool)

// RenewNames has each call that takes a name renew it first, where a Renewal says so.
//
// The kernel remembers what a name of a FUSE file system stands for, each spelling for itself, for as long as the file
// system has allowed. Where a file has several spellings, what is done by one of them leaves the others as they were: they
// go on to stand for the file that was replaced, or moved.
func (s *FS) RenewNames(renewal Renewal) { s.sys.(*renewing).renewal.Store(&renewal) }

// renewing is a System that has names renewed before each call that takes them.
type renewing struct {
	System
	renewal atomic.Pointer[Renewal]
}

// renew has all segments of a name renewed that may be remembered. It has no failure: what is wrong with a name, its call
// says.
func (r *renewing) renew(at At, name string) {
	renewal := r.renewal.Load()
	if renewal == nil {
		return
	}
	full := at.join(name)
	dir, ok := (*renewal)(full)
	switch {
	case !ok:
	case isIn(at.path, dir):
		r.Renew(at, ".", name)
	default:
		r.Renew(At{}, dir, strings.TrimPrefix(full, dir+"/"))
	}
}

// isIn reports whether a path from the root is that of a directory, or of something in it.
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
