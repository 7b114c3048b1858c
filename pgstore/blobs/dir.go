package blobs

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	iofs "io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/uuid"
)

// A Dir keeps each object as a file in a directory, which several machines may share. It needs neither renames nor
// locks: a file has its last name from its beginning, and the database says which files count.
type Dir struct {
	root string
	made sync.Map // the subdirectories that are known to exist
}

// NewDir makes the directory if it is not there.
func NewDir(root string) (*Dir, error) {
	return &Dir{root: root}, os.MkdirAll(root, 0o700)
}

// path returns the name of the file of an object. There are 256 subdirectories, by the last byte, which is random.
func (d *Dir) path(id ID) (dir, file string) {
	dir = filepath.Join(d.root, hex.EncodeToString(id[15:]))
	return dir, filepath.Join(dir, id.String())
}

// Create implements [Store].
func (d *Dir) Create(_ context.Context, id ID) (Writer, error) {
	dir, path := d.path(id)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, iofs.ErrNotExist) {
		if err = os.Mkdir(dir, 0o700); err == nil || errors.Is(err, iofs.ErrExist) {
			f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		}
	}
	if err != nil {
		return nil, err
	}
	return &file{File: f, store: d, dir: dir}, nil
}

// Resume implements [Store].
func (d *Dir) Resume(_ context.Context, id ID, size int64) (Writer, error) {
	dir, path := d.path(id)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		_, err = f.Seek(size, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &file{File: f, store: d, dir: dir}, nil
}

// Open implements [Store].
func (d *Dir) Open(_ context.Context, id ID) (Object, error) {
	_, path := d.path(id)
	return os.Open(path)
}

// Delete implements [Store].
func (d *Dir) Delete(_ context.Context, id ID) error {
	_, path := d.path(id)
	if err := os.Remove(path); !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	return nil
}

// List implements [Store].
func (d *Dir) List(ctx context.Context) iter.Seq2[ID, error] {
	return func(yield func(ID, error) bool) {
		err := filepath.WalkDir(d.root, func(path string, entry iofs.DirEntry, err error) error {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return err
			}
			if id, err := uuid.Parse(entry.Name()); err == nil && !entry.IsDir() && !yield(id, nil) {
				return errStopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(ID{}, err)
		}
	}
}

var errStopped = errors.New("the listing was left")

// A file is an object on its way.
type file struct {
	*os.File
	store *Dir
	dir   string
}

// Commit implements [Writer]. A new file is durable when its directory is.
func (f *file) Commit() error {
	return errors.Join(f.Sync(), f.Close(), syncDir(f.dir), f.store.syncRoot(f.dir))
}

// Keep implements [Writer].
func (f *file) Keep() error { return f.Commit() }

// Abort implements [Writer].
func (f *file) Abort() error { return errors.Join(f.Close(), os.Remove(f.Name())) }

// syncRoot syncs the root once for each subdirectory, since this process cannot tell which one has made it.
func (d *Dir) syncRoot(dir string) error {
	if _, done := d.made.Load(dir); done {
		return nil
	}
	err := syncDir(d.root)
	if err == nil {
		d.made.Store(dir, true)
	}
	return err
}
