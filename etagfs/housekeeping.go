package etagfs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/history"
)

// chores are the work in the background that no request waits for: removed files to be deleted, and files to be put
// back.
type chores struct {
	wake chan struct{} // has room for one, and is full while keepHouse has work to look at

	mu    sync.Mutex
	trash bool
	// away is the pause before the next try to put back files that a failed commit has taken away. It is 0 if there are
	// none.
	away  time.Duration
	again time.Time // the time when that pause is over
}

// lastTrash bounds how long Close goes on deleting removed files. The next start deletes the rest.
const lastTrash = 5 * time.Second

func (c *chores) emptyTrash() {
	c.mu.Lock()
	c.trash = true
	c.mu.Unlock()
	poke(c.wake)
}

// putBack schedules another try to put back the files that a failed commit has taken away.
func (c *chores) putBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away == 0 {
		c.putBackAfter(firstPutBack)
	}
}

// putBackAfter schedules another try after a pause. The caller must hold mu.
func (c *chores) putBackAfter(pause time.Duration) {
	c.away, c.again = pause, time.Now().Add(pause)
	time.AfterFunc(pause, func() { poke(c.wake) })
}

// firstPutBack is the pause before the first such try. It is doubled each time, up to lastPutBack.
const (
	firstPutBack = 100 * time.Millisecond
	lastPutBack  = time.Minute
)

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// keepHouse deletes removed files, puts files back after failed commits, and maintains
// the index.
func (s *Store) keepHouse(ctx context.Context) {
	tick := time.NewTicker(index.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return // Close empties the trash
		case <-tick.C:
			s.tick()
			continue
		case <-s.chores.wake:
		}
		s.clearTrash(ctx)
		s.putBack(ctx)
	}
}

// putBack tries again to put back the files that a failed commit has taken away, if there are any and the pause is
// over.
func (s *Store) putBack(ctx context.Context) {
	c := &s.chores
	c.mu.Lock()
	pause, due := c.away, c.away > 0 && !time.Now().Before(c.again)
	c.mu.Unlock()
	if !due {
		return
	}
	waits := s.fs.PutBack(ctx)
	s.feed.Missed() // names have come back
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away = 0; waits {
		c.putBackAfter(min(2*pause, lastPutBack))
	}
}

// clearTrashLast is the last clearTrash. An expiry that was under way when Close began has put its directories into the
// trash by now.
func (s *Store) clearTrashLast() {
	last, cancel := context.WithTimeout(context.Background(), lastTrash)
	defer cancel()
	s.clearTrash(last)
}

// clearTrash deletes the files that were removed since the last time, if there are any.
func (s *Store) clearTrash(ctx context.Context) {
	s.chores.mu.Lock()
	trash := s.chores.trash
	s.chores.trash = false
	s.chores.mu.Unlock()
	if !trash {
		return
	}
	if err := s.fs.EmptyTrash(ctx); ctx.Err() != nil {
		s.chores.emptyTrash() // Close or the next start deletes the rest
	} else if err != nil {
		s.report(err)
	}
}

// expiry is for the goroutine that deletes the history entries that were kept for long enough. No request waits for it.
type expiry struct {
	retention *history.Retention // nil: other processes expire history entries
	wake      chan struct{}      // has room for one, and is full while there are many new history entries
}

// expiryPause is how often the history is searched for entries to delete. Many new entries cause a search before that.
const expiryPause = time.Minute

func newExpiry(r *history.Retention) expiry { return expiry{r, make(chan struct{}, 1)} }

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
		s.chores.emptyTrash()
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
		s.report(fmt.Errorf("a program went on writing to %q after it had been replaced or removed (%s): its bytes "+
			"are in the history",
			k.Path, k.Cause))
	}
}

// displaced says that a commit has made a version give way. If no history is kept, keepHouse empties the trash.
// Otherwise expire runs early if enough has come to the history.
func (s *Store) displaced() {
	if s.expiry.retention == nil || s.expiry.retention.Keep == 0 {
		s.chores.emptyTrash()
	} else if s.fs.ExpiryDue() {
		poke(s.expiry.wake)
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
