package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pkg/xattr"
)

// A place is what is ours on one file system, since nothing is renamed from one to another: what is staged there, and the
// history of what gave way there. It is in a state directory of its own, at the top of what is served of that file system:
//
//	.ifmatch/stage      see aliveName
//	.ifmatch/history    see history
//	.ifmatch/trash      what is to be deleted
//	.ifmatch/properties see besidePart
//
// That of the root is there from the start, and has the one lock. Others are made with the first commit on a file system
// that is mounted below the root, or in a subvolume that is. What they note of names is relative to where they are, so that
// it is true wherever that is mounted next. Nothing in them is kept open, so that it can be unmounted: a session in one
// lives as long as its maker's session at the root.
type place struct {
	*FS
	at     string // where that is below the root
	volume volume

	session string // our part of the staging directory
	history history
	left    left
	fresh   fresh
	aways   aways
	trash   trash

	lastVersions lastVersions

	lookedAfter atomic.Bool     // what dead processes have left in the history was seen to
	buried      map[string]bool // the sessions of these that are still there; see Recover

	opening   sync.Mutex
	opened    atomic.Bool // the rest is set, and there is a session
	staged    Info        // what the system gives to what is staged
	abilities Abilities

	aliases atomic.Bool // its state directory was seen by another name; see probeAliases
}

// A volume is what a rename does not lead out of. A subvolume of Btrfs has a number of its own, and is no mount; two mounts
// of one file system have the same.
type volume struct{ mount, device uint64 }

func volumeOf(i Info) volume { return volume{i.Mount, i.Device} }

func (s *FS) newPlace(at string, v volume) *place {
	session := path.Join(at, stateDir, stagePart, s.id)
	return &place{FS: s, at: at, volume: v, session: session, trash: trash{turn: make(chan struct{}, 1)}}
}

// The parts of a state directory.
const (
	stagePart   = "stage"
	historyPart = "history"
	trashPart   = "trash"
	formatPart  = "format"
)

// in returns the name of a part of the state directory.
func (p *place) in(part string) string { return path.Join(p.at, stateDir, part) }

// relative returns a name as it is noted in a place, and absolute what such a name is in the tree.
func (p *place) relative(name string) string {
	if p.at == "." {
		return name
	}
	return strings.TrimPrefix(name, p.at+"/")
}

func (p *place) absolute(name string) string {
	if p.at == "." || name == "" {
		return name
	}
	return p.at + "/" + name
}

// places returns all that are known.
func (s *FS) places() []*place {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*place{s.root}, s.nested...)
}

// placeIn returns the place for what is in a directory. Where that is none, whoever goes on finds that out.
func (s *FS) placeIn(dir string) (*place, error) {
	if dir == "." {
		return s.root, nil
	}
	info, err := s.calls.Lstat(dir)
	if err != nil || info.Kind != Directory || volumeOf(info) == s.root.volume {
		return s.root, nil
	}
	p := s.nestedPlace(dir, volumeOf(info))
	if p == nil {
		if p, err = s.findPlace(dir, volumeOf(info)); err != nil {
			return nil, err
		}
	}
	return p, p.open()
}

// Fits reports whether what is staged is where it can be given a name by a rename, as far as file systems go.
func (st *Staged) Fits(name string) bool {
	p, err := st.place.placeIn(path.Dir(local(name)))
	return err == nil && p == st.place
}

// Together reports whether both names are on one file system, so that a copy gets no further than a rename.
func (s *FS) Together(name, other string) bool {
	p, err := s.placeIn(path.Dir(local(name)))
	if err != nil {
		return false
	}
	q, err := s.placeIn(path.Dir(local(other)))
	return err == nil && p == q
}

// placeOf returns the place for what has just been seen at a name. What is full can have something removed before anything
// can be staged there, if others have made the state directory.
func (s *FS) placeOf(name string, seen Info) (*place, error) {
	if volumeOf(seen) == s.root.volume {
		return s.root, nil
	}
	// It may be the top of another file system itself; and an overlay has files with the numbers of what lies below.
	p, err := s.placeIn(path.Dir(name))
	if IsFull(err) {
		if _, missing := s.calls.Lstat(p.in(trashPart)); missing == nil {
			err = nil
		}
	}
	return p, err
}

// able returns what the file system can do, as far as that was tried.
func (p *place) able() Abilities {
	if !p.opened.Load() {
		return Abilities{}
	}
	return p.abilities
}

// isIn reports whether a name is that of a directory, or of something in it.
func isIn(name, dir string) bool {
	return name == dir || dir == "." || strings.HasPrefix(name, dir+"/")
}

// open makes ready to commit in a place. It says why that cannot be.
func (p *place) open() error {
	if p.opened.Load() {
		return nil
	}
	p.opening.Lock()
	defer p.opening.Unlock()
	if p.opened.Load() {
		return nil
	}
	err := p.remember() // before there is anything to recover
	if IsFull(err) {
		err = nil // that is the disk of the root, and mounts are found without
	}
	if err == nil {
		err = p.makeDir(path.Join(p.at, stateDir))
	}
	private := true
	if err == nil {
		private, err = p.checkState()
	}
	if err == nil {
		err = p.openSession()
	}
	if err != nil {
		return fmt.Errorf("making what a file system needs that is mounted in the tree: %w", err)
	}
	p.abilities.Shared = !private
	p.opened.Store(true)
	if p.opts.Met != nil {
		p.opts.Met(p.at, p.abilities)
	}
	return nil
}

// openSession makes our part of the staging directory, and the others that a commit needs, and tries what the file system
// can do.
func (p *place) openSession() error {
	formatted, err := p.checkFormat()
	if err != nil {
		return err
	}
	for _, part := range []string{stagePart, historyPart, trashPart} {
		if err := p.makeDir(p.in(part)); err != nil {
			return err
		}
	}
	if err := p.makeDir(p.session); err != nil {
		return err
	}
	if err := p.plain(p.session); err != nil {
		return err
	}
	if !formatted {
		if err := p.writeFormat(); err != nil {
			return err
		}
	}
	if p.staged, err = p.openAlive(); err != nil {
		return err
	}
	p.abilities, err = p.probe()
	return err
}

// checkFormat reports whether there is a state directory that we know how to read.
func (p *place) checkFormat() (bool, error) {
	found, err := p.readFile(p.in(formatPart))
	if errors.Is(err, iofs.ErrNotExist) {
		return false, nil
	}
	if err == nil && string(found) != stateFormat {
		err = fmt.Errorf("%s has format %q, and this program knows %q: a newer ifmatch has served this directory; use that one",
			path.Join(p.at, stateDir), strings.TrimSpace(string(found)), strings.TrimSpace(stateFormat))
	}
	return true, err
}

// writeFormat writes what others that do the same write too.
func (p *place) writeFormat() error {
	staged := p.unique(p.session, newPrefix)
	if err := p.writeFile(staged, []byte(stateFormat)); err != nil {
		return err
	}
	return p.calls.Rename(staged, p.in(formatPart))
}

// openAlive makes the file that says that a process lives, and returns a look at it. At the root it does as long as it is
// locked; see [place].
func (p *place) openAlive() (Info, error) {
	f, err := p.openHeld(p.session + "/" + aliveName)
	if err != nil {
		return Info{}, err
	}
	info, err := f.Stat()
	if err == nil && p == p.root {
		p.alive = f
		if err = f.TryFlock(); errors.Is(err, errors.ErrUnsupported) {
			err = nil
		}
		return info, err
	}
	return info, errors.Join(err, f.Close())
}

// IsAtStaged reports whether an error is of a call about what is staged, and not about what that is made of.
func IsAtStaged(err error) bool {
	return slices.Contains(strings.Split(nameInError(err), "/"), stateDir)
}

// nameInError returns the name of what a call has failed at.
func nameInError(err error) string {
	var one *iofs.PathError
	var two *os.LinkError
	var attr *xattr.Error
	switch {
	case errors.As(err, &one):
		return one.Path
	case errors.As(err, &two):
		return two.New
	case errors.As(err, &attr):
		return attr.Path
	}
	return ""
}

// placeOfError returns the place of what a call has failed at.
func (s *FS) placeOfError(err error) *place {
	name := nameInError(err)
	best := s.root
	for _, p := range s.places()[1:] {
		if isIn(name, p.at) && isIn(p.at, best.at) {
			best = p
		}
	}
	return best
}
