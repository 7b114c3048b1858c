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

// setTime sets a modification time of which somebody will be told that it is there, and looks whether it is: to the
// second, or less than that far off. If not, the one from before is set again, and it is ErrTime.
func (s *FS) setTime(name string, before Info, t time.Time, off time.Duration) (after Info, err error) {
	noTime := func(cause error) error {
		return &iofs.PathError{Op: "chtimes", Path: name, Err: fmt.Errorf("%w: %w", ErrTime, cause)}
	}
	if err := s.calls.Chtimes(name, t); isNoTime(err) {
		return before, noTime(err)
	} else if err != nil {
		return before, err
	}
	after, err = s.calls.Lstat(name)
	switch {
	case errors.Is(err, iofs.ErrNotExist), err == nil && before.Inode != 0 && !after.SameFile(before):
		return before, nil // a local program has removed or replaced it since, and this was what we touched
	case err != nil:
		return before, err
	case after.ModTime().Unix() == t.Unix(), after.ModTime().Sub(t).Abs() < off:
		return after, nil
	}
	if err := s.calls.Chtimes(name, before.ModTime()); err != nil {
		return before, err
	}
	return before, noTime(fmt.Errorf("of %v it makes %v", t.UTC(), after.ModTime().UTC()))
}

// SetModified sets the modification time of a file or directory, of which before is the last look, and returns a look
// that finds it set: to the second, or less than that far off. If the disk keeps no such time it is [ErrTime], and
// nothing has changed. It must be called under [FS.Lock].
func (s *FS) SetModified(name string, before Info, t time.Time, off time.Duration) (after Info, err error) {
	defer s.Changing(name)()
	return s.setTime(local(name), before, t, off)
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
	after, err := st.volume.setTime(st.name, before, t, Nearly)
	if errors.Is(err, ErrTime) {
		return time.Time{}, nil
	}
	return after.ModTime(), err
}

func (s *FS) setMode(name string, mode iofs.FileMode) error {
	f, err := s.calls.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Chmod(mode)
}

// Mkdir makes a directory where nothing is, with a modification time if one is given and the disk keeps such a one. It
// must be called under [FS.Lock].
func (s *FS) Mkdir(name string, modified time.Time) error {
	defer s.Changing(name)()
	name = local(name)
	if err := s.calls.Mkdir(name, 0o777); err != nil {
		return err
	}
	err := s.setDirMode(name)
	if err == nil && !modified.IsZero() {
		err = s.setNewTime(name, modified)
	}
	if err != nil {
		_ = s.calls.Remove(name) // it is new, and empty
	}
	return err
}

// setNewTime sets the modification time of a new directory. Where the disk keeps no such time it is that of now.
func (s *FS) setNewTime(name string, t time.Time) error {
	_, err := s.setTime(name, Info{Fingerprint: Fingerprint{Modified: s.opts.Now().UnixNano()}}, t, Nearly)
	if errors.Is(err, ErrTime) {
		err = nil
	}
	return err
}

// setDirMode gives a new directory the mode that was asked for, if one was.
func (s *FS) setDirMode(name string) error {
	mode := s.opts.DirMode
	if mode == 0 {
		return nil
	}
	f, err := s.calls.Open(name)
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

// SetAttributes keeps value, or what [FS.KeepBeside] has made of it, with a file or directory; the next look at it
// finds its Changed time moved. It must be called under [FS.Lock].
func (s *FS) SetAttributes(name string, value []byte) error {
	f, err := s.calls.Open(local(name))
	if err != nil {
		return err
	}
	defer f.Close()
	if len(value) == 0 {
		value = nil // none, and not an empty one
	}
	defer s.Changing(name)()
	return f.SetAttr(propertiesAttr, value)
}

// SetExecutable lets its owner start a program from a file, and those who may read it; or nobody. It must be called
// under [FS.Lock].
func (s *FS) SetExecutable(name string, yes bool) error {
	info, err := s.Lstat(name)
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
	return s.SetMode(name, mode)
}

// SetMode sets the permission bits of a file or directory. It must be called under [FS.Lock].
func (s *FS) SetMode(name string, mode iofs.FileMode) error {
	defer s.Changing(name)()
	return s.setMode(local(name), mode)
}
