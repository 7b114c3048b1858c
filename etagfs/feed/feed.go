// Package feed tells of the changes of a directory in their order: those of the store as part of its commits, and those
// of other programs as a watcher and searches find them.
package feed

import (
	"context"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/etagfs/journal"
	"r-seed-1f3a754f.example/ifmatch/etagfs/snapshots"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// journalDir is the directory of the journal, in the state directory.
const journalDir = "journal"

// Options say of which directory a feed tells. All fields are needed.
type Options struct {
	FS     *fs.FS
	Reader *snapshots.Reader
	Index  *index.Index
	Clock  func() time.Time
	Report func(error)
	Once   *failure.Once
	// Running has the work in the background.
	Running *sync.WaitGroup
}

// A Feed is the journal of the changes of a store. It tells changes of the store from those of other programs. It
// implements [tree.Feed]. A nil Feed keeps no changes.
type Feed struct {
	Options
	journal *journal.Journal
	// told are the latest changes, by name, as looks have found them. An event of the watcher for such a look is no
	// news. If one is dropped, its change may be told twice.
	told   *toldNames
	device uint64 // of the root, whose clock the marks of the journal are of
	hints  *hints
	// disk says how far the changes of other programs are known.
	disk  diskState
	scans *lru.Cache[ScanKey, scan]
	dir   *volumes.StateDir
	alone sync.Mutex // in place of the lock of the tree, where nothing is written
	owing struct {
		mu      sync.Mutex
		changes []journal.Pending
	}
}

// Open opens the journal, which is kept in memory if nothing may be written. If the journal cannot be opened, the next
// change tries again. The work in the background ends with the context.
func Open(ctx context.Context, o Options) *Feed {
	f := &Feed{
		Options: o, told: newTold(), dir: o.FS.StateDir(journalDir), disk: diskState{search: make(chan struct{}, 1)},
		hints: &hints{wake: make(chan struct{}, 1), names: map[string]hint{}, idle: make(chan struct{})},
	}
	files, turn := journal.InMemory(), journal.Turn(nil)
	if !f.FS.ReadOnly() && !f.FS.IsInMemory() {
		files, turn = journalFiles{f.FS, f.dir}, f.FS
	}
	if root, err := f.FS.Lstat(""); err == nil {
		f.device = root.Device
	}
	f.scans, _ = lru.New[ScanKey, scan](maxScans) // it fails only for a size below one
	f.journal = journal.New(files, journal.Options{
		Boot: index.BootID(), Now: f.Clock, Turn: turn, Linger: f.FS.Lingers(),
	})
	unlock, err := f.lock(ctx)
	if err == nil {
		err = f.journal.Load()
		unlock()
	}
	if err != nil {
		f.Report(fmt.Errorf("changes cannot be followed until the next one is kept: %w", err))
	}
	f.Running.Go(func() { f.followDisk(ctx) })
	f.Running.Go(func() { f.lookForMissed(ctx) })
	f.Running.Go(func() { f.keep(ctx) })
	return f
}

// lock takes the lock under which the journal is written.
func (f *Feed) lock(ctx context.Context) (unlock func(), err error) {
	if f.FS.ReadOnly() {
		f.alone.Lock()
		return f.alone.Unlock, nil
	}
	end, err := f.FS.Lock(ctx)
	err = failure.Lock(err)
	if err == nil {
		if err = f.flush(); err != nil {
			end()
		}
	}
	return func() {
		f.journal.Rest()
		end()
	}, err
}

// noteEvery is how often it is noted how far changes on the disk are known. After a crash, all collections
// that have changed since are to be listed again.
const noteEvery = 15 * time.Second

// keep notes now and then how far changes are known, and forgets old ones.
func (f *Feed) keep(ctx context.Context) {
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		f.NoteSeen(ctx)
		unlock, err := f.lock(ctx)
		if err != nil {
			continue
		}
		if err := f.journal.Trim(); err != nil {
			f.Once.Report(trimming, err)
		}
		unlock()
	}
}

// trimming stands for that as the subject of an error.
const trimming = "\x00journal"

// Close closes the journal. It is called when nothing is changed any more.
func (f *Feed) Close() {
	if f != nil {
		f.journal.Close()
		f.dir.Close()
	}
}

// journalFiles is the directory of the journal on the disk.
type journalFiles struct {
	fs  *fs.FS
	dir *volumes.StateDir
}

func (f journalFiles) List() ([]string, error) { return f.fs.StateFiles(journalDir) }

func (f journalFiles) Open(name string) (journal.Reader, error) {
	return f.fs.OpenStateFile(journalDir + "/" + name)
}

func (f journalFiles) Append(name string, begin bool) (journal.File, error) {
	open := f.dir.AppendTo
	if begin {
		open = f.dir.Append
	}
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return journalFile{file}, nil
}

func (f journalFiles) Remove(name string) error { return f.fs.RemoveStateFile(journalDir + "/" + name) }

type journalFile struct{ *vfs.File }

func (f journalFile) Size() (size, changed int64, err error) {
	info, err := f.Stat()
	return info.Size, info.Modified, err
}
