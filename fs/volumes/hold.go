package volumes

import (
	"context"
	"fmt"
	"math"
	"path"
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/hold"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// A Scope is what a commit is about: it holds the locks of these volumes, and of no other.
type Scope struct {
	Changed []string // the names that it changes
	Seen    []string // the names at which it looks
	Below   []string // the names below which it changes or decides by any name
	Shared  bool     // it decides by the state that all volumes share, see [Tree.Lock]

	found []uint64 // the devices on which looks have found its names, where the names alone do not tell that
}

// A Hold is the locks of the volumes that a commit is about. As long as it [Hold.Stands], no other commit changes a
// name on these volumes, in this process or in another one that serves the directory.
//
// If a commit of several volumes hangs in a system call, the locks of those volumes that it does not change are let go
// after a second. Readers in this process wait for the volumes that it changes from then on, so that none of them sees
// that another commit came between its decision and its end. If it has changed nothing, all its locks are let go, and
// it does not stand any more.
type Hold struct {
	s    *Tree
	held *hold.Held
	at   Snapshot // see Hold.Snapshot
}

// A NotHeldError says that a commit needs the lock of the volume that a name is on, or may be on. It has changed
// nothing, and can begin again when the scope has that name and it was [Tree.Learn]ed.
type NotHeldError struct {
	Name   string
	Below  bool // of the volumes below the name, too
	Shared bool // of the state that all volumes share

	device uint64 // on which a look has found the name. 0: it was not looked at
}

func (e *NotHeldError) Error() string {
	if e.Shared {
		return "the lock of the shared state is not held"
	}
	return fmt.Sprintf("the lock of the volume of %q is not held", e.Name)
}

// Add adds what an error says is missing.
func (sc *Scope) Add(e *NotHeldError) {
	if e.device != 0 {
		sc.found = append(slices.Clip(sc.found), e.device)
	}
	switch {
	case e.Shared:
		sc.Shared = true
	case e.Below:
		sc.Below = append(sc.Below, e.Name)
	default:
		sc.Seen = append(sc.Seen, e.Name)
	}
}

// Hold takes the locks of the volumes that a commit is about. It waits ten seconds at most, as [Tree.Lock] does.
// Volumes that the commit is the first to use are made ready before. turn, if not nil, is the turn that the caller has
// taken.
func (s *Tree) Hold(ctx context.Context, scope Scope, turn *Turn) (*Hold, error) {
	late := time.Now().Add(lockPatience)
	if turn == nil && len(*s.below.Load()) == 0 && len(s.unknown()) == 0 { // nearly always
		held, err := hold.Take(ctx, s.RootLock.alone, lockPatience)
		if err != nil {
			return nil, err
		}
		if len(*s.below.Load()) == 0 {
			return &Hold{s: s, held: held}, nil
		}
		held.Release()
	}
	for {
		if err := s.ready(scope); err != nil {
			return nil, err
		}
		locks := s.locksOf(scope)
		held, err := hold.Take(ctx, withTurns(locks, turn), time.Until(late))
		if err != nil {
			return nil, err
		}
		// A volume may have become known in between.
		if slices.Equal(s.locksOf(scope), locks) {
			return &Hold{s: s, held: held}, nil
		}
		held.Release()
	}
}

// locksOf returns the locks of the volumes that a scope is about, each once.
func (s *Tree) locksOf(scope Scope) (locks []*CommitLock) {
	if len(*s.below.Load()) == 0 {
		return []*CommitLock{s.RootLock} // nearly always
	}
	add := func(volumes []*Volume) {
		for _, v := range volumes {
			if !slices.Contains(locks, v.CommitLock) {
				locks = append(locks, v.CommitLock)
			}
		}
	}
	for _, name := range scope.Changed {
		add(s.MayHold(Local(name)))
		add(s.mayHaveEntry(Local(name)))
	}
	for _, name := range scope.Seen {
		add(s.MayHold(Local(name)))
	}
	for _, name := range scope.Below {
		add(s.MayHold(Local(name)))
		add(s.mayBeBelow(Local(name)))
	}
	if scope.Shared || len(locks) == 0 {
		add([]*Volume{s.root})
	}
	for _, device := range scope.found {
		if lock := s.lockFor(device); !slices.Contains(locks, lock) {
			locks = append(locks, lock)
		}
	}
	return locks
}

// mayBeBelow returns the volumes whose top some file system may take to be below a name.
func (s *Tree) mayBeBelow(name string) (volumes []*Volume) {
	for _, v := range *s.below.Load() {
		if MayBeIn(v.Top, name) {
			volumes = append(volumes, v)
		}
	}
	return volumes
}

// Check fails with a [NotHeldError] unless the locks of all volumes are held on which a name may be. It makes no call
// to the system.
func (h *Hold) Check(name string) error {
	if h.needs(h.s.MayHold, name) {
		return &NotHeldError{Name: name}
	}
	return nil
}

// CheckBelow is [Hold.Check] for a name and all names below it.
func (h *Hold) CheckBelow(name string) error {
	if h.needs(h.s.MayHold, name) || h.needs(h.s.mayBeBelow, name) {
		return &NotHeldError{Name: name, Below: true}
	}
	return nil
}

// CheckShared fails with a [NotHeldError] unless the lock of the shared state is held.
func (h *Hold) CheckShared() error {
	if !h.held.Has(math.MaxUint64) {
		return &NotHeldError{Shared: true}
	}
	return nil
}

// needs reports whether the lock of one of some volumes is not held.
func (h *Hold) needs(volumes func(name string) []*Volume, name string) bool {
	if len(*h.s.below.Load()) == 0 {
		return !h.held.Has(math.MaxUint64) // nearly always
	}
	return slices.ContainsFunc(volumes(Local(name)), func(v *Volume) bool { return !h.held.Has(v.CommitLock.Order()) })
}

// Found fails with a [NotHeldError] if a look at a name has found a file or directory on a volume whose lock is not
// held. Names alone do not tell of a file system that was mounted or unmounted a moment ago.
func (h *Hold) Found(name string, info vfs.Info) error {
	if !info.Exists() || h.holds(info) {
		return nil
	}
	if info.Kind != vfs.Directory {
		// The files of an overlay have other device numbers than its directories.
		dir, err := h.s.calls.Lstat(path.Dir(Local(name)))
		if err == nil && dir.Mount == info.Mount {
			if h.holds(dir) {
				return nil
			}
			info.Device = dir.Device
		}
	}
	return &NotHeldError{Name: name, device: info.Device}
}

// holds reports whether the lock of the file system is held on which a look has found a file or directory.
func (h *Hold) holds(info vfs.Info) bool {
	if info.Device == h.s.RootLock.device {
		return h.held.Has(math.MaxUint64)
	}
	return h.held.Has(info.Device)
}

// Learn makes the volume known that a name is on. It must not be called by the holder of a lock, since it waits for the
// file system.
func (s *Tree) Learn(name string) error {
	for _, at := range []string{path.Dir(Local(name)), Local(name)} {
		info, err := s.calls.Lstat(at)
		if err != nil || info.Kind != vfs.Directory || DeviceOf(info) == s.root.Device {
			continue // whoever uses the name gets the error
		}
		if s.knownVolume(at, DeviceOf(info)) == nil {
			if _, err := s.findVolume(at, DeviceOf(info)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ready makes the volumes known that a scope is about, and makes those ready on which the commit changes names. Where
// such a volume does not answer, the caller waits here, and holds no lock.
func (s *Tree) ready(scope Scope) error {
	for _, top := range s.unknown() {
		for _, name := range slices.Concat(scope.Changed, scope.Seen) {
			if MayBeIn(Local(name), top) {
				if err := s.Learn(name); err != nil {
					return err
				}
			}
		}
		for _, name := range scope.Below {
			if !MayBeIn(top, Local(name)) {
				continue
			}
			if !s.Answer([]string{top})[top] {
				return fmt.Errorf("%w: the file system at %q does not answer", vfs.ErrBusy, top)
			}
			if err := s.Learn(top); err != nil {
				return err
			}
		}
	}
	if len(*s.below.Load()) == 0 {
		return nil
	}
	for _, name := range scope.Changed {
		if v := s.MayHold(Local(name))[0]; !v.Opened.Load() {
			_ = v.Prepare() // the commit says why the volume cannot be used
		}
	}
	return nil
}

// unknown returns the file systems that are mounted in the tree, as [Tree.Discover] has found them, and on which no
// volume is known.
func (s *Tree) unknown() (tops []string) {
	mounted := s.mountedAt.Load()
	if mounted == nil {
		return nil
	}
	for _, top := range *mounted {
		if !slices.ContainsFunc(*s.below.Load(), func(v *Volume) bool { return v.Top == top }) {
			tops = append(tops, top)
		}
	}
	return tops
}

// Change says that the commit is about to change names, and all that is below them on the volumes that it holds. It
// fails with [hold.ErrLetGo] if the commit has hung, or if a volume of the names has become known since. Then nothing may be
// changed.
func (h *Hold) Change(names ...string) error {
	if len(*h.s.below.Load()) == 0 {
		return h.held.Keep(rootOrder, nil) // nothing else is held
	}
	var volumes []*Volume
	for _, name := range names {
		name = Local(name)
		volumes = append(volumes, h.s.MayHold(name)...)
		volumes = append(volumes, h.s.mayHaveEntry(name)...)
		for _, v := range h.s.mayBeBelow(name) {
			if h.held.Has(v.CommitLock.Order()) {
				volumes = append(volumes, v)
			}
		}
	}
	orders := Each(volumes, func(v *Volume) uint64 { return v.CommitLock.Order() })
	return h.held.Keep(orders, func() (end func()) { return together(volumes, (*sequence).rename) })
}

// rootOrder is the order of the root's lock.
var rootOrder = []uint64{math.MaxUint64}

// WithShared calls do under the lock of the state that all volumes share. If the commit does not hold it, WithShared
// takes it for the time of the call, as [Tree.Lock] does. do must make no call on another file system than the root's.
// through says that the commit holds it from its beginning to its end, since it cannot be let go.
func (h *Hold) WithShared(ctx context.Context, do func(through bool) error) error {
	if h.held.Pin(math.MaxUint64) {
		defer h.held.Unpin()
		return do(h.held.IsSafe())
	}
	if h.held.Begun() {
		ctx = context.WithoutCancel(ctx) // it does not matter any more whether the client waits
	}
	unlock, err := h.s.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return do(false)
}

// Stands reports whether all that the commit has seen is still so: it has not hung before its first change.
func (h *Hold) Stands() bool { return h.held.Stands() }

// Release releases the locks. It may be called again.
func (h *Hold) Release() { h.held.Release() }
