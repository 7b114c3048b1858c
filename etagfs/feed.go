package etagfs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"ifmatch/etagfs/index"
	"ifmatch/etagfs/journal"
	"ifmatch/fs"
	"ifmatch/tree"
)

// journalDir is the directory of the journal, in the state directory.
const journalDir = "journal"

// A feed is the journal of the changes of a store, and what it needs to tell changes of the store from those of other
// programs.
type feed struct {
	*journal.Journal
	// told are the latest changes, by name, as looks have found them. An event of the watcher for such a look is no
	// news. If one is dropped, its change may be told twice.
	told  *lru.Cache[string, toldChange]
	count atomic.Uint64 // of changes in told, ever
	hints *hints
	// disk says how far the changes of other programs are known.
	disk  diskState
	scans *lru.Cache[scanKey, scan]
	dir   *fs.StateDir
	alone sync.Mutex // in place of the lock of the tree, where nothing is written
}

// maxToldChanges is how many changes are remembered so.
const maxToldChanges = 1 << 14

// A toldChange is what a look has found at a name after a change.
type toldChange struct {
	inode         uint64 // 0: nothing is there
	born, changed int64
	deep          bool // everything below it has come with it
	number        uint64
}

// tellOf notes what a look has found at a name after a change.
func (f *feed) tellOf(name string, now fs.Info, deep bool) {
	f.told.Add(name, toldChange{now.Inode, now.Born, now.Changed, deep, f.count.Add(1)})
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
	f.told, _ = lru.New[string, toldChange](maxToldChanges) // it fails only for a size below one
	f.scans, _ = lru.New[scanKey, scan](maxScans)
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
	if errors.Is(err, fs.ErrBusy) {
		err = fmt.Errorf("%w: %w", errDirHeld, err)
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

// tell appends a change to the journal before it is made. It is shown at the end of the transaction, or taken back if
// the transaction fails.
func (t *transaction) tell(c telling) error {
	if t.s.feed == nil {
		return nil
	}
	if c.old == "" && c.over.Exists() {
		c.old, _ = t.tag(c.name, c.over)
	}
	return t.s.feed.Append(tree.Change{
		Name: c.name, From: c.from, Cause: c.cause, Old: c.old, Created: !c.over.Exists(), Principal: t.by, Time: t.s.now(),
		State: tree.State{
			Name: c.name, Exists: c.kind != fs.Nothing, Collection: c.kind == fs.Directory, Tag: c.tag,
		},
	})
}

// made notes what a look has found at a name after a change, so that an event for it is no news.
func (t *transaction) made(name string, now fs.Info, deep bool) {
	if t.s.feed != nil {
		t.s.feed.tellOf(name, now, deep)
	}
}

// settle ends the changes that a transaction has told of. err is its error.
func (s *Store) settle(err error) {
	if s.feed == nil {
		return
	}
	defer s.feed.Rest()
	switch {
	case err == nil, errors.Is(err, tree.ErrUnsure), errors.Is(err, fs.ErrAway):
		s.feed.Show()
	default:
		s.feed.TakeBack()
	}
}

// errNoFeed is the error of a store without a journal.
var errNoFeed = fmt.Errorf("no changes are kept: %w", tree.ErrUnsupported)

// adopt takes in the changes of other processes, if there are any.
func (s *Store) adopt(ctx context.Context) error {
	if !s.feed.Grown() {
		return nil
	}
	unlock, err := s.lockFeed(ctx)
	if err != nil {
		return translate(err)
	}
	defer unlock()
	return translate(s.feed.Adopt())
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
				yield(tree.Change{}, translate(err))
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
