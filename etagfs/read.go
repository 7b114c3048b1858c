package etagfs

import (
	"context"
	"errors"
	iofs "io/fs"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/content"
	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Stat implements [tree.Store].
func (s *Store) Stat(ctx context.Context, name string, opts tree.ReadOptions) (tree.State, error) {
	info, err := s.reader.Look(ctx, name, opts.Follow)
	if err != nil {
		return tree.State{}, failure.Of(err)
	}
	state, err := s.describe(ctx, name, info, opts)
	return state, failure.Of(err)
}

// lookIf looks at a name for an answer, and asks a condition about that look.
func (s *Store) lookIf(
	ctx context.Context, name string, follow tree.Follow, cond tree.Condition,
) (info vfs.Info, err error) {
	if cond.Check == nil {
		return s.reader.Look(ctx, name, follow)
	}
	err = s.try(ctx, func(v *view) (err error) {
		v.follow = follow
		info, err = v.Lstat(name)
		if err == nil && info.Kind == vfs.Link || errors.Is(err, vfs.ErrLink) {
			info, err = v.stat(name)
		}
		if err != nil {
			return failure.Of(err)
		}
		return v.ask(cond)
	})
	return info, err
}

// describe makes the state that a client sees from a look.
func (s *Store) describe(ctx context.Context, name string, info vfs.Info, opts tree.ReadOptions) (tree.State, error) {
	tag, _ := s.knownContent(info, opts.Want)
	state, err := s.describeTagged(ctx, name, info, tag, opts)
	if err != nil {
		return tree.State{}, err
	}
	if opts.Want&tree.WantProperties != 0 {
		stored, err := s.attributes(ctx, name, opts.Follow, info)
		if err == nil {
			state.Properties, err = s.decodeProperties(name, stored)
		}
		if err != nil && !errors.Is(err, iofs.ErrPermission) { // the answer still has all other values
			return tree.State{}, err
		}
	}
	if opts.Want&tree.WantLocks != 0 {
		err = s.reader.Read(ctx, func(at *volumes.Snapshot) (err error) {
			state.Locks, err = s.viewAt(at).Covering(name)
			return err
		})
	}
	return state, err
}

// attributesOf returns the stored properties of an open file that an earlier look has found. If the file has none, the
// index remembers this for the version, provided that a new attribute changes the change time on this file system. A
// file system may change that time first, and set the attribute after it. So the version must have been left alone for
// a while.
func (s *Store) attributesOf(f *vfs.File, look vfs.Info) ([]byte, error) {
	if s.index.Plain(look.Fingerprint) {
		return nil, nil
	}
	data, err := f.GetAttr(volumes.PropertiesAttr)
	if err == nil && data == nil && s.fs.AbilitiesOf(look).AttributeTimes && s.hasher.UntilSettled(look) <= 0 {
		s.index.SetPlain(look.Fingerprint)
	}
	return data, err
}

// describeTagged makes the state of a content, after the tag of the version was looked up. It hashes the file if the
// answer wants the tag. The tag is left out if the file keeps changing, or if the hash takes longer than the answer may
// wait. In the latter case, the file is hashed later, before the files that no request has asked for.
func (s *Store) describeTagged(
	ctx context.Context, name string, info vfs.Info, tag tree.ETag, opts tree.ReadOptions,
) (tree.State, error) {
	if tag == "" && info.Kind == vfs.Regular && opts.Want&tree.WantTag != 0 {
		patience, cancel := tree.Patience(ctx, opts.TagDeadline)
		defer cancel()
		if found, hashed, err := s.hasher.Hash(patience, name, hashing.ForAnswer); err == nil {
			info, tag = found, hashed
		} else if err = s.goWithout(ctx, name, false, err); err != nil {
			return tree.State{}, err
		}
	}
	state := s.stateOfEarlier(ctx, name, info, tag, index.AsIs)
	var err error
	if opts.Want&tree.WantSums != 0 {
		patience, cancel := tree.Patience(ctx, opts.TagDeadline)
		defer cancel()
		state.Sums, err = s.hasher.SumsOf(patience, name, info, tag)
		err = s.goWithout(ctx, name, true, err)
	}
	return state, err
}

// knownContent returns the tag of a version if it is known, and reports whether that is enough for the answer.
func (s *Store) knownContent(info vfs.Info, want tree.Want) (tag tree.ETag, enough bool) {
	if info.Kind != vfs.Regular {
		return "", true
	}
	tag, ok := s.index.Tag(info.Fingerprint) // even if it is not wanted, because the tag tells dates apart
	return tag, ok || want&tree.WantTag == 0 // other values are computed from a known tag
}

// goWithout drops an error that says only that a wanted value could not be found in time, or not at all by this
// process: a file that the process may not read can still be described.
func (s *Store) goWithout(ctx context.Context, name string, sums bool, err error) error {
	if errors.Is(err, tree.ErrBusy) || errors.Is(err, iofs.ErrPermission) || errors.As(err, new(*limit.Error)) {
		return nil
	}
	switch {
	case ctx.Err() != nil:
		return err
	case errors.Is(err, context.DeadlineExceeded):
		s.warmer.Ask(name, sums)
		return nil
	case errors.Is(err, context.Canceled):
		return nil // see tree.HashContext: perhaps no request is waiting any more
	}
	return err
}

// Open implements [tree.Store].
func (s *Store) Open(
	ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (content tree.Content, state tree.State, err error) {
	for range hashing.ForCheck.Rounds {
		if content, state, err = s.openContent(ctx, name, opts, cond); !errors.Is(err, volumes.ErrMoved) {
			break
		}
	}
	return content, state, err
}

// openContent is [Store.Open] of the file that has the name now. ErrMoved says that it is not known whether the file
// still had the name when it was opened.
func (s *Store) openContent(
	ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (tree.Content, tree.State, error) {
	var small tree.Bytes
	var smallState tree.State
	f, info, err := s.reader.OpenIf(ctx, name, opts.Follow,
		func(at *volumes.Snapshot, look vfs.Info) (enough bool, err error) {
			d := decision{s: s, at: at, name: name, look: look, opts: opts, cond: cond}
			enough, err = d.take()
			small, smallState = d.content, d.state
			return enough, err
		})
	if err == errInMemory {
		return small, smallState, nil
	}
	if err == nil && f == nil {
		err = tree.ErrIsCollection
	}
	if err != nil {
		return nil, tree.State{}, failure.Of(err)
	}
	c, state, err := s.opened(ctx, name, f, info, opts)
	if err == nil && cond.Check != nil { // about the file as it was opened
		err = s.try(ctx, func(v *view) error { return askOpened(v, state, cond) })
	}
	if err != nil {
		f.Close()
		return nil, tree.State{}, failure.Of(err)
	}
	if opts.Want&tree.WantTag != 0 {
		if small, ok := c.InMemory(); ok {
			return small, state, f.Close()
		}
	}
	c.Begin()
	return c, state, nil
}

// A decision is about a look at a file that a client wants to read, in the snapshot in which the look was taken.
type decision struct {
	s    *Store
	at   *volumes.Snapshot
	name string
	look vfs.Info
	opts tree.ReadOptions
	cond tree.Condition

	// The content in memory, and the state of its version, with errInMemory.
	content tree.Bytes
	state   tree.State
}

// errInMemory says that a file need not be opened.
var errInMemory = errors.New("the content is in memory, or not asked for")

// take asks a condition about a look at a file before the file is opened, if all that the answer tells of the file is
// known, and the file may be read. If the condition refuses the file, the file is not opened. If the condition permits
// it, and the content of the version is in memory, take fails with errInMemory, and the file is not opened either.
// Otherwise the condition is asked again after the file is opened.
//
// take also reports whether that look is enough to open the file without another look. The look is enough if
// [content.File] reads all of the content before it sends any, and looks at the file in between. This is so for a small
// file whose tag is known. If the file was changed during each earlier try, it is looked at when it is opened, and is
// sent as it is. [tree.ReadOptions] say so with a deadline that has passed.
func (d *decision) take() (enough bool, err error) {
	s, look := d.s, d.look
	tag, known := s.index.Tag(look.Fingerprint)
	if !known || look.Kind != vfs.Regular || look.Device != s.root.Device {
		return false, nil
	}
	late := !d.opts.TagDeadline.IsZero() && !time.Now().Before(d.opts.TagDeadline)
	if d.opts.Want&tree.WantProperties == 0 || s.index.Plain(look.Fingerprint) {
		if err := d.ask(tag, !late); err != nil {
			return false, err
		}
	}
	return look.Size <= content.ChunkSize && !late, nil
}

// ask asks the condition about the look, and looks for the content in memory. What the mode alone does not permit is
// for the opening of the file to decide.
func (d *decision) ask(tag tree.ETag, maySend bool) error {
	s := d.s
	inMemory := false
	if d.cond.Check == nil && maySend {
		inMemory = d.find(tag)
	}
	if d.cond.Check == nil && !inMemory || !s.mayRead(d.look) {
		return nil
	}
	state, err := s.stateAt(d.at, d.name, d.look, tag, index.AsValidator)
	if err != nil {
		return err
	}
	d.state = s.dated(state, d.look)
	if d.cond.Check != nil {
		err = askOpened(s.viewAt(d.at), d.state, d.cond)
		if err == nil && maySend { // most conditions of a GET refuse: 304
			inMemory = d.find(tag)
		}
	}
	switch {
	case errors.Is(err, tree.ErrTagUnknown): // of another name
		return nil
	case err != nil:
		return err
	case inMemory:
		return errInMemory
	}
	return nil
}

// find looks for the content in memory. An answer that has none needs none.
func (d *decision) find(tag tree.ETag) (ok bool) {
	if d.opts.NoContent {
		return true
	}
	d.content, ok = d.s.contents.InMemory(d.look, tag)
	return ok
}

// mayRead reports whether the mode alone says that this process may read a file.
func (s *Store) mayRead(look vfs.Info) bool {
	return s.user == 0 || look.User.Known && int64(look.User.N) == int64(s.user) && look.Mode&0o400 != 0
}

// opened makes the content and the state that a client gets from an open file.
func (s *Store) opened(ctx context.Context, name string, f *vfs.File, info vfs.Info, opts tree.ReadOptions) (
	*content.File, tree.State, error,
) {
	tag, stamped := s.index.Tag(info.Fingerprint)
	if !stamped && opts.Want&tree.WantTag != 0 {
		patience, cancel := tree.Patience(ctx, opts.TagDeadline)
		defer cancel()
		var err error
		info, tag, err = s.hasher.HashFile(patience, f, info, hashing.ForAnswer)
		if errors.Is(err, volumes.ErrMoved) {
			return nil, tree.State{}, err
		}
		if err = s.goWithout(ctx, name, false, err); err != nil {
			return nil, tree.State{}, err
		}
		remembered, ok := s.index.Tag(info.Fingerprint)
		stamped = ok && remembered == tag
	}
	state := s.dated(s.stateOfEarlier(ctx, name, info, tag, index.AsValidator), info)
	if opts.Want&tree.WantProperties != 0 {
		if data, err := s.attributesOf(f, info); err == nil {
			state.Properties, _ = s.decodeProperties(name, data) // if that fails, the content is still sent
		}
	}
	return s.contents.Of(f, info, tag, stamped), state, nil
}

// askOpened asks a condition about a file as it was opened.
func askOpened(v *view, opened tree.State, cond tree.Condition) error {
	v.follow = cond.Follow
	return cond.Ask(openedView{v, opened})
}

// An openedView shows one name as it was opened, and all other names as they are now.
type openedView struct {
	*view
	opened tree.State
}

func (v openedView) State(name string) (tree.State, error) {
	if name == v.opened.Name {
		return v.opened, nil
	}
	return v.view.State(name)
}

// attributes returns the stored properties of the resource that a look has found at a name.
func (s *Store) attributes(
	ctx context.Context, name string, follow tree.Follow, look vfs.Info,
) (data []byte, err error) {
	if s.index.Plain(look.Fingerprint) {
		return nil, nil
	}
	if look.Kind == vfs.Regular {
		f, info, err := s.reader.OpenIf(ctx, name, follow, nil)
		if err != nil {
			return nil, err
		}
		if f != nil {
			defer f.Close()
			return s.attributesOf(f, info)
		}
	}
	err = s.reader.Read(ctx, func(at *volumes.Snapshot) (err error) {
		at.Follow = failure.OfFollow(follow)
		data, err = at.Attributes(name)
		return err
	})
	return data, err
}
