package volumes

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"syscall"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/posixacl"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// ErrTime says that the disk does not keep a modification time. Each disk has a first and a last time, and some disks
// keep no odd seconds. In that case the kernel sets the nearest time and reports no error.
var ErrTime = errors.New("the disk keeps no such time")

// Nearly is the largest distance between two successive times that a file system keeps, unless the file system keeps
// only the day. FAT keeps only even seconds.
const Nearly = 2 * time.Second

// IsNoTime reports whether an error says that the system cannot set this time, or cannot set any time.
func IsNoTime(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ERANGE) || errors.Is(err, syscall.EOVERFLOW) ||
		errors.Is(err, errors.ErrUnsupported)
}

// SetModified sets the modification time of a file or directory, and before is the last look at it. SetModified returns
// a look that finds the time set: to the same second, or to a time that differs by less than off. If the disk does not
// keep the time, SetModified restores the time of before and fails with [ErrTime]. It must be called under [Tree.Lock].
func (p Place) SetModified(before vfs.Info, t time.Time, off time.Duration) (after vfs.Info, err error) {
	defer p.touching()()
	noTime := func(cause error) error {
		return &iofs.PathError{Op: "chtimes", Path: p.Name, Err: fmt.Errorf("%w: %w", ErrTime, cause)}
	}
	if err := p.In.Chtimes(p.Base, t); IsNoTime(err) {
		return before, noTime(err)
	} else if err != nil {
		return before, err
	}
	after, err = p.Lstat()
	switch {
	case errors.Is(err, iofs.ErrNotExist), err == nil && before.Inode != 0 && !after.SameFile(before):
		// A local program has removed or replaced the file since. The first call set the time of the file that before
		// describes.
		return before, nil
	case err != nil:
		return before, err
	case after.ModTime().Unix() == t.Unix(), after.ModTime().Sub(t).Abs() < off:
		return after, nil
	}
	if err := p.In.Chtimes(p.Base, before.ModTime()); err != nil {
		return before, err
	}
	return before, noTime(fmt.Errorf("of %v it makes %v", t.UTC(), after.ModTime().UTC()))
}

// SetMode sets the permission bits of a file or directory. It must be called under [Tree.Lock].
func (p Place) SetMode(mode iofs.FileMode) error {
	defer p.touching()()
	return p.opened(func(f *vfs.File) error { return f.Chmod(mode) })
}

// opened calls do with the file or directory, open for reading.
func (p Place) opened(do func(f *vfs.File) error) error {
	f, err := p.OpenAny()
	if err != nil {
		return err
	}
	defer f.Close()
	return do(f)
}

// Mkdir makes a directory at a free name. If a modification time is given and the disk keeps that time, the directory
// gets it. Mkdir must be called under [Tree.Lock].
func (p Place) Mkdir(modified time.Time) error {
	defer p.Changing()()
	if err := p.In.Mkdir(p.Base, 0o777); err != nil {
		return err
	}
	err := p.setDirMode()
	if err == nil && !modified.IsZero() {
		now := vfs.Info{Fingerprint: vfs.Fingerprint{Modified: p.s.opts.Now().UnixNano()}}
		_, err = p.SetModified(now, modified, Nearly)
		err = vfs.Ignoring(err, ErrTime)
	}
	if err != nil {
		_ = p.In.Remove(p.Base) // the directory is new, and empty
	}
	return err
}

// setDirMode gives a new directory the mode of the options, if they contain one.
func (p Place) setDirMode() error {
	mode := p.s.opts.DirMode
	if mode == 0 {
		return nil
	}
	return p.opened(func(f *vfs.File) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		inherited, err := f.GetAttr(posixacl.Default)
		if err != nil {
			return err
		}
		if inherited != nil {
			mode &= info.Mode | iofs.ModeSetgid | iofs.ModeSticky // the mode contains the permissions of the ACL
		}
		return f.Chmod(mode | info.Mode&iofs.ModeSetgid)
	})
}

// Attributes returns the value that [Place.SetAttributes] or a commit has stored with a file or directory, or nil if
// there is none. See fs.FS.Value.
func (p Place) Attributes() (value []byte, err error) {
	err = p.opened(func(f *vfs.File) (err error) { value, err = f.GetAttr(PropertiesAttr); return err })
	return value, err
}

// SetAttributes stores value, or the reference that fs.FS.KeepBeside has made of it, with a file or directory. The next
// look at the file or directory finds a new Changed time. SetAttributes must be called under [Tree.Lock].
func (p Place) SetAttributes(value []byte) error {
	if len(value) == 0 {
		value = nil // no attribute, instead of an empty one
	}
	return p.opened(func(f *vfs.File) error {
		defer p.touching()()
		return f.SetAttr(PropertiesAttr, value)
	})
}

// SetExecutable permits the owner of a file, and the users who may read the file, to execute it, or permits no user to
// do so. It must be called under [Tree.Lock].
func (p Place) SetExecutable(yes bool) error {
	info, err := p.Lstat()
	if err != nil {
		return err
	}
	mode := info.Mode &^ 0o111
	if yes {
		mode |= 0o100 | mode&0o444>>2
	}
	if mode == info.Mode {
		return nil
	}
	return p.SetMode(mode)
}

// PropertiesAttr is the extended attribute that carries the data that belongs to a file and is not part of its content.
// The kernel moves the attribute with the file, also if a local program renames the file with mv.
const (
	OwnAttrs       = "user.ifmatch."
	PropertiesAttr = OwnAttrs + "props"
)

// plain makes a directory of the server pass on no group and no ACL to its members. The destination of a staged version
// determines its group and its ACL.
func (s *Tree) plain(dir string) error {
	f, err := s.calls.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Mode&iofs.ModeSetgid != 0 {
		err = f.Chmod(info.Mode.Perm())
	}
	if err != nil {
		return &iofs.PathError{Op: "open", Path: path.Base(dir), Err: err}
	}
	inherited, err := f.GetAttr(posixacl.Default)
	if err == nil && inherited != nil {
		err = f.SetAttr(posixacl.Default, nil)
	}
	return err
}
