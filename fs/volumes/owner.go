package volumes

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strconv"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// The content of a state directory, or of an index, decides which version the server takes a file for, and which
// version gets the name of the file. So a state directory or an index must belong to the user that this process runs
// as, or to root, and no other user may write to it. If this process is root, it may also use files of the owner of the
// served directory, because that owner controls all the served files anyway. The files that root makes there belong to
// that owner, so that a server that the owner runs can go on with them.

// A StrangerError says that another user can write to the server's own files.
type StrangerError struct {
	Path  string // in the operating system
	Owner string // a name or a number, or "" if the mode is the problem
	Mode  iofs.FileMode
}

func (e *StrangerError) Error() string {
	found, mend := fmt.Sprintf("can be written to by others (its mode is %#o)", e.Mode.Perm()), "chmod go-w "
	if e.Owner != "" {
		found = fmt.Sprintf("belongs to %s, and the server runs as %s", e.Owner, nameOf(self()))
		mend = "chown " + nameOf(self()) + " "
	}
	which := e.Path
	if path.Base(filepath.ToSlash(which)) == OwnDir {
		which += " " + e.Path + "/*" // but nothing further down, which has owners and modes of its own
	}
	return e.Path + " " + found + ", and who can write to it decides what the server takes a file for: " +
		"if what is in it can be believed, " + mend + which + "; else move it away"
}

func (e *StrangerError) Unwrap() error { return iofs.ErrPermission }

// self returns the user that this process acts as. The ID is not known if the system has no users.
func self() vfs.ID {
	id := os.Geteuid()
	return vfs.ID{Known: id >= 0, N: uint32(max(id, 0))}
}

func isRoot() bool { return os.Geteuid() == 0 }

func nameOf(id vfs.ID) string {
	number := strconv.FormatUint(uint64(id.N), 10)
	if known, err := user.LookupId(number); err == nil {
		return known.Username
	}
	return number
}

// otherWrite contains the permission bits that let users other than the owner write: those of the group and of others.
const otherWrite iofs.FileMode = 0o022

// stranger returns a [StrangerError] unless a file belongs to the user of this process, to root, or to one of the given
// owners. If modes is true, the modes of the file system have a meaning, and stranger also returns a StrangerError if
// another user may write to the file.
func stranger(path string, seen vfs.Info, modes bool, owners ...vfs.ID) error {
	root := vfs.ID{Known: true}
	switch {
	case !seen.User.Known:
		return nil // the system has no users
	case seen.User != self() && seen.User != root && !slices.Contains(owners, seen.User):
		return &StrangerError{Path: path, Owner: nameOf(seen.User)}
	case modes && seen.Kind != vfs.Link && seen.Mode&otherWrite != 0:
		return &StrangerError{Path: path, Mode: seen.Mode}
	}
	return nil
}

// CheckOurs returns a [StrangerError] unless a file or directory of the operating system is safe from other users.
// CheckOurs accepts the given owners in the same way as the user of this process.
func CheckOurs(path string, found iofs.FileInfo, owners ...vfs.ID) error {
	return stranger(path, vfs.InfoOf(found), true, owners...)
}

// CheckDir is [CheckOurs] for a directory. If CheckOurs fails, CheckDir makes a temporary directory inside it as a
// test: the file system may assign all files to one user, regardless of the process that makes them, or may have no
// modes that could keep other users out. If there are no such modes, private is false.
func CheckDir(path string, owners ...vfs.ID) (private bool, err error) {
	found, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	if err = CheckOurs(path, found, owners...); err == nil {
		return true, nil
	}
	probe, failed := os.MkdirTemp(path, "probe-")
	if failed != nil {
		return false, err
	}
	defer os.Remove(probe)
	made, failed := os.Stat(probe)
	if failed != nil {
		return false, err
	}
	private = made.Mode()&otherWrite == 0
	return private, stranger(path, vfs.InfoOf(found), private, append(owners, vfs.InfoOf(made).User)...)
}

// Heir returns the owner of a directory if this process is root and works for that owner there. Otherwise the ID is not
// known.
func Heir(dir vfs.Info) vfs.ID {
	if !isRoot() {
		return vfs.ID{}
	}
	return dir.User
}

// OwnerOf returns the owner and the group of a file of the operating system, if they are known.
func OwnerOf(found iofs.FileInfo) (user, group vfs.ID) {
	info := vfs.InfoOf(found)
	return info.User, info.Group
}

// checkState fails with a [StrangerError] if another user can write to the state directory of a volume. private is
// false if the file system has no modes that could keep other users out. The server uses such a directory nevertheless.
func (v *Volume) checkState() (private bool, err error) {
	err = v.findStranger(true)
	if !errors.As(err, new(*StrangerError)) {
		return true, err
	}
	// The file system may assign all files to one user, regardless of the process that makes them, or may have no
	// modes.
	made, failed := v.lookAtNew()
	if failed != nil {
		return false, err
	}
	private = made.Mode&otherWrite == 0
	return private, v.findStranger(private, made.User)
}

// findStranger checks whether another user can write to a state directory, or to one of its members. findStranger does
// not look further down: another user could have reached the files there only while that user could write to the state
// directory or to a member.
func (v *Volume) findStranger(modes bool, owners ...vfs.ID) error {
	dir := path.Join(v.Top, OwnDir)
	state, err := v.t.calls.Lstat(dir)
	if err != nil {
		return err
	}
	if above, err := v.t.calls.Lstat(v.Top); err == nil {
		owners = append(owners, Heir(above))
	}
	if err := stranger(v.t.calls.HostPath(dir), state, modes, owners...); err != nil {
		return err
	}
	members, err := v.t.Entries(dir)
	if err != nil {
		return err
	}
	passable := state.Mode&0o011 != 0 // users other than the owner can open its members
	for _, name := range members {
		name = dir + "/" + name
		member, err := v.t.calls.Lstat(name)
		if errors.Is(err, iofs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = stranger(v.t.calls.HostPath(name), member, modes && passable, owners...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lookAtNew makes a directory that no other user may use, and returns the look at it. The look shows how the file
// system keeps owners and modes.
func (v *Volume) lookAtNew() (made vfs.Info, err error) {
	name := v.t.Unique(path.Join(v.Top, OwnDir), "probe-")
	if err := v.t.calls.Mkdir(name, 0o777); err != nil {
		return vfs.Info{}, err
	}
	f, err := v.t.calls.Open(name)
	if err == nil {
		_ = f.Chmod(0o700) // the look shows the result
		made, err = f.Stat()
		f.Close()
	}
	if failed := v.t.calls.Remove(name); err == nil {
		err = failed
	}
	return made, err
}

// isHeld reports whether no other user can write to a state directory. isHeld changes nothing.
func (v *Volume) isHeld() bool {
	err := v.findStranger(true)
	if !errors.As(err, new(*StrangerError)) {
		return err == nil
	}
	f, err := v.t.calls.Open(v.Top)
	if err != nil {
		return false
	}
	defer f.Close()
	return f.Volume().Modeless
}

// GiveToOwner gives a file that root has made to the owner of the directory that contains it. If that fails, the file
// stays with root.
func (s *Tree) GiveToOwner(f *vfs.File, name string) {
	if !s.gives {
		return
	}
	if dir, err := s.calls.Lstat(path.Dir(name)); err == nil && dir.User.Known && dir.User.N != 0 {
		_ = f.Chown(dir.User, dir.Group)
	}
}

func (s *Tree) giveDir(name string) {
	if !s.gives {
		return
	}
	if f, err := s.calls.Open(name); err == nil {
		s.GiveToOwner(f, name)
		f.Close()
	}
}
