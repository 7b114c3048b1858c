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
)

// takenPrefix begins the name in the trash of what is not to be deleted yet, see [Taken]. The name of its maker
// follows.
const takenPrefix = "t"

func isTaken(member string) bool { return strings.HasPrefix(member, takenPrefix) }

// trash is the state of deleting on a volume: the members of its trash, and staged versions that could not be deleted.
type trash struct {
	turn    chan struct{} // full while somebody deletes
	deleted atomic.Int64  // how much was, or was tried for the first time

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

// EmptyTrash deletes what was removed and is not kept, by whichever process, and what [Staged.Discard] could not. It
// may be called at any time but under [FS.Lock], which it takes for an instant, and ended at any; it ends with ctx,
// after what it is at. What cannot be deleted is told of once, and stops nothing.
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
		_, err := v.delete(v.statePath(trashPart) + "/" + member)
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
	if isExhausted(err) {
		return false, err // soon again
	}
	told := v.once(name, err)
	if told != nil {
		v.trash.deleted.Add(1) // what stays of a tree may be little
		told = fmt.Errorf("something that was removed cannot be deleted, and still takes room; "+
			"it is tried again: %w", told)
	}
	return err == nil, told
}

// once notes what cannot be done with something of ours, or that it can (nil), and returns the error unless that is
// known.
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

// waiting lists what is to be deleted now. Where there is anything, the lock is taken: what may be put back yet is in
// there while that is held, or has a name that says so.
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
	members, err := v.entries(v.statePath(trashPart))
	if v != v.root && errors.Is(err, iofs.ErrNotExist) {
		return nil, nil // it has just been mounted, or is not there any more
	}
	v.forgetStuck(members)
	return slices.DeleteFunc(members, func(member string) bool {
		return isTaken(member) || !v.isDue(v.statePath(trashPart)+"/"+member)
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
		there[v.statePath(trashPart)+"/"+member] = true
	}
	for name := range v.trash.stuck {
		if !there[name] && isIn(name, v.statePath(trashPart)) {
			delete(v.trash.stuck, name)
		}
	}
}

// tidyPatience is how long an upload that needs space waits for another one that is deleting.
const tidyPatience = time.Second

// tidy deletes what is nobody's since the disk is full, and reports whether there was anything, or another one is at
// it.
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
