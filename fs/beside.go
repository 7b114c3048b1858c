package fs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// A value that is too large for an extended attribute is kept beside the tree, in a file of the state directory. The
// name of the file is the SHA-256 of the value, and the file never changes:
//
//	.ifmatch/properties/<SHA-256>        the attributes of any number of files refer to it, see reference
//	.ifmatch/properties/<SHA-256>.old    a sweep found no attribute that refers to it, see SweepBeside
//
// The file is on disk before an attribute refers to it. Its modification time is that of the last reference that this
// server has made.
const (
	besidePart = "properties"
	besideOld  = ".old"

	referencePrefix = "beside:"
)

const (
	// besideFor is how long a value without references stays after its last reference, and how long it stays again
	// after a sweep has found that it has none. A sweep may overlook a reference in a file that is moved during the
	// sweep. It rarely overlooks the same reference twice.
	besideFor = 24 * time.Hour
	// besideSoon takes the place of besideFor if so many bytes have come that clients could fill the disk with values
	// that they set again and again.
	besideSoon = 10 * time.Minute

	// besideMost bounds the bytes of the values that are added between two sweeps. On a small disk the bound is the
	// size of the disk divided by besideShare.
	besideMost  = 256 << 20
	besideLeast = 1 << 20
	besideShare = 50
)

// errBeside says that so many bytes were kept beside the tree since the last sweep that no more are taken before the
// next one.
var errBeside = fmt.Errorf("too many large properties were set in a short time (%w)", vfs.ErrAttribute)

// fresh counts the bytes that were added beside the tree on a volume since the last sweep.
type fresh struct {
	mu    sync.Mutex
	bytes int64
}

// mostFresh returns the bound on these bytes.
func (v *volume) mostFresh() int64 {
	if space, err := v.calls.Space(v.Top); err == nil && space.Size > 0 {
		return max(besideLeast, min(besideMost, space.Size/besideShare))
	}
	return besideMost
}

// takeFresh counts a value in, if the bound leaves room for it.
func (v *volume) takeFresh(size int64) error {
	most := v.mostFresh()
	v.fresh.mu.Lock()
	defer v.fresh.mu.Unlock()
	if v.fresh.bytes+size > most {
		return errBeside
	}
	v.fresh.bytes += size
	return nil
}

// SweepDue reports whether so many bytes were kept beside the tree since the last [FS.SweepBeside] that the next one
// should come soon.
func (s *FS) SweepDue() bool { return slices.ContainsFunc(s.volumes(), (*volume).isSweepDue) }

func (v *volume) isSweepDue() bool {
	v.fresh.mu.Lock()
	bytes := v.fresh.bytes
	v.fresh.mu.Unlock()
	return bytes > 0 && bytes > v.mostFresh()/2
}

// reference returns the attribute value that refers to a value kept beside the tree.
func reference(value []byte) []byte {
	return fmt.Appendf(nil, "%s%x", referencePrefix, sha256.Sum256(value))
}

// referred returns the name of the file that an attribute refers to. ok is false if the attribute has the value itself.
func referred(stored []byte) (name string, ok bool) {
	name, ok = strings.CutPrefix(string(stored), referencePrefix)
	if sum, err := hex.DecodeString(name); err != nil || len(sum) != sha256.Size || name != strings.ToLower(name) {
		return "", false
	}
	return name, ok
}

// KeepBeside keeps a value beside the tree, for the attribute of the file or directory at a name. It returns the
// reference that the caller sets as the attribute in place of the value. It must not be called under [FS.Lock].
func (s *FS) KeepBeside(name string, value []byte) (stored []byte, err error) {
	info, err := s.Lstat(name)
	if err != nil {
		return nil, err
	}
	dir := volumes.Local(name)
	if info.Kind != Directory {
		dir = path.Dir(dir)
	}
	v, err := s.volumeFor(dir)
	if err != nil {
		return nil, err
	}
	return v.keepBeside(value)
}

func (v *volume) keepBeside(value []byte) (stored []byte, err error) {
	stored = reference(value)
	name, _ := referred(stored)
	if err := v.touchBeside(name); !errors.Is(err, iofs.ErrNotExist) {
		return stored, err
	}
	if err := v.takeFresh(int64(len(value))); err != nil {
		return nil, &iofs.PathError{Op: "keep", Path: v.StatePath(besidePart), Err: err}
	}
	staged := v.Unique(v.Session, volumes.NewPrefix)
	need := Need{Name: v.StatePath(besidePart), Length: int64(len(value)), Arrived: true}
	err = v.rooms.Retry(context.Background(), need, func() error {
		err := v.WriteFile(staged, value)
		if err != nil {
			_ = v.calls.RemoveAll(staged)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	at := v.StatePath(besidePart) + "/" + name
	err = v.RenameNew(staged, at)
	if errors.Is(err, iofs.ErrNotExist) {
		if err = v.MakeDir(v.StatePath(besidePart)); err == nil && v.opts.Durability == Full {
			err = v.SyncDir(path.Join(v.Top, volumes.OwnDir))
		}
		if err == nil {
			err = v.RenameNew(staged, at)
		}
	}
	if err != nil {
		_ = v.calls.RemoveAll(staged)
	}
	if errors.Is(err, iofs.ErrExist) {
		err = v.touchBeside(name) // another caller has made it in between
	} else if err == nil {
		err = v.syncBeside()
	}
	return stored, err
}

// touchBeside notes that an attribute is about to refer to a value. It returns ErrNotExist if the volume does not have
// the value. A value that touchBeside has touched stays: see sweepOne.
func (v *volume) touchBeside(name string) error {
	at, now := v.StatePath(besidePart)+"/"+name, v.opts.Now()
	err := v.calls.Chtimes(at, now)
	if errors.Is(err, iofs.ErrNotExist) && v.RenameNew(at+besideOld, at) == nil {
		err = v.calls.Chtimes(at, now)
	}
	if errors.Is(err, iofs.ErrPermission) {
		err = nil // another user's server has made it. A sweep of the tree sees the reference
	}
	if err == nil {
		err = v.syncBeside()
	}
	return err
}

// syncBeside syncs the directory of the values that are kept beside the tree.
func (v *volume) syncBeside() error {
	if v.opts.Durability != Full {
		return nil
	}
	return v.SyncDir(v.StatePath(besidePart))
}

// haveBeside makes sure that a volume has the value to which an attribute refers, before that attribute is set there.
// It does not fail if no volume has the value any more.
func (v *volume) haveBeside(stored []byte) error {
	name, ok := referred(stored)
	if !ok {
		return nil
	}
	err := v.touchBeside(name)
	if !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	value, err := v.readBeside(name)
	if err == nil && value != nil {
		_, err = v.keepBeside(value)
	}
	return err
}

// Value returns the value that an attribute stands for. If the value was kept beside the tree and is gone, Value
// returns nil: the state directory was removed.
func (s *FS) Value(stored []byte) ([]byte, error) {
	if name, ok := referred(stored); ok {
		return s.readBeside(name)
	}
	return stored, nil
}

// readBeside reads a value that is kept beside the tree, on any volume: a program may have moved the file that refers
// to the value to another file system.
func (s *FS) readBeside(name string) ([]byte, error) {
	for _, v := range s.volumes() {
		for _, suffix := range []string{"", besideOld} {
			value, err := s.ReadFile(v.StatePath(besidePart) + "/" + name + suffix)
			switch {
			case errors.Is(err, iofs.ErrNotExist):
				continue
			case err != nil:
				return nil, err
			case hex.EncodeToString(sum(value)) != name:
				path := v.StatePath(besidePart) + "/" + name
				return nil, &iofs.PathError{Op: "read", Path: path, Err: errors.New("it is damaged")}
			}
			if suffix != "" && !s.opts.ReadOnly {
				_ = v.touchBeside(name) // an attribute does refer to it
			}
			return value, nil
		}
	}
	return nil, nil
}

func sum(value []byte) []byte {
	s := sha256.Sum256(value)
	return s[:]
}

// SweepBeside removes the values kept beside the tree to which no attribute has referred for long. It looks for
// references in the whole tree and in the history, unless no value is old enough. If it cannot look into a directory,
// it removes nothing. It must not be called under [FS.Lock].
func (s *FS) SweepBeside(ctx context.Context) error {
	old := map[*volume][]string{}
	before := map[*volume]time.Time{}
	for _, v := range s.volumes() {
		before[v] = s.opts.Now().Add(-besideFor)
		if v.isSweepDue() {
			before[v] = s.opts.Now().Add(-besideSoon)
		}
		v.fresh.mu.Lock()
		v.fresh.bytes = 0
		v.fresh.mu.Unlock()
		names, err := v.Entries(v.StatePath(besidePart))
		if err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return err
		}
		for _, name := range names {
			info, err := v.calls.Lstat(v.StatePath(besidePart) + "/" + name)
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
			errs = append(errs, v.sweepOne(name, known, before[v]))
		}
	}
	return errors.Join(errs...)
}

// sweepOne marks a value without references as old, or removes it if it was marked as old before. Another caller may
// touch the value meanwhile. If it does so before the rename, sweepOne sees the new time. Otherwise the other caller
// does not find the value, and makes it anew.
func (v *volume) sweepOne(entry string, known map[string]bool, before time.Time) error {
	name, isOld := strings.CutSuffix(entry, besideOld)
	at := v.StatePath(besidePart) + "/" + name
	switch {
	case known[name] && isOld:
		err := v.RenameNew(at+besideOld, at)
		if errors.Is(err, iofs.ErrExist) {
			err = v.calls.Remove(at + besideOld)
		}
		return gone(err)
	case known[name]:
		return nil
	case isOld:
		return gone(v.calls.Remove(at + besideOld))
	}
	if err := v.calls.Rename(at, at+besideOld); err != nil {
		return gone(err)
	}
	if info, err := v.calls.Lstat(at + besideOld); err != nil || !info.ModTime().Before(before) {
		_ = v.RenameNew(at+besideOld, at)
		return gone(err)
	}
	return v.calls.Chtimes(at+besideOld, v.opts.Now())
}

// references notes the values to which the attributes of a directory and of all members below it refer. On a file
// system to which this server has written nothing, no attribute refers to a value.
func (s *FS) references(ctx context.Context, dir string, known map[string]bool) error {
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
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		names, end := f.Names(256)
		for _, base := range names {
			isDir, err := s.referencesOf(f, dir, base, known)
			if err != nil {
				return err
			}
			if isDir {
				inside = append(inside, path.Join(dir, base))
			}
		}
		if volumes.IsEOF(end) || end == nil && len(names) == 0 {
			break
		}
		if end != nil {
			return gone(end)
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

// referencesOf is references for a member of a directory. If the member is a directory, the caller looks into it.
func (s *FS) referencesOf(f *File, dir, base string, known map[string]bool) (isDir bool, err error) {
	if path.Base(dir) == volumes.OwnDir && (base == besidePart || base == "index") {
		return false, nil // no file there has attributes
	}
	info, err := f.LstatIn(base)
	if err != nil || info.Kind != Regular {
		return err == nil && info.Kind == Directory, gone(err)
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
func gone(err error) error {
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	return err
}

// isOurs reports whether a look was taken on a file system that has a volume.
func (s *FS) isOurs(i Info) bool {
	return slices.ContainsFunc(s.volumes(), func(v *volume) bool { return v.Device == volumes.DeviceOf(i) })
}
