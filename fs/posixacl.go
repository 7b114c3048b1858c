package fs

import (
	"encoding/binary"
	"errors"
	iofs "io/fs"
)

// The extended attributes in which Linux shows POSIX ACLs (acl(5)).
const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default" // of a directory: what is made in it begins with
)

// What an entry of an ACL is about, as linux/posix_acl.h numbers it. USER and GROUP name one; the rest are there once.
const (
	aclOwner = 0x01
	aclGroup = 0x04
	aclMask  = 0x10
	aclOther = 0x20
)

const aclVersion = 2

// An aclEntry says what some may: three bits, as in a mode.
type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// decodeACL reads an ACL as the attribute holds it (linux/posix_acl_xattr.h).
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

// entry returns the one entry with this tag; nil if there is none.
func entry(acl []aclEntry, tag uint16) *aclEntry {
	for i := range acl {
		if acl[i].tag == tag {
			return &acl[i]
		}
	}
	return nil
}

// modeOf returns the permission bits that go with an ACL: those of the group are its mask, where it has one.
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

// begin makes of a directory's default ACL the one that a file made in it with this mode begins with (acl(5), OBJECT
// CREATION AND DEFAULT ACLs): nobody may more than the mode says, and the umask does not count.
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

// strangers narrows an ACL for a file that now belongs to another group: its members were nobody in particular before,
// and the members of the group before are that now, so both may what both might.
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
