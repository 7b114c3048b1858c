package fs

import (
	"bytes"
	"errors"
	iofs "io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/posixacl"
	"r-seed-1f3a754f.example/ifmatch/fs/properties"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// Traits are the metadata of a file or directory besides its name, its content and its times. A version that replaces
// the file, and a copy of the file, get the same traits. The zero value leaves the traits of a new file as the system
// sets them.
type Traits struct {
	Mode        iofs.FileMode // permission bits, for a directory also ModeSetgid and ModeSticky, or 0 for the default
	User, Group vfs.ID

	attributes map[string][]byte // extended attributes, including ACLs
	isNew      bool              // these are the traits of a new file, and no file had them before
}

// Equal reports whether both have the same mode, user, group and attributes.
func (t Traits) Equal(other Traits) bool {
	return t.Mode == other.Mode && t.User == other.User && t.Group == other.Group &&
		maps.EqualFunc(t.attributes, other.attributes, bytes.Equal)
}

// Properties returns the data that belongs to the file, as it is kept with it. See [FS.Value].
func (t Traits) Properties() []byte { return t.attributes[volumes.PropertiesAttr] }

// WithProperties returns the traits with other data that belongs to the file.
func (t Traits) WithProperties(value []byte) Traits {
	t.attributes = maps.Clone(t.attributes)
	if t.attributes == nil {
		t.attributes = map[string][]byte{}
	}
	t.attributes[volumes.PropertiesAttr] = value
	return t
}

// isPreserved reports whether a new version or a copy gets an extended attribute. It does not get an attribute that the
// system derives from the content. Nor does it get an attribute that would give privileges to content that another user
// has sent: security.capability, which a write(2) removes too.
func isPreserved(name string) bool {
	switch {
	case strings.HasPrefix(name, volumes.OwnAttrs):
		return name == volumes.PropertiesAttr
	case strings.HasPrefix(name, "trusted."):
		return !strings.HasPrefix(name, "trusted.overlay.") // these attributes describe the layers below an overlay
	}
	return strings.HasPrefix(name, "user.") || name == posixacl.Access || name == posixacl.Default ||
		name == "security.selinux" || strings.HasPrefix(name, "security.SMACK64")
}

// Traits returns the traits of a file or directory.
func (s *FS) Traits(name string) (Traits, error) {
	if err := s.CheckReserved(name); err != nil {
		return Traits{}, err
	}
	return s.traitsAt(volumes.Local(name))
}

func (s *FS) traitsAt(name string) (Traits, error) {
	f, err := s.calls.Open(name)
	if err != nil {
		return Traits{}, err
	}
	defer f.Close()
	t, _, err := s.TraitsOf(f)
	return t, err
}

// OpenTraits opens a file for reading, and returns its traits. It does not check whether the file is a regular one.
func (p Place) OpenTraits() (*vfs.File, Traits, error) {
	f, err := p.OpenAny()
	if err != nil {
		return nil, Traits{}, err
	}
	t, _, err := p.s.TraitsOf(f)
	if err != nil {
		f.Close()
		return nil, Traits{}, err
	}
	return f, t, nil
}

// TraitsOf returns the traits of an open file, and a look at the file that was taken after the traits were read.
func (s *FS) TraitsOf(f *vfs.File) (Traits, vfs.Info, error) {
	attributes, err := s.attributesOf(f)
	if err != nil {
		return Traits{}, vfs.Info{}, err
	}
	info, err := f.Stat()
	t := Traits{Mode: info.Mode.Perm(), User: info.User, Group: info.Group, attributes: attributes}
	if info.Kind == vfs.Directory {
		t.Mode |= info.Mode & (iofs.ModeSetgid | iofs.ModeSticky)
	}
	return t, info, err
}

// TraitsKept returns the traits of a directory that the history keeps.
func (s *FS) TraitsKept(k history.Kept) (Traits, error) { return s.traitsAt(k.ID()) }

// AttributesKept returns the attributes of a file or directory that the history keeps, see [FS.Attributes].
func (s *FS) AttributesKept(k history.Kept) ([]byte, error) {
	if k.Kind == vfs.Link {
		return nil, nil
	}
	f, err := s.calls.Open(k.ID())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.GetAttr(volumes.PropertiesAttr)
}

// attributesOf returns the extended attributes that a new version or a copy gets.
func (s *FS) attributesOf(f *vfs.File) (kept map[string][]byte, err error) {
	names, err := f.ListAttrs()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !isPreserved(name) {
			continue
		}
		value, err := f.GetAttr(name)
		if err != nil {
			return nil, err
		}
		if value == nil {
			continue // removed since the names were read
		}
		if kept == nil {
			kept = map[string][]byte{}
		}
		kept[name] = value
	}
	return kept, nil
}

// NewTraits returns the traits of a new file at a place, and a look at the directory. The server makes the file in
// another directory, so it must set the traits that the file would get from its own directory by itself. These are the
// group, if the directory passes its own group on, and the access that the default ACL of the directory grants.
func (p Place) NewTraits() (Traits, vfs.Info, error) {
	t := Traits{Mode: p.s.opts.FileMode, isNew: true}
	info, err := p.Dir()
	if err != nil {
		return Traits{}, vfs.Info{}, err
	}
	if info.Mode&iofs.ModeSetgid != 0 {
		t.Group = info.Group
	}
	inherited, err := p.In.GetAttrAt(path.Dir(p.Base), posixacl.Default)
	if err != nil || inherited == nil {
		return t, info, err
	}
	acl, err := posixacl.Decode(inherited)
	if err != nil {
		return Traits{}, vfs.Info{}, &iofs.PathError{Op: "getAttr", Path: path.Dir(p.Name), Err: err}
	}
	mode := t.Mode
	if mode == 0 {
		mode = 0o666
	}
	acl = posixacl.ForNewFile(acl, mode)
	t.Mode = posixacl.ModeOf(acl)
	t.attributes = map[string][]byte{posixacl.Access: posixacl.Encode(acl)}
	return t, info, nil
}

// common returns the traits for a file or directory that belongs to another group than t does. The group and the other
// users then get only the permissions that both of them had.
func (t Traits) common() Traits {
	t.Mode &^= iofs.ModeSetgid
	data, ok := t.attributes[posixacl.Access]
	if !ok {
		both := t.Mode >> 3 & t.Mode & 0o7
		t.Mode = t.Mode&^0o77 | both<<3 | both
		return t
	}
	acl, err := posixacl.Decode(data)
	if err != nil {
		return t.private()
	}
	acl = posixacl.Common(acl)
	t.Mode = t.Mode&^0o777 | posixacl.ModeOf(acl)
	t.attributes = maps.Clone(t.attributes)
	t.attributes[posixacl.Access] = posixacl.Encode(acl)
	return t
}

// private returns the traits for a file or directory that cannot have its ACL. That ACL may have denied access to some
// users, so private grants no access to the group or to others.
func (t Traits) private() Traits {
	t.Mode &^= 0o77
	t.attributes = maps.Clone(t.attributes)
	delete(t.attributes, posixacl.Access)
	return t
}

// setTraits gives an open staged version its traits. A trait that this process may not set, or that the disk cannot
// keep, stays as it is. In that case no user gets permissions that the user did not have before. setTraits keeps the
// WebDAV properties, or fails.
func (st *Staged) setTraits(f *vfs.File, t Traits) error {
	if t.Group.Known {
		kept, err := st.setOwner(f, t)
		if err != nil {
			return err
		}
		if !kept && !t.isNew {
			t = t.common()
		}
	}
	// Set the attributes before the mode, because only root can set an attribute of a file that may not be written. Set
	// the ACL as the last attribute, because it contains a mode.
	for name := range st.attrs {
		if _, ok := t.attributes[name]; !ok {
			if err := st.setAttr(f, name, nil); err != nil {
				return err
			}
		}
	}
	names := slices.Sorted(maps.Keys(t.attributes))
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	for _, name := range names {
		err := st.setAttr(f, name, t.attributes[name])
		if name == volumes.PropertiesAttr && (err == nil || errors.Is(err, vfs.ErrAttribute)) {
			err = st.setProperties(f, t.attributes[name], err)
		}
		switch {
		case err == nil:
		case name == volumes.PropertiesAttr || !isRefused(err):
			return err
		case name == posixacl.Access:
			t = t.private()
		}
	}
	mode := t.Mode
	if mode == 0 {
		return nil
	}
	if st.top && mode&volumes.OwnerWrite == 0 {
		// A directory that its owner may not write to cannot be moved into another directory either, because the move
		// writes its ".." entry.
		st.mode, mode = mode, mode|volumes.OwnerWrite
	}
	if !st.again && st.file != nil && mode == st.volume.Made.Mode && t.attributes[posixacl.Access] == nil {
		return nil // the file was made with that mode
	}
	return f.Chmod(mode)
}

// setProperties makes the volume of the staged version have the value that the attribute refers to. If the value is too
// large for an attribute here, as failed says, setProperties keeps the value beside the tree and sets the attribute to
// a reference.
func (st *Staged) setProperties(f *vfs.File, stored []byte, failed error) error {
	if failed == nil {
		return st.volume.properties.Have(stored)
	}
	if properties.Refers(stored) {
		return failed
	}
	stored, err := st.volume.properties.Keep(stored)
	if err == nil {
		err = st.setAttr(f, volumes.PropertiesAttr, stored)
	}
	return err
}

func rank(attribute string) int {
	if attribute == posixacl.Access {
		return 1
	}
	return 0
}

// setAttr sets an attribute, unless the attribute has that value already.
func (st *Staged) setAttr(f *vfs.File, name string, value []byte) error {
	if bytes.Equal(st.attrs[name], value) {
		return nil
	}
	if err := f.SetAttr(name, value); err != nil {
		return err
	}
	if st.attrs == nil {
		st.attrs = map[string][]byte{}
	}
	st.attrs[name] = value
	return nil
}

// setOwner gives a staged version its owner and its group, as far as this process may set them, and reports whether the
// version has the group.
func (st *Staged) setOwner(f *vfs.File, t Traits) (group bool, err error) {
	is := st.volume.Made
	if st.again {
		if is, err = f.Stat(); err != nil {
			return false, err
		}
	}
	user := t.User
	if !user.Known {
		user = is.User
	}
	if is.User == user && is.Group == t.Group {
		return true, nil
	}
	err = f.Chown(user, t.Group)
	if isRefused(err) && user != is.User && t.Group != is.Group {
		err = f.Chown(is.User, t.Group) // a member of the group may give the file to the group
	}
	switch {
	case err == nil:
		return true, nil
	case isRefused(err):
		return t.Group == is.Group, nil
	}
	return false, err
}

// isRefused reports whether an error says that the system does not permit the change, or does not support it.
func isRefused(err error) bool {
	return errors.Is(err, iofs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL)
}

// TrySetModified sets the modification time of a version, or a time within [volumes.Nearly] of it, and returns the time
// that the version has. If the disk does not keep the time, the version keeps the time that it had, and TrySetModified
// returns the zero time. It also returns the zero time if t is the zero time.
func (st *Staged) TrySetModified(t time.Time) (time.Time, error) {
	if t.IsZero() {
		return t, nil
	}
	before, err := st.Info()
	if err != nil {
		return time.Time{}, err
	}
	st.seen = vfs.Info{}
	after, err := st.at.SetModified(before, t, volumes.Nearly)
	if errors.Is(err, volumes.ErrTime) {
		return time.Time{}, nil
	}
	return after.ModTime(), err
}
