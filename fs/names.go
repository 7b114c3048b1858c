package fs

import (
	iofs "io/fs"
	"os"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/spelling"
)

// The errors of this package, besides those of io/fs and the operating system.
var (
	ErrReserved = volumes.ErrReserved
	ErrLink     = vfs.ErrLink
	ErrEscapes  = volumes.ErrEscapes
	ErrSpecial  = volumes.ErrSpecial
	ErrMoved    = volumes.ErrMoved
	ErrLost     = volumes.ErrLost
	ErrBusy     = vfs.ErrBusy
	ErrWriter   = vfs.ErrWriter
	ErrHeldUp   = volumes.ErrHeldUp
	ErrLetGo    = volumes.ErrLetGo
	ErrTime     = volumes.ErrTime
)

// These types of package vfs describe files and file systems.
type (
	File        = vfs.File
	Info        = vfs.Info
	Kind        = vfs.Kind
	Fingerprint = vfs.Fingerprint
	ID          = vfs.ID
	Volume      = vfs.Volume
	Space       = vfs.Space
	Call        = vfs.Call
)

// The kinds. Special is a device, a pipe or a socket: the server neither serves nor touches it.
const (
	Nothing   = vfs.Nothing
	Regular   = vfs.Regular
	Directory = vfs.Directory
	Link      = vfs.Link
	Special   = vfs.Special
)

// These types of package volumes are looks, listings, locks and small state files.
type (
	Options       = volumes.Options
	Durability    = volumes.Durability
	Abilities     = volumes.Abilities
	Dir           = volumes.Dir
	DirOptions    = volumes.DirOptions
	Member        = volumes.Member
	Snapshot      = volumes.Snapshot
	Scope         = volumes.Scope
	Hold          = volumes.Hold
	NotHeldError  = volumes.NotHeldError
	Turn          = volumes.Turn
	StateDir      = volumes.StateDir
	StrangerError = volumes.StrangerError
)

// These types of package history are versions that were replaced or removed, and how long they stay.
type (
	Kept         = history.Kept
	Retention    = history.Retention
	PruneOptions = history.PruneOptions
	GaveWay      = history.GaveWay
)

// CauseLate says in the history that a program has written to a version after it was replaced or removed.
const CauseLate = history.CauseLate

// A Need describes a version that is going to be staged, since the disk may have no room for it.
type Need = room.Need

// ErrRoomKept says that the disk has the room, but uploads that are under way have announced that they need it.
var ErrRoomKept = room.ErrKept

// The durabilities, the strongest first.
const (
	Full = volumes.Full
	Data = volumes.Data
	None = volumes.None
)

// Nearly is the largest distance between two successive times that a file system keeps, unless the file system keeps
// only the day.
const Nearly = volumes.Nearly

// Fold returns a form of a segment that all its spellings share, see [spelling.Fold].
func Fold(segment string) string { return spelling.Fold(segment) }

// Alike reports whether some file system may take two names for one.
func Alike(a, b string) bool { return volumes.Alike(a, b) }

// IsShortened reports whether a segment may be the short name of a longer one.
func IsShortened(segment string) bool { return volumes.IsShortened(segment) }

// MayBeOne reports whether two looks may have seen one file by two spellings of its name, see [volumes.MayBeOne].
func MayBeOne(a, b Info) bool { return volumes.MayBeOne(a, b) }

// IsDeadEnd reports whether an error says that a link leads to no file or directory that can be shown.
func IsDeadEnd(err error) bool { return volumes.IsDeadEnd(err) }

// IsFull reports whether an error says that the disk has no room, or that the quota of the server's user is used up.
// [FS.MakeRoom] may help then.
func IsFull(err error) bool { return volumes.IsFull(err) }

// IsAtStaged reports whether an error comes from a call on a staged version, and not from a call on the source of its
// content.
func IsAtStaged(err error) bool { return volumes.IsAtStaged(err) }

// CheckOurs returns a [StrangerError] unless a file or directory of the operating system is safe from other users.
func CheckOurs(path string, found iofs.FileInfo, owners ...ID) error {
	return volumes.CheckOurs(path, found, owners...)
}

// CheckDir is CheckOurs for a directory, see [volumes.CheckDir].
func CheckDir(path string, owners ...ID) (private bool, err error) {
	return volumes.CheckDir(path, owners...)
}

// Heir returns the owner of a directory if this process is root and works for that owner there.
func Heir(dir Info) ID { return volumes.Heir(dir) }

// OwnerOf returns the owner and the group of a file of the operating system, if they are known.
func OwnerOf(found iofs.FileInfo) (user, group ID) { return volumes.OwnerOf(found) }

// PartOf returns the directory of the operating system that was served when the server made a state directory in dir as
// a part of it. If dir is no part of another directory, PartOf returns dir.
func PartOf(dir string) string { return volumes.PartOf(dir) }

// HolderOf describes the process that has an open file locked, as far as the system supplies this.
func HolderOf(f *os.File) string { return volumes.HolderOf(f) }
