// Package etagfs serves a directory as a [tree.Store]. It computes the tags of files from their content, and its writes
// compare and swap.
//
// # The commit
//
// The store stages and hashes a body with no lock held. Then, under the locks of the volumes that the commit is about
// (see [volumes.Hold]), it resolves the collection, looks at the name in it, and asks the caller's Check about that
// look. One rename or exchange gives the new version its name, if the version that it replaces is still the one that
// the look has found (see [fs.Place.Commit]). If it is not, the store does all of that again. See [Store.update]. A
// condition that is not Exact takes any version. Under that lock the store never waits for a body, a hash or a local
// program, nor for the disk (but for a file of WebDAV locks that it cannot read, once). Readers take no lock. Each file system has sequence numbers, which tell readers that names
// have changed while they looked. Then they look again (see [volumes.Snapshot]). So they never see the middle of a
// commit, nor a version that is taken back.
//
// The result of a write is durable as [fs.Durability] says. If a step after the rename fails, such as the sync of the
// directory or the end of the WebDAV locks of a replaced or removed resource, the write is not acknowledged, and the
// new version is visible and whole.
//
// # Tags and dates
//
// A tag is the SHA-256 of the content. The store computes it while the content comes in, and remembers it with the full
// fingerprint of the file. It uses the tag again only after one more look has found the same fingerprint. Events of a
// watcher ([Store.Changed]) only make the next hash come earlier. A modification date is no tag: see [index.Dates].
//
// A local program may write to a file while the store hashes it. The store then hashes the file again until two looks
// agree. It remembers the tag only if a read lease says that no program had the file open for writing, or, where there
// are no leases, once the file has been left unchanged for two seconds. If a lease was refused, the tag may refuse a
// write, but no write commits on it: when the program has closed the file, the store hashes the file again first.
package etagfs

import (
	"cmp"
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/content"
	"r-seed-1f3a754f.example/ifmatch/etagfs/copier"
	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/feed"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/etagfs/locktable"
	"r-seed-1f3a754f.example/ifmatch/etagfs/resumable"
	"r-seed-1f3a754f.example/ifmatch/etagfs/snapshots"
	"r-seed-1f3a754f.example/ifmatch/etagfs/warmup"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Options configure a store. The zero value works.
type Options struct {
	// IndexDir is a directory of the operating system that keeps the records of tags across restarts. If it is "", the
	// records are in memory only. The directory is a cache: it may be deleted at any time.
	IndexDir string
	// History says how long versions that were replaced or removed are kept, if the file system keeps them. If it is
	// nil, other processes that serve the directory decide this.
	History *history.Retention
	// WarmUp is how many files are hashed at once ahead of need. All files that are not known yet are hashed. If it is
	// 0, only those are hashed that a watcher has reported, or for which a request did not wait.
	WarmUp int
	// Rescan is how often the tree is searched for files that are not known (0: never). The tree is also searched once
	// at the start, and after an overflow of the watcher.
	Rescan time.Duration
	// Progress, if not nil, is called now and then with the progress of WarmUp, and at the end of WarmUp.
	Progress func(Progress)
	// Report is called with errors that belong to no request (nil: the errors are dropped).
	Report func(error)
	// Now is the clock (nil: time.Now).
	Now func() time.Time
	// Hashes bounds how many files are hashed at once for requests that wait for the hash (nil: a bound from the
	// resources that this process may use).
	Hashes *limit.Pool

	// CacheMemory bounds the ETags and the small contents that are kept in memory, in bytes (0: 64 MiB; negative: no
	// contents, and few ETags).
	CacheMemory int64

	// NoSendfile says that the kernel sends no bytes of a file.
	NoSendfile bool
	// InFlight bounds how many bytes can be sent by the kernel and not read by a client yet (0: 40 MiB). The kernel
	// sends references to the pages of a file. Until a client has read them, a local program can still change the bytes
	// that the client gets. The store copies the same number of bytes at the end of a file, or fewer if it is known
	// what the client has read, see [tree.Drain]. Relayed bounds how many bytes a program can hold that passes them on
	// by reference, after it has read them (0: 5 MiB).
	InFlight int64
	Relayed  int64

	// Journal has the changes kept, so that they can be followed, see [tree.Feed]. They are kept in the state
	// directory, or in memory if nothing is written there.
	Journal bool

	// Uploads bound the uploads that arrive in parts, see [tree.Uploads].
	Uploads func() UploadLimits

	// Held, if not nil, is called when a commit has its locks. The function that it returns is called before they are
	// released, by the same goroutine.
	Held func() (end func())
}

// A Store is a directory served as a [tree.Store].
type Store struct {
	fs     *fs.FS
	reader *snapshots.Reader
	report func(error)
	now    func() time.Time

	absent func() error // see OnCommit

	held  func() (end func()) // see Options
	root  vfs.Info            // a look at the root
	user  int                 // of this process, or -1 on Windows
	index *index.Index
	locks *locktable.Table
	dates *index.Dates

	hasher   *hashing.Hasher
	contents *content.Server
	copier   *copier.Copier
	warmer   *warmup.Warmer
	chores   chores
	// retention says how long the history keeps versions. Nil: other processes expire them. expireNow has room for one,
	// and is full while there are many new history entries.
	retention *history.Retention
	expireNow chan struct{}
	// versions has room for those that read the history at the same time. Each may hold all of its entries.
	versions chan struct{}

	once    *failure.Once
	odd     *oddNames
	feed    *feed.Feed // nil: changes are not kept
	uploads *resumable.Uploads
	stop    context.CancelFunc
	running sync.WaitGroup
}

var _ interface {
	tree.Store
	tree.Speller
	tree.Uploads
	tree.Quotas
} = (*Store)(nil)

func (opts Options) withDefaults() Options {
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
	opts.Relayed = cmp.Or(opts.Relayed, 5<<20)
	if opts.NoSendfile {
		opts.InFlight = -1
	}
	return opts
}

// New makes a store of a file system, and first clears up the remains of processes that died. The store owns the file
// system from then on, even if New fails.
func New(below *fs.FS, opts Options) (*Store, error) {
	opts = opts.withDefaults()
	ctx, stop := context.WithCancel(context.Background())
	s := &Store{
		user:      os.Geteuid(), // Go makes a system call each time
		fs:        below,
		report:    opts.Report,
		now:       opts.Now,
		held:      opts.Held,
		locks:     locktable.New(below, opts.Now, opts.Report),
		chores:    chores{wake: make(chan struct{}, 1), pause: firstPutBack},
		once:      failure.NewOnce(opts.Report),
		retention: opts.History,
		expireNow: make(chan struct{}, 1),
		versions:  make(chan struct{}, 2),
		stop:      stop,
	}
	s.reader = &snapshots.Reader{FS: below, Held: s.noteHeld, Met: func(f *vfs.File, name string, info vfs.Info) {
		s.hasher.Meet(f, name, info)
	}}
	below.ReportTo(opts.Report)
	s.odd = newOddNames()
	s.uploads = &resumable.Uploads{
		FS: below, Store: s, Limits: opts.Uploads, Now: opts.Now, Report: opts.Report, Once: s.once, Put: s.putStaged,
	}
	root, volume, err := lookAtRoot(below)
	if err != nil {
		stop()
		return nil, errors.Join(err, below.Close())
	}
	s.open(root, volume, opts)
	if !below.ReadOnly() {
		s.recover(ctx)
	}
	if opts.Journal {
		s.feed = feed.Open(ctx, feed.Options{
			FS: below, Reader: s.reader, Index: s.index, Clock: opts.Now, Report: opts.Report, Once: s.once,
			Running: &s.running,
		})
	}
	s.warmer.Start(ctx)
	s.running.Go(func() { s.keepHouse(ctx) })
	if opts.History != nil && !below.ReadOnly() {
		s.running.Go(func() { repeat(ctx, expiryPause, s.expireNow, func() { s.expire(ctx) }) })
		s.running.Go(func() { s.sweep(ctx) })
		s.running.Go(func() { repeat(ctx, resumable.SweepTime, nil, func() { s.uploads.Sweep(ctx) }) })
	}
	return s, nil
}

// open makes the parts of the store that need a look at the root.
func (s *Store) open(root vfs.Info, volume vfs.Volume, opts Options) {
	below := s.fs
	s.root = root
	s.index = index.Open(index.Options{
		Dir: opts.IndexDir, Device: root.Device, Heir: volumes.Heir(root), Volume: volume, Boot: index.BootID(),
		Sync: s.syncVolume, LazyTimes: below.LazyTimes, Report: opts.Report, Memory: opts.CacheMemory,
	})
	s.hasher = &hashing.Hasher{
		FS: below, Root: root, Index: s.index, Now: opts.Now, Turns: opts.Hashes, Open: s.reader.Open,
		Work: &s.running,
	}
	s.warmer = warmup.New(warmup.Options{
		Hasher: s.hasher, Reader: s.reader, Report: opts.Report, Once: s.once, Running: &s.running,
		AtOnce: opts.WarmUp, Every: opts.Rescan, Progress: opts.Progress,
	})
	s.copier = &copier.Copier{FS: below, Reader: s.reader, Index: s.index, Drop: s.discard}
	s.contents = &content.Server{Hasher: s.hasher, InFlight: opts.InFlight, Relayed: opts.Relayed}
	// A server that only reads leaves no trace of itself, and the dates that it has shown are forgotten.
	fresh := below.Fresh() || below.ReadOnly() && !s.index.OnDisk()
	s.dates = index.NewDates(s.index, fresh, opts.Now, opts.Report)
}

func lookAtRoot(below *fs.FS) (vfs.Info, vfs.Volume, error) {
	info, err := below.Stat("")
	if err != nil {
		return info, vfs.Volume{}, err
	}
	d, err := below.OpenDir("", volumes.DirOptions{})
	if err != nil {
		return info, vfs.Volume{}, err
	}
	return info, d.Volume(), d.Close()
}

// recover clears up after processes that have ended. Remains that it cannot clear up do no harm.
func (s *Store) recover(ctx context.Context) {
	err := s.fs.Recover(ctx)
	if err == nil {
		s.once.Forget(recovering)
	} else if ctx.Err() == nil {
		s.once.Report(recovering, err)
	}
	s.chores.emptyTrash()
}

// recovering stands for the recovery as the subject of an error.
const recovering = "\x00recover"

// FS returns the directory of the store.
func (s *Store) FS() *fs.FS { return s.fs }

// OnCommit has absent asked inside each commit, before the commit changes anything. If absent returns an error, the
// directory is not served any more, and the commit fails with that error. OnCommit must be called before all methods
// that commit.
func (s *Store) OnCommit(absent func() error) { s.absent = absent }

// Close ends the work in the background and closes the directory. No method may be running. If work in the background
// waits for a file system that does not answer, Close leaves that work and the descriptors that it uses to the end of
// the process.
func (s *Store) Close() error {
	s.stop()
	if !s.rest() {
		s.report(errors.New("a file system does not answer, and work on it is left behind"))
		return errors.Join(s.dates.Close(), s.index.Close(lastSync), s.fs.Leave())
	}
	// An expiry that was under way when Close began has put its directories into the trash by now.
	last, cancel := context.WithTimeout(context.Background(), lastTrash)
	defer cancel()
	s.clearTrash(last)
	s.feed.Close()
	return errors.Join(s.dates.Close(), s.index.Close(lastSync), s.fs.Close())
}

// restPatience is how long Close waits for work in the background, which is to end at its next step.
const restPatience = 3 * time.Second

// rest waits until the work in the background has ended, and reports whether it has.
func (s *Store) rest() bool {
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	patience := volumes.NewPatience(restPatience)
	defer patience.Stop()
	return patience.Await(ended)
}

// lastSync bounds how long Close waits until the data that other programs have written is on disk. If the machine
// crashed before then, the next start would have to hash some files again.
const lastSync = 10 * time.Second

// syncVolume syncs the file system that a directory is on, if that file system has this device number.
func (s *Store) syncVolume(dir string, device uint64) error {
	is := func() error {
		info, err := s.fs.Lstat(dir)
		if err == nil && info.Device != device {
			err = errors.New("another file system is mounted there now")
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

// UploadLimits bound the uploads that arrive in parts.
type UploadLimits = resumable.Limits

// NewUpload implements [tree.Uploads].
func (s *Store) NewUpload(
	ctx context.Context, name string, opts tree.UploadOptions, cond tree.Condition,
) (tree.Upload, error) {
	return s.uploads.New(ctx, name, opts, cond)
}

// OpenUpload implements [tree.Uploads].
func (s *Store) OpenUpload(ctx context.Context, id string) (tree.Upload, error) {
	return s.uploads.Open(ctx, id)
}
