// Package properties keeps the values that are too large for an extended attribute, each in a file of the state
// directory. The name of the file is the SHA-256 of the value, and the file never changes:
//
//	.ifmatch/properties/<SHA-256>        the attributes of any number of files refer to it, see Store.Keep
//	.ifmatch/properties/<SHA-256>.old    a sweep found no attribute that refers to it, see Values.SweepBeside
//
// The file is on disk before an attribute refers to it. Its modification time is that of the last reference that this
// server has made.
package properties

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

	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

const (
	valuesPart = "properties"
	oldSuffix  = ".old"

	referencePrefix = "beside:"
)

const (
	// keptFor is how long a value without references stays after its last reference, and how long it stays again
	// after a sweep has found that it has none. A sweep may overlook a reference in a file that is moved during the
	// sweep. It rarely overlooks the same reference twice.
	keptFor = 24 * time.Hour
	// keptBriefly takes the place of keptFor if so many bytes have come that clients could fill the disk with values
	// that they set again and again.
	keptBriefly = 10 * time.Minute

	// maxFresh bounds the bytes of the values that are added between two sweeps. On a small disk the bound is the
	// size of the disk divided by freshShare.
	maxFresh   = 256 << 20
	minFresh   = 1 << 20
	freshShare = 50
)

// errTooMany says that so many bytes were kept beside the tree since the last sweep that no more are taken before the
// next one.
var errTooMany = fmt.Errorf("too many large properties were set in a short time (%w)", vfs.ErrAttribute)

// Values are the values on all volumes of a tree.
type Values struct {
	tree  *volumes.Tree
	calls *vfs.FS
	opts  volumes.Options
	rooms *room.Rooms
	of    func(*volumes.Volume) *Store
}

// New returns the values of a tree. of returns those of a volume.
func New(tree *volumes.Tree, calls *vfs.FS, opts volumes.Options, rooms *room.Rooms,
	of func(*volumes.Volume) *Store) *Values {
	return &Values{tree, calls, opts, rooms, of}
}

// A Store has the values on one volume.
type Store struct {
	all    *Values
	volume *volumes.Volume

	mu    sync.Mutex
	fresh int64 // the bytes that were added since the last sweep
}

// NewStore returns the values of a volume.
func NewStore(s *Values, v *volumes.Volume) *Store { return &Store{all: s, volume: v} }

// all returns the stores of all known volumes, that of the root first.
func (s *Values) all() []*Store { return volumes.Each(s.tree.Volumes(), s.of) }

// mostFresh returns the bound on these bytes.
func (v *Store) mostFresh() int64 {
	if space, err := v.all.calls.Space(v.volume.Top); err == nil && space.Size > 0 {
		return max(minFresh, min(maxFresh, space.Size/freshShare))
	}
	return maxFresh
}

// takeFresh counts a value in, if the bound leaves room for it.
func (v *Store) takeFresh(size int64) error {
	most := v.mostFresh()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fresh+size > most {
		return errTooMany
	}
	v.fresh += size
	return nil
}

// SweepDue reports whether so many bytes were kept beside the tree since the last [Values.SweepBeside] that the next
// one should come soon.
func (s *Values) SweepDue() bool { return slices.ContainsFunc(s.all(), (*Store).isSweepDue) }

func (v *Store) isSweepDue() bool {
	v.mu.Lock()
	bytes := v.fresh
	v.mu.Unlock()
	return bytes > 0 && bytes > v.mostFresh()/2
}

// reference returns the attribute value that refers to a value kept beside the tree.
func reference(value []byte) []byte {
	return fmt.Appendf(nil, "%s%x", referencePrefix, sha256.Sum256(value))
}

// Refers reports whether an attribute refers to a value that is kept beside the tree.
func Refers(stored []byte) bool {
	_, refers := referred(stored)
	return refers
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
// reference that the caller sets as the attribute in place of the value. It must not be called under the lock of a
// volume.
func (s *Values) KeepBeside(name string, value []byte) (stored []byte, err error) {
	info, err := s.tree.Lstat(name)
	if err != nil {
		return nil, err
	}
	dir := volumes.Local(name)
	if info.Kind != vfs.Directory {
		dir = path.Dir(dir)
	}
	v, err := s.tree.VolumeFor(dir)
	if err != nil {
		return nil, err
	}
	return s.of(v).Keep(value)
}

// Keep keeps a value, and returns the reference that the caller sets as an attribute in place of the value. It must not
// be called under the lock of a volume.
func (v *Store) Keep(value []byte) (stored []byte, err error) {
	stored = reference(value)
	name, _ := referred(stored)
	if err := v.touch(name); !errors.Is(err, iofs.ErrNotExist) {
		return stored, err
	}
	if err := v.takeFresh(int64(len(value))); err != nil {
		return nil, &iofs.PathError{Op: "keep", Path: v.volume.StatePath(valuesPart), Err: err}
	}
	staged := v.all.tree.Unique(v.volume.Session, volumes.NewPrefix)
	need := room.Need{Name: v.volume.StatePath(valuesPart), Length: int64(len(value)), Arrived: true}
	err = v.all.rooms.Retry(context.Background(), need, func() error {
		err := v.all.tree.WriteFile(staged, value)
		if err != nil {
			_ = v.all.calls.RemoveAll(staged)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	dir := v.volume.StatePath(valuesPart)
	err = v.all.tree.Within(dir, func() error { return v.volume.RenameNew(staged, dir+"/"+name) })
	if err != nil {
		_ = v.all.calls.RemoveAll(staged)
	}
	if errors.Is(err, iofs.ErrExist) {
		err = v.touch(name) // another caller has made it in between
	} else if err == nil {
		err = v.sync()
	}
	return stored, err
}

// touch notes that an attribute is about to refer to a value. It returns ErrNotExist if the volume does not have
// the value. A value that touch has touched stays: see sweep.
func (v *Store) touch(name string) error {
	at, now := v.volume.StatePath(valuesPart)+"/"+name, v.all.opts.Now()
	err := v.all.calls.Chtimes(at, now)
	if errors.Is(err, iofs.ErrNotExist) && v.volume.RenameNew(at+oldSuffix, at) == nil {
		err = v.all.calls.Chtimes(at, now)
	}
	if errors.Is(err, iofs.ErrPermission) {
		err = nil // another user's server has made it. A sweep of the tree sees the reference
	}
	if err == nil {
		err = v.sync()
	}
	return err
}

// sync syncs the directory of the values that are kept beside the tree.
func (v *Store) sync() error { return v.all.tree.SyncNames(v.volume.StatePath(valuesPart)) }

// Have makes sure that the volume has the value to which an attribute refers, before that attribute is set there.
// It does not fail if no volume has the value any more.
func (v *Store) Have(stored []byte) error {
	name, ok := referred(stored)
	if !ok {
		return nil
	}
	err := v.touch(name)
	if !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	value, err := v.all.read(name)
	if err == nil && value != nil {
		_, err = v.Keep(value)
	}
	return err
}

// Value returns the value that an attribute stands for. If the value was kept beside the tree and is gone, Value
// returns nil: the state directory was removed.
func (s *Values) Value(stored []byte) ([]byte, error) {
	if name, ok := referred(stored); ok {
		return s.read(name)
	}
	return stored, nil
}

// read reads a value that is kept beside the tree, on any volume: a program may have moved the file that refers
// to the value to another file system.
func (s *Values) read(name string) ([]byte, error) {
	for _, v := range s.all() {
		for _, suffix := range []string{"", oldSuffix} {
			value, err := s.tree.ReadFile(v.volume.StatePath(valuesPart) + "/" + name + suffix)
			switch {
			case errors.Is(err, iofs.ErrNotExist):
				continue
			case err != nil:
				return nil, err
			case string(reference(value)) != referencePrefix+name:
				path := v.volume.StatePath(valuesPart) + "/" + name
				return nil, &iofs.PathError{Op: "read", Path: path, Err: errors.New("it is damaged")}
			}
			if suffix != "" && !s.opts.ReadOnly {
				_ = v.touch(name) // an attribute does refer to it
			}
			return value, nil
		}
	}
	return nil, nil
}
