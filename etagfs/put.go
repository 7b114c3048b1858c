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

	"ifmatch/etagfs/index"
	"ifmatch/fs"
	"ifmatch/tree"
)

// An upload is a body that was staged for a name.
type upload struct {
	s      *Store
	name   string
	staged *fs.Staged
	sums   tree.Sums
	size   int64
	opts   tree.PutOptions

	// What it was prepared from: the file that is replaced, or else the collection that the new one is made in.
	over   fs.Info
	dir    fs.Info
	traits fs.Traits
	opened *fs.File // the file that is replaced, where a lease on it may be asked for
	// same is the version that has these bytes already; zero: none does.
	same   fs.Fingerprint
	unlike bool // such a version cannot have the modification time that is wanted
}

// Put implements [tree.Store].
//
// A file that has these bytes already stays as it is: that makes no new version, and all that is beside the content
// stays too. The condition decides all the same. What makes it the same is a tag that was known, or hashed, before the
// transaction, and a look inside it that finds the version which has that tag. So nothing is hashed under the lock.
func (s *Store) Put(ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition) (tree.State, bool, error) {
	if s.fs.ReadOnly() {
		return tree.State{}, false, tree.ErrReadOnly
	}
	if name == "" {
		return tree.State{}, false, tree.ErrIsCollection
	}
	u := &upload{s: s, name: name, opts: opts}
	err := u.stage(ctx, body, cond)
	if u.staged != nil {
		defer s.discard(u.staged)
	}
	if err != nil {
		return tree.State{}, false, err
	}
	defer u.forget()
	var state tree.State
	var created bool
	err = s.update(ctx, func(alone bool) error { return u.prepare(ctx, alone) }, func(t *transaction) error {
		t.staged = u.staged
		over, err := t.target(name)
		switch {
		case err != nil:
			return err
		case over.Kind == fs.Directory:
			return tree.ErrIsCollection
		case over.Kind == fs.Link:
			return fs.ErrLink
		}
		created = !over.Exists()
		if err := t.ask(cond); err != nil {
			return err
		}
		if u.same != (fs.Fingerprint{}) {
			state, err = u.leave(t, over)
		} else {
			state, err = u.commit(t, over)
		}
		return err
	})
	return state, created, err
}

// stage stages the body.
func (u *upload) stage(ctx context.Context, body io.Reader, cond tree.Condition) (err error) {
	s, opts := u.s, &u.opts
	need := fs.Need{Name: u.name, Client: tree.ClientOf(ctx), Length: opts.Length,
		Ask: func() error { return s.Try(ctx, cond) }}
	u.staged, err = s.fs.StageFor(ctx, need)
	if fs.IsFull(err) && opts.Length >= 0 && opts.Length <= atHand {
		// What is small is read before the history gives way to it, so that it cannot break off any more.
		if body, need.Arrived, err = takeInHand(body, opts.Length); err != nil {
			return err
		}
		u.staged, err = s.fs.StageFor(ctx, need)
	}
	if err != nil {
		return stagingFailed(err)
	}
	if u.sums, u.size, err = stageBody(ctx, u.staged, body, opts.Length, opts.Hashes...); err != nil {
		return translate(err)
	}
	if opts.Verify != nil {
		if err := opts.Verify(u.sums); err != nil {
			return err
		}
	}
	if opts.Modified, err = u.staged.TrySetModified(opts.Modified); err != nil {
		return stagingFailed(err)
	}
	return nil
}

// prepare finds out whether the file has these bytes already. If not, the staged file gets what it inherits, and is
// synced.
func (u *upload) prepare(ctx context.Context, alone bool) error {
	u.forget()
	p, err := u.s.fs.Resolve(u.name)
	if err != nil {
		p, err = fs.Place{}, nil // whether that is an error the transaction will say
	} else {
		defer p.Close()
		err = u.inherit(ctx, p, alone)
	}
	if err != nil || u.same != (fs.Fingerprint{}) {
		return err
	}
	if err := u.staged.Annotate(fs.Meta{Modified: u.opts.Modified, Traits: u.traits}); err != nil {
		return stagingFailed(err)
	}
	if err := u.staged.Sync(); err != nil {
		return stagingFailed(err)
	}
	u.version().lease()
	return nil
}

// version returns what was staged.
func (u *upload) version() newVersion {
	return newVersion{staged: u.staged, kind: fs.Regular, tag: u.sums.Tag(), cause: "PUT", modified: u.opts.Modified}
}

// inherit looks at a place, and finds out what a new file there gets: from the one that it replaces, or from the
// collection that it is made in.
func (u *upload) inherit(ctx context.Context, p fs.Place, alone bool) error {
	over, err := p.Lstat() // the transaction looks again
	if err == nil && !u.unlike {
		u.same = u.s.isThere(ctx, u.name, over, u.sums.Tag(), u.size, alone)
	}
	if u.same != (fs.Fingerprint{}) {
		return nil
	}
	if err == nil && over.Kind == fs.Regular {
		u.over = over
		u.opened, u.traits, err = p.OpenTraits()
	} else if err == nil && over.Exists() {
		return nil // nothing is inherited from that, and the transaction refuses it
	} else {
		u.traits, u.dir, err = p.NewTraits()
	}
	if errors.Is(translate(err), tree.ErrNotExist) || errors.Is(err, fs.ErrLink) {
		err = nil // as above
	}
	return err
}

// forget lets go of what was found out by prepare.
func (u *upload) forget() {
	if u.opened != nil {
		u.opened.Close()
	}
	u.over, u.dir, u.traits, u.opened, u.same = fs.Info{}, fs.Info{}, fs.Traits{}, nil, fs.Fingerprint{}
}

// stillInherits asks whether what was inherited is what there is to inherit. The look at the file says whether it can
// have changed; nearly always it says no.
func (u *upload) stillInherits(t *transaction, over fs.Info) error {
	if over.Kind == fs.Nothing && u.over.Kind == fs.Nothing {
		return t.isIn(u.name, u.dir)
	}
	able := u.s.fs.AbilitiesOf(over)
	if able.FineTimes && !able.Exclusive && over.SameFile(u.over) && over.Changed == u.over.Changed {
		return nil
	}
	if over.Kind != u.over.Kind {
		return errStale
	}
	f, now, err := t.at(u.name).OpenTraits()
	if f != nil {
		f.Close()
	}
	if errors.Is(translate(err), tree.ErrNotExist) || err == nil && !now.Equal(u.traits) {
		err = errStale
	}
	return err
}

// commit gives the staged file its name.
func (u *upload) commit(t *transaction, over fs.Info) (tree.State, error) {
	if err := u.stillInherits(t, over); err != nil {
		return tree.State{}, err
	}
	n := u.version()
	if over.SameFile(u.over) && t.exact() {
		n.opened, u.opened = u.opened, nil
	}
	info, err := t.commit(u.name, over, n)
	if err != nil {
		return tree.State{}, err
	}
	u.s.keepSums(info, u.sums)
	return u.s.stateOf(u.name, info, n.tag, shownFor(u.opts.Modified)), nil
}

// leave leaves a file as it is that has these bytes already. It comes back with errStale where it does not have them
// any more.
func (u *upload) leave(t *transaction, over fs.Info) (tree.State, error) {
	if over.Kind != fs.Regular || over.Fingerprint != u.same {
		return tree.State{}, errStale
	}
	if err := t.names(u.name); err != nil {
		return tree.State{}, err
	}
	tag, modified := u.sums.Tag(), u.opts.Modified
	if !modified.IsZero() {
		change := dateChange{u.s.change(u.name, over, nil), index.AsIs}
		var err error
		if over, err = t.touch(u.name, over, modified, index.RecordOf(tag), change); err != nil {
			u.unlike = true // a new version would have the time, because it would be ours
			return tree.State{}, errStale
		}
	}
	u.s.keepSums(over, u.sums)
	// A local program may have written it and never synced it.
	return u.s.stateOf(u.name, over, tag, shownFor(modified)), t.file(u.name)
}

// atHand is how much of a body is held in memory, in bytes, if the disk is full.
const atHand = 64 << 10

// takeInHand reads a body of an announced length. It reports whether it is all there; one that has another length is
// refused when it is staged.
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

// isThere returns a version that was looked at, if it has this content; else the zero value. It hashes a file of the
// same size, unless a program has it open for writing: what that one has yet to write would go by the same look.
//
// While other writers wait (alone), a file that is not small is not hashed, and counts as other content.
func (s *Store) isThere(
	ctx context.Context, name string, info fs.Info, tag tree.ETag, size int64, alone bool,
) fs.Fingerprint {
	if info.Kind != fs.Regular || info.Size != size || info.Inode == 0 {
		return fs.Fingerprint{}
	}
	have, known := s.index.Tag(info.Fingerprint)
	if !known && alone && size > copyAlone {
		return fs.Fingerprint{}
	}
	if !known {
		var err error
		if info, have, err = s.hash(ctx, name, hashing{rounds: 1, alone: true}); err != nil {
			return fs.Fingerprint{}
		}
	}
	if have != tag {
		return fs.Fingerprint{}
	}
	return info.Fingerprint
}
