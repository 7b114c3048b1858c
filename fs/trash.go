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

// takenPrefix begins the name in the trash of what is not to be deleted yet, see [Taken]. The name of its maker follows.
const takenPrefix = "t"

func isTaken(member string) bool { return strings.HasPrefix(member, takenPrefix) }

// trash is what this process knows of what it deletes in a place: what is in the trash, and what of its own could not be
// removed when it was discarded.
type trash struct {
	turn    chan struct{} // full while somebody deletes
	deleted atomic.Int64  // how much was, or was tried for the first time

	mu    sync.Mutex
	stuck map[string]stuck
}

// A stuck is what could not be deleted: it is told of once, and tried again after longer and longer pauses.
type stuck struct {
	next  time.Time
	pause time.Duration
}

const (
	firstPause   = time.Second
	longestPause = time.Hour
)

// EmptyTrash deletes what was removed and is not kept, by whichever process, and what [Staged.Discard] could not. It may
// be called at any time but under [FS.Lock], which it takes for an instant, and ended at any; it ends with ctx, after what
// it is at. What cannot be deleted is told of once, and stops nothing.
func (s *FS) EmptyTrash(ctx context.Context) error {
	var errs []error
	for _, p := range s.places() {
		select {
		case p.trash.turn <- struct{}{}:
			errs = append(errs, p.empty(ctx))
			<-p.trash.turn
		case <-ctx.Done():
			return errors.Join(append(errs, ctx.Err())...)
		}
	}
	return errors.Join(errs...)
}

// empty deletes what it can. The caller has the turn.
func (p *place) empty(ctx context.Context) error {
	var errs []error
	for _, name := range p.left.take() {
		gone, err := p.delete(name)
		if !gone {
			p.left.add(name)
		}
		errs = append(errs, err)
	}
	members, err := p.waiting(ctx)
	errs = append(errs, err)
	for _, member := range members {
		if ctx.Err() != nil {
			errs = append(errs, ctx.Err())
			break
		}
		_, err := p.delete(p.in(trashPart) + "/" + member)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// delete deletes something that is nobody's, unless that has failed not long ago.
func (p *place) delete(name string) (gone bool, err error) {
	if !p.isDue(name) {
		return false, nil
	}
	err = p.calls.RemoveAll(name)
	if err == nil {
		p.trash.deleted.Add(1)
	}
	if isExhausted(err) {
		return false, err // soon again
	}
	told := p.once(name, err)
	if told != nil {
		p.trash.deleted.Add(1) // what stays of a tree may be little
		told = fmt.Errorf("something that was removed cannot be deleted, and still takes room; it is tried again: %w", told)
	}
	return err == nil, told
}

// once notes what cannot be done with something of ours, or that it can (nil), and returns the error unless that is known.
func (p *place) once(name string, err error) error {
	t := &p.trash
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
	t.stuck[name] = stuck{p.opts.Now().Add(pause), pause}
	if known {
		return nil
	}
	return err
}

func (p *place) isDue(name string) bool {
	p.trash.mu.Lock()
	defer p.trash.mu.Unlock()
	s, known := p.trash.stuck[name]
	return !known || !p.opts.Now().Before(s.next)
}

// waiting lists what is to be deleted now. Where there is anything, the lock is taken: what may be put back yet is in there
// while that is held, or has a name that says so.
func (p *place) waiting(ctx context.Context) ([]string, error) {
	members, err := p.deletable()
	if err != nil || len(members) == 0 {
		return nil, err
	}
	unlock, err := p.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return p.deletable()
}

func (p *place) deletable() ([]string, error) {
	members, err := p.entries(p.in(trashPart))
	if p != p.root && errors.Is(err, iofs.ErrNotExist) {
		return nil, nil // it has just been mounted, or is not there any more
	}
	p.forgetStuck(members)
	return slices.DeleteFunc(members, func(member string) bool {
		return isTaken(member) || !p.isDue(p.in(trashPart)+"/"+member)
	}), err
}

// forgetStuck forgets what is not in the trash any more.
func (p *place) forgetStuck(members []string) {
	p.trash.mu.Lock()
	defer p.trash.mu.Unlock()
	if len(p.trash.stuck) == 0 {
		return
	}
	there := map[string]bool{}
	for _, member := range members {
		there[p.in(trashPart)+"/"+member] = true
	}
	for name := range p.trash.stuck {
		if !there[name] && isIn(name, p.in(trashPart)) {
			delete(p.trash.stuck, name)
		}
	}
}

// tidyPatience is how long who needs room waits for another one who is deleting.
const tidyPatience = time.Second

// tidy deletes what is nobody's since the disk is full, and reports whether there was anything, or another one is at it.
func (p *place) tidy(ctx context.Context) (freed bool) {
	before := p.trash.deleted.Load()
	patience := time.NewTimer(tidyPatience)
	defer patience.Stop()
	select {
	case p.trash.turn <- struct{}{}:
	case <-patience.C:
		return true
	case <-ctx.Done():
		return false
	}
	defer func() { <-p.trash.turn }()
	if err := p.empty(ctx); err != nil && ctx.Err() == nil {
		p.tell(err)
	}
	return p.trash.deleted.Load() > before
}
