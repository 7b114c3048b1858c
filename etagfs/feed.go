package etagfs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/etagfs/journal"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// journalDir is the directory of the journal, in the state directory.
const journalDir = "journal"

// A feed is the journal of the changes of a store, and what it needs to tell changes of the store from those of other
// programs.
type feed struct {
	*journal.Journal
	// told are the latest changes, by name, as looks have found them. An event of the watcher for such a look is no
	// news. If one is dropped, its change may be told twice.
	told   *toldNames
	device uint64 // of the root, whose clock the marks of the journal are of
	hints  *hints
	// disk says how far the changes of other programs are known.
	disk  diskState
	scans *lru.Cache[scanKey, scan]
	dir   *fs.StateDir
	alone sync.Mutex // in place of the lock of the tree, where nothing is written
	owing struct {
		mu      sync.Mutex
		changes []journal.Pending
	}
}

// openFeed opens the journal. If the journal cannot be opened, the next change tries again.
func (s *Store) openFeed(ctx context.Context, opts Options) {
	if !opts.Journal {
		return
	}
	files, dir, turn := journal.InMemory(), s.fs.StateDir(journalDir), journal.Turn(nil)
	if !s.fs.ReadOnly() && !s.fs.IsInMemory() {
		files, turn = journalFiles{s.fs, dir}, journalTurn{s.fs}
	}
	f := &feed{hints: newHints(), dir: dir, disk: diskState{search: make(chan struct{}, 1)}}
	f.told = newTold()
	if root, err := s.fs.Lstat(""); err == nil {
		f.device = root.Device
	}
	f.scans, _ = lru.New[scanKey, scan](maxScans) // it fails only for a size below one
	s.feed = f
	f.Journal = journal.New(files, journal.Options{Boot: index.BootID(), Now: s.now, Turn: turn})
	unlock, err := s.lockFeed(ctx)
	if err == nil {
		err = f.Load()
		unlock()
	}
	if err != nil {
		s.report(fmt.Errorf("changes cannot be followed until the next one is kept: %w", err))
	}
	s.running.Go(func() { s.followDisk(ctx) })
	s.running.Go(func() { s.lookForMissed(ctx) })
	s.running.Go(func() { s.keepFeed(ctx) })
}

// lockFeed takes the lock under which the journal is written.
func (s *Store) lockFeed(ctx context.Context) (unlock func(), err error) {
	if s.fs.ReadOnly() {
		s.feed.alone.Lock()
		return s.feed.alone.Unlock, nil
	}
	end, err := s.fs.Lock(ctx)
	err = lockFailed(err)
	if err == nil {
		if err = s.feed.flush(); err != nil {
			end()
		}
	}
	return func() {
		s.feed.Rest()
		end()
	}, err
}

// noteEvery is how often it is noted how far changes on the disk are known. After a crash, what has changed since is
// to be listed again.
const noteEvery = 15 * time.Second

// keepFeed notes now and then how far changes are known, and forgets old ones.
func (s *Store) keepFeed(ctx context.Context) {
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.NoteSeen(ctx)
		unlock, err := s.lockFeed(ctx)
		if err != nil {
			continue
		}
		if err := s.feed.Trim(); err != nil {
			s.tellOnce(trimming, err)
		}
		unlock()
	}
}

// trimming stands for that in Store.told, in place of the name of a file.
const trimming = "\x00journal"

// closeFeed is called when nothing is changed any more.
func (s *Store) closeFeed() {
	if s.feed != nil {
		s.feed.Close()
		s.feed.dir.Close()
	}
}

// journalFiles is the directory of the journal on the disk.
type journalFiles struct {
	fs  *fs.FS
	dir *fs.StateDir
}

func (f journalFiles) List() ([]string, error) { return f.fs.StateFiles(journalDir) }

func (f journalFiles) Open(name string) (journal.Reader, error) {
	return f.fs.OpenStateFile(journalDir + "/" + name)
}

func (f journalFiles) Append(name string) (journal.File, error) {
	file, err := f.dir.Append(name)
	if err != nil {
		return nil, err
	}
	return journalFile{file}, nil
}

func (f journalFiles) AppendTo(name string) (journal.File, error) {
	file, err := f.dir.AppendTo(name)
	if err != nil {
		return nil, err
	}
	return journalFile{file}, nil
}

func (f journalFiles) Remove(name string) error { return f.fs.RemoveStateFile(journalDir + "/" + name) }

type journalFile struct{ *fs.File }

// A journalTurn is the turn to write the journal, of which the lock of the tree tells.
type journalTurn struct{ fs *fs.FS }

func (t journalTurn) IsOurs() bool { return t.fs.IsClaimed() }
func (t journalTurn) Take() error  { return t.fs.Claim() }

func (f journalFile) Size() (size, changed int64, err error) {
	info, err := f.Stat()
	return info.Size, info.Modified, err
}

// A telling is a change that a transaction is about to make.
type telling struct {
	cause, name, from string
	over              fs.Info // what is at the name
	kind              fs.Kind // of the resource that is at the name after the change, or Nothing
	old, tag          tree.ETag
}

// tell says that the transaction is about to make a change, and appends the change to the journal. It is shown at the
// end of the transaction, or taken back if the transaction fails.
func (t *transaction) tell(c telling) error {
	names := []string{c.name}
	if c.from != "" {
		names = append(names, c.from)
	}
	if err := t.begin(names...); err != nil || t.s.feed == nil {
		return err
	}
	t.over, t.knew = foundBy(c.over), t.s.feed.knows(c.name, c.over, t.s.fs.AbilitiesOf(c.over).FineTimes)
	if c.old == "" && c.over.Exists() {
		c.old, _ = t.tag(c.name, c.over)
	}
	change := tree.Change{
		Name: c.name, From: c.from, Cause: c.cause, Old: c.old, Created: !c.over.Exists(), Principal: t.by, Time: t.s.now(),
		OldFile: t.knew && c.over.Kind != fs.Directory, OldCollection: c.over.Kind == fs.Directory,
		State: tree.State{
			Name: c.name, Exists: c.kind != fs.Nothing, Collection: c.kind == fs.Directory, Tag: c.tag,
		},
	}
	return t.shared(func(through bool) error {
		f := t.s.feed
		if !through {
			defer f.Rest()
		}
		if err := f.flush(); err != nil {
			return err
		}
		err := f.Append(change)
		t.told = t.told || err == nil
		if err == nil && !through {
			t.untold = append(t.untold, f.Pending(change))
		}
		return err
	})
}

// made notes what a look has found at a name after a change, so that an event for it is no news.
func (t *transaction) made(name string, now fs.Info, deep bool) {
	if t.s.feed != nil {
		t.s.feed.told.add(name, foundBy(now), t.over, deep, t.knew)
	}
}

// settle ends the changes that a transaction has told of. err is the error of its step, and settle returns its error.
func (t *transaction) settle(err error) error {
	f := t.s.feed
	if f == nil || !t.told {
		return err
	}
	happened := err == nil || errors.Is(err, tree.ErrUnsure) || errors.Is(err, fs.ErrAway)
	failed := t.shared(func(through bool) (err error) {
		defer f.Rest()
		switch {
		case !through:
			return errors.Join(f.flush(), f.settle(t.untold, happened))
		case happened:
			f.Show()
		default:
			f.TakeBack()
		}
		return nil
	})
	if failed != nil && happened {
		f.owe(t.untold)
		t.s.report(fmt.Errorf("a change is told of later: %w", failed))
	}
	return err
}

// settle settles changes that were appended under an earlier lock.
func (f *feed) settle(changes []journal.Pending, happened bool) error {
	for i, p := range changes {
		if err := f.Settle(p, happened); err != nil {
			f.owe(changes[i+1:])
			return err
		}
	}
	return nil
}

// owe remembers changes that have happened and could not be settled. The next one to write the journal settles them.
// There are no more of them than commits that were under way at once, since no commit begins without the journal.
func (f *feed) owe(changes []journal.Pending) {
	f.owing.mu.Lock()
	defer f.owing.mu.Unlock()
	f.owing.changes = append(f.owing.changes, changes...)
}

// flush settles the changes that are owed. It must be called under the lock of the journal.
func (f *feed) flush() error {
	f.owing.mu.Lock()
	changes := f.owing.changes
	f.owing.changes = nil
	f.owing.mu.Unlock()
	err := f.settle(changes, true)
	if err != nil {
		err = errors.Join(err, errOwing)
	}
	return err
}

// errOwing says that the journal lacks a change that has happened.
var errOwing = errors.New("the journal of changes lacks one")

// errNoFeed is the error of a store without a journal.
var errNoFeed = fmt.Errorf("no changes are kept: %w", tree.ErrUnsupported)

// adopt takes in the changes of other processes, if there are any.
func (s *Store) adopt(ctx context.Context) error {
	if !s.feed.Grown() {
		return nil
	}
	unlock, err := s.lockFeed(ctx)
	if err != nil {
		return failure.Of(err)
	}
	defer unlock()
	return failure.Of(s.feed.Adopt())
}

// Now implements [tree.Feed].
func (s *Store) Now(ctx context.Context) (tree.Cursor, error) {
	if s.feed == nil {
		return "", errNoFeed
	}
	s.awaitDisk(ctx)
	if err := s.adopt(ctx); err != nil {
		return "", err
	}
	return s.feed.Now()
}

// Latest implements [tree.Feed].
func (s *Store) Latest(ctx context.Context, name string) (tree.Change, error) {
	if s.feed == nil {
		return tree.Change{}, errNoFeed
	}
	if err := s.adopt(ctx); err != nil {
		return tree.Change{}, err
	}
	c, err := s.feed.Latest(ctx, name)
	return c, failure.Of(err)
}

// adoptEvery is how often a follower looks for changes of other processes.
const adoptEvery = time.Second

// Changes implements [tree.Feed].
func (s *Store) Changes(ctx context.Context, since, until tree.Cursor) iter.Seq2[tree.Change, error] {
	return func(yield func(tree.Change, error) bool) {
		if s.feed == nil {
			yield(tree.Change{}, errNoFeed)
			return
		}
		again := time.NewTimer(adoptEvery)
		defer again.Stop()
		for looked := false; since == "" || since != until; {
			more := s.feed.More()
			changes, err := s.feed.Read(since)
			if errors.Is(err, tree.ErrNotExist) && !looked {
				// Another process may have given that cursor to the client.
				looked = true
				if err = s.adopt(ctx); err == nil {
					continue
				}
			}
			if err != nil {
				yield(tree.Change{}, failure.Of(err))
				return
			}
			for _, c := range changes {
				if since = c.Cursor; !yield(c, nil) || since == until {
					return
				}
			}
			if len(changes) > 0 {
				continue
			}
			if until != "" {
				return // the changes up to there are known
			}
			select {
			case <-ctx.Done():
				yield(tree.Change{}, ctx.Err())
				return
			case <-more:
			case <-again.C:
				again.Reset(adoptEvery)
				if err := s.adopt(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, tree.ErrBusy) {
					yield(tree.Change{}, err)
					return
				}
			}
		}
	}
}

func tagOf(k index.Record, known bool) tree.ETag {
	if !known {
		return ""
	}
	return k.Tag()
}
