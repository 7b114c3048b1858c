package fs

import (
	"path"
)

// A place is what is ours on one file system, since nothing is renamed from one to another: what is staged there, and the
// history of what gave way there. It is in a state directory of its own, at the top of what is served of that file system:
//
//	.ifmatch/stage      see aliveName
//	.ifmatch/history    see history
//	.ifmatch/trash      what is to be deleted
type place struct {
	*FS
	at string // where that is below the root

	session   string // our part of the staging directory
	staged    Info   // what the system gives to what is staged
	abilities Abilities
	history   history
}

func (s *FS) newPlace(at string) *place { return &place{FS: s, at: at} }

// places returns all that are known.
func (s *FS) places() []*place { return []*place{s.root} }

// The parts of a state directory.
const (
	stagePart   = "stage"
	historyPart = "history"
	trashPart   = "trash"
)

// in returns the name of a part of the state directory.
func (p *place) in(part string) string { return path.Join(p.at, stateDir, part) }

// openSession makes our part of the staging directory, and the others that a commit needs.
func (p *place) openSession() error {
	for _, part := range []string{stagePart, historyPart, trashPart} {
		if err := p.makeDir(p.in(part)); err != nil {
			return err
		}
	}
	session := path.Join(p.in(stagePart), p.id)
	if err := p.calls.mkdir(session); err != nil {
		return err
	}
	p.session = session
	return p.plain(session)
}
