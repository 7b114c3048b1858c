package shares

import (
	"errors"
	"fmt"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// errFixed is the error of every write to a collection above the shares, or to the root of a share as a whole.
var errFixed = &tree.StorageError{Kind: tree.ErrPermission,
	Hint: "only the configuration of the server says which shares there are; nothing has changed; write inside of a " +
		"share"}

// errAgain says that the source of a copy has changed, or the destination has: the copy is made again.
var errAgain = fmt.Errorf("it has changed while it was copied to another share (%w)", tree.ErrBusy)

// errLink says that a link would have to be copied.
var errLink = &tree.StorageError{Kind: tree.ErrNotServed,
	Hint: "a symbolic link is not copied or moved to another share; nothing has changed"}

// errThrough says that a link is on the path of the destination.
var errThrough = &tree.StorageError{Kind: tree.ErrNotServed,
	Hint: "a symbolic link is on the path of the destination, and nothing is written through links; nothing has changed"}

// errNoHistory says that a collection would be moved out of a share without a history.
var errNoHistory = &tree.StorageError{Kind: tree.ErrPermission,
	Hint: "without a history, no collection is moved to another share, because what came into it meanwhile would be " +
		"lost; nothing has changed; copy it, and delete the source"}

// errTooMany says that a collection has more members than are copied at once.
var errTooMany = &tree.StorageError{Kind: tree.ErrNoSpace,
	Hint: fmt.Sprintf("the collection has more than %d members, too many for one copy to another share; nothing has "+
		"changed; copy its members", maxMembers)}

// errOtherShare says that a version would be restored to another share.
var errOtherShare = &tree.StorageError{Kind: tree.ErrUnsupported,
	Hint: "a version is restored in its own share; nothing has changed; restore it there, and copy it"}

// asBusy turns a question to another share, for which it is too late, into an error of the caller.
func asBusy(err error) error {
	if errors.Is(err, errAsk) {
		return fmt.Errorf("%w: %w", tree.ErrBusy, err)
	}
	return err
}

// bothExist returns the error of a MOVE that has made the copy, and has not removed the source.
func bothExist(why string, err error) error {
	return &tree.StorageError{Kind: tree.ErrUnsure, Err: err, Hint: "the copy is at the destination, and the source was " +
		"left where it is: " + why + "; compare both, and delete one"}
}

// errPatched says that the properties of the source of a MOVE have changed.
var errPatched = errors.New("its properties have changed")

// inHistory returns the error of a MOVE that has removed more than it has copied, and could not restore it.
func inHistory(err error) error {
	return &tree.StorageError{Kind: tree.ErrUnsure, Err: err, Hint: "the copy is at the destination; the source has " +
		"changed at the last instant, and that version is in the history alone: ifmatch history list shows it"}
}

// A refusal is an error that a Check has returned. It goes through the store of a share as it is: its names are those
// of the whole tree.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// told returns an error of the store of a share with the names that its resources have here. sh is nil for a Check that
// no share has decided.
func (sh *share) told(err error) error {
	var refused *refusal
	var member *tree.MemberError
	var locked *tree.LockedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return refused.err
	case sh == nil:
		return err
	case errors.As(err, &member):
		return &tree.MemberError{Name: sh.outer(member.Name), Collection: member.Collection, Err: member.Err}
	case errors.As(err, &locked):
		lock := locked.Lock
		lock.Root = sh.outer(lock.Root)
		return &tree.LockedError{Name: sh.outer(locked.Name), Lock: lock}
	}
	return err
}
