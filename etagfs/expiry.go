package etagfs

import (
	"context"
	"fmt"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs"
)

// expiry is for the goroutine that deletes the history entries that were kept for long enough. No request waits for it.
type expiry struct {
	retention *fs.Retention // nil: other processes expire history entries
	wake      chan struct{} // has room for one, and is full while there are many new history entries
}

// expiryPause is how often the history is searched for entries to delete. Many new entries cause a search before that.
const expiryPause = time.Minute

func newExpiry(r *fs.Retention) expiry { return expiry{r, make(chan struct{}, 1)} }

// expire deletes the history entries that were kept for long enough, until ctx is done. The next start deletes the
// entries that this run does not reach.
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

// sweepPause is how often the store asks whether there are large properties to which no resource and no history entry
// refers any more. sweepEvery is how often it looks for them.
const (
	sweepPause = 10 * time.Minute
	sweepEvery = 24 * time.Hour
)

// sweep removes large properties to which no resource and no history entry refers any more, until ctx is done.
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

// tellLate logs the versions to which a program has written after they had given way. It does so before they expire, so
// that the administrator knows of them.
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

// displaced says that a commit has made a version give way. If no history is kept, keepHouse empties the trash.
// Otherwise expire runs early if enough has come to the history.
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

// discardAgain is the wait before another try to remove discarded files that are still there. By then, most of the
// files that were open are closed.
const discardAgain = time.Second

// discard removes a staged resource, unless it is committed.
func (s *Store) discard(staged *fs.Staged) {
	if err := staged.Discard(); err != nil {
		time.AfterFunc(discardAgain, s.queue.emptyTrash)
	}
}
