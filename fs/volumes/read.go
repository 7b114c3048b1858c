package volumes

import (
	"errors"
	"io"
	iofs "io/fs"
	"path"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/spelling"
)

// Stat looks at the file or directory that a name stands for. It follows symbolic links that stay inside the tree.
func (s *Tree) Stat(name string) (vfs.Info, error) { return s.Snapshot().Stat(name) }

// Lstat looks at the name itself, for callers that want to change it. It fails with ErrLink if a symbolic link is on
// the way to the name.
func (s *Tree) Lstat(name string) (vfs.Info, error) {
	if err := s.CheckReserved(name); err != nil {
		return vfs.Info{}, err
	}
	info, err := s.calls.Lstat(Local(name))
	if IsNotDir(err) {
		err = &iofs.PathError{Op: "lstat", Path: name, Err: iofs.ErrNotExist}
	}
	return info, err
}

// Open opens a file for reading. It does not wait for a pipe, or for a program that has a lease. The returned file is
// nil if the name stands for a directory. The Info describes the file or directory that was opened.
func (s *Tree) Open(name string) (*vfs.File, vfs.Info, error) { return s.OpenIf(name, nil) }

// OpenIf is [Tree.Open] for a file that decide may refuse. decide gets a look at the name before the file is opened. If
// enough is true, OpenIf does not look at the opened file again, and the Info is that of the first look. A local
// program may have given the name to another file in between. So the caller must compare the Info with a look at the
// open file ([vfs.File.Stat]) before it trusts the content that it has read.
func (s *Tree) OpenIf(name string, decide func(look vfs.Info) (enough bool, err error)) (*vfs.File, vfs.Info, error) {
	return s.openIf(name, decide, nil)
}

func (s *Tree) openIf(name string, decide func(vfs.Info) (bool, error), n *Snapshot) (*vfs.File, vfs.Info, error) {
	for again := maxReopened; ; again-- {
		f, info, err := s.openOnce(name, decide, n)
		if again == 0 || !errors.Is(err, ErrMoved) {
			return f, info, err
		}
	}
}

func (s *Tree) openOnce(name string, decide func(vfs.Info) (bool, error), n *Snapshot) (*vfs.File, vfs.Info, error) {
	canonical, info, err := s.Follow(name, n)
	if err != nil {
		return nil, vfs.Info{}, err
	}
	if info.Kind == vfs.Directory {
		return nil, info, nil
	}
	looked, enough := info, false
	looked.Name = path.Base(name)
	if decide != nil && len(s.renewedTops()) == 0 {
		if enough, err = decide(looked); err != nil {
			return nil, vfs.Info{}, err
		}
	}
	f, err := s.calls.Open(canonical)
	if err != nil {
		return nil, vfs.Info{}, err
	}
	if enough {
		return f, looked, nil
	}
	info, err = f.Stat()
	if err == nil {
		err = s.pin(f, looked, info)
	}
	if err == nil && info.Kind != vfs.Regular {
		err = &iofs.PathError{Op: "open", Path: name, Err: ErrSpecial}
	}
	if err != nil {
		f.Close()
		return nil, vfs.Info{}, err
	}
	info.Name = path.Base(name)
	return f, info.FoundAs(looked), nil
}

// DirOptions select the information that a listing returns about its members.
type DirOptions struct {
	// Follow: the listing describes the target of a link instead of the link, and leaves out a link without a target.
	// Without Follow, links are listed as links.
	Follow bool
	// Attributes: the listing includes the value that [Tree.Attributes] returns. The value is empty for a file that may
	// not be read.
	Attributes bool
	// KindsOnly: the listing contains only names and kinds. Most directories supply these without a look at each
	// member. Links are listed as links.
	KindsOnly bool
}

// A Dir is a directory that is being listed.
type Dir struct {
	fs   *Tree
	file *vfs.File
	name string // canonical
	opts DirOptions
	info vfs.Info // the look at the name
}

// lookedAt returns a look at a member, which is no link. If a link has led to the directory, it has led to the member.
func (d *Dir) lookedAt(info vfs.Info, base string) vfs.Info {
	if d.info.Followed {
		info = info.FollowedTo(path.Join(d.name, base))
	}
	return info
}

// Info returns the look at the directory.
func (d *Dir) Info() vfs.Info { return d.info }

// SameAs reports whether both are one directory. If the file system does not number its files, SameAs returns true.
func (d *Dir) SameAs(other *Dir) bool { return d.info.Inode == 0 || d.info.SameFile(other.info) }

// A Member is the information of a listing about one name, or the error that prevented it.
type Member struct {
	vfs.Info
	Attributes []byte
	Err        error
}

// OpenDir opens a directory for listing. Special files and the state directory are left out.
func (s *Tree) OpenDir(name string, opts DirOptions) (*Dir, error) {
	return s.Snapshot().OpenDir(name, opts)
}

// Next returns some of the members that were not returned yet, at most n of them, in no order. It returns io.EOF at the
// end. Next looks at each member once and opens none. So it costs little, and it also lists a file that may not be
// read.
func (d *Dir) Next(n int) ([]Member, error) {
	if d.opts.KindsOnly {
		if members, err := d.kinds(); !errors.Is(err, errors.ErrUnsupported) {
			return members, err
		}
	}
	names, err := d.names(n)
	members := make([]Member, 0, len(names))
	for _, base := range names {
		if m, ok, _ := d.member(base, nil); ok {
			members = append(members, m)
		}
	}
	return members, err
}

func (d *Dir) names(n int) ([]string, error) {
	names, err := d.file.Names(n)
	if errors.Is(err, iofs.ErrNotExist) {
		err = io.EOF // the directory was removed since it was opened, and has no more members
	}
	if len(names) == 0 && err == nil {
		err = io.EOF
	}
	return names, err
}

// kinds is [Dir.Next] for DirOptions.KindsOnly.
func (d *Dir) kinds() ([]Member, error) {
	found, err := d.file.Kinds()
	if errors.Is(err, iofs.ErrNotExist) {
		err = io.EOF
	}
	members := make([]Member, 0, len(found))
	for _, info := range found {
		if info.Kind == vfs.Nothing { // this file system does not supply the kind
			if m, ok, _ := d.member(info.Name, nil); ok {
				members = append(members, m)
			}
		} else if info.Kind != vfs.Special && !spelling.IsReserved(info.Name) {
			members = append(members, Member{Info: d.lookedAt(info, info.Name)})
		}
	}
	return members, err
}

// Close closes the directory.
func (d *Dir) Close() error { return d.file.Close() }

// member looks at one name. ok is false if the name is not to be shown, or is gone.
func (d *Dir) member(base string, n *Snapshot) (m Member, ok, gone bool) {
	if spelling.IsReserved(base) {
		return Member{}, false, false
	}
	info, err := d.file.LstatIn(base)
	if errors.Is(err, iofs.ErrNotExist) {
		return Member{}, false, true // the member was removed since the names were read
	}
	if err == nil && info.Kind == vfs.Link && d.opts.Follow {
		_, info, err = d.fs.Follow(path.Join(d.name, base), n)
		if IsDeadEnd(err) {
			return Member{}, false, false
		}
	} else if err == nil {
		info = d.lookedAt(info, base)
	}
	if err == nil && info.Kind == vfs.Special {
		return Member{}, false, false
	}
	var attributes []byte
	if err == nil && d.opts.Attributes {
		attributes, err = d.attributes(base, info, n)
		if errors.Is(err, iofs.ErrPermission) {
			err = nil // the listing can still contain the rest
		}
	}
	info.Name = base
	gone = errors.Is(err, iofs.ErrNotExist)
	return Member{info, attributes, err}, !gone, gone
}

func (d *Dir) attributes(base string, info vfs.Info, n *Snapshot) ([]byte, error) {
	switch {
	case info.Kind == vfs.Link:
		return nil, nil
	case info.Linked:
		return d.fs.attributes(path.Join(d.name, base), n)
	}
	return d.file.GetAttrIn(base, PropertiesAttr)
}

// Readlink returns the target of a link.
func (s *Tree) Readlink(name string) (string, error) {
	if err := s.CheckReserved(name); err != nil {
		return "", err
	}
	return s.calls.Readlink(Local(name))
}

// Attributes returns the value that [Place.SetAttributes] or a commit has stored with a file or directory, or nil if
// there is none. See fs.FS.Value.
func (s *Tree) Attributes(name string) ([]byte, error) { return s.attributes(name, nil) }

func (s *Tree) attributes(name string, n *Snapshot) ([]byte, error) {
	canonical, info, err := s.Follow(name, n)
	if err != nil || info.Kind == vfs.Link {
		return nil, err
	}
	return s.At(canonical).Attributes()
}

// Entries returns the names in a directory of the state directory.
func (s *Tree) Entries(dir string) ([]string, error) {
	f, err := s.calls.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Names(-1)
}

// IsEmpty reports whether a directory has no members at all, not even any that are not served.
func (s *Tree) IsEmpty(name string) (bool, error) {
	dir, err := s.OpenDir(name, DirOptions{})
	if err != nil {
		return false, err
	}
	defer dir.Close()
	names, err := dir.names(1)
	return len(names) == 0, vfs.Ignoring(err, io.EOF)
}
