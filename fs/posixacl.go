package fs

import (
	"encoding/binary"
	"errors"
	iofs "io/fs"
)

// The extended attributes in which Linux shows POSIX ACLs (acl(5)).
const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default" // for a directory: the initial ACL of new members
)

// The tags of ACL entries, with the numbers of linux/posix_acl.h. The tags ACL_USER and ACL_GROUP, which are not listed
// here, belong to entries for one named user or group. An ACL has one entry at most for each of the other tags.
const (
	aclOwner = 0x01
	aclGroup = 0x04
	aclMask  = 0x10
	aclOther = 0x20
)

const aclVersion = 2

// An aclEntry grants permissions to a user or to a class of users. perm has three bits, as in a mode.
type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// decodeACL decodes the value of the attribute that holds an ACL (linux/posix_acl_xattr.h).
func decodeACL(data []byte) ([]aclEntry, error) {
	if len(data) < 4 || len(data)%8 != 4 || binary.LittleEndian.Uint32(data) != aclVersion {
		return nil, errors.New("an ACL of a kind that is not known")
	}
	var acl []aclEntry
	for data = data[4:]; len(data) > 0; data = data[8:] {
		acl = append(acl, aclEntry{
			tag:  binary.LittleEndian.Uint16(data),
			perm: binary.LittleEndian.Uint16(data[2:]),
			id:   binary.LittleEndian.Uint32(data[4:]),
		})
	}
	return acl, nil
}

func encodeACL(acl []aclEntry) []byte {
	data := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range acl {
		data = binary.LittleEndian.AppendUint16(data, e.tag)
		data = binary.LittleEndian.AppendUint16(data, e.perm)
		data = binary.LittleEndian.AppendUint32(data, e.id)
	}
	return data
}

// entry returns the one entry with this tag, or nil if there is none.
func entry(acl []aclEntry, tag uint16) *aclEntry {
	for i := range acl {
		if acl[i].tag == tag {
			return &acl[i]
		}
	}
	return nil
}

// modeOf returns the permission bits that correspond to an ACL. The bits of the group are those of the mask, if the ACL
// has a mask.
func modeOf(acl []aclEntry) (mode iofs.FileMode) {
	class := aclMask
	if entry(acl, aclMask) == nil {
		class = aclGroup
	}
	for _, e := range acl {
		switch int(e.tag) {
		case aclOwner:
			mode |= iofs.FileMode(e.perm&7) << 6
		case class:
			mode |= iofs.FileMode(e.perm&7) << 3
		case aclOther:
			mode |= iofs.FileMode(e.perm & 7)
		}
	}
	return mode
}

// newFileACL turns the default ACL of a directory into the initial ACL of a file that is made in the directory with
// this mode (acl(5), OBJECT CREATION AND DEFAULT ACLs). No user gets more permissions than the mode grants, and the
// umask has no effect.
func newFileACL(acl []aclEntry, mode iofs.FileMode) []aclEntry {
	limit := func(tag uint16, bits iofs.FileMode) bool {
		e := entry(acl, tag)
		if e != nil {
			e.perm &= uint16(bits & 7)
		}
		return e != nil
	}
	limit(aclOwner, mode>>6)
	if !limit(aclMask, mode>>3) {
		limit(aclGroup, mode>>3)
	}
	limit(aclOther, mode)
	return acl
}

// commonACL narrows an ACL for a file that now belongs to another group. The members of the new group were among the
// other users before, and the members of the old group are among the other users now. So the group and the other users
// both get only the permissions that both of them had.
func commonACL(acl []aclEntry) []aclEntry {
	group, other := entry(acl, aclGroup), entry(acl, aclOther)
	if group == nil || other == nil {
		return acl
	}
	both := group.perm & other.perm
	if mask := entry(acl, aclMask); mask != nil {
		both &= mask.perm
	}
	group.perm, other.perm = both, both
	return acl
}
