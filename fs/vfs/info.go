package vfs

import (
	iofs "io/fs"
	"time"

	"r-seed-1f3a754f.example/ifmatch/mounts"
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

// KindOf returns the kind of a file with a mode.
func KindOf(mode iofs.FileMode) Kind {
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

// A Fingerprint changes each time the content of its file does, as far as the file system below can tell. Fingerprints
// are comparable. Times are nanoseconds since 1970. Born is 0 if the system keeps no time of birth.
//
// The zero value says that the system tells too little to recognise a version. Then no facts about the version may be
// kept.
type Fingerprint struct {
	Mount                   uint64 // a device number can be given to another mount later. 0: not known
	Device, Inode           uint64
	Size                    int64 // in bytes. 0 unless the file is regular
	Born, Modified, Changed int64
}

// An Info is the result of one look at a name, or at an open file.
type Info struct {
	Name   string // the last segment of the name, or of the name under which the file was opened
	Kind   Kind
	Mode   iofs.FileMode // permission bits, ModeSetuid, ModeSetgid and ModeSticky
	Linked bool          // the name is a link, and the other fields describe its target
	// Followed: a link is on the way to the name, or the name is a link. At is the name without links, which the fields
	// describe.
	Followed bool
	At       string
	Second   int64 // the second of the modification time, since 1970. Modified is too small before 1677 and after 2262

	User, Group ID     // the owner and the group
	Links       uint32 // how many names the file has. 0: not known

	Allocated int64 // how many bytes of the disk it takes. They are fewer than Size if it has holes or shares blocks

	Fingerprint
}

// InfoOf returns the facts in a look that os.Lstat or os.File.Stat has taken.
func InfoOf(fi iofs.FileInfo) Info {
	info := Info{Name: fi.Name(), Kind: KindOf(fi.Mode()), Mode: fi.Mode() & modeBits}
	info.Modified, info.Second = fi.ModTime().UnixNano(), fi.ModTime().Unix()
	if info.Kind == Regular {
		info.Size = fi.Size()
		info.Allocated = info.Size
	}
	identify(&info, fi)
	return info
}

// FoundAs returns i, a look at an open file, together with the way to its name that another look has found.
func (i Info) FoundAs(other Info) Info {
	i.Linked, i.Followed, i.At = other.Linked, other.Followed, other.At
	return i
}

// FollowedTo returns i, a look at a name without links, as the result of a look that links have led there.
func (i Info) FollowedTo(name string) Info {
	i.Followed, i.At = true, name
	if name == "." {
		i.At = ""
	}
	return i
}

// An ID is the number of a user or a group, if it is known.
type ID struct {
	Known bool
	N     uint32
}

// Exists reports whether the name exists.
func (i Info) Exists() bool { return i.Kind != Nothing }

// ModTime returns the modification time.
//
// The fraction of a second is Modified minus Second, even after an overflow. If Second is 0, this is the whole time.
func (i Info) ModTime() time.Time { return time.Unix(i.Second, i.Modified-i.Second*int64(time.Second)) }

// BirthTime returns when the file was made. It is the zero time if the system does not tell.
func (i Info) BirthTime() time.Time {
	if i.Born == 0 {
		return time.Time{}
	}
	return time.Unix(0, i.Born)
}

// SameFile reports whether both looks saw the same file or directory, even if it has changed.
func (i Info) SameFile(other Info) bool {
	return i.Inode != 0 && i.Inode == other.Inode && i.Device == other.Device && i.Born == other.Born
}

// Space is the size and the free room of a file system, in bytes.
type Space struct {
	Size int64
	Free int64 // for this process
}

// A Volume has the properties of a file system that hold for each mount of it.
type Volume = mounts.Volume
