package etagfs

import (
	"context"
	"time"
)

// Distrust forgets every tag, so that it is computed anew.
func (s *Store) Distrust() { s.index.Clear() }

// LeaveAway has PutBack be the only one who does that.
func (s *Store) LeaveAway() {
	s.chores.pause = time.Hour
}

// PutBack tries again to put back what failed commits have taken away, and reports whether some of it still waits.
func (s *Store) PutBack() (waits bool) { return s.fs.PutBack(context.Background()) }

// WaitingToHash returns how many wait until a hash that is being computed is through.
func (s *Store) WaitingToHash() int { return s.hasher.Waiting() }

// Hashing returns how many files are being hashed, or are about to be.
func (s *Store) Hashing() int { return s.hasher.Running() }

// ActAs has the store take another user for that of its process.
func (s *Store) ActAs(user int) { s.user = user }

// Unsettled reports whether changes on the disk are looked for.
func (s *Store) Unsettled() bool { return s.feed.Unsettled() }
