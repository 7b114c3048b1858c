package etagfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/etagfs/resumable"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/metadata"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// An upload is a body that was staged for a name.
type upload struct {
	s      *Store
	name   string
	staged *fs.Staged
	sums   tree.Sums
	tag    tree.ETag // of sums
	size   int64
	kept   []byte // the body, if it may be kept in memory, or nil
	opts   tree.PutOptions

	// The state from which it was prepared: the file that is replaced, or the collection in which a new file is made.
	over   vfs.Info
	dir    vfs.Info
	traits metadata.Traits
	opened *vfs.File // the file that is replaced, if a lease on it may be requested
	// same is the version that already has these bytes. It is zero if there is none.
	same   vfs.Fingerprint
	unlike bool // such a version cannot get the requested modification time
	synced bool // the body is on the disk
}

// Put implements [tree.Store].
//
// A file that already has these bytes stays as it is. Put makes no new version then, and everything that the file has
// beside its content stays too. The condition decides all the same. Put knows that the content is the same by a tag
// that was known, or hashed, before the transaction, and by a look inside the transaction that finds the version with
// that tag. So Put hashes nothing under the lock.
func (s *Store) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (tree.State, bool, error) {
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
	return u.putRespelled(ctx, cond)
}

// putStaged is Put with a body that has arrived.
func (s *Store) putStaged(
	ctx context.Context, name string, body resumable.Body, opts tree.PutOptions, cond tree.Condition,
) (tree.State, bool, error) {
	u := &upload{
		s: s, name: name, opts: opts, staged: body.Staged, size: body.Size, synced: true, sums: body.Sums,
		tag: body.Sums.Tag(),
	}
	defer u.forget()
	return u.putRespelled(ctx, cond)
}

// putRespelled gives the body the name, or the spelling of it that exists by now.
func (u *upload) putRespelled(ctx context.Context, cond tree.Condition) (tree.State, bool, error) {
	for again := maxRespelled; ; again-- {
		state, created, err := u.put(ctx, cond)
		respelled := new(tree.RespelledError)
		if again == 0 || u.opts.Respelled == nil || !errors.As(err, &respelled) ||
			path.Dir(u.name) != path.Dir(respelled.Name) {
			return state, created, err
		}
		// The body has arrived, and is for the other spelling of the name, in the collection for which it was staged.
		if cond, err = u.opts.Respelled(respelled.Name); err != nil {
			return tree.State{}, false, err
		}
		u.forget()
		u.name, u.unlike = respelled.Name, false
	}
}

// maxRespelled bounds how often a name may get another spelling during one Put.
const maxRespelled = 3

// put gives the body the name.
func (u *upload) put(ctx context.Context, cond tree.Condition) (state tree.State, created bool, err error) {
	prepare := func(alone bool) error { return u.prepare(ctx, alone) }
	err = u.s.update(ctx, scopeOf(cond, false, u.name), prepare, func(t *transaction) error {
		t.staged = u.staged
		over, err := t.target(u.name)
		switch {
		case err != nil:
			return err
		case over.Kind == vfs.Directory:
			return tree.ErrIsCollection
		case over.Kind == vfs.Link:
			return vfs.ErrLink
		}
		created = !over.Exists()
		if err := t.ask(cond); err != nil {
			return err
		}
		if u.same != (vfs.Fingerprint{}) {
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
	need := room.Need{Name: u.name, Client: tree.ClientOf(ctx), Length: opts.Length,
		Ask: func() error { return s.Try(ctx, cond) }}
	u.staged, err = s.fs.StageFor(ctx, need)
	if volumes.IsFull(err) && opts.Length >= 0 && opts.Length <= atHand {
		// A small body is read before the history gives way to it, so that the body cannot break off after that.
		if body, need.Arrived, err = takeInHand(body, opts.Length); err != nil {
			return err
		}
		u.staged, err = s.fs.StageFor(ctx, need)
	}
	if err != nil {
		return failure.OfStaging(err)
	}
	body, kept := s.contents.KeepWhileReading(u.staged, body, opts.Length)
	sums := tree.NewHasher(opts.Hashes...)
	u.size, err = hashing.ReceiveBody(ctx, io.MultiWriter(u.staged, sums), body, opts.Length)
	if err != nil {
		return failure.Of(err)
	}
	u.sums, u.kept = sums.Sums(), kept()
	u.tag = u.sums.Tag()
	if opts.Verify != nil {
		if err := opts.Verify(u.sums); err != nil {
			return err
		}
	}
	if opts.Modified, err = u.staged.TrySetModified(opts.Modified); err != nil {
		return failure.OfStaging(err)
	}
	return nil
}

// prepare finds out whether the file already has these bytes. If not, it gives the staged file the traits that it
// inherits, and syncs it.
func (u *upload) prepare(ctx context.Context, alone bool) error {
	u.forget()
	p, err := u.s.fs.Resolve(u.name)
	if err != nil {
		p, err = volumes.Place{}, nil // the transaction decides whether that is an error
	} else {
		defer p.Close()
		err = u.inherit(ctx, p, alone)
	}
	if err != nil || u.same != (vfs.Fingerprint{}) {
		return err
	}
	traits := u.traits
	if properties := u.describe(traits.Properties()); properties != nil {
		traits = traits.WithProperties(properties)
	}
	if err := u.staged.Annotate(fs.Meta{Modified: u.opts.Modified, Traits: traits}); err != nil {
		return failure.OfStaging(err)
	}
	if alone && u.size > copyAlone && !u.synced {
		return errStale // all other writers would wait for the disk
	}
	if err := u.staged.Sync(); err != nil {
		return failure.OfStaging(err)
	}
	u.synced = true
	u.version().lease()
	return nil
}

// version returns the version that was staged.
func (u *upload) version() newVersion {
	return newVersion{staged: u.staged, kind: vfs.Regular, tag: u.tag, body: u.kept, cause: "PUT",
		modified: u.opts.Modified}
}

// inherit looks at a place, and finds out which traits a new file inherits there: those of the file that it replaces,
// or else those of the collection in which it is made.
func (u *upload) inherit(ctx context.Context, p volumes.Place, alone bool) error {
	over, err := p.Lstat() // the transaction looks again
	if err == nil && !u.unlike {
		u.same = u.s.isThere(ctx, u.name, over, u.tag, u.size, alone)
	}
	if u.same != (vfs.Fingerprint{}) && u.opts.Describe != nil {
		if has, err := p.Attributes(); err != nil || u.describe(has) != nil {
			u.same = vfs.Fingerprint{}
		}
	}
	if u.same != (vfs.Fingerprint{}) {
		return nil
	}
	if err == nil && over.Kind == vfs.Regular {
		u.over = over
		u.opened, u.traits, err = metadata.Open(p)
	} else if err == nil && over.Exists() {
		return nil // a new file inherits nothing from this resource, and the transaction refuses it
	} else {
		u.traits, u.dir, err = metadata.OfNew(p)
	}
	if errors.Is(failure.Of(err), tree.ErrNotExist) || errors.Is(err, vfs.ErrLink) {
		err = nil // the transaction decides whether that is an error, as above
	}
	return err
}

// describe returns the properties that the file gets with the body, as they are kept with it. Nil: those that it has,
// since they are the same, or since there is no room for others.
func (u *upload) describe(has []byte) []byte {
	if u.opts.Describe == nil || !u.staged.Abilities().Attributes {
		return nil
	}
	properties, err := u.s.decodeProperties(u.name, has)
	if err != nil {
		return nil
	}
	before, _ := encodeProperties(properties)
	now, err := encodeProperties(u.opts.Described(properties, u.sums.Tag()))
	if err != nil || len(now) > maxInAttribute || bytes.Equal(now, before) {
		return nil
	}
	return now
}

// forget releases the results of prepare.
func (u *upload) forget() {
	if u.opened != nil {
		u.opened.Close()
	}
	u.over, u.dir, u.traits, u.opened, u.same = vfs.Info{}, vfs.Info{}, metadata.Traits{}, nil, vfs.Fingerprint{}
}

// stillInherits fails with errStale if the inherited traits are not those that a new file would inherit now. The look
// at the file shows whether the traits can have changed. Nearly always they cannot have changed.
func (u *upload) stillInherits(t *transaction, over vfs.Info) error {
	if over.Kind == vfs.Nothing && u.over.Kind == vfs.Nothing {
		return t.isIn(u.name, u.dir)
	}
	able := u.s.fs.AbilitiesOf(over)
	if able.FineTimes && !able.Exclusive && over.SameFile(u.over) && over.Changed == u.over.Changed {
		return nil
	}
	if over.Kind != u.over.Kind {
		return errStale
	}
	f, now, err := metadata.Open(t.at(u.name))
	if f != nil {
		f.Close()
	}
	if errors.Is(failure.Of(err), tree.ErrNotExist) || err == nil && !now.Equal(u.traits) {
		err = errStale
	}
	return err
}

// commit gives the staged file its name.
func (u *upload) commit(t *transaction, over vfs.Info) (tree.State, error) {
	if err := u.stillInherits(t, over); err != nil {
		return tree.State{}, err
	}
	n := u.version()
	if over.SameFile(u.over) && t.exact {
		n.opened, u.opened = u.opened, nil
	}
	info, err := t.commit(u.name, over, n)
	if err != nil {
		return tree.State{}, err
	}
	u.s.hasher.KeepSums(info, u.sums)
	return u.s.stateOf(u.name, info, n.tag, shownFor(u.opts.Modified)), nil
}

// leave leaves a file as it is if the file already has these bytes. It fails with errStale if the file does not have
// them any more.
func (u *upload) leave(t *transaction, over vfs.Info) (tree.State, error) {
	if over.Kind != vfs.Regular || over.Fingerprint != u.same {
		return tree.State{}, errStale
	}
	if err := t.names(u.name); err != nil {
		return tree.State{}, err
	}
	if len(t.lacks) > 0 {
		return tree.State{}, errWider
	}
	tag, modified := u.tag, u.opts.Modified
	if !modified.IsZero() {
		change := u.s.change(u.name, over, index.AsIs, nil)
		err := t.tell(telling{cause: "PUT", name: u.name, over: over, kind: vfs.Regular, old: tag, tag: tag})
		if err != nil {
			return tree.State{}, err
		}
		if over, err = t.touch(u.name, over, modified, index.RecordOf(tag), change); err != nil {
			u.unlike = true // a new version can get the time, because the server owns it
			return tree.State{}, errStale
		}
		t.feed.Made(u.name, over, false)
	}
	u.s.hasher.KeepSums(over, u.sums)
	// A local program may have written the file and never synced it.
	return u.s.stateOf(u.name, over, tag, shownFor(modified)), t.file(u.name)
}

// atHand is the size, in bytes, up to which a body is held in memory if the disk is full.
const atHand = 64 << 10

// takeInHand reads a body of an announced length. It reports whether all of the body has arrived. A body of another
// length is refused when it is staged.
func takeInHand(body io.Reader, length int64) (io.Reader, bool, error) {
	data := make([]byte, length)
	n, err := io.ReadFull(body, data)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, false, &tree.BodyError{Err: err}
	}
	return io.MultiReader(bytes.NewReader(data[:n]), body), err == nil, nil
}
