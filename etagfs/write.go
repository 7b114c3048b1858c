package etagfs

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	iofs "io/fs"
	"path"
	"sync"
	"syscall"
	"time"

	"ifmatch/etagfs/index"
	"ifmatch/fs"
	"ifmatch/tree"
)

// Put implements [tree.Store].
func (s *Store) Put(ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition) (tree.State, bool, error) {
	if s.fs.ReadOnly() {
		return tree.State{}, false, tree.ErrReadOnly
	}
	if name == "" {
		return tree.State{}, false, tree.ErrIsCollection
	}
	need := fs.Need{Name: name, Client: tree.ClientOf(ctx), Length: opts.Length,
		Ask: func() error { return s.Try(ctx, cond) }}
	staged, err := s.fs.StageFor(ctx, need)
	if fs.IsFull(err) && opts.Length >= 0 && opts.Length <= atHand {
		// What is small is read before the history gives way to it, so that it cannot break off any more.
		if body, need.Arrived, err = takeInHand(body, opts.Length); err != nil {
			return tree.State{}, false, err
		}
		staged, err = s.fs.StageFor(ctx, need)
	}
	if err != nil {
		return tree.State{}, false, stagingFailed(err)
	}
	defer s.discard(staged)
	sums, size, err := stageBody(ctx, staged, body, opts.Length, opts.Hashes...)
	if err != nil {
		return tree.State{}, false, translate(err)
	}
	if opts.Verify != nil {
		if err := opts.Verify(sums); err != nil {
			return tree.State{}, false, err
		}
	}
	if opts.Modified, err = staged.TrySetModified(opts.Modified); err != nil {
		return tree.State{}, false, stagingFailed(err)
	}
	state, same, err := s.putSame(ctx, name, sums, size, opts.Modified, cond)
	if err != nil || same {
		return state, false, err
	}
	var created bool
	err = s.insist(func(turn sync.Locker) (err error) {
		state, created, err = s.putStaged(ctx, turn, staged, name, sums, opts, cond)
		return err
	})
	return state, created, err
}

// atHand is how much of a body is held in memory, in bytes, if the disk is full.
const atHand = 64 << 10

// takeInHand reads a body of an announced length. It reports whether it is all there; one that has another length is refused
// when it is staged.
func takeInHand(body io.Reader, length int64) (io.Reader, bool, error) {
	data := make([]byte, length)
	n, err := io.ReadFull(body, data)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, false, &tree.BodyError{Err: err}
	}
	return io.MultiReader(bytes.NewReader(data[:n]), body), err == nil, nil
}

// stagingFailed keeps apart that the place for staging is gone from that the name a client asked for is not there.
func stagingFailed(err error) error {
	if errors.Is(err, iofs.ErrNotExist) {
		return fmt.Errorf("%w: %v", errLost, err)
	}
	return translate(err)
}

// stageBody writes a body to a staging file and returns its hashes (the SHA-256, and others that are wanted) and
// its size in bytes.
func stageBody(ctx context.Context, staged *fs.Staged, body io.Reader, length int64, others ...crypto.Hash) (tree.Sums, int64, error) {
	hashes := map[crypto.Hash]hash.Hash{crypto.SHA256: sha256.New()}
	for _, h := range others {
		hashes[h] = h.New()
	}
	everywhere := []io.Writer{staged}
	for _, h := range hashes {
		everywhere = append(everywhere, h)
	}
	if length >= 0 {
		body = io.LimitReader(body, length+1) // what is more is not stored either
	}
	n, err := receiveBody(ctx, io.MultiWriter(everywhere...), body)
	if err != nil {
		return nil, 0, err
	}
	if length >= 0 && n != length {
		return nil, 0, &tree.BodyError{Err: isNot(n, length)}
	}
	sums := tree.Sums{}
	for name, h := range hashes {
		sums[name] = h.Sum(nil)
	}
	return sums, n, nil
}

// isNot says that a body has another length than was announced. More of it than one byte was not read.
func isNot(length, announced int64) error {
	if length > announced {
		return fmt.Errorf("it has more than the %d bytes that were announced", announced)
	}
	return fmt.Errorf("it has %d bytes, and %d were announced", length, announced)
}

// putStaged gives a staged file its name. It comes back with errStale where it inherited what is not there any more.
func (s *Store) putStaged(ctx context.Context, turn sync.Locker, staged *fs.Staged, name string, sums tree.Sums, opts tree.PutOptions, cond tree.Condition) (tree.State, bool, error) {
	inherited, from, err := s.inheritance(name)
	if err != nil {
		return tree.State{}, false, translate(err)
	}
	if err := staged.Annotate(fs.Meta{Modified: opts.Modified, Traits: inherited}); err != nil {
		return tree.State{}, false, stagingFailed(err)
	}
	if err := staged.Sync(); err != nil {
		return tree.State{}, false, stagingFailed(err)
	}
	var state tree.State
	var created bool
	err = s.commitIn(ctx, turn, func(v *view) error {
		v.staged = staged
		over, err := v.target(name)
		switch {
		case err != nil:
			return err
		case over.Kind == fs.Directory:
			return tree.ErrIsCollection
		case over.Kind == fs.Link:
			return fs.ErrLink
		}
		created = !over.Exists()
		if err := v.ask(cond); err != nil {
			return err
		}
		if err := s.stillInherits(name, over, from, inherited); err != nil {
			return err
		}
		change, err := s.dateStaged(staged, name, over, opts.Modified)
		if err != nil {
			return err
		}
		if err := v.hold(name); err != nil {
			return err
		}
		tag := sums.Tag()
		info, err := s.commitStaged(staged, name, over, v.how("PUT", name, over), tag, change)
		if err == nil {
			s.keepSums(info, sums)
			state = s.stateOf(name, info, tag, shownFor(opts.Modified))
		}
		return err
	})
	return state, created, err
}

// inheritance is what the next file with this name gets: from the one that it replaces, of which the look is returned
// too, or from the collection that it is made in.
func (s *Store) inheritance(name string) (fs.Traits, fs.Info, error) {
	info, err := s.fs.Lstat(name)
	var traits fs.Traits
	switch {
	case err != nil || !info.Exists():
		info = fs.Info{}
		parent, _ := tree.Split(name)
		traits, err = s.fs.NewTraits(parent)
	case info.Kind == fs.Regular:
		traits, err = s.fs.Traits(name)
	}
	if errors.Is(translate(err), tree.ErrNotExist) || errors.Is(err, fs.ErrLink) || errors.Is(err, fs.ErrReserved) {
		return fs.Traits{}, fs.Info{}, nil // nothing to inherit; whether that is an error the commit will say
	}
	return traits, info, err
}

// stillInherits asks under the lock whether what was inherited is what there is to inherit. The look at the file says
// whether it can have changed; nearly always it says no.
func (s *Store) stillInherits(name string, over, from fs.Info, inherited fs.Traits) error {
	if over.Kind == fs.Nothing && from.Kind == fs.Nothing {
		return nil
	}
	able := s.fs.AbilitiesOf(over)
	if able.FineTimes && !able.Exclusive && over.SameFile(from) && over.Changed == from.Changed {
		return nil
	}
	now, _, err := s.inheritance(name)
	if err == nil && !now.Equal(inherited) {
		err = errStale
	}
	return err
}

// A dateChange is a change of what is at a name, and how the date of what comes there is shown.
type dateChange struct {
	*index.Change
	shown index.Showing
}

// dateStaged begins the change that gives a staged file its name, and sets its modification time, unless a client wants one.
func (s *Store) dateStaged(staged *fs.Staged, name string, over fs.Info, wanted time.Time) (dateChange, error) {
	change := dateChange{s.change(name, over, staged), shownFor(wanted)}
	if wanted.IsZero() {
		return change, staged.SetModified(change.Next(s.now()))
	}
	return change, nil
}

// commitStaged commits a staged file and remembers its tag.
func (s *Store) commitStaged(staged *fs.Staged, name string, over fs.Info, how fs.How, tag tree.ETag, change dateChange) (fs.Info, error) {
	before, err := staged.Info()
	if err != nil {
		return fs.Info{}, err
	}
	// What is remembered is of our bytes: a program that writes to them as soon as they have the name must ask for the lease.
	var lease *fs.Lease
	if able := s.fs.AbilitiesOf(before); tag != "" && able.Leases && able.FineTimes {
		if f, taken, err := staged.Lease(); err == nil {
			defer f.Close()
			lease = taken
			s.meet(f, name, before)
		}
	}
	if err := s.nameStaged(staged, name, over, how); err != nil {
		return fs.Info{}, err
	}
	if over.Exists() {
		s.displaced()
	}
	k := index.RecordOf(tag)
	if s.fs.Durability() != fs.None {
		k.Has |= index.Synced
	}
	info, _ := s.carryKnown(before, name, k, tag != "", func() bool { return lease == nil || lease.Held() }, change.done)
	return info, nil
}

func (c dateChange) done(v index.Version) index.Evidence { return c.Done(v, c.shown) }

// same is done of a change that has left the content what it was.
func (c dateChange) same(v index.Version) index.Evidence { return c.Same(v, c.shown) }

// nameStaged gives what is staged its name.
func (s *Store) nameStaged(staged *fs.Staged, name string, over fs.Info, how fs.How) error {
	defer s.givingWay(name, over)()
	err := s.fs.Commit(staged, name, over, how)
	if errors.Is(err, syscall.EXDEV) && !staged.Fits(name) {
		return fmt.Errorf("%w: %w", errStale, err) // something was mounted or unmounted since it was staged
	}
	return appeared(err, over.Kind)
}

// carryKnown remembers what is known (ok) of a file whose name or attributes, and so whose time of change, we have
// changed, if it was quiet meanwhile. It returns the look that it takes, and whether that is of the same content; or else the
// one from before, where a local program was at the file at once.
//
// done ends the change of dates, and returns what the record is to say of them.
func (s *Store) carryKnown(before fs.Info, name string, k index.Record, ok bool, quiet func() bool,
	done func(index.Version) index.Evidence) (fs.Info, bool) {
	after, err := s.fs.Lstat(name)
	if err != nil {
		return before, false
	}
	return s.carryLooked(before, after, k, ok, quiet, done)
}

// carryLooked is carryKnown with the look that was taken after the change.
func (s *Store) carryLooked(before, after fs.Info, k index.Record, ok bool, quiet func() bool,
	done func(index.Version) index.Evidence) (fs.Info, bool) {
	if !after.SameFile(before) || after.Size != before.Size || after.Modified != before.Modified {
		return before, false
	}
	if !quiet() {
		return after, false
	}
	var tag tree.ETag
	if ok {
		tag = k.Tag()
	}
	if after.Kind == fs.Regular {
		k.Dates = done(s.versionOf(after, tag))
	}
	if ok && s.fs.AbilitiesOf(after).FineTimes { // where two changes can carry one stamp, the next one might go unseen
		s.index.Put(after.Fingerprint, k)
	}
	return after, true
}

// quietly takes a lease on a file that we are about to change otherwise than in its content; end lets go of it. quiet
// reports whether nobody can have written to it since it was seen, which our own change would hide. Where there are no
// leases, nobody tells, and it is believed.
func (s *Store) quietly(name string, seen fs.Info) (quiet func() bool, end func()) {
	always := func(yes bool) func() bool { return func() bool { return yes } }
	nothing := func() {}
	if seen.Kind != fs.Regular || !s.fs.AbilitiesOf(seen).Leases {
		return always(true), nothing
	}
	f, _, err := s.fs.Open(name)
	if err != nil || f == nil {
		return always(errors.Is(err, iofs.ErrPermission)), nothing // what we may not read, we have not read before
	}
	lease, err := s.fs.Lease(f)
	if err != nil {
		f.Close()
		return always(errors.Is(err, errors.ErrUnsupported)), nothing
	}
	now, err := s.fs.Refresh(f)
	same := err == nil && now.Fingerprint == seen.Fingerprint
	return func() bool { return same && lease.Held() }, func() { f.Close() }
}

// Mkdir implements [tree.Store].
func (s *Store) Mkdir(ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition) (tree.State, error) {
	var state tree.State
	err := s.commit(ctx, func(v *view) error {
		if name == "" {
			return tree.ErrExist
		}
		over, err := v.target(name)
		switch {
		case err != nil:
			return err
		case over.Kind == fs.Link:
			return fs.ErrLink
		case over.Exists():
			return tree.ErrExist
		}
		if err := v.ask(cond); err != nil {
			return err
		}
		if err := v.hold(name); err != nil {
			return err
		}
		if err := s.fs.Mkdir(name, opts.Modified); err != nil {
			return err
		}
		info, err := s.fs.Lstat(name)
		if err != nil {
			info = fs.Info{Kind: fs.Directory} // it is made, whatever else is to be known of it
		}
		state = s.bareState(name, info, "")
		return nil
	})
	if err == nil && !opts.Modified.IsZero() {
		err = unsure(s.fs.SyncFile(name)) // the time is not in the directory that the name is in
	}
	return state, err
}

// existing looks at a name that must exist, to be changed: a link is a link.
func (v *view) existing(name string) (fs.Info, error) {
	if name == "" {
		return v.lstat("")
	}
	info, err := v.target(name)
	if errors.Is(err, tree.ErrNoParent) || err == nil && !info.Exists() {
		err = tree.ErrNotExist
	}
	return info, err
}

// Remove implements [tree.Store].
func (s *Store) Remove(ctx context.Context, name string, cond tree.Condition) error {
	err := s.remove(ctx, name, true, cond)
	if fs.IsFull(err) && !errors.Is(err, tree.ErrUnsure) {
		// The history has made all the room it can, and there is none for a name in it.
		if err = s.remove(ctx, name, false, cond); err == nil {
			s.report(fmt.Errorf("%q was removed and is not in the history, for which the disk is too full", name))
			s.queue.emptyTrash()
		}
	}
	if err != nil {
		return err
	}
	return unsure(s.locks.sync())
}

func (s *Store) remove(ctx context.Context, name string, keep bool, cond tree.Condition) error {
	return s.commit(ctx, func(v *view) error {
		found, err := v.existing(name)
		if err != nil {
			return err
		}
		if name == "" {
			return tree.ErrPermission
		}
		if err := v.ask(cond); err != nil {
			return err
		}
		locks, err := v.fateOf(name, "")
		if err != nil {
			return err
		}
		how := v.how("DELETE", name, found)
		how.Unkept = !keep
		if err := v.hold(name); err != nil {
			return err
		}
		defer s.givingWay(name, found)()
		if err := s.fs.Remove(name, found, how); err != nil {
			return err
		}
		s.displaced()
		return unsure(s.locks.removed(locks))
	})
}

// Move implements [tree.Store].
func (s *Store) Move(ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition) (tree.State, bool, error) {
	state, created, err := s.rename(ctx, from, to, opts, cond)
	if errors.Is(err, syscall.EXDEV) && !s.fs.Together(from, to) {
		state, created, err = s.moveAcross(ctx, from, to, opts, cond)
	}
	return state, created, err
}

// renameNoted is rename with a note of both files. It fails with fs.ErrNotNoted if other files are there.
func (s *Store) renameNoted(ctx context.Context, turn sync.Locker, note *fs.MoveNote, from, to string, opts tree.CopyOptions, cond tree.Condition) (tree.State, bool, error) {
	var info fs.Info
	var tag tree.ETag
	var created bool
	err := s.commitIn(ctx, turn, func(v *view) error {
		note.Watch()
		defer note.Unwatch()
		source, over, err := v.ends(from, to)
		if err != nil {
			return err
		}
		if created = !over.Exists(); !created && opts.NoOverwrite && !v.SameName(from, to) {
			return tree.ErrExist
		}
		if err := v.ask(cond); err != nil {
			return err
		}
		locks, err := v.fateOf(to, from)
		if err != nil {
			return err
		}
		s.meetUnknown(from, source)
		k, known := s.index.Lookup(source.Fingerprint)
		change := dateChange{s.change(to, over, nil), shownFor(opts.Modified)}
		if err := v.hold(from, to); err != nil {
			return err
		}
		quiet, end := s.quietlyNoted(note, from, source)
		defer end()
		defer s.givingWay(to, over)()
		how := v.how("MOVE", to, over)
		how.Note = note
		if err := s.move(from, source, to, over, how); err != nil {
			return appeared(err, over.Kind)
		}
		s.displaced()
		var carried bool
		if now, isQuiet, ok := note.Arrived(); ok {
			info, carried = s.carryLooked(source, now, k, known, func() bool { return isQuiet }, change.done)
		} else {
			info, carried = s.carryKnown(source, to, k, known, quiet, change.done)
		}
		tag = ""
		if known && carried {
			tag = k.Tag()
		}
		if !opts.Modified.IsZero() {
			info, tag = s.setModified(to, info, opts.Modified, tag)
		}
		// RFC 4918 §6.1 and §7.6: a lock does not move, and one of the destination covers what comes there.
		return unsure(s.locks.replaced(locks, source.Kind == fs.Directory))
	})
	if err == nil {
		err = s.syncMoved(to, opts)
	}
	if err != nil {
		return tree.State{}, false, err
	}
	info, tag = s.tagMoved(ctx, to, info, tag)
	return s.stateOfEarlier(to, info, tag, shownFor(opts.Modified)), created, nil
}

// setModified sets the modification time of what has just been moved. Where only the owner may, and that is not us, or the
// disk keeps no such time, it stays as it is: the move has happened, and the look that is returned says which time it has.
func (s *Store) setModified(name string, before fs.Info, t time.Time, tag tree.ETag) (fs.Info, tree.ETag) {
	after, err := s.fs.SetModified(name, before, t, fs.Nearly)
	if errors.Is(err, fs.ErrTime) {
		return before, ""
	}
	if err != nil {
		s.report(fmt.Errorf("%q was moved, and its modification time could not be set: %w", name, err))
		return before, tag
	}
	// The time that is set hides whether a local program was at the file meanwhile: it is hashed again.
	return after, ""
}

func (s *Store) move(from string, source fs.Info, to string, over fs.Info, how fs.How) error {
	if source.Kind != fs.Directory && source.SameFile(over) && !s.fs.SameName(from, source, to, over) {
		// Two names of one file: rename(2) does nothing at all then.
		return s.fs.Remove(from, source, how)
	}
	return s.fs.Move(from, source, to, over, how)
}

// ends looks at both ends of a move or copy.
func (v *view) ends(from, to string) (source, over fs.Info, err error) {
	if source, err = v.existing(from); err != nil {
		return source, over, err
	}
	switch {
	case from == to:
		return source, over, tree.ErrSame
	case tree.Below(to, from), tree.Below(from, to):
		return source, over, tree.ErrNested
	}
	over, err = v.target(to)
	switch {
	case err != nil:
	case source.Mount != over.Mount && source.SameFile(over):
		err = tree.ErrSame // one directory that is mounted twice
	case over.Exists() && path.Base(from) == path.Base(to) && v.SameName(from, to):
		err = tree.ErrSame // which another spelling leads to
	case v.isBelow(to, from), v.isBelow(from, to):
		err = tree.ErrNested
	}
	return source, over, err
}
