package etagfs

import (
	"context"
	"errors"
	"maps"
	"time"

	"ifmatch/etagfs/index"
	"ifmatch/fs"
	"ifmatch/tree"
)

// A view is what a Check sees: the disk, at which it looks once. The caller is inside a commit, or looks at a snapshot.
type view struct {
	s *Store
	// disk is looked at. isNow reports whether no commit of another can have changed a name since the first look.
	disk interface {
		Stat(name string) (fs.Info, error)
		Lstat(name string) (fs.Info, error)
	}
	isNow func() bool
	// commits: the caller is inside a commit. What a reader's view finds out must not be remembered for commits, which go
	// on meanwhile.
	commits bool
	hashes
	// missing are the names whose tag was asked for and not known.
	missing []string
	// refused is what the Check returned.
	refused error
	// locksSeen: the file of locks was looked at. The rest is of lockview.go: what was found out about names, by the names.
	locksSeen bool
	places    map[string]place
	alike     map[[2]string]bool
	cased     map[[2]string]bool // a name, and in which segments one that differs there in case was another
	compared  int                // how often it took more than looks
	shortens  map[string]bool
	// any: the condition does not rest on which version is there.
	any bool
	// looks are those that were taken: all is decided on one, and the commit compares with that.
	looks map[string]look
	// resolved are the names whose directory was resolved, and dirs the directories of these.
	resolved, dirs map[string]fs.Place
	// changes is the name that is about to be changed, and staged what it gets, if that is known.
	changes string
	staged  *fs.Staged
	// told are the versions whose State the Check has seen, with their tag.
	told []told
	// by is the user for whom it is done.
	by tree.Principal
}

// hashes are the tags of what a Check of one call has asked for, by what it was then. They are used at once or never, so
// they need not be fit to be remembered.
type hashes struct {
	tags map[seen]tree.ETag
	// doubtful are those versions that a program had open for writing when they were hashed: the time of a change can be
	// seen before its bytes. Such a tag may refuse a write, and must not let one through once that program has gone.
	doubtful map[fs.Fingerprint]bool
}

// forget makes what was doubtful unknown again.
func (h hashes) forget() {
	maps.DeleteFunc(h.tags, func(s seen, _ tree.ETag) bool { return h.doubtful[s.as] })
	clear(h.doubtful)
}

// A look is what was found at a name, which is a link if it is one.
type look struct {
	fs.Info
	err error
}

// newView returns the view of a commit.
func (s *Store) newView() *view {
	return &view{s: s, disk: s.fs, isNow: always, commits: true, looks: map[string]look{}}
}

func always() bool { return true }

// viewAt returns the view of a reader.
func (s *Store) viewAt(at *fs.Snapshot) *view {
	return &view{s: s, disk: at, isNow: at.Valid, looks: map[string]look{}}
}

// lstat looks at the name itself.
func (v *view) lstat(name string) (fs.Info, error) {
	l, ok := v.looks[name]
	if !ok {
		if p, ok := v.resolved[name]; ok {
			l.Info, l.err = p.Lstat()
		} else if p, ok := v.dirs[name]; ok {
			l.Info, l.err = p.Dir()
		} else {
			l.Info, l.err = v.disk.Lstat(name)
		}
		if !v.isNow() {
			l = look{err: errMoved}
		}
		v.looks[name] = l
	}
	return l.Info, l.err
}

// exact reports whether only the version that the Check has seen may be replaced.
func (v *view) exact() bool { return !v.any }

// stat looks at what a name stands for. No Check sees names as of two instants: it gets an error before that, and is asked
// again.
func (v *view) stat(name string) (fs.Info, error) {
	info, err := v.disk.Stat(name)
	if !v.isNow() {
		return fs.Info{}, errMoved
	}
	return info, err
}

// how says how a commit may replace or remove what was found at a name.
func (v *view) how(cause, name string, found fs.Info) fs.How {
	tag, _ := v.tag(name, found)
	return fs.How{Exact: v.exact(), Doubtful: v.doubtful, Cause: cause, By: string(v.by), Tag: string(tag)}
}

// seen is a file as one look has found it. A fingerprint alone says too little where there are no inodes.
type seen struct {
	name string
	as   fs.Fingerprint
}

func (v *view) State(name string) (tree.State, error) {
	info, err := v.lstat(name)
	through := errors.Is(err, fs.ErrLink)
	state, err := v.state(name, info, err)
	state.Through = through
	return state, err
}

// state makes a State of a look at the name itself.
func (v *view) state(name string, info fs.Info, err error) (tree.State, error) {
	link := err == nil && info.Kind == fs.Link
	if link || errors.Is(err, fs.ErrLink) {
		info, err = v.stat(name) // what it leads to
	} else if err == nil && info.Kind == fs.Special {
		err = fs.ErrSpecial
	}
	if err = translate(err); err != nil {
		switch {
		case link && fs.IsDeadEnd(err):
			// A link can be moved and removed wherever it leads, and where it leads nowhere.
			info, _ = v.lstat(name)
			return tree.State{Name: name, Exists: true, Link: true, Dead: true, Modified: modified(info)}, nil
		case errors.Is(err, tree.ErrNotExist):
			return tree.State{Name: name}, nil
		}
		return tree.State{}, err
	}
	tag, ok := v.tag(name, info)
	if !ok && info.Kind == fs.Regular {
		v.missing = append(v.missing, name)
	}
	state := v.s.dated(v.s.bareState(name, info, tag), info)
	if tag != "" {
		v.told = append(v.told, told{name, info, tag})
	}
	return state, nil
}

// A told version is one that a Check was told of.
type told struct {
	name string
	info fs.Info
	tag  tree.ETag
}

// tag returns the tag of what a look has found, if it is known.
func (v *view) tag(name string, info fs.Info) (tree.ETag, bool) {
	if info.Kind != fs.Regular {
		return "", false
	}
	if tag, ok := v.s.index.Tag(info.Fingerprint); ok {
		return tag, true
	}
	tag, ok := v.tags[seen{name, info.Fingerprint}]
	return tag, ok
}

func (v *view) ask(cond tree.Condition) error {
	v.any = !cond.Exact
	v.told = nil
	v.refused = cond.Ask(v)
	if v.refused != nil && !errors.Is(v.refused, tree.ErrTagUnknown) {
		if !v.isNow() {
			return errMoved
		}
		// What a Check refuses with is shown. Looking alone notes nothing.
		for _, t := range v.told {
			v.s.dates.Show(t.name, v.s.versionOf(t.info, t.tag), index.AsValidator, v.isNow, v.s.around(t.name))
		}
	}
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

// checkRounds bounds how often a Check is asked again because it named a file whose tag was not known, or what it saw has
// changed before it could be replaced: once for each file it may name, and some for files that change meanwhile.
const checkRounds = 10

// A write that must not pass over a program that has the file open for writing comes back after these pauses: most have
// it open for an instant.
var writerPauses = []time.Duration{time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond}

// withTags runs step until its Check knows the tags it asks for, nothing came between, and the disk has room.
func (s *Store) withTags(ctx context.Context, step func(v *view) error) error {
	hashed := hashes{map[seen]tree.ETag{}, map[fs.Fingerprint]bool{}}
	pauses := writerPauses
	busy := error(tree.ErrBusy)
	for range checkRounds {
		v := s.newView()
		v.hashes, v.by = hashed, tree.PrincipalOf(ctx)
		err := step(v)
		v.leave()
		switch {
		case errors.Is(err, tree.ErrUnsure):
			return err
		case errors.Is(err, tree.ErrTagUnknown):
			if err := s.hashEach(ctx, v.missing, hashed); err != nil {
				return err
			}
		case errors.Is(err, errAgain):
		case errors.Is(err, fs.ErrMoved):
			hashed.forget()
		case errors.Is(err, errWriter) && len(pauses) > 0:
			select {
			case <-time.After(pauses[0]):
			case <-ctx.Done():
				return ctx.Err()
			}
			pauses = pauses[1:]
		case fs.IsFull(err) && v.refused == nil:
			if v.staged != nil && !v.staged.MakeRoom(ctx, err) || v.staged == nil && !s.fs.MakeRoom(ctx, err, v.changes) {
				return err
			}
			busy = err // what gives way frees nothing
		default:
			return err
		}
	}
	return busy
}

func (s *Store) hashEach(ctx context.Context, names []string, into hashes) error {
	for _, name := range names {
		info, tag, err := s.hash(ctx, name, alone)
		doubtful := errors.Is(err, errWriter)
		if doubtful {
			info, tag, err = s.hash(ctx, name, forCheck)
		}
		if err == nil {
			into.tags[seen{name, info.Fingerprint}] = tag
			if doubtful {
				into.doubtful[info.Fingerprint] = true
			}
		} else if !errors.Is(err, tree.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Try implements [tree.Store].
func (s *Store) Try(ctx context.Context, cond tree.Condition) error {
	return s.try(ctx, func(v *view) error { return v.ask(cond) })
}

func (s *Store) try(ctx context.Context, step func(v *view) error) error {
	return s.withTags(ctx, func(v *view) error {
		return s.read(ctx, func(at *fs.Snapshot) error {
			of := *v
			*v = *s.viewAt(at)
			v.hashes, v.by = of.hashes, of.by
			return step(v)
		})
	})
}

// leave lets go of the directories that were resolved.
func (v *view) leave() {
	for _, p := range v.resolved {
		p.Close()
	}
}

// at returns the place of a name that was looked at with target or existing.
func (v *view) at(name string) fs.Place { return v.resolved[name] }

// resolve resolves the directory of a name that is about to be changed. That must exist, and no link may be on the way.
func (v *view) resolve(name string) error {
	if _, ok := v.resolved[name]; ok {
		return nil
	}
	if _, reads := v.disk.(*fs.Snapshot); reads {
		return v.unresolved(name, nil) // all is looked at by names, as of one instant
	}
	p, err := v.s.fs.Resolve(name)
	if err != nil {
		return v.unresolved(name, err)
	}
	if v.resolved == nil {
		v.resolved, v.dirs = map[string]fs.Place{}, map[string]fs.Place{}
	}
	parent, _ := tree.Split(name)
	v.resolved[name] = p
	if name != "" {
		v.dirs[parent] = p
	}
	return nil
}

// unresolved says why there is no directory for a name, if there is none.
func (v *view) unresolved(name string, err error) error {
	parent, _ := tree.Split(name)
	dir, failed := v.lstat(parent)
	switch {
	case errors.Is(failed, fs.ErrReserved):
		return failed
	case errors.Is(translate(failed), tree.ErrNotExist), failed == nil && dir.Kind == fs.Regular:
		return tree.ErrNoParent
	case errors.Is(failed, fs.ErrLink), failed == nil && dir.Kind == fs.Link:
		if _, err := v.disk.Stat(name); errors.Is(err, fs.ErrReserved) {
			return err
		}
		return fs.ErrLink
	case failed != nil:
		return failed
	case dir.Kind == fs.Special:
		return fs.ErrSpecial
	}
	if errors.Is(translate(err), tree.ErrNotExist) || errors.Is(err, fs.ErrLink) {
		return errAgain // a local program has made it since
	}
	return err
}

// target looks at a name that is about to be changed; at nothing where nothing is there. A link is a link.
func (v *view) target(name string) (fs.Info, error) {
	v.changes = name
	if err := v.resolve(name); err != nil {
		return fs.Info{}, err
	}
	info, err := v.lstat(name)
	if errors.Is(translate(err), tree.ErrNotExist) {
		return fs.Info{}, nil
	}
	if err == nil && info.Kind == fs.Special {
		err = fs.ErrSpecial
	}
	return info, err
}

// existing is target of a name that must exist.
func (v *view) existing(name string) (fs.Info, error) {
	info, err := v.target(name)
	if errors.Is(err, tree.ErrNoParent) || err == nil && !info.Exists() {
		err = tree.ErrNotExist
	}
	return info, err
}
