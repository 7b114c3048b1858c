package volumes

import (
	"context"
	iofs "io/fs"
	"path"
	"strings"
	"syscall"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/hold"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// A Snapshot is a series of looks, taken by its methods. If the snapshot is [Snapshot.Valid] after the looks, all of
// them are as of one instant.
//
// A look may pass any volume, also through links. So the snapshot notes the sequence numbers of all volumes, but only
// the numbers of the volumes that were passed count. If a volume does not answer, only a reader that goes there waits
// for it.
type Snapshot struct {
	// Follow, if not nil, is asked at each look that a link has led to another name, before that file is opened or
	// read. It gets that name, without links, or the error of the look. Its error becomes the error of the look.
	Follow func(at string, err error) error

	fs    *Tree
	below *[]*Volume // the volumes below the root when the snapshot began
	root  uint64
	on    []passage // one for each volume in below

	// hold, if not nil, is the locks of the volumes that were passed before. No name changes there.
	hold *Hold
	// commits says that the hold is that of a commit, which may look at no other volume.
	commits bool
	locked  bool // this process changes nothing
	// last is the end of all waits of the snapshot, however often it begins anew. It is zero as long as no wait has
	// begun.
	last time.Time
}

// A passage is a volume that a look may pass.
type passage struct {
	*Volume
	number uint64
	passed bool
}

// Snapshot returns a snapshot that has not begun yet.
func (s *Tree) Snapshot() *Snapshot { return &Snapshot{fs: s} }

// Begin begins a snapshot. If looks were taken before, it begins the snapshot anew. It waits until no names change at
// the root and on the other volumes that these looks have passed. When all calls of Begin have waited for ten seconds,
// it fails with ErrBusy.
func (n *Snapshot) Begin(ctx context.Context) (err error) {
	wait := func(v *Volume) (number uint64, err error) {
		if number = v.names.number.Load(); number%2 == 0 {
			return number, nil
		}
		late := time.NewTimer(n.patience())
		defer late.Stop()
		if number, err = v.names.even(ctx, late.C); err != nil {
			err = &iofs.PathError{Op: "look", Path: v.Top, Err: err}
		}
		return number, err
	}
	for _, p := range n.on {
		if p.passed {
			if _, err := wait(p.Volume); err != nil {
				return err
			}
		}
	}
	if n.root, err = wait(n.fs.root); err != nil {
		return err
	}
	n.begin()
	return nil
}

// begin notes the numbers of the volumes below the root.
func (n *Snapshot) begin() {
	n.on, n.below = n.on[:0], n.fs.below.Load()
	for _, v := range *n.below {
		n.on = append(n.on, passage{v, v.names.number.Load(), false})
	}
}

// patience returns how long the snapshot may still wait.
func (n *Snapshot) patience() time.Duration {
	if n.last.IsZero() {
		n.last = time.Now().Add(lockPatience)
	}
	return time.Until(n.last)
}

// Lock takes the locks of the volumes that the looks of the last try have passed, and begins the snapshot anew. No
// commit changes names there until unlock is called. Lock waits for as long as the snapshot may still wait. As for a
// commit, the locks are let go if a look hangs ([Hold]).
func (n *Snapshot) Lock(ctx context.Context) (unlock func(), err error) {
	locks := []hold.Lock{n.fs.RootLock}
	for _, p := range n.on {
		if p.passed {
			locks = append(locks, p.CommitLock)
		}
	}
	held, err := hold.Take(ctx, locks, n.patience())
	if err != nil {
		return nil, err
	}
	n.hold, n.root = &Hold{s: n.fs, held: held}, n.fs.root.names.number.Load()
	n.begin()
	return func() {
		n.hold = nil
		held.Release()
	}, nil
}

// BeginAlone is [Snapshot.Begin] for a process that changes nothing. It does not wait, and the snapshot stays valid.
func (n *Snapshot) BeginAlone() { n.locked = true }

// Snapshot returns the snapshot of a commit. A look at a name whose volume is not held fails with a [NotHeldError].
func (h *Hold) Snapshot() *Snapshot {
	h.at = Snapshot{fs: h.s, hold: h, commits: true}
	return &h.at
}

// Valid reports whether no name has changed since the snapshot began, on the volumes that its looks have passed.
func (n *Snapshot) Valid() bool {
	stands := n.hold != nil && n.hold.Stands()
	switch {
	case n.locked:
		return true
	case n.commits:
		return stands
	case n.fs.below.Load() != n.below, !stands && n.fs.root.names.number.Load() != n.root:
		return false
	}
	for i := range n.on {
		p := &n.on[i]
		if !p.passed || stands && n.hold.held.Has(p.CommitLock.Order()) {
			continue
		}
		if p.number%2 != 0 || p.names.number.Load() != p.number {
			return false
		}
	}
	return true
}

// enter is called before a look at a name without links. It fails if a commit may not look there. The receiver may be
// nil.
func (n *Snapshot) enter(name string) error {
	if n != nil && n.commits {
		return n.hold.Check(name)
	}
	n.pass(name)
	return nil
}

// pass notes that a name without links is looked at. Any file system on the way may take the name for another spelling
// of a name that it has. The receiver may be nil.
func (n *Snapshot) pass(name string) {
	if n == nil {
		return
	}
	for i := range n.on {
		if p := &n.on[i]; !p.passed {
			p.passed = MayBeIn(name, p.Top)
		}
	}
}

// found notes the volume of the file that a look has found. The receiver may be nil.
func (n *Snapshot) found(info vfs.Info) {
	if n == nil || info.Device == n.fs.root.Device.Device {
		return
	}
	for i := range n.on {
		if p := &n.on[i]; p.Device.Device == info.Device {
			p.passed = true
		}
	}
}

// MayBeIn reports whether some file system may take a name for the name of a directory, or for a name below it.
func MayBeIn(name, dir string) bool {
	if vfs.IsIn(name, dir) {
		return true
	}
	for name, dir := name, dir; dir != ""; {
		if name == "" {
			return false
		}
		var a, b string
		a, name, _ = strings.Cut(name, "/")
		b, dir, _ = strings.Cut(dir, "/")
		if a != b && !alikeSegments(a, b) {
			return false
		}
	}
	return true
}

// Stat is [Tree.Stat].
func (n *Snapshot) Stat(name string) (vfs.Info, error) {
	canonical, info, err := n.fs.Follow(name, n)
	if err == nil {
		info.Name = path.Base(name)
		err = n.checkFound(canonical, info)
	}
	return info, err
}

// Lstat is [Tree.Lstat].
func (n *Snapshot) Lstat(name string) (vfs.Info, error) {
	if err := n.enter(Local(name)); err != nil {
		return vfs.Info{}, err
	}
	info, err := n.fs.Lstat(name)
	n.found(info)
	if err == nil {
		err = n.checkFound(name, info)
	}
	return info, err
}

// checkFound is [Hold.Found] for the snapshot of a commit.
func (n *Snapshot) checkFound(name string, info vfs.Info) error {
	if !n.commits {
		return nil
	}
	return n.hold.Found(name, info)
}

// OpenIf is [Tree.OpenIf].
func (n *Snapshot) OpenIf(name string, decide func(look vfs.Info) (enough bool, err error)) (
	*vfs.File, vfs.Info, error) {
	return n.fs.openIf(name, decide, n)
}

// Attributes is [Tree.Attributes].
func (n *Snapshot) Attributes(name string) ([]byte, error) { return n.fs.attributes(name, n) }

// OpenDir is [Tree.OpenDir].
func (n *Snapshot) OpenDir(name string, opts DirOptions) (*Dir, error) {
	canonical, info, err := n.fs.Follow(name, n)
	if err != nil {
		return nil, err
	}
	if info.Kind != vfs.Directory {
		return nil, &iofs.PathError{Op: "opendir", Path: name, Err: syscall.ENOTDIR}
	}
	f, err := n.fs.calls.Open(canonical)
	if err != nil {
		return nil, err
	}
	return &Dir{fs: n.fs, file: f, name: canonical, opts: opts, info: info}, nil
}

// Names returns names that were not returned yet, in no order, and io.EOF at the end. If most is not zero, it returns
// at most that many names. A name may be gone by now, or may be one that is not to be shown.
func (n *Snapshot) Names(d *Dir, most int) ([]string, error) {
	n.pass(d.name)
	return d.names(most)
}

// Look looks at a member. If ok is false, the member is gone, or is not to be shown. gone says which.
func (n *Snapshot) Look(d *Dir, base string) (m Member, ok, gone bool) {
	n.pass(d.name)
	return d.member(base, n)
}
