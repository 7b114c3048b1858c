package etagfs

import (
	"context"
	"errors"
	iofs "io/fs"
	"time"

	"ifmatch/etagfs/index"
	"ifmatch/fs"
	"ifmatch/limit"
	"ifmatch/tree"
)

// Stat implements [tree.Store].
func (s *Store) Stat(ctx context.Context, name string, opts tree.ReadOptions) (tree.State, error) {
	info, err := s.look(ctx, name)
	if err != nil {
		return tree.State{}, translate(err)
	}
	state, err := s.describe(ctx, name, info, opts)
	return state, translate(err)
}

// lookIf looks at a name for an answer, and asks a condition about that look.
func (s *Store) lookIf(ctx context.Context, name string, cond tree.Condition) (info fs.Info, err error) {
	if cond.Check == nil {
		return s.look(ctx, name)
	}
	err = s.try(ctx, func(v *view) (err error) {
		info, err = v.lstat(name)
		if err == nil && info.Kind == fs.Link || errors.Is(err, fs.ErrLink) {
			info, err = v.stat(name)
		}
		if err != nil {
			return translate(err)
		}
		return v.ask(cond)
	})
	return info, err
}

// describe makes of a look what a client sees of it.
func (s *Store) describe(ctx context.Context, name string, info fs.Info, opts tree.ReadOptions) (tree.State, error) {
	state, err := s.describeContent(ctx, name, info, opts)
	if err != nil {
		return tree.State{}, err
	}
	if opts.Want&tree.WantProperties != 0 {
		stored, err := s.attributes(ctx, name, info)
		if err == nil {
			state.Properties, err = s.decodeProperties(name, stored)
		}
		if err != nil && !errors.Is(err, iofs.ErrPermission) { // there is all the rest to tell
			return tree.State{}, err
		}
	}
	if opts.Want&tree.WantLocks != 0 {
		state.Locks, err = s.covering(ctx, name)
	}
	return state, err
}

// attributesOf returns what is kept with an open file that a look has found before. That there is nothing is remembered
// for this version where an attribute moves the time of change. A file system may move that first, and set the
// attribute after it; so the version must have been left alone for a while.
func (s *Store) attributesOf(f *fs.File, look fs.Info) ([]byte, error) {
	if s.index.Plain(look.Fingerprint) {
		return nil, nil
	}
	data, err := s.fs.AttributesOf(f)
	if err == nil && data == nil && s.fs.AbilitiesOf(look).AttributeTimes && s.untilSettled(look) <= 0 {
		s.index.SetPlain(look.Fingerprint)
	}
	return data, err
}

func (s *Store) describeContent(ctx context.Context, name string, info fs.Info, opts tree.ReadOptions) (tree.State, error) {
	tag, enough := s.knownContent(info, opts.Want)
	if !enough {
		var err error
		if info, tag, err = s.findTag(ctx, name, info, opts.TagDeadline); err != nil {
			return tree.State{}, err
		}
	}
	state := s.stateOfEarlier(name, info, tag, index.AsIs)
	var err error
	if opts.Want&tree.WantSums != 0 {
		patience, cancel := tree.Patience(ctx, opts.TagDeadline)
		defer cancel()
		state.Sums, err = s.sumsOf(patience, name, info, tag)
		err = s.goWithout(ctx, task{name: name, sums: true}, err)
	}
	return state, err
}

// knownContent returns the tag of a version, and whether that is all there is to find out.
func (s *Store) knownContent(info fs.Info, want tree.Want) (tag tree.ETag, enough bool) {
	if info.Kind != fs.Regular {
		return "", true
	}
	tag, ok := s.index.Tag(info.Fingerprint) // wanted or not: dates are told apart by it
	return tag, ok || want&tree.WantTag == 0 // what else is to be computed is computed of a known tag
}

// findTag hashes a file for an answer that can do without. What keeps changing is told without a tag, and so is what takes
// longer than the answer may wait; the latter is then hashed before all that nobody has asked for.
func (s *Store) findTag(ctx context.Context, name string, info fs.Info, deadline time.Time) (fs.Info, tree.ETag, error) {
	patience, cancel := tree.Patience(ctx, deadline)
	defer cancel()
	found, tag, err := s.hash(patience, name, forAnswer)
	if err != nil {
		return info, "", s.goWithout(ctx, task{name: name}, err)
	}
	return found, tag, nil
}

// goWithout takes back an error that only says that what was wanted could not be found in time, or not at all by us: what may
// not be read can be told of.
func (s *Store) goWithout(ctx context.Context, wanted task, err error) error {
	if errors.Is(err, tree.ErrBusy) || errors.Is(err, iofs.ErrPermission) || errors.As(err, new(*limit.Error)) {
		return nil
	}
	switch {
	case ctx.Err() != nil:
		return err
	case errors.Is(err, context.DeadlineExceeded):
		s.queue.ask(wanted)
		return nil
	case errors.Is(err, context.Canceled):
		return nil // see tree.HashContext: nobody may be waiting any more
	}
	return err
}

// Open implements [tree.Store].
func (s *Store) Open(
	ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (content tree.Content, state tree.State, err error) {
	for range forCheck.rounds {
		if content, state, err = s.openContent(ctx, name, opts, cond); !errors.Is(err, fs.ErrMoved) {
			break
		}
	}
	return content, state, err
}

// openContent is Open of the file that has the name now. ErrMoved says that it is not known whether it still had it then.
func (s *Store) openContent(
	ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (tree.Content, tree.State, error) {
	f, info, err := s.openIf(ctx, name, func(at *fs.Snapshot, look fs.Info) (enough bool, err error) {
		return s.decideOn(at, name, look, opts, cond)
	})
	if err == nil && f == nil {
		err = tree.ErrIsCollection
	}
	if err != nil {
		return nil, tree.State{}, translate(err)
	}
	content, state, err := s.opened(ctx, name, f, info, opts)
	if err == nil {
		err = s.askOf(ctx, state, cond)
	}
	if err != nil {
		f.Close()
		return nil, tree.State{}, translate(err)
	}
	content.letGo = s.reading.begin(content.info)
	return content, state, nil
}

// decideOn asks a condition on a look at a file before that is opened, if all is known of it that the answer tells, and the
// file may be read. What it refuses is not opened; what it does not refuse it is asked about again.
//
// It also reports whether that look is enough to open the file on: where [opened] reads all of the content before it sends
// any, and looks at the file in between. That is a small file, whose tag is known. Where others changed the file each time
// ([tree.ReadOptions] say so with a deadline that is over), it is looked at when it is opened, and sent as it is.
//
// The look was taken in the snapshot.
func (s *Store) decideOn(
	at *fs.Snapshot, name string, look fs.Info, opts tree.ReadOptions, cond tree.Condition,
) (enough bool, err error) {
	tag, known := s.index.Tag(look.Fingerprint)
	if !known || look.Kind != fs.Regular || look.Device != s.root.device {
		return false, nil
	}
	plain := opts.Want&tree.WantProperties == 0 || s.index.Plain(look.Fingerprint)
	if cond.Check != nil && plain && s.mayRead(look) {
		state, err := s.stateAt(at, name, look, tag, index.AsValidator)
		if err != nil {
			return false, err
		}
		err = cond.Ask(openedView{s.viewAt(at), s.dated(state, look)})
		if err != nil && !errors.Is(err, tree.ErrTagUnknown) {
			return false, err
		}
	}
	late := !opts.TagDeadline.IsZero() && !time.Now().Before(opts.TagDeadline)
	return look.Size <= chunkSize && !late, nil
}

// mayRead reports whether the mode alone says that this process may read a file.
func (s *Store) mayRead(look fs.Info) bool {
	return s.user == 0 || look.User.Known && int64(look.User.N) == int64(s.user) && look.Mode&0o400 != 0
}

// opened makes of a file what a client is sent of it.
func (s *Store) opened(ctx context.Context, name string, f *fs.File, info fs.Info, opts tree.ReadOptions) (*opened, tree.State, error) {
	tag, stamped := s.index.Tag(info.Fingerprint)
	if !stamped && opts.Want&tree.WantTag != 0 {
		patience, cancel := tree.Patience(ctx, opts.TagDeadline)
		defer cancel()
		var err error
		info, tag, err = s.hashFile(patience, f, info, forAnswer)
		if errors.Is(err, fs.ErrMoved) {
			return nil, tree.State{}, err
		}
		if err = s.goWithout(ctx, task{name: name}, err); err != nil {
			return nil, tree.State{}, err
		}
		remembered, ok := s.index.Tag(info.Fingerprint)
		stamped = ok && remembered == tag
	}
	state := s.dated(s.stateOfEarlier(name, info, tag, index.AsValidator), info)
	if opts.Want&tree.WantProperties != 0 {
		if data, err := s.attributesOf(f, info); err == nil {
			state.Properties, _ = s.decodeProperties(name, data) // an unreadable one is no reason to withhold the content
		}
	}
	return &opened{s: s, file: f, info: info, tag: tag, stamped: stamped}, state, nil
}

// askOf asks a condition about a file as it was opened.
func (s *Store) askOf(ctx context.Context, opened tree.State, cond tree.Condition) error {
	if cond.Check == nil {
		return nil
	}
	return s.try(ctx, func(v *view) error {
		return cond.Ask(openedView{v, opened})
	})
}

// An openedView shows one name as it was opened, and the rest as it is.
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
