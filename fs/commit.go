package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"time"

	"github.com/spf13/afero"
)

// Commit gives a staged version its name, in place of what is there, of which the caller has just seen kind. It must be
// called under [FS.Lock]. ErrExist says that something has appeared where nothing was: look again. When it fails, the
// old version has its name.
//
//	nothing there:       renameNew(stage, name)
//	a file by a file:    rename(stage, name)
//	else:                displace(name), renameNew(stage, name)
func (s *FS) Commit(st *Staged, name string, over Kind) error {
	directory := st.file == nil
	err := s.place(st.name, name, directory, over)
	// What could not be put back is judged by whether the version it gave way to is still here: that one stays.
	if err == nil || errors.Is(err, errNotRestored) {
		st.done = true
	}
	if err == nil && st.mode != 0 {
		_ = s.setMode(name, st.mode) // it is committed: at worst its owner may write to it
	}
	return err
}

func (s *FS) setMode(name string, mode iofs.FileMode) error {
	f, err := s.calls.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.calls.chmod(f, mode)
}

// Move gives what from names another name, as [FS.Commit] does. Of from, the caller has just seen the kind too.
func (s *FS) Move(from string, kind Kind, to string, over Kind) error {
	return s.place(from, to, kind == Directory, over)
}

// errNotRestored says that what had given way to a commit that failed does not have its name back. Recovery sees to it.
var errNotRestored = errors.New("what stood there could not be put back")

// place renames, so that to is never half of anything.
func (s *FS) place(from, to string, directory bool, over Kind) error {
	switch {
	case over == Nothing:
		return s.calls.renameNew(from, to)
	case over != Directory && !directory:
		return s.calls.rename(from, to)
	}
	gone, err := s.displace(to, from)
	if err != nil {
		return err
	}
	if err := s.calls.renameNew(from, to); err != nil {
		return errors.Join(err, s.restore(gone, to))
	}
	// It has given way for good, and without its name there is nothing to put back. Should neither call succeed, recovery
	// finds that what it gave way to has the name.
	if err := s.calls.rename(gone, s.unique(trashDir, "")); err != nil {
		_ = s.calls.rename(gone+"/"+displacedOld, gone+"/"+displacedGone)
	}
	return nil
}

// displace takes what is at name out of the way of by, so that it can be put back, also by the next process.
func (s *FS) displace(name, by string) (dir string, err error) {
	info, err := s.calls.lstat(by)
	if err != nil {
		return "", err
	}
	dir = s.unique(s.session, displacedName)
	if err := s.calls.mkdir(dir); err != nil {
		return "", err
	}
	err = s.writeFile(dir+"/"+displacedPath, displacement{name, by, info.Inode, info.Born}.encode())
	if err == nil && s.opts.Durability == Full {
		err = errors.Join(s.syncDir(dir), s.syncDir(s.session))
	}
	if err == nil {
		err = s.calls.rename(name, dir+"/"+displacedOld)
	}
	if err != nil {
		// Over a network a rename may have happened although it fails.
		return "", errors.Join(err, s.restore(dir, name))
	}
	return dir, nil
}

// restore puts back what has given way, if it has, and forgets that it was to. It removes nothing but our note.
func (s *FS) restore(dir, name string) error {
	old := dir + "/" + displacedOld
	_, err := s.calls.lstat(old)
	if err == nil {
		err = s.calls.renameNew(old, name)
	} else if errors.Is(err, iofs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return &iofs.PathError{Op: "restore", Path: name, Err: fmt.Errorf("%w: %w; it may be in %s", errNotRestored, err, old)}
	}
	_ = s.calls.remove(dir + "/" + displacedPath) // what stays goes with the session
	_ = s.calls.remove(dir)
	return nil
}

// Mkdir makes a directory where nothing is, with a modification time unless that is zero. It must be called under
// [FS.Lock].
func (s *FS) Mkdir(name string, modified time.Time) error {
	name = local(name)
	if err := s.calls.mkdir(name); err != nil {
		return err
	}
	err := s.setDirMode(name)
	if err == nil && !modified.IsZero() {
		err = s.calls.chtimes(name, modified)
	}
	if err != nil {
		_ = s.calls.remove(name) // it is new, and empty
	}
	return err
}

// setDirMode gives a new directory the mode that was asked for, if one was.
func (s *FS) setDirMode(name string) error {
	mode := s.opts.DirMode
	if mode == 0 {
		return nil
	}
	f, err := s.calls.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := s.calls.fstat(f)
	if err != nil {
		return err
	}
	inherited, err := s.calls.getAttr(f, defaultACL)
	if err != nil {
		return err
	}
	if inherited != nil {
		mode &= info.Mode | iofs.ModeSetgid | iofs.ModeSticky // what the ACL grants is in its mode
	}
	return s.calls.chmod(f, mode|info.Mode&iofs.ModeSetgid)
}

// Remove takes a name away by one rename; the space it took is free after [FS.EmptyTrash]. It must be called under
// [FS.Lock].
func (s *FS) Remove(name string) error {
	return s.calls.renameNew(name, s.unique(trashDir, ""))
}

// EmptyTrash deletes what was removed, by whichever process. It may be called at any time, and ended at any; it ends
// with ctx, after what it is at.
func (s *FS) EmptyTrash(ctx context.Context) error {
	members, err := s.entries(trashDir)
	for _, member := range members {
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		err = errors.Join(err, s.calls.removeAll(trashDir+"/"+member))
	}
	return err
}

// SetAttributes keeps value beside a file or directory; the next look at it finds its Changed time moved. It must be
// called under [FS.Lock].
func (s *FS) SetAttributes(name string, value []byte) error {
	f, err := s.calls.open(local(name))
	if err != nil {
		return err
	}
	defer f.Close()
	if len(value) == 0 {
		value = nil // none, and not an empty one
	}
	return s.calls.setAttr(f, propertiesAttr, value)
}

// SetModified sets the modification time of a file or directory. It must be called under [FS.Lock].
func (s *FS) SetModified(name string, t time.Time) error { return s.calls.chtimes(local(name), t) }

// SyncFile puts a file, or what is kept beside it, on disk as far as the durability asks for it; after the commit, as
// [FS.SyncNames].
func (s *FS) SyncFile(name string) error {
	if s.opts.Durability == None {
		return nil
	}
	f, err := s.calls.open(local(name))
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return s.calls.syncDir(f) // all of it: what is kept beside a file is not what sync must write to read it back
}

// SyncState puts the names of the state directory on disk, as [FS.SyncNames] does for those of the tree.
func (s *FS) SyncState() error { return s.SyncNames(lockName) }

// SyncNames puts the names in the directories of these names on disk, as far as the durability asks for it. It is called
// after the commit, outside the lock: should it fail, the new version is visible and whole, and not acknowledged.
func (s *FS) SyncNames(names ...string) error {
	if s.opts.Durability != Full {
		return nil
	}
	var errs []error
	done := map[string]bool{}
	for _, name := range names {
		if dir := path.Dir(local(name)); !done[dir] {
			done[dir] = true
			errs = append(errs, s.syncDir(dir))
		}
	}
	return errors.Join(errs...)
}

func (s *FS) syncDir(name string) error {
	f, err := s.calls.open(name)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil // moved or removed since, by a commit that syncs it itself
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return s.calls.syncDir(f)
}

// ReadState returns the content of a small file of the state directory.
func (s *FS) ReadState(name string) ([]byte, error) { return s.readFile(stateDir + "/" + name) }

// StatState looks at a small file of the state directory; Nothing if there is none.
func (s *FS) StatState(name string) (Info, error) {
	info, err := s.calls.lstat(stateDir + "/" + name)
	if errors.Is(err, iofs.ErrNotExist) {
		return Info{}, nil
	}
	return info, err
}

// WriteState replaces a small file of the state directory in one step. It must be called under [FS.Lock].
func (s *FS) WriteState(name string, data []byte) error {
	name = stateDir + "/" + name
	staged := name + ".new"
	if err := s.calls.remove(staged); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	if err := s.writeFile(staged, data); err != nil {
		return err
	}
	return s.calls.rename(staged, name)
}

func (s *FS) writeFile(name string, data []byte) error {
	f, err := s.calls.create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := s.calls.write(f, data); err != nil {
		return err
	}
	if s.opts.Durability == None {
		return nil
	}
	return s.calls.sync(f)
}

func (s *FS) readFile(name string) ([]byte, error) {
	f, err := s.calls.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := s.calls.fstat(f)
	if err != nil {
		return nil, err
	}
	return s.readAll(f, info.Size)
}

func (s *FS) readAll(f afero.File, size int64) ([]byte, error) {
	data := make([]byte, size)
	n, err := s.calls.readAt(f, data, 0)
	if isEOF(err) {
		err = nil
	}
	return data[:n], err
}
