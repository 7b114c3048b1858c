package properties

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// SweepBeside removes the values kept beside the tree to which no attribute has referred for long. It looks for
// references in the whole tree and in the history, unless no value is old enough. If it cannot look into a directory,
// it removes nothing. It must not be called under the lock of a volume.
func (s *Values) SweepBeside(ctx context.Context) error {
	old := map[*Store][]string{}
	before := map[*Store]time.Time{}
	for _, v := range s.all() {
		before[v] = s.opts.Now().Add(-keptFor)
		if v.isSweepDue() {
			before[v] = s.opts.Now().Add(-keptBriefly)
		}
		v.mu.Lock()
		v.fresh = 0
		v.mu.Unlock()
		names, err := v.all.tree.Entries(v.volume.StatePath(valuesPart))
		if err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return err
		}
		for _, name := range names {
			info, err := v.all.calls.Lstat(v.volume.StatePath(valuesPart) + "/" + name)
			if err == nil && info.ModTime().Before(before[v]) {
				old[v] = append(old[v], name)
			}
		}
	}
	if len(old) == 0 {
		return nil
	}
	known := map[string]bool{}
	if err := s.references(ctx, ".", known); err != nil {
		return fmt.Errorf("looking for what still has large properties: %w", err)
	}
	var errs []error
	for v, names := range old {
		for _, name := range names {
			errs = append(errs, v.sweep(name, known, before[v]))
		}
	}
	return errors.Join(errs...)
}

// sweep marks a value without references as old, or removes it if it was marked as old before. Another caller may
// touch the value meanwhile. If it does so before the rename, sweep sees the new time. Otherwise the other caller
// does not find the value, and makes it anew.
func (v *Store) sweep(entry string, known map[string]bool, before time.Time) error {
	name, isOld := strings.CutSuffix(entry, oldSuffix)
	at := v.volume.StatePath(valuesPart) + "/" + name
	switch {
	case known[name] && isOld:
		err := v.volume.RenameNew(at+oldSuffix, at)
		if errors.Is(err, iofs.ErrExist) {
			err = v.all.calls.Remove(at + oldSuffix)
		}
		return gone(err)
	case known[name]:
		return nil
	case isOld:
		return gone(v.all.calls.Remove(at + oldSuffix))
	}
	if err := v.all.calls.Rename(at, at+oldSuffix); err != nil {
		return gone(err)
	}
	if info, err := v.all.calls.Lstat(at + oldSuffix); err != nil || !info.ModTime().Before(before) {
		_ = v.volume.RenameNew(at+oldSuffix, at)
		return gone(err)
	}
	return v.all.calls.Chtimes(at+oldSuffix, v.all.opts.Now())
}

// references notes the values to which the attributes of a directory and of all members below it refer. On a file
// system to which this server has written nothing, no attribute refers to a value.
func (s *Values) references(ctx context.Context, dir string, known map[string]bool) error {
	f, err := s.calls.Open(dir)
	if err != nil {
		return gone(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !s.isOurs(info) {
		return err
	}
	stored, err := f.GetAttr(volumes.PropertiesAttr)
	if err != nil {
		return err
	}
	refers(stored, known)
	var inside []string // the directories: listed first, so that no more than one is open
	for base, end := range f.AllNames() {
		if end != nil {
			return gone(end)
		}
		isDir, err := s.referencesOf(f, dir, base, known)
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		if isDir {
			inside = append(inside, path.Join(dir, base))
		}
	}
	f.Close()
	for _, member := range inside {
		if err := s.references(ctx, member, known); err != nil {
			return err
		}
	}
	return nil
}

// referencesOf is [Values.references] for a member of a directory. If the member is a directory, the caller looks into
// it.
func (s *Values) referencesOf(f *vfs.File, dir, base string, known map[string]bool) (isDir bool, err error) {
	if path.Base(dir) == volumes.OwnDir && (base == valuesPart || base == "index") {
		return false, nil // no file there has attributes
	}
	info, err := f.LstatIn(base)
	if err != nil || info.Kind != vfs.Regular {
		return err == nil && info.Kind == vfs.Directory, gone(err)
	}
	stored, err := f.GetAttrIn(base, volumes.PropertiesAttr)
	if err == nil {
		refers(stored, known)
	}
	return false, gone(err)
}

func refers(stored []byte, known map[string]bool) {
	if name, ok := referred(stored); ok {
		known[name] = true
	}
}

// gone returns nil for an error that says that a file does not exist any more, and any other error as it is.
func gone(err error) error { return vfs.Ignoring(err, iofs.ErrNotExist) }

// isOurs reports whether a look was taken on a file system that has a volume.
func (s *Values) isOurs(i vfs.Info) bool {
	return slices.ContainsFunc(s.all(), func(v *Store) bool { return v.volume.Device == volumes.DeviceOf(i) })
}
