package vfs

import "strings"

// Renewal reports whether a path from the root is on a file system whose names the kernel must not remember. dir is the
// directory from which on each segment is asked for anew.
type Renewal func(name string) (dir string, ok bool)

// RenewNames makes each call that takes a name renew the name first, if the Renewal says so.
//
// The kernel remembers which file a name of a FUSE file system stands for, for as long as the file system has allowed,
// and for each spelling by itself. If a file has several spellings, a change by one of them leaves the others
// unchanged: they still stand for the file that was replaced, or moved.
func (s *FS) RenewNames(renewal Renewal) { s.sys.renewal.Store(&renewal) }

// renew renews all segments of a name that the kernel may remember. It returns no error: if the name is bad, the call
// that follows fails.
func (t *table) renew(at At, name string) {
	renewal := t.renewal.Load()
	if renewal == nil {
		return
	}
	full := at.Join(name)
	dir, ok := (*renewal)(full)
	switch {
	case !ok:
	case IsIn(at.path, dir):
		t.Renew(at, ".", name)
	default:
		t.Renew(At{}, dir, strings.TrimPrefix(full, dir+"/"))
	}
}

// IsIn reports whether a name is the name of a directory, or a name below it, both from the root.
func IsIn(name, dir string) bool {
	return name == dir || dir == "." || strings.HasPrefix(name, dir+"/")
}
