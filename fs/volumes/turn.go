package volumes

import (
	"context"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/hold"
)

// allWriters is the weight of the turn of one writer for which all others wait.
const allWriters = 1 << 30

// A Turn keeps other writers of this process from commits on some volumes. It is a matter of fairness alone: a commit
// is as safe without it. So it is let go after a second if it is of several volumes, of which one may hang.
type Turn struct{ held *hold.Held }

// Turn waits until no other writer of this process commits on the volumes of a scope, and keeps others from doing so.
// It waits ten seconds at most.
func (s *Tree) Turn(ctx context.Context, scope Scope) (*Turn, error) {
	var turns []hold.Lock
	for _, l := range s.locksOf(scope) {
		turns = append(turns, writersTurn{l, allWriters})
	}
	held, err := hold.Take(ctx, turns, lockPatience)
	if err != nil {
		return nil, err
	}
	return &Turn{held}, nil
}

// Release ends the turn. The receiver may be nil.
func (t *Turn) Release() {
	if t != nil {
		t.held.Release()
	}
}

// A writersTurn is a share of the turns of writers on one file system.
type writersTurn struct {
	*CommitLock
	weight int64
}

// Take implements [hold.Lock].
func (t writersTurn) Take(ctx context.Context, patience time.Duration) error {
	if t.writers.TryAcquire(t.weight) {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := t.writers.Acquire(within, t.weight)
	if err != nil && ctx.Err() == nil {
		err = ErrHeldUp
	}
	return err
}

// Release implements [hold.Lock].
func (t writersTurn) Release() { t.writers.Release(t.weight) }

// A sharedLock is the lock of a file system, together with one of the turns there.
type sharedLock struct{ *CommitLock }

// Take implements [hold.Lock].
func (l sharedLock) Take(ctx context.Context, patience time.Duration) error {
	turn := writersTurn{l.CommitLock, 1}
	if err := turn.Take(ctx, patience); err != nil {
		return err
	}
	err := l.CommitLock.Take(ctx, patience)
	if err != nil {
		turn.Release()
	}
	return err
}

// Release implements [hold.Lock].
func (l sharedLock) Release() {
	l.CommitLock.Release()
	l.writers.Release(1)
}

// withTurns returns the locks, each with a turn unless the caller has the turn of all writers there.
func withTurns(locks []*CommitLock, turn *Turn) []hold.Lock {
	all := make([]hold.Lock, 0, len(locks))
	for _, l := range locks {
		if turn != nil && turn.held.Has(l.Order()) {
			all = append(all, l)
		} else {
			all = append(all, sharedLock{l})
		}
	}
	return all
}
