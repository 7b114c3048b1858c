// Package lingering keeps an open file open for a moment after its last use, since the next use often comes soon. A file
// that stayed open for longer would keep its disk from being unmounted, or remounted read-only.
package lingering

import (
	"io"
	"sync"
	"time"
)

// A Slot has room for one open file. The zero value is empty. Its methods may be called concurrently.
type Slot[T io.Closer] struct {
	mu    sync.Mutex
	full  bool
	name  string
	file  T
	used  bool // since the timer was set
	stays time.Duration
	timer *time.Timer
	armed bool // the timer runs
}

// Put puts a file into the slot, where the next user finds it under its name. The file is closed when it was not used for
// so long, and at twice that time at the latest. If the time is zero, it is closed at once. Another file in the slot is
// closed.
func (s *Slot[T]) Put(name string, file T, stays time.Duration) {
	if stays <= 0 {
		file.Close()
		return
	}
	s.mu.Lock()
	old, had := s.empty()
	s.full, s.name, s.file, s.used, s.stays = true, name, file, true, stays
	switch {
	case s.armed:
	case s.timer == nil:
		s.timer = time.AfterFunc(stays, s.look)
	default:
		s.timer.Reset(stays)
	}
	s.armed = true
	s.mu.Unlock()
	if had {
		old.Close()
	}
}

// Take takes the file out of the slot. ok is false if there is none of this name. The caller must close the file, or
// put it back.
func (s *Slot[T]) Take(name string) (file T, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.name != name {
		return file, false
	}
	return s.empty()
}

// Close closes the file in the slot, if there is one. The slot can be used again.
func (s *Slot[T]) Close() {
	s.mu.Lock()
	file, ok := s.empty()
	s.mu.Unlock()
	if ok {
		file.Close()
	}
}

// empty takes the file out of the slot. mu must be held.
func (s *Slot[T]) empty() (file T, ok bool) {
	file, ok = s.file, s.full
	var none T
	s.full, s.name, s.file = false, "", none
	return file, ok
}

// look is called by the timer. No call closes a file while it holds the mutex, because a disk that hangs would hold up
// all users of the slot.
func (s *Slot[T]) look() {
	s.mu.Lock()
	if s.used && s.full {
		s.used = false
		s.timer.Reset(s.stays)
		s.mu.Unlock()
		return
	}
	s.armed = false
	file, ok := s.empty()
	s.mu.Unlock()
	if ok {
		file.Close()
	}
}
