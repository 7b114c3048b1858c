// Package etagfs is a directory as a [tree.Store]: files whose tags are computed from their content, and writes that
// compare and swap.
//
// # The commit
//
// A body is staged and hashed with no lock held. Then, under the one lock of the tree (see [fs.FS.Lock]), the collection
// is resolved, the name in it is looked at, the caller's Check is asked about that look, and one rename or exchange gives
// the new version its name, if what it replaces is still what the look has found (see [fs.Place.Commit]); if not, all of
// that is done again. See [Store.update]. A condition that is not Exact takes any version. Nothing waits for a body, a hash or a local
// program under that lock, and for the disk only what is small and rare: the note of what is moved over something, or to
// another file system, and the file of WebDAV locks now and then. Such a move also looks at all that it has copied.
// Readers take no lock. Sequence numbers, one for each file system, tell them that names have changed while they looked,
// and they look again (see [fs.Snapshot]). So they never see the middle of a commit, nor a version that is taken back.
//
// What a write returns is durable as [fs.Durability] says. Should a step after the rename fail, such as the sync of the
// directory or the end of the WebDAV locks of what is gone, the write is not acknowledged, and the new version is visible
// and whole.
//
// # Tags
//
// A tag is the SHA-256 of the content. It is computed on the way in, remembered with the file's full fingerprint, and
// used again only after one more look at the file has found the fingerprint unchanged. Events of a watcher ([Store.Changed])
// only make the next hash come earlier; a lost one costs time, never a wrong tag.
//
// # Dates
//
// A modification date is no tag: it has whole seconds, and anybody can set it. The index knows with which dates other versions
// of a name can have been shown (see [index.Dates]), so a [tree.State] can say which dates prove the version. What the store
// writes itself gets a date that no other version of the name can have been shown with, if need be that of the next second. A
// date that has not come is not shown as a validator; but it may be told as a property.
//
// # Limits
//
// A local program may write into a file while it is hashed. The hash is then taken again until two looks agree, and it
// is remembered only if a read lease says that nobody had the file open for writing; where there are no leases, once
// the file has been left alone for two seconds. Where a lease was refused, the tag may refuse a write, but none commits on
// it: when the writer has gone, the file is hashed again first. Without leases nothing tells a writer from nobody, and what
// was hashed decides if a look finds the same inode, size and times. A copy of a collection has each of its members whole,
// but not all of them as of one instant.
package etagfs

import (
	"cmp"
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"golang.org/x/sync/singleflight"

	"ifmatch/etagfs/index"
	"ifmatch/fs"
	"ifmatch/limit"
	"ifmatch/tree"
)

// Options configure a store; the zero value works.
type Options struct {
	// IndexDir is a directory of the operating system that keeps what is known of tags across restarts; "" keeps it in
	// memory only. It is a cache: it may be deleted at any time.
	IndexDir string
	// History says how long what was replaced or removed is kept, if the file system keeps it; nil leaves that to others
	// who serve the directory.
	History *fs.Retention
	// WarmUp is how many files are hashed at once ahead of need, all that are not known yet. 0: only those that a
	// watcher has told of, or that a request did not wait for.
	WarmUp int
	// Rescan is how often the tree is searched for files that are not known, besides once at the start and after an
	// overflow of the watcher (0: never).
	Rescan time.Duration
	// Progress is told now and then how far WarmUp has come, and when it is through (nil: nobody).
	Progress func(Progress)
	// Report is told of trouble that is nobody's request (nil: silence).
	Report func(error)
	// Now is the clock (nil: time.Now).
	Now func() time.Time
	// Hashes bounds how many files are hashed at once for those who wait for that (nil: by what this process may use).
	Hashes *limit.Pool

	// NoSendfile has no bytes of a file sent by the kernel.
	NoSendfile bool
	// InFlight bounds how many bytes that were sent can be on the way, and not read by a client (0: 40 MiB). The kernel sends
	// references to the pages of a file, so until a client has read them, a local program can still change what it gets. As
	// many at the end of a file are copied.
	InFlight int64

	// Held, if not nil, is told when the lock of commits is taken (true), and when it is released (false), both by its
	// holder. Tests measure with it for how long others wait.
	Held func(bool)
}

// A Store is a directory served as a [tree.Store].
type Store struct {
	fs     *fs.FS
	report func(error)
	now    func() time.Time

	// absent, if not nil, is asked inside each commit. An error says that the directory is not served any more.
	absent func() error

	// turn is shared by all commits, each time they try; see [Store.update].
	turn sync.RWMutex
	// mu is held while the lock of commits is.
	mu    toldSection
	root  directory
	user  int // of this process; -1 on Windows
	index *index.Index
	locks *lockTable
	dates *index.Dates

	flights  flights
	reading  reading
	inFlight int64 // see Options; negative: nothing is sent by the kernel
	// captured is how many bytes of files are held that were read while they were hashed.
	captured atomic.Int64
	hashes   *limit.Pool
	summing  singleflight.Group // of sums, by version
	asked    atomic.Int32       // hashes that requests wait for
	pace     atomic.Int64       // bytes per second that were hashed, at the most
	queue    *queue
	told     *lru.Cache[string, string] // why files could not be hashed ahead of need, by name
	odd      *oddNames
	expiry   expiry
	stop     context.CancelFunc
	running  sync.WaitGroup
}

var _ interface {
	tree.Store
	tree.Speller
} = (*Store)(nil)

// A toldSection tells of being held, see [Options.Held]. What keeps others out of it is the lock of commits.
type toldSection struct {
	tell func(bool) // nil: nobody
}

func (m *toldSection) told(held bool) {
	if m.tell != nil {
		m.tell(held)
	}
}

func (m *toldSection) Lock()   { m.told(true) }
func (m *toldSection) Unlock() { m.told(false) }

// New makes a store of a file system and first clears up what processes that died have left in it. The store owns the
// file system from then on, also when New fails.
func New(below *fs.FS, opts Options) (*Store, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Report == nil {
		opts.Report = func(error) {}
	}
	if opts.Hashes == nil {
		opts.Hashes = limit.System().Bounds().Pools().Hashes
	}
	opts.InFlight = cmp.Or(opts.InFlight, 40<<20)
	if opts.NoSendfile {
		opts.InFlight = -1
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Store{
		user:     os.Geteuid(), // a system call for each time, in Go
		inFlight: opts.InFlight,
		hashes:   opts.Hashes,
		fs:       below,
		report:   opts.Report,
		now:      opts.Now,
		mu:       toldSection{tell: opts.Held},
		locks:    &lockTable{fs: below, now: opts.Now, report: opts.Report},
		queue:    newQueue(),
		expiry:   newExpiry(opts.History),
		stop:     stop,
	}
	below.ReportTo(opts.Report)
	s.told, _ = lru.New[string, string](maxTold) // fails for a size below one
	s.odd = newOddNames()
	root, volume, err := lookAtRoot(below)
	if err == nil {
		s.root = directory{"", root.Device, root.Mount}
		s.index = index.Open(index.Options{
			Dir: opts.IndexDir, Device: root.Device, Heir: fs.Heir(root), Volume: volume, Boot: index.BootID(),
			Sync: s.syncVolume, LazyTimes: below.LazyTimes, Report: opts.Report,
		})
		// A server that only reads leaves no trace of itself, and what it has shown is forgotten.
		fresh := below.Fresh() || below.ReadOnly() && !s.index.OnDisk()
		s.dates = index.NewDates(s.index, fresh, opts.Now, opts.Report)
		if !below.ReadOnly() {
			s.recover(ctx)
		}
	}
	if err != nil {
		stop()
		if s.index != nil {
			err = errors.Join(err, s.index.Close(0))
		}
		return nil, errors.Join(err, below.Close())
	}
	s.work(ctx, opts)
	if opts.History != nil && !below.ReadOnly() {
		s.running.Go(func() { s.expire(ctx) })
		s.running.Go(func() { s.sweep(ctx) })
	}
	return s, nil
}

func lookAtRoot(below *fs.FS) (fs.Info, fs.Volume, error) {
	info, err := below.Stat("")
	if err != nil {
		return info, fs.Volume{}, err
	}
	d, err := below.OpenDir("", fs.DirOptions{})
	if err != nil {
		return info, fs.Volume{}, err
	}
	return info, d.Volume(), d.Close()
}

// recover clears up after processes that are gone. What cannot be cleared up is in nobody's way.
func (s *Store) recover(ctx context.Context) {
	err := s.fs.Recover(ctx)
	if err == nil {
		s.told.Remove(recovering)
	} else if ctx.Err() == nil {
		s.tellOnce(recovering, err)
	}
	s.queue.emptyTrash()
}

// recovering stands for the recovery where others have names of files.
const recovering = "\x00recover"

// Close ends what goes on in the background and lets go of the directory. No method may be running.
func (s *Store) Close() error {
	s.stop()
	s.running.Wait()
	return errors.Join(s.dates.Close(), s.index.Close(lastSync), s.fs.Close())
}

// tick looks after the index.
func (s *Store) tick() {
	anew := s.index.Tick()
	s.dates.Tick()
	if anew {
		s.Rescan()
	}
}

// lastSync bounds how long Close waits until what other programs have written is on disk, which spares the next start
// some hashing should the machine go down before it is.
const lastSync = 10 * time.Second

// syncVolume syncs the file system that a directory is on, if that has a device.
func (s *Store) syncVolume(dir string, device uint64) error {
	is := func() error {
		info, err := s.fs.Lstat(dir)
		if err == nil && info.Device != device {
			err = errOtherVolume
		}
		return err
	}
	if err := is(); err != nil {
		return err
	}
	if err := s.fs.SyncAll(dir); err != nil {
		return err
	}
	return is()
}

var errOtherVolume = errors.New("another file system is mounted there now")
