package blobs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
)

// A Dir keeps each object as a file in a directory, which several machines may share. It needs neither renames nor
// locks: a file has its last name from its beginning, and the database says which files count.
type Dir struct {
	root string
	made sync.Map           // the subdirectories that are known to exist
	tree atomic.Pointer[ID] // whose place it is, or nil where that is not known
}

// NewDir returns the place in a directory, which the first object makes if it is not there.
func NewDir(root string) (*Dir, error) {
	if info, err := os.Stat(root); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s is no directory", root)
	}
	return &Dir{root: root}, nil
}

// path returns the name of the file of an object. There are 256 subdirectories, by the last byte, which is random.
func (d *Dir) path(id ID) (dir, file string) {
	dir = filepath.Join(d.root, hex.EncodeToString(id[15:]))
	return dir, filepath.Join(dir, id.String())
}

// claimed implements [claimable].
func (d *Dir) claimed(tree ID) { d.tree.Store(&tree) }

// missing returns the error of a name that is not there. It is another one where the mark of the tree is not there either:
// then the disk is not mounted, and nothing may be made in the directory below it.
func (d *Dir) missing(err error) error {
	tree := d.tree.Load()
	if tree == nil || !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	_, mark := d.path(*tree)
	if _, failed := os.Stat(mark); failed != nil {
		return fmt.Errorf("%s is not the place of the tree any more: is its disk mounted? (%v)", d.root, failed)
	}
	return err
}

// Create implements [Store].
func (d *Dir) Create(_ context.Context, id ID, _ int64) (Writer, error) {
	f, err := d.open(id, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err // and no Writer, not even one that is nil
	}
	return f, nil
}

// open opens a file for writing, and makes its subdirectory if that is not there.
func (d *Dir) open(id ID, flag int) (*file, error) {
	dir, path := d.path(id)
	f, err := os.OpenFile(path, os.O_RDWR|flag, 0o600)
	err = d.missing(err)
	if errors.Is(err, iofs.ErrNotExist) && flag&os.O_CREATE != 0 {
		if d.tree.Load() == nil {
			err = os.MkdirAll(d.root, 0o700)
		} else {
			err = nil
		}
		if err == nil {
			err = os.Mkdir(dir, 0o700)
		}
		if err == nil || errors.Is(err, iofs.ErrExist) {
			f, err = os.OpenFile(path, os.O_RDWR|flag, 0o600)
		}
	}
	if err != nil {
		return nil, err
	}
	return &file{File: f, store: d, id: id, dir: dir}, nil
}

// Resume implements [Store]. Under a new identifier, it goes on with a copy: an earlier writer may still write to the
// file that it has open.
func (d *Dir) Resume(_ context.Context, id ID, _ int64, kept Kept) (Writer, error) {
	flag := os.O_CREATE
	if kept.ID == id && kept.Size > 0 {
		flag = 0
	}
	f, err := d.open(id, flag)
	if err != nil {
		return nil, err
	}
	if kept.ID != id && kept.Size > 0 {
		err = errors.Join(f.Truncate(0), f.copy(kept))
	}
	var at int64
	if err == nil {
		at, err = f.Seek(0, io.SeekEnd)
	}
	if err == nil && at < kept.Size {
		err = fmt.Errorf("%d of its first %d bytes are there: %w", at, kept.Size, ErrDamaged)
	}
	if err == nil {
		err = f.Truncate(kept.Size)
	}
	if err == nil {
		_, err = f.Seek(kept.Size, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// copy copies bytes that were kept in another file. The kernel may share their blocks.
func (f *file) copy(kept Kept) error {
	_, path := f.store.path(kept.ID)
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	n, err := io.CopyN(f.File, from, kept.Size)
	if err == io.EOF {
		err = fmt.Errorf("%d of its first %d bytes are there: %w", n, kept.Size, ErrDamaged)
	}
	return err
}

// Open implements [Store].
func (d *Dir) Open(_ context.Context, id ID, size, offset, n int64) (io.ReadCloser, error) {
	_, path := d.path(id)
	f, err := os.Open(path)
	if err != nil {
		return nil, d.missing(err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() != size {
		err = fmt.Errorf("it has %d bytes, and not %d: %w", info.Size(), size, ErrDamaged)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &whole{Reader: io.NewSectionReader(f, offset, n), Closer: f, left: n}, nil
}

// A whole reader yields a number of bytes, or an error.
type whole struct {
	io.Reader
	io.Closer
	left int64
}

// Read implements [io.Reader].
func (r *whole) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.left -= int64(n); err == io.EOF && r.left > 0 {
		err = fmt.Errorf("%d bytes are missing: %w", r.left, ErrDamaged)
	}
	return n, err
}

// Delete implements [Store].
func (d *Dir) Delete(_ context.Context, id ID) error {
	_, path := d.path(id)
	err := d.missing(os.Remove(path))
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	return err
}

// Discard implements [Store].
func (d *Dir) Discard(ctx context.Context, id ID) error { return d.Delete(ctx, id) }

// List implements [Store].
func (d *Dir) List(ctx context.Context) iter.Seq2[ID, error] {
	return func(yield func(ID, error) bool) {
		root, err := filepath.EvalSymlinks(d.root) // WalkDir would look at no more of a link than the link
		switch err = d.missing(err); {
		case errors.Is(err, iofs.ErrNotExist):
			return // no object has made it yet
		case err != nil:
			yield(ID{}, err)
			return
		}
		err = filepath.WalkDir(root, func(_ string, entry iofs.DirEntry, err error) error {
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
	id    ID
	dir   string
}

// ID implements [Writer].
func (f *file) ID() ID { return f.id }

// Commit implements [Writer].
func (f *file) Commit(context.Context, [32]byte) error { return errors.Join(f.sync(), f.Close()) }

// sync makes the file durable. A new one is when its directory is.
func (f *file) sync() error { return errors.Join(f.Sync(), syncDir(f.dir), f.store.syncRoot(f.dir)) }

// Keep implements [Writer].
func (f *file) Keep(context.Context, func() (ID, error)) (Kept, error) {
	size, err := f.Seek(0, io.SeekCurrent)
	return Kept{ID: f.id, Size: size}, errors.Join(err, f.sync())
}

// Whole implements [Writer].
func (f *file) Whole() bool { return true }

// Leave implements [Writer].
func (f *file) Leave(context.Context) error { return f.Close() }

// Abort implements [Writer]. The file may be closed already.
func (f *file) Abort(context.Context) error {
	_ = f.Close()
	return os.Remove(f.Name())
}

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
