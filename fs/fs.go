// Package fs is a file system in which a name goes from one version to the next in a single step. No name leads out of
// it.
//
// FS writes a new version to a staged file, syncs the staged file, and gives it its name by one rename or exchange. The
// version that it replaces is whole until then, and goes to the history. The caller decides whether a change may
// happen: the caller looks, decides and commits while it holds [FS.Lock]. This lock also keeps out other processes that
// serve the same directory. The commit makes sure that the version it replaces is the version that the caller has seen.
//
// # System calls
//
// All system calls are those of package vfs. They work on a directory of the operating system ([Open]) or on any
// afero.Fs ([OpenAfero]), such as MemMapFs. MemMapFs is not durable, and other processes do not see it. [FS.Abilities]
// returns the capabilities that the file system was found to have.
//
// # The state directory
//
// The directory .ifmatch at the top of the tree belongs to the server. It holds the staged files of each process that
// serves the directory, the history of replaced and removed versions, the trash, large properties, and small state
// files. Each file system that is mounted in the tree is a volume. A volume has a state directory of its own for its
// staged files and its history. No name leads to a state directory, in any spelling or through a link: such a name is
// [ErrReserved], and no listing contains it.
//
// # Limits
//
// A local program that writes to the directory does not take [FS.Lock]. If the kernel has RENAME_NOREPLACE, a
// create-only commit never replaces a file that such a program has created. If the file system has leases and
// RENAME_EXCHANGE, a commit does not replace a file that the program has changed after the caller's last look. The
// commit undoes its exchange in that case. Until then, for some microseconds, the program can see the new version,
// whose commit fails. If the program is about to open a file for writing at the instant at which a commit replaces the
// file, the program writes to the version in the history. No rename leads to another file system: a move fails there
// with EXDEV, and the caller moves by a copy and [FS.Take]. A version that has no room in the history ([How].Unkept) is
// deleted. Bytes that a program has written to that version after the last look are deleted with it.
package fs

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
	"github.com/spf13/afero"

	"ifmatch/fs/vfs"
	"ifmatch/fs/vfs/aferosystem"
	"ifmatch/mounts"
)

// The errors of this package, besides those of io/fs and the operating system.
var (
	ErrReserved = errors.New("the name is reserved for the server's own state")
	ErrLink     = vfs.ErrLink
	ErrEscapes  = errors.New("a symbolic link leads out of the tree")
	ErrSpecial  = errors.New("neither a file nor a directory")
	ErrMoved    = errors.New("it is not what was seen a moment ago")
	ErrLost     = errors.New("the directory is gone, or the server's own state in it")
	ErrBusy     = vfs.ErrBusy
	ErrWriter   = vfs.ErrWriter
)

// These types of package vfs describe files and file systems.
type (
	File        = vfs.File
	Info        = vfs.Info
	Kind        = vfs.Kind
	Fingerprint = vfs.Fingerprint
	ID          = vfs.ID
	Volume      = vfs.Volume
	Space       = vfs.Space
	Call        = vfs.Call
)

// The kinds. Special is a device, a pipe or a socket: the server neither serves nor touches it.
const (
	Nothing   = vfs.Nothing
	Regular   = vfs.Regular
	Directory = vfs.Directory
	Link      = vfs.Link
	Special   = vfs.Special
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

	// FileMode and DirMode are the modes of new files and directories (0: the umask decides). If the parent directory
	// has a default ACL, the ACL grants the permissions, and the mode is the most that the ACL can grant.
	FileMode, DirMode iofs.FileMode

	// Met, if not nil, is called before the first commit on a file system that is mounted in the tree, with the name of
	// its top and its abilities. Met must not call methods of the FS.
	Met func(name string, able Abilities)

	// Before, if not nil, is called before each system call. If it returns an error, the system call is not made and
	// fails with that error. Tests use Before to make the n-th call fail, to die at that call, and to print the trace.
	Before func(Call) error
}

// An FS is a tree of files. Names are as in package tree: relative, slash-separated, "" for the root. All methods may
// be called concurrently. The methods that commit may be called only under [FS.Lock].
type FS struct {
	calls *vfs.FS
	opts  Options

	id      string        // of this process, among the processes that serve the directory
	alive   *File         // open and locked as long as this process lives
	counter atomic.Uint64 // for names that no other process uses

	root       *volume
	anyAliases atomic.Bool // at least one volume has aliases
	// gives: this process runs as root, and gives its files to the owner of the state directory.
	gives bool
	fresh bool // the directory had no state directory when it was opened

	mu        sync.Mutex
	mounted   []*volume                 // the known volumes except the root's
	below     atomic.Pointer[[]*volume] // mounted, for readers, which wait for no lock
	mountedAt atomic.Pointer[[]string]  // the names of mounts in the tree, see Discover
	found     bool                      // some volumes were not known when Discover was called last
	renewed   map[string]renewal        // the tops below which names are renewed, see renewBelow

	questions questions

	lock  *commitLock // of the root's file system
	locks locks       // of the other file systems
	claim claim       // under the root's lock

	state     atomic.Pointer[vfs.Dir] // the state directory, as of the opening of the root's lock file. nil if ReadOnly
	stateDirs []*vfs.Dir              // under mu: every state directory that state has had

	promised sync.Map // *promises, by the number of the device
	uploads  uploads
	reporter atomic.Pointer[func(error)]
	early    []error // under mu: events that were reported before ReportTo was called
}

// ReportTo sets the function that gets the events which belong to no request. Examples are that versions of the history
// were dropped, and that the undo of a failed commit will be tried again later. The function must not call methods of
// the FS. ReportTo calls it at once for the events since Open.
func (s *FS) ReportTo(report func(error)) {
	s.reporter.Store(&report)
	s.mu.Lock()
	early := s.early
	s.early = nil
	s.mu.Unlock()
	for _, news := range early {
		report(news)
	}
}

// maxEarly bounds the number of events that wait for ReportTo.
const maxEarly = 16

// report hands an event to the function of ReportTo.
func (s *FS) report(news error) {
	if report := s.reporter.Load(); report != nil {
		(*report)(news)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.early) < maxEarly {
		s.early = append(s.early, news)
	}
}

// Open opens the directory dir of the operating system.
func Open(dir string, opts Options) (*FS, error) {
	calls, err := vfs.Open(dir, opts.Before)
	if err != nil {
		return nil, err
	}
	return open(calls, opts)
}

// OpenAfero opens an afero.Fs to which no other program writes.
func OpenAfero(below afero.Fs, opts Options) (*FS, error) {
	return open(vfs.New(aferosystem.New(below, stateDir+"/"+stagePart+"/exchange"), opts.Before), opts)
}

func open(calls *vfs.FS, opts Options) (*FS, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &FS{calls: calls, opts: opts, id: uuid.NewString()}
	s.below.Store(&[]*volume{})
	root, err := calls.Lstat(".")
	s.lock = s.newLock(root.Device, lockName)
	s.root = s.newVolume(".", deviceOf(root))
	if err == nil && root.Kind != Directory {
		err = &iofs.PathError{Op: "open", Path: ".", Err: errors.New("not a directory")}
	}
	if err == nil && opts.ReadOnly {
		s.root.abilities.Aliases = s.root.probeAliases()
	} else if err == nil {
		err = s.openState()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.Discover()
	return s, nil
}

// Close discards the staged files of this process and closes the tree.
func (s *FS) Close() error {
	var errs []error
	if s.alive != nil {
		errs = append(errs, s.closeSession())
	}
	errs = append(errs, s.lock.close())
	for _, l := range s.locks.of {
		errs = append(errs, l.close())
	}
	for _, dir := range append(s.stateDirs, s.root.sessionDir) {
		if dir != nil {
			dir.Close()
		}
	}
	return errors.Join(append(errs, s.calls.Close())...)
}

// Leave is Close for a process that is about to end, while calls of methods have not returned. It ends the session, and
// leaves the descriptors open that these calls use.
func (s *FS) Leave() error {
	if s.alive == nil {
		return nil
	}
	return s.closeSession()
}

func (s *FS) closeSession() error {
	if s.Lost() {
		return s.alive.Close() // the staged files of this process are lost too
	}
	// On some file systems, NFS and FUSE among them, a directory cannot be removed while a file in it is open.
	unlock, err := s.Lock(context.Background())
	if err != nil {
		return errors.Join(err, s.alive.Close())
	}
	errs := []error{s.alive.Close(), s.root.closeSession()}
	unlock()
	for _, v := range s.answering()[1:] {
		// A commit may hang there, of another process too.
		if v.lock.Take(context.Background(), closePatience) == nil {
			errs = append(errs, v.closeSession())
			v.lock.Release()
		}
	}
	return errors.Join(errs...)
}

// closePatience is how long a stop waits for the lock of a mounted file system. Another process, or the next start,
// clears up what is left there.
const closePatience = time.Second

// closeSession ends the session of this process on the volume. It must be called under the lock of the volume.
func (v *volume) closeSession() error {
	told, err := v.finishDisplaced(v.session)
	err = errors.Join(err, v.retryUndos(""))
	if err == nil {
		v.dropNotes()
		_ = v.calls.RemoveAll(v.session) // the rest is garbage: the next start tries again, and reports it
	}
	return errors.Join(told, err)
}

// The names of the state directory and of the lock file in the root's state directory, and the format.
const (
	stateDir = ".ifmatch"
	lockName = stateDir + "/lock"

	stateFormat = "1\n"
)

func (s *FS) openState() error {
	s.gives = isRoot() // the look at the state directory below tells whether it has another owner
	_, missing := s.calls.Lstat(stateDir)
	s.fresh = errors.Is(missing, iofs.ErrNotExist)
	if err := s.makeDir(stateDir); err != nil {
		return fmt.Errorf("making the state directory %s: %w", stateDir, err)
	}
	state, err := s.calls.Lstat(stateDir)
	if err != nil {
		return err
	}
	s.gives = s.gives && state.User.N != 0
	if err = s.beginState(); errors.Is(err, iofs.ErrPermission) && !errors.As(err, new(*StrangerError)) {
		// An example is a file that root has left in the state directory. The command changes no files further down,
		// because the versions there have owners of their own.
		at := s.hostPath(stateDir)
		err = fmt.Errorf("%w; it must belong to the user that the server runs as: chown %s %s %s/* %s/*/*",
			err, nameOf(self()), at, at, at)
	}
	return err
}

func (s *FS) beginState() error {
	private, err := s.root.checkState()
	if err == nil {
		err = s.lock.open()
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
	s.root.opened.Store(err == nil)
	return err
}

var errNoDirectory = errors.New("something else has that name (a file, or a symbolic link): remove it")

// makeDir makes a directory unless the directory exists.
func (s *FS) makeDir(name string) error {
	mode := iofs.FileMode(0o777) // the umask decides about the directories inside a state directory
	if path.Base(name) == stateDir {
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
	if info.Kind != Directory {
		return &iofs.PathError{Op: "mkdir", Path: name, Err: errNoDirectory}
	}
	return nil
}

// unique returns a name in dir that no other caller and no other process uses.
func (s *FS) unique(dir, prefix string) string {
	return dir + "/" + prefix + s.id + "-" + strconv.FormatUint(s.counter.Add(1), 10)
}

// ReadOnly reports whether the file system was opened to change nothing.
func (s *FS) ReadOnly() bool { return s.opts.ReadOnly }

// Durability returns the durability that a commit promises.
func (s *FS) Durability() Durability { return s.opts.Durability }

// Uncache asks the system to read an open file from the disk the next time, not from memory.
func (s *FS) Uncache(f *File) { f.Uncache() }

// Volume describes the file system of an open file.
func (s *FS) Volume(f *File) Volume { return f.Volume() }

// SyncAll returns when all data that any program had written to the file system of a directory before the call is on
// disk. The more such data there is, the longer it takes.
func (s *FS) SyncAll(dir string) error { return s.calls.SyncAll(local(dir)) }

// LazyTimes reports whether time stamps can reach the disk long after the bytes that they belong to. With the mount
// option lazytime, the delay is up to a day.
func (s *FS) LazyTimes(dir string) bool {
	return !s.calls.IsInMemory() && mounts.HasLazyTimes(s.hostPath(dir))
}

// Fresh reports whether the directory had no state directory, which means that no server has served it before.
func (s *FS) Fresh() bool { return s.fresh }

// Volume is [FS.Volume] of a directory.
func (d *Dir) Volume() Volume { return d.fs.Volume(d.file) }
