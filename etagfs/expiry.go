package etagfs

import (
	"context"
	"fmt"
	"time"

	"ifmatch/fs"
)

// expiry is what another goroutine does when nobody waits for it: let go of what the history has kept for long enough.
type expiry struct {
	retention *fs.Retention // nil: that is for others to do
	wake      chan struct{} // has room for one; full while there is much that is new
}

// expiryPause is how often the history is looked through, besides when much has come to it.
const expiryPause = time.Minute

func newExpiry(r *fs.Retention) expiry { return expiry{r, make(chan struct{}, 1)} }

// expire lets go of what has been kept for long enough until ctx is done. What it does not come to, the next start does.
func (s *Store) expire(ctx context.Context) {
	tick := time.NewTicker(expiryPause)
	defer tick.Stop()
	for {
		s.fs.Discover()
		s.recover(ctx) // another server may have died since
		s.tellLate(ctx)
		if err := s.fs.Expire(ctx, *s.expiry.retention); err != nil && ctx.Err() == nil {
			s.report(err)
		}
		s.queue.emptyTrash()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.expiry.wake:
		}
	}
}

// How often it is asked whether there are large properties that nobody has any more, and how often they are looked for.
const (
	sweepPause = 10 * time.Minute
	sweepEvery = 24 * time.Hour
)

// sweep removes large properties that nobody has any more, until ctx is done.
func (s *Store) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepPause)
	defer tick.Stop()
	var next time.Time
	for {
		if now := s.now(); !now.Before(next) || s.fs.SweepDue() {
			next = now.Add(sweepEvery)
			if err := s.fs.SweepBeside(ctx); err != nil && ctx.Err() == nil {
				s.report(err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tellLate logs which versions a program has written to after they had given way: before they expire, and so that
// somebody knows.
func (s *Store) tellLate(ctx context.Context) {
	if s.expiry.retention.Keep == 0 {
		return
	}
	late, err := s.fs.LateVersions(ctx, *s.expiry.retention)
	if err != nil && ctx.Err() == nil {
		s.report(err)
	}
	for _, k := range late {
		s.report(fmt.Errorf("a program went on writing to %q after it had been replaced or removed (%s): its bytes are in the history",
			k.Path, k.Cause))
	}
}

// displaced tells that a commit has made something give way.
func (s *Store) displaced() {
	if s.expiry.retention == nil || s.expiry.retention.Keep == 0 {
		s.queue.emptyTrash()
	} else if s.fs.ExpiryDue() {
		select {
		case s.expiry.wake <- struct{}{}:
		default:
		}
	}
}

// discardAgain is when it is tried again to remove what was discarded and is still there: the files that were open then are
// mostly closed.
const discardAgain = time.Second

// discard gives up what was staged, unless it is committed.
func (s *Store) discard(staged *fs.Staged) {
	if err := staged.Discard(); err != nil {
		time.AfterFunc(discardAgain, s.queue.emptyTrash)
	}
}
