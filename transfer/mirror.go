package transfer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pause"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// MirrorState is the name of the directory in a mirror that marks the mirror, and says how far it has come.
const MirrorState = ".ifmatch-export"

// A Source is a store with a feed of its changes.
type Source interface {
	tree.Store
	tree.Feed
}

// A Mirror keeps a directory the same as a store. Its files are read-only. Each has an extended attribute that says
// that the mirror has made it, and of which version. It replaces and removes nothing else, and no file that was changed
// since.
type Mirror struct {
	Dir  string
	From Source
	// Identity says which tree From is. A directory is the mirror of one tree.
	Identity string
	// Tell is called with a sentence about a name, or about "" for the whole.
	Tell func(name, what string)

	root   *os.Root
	unlock func() error // ends the lock of the directory
	state  mirrorState
	dirty  map[string]bool // directories that are not synced
	files  int             // that have had a temporary name
	done   Mirrored
}

// A mirrorState is in the file state of MirrorState, as JSON.
type mirrorState struct {
	ID       string      `json:"id"`       // of the mirror: random
	Identity string      `json:"identity"` // of the tree
	Cursor   tree.Cursor `json:"cursor"`   // all changes up to there are in the mirror ("": it was never complete)
}

// Mirrored are the counts of a mirror.
type Mirrored struct {
	Fetched, Bytes int64 // files that were fetched
	Removed        int64 // files and directories
	Listed         int64 // how often the whole tree was listed
	Compared       int64 // files with the same tag at the end
	Left           int64 // names that were left as they are
	Different      int64 // names that are not the same at the end
}

// Open makes or opens the directory. No other process can, until Close.
func (m *Mirror) Open() (err error) {
	if err := os.MkdirAll(m.Dir, 0o755); err != nil {
		return err
	}
	if m.root, err = os.OpenRoot(m.Dir); err != nil {
		return err
	}
	m.dirty = map[string]bool{}
	if err = m.begin(); err != nil {
		err = errors.Join(err, m.Close())
	}
	return err
}

// Close lets go of the directory.
func (m *Mirror) Close() error {
	err := m.root.Close()
	if m.unlock != nil {
		err = errors.Join(err, m.unlock())
	}
	return err
}

func (m *Mirror) begin() (err error) {
	if _, err := m.root.Stat(MirrorState + "/state"); errors.Is(err, iofs.ErrNotExist) {
		if err := m.checkEmpty(); err != nil {
			return err
		}
		if err := m.root.Mkdir(MirrorState, 0o700); err != nil && !errors.Is(err, iofs.ErrExist) {
			return err
		}
	}
	if m.unlock, err = lockFile(m.root, MirrorState+"/lock"); err != nil {
		return fmt.Errorf("%s is used by another export: %w", m.Dir, err)
	}
	text, err := m.root.ReadFile(MirrorState + "/state")
	if errors.Is(err, iofs.ErrNotExist) {
		m.state = mirrorState{ID: rand.Text(), Identity: m.Identity}
		if err = m.tryMark(); err == nil {
			err = m.save("")
		}
	} else if err == nil {
		err = m.read(text)
	}
	if err != nil {
		return err
	}
	return m.clear()
}

// read reads the state of an earlier run.
func (m *Mirror) read(text []byte) error {
	if err := json.Unmarshal(text, &m.state); err != nil {
		return fmt.Errorf("%s/%s/state cannot be read: %w: export to another directory", m.Dir, MirrorState, err)
	}
	if m.state.Identity != m.Identity {
		return fmt.Errorf("%s is the mirror of another tree, %s: export to another directory", m.Dir, m.state.Identity)
	}
	return nil
}

// checkEmpty refuses a directory that has something and is no mirror. One whose first start was cut off has no more than
// the state.
func (m *Mirror) checkEmpty() error {
	names, err := iofs.ReadDir(m.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, one := range names {
		if name := one.Name(); name != MirrorState && name != "lost+found" {
			return fmt.Errorf("%s is not empty, and no mirror: it has %q; export to a new directory", m.Dir, name)
		}
	}
	return nil
}

// clear removes the files that were on their way when an earlier run ended.
func (m *Mirror) clear() error {
	names, err := iofs.ReadDir(m.root.FS(), MirrorState)
	if err != nil {
		return err
	}
	for _, one := range names {
		if name := one.Name(); name != "state" && name != "lock" {
			err = errors.Join(err, m.root.Remove(MirrorState+"/"+name))
		}
	}
	return err
}

// save notes how far the mirror has come, after all of that is on the disk.
func (m *Mirror) save(cursor tree.Cursor) error {
	if err := m.sync(); err != nil {
		return err
	}
	m.state.Cursor = cursor
	text, err := json.Marshal(m.state)
	if err != nil {
		return err
	}
	next := MirrorState + "/state.new"
	f, err := m.root.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = m.root.Rename(next, MirrorState+"/state")
	}
	if err != nil {
		return err
	}
	return m.syncDir(MirrorState)
}

// sync syncs the directories that have changed.
func (m *Mirror) sync() error {
	for dir := range m.dirty {
		if err := m.syncDir(dir); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return err
		}
	}
	clear(m.dirty)
	return nil
}

func (m *Mirror) syncDir(dir string) error {
	f, err := m.root.Open(local(dir))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// mostDirty bounds the directories that are to be synced.
const mostDirty = 1000

func (m *Mirror) changed(name string) error {
	dir, _ := tree.Split(name)
	if m.dirty[dir] = true; len(m.dirty) > mostDirty {
		return m.sync()
	}
	return nil
}

// left reports a name that stays as it is.
func (m *Mirror) left(name, what string) {
	m.done.Left++
	m.Tell(name, what)
}

// Run makes the directory the same as the tree, by the changes since the last run where they are known, and compares
// all tags then.
func (m *Mirror) Run(ctx context.Context) (Mirrored, error) {
	err := m.catchUp(ctx)
	if err == nil {
		err = m.compare(ctx)
	}
	return m.done, err
}

// catchUp takes all changes up to now.
func (m *Mirror) catchUp(ctx context.Context) error {
	for {
		err := patiently(ctx, func() error { return m.changesUntilNow(ctx) })
		if !errors.Is(err, errTooOld) {
			return err
		}
		if err := m.listAnew(ctx); err != nil {
			return err
		}
	}
}

// errTooOld says that the changes after the cursor of the mirror are not known any more.
var errTooOld = errors.New("the tree has to be listed again")

// listAnew makes the whole directory the same as the tree. Changes meanwhile come by the feed.
func (m *Mirror) listAnew(ctx context.Context) error {
	m.done.Listed++
	var now tree.Cursor
	err := patiently(ctx, func() (err error) {
		now, err = m.From.Now(ctx)
		return err
	})
	if err == nil {
		err = m.deep(ctx, "")
	}
	if err == nil {
		err = m.save(now)
	}
	return err
}

// saveEvery is after how many changes the mirror notes how far it has come.
const saveEvery = 1000

func (m *Mirror) changesUntilNow(ctx context.Context) error {
	if m.state.Cursor == "" {
		return errTooOld
	}
	now, err := m.From.Now(ctx)
	if err != nil || now == m.state.Cursor {
		return err
	}
	taken := 0
	for c, err := range m.From.Changes(ctx, m.state.Cursor, now) {
		if errors.Is(err, tree.ErrNotExist) {
			return errTooOld
		}
		if err == nil {
			err = m.take(ctx, c)
		}
		if taken++; err == nil && taken%saveEvery == 0 {
			err = m.save(c.Cursor)
		}
		if err != nil {
			return err
		}
	}
	return m.save(now)
}

// pollEvery is how often a follower asks for changes.
const pollEvery = 200 * time.Millisecond

// Follow takes changes as they happen, until the context ends. Where the store is away, it waits.
func (m *Mirror) Follow(ctx context.Context) (Mirrored, error) {
	away := false
	for {
		err := m.catchUp(ctx)
		switch {
		case ctx.Err() != nil:
			return m.done, context.Cause(ctx)
		case errors.Is(err, tree.ErrBusy) || errors.Is(err, tree.ErrUnavailable):
			if !away {
				m.Tell("", "the tree is away, and is waited for: "+err.Error())
			}
			away = true
		case err != nil:
			return m.done, err
		case away:
			m.Tell("", "the tree is there again")
			away = false
		}
		if pause.For(ctx, pollEvery) != nil {
			return m.done, context.Cause(ctx)
		}
	}
}
