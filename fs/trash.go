package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// takenPrefix begins the name of a member of the trash that is not to be deleted yet. See [Taken]. The id of the
// process that took it follows.
const takenPrefix = "t"

func isTaken(member string) bool { return strings.HasPrefix(member, takenPrefix) }

// trash is the state of deletion on a volume: of the members of its trash, and of the staged versions that could not be
// deleted.
type trash struct {
	turn    chan struct{} // full while a caller deletes
	deleted atomic.Int64  // how many deletions have succeeded, or have failed for the first time

	mu    sync.Mutex
	stuck map[string]stuck
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

// EmptyTrash deletes the files and collections that any process has removed and that the history does not keep, and the
// staged versions that [Staged.Discard] could not delete. It may be called at any time except under [FS.Lock], since it
// takes the lock for an instant. It may be interrupted at any time. It ends with ctx, after the deletion that is under
// way. If a deletion fails, EmptyTrash reports this once, and goes on with the other files.
func (s *FS) EmptyTrash(ctx context.Context) error {
	var errs []error
	for _, v := range s.answering() {
		select {
		case v.trash.turn <- struct{}{}:
			errs = append(errs, v.empty(ctx))
			<-v.trash.turn
		case <-ctx.Done():
			return errors.Join(append(errs, ctx.Err())...)
		}
	}
	return errors.Join(errs...)
}

// empty deletes as much of the trash as it can. The caller has the turn.
func (v *volume) empty(ctx context.Context) error {
	var errs []error
	for _, name := range v.undeleted.take() {
		gone, err := v.delete(name)
		if !gone {
			v.undeleted.add(name)
		}
		errs = append(errs, err)
	}
	members, err := v.waiting(ctx)
	errs = append(errs, err)
	for _, member := range members {
		if ctx.Err() != nil {
			errs = append(errs, ctx.Err())
			break
		}
		_, err := v.delete(v.StatePath(volumes.TrashPart) + "/" + member)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// delete deletes a file or collection of the trash, unless that has failed not long ago.
func (v *volume) delete(name string) (gone bool, err error) {
	if !v.isDue(name) {
		return false, nil
	}
	err = v.calls.RemoveAll(name)
	if err == nil {
		v.trash.deleted.Add(1)
	}
	if volumes.IsExhausted(err) {
		return false, err // it is tried again soon
	}
	told := v.once(name, err)
	if told != nil {
		v.trash.deleted.Add(1) // it may have deleted most of a tree
		told = fmt.Errorf("something that was removed cannot be deleted, and still takes room; "+
			"it is tried again: %w", told)
	}
	return err == nil, told
}

// once notes that an operation on one of the server's own files has failed, or that it has succeeded (nil). It returns
// the error unless the failure is known already.
func (v *volume) once(name string, err error) error {
	t := &v.trash
	t.mu.Lock()
	defer t.mu.Unlock()
	before, known := t.stuck[name]
	if err == nil {
		delete(t.stuck, name)
		return nil
	}
	if t.stuck == nil {
		t.stuck = map[string]stuck{}
	}
	pause := min(max(2*before.pause, firstPause), longestPause)
	t.stuck[name] = stuck{v.opts.Now().Add(pause), pause}
	if known {
		return nil
	}
	return err
}

func (v *volume) isDue(name string) bool {
	v.trash.mu.Lock()
	defer v.trash.mu.Unlock()
	s, known := v.trash.stuck[name]
	return !known || !v.opts.Now().Before(s.next)
}

// waiting lists the members of the trash that are to be deleted now. If there are any, it takes the lock. A member that
// may still be put back is in the trash only while a process holds the lock, or has a name that says so.
func (v *volume) waiting(ctx context.Context) ([]string, error) {
	members, err := v.deletable()
	if err != nil || len(members) == 0 {
		return nil, err
	}
	unlock, err := v.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return v.deletable()
}

func (v *volume) deletable() ([]string, error) {
	members, err := v.Entries(v.StatePath(volumes.TrashPart))
	if v != v.root && errors.Is(err, iofs.ErrNotExist) {
		return nil, nil // the volume has just been mounted, or is not there any more
	}
	v.forgetStuck(members)
	return slices.DeleteFunc(members, func(member string) bool {
		return isTaken(member) || !v.isDue(v.StatePath(volumes.TrashPart)+"/"+member)
	}), err
}

// forgetStuck forgets the names that are not in the trash any more.
func (v *volume) forgetStuck(members []string) {
	v.trash.mu.Lock()
	defer v.trash.mu.Unlock()
	if len(v.trash.stuck) == 0 {
		return
	}
	there := map[string]bool{}
	for _, member := range members {
		there[v.StatePath(volumes.TrashPart)+"/"+member] = true
	}
	for name := range v.trash.stuck {
		if !there[name] && volumes.IsIn(name, v.StatePath(volumes.TrashPart)) {
			delete(v.trash.stuck, name)
		}
	}
}

// tidyPatience is how long an upload that needs space waits for another caller that is deleting.
const tidyPatience = time.Second

// tidy deletes the trash since the disk is full. It reports whether there was anything to delete, or whether another
// caller is still deleting.
func (v *volume) tidy(ctx context.Context) (freed bool) {
	before := v.trash.deleted.Load()
	patience := time.NewTimer(tidyPatience)
	defer patience.Stop()
	select {
	case v.trash.turn <- struct{}{}:
	case <-patience.C:
		return true
	case <-ctx.Done():
		return false
	}
	defer func() { <-v.trash.turn }()
	if err := v.empty(ctx); err != nil && ctx.Err() == nil {
		v.report(err)
	}
	return v.trash.deleted.Load() > before
}
