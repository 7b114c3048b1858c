package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"slices"
	"sync"
	"syscall"
)

// ErrAway says that a commit has failed, and that what it had taken from its name could not be put back yet. It is under no
// name of a user's then: [FS.PutBack] tries again, the history shows it, and nothing that lets go of history takes it.
var ErrAway = errors.New("what was taken away could not be put back yet, and that is tried again")

// ErrShelved says that a commit has failed, and that what it had taken from its name is in the history, since the
// directory is gone in which it had that.
var ErrShelved = errors.New("what was taken away is in the history, since there is no place to put it back")

// An away is something of a user's that a commit has taken from its name, and could not put back.
type away struct {
	at   string // where it is
	name string // where it belongs; "" if it only is to be kept in the history
	note note
	was  Info // what it is, if that is known: if something else is at its place, this has been seen to
	// displaced, if not "", is a directory of the session in which it is, with a note of where it belongs.
	displaced string
	by        string // what it has given way to, which was not committed
}

// aways are those of one place.
type aways struct {
	mu  sync.Mutex
	all []away
}

// maxAways bounds what is remembered of them. [FS.Recover] finds the others, in this process or the next.
const maxAways = 1 << 12

func (a *aways) add(one away) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.all) < maxAways {
		a.all = append(a.all, one)
	}
}

func (a *aways) take(which func(away) bool) (taken []away) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = slices.DeleteFunc(a.all, func(one away) bool {
		if which(one) {
			taken = append(taken, one)
			return true
		}
		return false
	})
	return taken
}

func (a *aways) any() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.all) > 0
}

// takeBack gives what was moved away its name back. If that is taken now, or the directory is gone that it was in, it is
// kept in the history as what gave way to that. Where neither can be, it is tried again: ErrAway.
func (p *place) takeBack(at, name string, n note) error {
	was, failed := p.calls.Lstat(at)
	if failed != nil {
		was = Info{}
	}
	if failed != nil && !p.isOurs(at) {
		was = n.seen // it is put back if it turns out to be that
	}
	err := p.putBack(at, name, n)
	if err != nil && !errors.Is(err, ErrShelved) {
		err = p.leaveAway(away{at: at, name: name, note: n, was: was}, err)
	}
	return err
}

// putBack is takeBack once.
func (p *place) putBack(at, name string, n note) error {
	failed := p.renameNew(at, name)
	if failed == nil {
		return nil
	}
	if _, err := p.calls.Lstat(at); errors.Is(err, iofs.ErrNotExist) {
		return nil // somebody has taken it
	} else if err != nil {
		return errors.Join(failed, err)
	}
	switch {
	case errors.Is(failed, iofs.ErrExist):
		return p.shelve(at, n)
	case isDisplaced(failed):
		n.cause = causeRecovered
		if err := p.shelve(at, n); err != nil {
			return errors.Join(failed, err)
		}
		return fmt.Errorf("%w: %w", ErrShelved, failed)
	}
	return failed
}

// isDisplaced reports whether a name cannot be given since the directory that it would be in is not there any more.
func isDisplaced(err error) bool {
	return errors.Is(err, iofs.ErrNotExist) || isNotDir(err) || errors.Is(err, ErrLink) || errors.Is(err, syscall.ELOOP) ||
		errors.Is(err, syscall.EXDEV)
}

// leaveAway remembers what could not be put back, and why.
func (p *place) leaveAway(a away, reason error) error {
	// Under a name that users see there can be somebody else's by the next try, unless it is known again.
	if p.isOurs(a.at) || a.was.Inode != 0 {
		p.aways.add(a)
	}
	p.tell(fmt.Errorf("%q could not be put back after a commit that failed: it is %q until it can be, which is tried again: %w",
		a.had(), a.at, reason))
	return fmt.Errorf("%w: %w", ErrAway, reason)
}

// had returns the name that it had.
func (a away) had() string {
	if a.name == "" {
		return a.note.path
	}
	return a.name
}

// isOurs reports whether a name is in the state directory of a place.
func (p *place) isOurs(name string) bool { return isIn(name, path.Join(p.at, stateDir)) }

// PutBack tries again to put back what could not be, see ErrAway, and reports whether some of it still waits. It may be
// called at any time but under [FS.Lock], which it takes if there is any.
func (s *FS) PutBack(ctx context.Context) (waits bool) {
	for _, p := range s.places() {
		if !p.aways.any() {
			continue
		}
		if unlock, err := p.Lock(ctx); err == nil {
			p.putBackAll("")
			unlock()
		}
		waits = waits || p.aways.any()
	}
	return waits
}

// putBackAll tries again with what could not be put back, and is in a directory, or anywhere (""). It must be called under
// [FS.Lock].
func (p *place) putBackAll(dir string) (err error) {
	for _, a := range p.aways.take(func(a away) bool { return dir == "" || isIn(a.at, dir) }) {
		failed := p.putBackAgain(a)
		if failed != nil && !errors.Is(failed, ErrShelved) {
			p.aways.add(a)
			err = errors.Join(err, failed)
			continue
		}
		p.tell(fmt.Errorf("what could not be put back after a commit that failed has its name, or is in the history: %q", a.had()))
	}
	return err
}

func (p *place) putBackAgain(a away) error {
	if a.displaced != "" {
		_, err := p.recoverDisplaced(a.displaced)
		if err == nil {
			p.forget(a.displaced)
			if p.isOurs(a.by) {
				p.left.add(a.by)
			}
		}
		return err
	}
	now, err := p.calls.Lstat(a.at)
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		return nil // it was seen to
	case err != nil:
		return err
	case a.was.Inode != 0 && !now.SameFile(a.was):
		return nil // what gave way is there, and stays
	case a.name == "":
		return p.shelve(a.at, a.note)
	}
	return p.putBack(a.at, a.name, a.note)
}
