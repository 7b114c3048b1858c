package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

// maxRecord bounds the file of a session, in bytes. The names in it have 255 each.
const maxRecord = 8 << 10

// stateName is the name of the state of a served directory.
const stateName = ".ifmatch"

// Of returns the store of a served directory: in its state, or in the state directory of the server where one is
// given. Beside this process and root, the owner of the served directory is trusted: a command of root acts as that
// user. The store makes a directory of its own when a first session is kept, and never the one that it is in, which
// may be on a disk that is not mounted.
//
// A session is a file with the name of its [Key], mode 0600, and the [Record] as JSON. Its date is that of the last
// use. A file that cannot be read as one is none.
//
// A session that the disk does not take, because it is full or keeps no permissions, is in memory and ends with the
// process. A user must be able to log in to make room on a full disk. report is told why.
func Of(served, stateDir string, report func(error)) Store {
	path := filepath.Join(served, stateName, "sessions")
	if stateDir != "" { // several servers may have one
		at, err := filepath.Abs(served)
		if err == nil {
			at, err = filepath.EvalSymlinks(at)
		}
		if err != nil {
			at = served // opening it reports the error
		}
		sum := sha256.Sum256([]byte(at))
		path = filepath.Join(stateDir, "sessions-"+hex.EncodeToString(sum[:8]))
	}
	return &dir{path: path, anchor: served, report: report, memory: Memory()}
}

type dir struct {
	path, anchor string
	report       func(error)
	memory       Store // of the sessions that the disk did not take
}

// errUntrusted says that other users could have put sessions there.
var errUntrusted = errors.New("it holds no sessions that can be trusted")

// keyForm matches the names of files that are sessions.
var keyForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{16}-[0-9a-f]{64}$`) })

// open opens the directory. Programs of other users must not be able to put a session there.
func (d *dir) open() (*os.Root, error) {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, err
	}
	info, err := root.Stat(".")
	if err == nil {
		err = checkOwner(info, d.anchor)
	}
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("%s: %w", d.path, err)
	}
	return root, nil
}

func (d *dir) Put(ctx context.Context, key Key, r Record, used time.Time) error {
	err := d.put(key, r, used)
	if err == nil {
		return nil
	}
	d.report(fmt.Errorf("a login is kept in memory alone, and ends with this process: %w", err))
	return d.memory.Put(ctx, key, r, used)
}

func (d *dir) put(key Key, r Record, used time.Time) (err error) {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err = os.Mkdir(d.path, 0o700); err == nil {
		err = errors.Join(giveTo(d.path, d.anchor), syncDir(filepath.Dir(d.path)))
	}
	if err != nil && !errors.Is(err, iofs.ErrExist) {
		return err
	}
	root, err := d.open()
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := root.OpenFile(string(key), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close(), root.Chtimes(string(key), used, used), giveTo(f.Name(), d.anchor))
	if err != nil {
		return errors.Join(err, root.Remove(string(key)))
	}
	return syncDir(d.path)
}

func (d *dir) Get(ctx context.Context, key Key) (r Record, used time.Time, err error) {
	if r, used, err = d.memory.Get(ctx, key); err == nil {
		return r, used, nil
	}
	root, err := d.openKept()
	if err != nil {
		return r, used, err
	}
	if root == nil {
		return r, used, ErrNone
	}
	defer root.Close()
	f, err := root.Open(string(key))
	if errors.Is(err, iofs.ErrNotExist) {
		return r, used, ErrNone
	}
	if err != nil {
		return r, used, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return r, used, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err != nil {
		return r, used, err
	}
	if json.Unmarshal(text, &r) != nil || r.User == "" {
		return Record{}, used, ErrNone // a power failure has cut it off, before its client was told the id
	}
	return r, info.ModTime(), nil
}

// openKept opens the directory to look for a session that was kept before. It returns nil where no session was ever
// kept, or none can be trusted. That the disk is away is an error: no user has logged out.
func (d *dir) openKept() (*os.Root, error) {
	root, err := d.open()
	switch {
	case errors.Is(err, errUntrusted):
		return nil, nil
	case errors.Is(err, iofs.ErrNotExist):
		_, err = os.Stat(filepath.Dir(d.path))
		return nil, err
	}
	return root, err
}

func (d *dir) Touch(ctx context.Context, key Key, used time.Time) error {
	if err := d.memory.Touch(ctx, key, used); err != nil {
		return err
	}
	root, err := d.openKept()
	if root == nil {
		return err
	}
	defer root.Close()
	err = root.Chtimes(string(key), used, used)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	return err
}

func (d *dir) Remove(ctx context.Context, keys ...Key) error {
	if err := d.memory.Remove(ctx, keys...); err != nil {
		return err
	}
	root, err := d.openKept()
	if root == nil {
		return err
	}
	defer root.Close()
	for _, key := range keys {
		if err := root.Remove(string(key)); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return err
		}
	}
	return syncDir(d.path)
}

func (d *dir) List(ctx context.Context, most int) (all []Used, err error) {
	if all, err = d.memory.List(ctx, most); err != nil {
		return nil, err
	}
	root, err := d.openKept()
	if root == nil {
		return all, err
	}
	defer root.Close()
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(most)
	if err != nil && err != io.EOF {
		return nil, err
	}
	for _, name := range names {
		if !keyForm().MatchString(name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		info, err := root.Lstat(name)
		if errors.Is(err, iofs.ErrNotExist) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, Used{Key(name), info.ModTime()})
	}
	return all, nil
}
