package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"syscall"
	"time"
)

// ErrTime says that the disk does not keep a modification time: each has a first and a last one, and some have no odd
// seconds. The kernel sets the nearest then, without a word.
var ErrTime = errors.New("the disk keeps no such time")

// Nearly is how far apart the times can be that a file system keeps, where it keeps more than a day: FAT has even
// seconds.
const Nearly = 2 * time.Second

// isNoTime reports whether a system says of itself that it cannot set such a time, or none.
func isNoTime(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ERANGE) || errors.Is(err, syscall.EOVERFLOW) ||
		errors.Is(err, errors.ErrUnsupported)
}

// SetModified sets the modification time of a file or directory, of which before is the last look, and returns a look
// that finds it set: to the second, or less than that far off. If the disk keeps no such time, the one from before is
// set again, and it is [ErrTime]. It must be called under [FS.Lock].
func (p Place) SetModified(before Info, t time.Time, off time.Duration) (after Info, err error) {
	defer p.changing()()
	noTime := func(cause error) error {
		return &iofs.PathError{Op: "chtimes", Path: p.name, Err: fmt.Errorf("%w: %w", ErrTime, cause)}
	}
	if err := p.dir.Chtimes(p.base, t); isNoTime(err) {
		return before, noTime(err)
	} else if err != nil {
		return before, err
	}
	after, err = p.Lstat()
	switch {
	case errors.Is(err, iofs.ErrNotExist), err == nil && before.Inode != 0 && !after.SameFile(before):
		return before, nil // a local program has removed or replaced it since, and this was what we touched
	case err != nil:
		return before, err
	case after.ModTime().Unix() == t.Unix(), after.ModTime().Sub(t).Abs() < off:
		return after, nil
	}
	if err := p.dir.Chtimes(p.base, before.ModTime()); err != nil {
		return before, err
	}
	return before, noTime(fmt.Errorf("of %v it makes %v", t.UTC(), after.ModTime().UTC()))
}

// TrySetModified sets the modification time of a version, or what is [Nearly] that, and returns what it is. If the disk
// keeps no such time, the version has the one that it had, and the zero time is returned, as for the zero time.
func (st *Staged) TrySetModified(t time.Time) (time.Time, error) {
	if t.IsZero() {
		return t, nil
	}
	before, err := st.Info()
	if err != nil {
		return time.Time{}, err
	}
	st.seen = Info{}
	after, err := st.at.SetModified(before, t, Nearly)
	if errors.Is(err, ErrTime) {
		return time.Time{}, nil
	}
	return after.ModTime(), err
}

// SetMode sets the permission bits of a file or directory. It must be called under [FS.Lock].
func (p Place) SetMode(mode iofs.FileMode) error {
	defer p.changing()()
	f, err := p.open()
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Chmod(mode)
}

// Mkdir makes a directory where nothing is, with a modification time if one is given and the disk keeps such a one. It
// must be called under [FS.Lock].
func (p Place) Mkdir(modified time.Time) error {
	defer p.changing()()
	if err := p.dir.Mkdir(p.base, 0o777); err != nil {
		return err
	}
	err := p.setDirMode()
	if err == nil && !modified.IsZero() {
		err = p.setNewTime(modified)
	}
	if err != nil {
		_ = p.dir.Remove(p.base) // it is new, and empty
	}
	return err
}

// setNewTime sets the modification time of a new directory. Where the disk keeps no such time it is that of now.
func (p Place) setNewTime(t time.Time) error {
	_, err := p.SetModified(Info{Fingerprint: Fingerprint{Modified: p.s.opts.Now().UnixNano()}}, t, Nearly)
	if errors.Is(err, ErrTime) {
		err = nil
	}
	return err
}

// setDirMode gives a new directory the mode that was asked for, if one was.
func (p Place) setDirMode() error {
	mode := p.s.opts.DirMode
	if mode == 0 {
		return nil
	}
	f, err := p.open()
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	inherited, err := f.GetAttr(defaultACL)
	if err != nil {
		return err
	}
	if inherited != nil {
		mode &= info.Mode | iofs.ModeSetgid | iofs.ModeSticky // what the ACL grants is in its mode
	}
	return f.Chmod(mode | info.Mode&iofs.ModeSetgid)
}

// Attributes returns what [Place.SetAttributes] or a commit has kept with a file or directory; nil if nothing. See
// [FS.Value].
func (p Place) Attributes() ([]byte, error) {
	f, err := p.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.GetAttr(propertiesAttr)
}

// SetAttributes keeps value, or what [FS.KeepBeside] has made of it, with a file or directory; the next look at it
// finds its Changed time moved. It must be called under [FS.Lock].
func (p Place) SetAttributes(value []byte) error {
	f, err := p.open()
	if err != nil {
		return err
	}
	defer f.Close()
	if len(value) == 0 {
		value = nil // none, and not an empty one
	}
	defer p.changing()()
	return f.SetAttr(propertiesAttr, value)
}

// SetExecutable lets its owner start a program from a file, and those who may read it; or nobody. It must be called
// under [FS.Lock].
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
