package etagfs

import (
	"context"
	"errors"
	"sync"
	"time"

	"ifmatch/fs"
	"ifmatch/tree"
)

// A view is what a Check sees. It looks at the disk anew each time; the caller holds mu.
type view struct {
	s *Store
	// hashed are the tags of what a Check of this call has asked for before, by what it was then. They are used at once
	// or never, so they need not be fit to be remembered.
	hashed map[seen]tree.ETag
	// missing are the names whose tag was asked for and not known.
	missing []string
	// refused is what the Check returned.
	refused error
}

// seen is a file as one look has found it. A fingerprint alone says too little where there are no inodes.
type seen struct {
	name string
	as   fs.Fingerprint
}

func (v *view) State(name string) (tree.State, error) {
	info, err := v.s.fs.Stat(name)
	if err = translate(err); err != nil {
		// A link can be moved and removed wherever it leads, and where it leads nowhere.
		if !fs.IsDeadEnd(err) {
			return tree.State{}, err
		}
		if link, failed := v.s.fs.Lstat(name); failed == nil && link.Kind == fs.Link {
			return tree.State{Name: name, Exists: true, Link: true, Dead: true, Modified: v.s.past(link.ModTime()).Truncate(time.Second)}, nil
		}
		if errors.Is(err, tree.ErrNotExist) {
			return tree.State{Name: name}, nil
		}
		return tree.State{}, err
	}
	tag, ok := v.s.index.get(info.Fingerprint)
	if !ok {
		tag, ok = v.hashed[seen{name, info.Fingerprint}]
	}
	if !ok && info.Kind == fs.Regular {
		v.missing = append(v.missing, name)
	}
	if tag == "" && info.Kind == fs.Regular {
		return v.s.stateToDecide(name, info), nil
	}
	return v.s.stateOf(name, info, tag), nil
}

func (v *view) Locks(name string) ([]tree.Lock, error) {
	return v.s.locks.that(func(l tree.Lock) bool { return l.Covers(name) || tree.Below(l.Root, name) })
}

func (v *view) ask(check tree.Check) error {
	if check == nil {
		return nil
	}
	v.refused = check(v)
	return v.refused
}

// errAgain says that a local program made a name between the last look at it and the rename: look again.
var errAgain = errors.New("something appeared where nothing was")

// appeared makes errAgain of the failure to create over what was not there a moment ago.
func appeared(err error, over fs.Kind) error {
	if over == fs.Nothing && errors.Is(err, tree.ErrExist) {
		return errAgain
	}
	return err
}

// checkRounds bounds how often a Check is asked again because it named a file whose tag was not known: once for each
// file it may name, and some for files that change meanwhile.
const checkRounds = 10

// withTags runs step until its Check knows the tags it asks for, and nothing came between.
func (s *Store) withTags(ctx context.Context, step func(v *view) error) error {
	hashed := map[seen]tree.ETag{}
	for range checkRounds {
		v := &view{s: s, hashed: hashed}
		err := step(v)
		if !errors.Is(err, tree.ErrTagUnknown) && !errors.Is(err, errAgain) {
			return err
		}
		for _, name := range v.missing {
			info, tag, err := s.hash(ctx, name, checkHashRounds)
			if err == nil {
				hashed[seen{name, info.Fingerprint}] = tag
			} else if !errors.Is(err, tree.ErrNotExist) {
				return err
			}
		}
	}
	return tree.ErrBusy
}

// Try implements [tree.Store].
func (s *Store) Try(ctx context.Context, check tree.Check) error {
	return s.withTags(ctx, func(v *view) error {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return v.ask(check)
	})
}

// commit runs step while nothing else changes names: not in this process, and not in another one that serves the same
// directory. The step looks, asks its Check, and then changes one thing, or fails and has changed nothing.
func (s *Store) commit(ctx context.Context, step func(v *view) error) error {
	return s.commitIn(ctx, s.turn.RLocker(), step)
}

// commitIn is commit in a turn that is shared with others, or nil for a caller that has the turn to itself.
func (s *Store) commitIn(ctx context.Context, turn sync.Locker, step func(v *view) error) error {
	if s.fs.ReadOnly() {
		return tree.ErrReadOnly
	}
	return s.withTags(ctx, func(v *view) error {
		if turn != nil {
			turn.Lock()
			defer turn.Unlock()
		}
		unlock, err := s.fs.Lock(ctx)
		if err != nil {
			return translate(err)
		}
		defer unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := step(v); err == nil || v.refused == nil {
			return translate(err)
		}
		return v.refused // as it is
	})
}

// target looks at a name that is about to be changed. Its collection must exist, and no link may be on the way.
func (s *Store) target(name string) (fs.Info, error) {
	parent, _ := tree.Split(name)
	dir, err := s.fs.Lstat(parent)
	switch {
	case errors.Is(err, fs.ErrReserved):
		return fs.Info{}, err
	case errors.Is(translate(err), tree.ErrNotExist), err == nil && dir.Kind == fs.Regular:
		return fs.Info{}, tree.ErrNoParent
	case err != nil:
		return fs.Info{}, err
	case dir.Kind == fs.Link:
		return fs.Info{}, fs.ErrLink
	case dir.Kind != fs.Directory:
		return fs.Info{}, fs.ErrSpecial
	}
	info, err := s.fs.Lstat(name)
	if errors.Is(translate(err), tree.ErrNotExist) {
		return fs.Info{}, nil
	}
	if err == nil && info.Kind == fs.Special {
		err = fs.ErrSpecial
	}
	return info, err
}
