package vfs

import (
	iofs "io/fs"
	"time"

	"ifmatch/mounts"
)

// A Kind is the type of a file.
type Kind uint8

// The kinds. Nothing: the name does not exist. Special: a device, a pipe or a socket, which is neither served nor
// touched.
const (
	Nothing Kind = iota
	Regular
	Directory
	Link
	Special
)

func kindOf(mode iofs.FileMode) Kind {
	switch mode.Type() {
	case 0:
		return Regular
	case iofs.ModeDir:
		return Directory
	case iofs.ModeSymlink:
		return Link
	}
	return Special
}

const modeBits = iofs.ModePerm | iofs.ModeSetuid | iofs.ModeSetgid | iofs.ModeSticky

// A Fingerprint changes whenever the content it was taken of does, as far as the file system below can tell. It is
// comparable. Times are nanoseconds since 1970; Born is 0 where the system keeps no time of birth.
//
// The zero value says that the system tells too little to recognise a version: then nothing may be remembered.
type Fingerprint struct {
	Mount                   uint64 // a device number can be given to another mount later; 0: not known
	Device, Inode           uint64
	Size                    int64 // in bytes; 0 unless regular
	Born, Modified, Changed int64
}

// An Info is the result of one look at a name, or at an open file.
type Info struct {
	Name   string // the last segment, or for an open file what it was opened as
	Kind   Kind
	Mode   iofs.FileMode // permission bits, ModeSetuid, ModeSetgid and ModeSticky
	Linked bool          // the name is a link, and the other fields describe its target
	// Followed: a link is on the way to the name, or it is one, and At is the name without links that the fields describe.
	Followed bool
	At       string
	Second   int64 // of the modification time, since 1970: Modified is too small before 1677 and after 2262

	User, Group ID     // the owner and the group
	Links       uint32 // how many names it has; 0: not known

	Allocated int64 // what it takes of the disk, in bytes; less than Size where it has holes, or shares what it has

	Fingerprint
}

// FoundAs returns a look at an open file, with what another look tells of the way to its name.
func (i Info) FoundAs(other Info) Info {
	i.Linked, i.Followed, i.At = other.Linked, other.Followed, other.At
	return i
}

// An ID is that of a user or a group, where it is known.
type ID struct {
	Known bool
	N     uint32
}

// Exists reports whether anything is there.
func (i Info) Exists() bool { return i.Kind != Nothing }

// ModTime returns the modification time.
//
// The fraction of a second is the rest of Modified, also where that has overflowed. Without Second it is all of it.
func (i Info) ModTime() time.Time { return time.Unix(i.Second, i.Modified-i.Second*int64(time.Second)) }

// BirthTime returns when the file was made; zero where the system does not tell.
func (i Info) BirthTime() time.Time {
	if i.Born == 0 {
		return time.Time{}
	}
	return time.Unix(0, i.Born)
}

// SameFile reports whether both looks saw one and the same file or directory, changed or not.
func (i Info) SameFile(other Info) bool {
	return i.Inode != 0 && i.Inode == other.Inode && i.Device == other.Device && i.Born == other.Born
}

// Space is what a file system has room for, in bytes.
type Space struct {
	Size int64
	Free int64 // for us
}

// A Volume is what is known of a file system beyond one mount of it.
type Volume = mounts.Volume
