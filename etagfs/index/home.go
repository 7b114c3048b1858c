package index

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"

	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// A home is the open directory of an index. If it is deleted, the index goes on in another home.
type home struct {
	dir       *os.Root
	epochs    *epochs
	pages     *pages
	shared    *sharedFile
	corrected uint32 // the number in the shared state when the records in memory were last dropped
}

func (x *Index) open() error {
	err := mkdirAll(x.opts.Dir)
	if info, failed := os.Lstat(x.opts.Dir); err != nil && failed == nil && !info.IsDir() &&
		info.Mode()&iofs.ModeSymlink == 0 {
		// A link was made on purpose, and may lead to a disk that is not there today. A file was not made on purpose.
		if err = os.Remove(x.opts.Dir); err == nil {
			err = mkdirAll(x.opts.Dir)
		}
		x.opts.Report(fmt.Errorf("%s was no directory, and is begun anew: all files are hashed again", x.opts.Dir))
	}
	if err != nil {
		return err
	}
	// It is held open, so that no file is written elsewhere if a link takes the place of the directory.
	dir, err := os.OpenRoot(x.opts.Dir)
	if err != nil {
		return err
	}
	private, err := volumes.CheckDir(x.opts.Dir, x.opts.Heir)
	if err == nil && !private {
		err = errors.New("its file system has no modes, and others can write to it")
	}
	var h *home
	if err == nil {
		h, err = x.openHome(dir, x.opts.Report)
	}
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	x.home.Store(h)
	x.name = filepath.Base(x.opts.Dir)
	// It is held open too, because the path may lead to another disk when the index has to be made anew.
	x.above, _ = os.OpenRoot(filepath.Dir(x.opts.Dir)) // nil: it can be made anew in its directory only
	return nil
}

// openHome begins a run in a directory.
func (x *Index) openHome(dir *os.Root, report func(error)) (h *home, err error) {
	lock, err := openRepaired(dir, lockName)
	if err != nil {
		return nil, err
	}
	if err := lockFile(lock, openPatience); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	defer funlock(lock)
	h = &home{dir: dir}
	var whole bool
	if h.shared, whole, err = openShared(lock, x.opts.Boot); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if h.epochs, err = openEpochs(dir, x.opts.Boot, x.isLazy(""), whole, report); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	n, _ := h.shared.read()
	h.corrected = n.corrected
	if _, show := h.epochs.others(); n.broken && !show {
		err = h.shared.mend() // the process that wrote the mark is gone, and all notes of dates are forgotten
		if err != nil {
			return nil, errors.Join(err, h.epochs.close(true), lock.Close())
		}
	}
	h.pages = newPages(dir, h.epochs.id, x.trouble)
	return h, nil
}

// cure returns advice about an index that cannot be used.
func cure(err error) string {
	if errors.Is(err, errLocked) {
		return "end the process that holds it, and start anew"
	}
	return "delete it, or give it to the user that the server runs as"
}

// renew begins an index anew that was deleted while it was in use. If it cannot, the index goes on in memory. It
// reports whether it could.
func (x *Index) renew(old *home) bool {
	old.pages.leave()
	next, err := x.reopen(old)
	x.home.Store(next)
	x.hot.Clear()
	if err != nil {
		x.opts.Report(fmt.Errorf("the index was deleted while it was in use, and cannot be begun anew: ETags are "+
			"kept in memory only until the next start: %w", err))
	} else {
		x.opts.Report(errors.New("the index was deleted while it was in use, and is begun anew: all files are hashed " +
			"again"))
	}
	_ = old.epochs.close(true) // most often, its files are the deleted ones
	old.shared.file.Close()
	if next == nil || next.dir != old.dir {
		old.dir.Close()
	}
	return err == nil
}

// reopen makes the deleted files of the directory or, if the directory itself was deleted, the directory.
func (x *Index) reopen(old *home) (*home, error) {
	silently := func(error) {} // the remains of a deleted index are no news
	next, err := x.openHome(old.dir, silently)
	if err == nil || x.above == nil {
		return next, err
	}
	made := x.above.Mkdir(x.name, 0o700)
	if made != nil && !errors.Is(made, iofs.ErrExist) {
		return nil, made
	}
	dir, err := x.above.OpenRoot(x.name)
	if err != nil {
		return nil, err
	}
	if made == nil {
		if made, err := dir.Open("."); err == nil {
			above, err := x.above.Stat(".")
			give(above, err, made.Chown)
			_ = made.Close()
		}
	}
	if next, err = x.openHome(dir, silently); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return next, nil
}
