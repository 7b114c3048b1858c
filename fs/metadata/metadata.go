// Package metadata has the metadata of files and directories: mode, owner, group, access control list and extended
// attributes. A version that replaces another one, and a copy, have the same metadata as far as this process may set
// them. A new file has those that its directory passes on.
package metadata

import (
	"bytes"
	"cmp"
	"errors"
	iofs "io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"

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

// Properties returns the data that belongs to the file, as it is kept with it. See [properties.Values.Value].
func (t Traits) Properties() []byte { return t.attributes[volumes.PropertiesAttr] }

// WithProperties returns the traits with other data that belongs to the file.
func (t Traits) WithProperties(value []byte) Traits {
	t.attributes = maps.Collect(maps.All(t.attributes))
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

// Open opens a file for reading, and returns its traits. It does not check whether the file is a regular one.
func Open(p volumes.Place) (*vfs.File, Traits, error) {
	f, err := p.OpenAny()
	if err != nil {
		return nil, Traits{}, err
	}
	t, _, err := Of(f)
	if err != nil {
		f.Close()
		return nil, Traits{}, err
	}
	return f, t, nil
}

// Of returns the traits of an open file, and a look at the file that was taken after the traits were read.
func Of(f *vfs.File) (Traits, vfs.Info, error) {
	attributes, err := attributesOf(f)
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

// attributesOf returns the extended attributes that a new version or a copy gets.
func attributesOf(f *vfs.File) (kept map[string][]byte, err error) {
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

// OfNew returns the traits of a new file at a place, and a look at the directory. The server makes the file in
// another directory, so it must set the traits that the file would get from its own directory by itself. These are the
// group, if the directory passes its own group on, and the access that the default ACL of the directory grants.
func OfNew(p volumes.Place) (Traits, vfs.Info, error) {
	t := Traits{Mode: p.FileMode(), isNew: true}
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
	acl = posixacl.ForNewFile(acl, cmp.Or(t.Mode, 0o666))
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

// A Setter gives traits to a staged version, once or several times.
type Setter struct {
	// Made is a look at a file of the session: a new file has its mode, its owner and its group.
	Made   vfs.Info
	Values *properties.Store
	IsFile bool // the version is a file that was made with the mode of Made
	IsTop  bool // the version is a directory, and the commit renames it
	Again  bool // traits were set before
	// Later, if not 0, is the mode that the version gets after it was renamed.
	Later iofs.FileMode

	attrs map[string][]byte // the attributes that were set last
}

// Set gives an open version its traits. A trait that this process may not set, or that the disk cannot keep, stays as
// it is. In that case no user gets permissions that the user did not have before. Set keeps the WebDAV properties, or
// fails.
func (s *Setter) Set(f *vfs.File, t Traits) error {
	if s.Again {
		if err := f.Chmod(0o700); err != nil {
			return err
		}
	}
	defer func() { s.Again = true }()
	if t.Group.Known {
		kept, err := s.setOwner(f, t)
		if err != nil {
			return err
		}
		if !kept && !t.isNew {
			t = t.common()
		}
	}
	// Set the attributes before the mode, because only root can set an attribute of a file that may not be written. Set
	// the ACL as the last attribute, because it contains a mode.
	for name := range s.attrs {
		if _, ok := t.attributes[name]; !ok {
			if err := s.setAttr(f, name, nil); err != nil {
				return err
			}
		}
	}
	names := slices.Sorted(maps.Keys(t.attributes))
	if i := slices.Index(names, posixacl.Access); i >= 0 {
		names = append(slices.Delete(names, i, i+1), posixacl.Access)
	}
	for _, name := range names {
		err := s.setAttr(f, name, t.attributes[name])
		if name == volumes.PropertiesAttr && (err == nil || errors.Is(err, vfs.ErrAttribute)) {
			err = s.setProperties(f, t.attributes[name], err)
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
	if s.IsTop && mode&volumes.OwnerWrite == 0 {
		// A directory that its owner may not write to cannot be moved into another directory either, because the move
		// writes its ".." entry.
		s.Later, mode = mode, mode|volumes.OwnerWrite
	}
	if !s.Again && s.IsFile && mode == s.Made.Mode && t.attributes[posixacl.Access] == nil {
		return nil // the file was made with that mode
	}
	return f.Chmod(mode)
}

// setProperties makes the volume of the staged version have the value that the attribute refers to. If the value is too
// large for an attribute here, as failed says, setProperties keeps the value beside the tree and sets the attribute to
// a reference.
func (s *Setter) setProperties(f *vfs.File, stored []byte, failed error) error {
	if failed == nil {
		return s.Values.Have(stored)
	}
	if properties.Refers(stored) {
		return failed
	}
	stored, err := s.Values.Keep(stored)
	if err == nil {
		err = s.setAttr(f, volumes.PropertiesAttr, stored)
	}
	return err
}

// setAttr sets an attribute, unless the attribute has that value already.
func (s *Setter) setAttr(f *vfs.File, name string, value []byte) error {
	if bytes.Equal(s.attrs[name], value) {
		return nil
	}
	if err := f.SetAttr(name, value); err != nil {
		return err
	}
	if s.attrs == nil {
		s.attrs = map[string][]byte{}
	}
	s.attrs[name] = value
	return nil
}

// setOwner gives a staged version its owner and its group, as far as this process may set them, and reports whether the
// version has the group.
func (s *Setter) setOwner(f *vfs.File, t Traits) (group bool, err error) {
	is := s.Made
	if s.Again {
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
