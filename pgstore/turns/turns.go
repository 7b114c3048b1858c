// Package turns bounds how many writers of one name are at work at once in a process. The others wait in the order in
// which they have come, and use nothing else meanwhile.
package turns

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// ErrLate is the error of a writer whose turn has not come in time.
var ErrLate = errors.New("the writers before it have taken too long")

// Turns are the turns of all names.
type Turns struct {
	most  int
	mu    sync.Mutex
	lines map[string]*line
}

// A line has the writers of one name.
type line struct {
	users    int // that are counted or queue, and so need the line
	counted  int
	busy     int             // have their turn
	waiting  []chan struct{} // one is closed when its turn has come
	replaced chan struct{}   // closed when a writer has replaced the version
}

// New returns turns for the writers of names. The most writers of one name that have their turn at once are most.
func New(most int) *Turns { return &Turns{most: most, lines: map[string]*line{}} }

// of returns the line of a name. mu must be held, and done called in the end.
func (t *Turns) of(name string) *line {
	l := t.lines[name]
	if l == nil {
		l = &line{replaced: make(chan struct{})}
		t.lines[name] = l
	}
	l.users++
	return l
}

// done says that a user of a line needs it no more. mu must be held.
func (t *Turns) done(name string, l *line) {
	if l.users--; l.users == 0 {
		delete(t.lines, name)
	}
}

// Count counts a writer of a name until its result is called.
func (t *Turns) Count(name string) (end func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.of(name)
	l.counted++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		l.counted--
		t.done(name, l)
	}
}

// Any reports whether any of the names has a writer that is counted.
func (t *Turns) Any(names []string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(names, func(name string) bool { return t.lines[name] != nil && t.lines[name].counted > 0 })
}

// Wait waits for the turn of a writer of a name, for so long at most. The writer calls leave in the end, and says
// whether it has replaced the version that was there. When another writer has done so meanwhile, again is called, unless
// it is nil. An error of it ends the wait.
func (t *Turns) Wait(
	ctx context.Context, name string, patience time.Duration, again func() error,
) (leave func(replaced bool), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.of(name)
	leave = func(replaced bool) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.leave(name, l, replaced)
	}
	if l.busy < t.most {
		l.busy++
		return leave, nil
	}
	mine := make(chan struct{})
	l.waiting = append(l.waiting, mine)
	waits := true
	defer func() {
		if waits { // also where again panics
			t.giveUp(name, l, mine)
		}
	}()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for waits && err == nil {
		var replaced <-chan struct{}
		if again != nil {
			replaced = l.replaced
		}
		err = t.unlocked(func() error {
			select {
			case <-mine:
				waits = false
				return nil
			case <-replaced:
				return again()
			case <-timeout.C:
				return ErrLate
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}
	if err != nil {
		return nil, err
	}
	return leave, nil
}

// unlocked calls a function without mu, which must be held.
func (t *Turns) unlocked(call func() error) error {
	t.mu.Unlock()
	defer t.mu.Lock()
	return call()
}

// giveUp ends the wait of a writer, whose turn may have come at the same time. mu must be held.
func (t *Turns) giveUp(name string, l *line, mine chan struct{}) {
	if i := slices.Index(l.waiting, mine); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
		t.done(name, l)
		return
	}
	t.leave(name, l, false)
}

// leave ends the turn of a writer, and begins that of the next one. mu must be held.
func (t *Turns) leave(name string, l *line, replaced bool) {
	if replaced {
		close(l.replaced)
		l.replaced = make(chan struct{})
	}
	if len(l.waiting) > 0 {
		close(l.waiting[0])
		l.waiting = slices.Delete(l.waiting, 0, 1)
	} else {
		l.busy--
	}
	t.done(name, l)
}
