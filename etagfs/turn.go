package etagfs

import (
	"errors"
	"sync"

	"ifmatch/tree"
)

// errStale says that what was prepared for a commit is not made of what is there any more.
var errStale = errors.New("what it was prepared from has changed")

// sharedTurns is how often something is prepared while others may come between.
const sharedTurns = 5

// insist has something prepared and committed in the turn that it is handed, and again where that fails with errStale.
// After some turns that it shares with others it has one to itself (nil), for which the other writers of this process
// wait: else those who change a name faster than anything can be prepared would have it fail for ever. What still comes
// between is of a program on the disk, or of another server: ErrBusy.
func (s *Store) insist(try func(turn sync.Locker) error) error {
	for range sharedTurns {
		if err := try(s.turn.RLocker()); !errors.Is(err, errStale) || errors.Is(err, tree.ErrUnsure) {
			return err
		}
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	err := try(nil)
	member := new(tree.MemberError)
	switch {
	case errors.Is(err, tree.ErrUnsure):
	case errors.Is(err, errStale) && errors.As(err, &member):
		err = &tree.MemberError{Name: member.Name, Collection: member.Collection, Err: tree.ErrBusy}
	case errors.Is(err, errStale):
		err = tree.ErrBusy
	}
	return err
}
