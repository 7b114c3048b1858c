// Package volumes is a tree of files on one or several file systems, without commits: names, looks, locks, and what the
// server keeps on each file system.
//
// A [Tree] resolves names, so that none leads out of the tree or to the server's own state. It finds the file systems
// that are mounted in it. Each of them is a [Volume], with a state directory, a session of this process and a lock. A
// commit takes the locks of the volumes that it is about ([Tree.Hold]), and makes readers wait or look again
// ([Volume.Committing]). Readers take no lock ([Snapshot]).
//
// Package fs is the [Layer] above, and has the commits. What is exported here is for package fs and the packages that
// it consists of. Package fs also declares the parts that its callers use.
package volumes

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/mounts"
)

// The errors of this package, besides those of package vfs, of io/fs and the operating system.
var (
	ErrReserved = errors.New("the name is reserved for the server's own state")
	ErrEscapes  = errors.New("a symbolic link leads out of the tree")
	ErrSpecial  = errors.New("neither a file nor a directory")
	ErrMoved    = errors.New("it is not what was seen a moment ago")
	ErrLost     = errors.New("the directory is gone, or the server's own state in it")
)

// Durability says how much is on disk before a commit returns.
type Durability uint8

// The durabilities, the strongest first.
const (
	Full Durability = iota // the content and the name
	Data                   // the content. A power failure may undo the names of the last seconds
	None                   // only as much as the operating system has written by then
)

// Options configure a file system. The zero value works.
type Options struct {
	ReadOnly   bool // change nothing, not even the state directory
	Durability Durability
	History    bool             // keep replaced and removed versions until Expire drops them
	Now        func() time.Time // the clock (nil: time.Now)
	// Linger is how long files that each commit writes stay open on the volume of the root after a commit, at least, and
	// twice as long at most (0: they are closed at once). Meanwhile the disk cannot be remounted read-only.
	Linger time.Duration

	// FileMode and DirMode are the modes of new files and directories (0: the umask decides). If the parent directory
	// has a default ACL, the ACL grants the permissions, and the mode is the most that the ACL can grant.
	FileMode, DirMode iofs.FileMode

	// Met, if not nil, is called before the first commit on a file system that is mounted in the tree, with the name of
	// its top and its abilities. Met must not call methods of the tree.
	Met func(name string, able Abilities)

	// Before, if not nil, is called before each system call. If it returns an error, the system call is not made and
	// fails with that error. Tests use Before to make the n-th call fail, to die at that call, and to print the trace.
	Before func(vfs.Call) error
}

// A Tree is a tree of files, and what this process knows about the volumes in it. Names are as in package tree:
// relative, slash-separated, "" for the root. All methods may be called concurrently. The methods that change names may
// be called only under [Tree.Lock], or the lock of the volume.
type Tree struct {
	calls *vfs.FS
	opts  Options
	above Layer

	ID      string        // of this process, among the processes that serve the directory
	Alive   *vfs.File     // open and locked as long as this process lives
	counter atomic.Uint64 // for names that no other process uses

	root       *Volume
	anyAliases atomic.Bool // at least one volume has aliases
	// gives: this process runs as root, and gives its files to the owner of the state directory.
	gives bool
	fresh bool // the directory had no state directory when it was opened

	mu        sync.Mutex
	mounted   []*Volume                 // the known volumes except the root's
	below     atomic.Pointer[[]*Volume] // mounted, for readers, which wait for no lock
	mountedAt atomic.Pointer[[]string]  // the names of mounts in the tree, see Discover
	found     bool                      // some volumes were not known when Discover was called last
	renewed   map[string]renewal        // the tops below which names are renewed, see renewBelow

	questions questions

	RootLock *CommitLock // of the root's file system
	locks    locks       // of the other file systems
	claim    claim       // under the root's lock

	state     atomic.Pointer[vfs.Dir] // the state directory, as of the opening of the root's lock file. nil if ReadOnly
	stateDirs []*vfs.Dir              // under mu: every state directory that state has had
}

// A Layer is the package above. It knows what a commit puts into the state directories.
type Layer interface {
	// NewVolume is called with each new volume, before anything else is done with it. It returns what [Volume.Above]
	// is.
	NewVolume(v *Volume) Above
	// FinishMarked finishes the move that the last holder of a lock has left half done. The caller has just got the
	// lock, and calls it if the lock file has any content, or if [CommitLock.Unfinished] names a note.
	FinishMarked(l *CommitLock) error
}

// An Above is what the package above keeps about a volume.
type Above interface {
	// Probe tries the capabilities of the file system in the session of this process, which was just made.
	Probe() (Abilities, error)
	// CloseSession removes the session of this process. It is called under the lock of the volume.
	CloseSession() error
}

// New returns a tree that was not opened yet. The options have a clock.
func New(calls *vfs.FS, opts Options, above Layer) *Tree {
	s := &Tree{
		calls: calls, opts: opts, above: above, ID: uuid.NewString(),
		questions: questions{open: map[string]chan struct{}{}}, locks: locks{of: map[uint64]*CommitLock{}},
	}
	s.below.Store(&[]*Volume{})
	return s
}

// Start opens the tree. If it fails, the tree is closed.
func (s *Tree) Start() error {
	root, err := s.calls.Lstat(".")
	s.RootLock = s.newLock(root.Device, lockName)
	s.root = s.newVolume(".", DeviceOf(root))
	if err == nil && root.Kind != vfs.Directory {
		err = &iofs.PathError{Op: "open", Path: ".", Err: errors.New("not a directory")}
	}
	if err == nil && s.opts.ReadOnly {
		s.root.abilities.Aliases = s.root.ProbeAliases()
	} else if err == nil {
		err = s.openState()
	}
	if err != nil {
		return errors.Join(err, s.Close())
	}
	s.Discover()
	return nil
}

// Close ends the session of this process and closes the tree.
func (s *Tree) Close() error {
	errs := []error{s.Leave(), s.RootLock.close()}
	for _, l := range s.locks.of {
		errs = append(errs, l.close())
	}
	for _, dir := range append(s.stateDirs, s.root.SessionDir) {
		dir.Close()
	}
	// A question uses the descriptor of the root until it is answered. Another file could have its number by then.
	return errors.Join(append(errs, s.questions.atLast(s.calls.Close))...)
}

// Leave is [Tree.Close] for a process that is about to end, while calls of methods have not returned. It ends the
// session, and leaves the descriptors open that these calls use.
func (s *Tree) Leave() error {
	if s.Alive == nil {
		return nil
	}
	return s.closeSession()
}

func (s *Tree) closeSession() error {
	if s.Lost() {
		return s.Alive.Close() // the staged files of this process are lost too
	}
	// On some file systems, NFS and FUSE among them, a directory cannot be removed while a file in it is open.
	unlock, err := s.Lock(context.Background())
	if err != nil {
		return errors.Join(err, s.Alive.Close())
	}
	errs := []error{s.Alive.Close(), s.root.Above.CloseSession()}
	unlock()
	for _, v := range s.Answering()[1:] {
		// A commit may hang there, of another process too.
		if v.CommitLock.Take(context.Background(), closePatience) == nil {
			errs = append(errs, v.Above.CloseSession())
			v.CommitLock.Release()
		}
	}
	return errors.Join(errs...)
}

// closePatience is how long a stop waits for the lock of a mounted file system. Another process, or the next start,
// clears up what is left there.
const closePatience = time.Second

// The names of the state directory and of the lock file in the root's state directory, and the format.
const (
	OwnDir   = ".ifmatch"
	lockName = OwnDir + "/lock"

	stateFormat = "1\n"
)

func (s *Tree) openState() error {
	s.gives = isRoot() // the look at the state directory below tells whether it has another owner
	_, missing := s.calls.Lstat(OwnDir)
	s.fresh = errors.Is(missing, iofs.ErrNotExist)
	if err := s.MakeDir(OwnDir); err != nil {
		return fmt.Errorf("making the state directory %s: %w", OwnDir, err)
	}
	state, err := s.calls.Lstat(OwnDir)
	if err != nil {
		return err
	}
	s.gives = s.gives && state.User.N != 0
	if err = s.beginState(); errors.Is(err, iofs.ErrPermission) && !errors.As(err, new(*StrangerError)) {
		// An example is a file that root has left in the state directory. The command changes no files further down,
		// because the versions there have owners of their own.
		at := s.calls.HostPath(OwnDir)
		err = fmt.Errorf("%w; it must belong to the user that the server runs as: chown %s %s %s/* %s/*/*",
			err, nameOf(self()), at, at, at)
	}
	return err
}

func (s *Tree) beginState() error {
	private, err := s.root.checkState()
	if err == nil {
		err = s.RootLock.open()
	}
	if err != nil {
		return err
	}
	// Two servers can start at once. The lock keeps them from writing the format over each other. It also keeps another
	// process from taking this session for a dead one between the first and the last call that makes it.
	unlock, err := s.Lock(context.Background())
	if err != nil {
		return err
	}
	defer unlock()
	err = s.root.openSession()
	s.root.abilities.Shared = !private
	s.root.Opened.Store(err == nil)
	return err
}

// MakeDir makes a directory unless the directory exists.
func (s *Tree) MakeDir(name string) error {
	mode := iofs.FileMode(0o777) // the umask decides about the directories inside a state directory
	if path.Base(name) == OwnDir {
		mode = 0o700 // no other user may look into a state directory
	}
	err := s.calls.Mkdir(name, mode)
	if err == nil {
		s.giveDir(name)
	}
	if !errors.Is(err, iofs.ErrExist) {
		return err
	}
	info, err := s.calls.Lstat(name)
	if err != nil {
		return err
	}
	if info.Kind != vfs.Directory {
		err = errors.New("something else has that name (a file, or a symbolic link): remove it")
		return &iofs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	return nil
}

// Within calls do, which needs a directory of a state directory. If the directory is missing, Within makes it, as
// durable as a commit, and calls do again.
func (s *Tree) Within(dir string, do func() error) error {
	err := do()
	if !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	if err = s.MakeDir(dir); err == nil {
		err = s.SyncNames(path.Dir(dir))
	}
	if err != nil {
		return err
	}
	return do()
}

// Unique returns a name in dir that no other caller and no other process uses.
func (s *Tree) Unique(dir, prefix string) string {
	return dir + "/" + prefix + s.ID + "-" + strconv.FormatUint(s.counter.Add(1), 10)
}

// ReadOnly reports whether the file system was opened to change nothing.
func (s *Tree) ReadOnly() bool { return s.opts.ReadOnly }

// Lingers returns [Options.Linger].
func (s *Tree) Lingers() time.Duration { return s.opts.Linger }

// Durability returns the durability that a commit promises.
func (s *Tree) Durability() Durability { return s.opts.Durability }

// SyncAll returns when all data that any program had written to the file system of a directory before the call is on
// disk. The more such data there is, the longer it takes.
func (s *Tree) SyncAll(dir string) error { return s.calls.SyncAll(Local(dir)) }

// LazyTimes reports whether time stamps can reach the disk long after the bytes that they belong to. With the mount
// option lazytime, the delay is up to a day.
func (s *Tree) LazyTimes(dir string) bool {
	return !s.calls.IsInMemory() && mounts.HasLazyTimes(s.calls.HostPath(dir))
}

// Fresh reports whether the directory had no state directory, which means that no server has served it before.
func (s *Tree) Fresh() bool { return s.fresh }

// Volume describes the file system of the directory.
func (d *Dir) Volume() vfs.Volume { return d.file.Volume() }
