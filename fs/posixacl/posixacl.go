// Package posixacl reads and writes POSIX access control lists as Linux keeps them in extended attributes.
package posixacl

import (
	"encoding/binary"
	"errors"
	iofs "io/fs"
)

// The extended attributes in which Linux shows POSIX ACLs (acl(5)).
const (
	Access  = "system.posix_acl_access"
	Default = "system.posix_acl_default" // for a directory: the initial ACL of new members
)

// The tags of ACL entries, with the numbers of linux/posix_acl.h. The tags ACL_USER and ACL_GROUP, which are not listed
// here, belong to entries for one named user or group. An ACL has one entry at most for each of the other tags.
const (
	Owner = 0x01
	Group = 0x04
	Mask  = 0x10
	Other = 0x20
)

const aclVersion = 2

// An Entry grants permissions to a user or to a class of users. Perm has three bits, as in a mode. ID is the number of
// a named user or group.
type Entry struct {
	Tag, Perm uint16
	ID        uint32
}

// Decode decodes the value of the attribute that holds an ACL (linux/posix_acl_xattr.h).
func Decode(data []byte) ([]Entry, error) {
	if len(data) < 4 || len(data)%8 != 4 || binary.LittleEndian.Uint32(data) != aclVersion {
		return nil, errors.New("an ACL of a kind that is not known")
	}
	var acl []Entry
	for data = data[4:]; len(data) > 0; data = data[8:] {
		acl = append(acl, Entry{
			Tag:  binary.LittleEndian.Uint16(data),
			Perm: binary.LittleEndian.Uint16(data[2:]),
			ID:   binary.LittleEndian.Uint32(data[4:]),
		})
	}
	return acl, nil
}

// Encode does the reverse of [Decode].
func Encode(acl []Entry) []byte {
	data := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range acl {
		data = binary.LittleEndian.AppendUint16(data, e.Tag)
		data = binary.LittleEndian.AppendUint16(data, e.Perm)
		data = binary.LittleEndian.AppendUint32(data, e.ID)
	}
	return data
}

// entry returns the one entry with this tag, or nil if there is none.
func entry(acl []Entry, tag uint16) *Entry {
	for i := range acl {
		if acl[i].Tag == tag {
			return &acl[i]
		}
	}
	return nil
}

// ModeOf returns the permission bits that correspond to an ACL. The bits of the group are those of the mask, if the ACL
// has a mask.
func ModeOf(acl []Entry) (mode iofs.FileMode) {
	class := Mask
	if entry(acl, Mask) == nil {
		class = Group
	}
	for _, e := range acl {
		switch int(e.Tag) {
		case Owner:
			mode |= iofs.FileMode(e.Perm&7) << 6
		case class:
			mode |= iofs.FileMode(e.Perm&7) << 3
		case Other:
			mode |= iofs.FileMode(e.Perm & 7)
		}
	}
	return mode
}

// ForNewFile turns the default ACL of a directory into the initial ACL of a file that is made in the directory with
// this mode (acl(5), OBJECT CREATION AND DEFAULT ACLs). No user gets more permissions than the mode grants, and the
// umask has no effect.
func ForNewFile(acl []Entry, mode iofs.FileMode) []Entry {
	limit := func(tag uint16, bits iofs.FileMode) bool {
		e := entry(acl, tag)
		if e != nil {
			e.Perm &= uint16(bits & 7)
		}
		return e != nil
	}
	limit(Owner, mode>>6)
	if !limit(Mask, mode>>3) {
		limit(Group, mode>>3)
	}
	limit(Other, mode)
	return acl
}

// Common narrows an ACL for a file that now belongs to another group. The members of the new group were among the
// other users before, and the members of the old group are among the other users now. So the group and the other users
// both get only the permissions that both of them had.
func Common(acl []Entry) []Entry {
	group, other := entry(acl, Group), entry(acl, Other)
	if group == nil || other == nil {
		return acl
	}
	both := group.Perm & other.Perm
	if mask := entry(acl, Mask); mask != nil {
		both &= mask.Perm
	}
	group.Perm, other.Perm = both, both
	return acl
}
