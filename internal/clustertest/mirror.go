package clustertest

import (
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A mirror is a directory that follows a store.
type mirror struct {
	store *pgstore.Store
	dir   string // "" if there is none

	mu sync.Mutex
	at tree.Cursor
}

// load puts the directory into the store.
func (m *mirror) load(ctx context.Context) error {
	return filepath.WalkDir(m.dir, func(path string, entry iofs.DirEntry, err error) error {
		if err != nil || path == m.dir {
			return err
		}
		rest, err := filepath.Rel(m.dir, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rest)
		if name == ".ifmatch" {
			return filepath.SkipDir
		}
		info, err := entry.Info()
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			_, err = m.store.Mkdir(ctx, name, tree.MkdirOptions{Modified: info.ModTime()}, tree.Condition{})
			return err
		case !info.Mode().IsRegular():
			return nil
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		opts := tree.PutOptions{Length: info.Size(), Modified: info.ModTime()}
		_, _, err = m.store.Put(ctx, name, file, opts, tree.Condition{})
		return err
	})
}

// catchUp brings the directory to the present state of the store.
func (m *mirror) catchUp(ctx context.Context) error {
	if m.dir == "" {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now, err := m.store.Now(ctx)
	if err != nil || now == m.at {
		return err
	}
	changed := map[string]bool{} // true: with all members
	for c, err := range m.store.Changes(ctx, m.at, now) {
		if err != nil {
			return err
		}
		if changed[c.Name] = changed[c.Name] || c.Deep(); c.From != "" {
			changed[c.From] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		err = errors.Join(err, m.follow(ctx, name, changed[name]))
	}
	m.at = now
	return err
}

// follow copies the resource at a name from the store to the directory, with all members if the change was deep.
func (m *mirror) follow(ctx context.Context, name string, deep bool) error {
	there, opts := map[string]bool{}, tree.ListOptions{}
	if deep {
		opts.Depth = -1
	}
	for state, err := range m.store.List(ctx, name, opts, tree.Condition{}) {
		if errors.Is(err, tree.ErrNotExist) && len(there) == 0 {
			return m.remove(name)
		}
		if err != nil {
			return err
		}
		there[state.Name] = true
		if err := m.write(ctx, state); err != nil {
			return err
		}
	}
	if !deep {
		return nil
	}
	return filepath.WalkDir(m.path(name), func(path string, entry iofs.DirEntry, err error) error {
		rest, failed := filepath.Rel(m.dir, path)
		switch {
		case err != nil || failed != nil:
			return errors.Join(err, failed)
		case rest == "." || there[filepath.ToSlash(rest)]:
			return nil
		}
		if err := os.RemoveAll(path); err != nil || !entry.IsDir() {
			return err
		}
		return filepath.SkipDir
	})
}

func (m *mirror) path(name string) string { return filepath.Join(m.dir, filepath.FromSlash(name)) }

// remove removes a name. It may be below a file by now.
func (m *mirror) remove(name string) error {
	if err := os.RemoveAll(m.path(name)); err != nil && !strings.Contains(err.Error(), "not a directory") {
		return err
	}
	return nil
}

// write makes a resource without its members.
func (m *mirror) write(ctx context.Context, state tree.State) error {
	path := m.path(state.Name)
	if info, err := os.Lstat(path); err == nil && info.IsDir() != state.Collection && state.Name != "" {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if state.Collection {
		return os.MkdirAll(path, 0o777)
	}
	mode := os.FileMode(0o666)
	if state.Executable {
		mode = 0o777
	}
	content, opened, err := m.store.Open(ctx, state.Name, tree.ReadOptions{}, tree.Condition{})
	if errors.Is(err, tree.ErrNotExist) || errors.Is(err, tree.ErrIsCollection) {
		return nil // it has changed again, and another call comes
	}
	if err != nil {
		return err
	}
	defer content.Close()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	// A new file in place of the old one, as a server makes it: a reader of the old one reads it to its end.
	file, err := os.CreateTemp(m.beside(), "new")
	if err != nil {
		return err
	}
	_, err = io.Copy(file, io.NewSectionReader(content, 0, opened.Size))
	err = errors.Join(err, file.Chmod(mode), file.Close(), os.Chtimes(file.Name(), opened.Modified, opened.Modified))
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	return err
}

// beside returns a directory on the same file system that no test looks at.
func (m *mirror) beside() string { return filepath.Dir(m.dir) }
