package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"sync"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// ErrAway says that a commit has failed, and that the version that it had taken from its name could not be put back
// yet. That version then has no name that users see. [FS.PutBack] tries again to put the version back. The history
// shows the version, and nothing that drops history drops it.
var ErrAway = errors.New("what was taken away could not be put back yet, and that is tried again")

// ErrShelved says that a commit has failed, and that the version that it had taken from its name is in the history,
// since the directory that contained the name is gone.
var ErrShelved = errors.New("what was taken away is in the history, since there is no place to put it back")

// A pendingUndo is the undo of a commit that failed, and could not be done yet.
type pendingUndo struct {
	at   string       // the entry that has lost its name to the commit, or the note of a move
	try  func() error // tries again. It is called under the lock
	done error        // is reported when it is done
}

// pendingUndos are the failed undos of one volume.
type pendingUndos struct {
	mu  sync.Mutex
	all []pendingUndo
}

// maxPendingUndos bounds how many failed undos a volume remembers. [FS.Recover] finds the others, in this process or
// the next.
const maxPendingUndos = 1 << 12

func (a *pendingUndos) add(one pendingUndo) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.all) < maxPendingUndos {
		a.all = append(a.all, one)
	}
}

func (a *pendingUndos) take(which func(pendingUndo) bool) (taken []pendingUndo) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = slices.DeleteFunc(a.all, func(one pendingUndo) bool {
		if which(one) {
			taken = append(taken, one)
			return true
		}
		return false
	})
	return taken
}

func (a *pendingUndos) any() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.all) > 0
}

// undoMove moves an entry back to its name. If the name is taken by now, or its directory is gone, the entry becomes an
// ordinary entry of the history, as if it had been replaced. If neither is possible, undoMove fails with ErrAway, and
// the undo is tried again later.
func (v *volume) undoMove(at, name string, n history.Note) error {
	was, failed := v.calls.Lstat(at)
	if failed != nil && !v.IsInState(at) {
		was = n.Seen // the file at that name is put back if it is the noted one
	}
	err := v.undoTo(at, name, n)
	if err != nil && !errors.Is(err, ErrShelved) {
		err = v.deferUndo(at, name, was, func() error { return v.undoTo(at, name, n) }, err)
	}
	return err
}

// undoTo does one attempt of undoMove.
func (v *volume) undoTo(at, name string, n history.Note) error {
	failed := v.RenameNew(at, name)
	if failed == nil {
		return nil
	}
	if _, err := v.calls.Lstat(at); errors.Is(err, iofs.ErrNotExist) {
		return nil // another process has removed or moved the entry
	} else if err != nil {
		return errors.Join(failed, err)
	}
	switch {
	case errors.Is(failed, iofs.ErrExist):
		return v.history.KeepOrphan(at, n)
	case volumes.IsDisplaced(failed):
		n.Cause = history.CauseRecovered
		if err := v.history.KeepOrphan(at, n); err != nil {
			return errors.Join(failed, err)
		}
		return fmt.Errorf("%w: %w", ErrShelved, failed)
	}
	return failed
}

// deferUndo remembers the undo for an entry at a name, which failed for a reason, and reports the reason. had is the
// name that the entry had. was is the look at the entry, if known.
func (v *volume) deferUndo(at, had string, was vfs.Info, undo func() error, reason error) error {
	if vfs.IsIn(at, v.StatePath(volumes.HistoryPart)) { // other processes leave alone what is recovered
		v.history.Correct(v.At(at), history.Note{Path: had, Cause: history.CauseRecovered, Seen: was})
	}
	// At the next attempt, a name that users see can stand for a file of another program. So an undo from such a name
	// is remembered only if the inode identifies the file.
	if v.IsInState(at) || was.Inode != 0 {
		v.pendingUndos.add(pendingUndo{at, func() error {
			now, err := v.calls.Lstat(at)
			if err == nil && (was.Inode == 0 || now.SameFile(was)) {
				return undo()
			}
			// The undo is done already. Or another file has that name now, and keeps it.
			return vfs.Ignoring(err, iofs.ErrNotExist)
		}, fmt.Errorf("what could not be put back after a commit that failed has its name, or is in the history: %q", had)})
	}
	v.report(fmt.Errorf("%q could not be put back after a commit that failed: it is %q until it can be, "+
		"which is tried again: %w", had, at, reason))
	return fmt.Errorf("%w: %w", ErrAway, reason)
}

// PutBack tries again the undos that failed, see ErrAway, and reports whether some of them are still pending. It may be
// called at any time except under [FS.Lock], which it takes if there are any.
func (s *FS) PutBack(ctx context.Context) (waits bool) {
	for _, v := range s.volumes() {
		if !v.pendingUndos.any() {
			continue
		}
		if v != s.root && !s.Answer([]string{v.Top})[v.Top] {
			waits = true
			continue
		}
		if unlock, err := v.Lock(ctx); err == nil {
			v.RetryUndos("")
			unlock()
		}
		waits = waits || v.pendingUndos.any()
	}
	return waits
}

// RetryUndos implements [history.Above]: it tries again the failed undos whose entries are in a directory, or all
// failed undos if dir is "". It must be called under [FS.Lock].
func (v *volume) RetryUndos(dir string) (err error) {
	for _, a := range v.pendingUndos.take(func(a pendingUndo) bool { return dir == "" || vfs.IsIn(a.at, dir) }) {
		if failed := vfs.Ignoring(a.try(), ErrShelved); failed != nil {
			v.pendingUndos.add(a)
			err = errors.Join(err, failed)
		} else {
			v.report(a.done)
		}
	}
	return err
}
