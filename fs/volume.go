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

	"ifmatch/fs/vfs"
)

// A volume is the server's state on one file system: the versions that are staged there, and the history of the
// versions that were replaced there. Each file system has a volume of its own, since no rename leads from one file
// system to another. The state directory of a volume is at the top of the part of the file system that is served:
//
//	.ifmatch/stage      see aliveName
//	.ifmatch/history    see history
//	.ifmatch/trash      files and collections that are to be deleted
//	.ifmatch/properties see besidePart
//
// The volume of the root exists from the start, and has the lock files of all. The server makes another volume with the first
// commit on a file system that is mounted below the root, or in a subvolume below the root. Such a volume notes names
// relative to its own top, so that a note is still true if the file system is mounted elsewhere next time. The server
// keeps only staged files open there, so that the file system can be unmounted. So a session there has no locked file
// of its own. It lives as long as the session of the same process at the root.
type volume struct {
	*FS
	top    string // the path of its top from the root
	device mountDevice
	names  *sequence   // one for all places where the device is mounted
	lock   *commitLock // as names
	itself []*volume   // the volume alone, for lists that must not be changed

	stateAt      string   // its state directory
	session      string   // our session in the staging directory
	sessionDir   *vfs.Dir // the session, resolved (nil: not at the root)
	history      history
	undeleted    undeletedNames
	fresh        fresh
	pendingUndos pendingUndos
	trash        trash

	lastVersions lastVersions

	lookedAfter atomic.Bool     // the history entries that dead processes have left were recovered
	knownDead   map[string]bool // the sessions of dead processes that are still there, see Recover

	opening   sync.Mutex
	opened    atomic.Bool // staged and abilities are set, and there is a session
	staged    Info        // a look at its alive file: staged files get the same mode and device
	abilities Abilities

	hasAliases atomic.Bool // its state directory was seen by another name, see probeAliases
}

// A mountDevice identifies a volume as long as it is mounted. No rename leads from one mountDevice to another. A
// subvolume of Btrfs has a device number of its own, but is no mount. Two mounts of one file system have the same
// device number.
type mountDevice struct{ mount, device uint64 }

func deviceOf(i Info) mountDevice { return mountDevice{i.Mount, i.Device} }

func (s *FS) newVolume(at string, device mountDevice) *volume {
	session := path.Join(at, stateDir, stagePart, s.id)
	v := &volume{
		FS: s, top: at, device: device, names: &sequence{}, lock: s.lockFor(device.device),
		stateAt: path.Join(at, stateDir), session: session, trash: trash{turn: make(chan struct{}, 1)},
	}
	v.itself = []*volume{v}
	return v
}

// The parts of a state directory.
const (
	stagePart   = "stage"
	historyPart = "history"
	trashPart   = "trash"
	formatPart  = "format"
)

// statePath returns the name of a part of the state directory.
func (v *volume) statePath(part string) string {
	if v.top == "." && part != "" {
		return stateDir + "/" + part
	}
	return path.Join(v.top, stateDir, part)
}

// relative returns a name relative to the top of the volume, as a volume notes it. absolute does the reverse.
func (v *volume) relative(name string) string {
	if v.top == "." {
		return name
	}
	return strings.TrimPrefix(name, v.top+"/")
}

func (v *volume) absolute(name string) string {
	if v.top == "." || name == "" {
		return name
	}
	return v.top + "/" + name
}

// volumes returns all known volumes, the volume of the root first.
func (s *FS) volumes() []*volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*volume{s.root}, s.mounted...)
}

// volumeFor returns the volume that holds the members of a directory. If dir is not a directory, it returns the volume
// of the root, and the caller's next operation reports the error.
func (s *FS) volumeFor(dir string) (*volume, error) {
	if dir == "." {
		return s.root, nil
	}
	info, err := s.calls.Lstat(dir)
	if err != nil || info.Kind != Directory || deviceOf(info) == s.root.device {
		return s.root, nil
	}
	v := s.knownVolume(dir, deviceOf(info))
	if v == nil {
		if v, err = s.findVolume(dir, deviceOf(info)); err != nil {
			return nil, err
		}
	}
	return v, v.prepare()
}

// Fits reports whether the staged version is on the same file system as a name, so that a rename can give it the name.
// It checks nothing else.
func (st *Staged) Fits(name string) bool {
	v, err := st.volume.volumeFor(path.Dir(local(name)))
	return err == nil && v == st.volume
}

// Together reports whether both names are on one file system. If so, a copy reaches no further than a rename.
func (s *FS) Together(name, other string) bool {
	v, err := s.volumeFor(path.Dir(local(name)))
	if err != nil {
		return false
	}
	w, err := s.volumeFor(path.Dir(local(other)))
	return err == nil && v == w
}

// AreApart reports whether two names are certainly on different file systems, as far as the known volumes tell. It
// makes no call to the system.
func (s *FS) AreApart(name, other string) bool {
	a, b := s.mayHaveEntry(local(name)), s.mayHaveEntry(local(other))
	return len(a) == 1 && len(b) == 1 && a[0].lock != b[0].lock
}

// volumeHolding returns the volume of the file or collection that the caller has just seen at a name. A removal on a
// full disk can go on without a session, if another process has made the state directory.
func (s *FS) volumeHolding(name string, seen Info) (*volume, error) {
	if deviceOf(seen) == s.root.device {
		return s.root, nil
	}
	// The name may be the top of another file system itself. And files on an overlay have the device numbers of the
	// layers below.
	renewed := s.renewedTops()
	v, err := s.volumeFor(path.Dir(name))
	if IsFull(err) {
		if _, missing := s.calls.Lstat(v.statePath(trashPart)); missing == nil {
			err = nil
		}
	}
	if err == nil && renewed[v.top] != s.renewedTops()[v.top] {
		err = fmt.Errorf("%w: the kernel may have answered that from memory", ErrMoved)
	}
	return v, err
}

// able returns the abilities of the file system, or none if they have not been probed yet.
func (v *volume) able() Abilities {
	if !v.opened.Load() {
		return Abilities{}
	}
	return v.abilities
}

// isIn reports whether a name is the name of a directory, or a name below it.
func isIn(name, dir string) bool {
	return name == dir || dir == "." || strings.HasPrefix(name, dir+"/")
}

// prepare makes a volume ready for commits. Its error says why the volume cannot be used.
func (v *volume) prepare() error {
	if v.opened.Load() {
		return nil
	}
	v.opening.Lock()
	defer v.opening.Unlock()
	if v.opened.Load() {
		return nil
	}
	err := v.remember() // before the volume has anything to recover
	if IsFull(err) {
		err = nil // the disk of the root is full, and Discover finds mounts without the note
	}
	if err == nil {
		err = v.makeDir(path.Join(v.top, stateDir))
	}
	private := true
	if err == nil {
		private, err = v.checkState()
	}
	if err == nil {
		err = v.openSession()
	}
	if err != nil {
		return fmt.Errorf("making what a file system needs that is mounted in the tree: %w", err)
	}
	v.abilities.Shared = !private
	v.opened.Store(true)
	if v.opts.Met != nil {
		v.opts.Met(v.top, v.abilities)
	}
	return nil
}

// openSession makes our session in the staging directory, and the other directories that a commit needs. It probes the
// abilities of the file system.
func (v *volume) openSession() error {
	formatted, err := v.checkFormat()
	if err != nil {
		return err
	}
	for _, part := range []string{stagePart, historyPart, trashPart} {
		if err := v.makeDir(v.statePath(part)); err != nil {
			return err
		}
	}
	if err := v.makeDir(v.session); err != nil {
		return err
	}
	if err := v.plain(v.session); err != nil {
		return err
	}
	if v == v.root {
		if v.sessionDir, err = v.calls.OpenDir(v.session); err != nil {
			return err
		}
	}
	if !formatted {
		if err := v.writeFormat(); err != nil {
			return err
		}
	}
	if v.staged, err = v.openAlive(); err != nil {
		return err
	}
	v.abilities, err = v.probe()
	return err
}

// checkFormat reports whether there is a state directory with a format. It fails if this program does not know the
// format.
func (v *volume) checkFormat() (bool, error) {
	found, err := v.readFile(v.statePath(formatPart))
	if errors.Is(err, iofs.ErrNotExist) {
		return false, nil
	}
	if err == nil && string(found) != stateFormat {
		err = fmt.Errorf("%s has format %q, and this program knows %q: a newer ifmatch has served this directory; "+
			"use that one",
			path.Join(v.top, stateDir), strings.TrimSpace(string(found)), strings.TrimSpace(stateFormat))
	}
	return true, err
}

// writeFormat writes the format of the state directory. Another process may do so at the same time, with the same
// content.
func (v *volume) writeFormat() error {
	staged := v.unique(v.session, newPrefix)
	if err := v.writeFile(staged, []byte(stateFormat)); err != nil {
		return err
	}
	return v.calls.Rename(staged, v.statePath(formatPart))
}

// openAlive makes the file that says that this process lives, and returns a look at it. At the root the file stays
// locked as long as the process lives. See [volume].
func (v *volume) openAlive() (Info, error) {
	f, err := v.openHeld(v.session + "/" + aliveName)
	if err != nil {
		return Info{}, err
	}
	info, err := f.Stat()
	if err == nil && v == v.root {
		v.alive = f
		if err = f.TryFlock(); errors.Is(err, errors.ErrUnsupported) {
			err = nil
		}
		return info, err
	}
	return info, errors.Join(err, f.Close())
}

// IsAtStaged reports whether an error comes from a call on a staged version, and not from a call on the source of its
// content.
func IsAtStaged(err error) bool {
	return slices.Contains(strings.Split(nameInError(err), "/"), stateDir)
}

// nameInError returns the name at which a call has failed.
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

// volumeOfError returns the volume of the name at which a call has failed.
func (s *FS) volumeOfError(err error) *volume {
	name := nameInError(err)
	best := s.root
	for _, v := range s.volumes()[1:] {
		if isIn(name, v.top) && isIn(v.top, best.top) {
			best = v
		}
	}
	return best
}
