// Package trash deletes files and collections that a volume does not need any more.
//
// Each volume has a directory for them. A removal is a rename into that directory, and the deletion comes later, under
// no lock. If a deletion fails, the trash reports this once, and tries again after longer and longer pauses. It may be
// interrupted at any time, also by the end of the process.
//
// A member whose name begins with "t" and the id of a process is not deleted: a commit of that process has taken it
// from its name, and may give it back.
package trash

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// takenPrefix begins the name of a member that is not to be deleted yet. The id of the process that took it follows.
const takenPrefix = "t"

// Maker returns the id of the process that has taken a member of the trash from its name. ok is false for all other
// members, which are to be deleted.
func (t *Trash) Maker(member string) (id string, ok bool) {
	id, ok = strings.CutPrefix(member, takenPrefix)
	return id[:min(len(id), len(t.tree.ID))], ok
}

// A Trash is the trash of one volume, and what this process knows about it. Its methods may be called concurrently.
type Trash struct {
	tree   *volumes.Tree
	volume *volumes.Volume
	calls  *vfs.FS
	now    func() time.Time
	report func(error)

	turn    chan struct{} // full while a caller deletes
	deleted atomic.Int64  // how many deletions have succeeded, or have failed for the first time

	mu    sync.Mutex
	stuck map[string]stuck
	left  []string // names outside of the trash, see DeleteLater
}

// New returns the trash of a volume. now is the clock. report gets the failures that belong to no request.
func New(tree *volumes.Tree, v *volumes.Volume, calls *vfs.FS, now func() time.Time, report func(error)) *Trash {
	return &Trash{
		tree: tree, volume: v, calls: calls, now: now, report: report, turn: make(chan struct{}, 1),
		stuck: map[string]stuck{},
	}
}

// Put moves a file or collection of the state directory to the trash.
func (t *Trash) Put(name string) error {
	return t.volume.Rename(name, t.tree.Unique(t.volume.StatePath(volumes.TrashPart), ""))
}

// Taken returns a name in the trash for a file or collection that is not to be deleted yet.
func (t *Trash) Taken() string {
	return t.tree.Unique(t.volume.StatePath(volumes.TrashPart), takenPrefix)
}

// At returns the name of a member in the tree.
func (t *Trash) At(member string) string { return t.volume.StatePath(volumes.TrashPart) + "/" + member }

// Members lists the trash.
func (t *Trash) Members() ([]string, error) {
	return t.tree.Entries(t.volume.StatePath(volumes.TrashPart))
}

// maxLeft bounds the names of DeleteLater. Other files are removed with the session.
const maxLeft = 1 << 14

// DeleteLater has one of the server's own files deleted with the trash, because it could not be removed where it is. No
// other file gets its name.
func (t *Trash) DeleteLater(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.left) < maxLeft {
		t.left = append(t.left, name)
	}
}

// A stuck is a file or collection that could not be deleted. It is reported once, and tried again after longer and
// longer pauses.
type stuck struct {
	next  time.Time
	pause time.Duration
}

const (
	firstPause   = time.Second
	longestPause = time.Hour
)

// Empty deletes as much of the trash as it can, and the files of [Trash.DeleteLater]. It ends with ctx, after the
// deletion that is under way.
func (t *Trash) Empty(ctx context.Context) error {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
		return t.empty(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// empty is [Trash.Empty] for a caller that has the turn.
func (t *Trash) empty(ctx context.Context) error {
	t.mu.Lock()
	left := t.left
	t.left = nil
	t.mu.Unlock()
	var errs []error
	for _, name := range left {
		gone, err := t.delete(name)
		if !gone {
			t.DeleteLater(name)
		}
		errs = append(errs, err)
	}
	members, err := t.deletable()
	errs = append(errs, err)
	for _, member := range members {
		if ctx.Err() != nil {
			errs = append(errs, ctx.Err())
			break
		}
		_, err := t.delete(t.At(member))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// delete deletes a file or collection of the trash, unless that has failed not long ago.
func (t *Trash) delete(name string) (gone bool, err error) {
	if !t.isDue(name) {
		return false, nil
	}
	err = t.calls.RemoveAll(name)
	if err == nil {
		t.deleted.Add(1)
	}
	if volumes.IsExhausted(err) {
		return false, err // it is tried again soon
	}
	told := t.Once(name, err)
	if told != nil {
		t.deleted.Add(1) // it may have deleted most of a tree
		told = fmt.Errorf("something that was removed cannot be deleted, and still takes room; "+
			"it is tried again: %w", told)
	}
	return err == nil, told
}

// Once notes that an operation on one of the server's own files has failed, or that it has succeeded (nil). It returns
// the error unless the failure is known already.
func (t *Trash) Once(name string, err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, known := t.stuck[name]
	if err == nil {
		delete(t.stuck, name)
		return nil
	}
	pause := min(max(2*before.pause, firstPause), longestPause)
	t.stuck[name] = stuck{t.now().Add(pause), pause}
	if known {
		return nil
	}
	return err
}

func (t *Trash) isDue(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, known := t.stuck[name]
	return !known || !t.now().Before(s.next)
}

// deletable lists the members of the trash that are to be deleted now. None of them gets another name any more.
func (t *Trash) deletable() ([]string, error) {
	members, err := t.Members()
	if t.volume.Top != "." && errors.Is(err, iofs.ErrNotExist) {
		return nil, nil // the volume has just been mounted, or is not there any more
	}
	there := map[string]bool{}
	for _, member := range members {
		there[t.At(member)] = true
	}
	t.Forget(t.volume.StatePath(volumes.TrashPart), there)
	return slices.DeleteFunc(members, func(member string) bool {
		_, taken := t.Maker(member)
		return taken || !t.isDue(t.At(member))
	}), err
}

// Forget forgets the failures at all names in a directory but those that are there. See [Trash.Once].
func (t *Trash) Forget(dir string, there map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.stuck, func(name string, _ stuck) bool { return vfs.IsIn(name, dir) && !there[name] })
}

// tidyPatience is how long an upload that needs space waits for another caller that is deleting.
const tidyPatience = time.Second

// Tidy deletes the trash since the disk is full. It reports whether there was anything to delete, or whether another
// caller is still deleting.
func (t *Trash) Tidy(ctx context.Context) (freed bool) {
	before := t.deleted.Load()
	select {
	case t.turn <- struct{}{}:
	case <-time.After(tidyPatience):
		return true
	case <-ctx.Done():
		return false
	}
	defer func() { <-t.turn }()
	if err := t.empty(ctx); err != nil && ctx.Err() == nil {
		t.report(err)
	}
	return t.deleted.Load() > before
}
