package feed

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// hints are the names of which the watcher has told, until they are looked at.
type hints struct {
	wake chan struct{} // has room for one, and is full while there are names

	mu    sync.Mutex
	names map[string]hint
	order []string      // the same names, the oldest first
	busy  bool          // some are looked at
	idle  chan struct{} // closed when there are none
}

const (
	// maxHints bounds the names. If there are more, all directories that have changed are looked for.
	maxHints = 1 << 14
	// hintsAtOnce is how many changes are appended to the journal at once, under the lock.
	hintsAtOnce = 64
)

// A hint is a name of which the watcher has told.
type hint struct {
	name    string
	removed bool // the resource there was removed
	early   bool // the watcher has not told of it: see toldNames.early
}

// add adds names, as the watcher has told of them or not. It reports whether there was room for all.
func (h *hints) add(names []string, as hint) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range names {
		before, waits := h.names[name]
		if !waits && len(h.order) == maxHints {
			return false
		}
		if !waits {
			h.order = append(h.order, name)
		}
		h.names[name] = hint{name, before.removed || as.removed, as.early && (before.early || !waits)}
	}
	poke(h.wake)
	return true
}

// take removes and returns the oldest names.
func (h *hints) take() (taken []hint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range h.order[:min(len(h.order), hintsAtOnce)] {
		taken = append(taken, h.names[name])
		delete(h.names, name)
	}
	h.order = h.order[len(taken):]
	if h.busy = len(taken) > 0; !h.busy {
		close(h.idle)
		h.idle = make(chan struct{})
	}
	return taken
}

// rest waits until there are no names.
func (h *hints) rest(ctx context.Context) {
	h.mu.Lock()
	idle, none := h.idle, len(h.order) == 0 && !h.busy
	h.mu.Unlock()
	if none {
		return
	}
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// A diskState says how far the changes of other programs are known.
type diskState struct {
	mu  sync.Mutex
	ask func(context.Context) error // see Feed.Watched
	// lost counts the times when changes were lost, and found those of which the changes were looked for since.
	lost, found uint64
	search      chan struct{} // has room for one, and is full while changes are to be looked for
}

// askDir is a directory in the state directory for the questions of a watcher.
const askDir = "watch"

// AskDir returns the path of a directory for the questions of a watcher, or "" if nothing may be written.
func (f *Feed) AskDir() string {
	if f == nil || f.FS.ReadOnly() || f.FS.IsInMemory() {
		return ""
	}
	dir, _ := f.FS.MakeStateDir(askDir) // "" if it fails
	return dir
}

// Watched says that a watcher tells of all changes on the disk from now on ([Feed.Hint]). Changes before that, since
// the last time at which all were known, are looked for. ask returns when the watcher has told of all changes that were
// made before the call. Nil: nothing is watched any more.
func (f *Feed) Watched(ask func(context.Context) error) {
	if f == nil {
		return
	}
	f.disk.mu.Lock()
	f.disk.ask = ask
	f.disk.mu.Unlock()
	if ask != nil {
		f.Missed()
	}
}

// Missed says that changes on the disk may have been missed.
func (f *Feed) Missed() {
	if f == nil {
		return
	}
	d := &f.disk
	d.mu.Lock()
	d.lost++
	d.mu.Unlock()
	poke(d.search)
}

// Hint says that the resources at some names may have changed. removed says that nothing may be there any more. Hint
// does not wait.
func (f *Feed) Hint(names []string, removed bool) {
	if f != nil {
		f.hint(names, hint{removed: removed})
	}
}

func (f *Feed) hint(names []string, as hint) {
	if !f.hints.add(names, as) {
		f.Missed()
	}
}

// isWatched reports whether a watcher tells of changes.
func (f *Feed) isWatched() bool {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.disk.ask != nil
}

const (
	// askPatience is how long a request waits for the watcher. A change that it has not told by then counts as not seen.
	askPatience = time.Second
	// markPatience is the same for the note of how far changes are known.
	markPatience = 10 * time.Second
)

// AwaitDisk waits until the changes on the disk are in the journal, as far as the watcher can know them. It reports
// whether that is so.
func (f *Feed) AwaitDisk(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	d := &f.disk
	d.mu.Lock()
	ask := d.ask
	d.mu.Unlock()
	if ask == nil || ask(ctx) != nil {
		return false
	}
	f.hints.rest(ctx)
	return ctx.Err() == nil
}

// followDisk appends the changes of other programs to the journal.
func (f *Feed) followDisk(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.hints.wake:
		}
		f.told.keepOnly(f.journal.ID())
		for hints := f.hints.take(); len(hints) > 0; hints = f.hints.take() {
			var changes []sighting
			for _, h := range hints {
				c := f.seen(h)
				if !h.early || !c.now.Exists() {
					f.told.meet(h.name)
				}
				if c.State.Collection && !c.Again { // it may be watched from now on; what is to be listed again tells of all
					f.hint(f.told.earlyBelow(h.name), hint{early: true})
				}
				// The removal of a collection would be told too.
				c.OldFile = !h.removed && c.now.Exists() && c.now.Kind != vfs.Directory
				if !f.told.has(c.Name, c.now, h.removed, f.FS.AbilitiesOf(c.now).FineTimes) {
					changes = append(changes, c)
				}
			}
			if !f.appendSeen(ctx, changes) {
				f.Missed()
			}
		}
	}
}

// A sighting is a change on the disk, and the look that has found it.
type sighting struct {
	tree.Change
	hint   hint
	now    vfs.Info
	before []toldChange // of the name and of those above, before the look
}

// seen looks at a name of which the watcher has told.
func (f *Feed) seen(h hint) sighting {
	before := f.told.lastOn(h.name)
	now, err := f.FS.Lstat(h.name)
	if err != nil && !errors.Is(failure.Of(err), tree.ErrNotExist) && !errors.Is(err, vfs.ErrLink) {
		now = vfs.Info{} // it is not served, or cannot be looked at, so that a follower finds nothing
	}
	c := tree.Change{Name: h.name, Cause: tree.CauseDisk, Time: f.Clock(), State: tree.State{
		Name: h.name, Exists: now.Exists() && now.Kind != vfs.Special, Collection: now.Kind == vfs.Directory,
	}}
	if tag, known := f.Index.Tag(now.Fingerprint); known && now.Kind == vfs.Regular {
		c.State.Tag = tag
	}
	// A collection that takes the place of another one may lack members that the other one had.
	c.Again = h.removed && now.Kind == vfs.Directory
	return sighting{c, h, now, before}
}

// appendSeen appends changes that have happened. It reports whether it could.
func (f *Feed) appendSeen(ctx context.Context, changes []sighting) bool {
	if len(changes) == 0 {
		return true
	}
	unlock, err := f.lock(ctx)
	if err != nil {
		return false
	}
	defer unlock()
	var news []tree.Change
	var appended []sighting
	for _, c := range changes {
		if c.before != nil && !slices.Equal(c.before, f.told.lastOn(c.Name)) {
			// A commit has come after the look. In the journal, this look must not come after that commit.
			f.hint([]string{c.Name}, c.hint)
		} else {
			news, appended = append(news, c.Change), append(appended, c)
		}
	}
	if len(news) == 0 {
		return true
	}
	if err := f.journal.Append(news...); err != nil {
		f.Report(err)
		return false
	}
	f.journal.Show()
	for _, c := range appended {
		f.told.addSeen(c)
	}
	return true
}

// Unsettled reports whether changes were missed that are still looked for.
func (f *Feed) Unsettled() bool {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.disk.lost != f.disk.found
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
