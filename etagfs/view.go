package etagfs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/feed"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/etagfs/locktable"
	"r-seed-1f3a754f.example/ifmatch/etagfs/snapshots"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A view shows the disk to a Check. It looks at each name only once. Its caller is inside a commit, or reads a
// snapshot.
type view struct {
	s *Store
	// disk is the file system or the snapshot at which the view looks. isNow reports whether it is certain that no
	// other commit has changed a name since the first look.
	disk interface {
		Stat(name string) (vfs.Info, error)
		Lstat(name string) (vfs.Info, error)
	}
	isNow func() bool
	// commits reports whether the caller is inside a commit. The results of a reader's view must not be remembered for
	// commits, because commits go on during the read.
	commits bool
	onMade  func() // see [tree.Condition]
	// hold is the locks of the commit. lacks are those that it was found to lack.
	hold  *volumes.Hold
	lacks []*volumes.NotHeldError
	*hashes
	// missing are the names of files whose tags were asked for and are not known.
	missing []string
	// unscanned are the changes that must be looked for before the Check can be asked again.
	unscanned []feed.ScanKey
	hidden    func(name string) bool // names whose changes do not count
	// refused is the error that the Check returned.
	refused error
	locktable.View
	// exact says that a commit may replace only the version that the Check has seen.
	exact bool
	// looks are the looks taken so far, by name. All decisions about a name rest on one look, and the commit compares
	// the disk with that look.
	looks map[string]*look
	// resolved are the places of the names whose directories were resolved: one or two.
	resolved []resolved
	// changes is the name that is about to be changed. staged is the staged file that the name gets, if it is known.
	changes string
	staged  *fs.Staged
	// told are the versions of which the Check has seen a State with a tag.
	told []told
	// follow is asked about the links that are followed (nil: all are).
	follow tree.Follow
	// by is the user of the request.
	by tree.Principal
}

// A look is the result of a look at a name. It does not follow a link: the look at a link shows the link.
type look struct {
	vfs.Info
	err   error
	state *tree.State // what a Check has seen of it, with a tag, or nil
}

// A resolved name has the place of the name, in its directory.
type resolved struct {
	name, dir string
	at        volumes.Place
}

// newView returns the view of a commit.
func (s *Store) newView() *view {
	v := &view{s: s, disk: s.fs, isNow: always, commits: true, looks: map[string]*look{}}
	v.View = s.locks.View(v)
	return v
}

func always() bool { return true }

// viewAt returns the view of a reader.
func (s *Store) viewAt(at *volumes.Snapshot) *view {
	v := &view{s: s, looks: map[string]*look{}}
	v.readAt(at)
	return v
}

// readAt begins a view anew, as that of a reader.
func (v *view) readAt(at *volumes.Snapshot) {
	clear(v.looks)
	*v = view{s: v.s, disk: at, isNow: at.Valid, looks: v.looks, hashes: v.hashes, by: v.by}
	v.View = v.s.locks.View(v)
}

// IsNow implements [locktable.Looker].
func (v *view) IsNow() bool { return v.isNow() }

// Lstat looks at the name itself. It does not follow a link.
func (v *view) Lstat(name string) (vfs.Info, error) {
	l, ok := v.looks[name]
	if !ok {
		if err := v.IsHeld(name); err != nil {
			return vfs.Info{}, err
		}
		l = new(look)
		l.Info, l.err = v.lstat(name)
		if v.hold != nil && l.err == nil {
			l.err = v.hold.Found(name, l.Info)
		}
		l.err = v.lack(l.err)
		if !v.isNow() {
			l = &look{err: snapshots.ErrMoved}
		}
		v.looks[name] = l
	}
	return l.Info, l.err
}

// lstat looks at a name in the directory that was resolved for it, if there is one.
func (v *view) lstat(name string) (vfs.Info, error) {
	for _, r := range v.resolved {
		switch {
		case r.name == name:
			return r.at.Lstat()
		case r.dir == name && r.name != "":
			return r.at.Dir()
		}
	}
	return v.disk.Lstat(name)
}

// stat looks at the file or collection to which links lead from a name. A Check never sees names as of two instants. If
// names have changed since the first look, the Check gets an error, and the store asks it again.
func (v *view) stat(name string) (vfs.Info, error) {
	info, err := v.disk.Stat(name)
	err = v.lack(err)
	if !v.isNow() {
		return vfs.Info{}, snapshots.ErrMoved
	}
	if v.follow != nil {
		err = v.follow(info.At, failure.Of(err))
	}
	return info, err
}

// how returns how a commit may replace or remove the version that was found at a name.
func (v *view) how(cause, name string, found vfs.Info) fs.How {
	tag, _ := v.tag(name, found)
	return fs.How{Exact: v.exact, Doubtful: v.doubtful, Cause: cause, By: string(v.by), Tag: string(tag)}
}

// seen identifies a file as one look has found it. A fingerprint alone is not enough if the disk has no inodes.
type seen struct {
	name string
	as   vfs.Fingerprint
}

func (v *view) State(name string) (tree.State, error) {
	info, err := v.Lstat(name)
	l := v.looks[name]
	if l != nil && l.state != nil {
		v.told = append(v.told, told{name, info, l.state.Tag})
		return *l.state, nil
	}
	through := errors.Is(err, vfs.ErrLink)
	state, err := v.state(name, info, err)
	state.Through = through
	if l != nil && err == nil && state.Tag != "" && info.Kind == vfs.Regular {
		l.state = &state
	}
	return state, err
}

// state makes a State from a look at the name itself.
func (v *view) state(name string, info vfs.Info, err error) (tree.State, error) {
	link := err == nil && info.Kind == vfs.Link
	if link || errors.Is(err, vfs.ErrLink) {
		info, err = v.stat(name) // follow the link
	} else if err == nil && info.Kind == vfs.Special {
		err = volumes.ErrSpecial
	}
	if err = failure.Of(err); err != nil {
		switch {
		case link && volumes.IsDeadEnd(err):
			// A link can be moved and removed even if its target does not exist or cannot be shown.
			info, _ = v.Lstat(name)
			return tree.State{Name: name, Exists: true, Link: true, Dead: true, Modified: modified(info)}, nil
		case errors.Is(err, tree.ErrNotExist):
			return tree.State{Name: name}, nil
		}
		return tree.State{}, err
	}
	tag, ok := v.tag(name, info)
	if !ok && info.Kind == vfs.Regular {
		v.missing = append(v.missing, name)
	}
	state := v.s.dated(v.s.bareState(name, info, tag), info)
	if tag != "" {
		v.told = append(v.told, told{name, info, tag})
	}
	return state, nil
}

// A told is a version of which a Check has seen the tag.
type told struct {
	name string
	info vfs.Info
	tag  tree.ETag
}

// tag returns the tag of the file that a look has found, if the tag is known.
func (v *view) tag(name string, info vfs.Info) (tree.ETag, bool) {
	if info.Kind != vfs.Regular {
		return "", false
	}
	if tag, ok := v.s.index.Tag(info.Fingerprint); ok {
		return tag, true
	}
	if v.hashes == nil {
		return "", false // the view of a reader
	}
	tag, ok := v.tags[seen{name, info.Fingerprint}]
	return tag, ok
}

func (v *view) ask(cond tree.Condition) error {
	v.exact, v.told, v.follow, v.onMade = cond.Exact, nil, cond.Follow, cond.Made
	v.refused = cond.Ask(v)
	if v.refused != nil && !errors.Is(v.refused, tree.ErrTagUnknown) {
		if !v.isNow() {
			return snapshots.ErrMoved
		}
		// The refusal shows the client the versions that the Check has seen, so their dates are noted as shown. A look
		// alone notes nothing.
		for _, t := range v.told {
			v.s.dates.Show(t.name, v.s.versionOf(t.info, t.tag), index.AsValidator, v.isNow, v.s.around(t.name))
		}
	}
	return v.refused
}

// errAgain says that a local program created a name between the last look at it and the rename. The caller must look
// again.
var errAgain = errors.New("something appeared where nothing was")

// appeared turns ErrExist into errAgain if the last look, a moment ago, found nothing at the name.
func appeared(err error, over vfs.Kind) error {
	if over == vfs.Nothing && errors.Is(err, tree.ErrExist) {
		return errAgain
	}
	return err
}

// leave closes the directories that were resolved.
func (v *view) leave() {
	for _, r := range v.resolved {
		r.at.Close()
	}
}

// at returns the place of a name at which target or existing has looked.
func (v *view) at(name string) volumes.Place {
	for _, r := range v.resolved {
		if r.name == name {
			return r.at
		}
	}
	return volumes.Place{}
}

// resolve resolves the directory of a name that is about to be changed. The directory must exist, and no symbolic link
// may be on the path to it.
func (v *view) resolve(name string) error {
	if slices.ContainsFunc(v.resolved, func(r resolved) bool { return r.name == name }) {
		return nil
	}
	if !v.commits {
		return v.unresolved(name, nil) // a snapshot looks at all names as of one instant
	}
	parent, _ := tree.Split(name)
	if err := cmp.Or(v.IsHeld(parent), v.IsHeld(name)); err != nil {
		return err
	}
	p, err := v.s.fs.Resolve(name)
	if err != nil {
		return v.unresolved(name, err)
	}
	v.resolved = append(v.resolved, resolved{name, parent, p})
	return nil
}

// unresolved returns the reason why a name has no directory that can be used. If it finds no reason, it returns err,
// which may be nil.
func (v *view) unresolved(name string, err error) error {
	parent, _ := tree.Split(name)
	dir, failed := v.Lstat(parent)
	switch {
	case errors.Is(failed, volumes.ErrReserved):
		return failed
	case errors.Is(failure.Of(failed), tree.ErrNotExist), failed == nil && dir.Kind == vfs.Regular:
		return tree.ErrNoParent
	case errors.Is(failed, vfs.ErrLink), failed == nil && dir.Kind == vfs.Link:
		if _, err := v.disk.Stat(name); errors.Is(err, volumes.ErrReserved) {
			return fmt.Errorf("%w: %w", tree.ErrLink, err)
		}
		return vfs.ErrLink
	case failed != nil:
		return failed
	case dir.Kind == vfs.Special:
		return volumes.ErrSpecial
	}
	if errors.Is(failure.Of(err), tree.ErrNotExist) || errors.Is(err, vfs.ErrLink) {
		return errAgain // a local program has made the directory since
	}
	return err
}

// target looks at a name that is about to be changed. If nothing is there, it returns the zero Info. It does not follow
// a link.
func (v *view) target(name string) (vfs.Info, error) {
	v.changes = name
	if err := v.resolve(name); err != nil {
		return vfs.Info{}, err
	}
	info, err := v.Lstat(name)
	if errors.Is(failure.Of(err), tree.ErrNotExist) {
		return vfs.Info{}, nil
	}
	if err == nil && info.Kind == vfs.Special {
		err = volumes.ErrSpecial
	}
	return info, err
}

// existing is [view.target] for a name that must exist.
func (v *view) existing(name string) (vfs.Info, error) {
	info, err := v.target(name)
	if errors.Is(err, tree.ErrNoParent) || err == nil && !info.Exists() {
		err = tree.ErrNotExist
	}
	return info, err
}
