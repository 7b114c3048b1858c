package etagfs

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/fs"
)

// chores are the work in the background that no request waits for: removed files to be deleted, and files to be put
// back.
type chores struct {
	wake  chan struct{} // has room for one, and is full while keepHouse has work to look at
	trash atomic.Bool   // removed files are to be deleted
	away  atomic.Bool   // a failed commit has taken files away, which are to be put back
	pause time.Duration // before the first try to put them back. It is doubled each time, up to lastPutBack
}

const (
	firstPutBack = 100 * time.Millisecond
	lastPutBack  = time.Minute
	// lastTrash bounds how long Close goes on deleting removed files. The next start deletes the rest.
	lastTrash = 5 * time.Second
)

func (c *chores) emptyTrash() {
	c.trash.Store(true)
	poke(c.wake)
}

// putBack schedules another try to put back the files that a failed commit has taken away.
func (c *chores) putBack() {
	c.away.Store(true)
	poke(c.wake)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// keepHouse deletes removed files, puts files back after failed commits, and maintains the index.
func (s *Store) keepHouse(ctx context.Context) {
	c := &s.chores
	tick := time.NewTicker(index.Interval)
	defer tick.Stop()
	again, pause := time.NewTimer(0), time.Duration(0) // the next try to put back, unless pause is 0
	again.Stop()
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return // Close empties the trash
		case <-tick.C:
			anew := s.index.Tick()
			s.dates.Tick()
			if anew {
				s.warmer.Rescan()
			}
		case <-c.wake:
			s.clearTrash(ctx)
			if pause == 0 && c.away.Load() {
				pause = c.pause
				again.Reset(pause)
			}
		case <-again.C:
			c.away.Store(false)
			waits := s.fs.PutBack(ctx)
			s.feed.Missed() // names have come back
			if pause = min(2*pause, lastPutBack); waits || c.away.Load() {
				again.Reset(pause)
			} else {
				pause = 0
			}
		}
	}
}

// clearTrash deletes the files that were removed since the last time, if there are any.
func (s *Store) clearTrash(ctx context.Context) {
	if !s.chores.trash.Swap(false) {
		return
	}
	if err := s.fs.EmptyTrash(ctx); ctx.Err() != nil {
		s.chores.emptyTrash() // Close or the next start deletes the rest
	} else if err != nil {
		s.report(err)
	}
}

// repeat calls do until ctx is done: at once, after each pause, and when wake has an element (nil: it never has).
func repeat(ctx context.Context, pause time.Duration, wake <-chan struct{}, do func()) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		do()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-wake:
		}
	}
}

// expiryPause is how often the history is searched for entries to delete. Many new entries cause a search before that.
const expiryPause = time.Minute

// expire deletes the history entries that were kept for long enough. The next call deletes the entries that this one
// does not reach.
func (s *Store) expire(ctx context.Context) {
	s.fs.Discover()
	s.recover(ctx) // another server may have died since
	s.tellLate(ctx)
	if err := s.fs.Expire(ctx, *s.retention); err != nil && ctx.Err() == nil {
		s.report(err)
	}
	s.chores.emptyTrash()
}

// sweepPause is how often the store asks whether there are large properties to which no resource and no history entry
// refers any more. sweepEvery is how often it looks for them.
const (
	sweepPause = 10 * time.Minute
	sweepEvery = 24 * time.Hour
)

// sweep removes large properties to which no resource and no history entry refers any more, until ctx is done.
func (s *Store) sweep(ctx context.Context) {
	var next time.Time
	repeat(ctx, sweepPause, nil, func() {
		now := s.now()
		if now.Before(next) && !s.fs.SweepDue() {
			return
		}
		next = now.Add(sweepEvery)
		if err := s.fs.SweepBeside(ctx); err != nil && ctx.Err() == nil {
			s.report(err)
		}
	})
}

// tellLate logs the versions to which a program has written after they had given way. It does so before they expire, so
// that the administrator knows of them.
func (s *Store) tellLate(ctx context.Context) {
	if s.retention.Keep == 0 {
		return
	}
	late, err := s.fs.LateVersions(ctx, *s.retention)
	if err != nil && ctx.Err() == nil {
		s.report(err)
	}
	for _, k := range late {
		s.report(fmt.Errorf("a program went on writing to %q after it had been replaced or removed (%s): its bytes "+
			"are in the history",
			k.Path, k.Cause))
	}
}

// displaced says that a commit has made a version give way. If no history is kept, keepHouse empties the trash.
// Otherwise expire runs early if enough has come to the history.
func (s *Store) displaced() {
	if s.retention == nil || s.retention.Keep == 0 {
		s.chores.emptyTrash()
	} else if s.fs.ExpiryDue() {
		poke(s.expireNow)
	}
}

// discardAgain is the wait before another try to remove discarded files that are still there. By then, most of the
// files that were open are closed.
const discardAgain = time.Second

// discard removes a staged resource, unless it is committed.
func (s *Store) discard(staged *fs.Staged) {
	if err := staged.Discard(); err != nil {
		time.AfterFunc(discardAgain, s.chores.emptyTrash)
	}
}
