package volumes

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// These are names in a session: the file that is there as long as its process lives, and the begin of the name of a new
// version.
const (
	AliveName = "alive"
	NewPrefix = "n"
)

// Prepare makes a volume ready for commits. Its error says why the volume cannot be used.
func (v *Volume) Prepare() error {
	if v.Opened.Load() {
		return nil
	}
	v.opening.Lock()
	defer v.opening.Unlock()
	if v.Opened.Load() {
		return nil
	}
	err := v.remember() // before the volume has anything to recover
	if IsFull(err) {
		err = nil // the disk of the root is full, and Discover finds mounts without the note
	}
	if err == nil {
		err = v.t.MakeDir(path.Join(v.Top, OwnDir))
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
	v.Opened.Store(true)
	if v.t.opts.Met != nil {
		v.t.opts.Met(v.Top, v.abilities)
	}
	return nil
}

// openSession makes our session in the staging directory, and the other directories that a commit needs. It probes the
// abilities of the file system.
func (v *Volume) openSession() error {
	formatted, err := v.checkFormat()
	if err != nil {
		return err
	}
	for _, dir := range []string{v.StatePath(StagePart), v.StatePath(HistoryPart), v.StatePath(TrashPart), v.Session} {
		if err := v.t.MakeDir(dir); err != nil {
			return err
		}
	}
	if err := v.t.plain(v.Session); err != nil {
		return err
	}
	if v == v.t.root {
		if v.SessionDir, err = v.t.calls.OpenDir(v.Session); err != nil {
			return err
		}
	}
	if !formatted {
		if err := v.writeFormat(); err != nil {
			return err
		}
	}
	if v.Made, err = v.openAlive(); err != nil {
		return err
	}
	v.abilities, err = v.Above.Probe()
	return err
}

// checkFormat reports whether there is a state directory with a format. It fails if this program does not know the
// format. An empty file has none: without a sync, a power failure leaves one.
func (v *Volume) checkFormat() (bool, error) {
	found, err := v.t.ReadFile(v.StatePath(formatPart))
	if errors.Is(err, iofs.ErrNotExist) || err == nil && len(found) == 0 {
		return false, nil
	}
	if err == nil && string(found) != stateFormat {
		err = fmt.Errorf("%s has format %q, and this program knows %q: a newer ifmatch has served this directory; "+
			"use that one",
			path.Join(v.Top, OwnDir), strings.TrimSpace(string(found)), strings.TrimSpace(stateFormat))
	}
	return true, err
}

// writeFormat writes the format of the state directory. Another process may do so at the same time, with the same
// content.
func (v *Volume) writeFormat() error {
	staged := v.t.Unique(v.Session, NewPrefix)
	if err := v.t.WriteFile(staged, []byte(stateFormat)); err != nil {
		return err
	}
	return v.t.calls.Rename(staged, v.StatePath(formatPart))
}

// openAlive makes the file that says that this process lives, and returns a look at it. At the root the file stays
// locked as long as the process lives. See [Volume].
func (v *Volume) openAlive() (vfs.Info, error) {
	f, err := v.t.OpenHeld(v.Session + "/" + AliveName)
	if err != nil {
		return vfs.Info{}, err
	}
	info, err := f.Stat()
	if err == nil && v == v.t.root {
		v.t.Alive = f
		return info, vfs.Ignoring(f.TryFlock(), errors.ErrUnsupported)
	}
	return info, errors.Join(err, f.Close())
}
