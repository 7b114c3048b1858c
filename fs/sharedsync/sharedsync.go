// Package sharedsync lets commits that sync the same file or directory at the same time share one sync.
//
// A sync puts on the disk every change that was made before it began. So a commit that comes while a sync is under way
// waits for the end of that one, a second at most, and then for the next one. Of all commits that wait, one makes the
// next sync, and it does for all of them. A commit that comes alone makes its sync at once, with no delay.
package sharedsync

import (
	"sync"
	"time"
)

// patience bounds the wait for the sync that is under way. That one may be of a disk that hangs, and whose directory
// has given its name to another one since.
const patience = time.Second

// Syncs are the syncs that are under way. An ID says which file it is that has a name. The zero value is ready to use.
type Syncs[ID comparable] struct {
	mu     sync.Mutex // never held across a system call
	lines  map[string]*line[ID]
	failed bool
}

// A line is one name with a sync under way. There are at most as many lines as commits.
type line[ID comparable] struct {
	ended chan struct{} // closed at the end of the sync that is under way
	next  *batch[ID]    // the commits that wait for its end (nil: none)
}

// A batch is some commits that share a sync, which has not begun.
type batch[ID comparable] struct {
	of   ID
	done chan struct{} // closed at the end of the sync
	err  error         // of the sync
}

// Do returns when a sync of a file has ended that began after the call. That may be the sync of another commit that
// calls Do with the same name and the same ID. If commits are to share a sync, Do calls identify to find out the ID. do
// makes the sync.
//
// The system may report a failure to one opener of a file, and nothing to those that open it later: a second sync can
// succeed although the change is lost. So all commits of a sync that fails get its error, and after a failure no sync
// is shared any more.
func (s *Syncs[ID]) Do(name string, identify func() (ID, error), do func() error) error {
	own, busy := s.begin(name)
	if own != nil {
		return s.run(name, own, &batch[ID]{done: own.ended}, do)
	}
	if !busy {
		return do()
	}
	id, err := identify()
	if err != nil {
		return do()
	}
	before, b, leads := s.join(name, id)
	switch {
	case b == nil:
		return do()
	case leads:
		waitFor(before)
		return s.run(name, s.promote(name, b), b, do)
	}
	<-b.done
	s.mu.Lock()
	failed := s.failed
	s.mu.Unlock()
	if b.err == nil && failed {
		return do()
	}
	return b.err
}

// waitFor waits for the end of a sync, if there is one, with patience.
func waitFor(ended chan struct{}) {
	if ended == nil {
		return
	}
	select {
	case <-ended:
	case <-time.After(patience):
	}
}

// begin returns the line of a name if no sync of it was under way. busy reports whether one was that can be shared.
func (s *Syncs[ID]) begin(name string) (own *line[ID], busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed {
		return nil, false
	}
	if s.lines[name] != nil {
		return nil, true
	}
	own = &line[ID]{ended: make(chan struct{})}
	if s.lines == nil {
		s.lines = map[string]*line[ID]{}
	}
	s.lines[name] = own
	return own, true
}

// join adds a commit to the batch that comes next. The first commit of a batch leads, and waits for the sync that is
// under way (before, nil if it has ended). The batch is nil if the commit can share no sync.
func (s *Syncs[ID]) join(name string, id ID) (before chan struct{}, b *batch[ID], leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lines[name]
	switch {
	case s.failed:
		return nil, nil, false
	case l == nil: // it has ended meanwhile
		l = &line[ID]{}
		s.lines[name] = l
	case l.next != nil && l.next.of != id:
		return nil, nil, false
	case l.next != nil:
		return nil, l.next, false
	}
	l.next = &batch[ID]{of: id, done: make(chan struct{})}
	return l.ended, l.next, true
}

// promote makes the sync of a batch the one that is under way. From then on, the batch gets no more commits.
func (s *Syncs[ID]) promote(name string, b *batch[ID]) *line[ID] {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &line[ID]{ended: b.done}
	s.lines[name] = l
	return l
}

// run makes the sync of a line for a batch.
func (s *Syncs[ID]) run(name string, l *line[ID], b *batch[ID], do func() error) error {
	err := do()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed = true
	}
	if l.next == nil && s.lines[name] == l {
		delete(s.lines, name)
	}
	b.err = err
	close(b.done)
	return err
}
