// Package fs is a file system in which a name goes from one version to the next in a single step, and out of which no
// name leads.
//
// A new version is written to a staged file, synced, and given its name by one rename or exchange. The version that it
// replaces is whole until then, and goes to the history. The caller decides whether a change may happen: it looks,
// decides and commits while it holds [FS.Lock], which also keeps out other processes that serve the same directory. The
// commit makes sure that the version it replaces is the one that the caller has seen.
//
// # System calls
//
// All system calls are those of package vfs, over a directory of the operating system ([Open]) or over any afero.Fs
// ([OpenAfero]), such as MemMapFs, which is neither durable nor seen by other processes. [FS.Abilities] returns what
// the file system was found to be able to do.
//
// # The state directory
//
// .ifmatch at the top of the tree is the server's own: it holds the staged files of each process that serves the
// directory, the history of what was replaced and removed, the trash, large properties, and small state files. Each
// file system that is mounted in the tree is a volume, and gets a state directory for what is staged and kept there. No
// name leads to any of them, in any spelling or through a link: such a name is [ErrReserved], and it is not listed.
//
// # Limits
//
// A program that writes the directory itself takes no lock of ours. A create-only commit never replaces a file that
// such a program has created, where the kernel has RENAME_NOREPLACE. A commit does not replace a file that it has
// changed after the caller's last look, where there are leases and RENAME_EXCHANGE; until the exchange is undone, some
// microseconds, the program can see the version that did not come to be. If it is about to open a file for writing in
// the instant in which that is replaced, it writes to the version in the history. No rename leads to another file
// system: a move fails there with EXDEV, and the caller makes it of a copy and [FS.Take]. A version that has no room in
// the history ([How].Unkept) is deleted with whatever a program has written to it after the last look.
package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/afero"

	"ifmatch/fs/vfs"
	"ifmatch/mounts"
)

// The errors of this package, besides those of io/fs and the operating system.
var (
	ErrReserved = errors.New("the name is reserved for the server's own state")
	ErrLink     = vfs.ErrLink
	ErrEscapes  = errors.New("a symbolic link leads out of the tree")
	ErrSpecial  = errors.New("neither a file nor a directory")
	ErrLost     = errors.New("the directory is gone, or the server's own state in it")
	ErrBusy     = vfs.ErrBusy
	ErrWriter   = vfs.ErrWriter
)

// What package vfs tells of what it finds.
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

// The kinds. Special is what is neither served nor touched: a device, a pipe, a socket.
const (
	Nothing   = vfs.Nothing
	Regular   = vfs.Regular
	Directory = vfs.Directory
	Link      = vfs.Link
	Special   = vfs.Special
)

// Durability says what is on disk before a commit returns.
type Durability uint8

// The durabilities, the strongest first.
const (
	Full Durability = iota // the content and the name
	Data                   // the content; a power failure may undo the last seconds' names
	None                   // as much as the operating system has written by then
)

// Options configure a file system; the zero value works.
type Options struct {
	ReadOnly bool // change nothing, not even the state directory
	// NoFollow follows no symbolic link: each counts as one that leads out, and what it leads to is not looked at. It
	// is for rules that go by names.
	NoFollow   bool
	Durability Durability
	History    bool             // keep what is replaced and removed, until Expire lets it go
	Now        func() time.Time // the clock (nil: time.Now)

	// FileMode and DirMode are the modes of new files and directories (0: what the umask leaves). Where the directory
	// they are made in has a default ACL, that says who may what, and they are the most that it can grant.
	FileMode, DirMode iofs.FileMode

	// Met, if not nil, is called before the first commit on a file system that is mounted in the tree, with the name of
	// its top and its abilities. It must not call back.
	Met func(name string, able Abilities)

	// Before, if not nil, is asked before each system call; an error it returns fails the call, which then does not
	// happen. Tests fail the n-th call with it, die at it, and print the trace.
	Before func(Call) error
}

// An FS is a tree of files. Names are as in package tree: relative, slash-separated, "" for the root. All methods may
// be called concurrently, but those that commit only under [FS.Lock].
type FS struct {
	calls *vfs.FS
	opts  Options

	id      string        // of this process, among those that serve the directory
	alive   *File         // open and locked as long as it lives
	counter atomic.Uint64 // for names that no other process uses

	root       *volume
	anyAliases atomic.Bool // some of the volumes have aliases
	// gives: this process is root, and gives its files to the owner of the state directory.
	gives bool
	fresh bool // there was no state directory

	mu      sync.Mutex
	mounted []*volume                 // the others that are known
	below   atomic.Pointer[[]*volume] // mounted, for readers, who wait for no lock
	found   bool                      // some of them were not known when Discover was called last
	renewed map[string]renewal        // the tops below which names are renewed; see renewBelow

	questions questions

	locking   chan struct{} // full while lockFile is locked, or waited for
	lockFile  *File
	state     atomic.Pointer[heldState] // as it was when lockFile was opened; nil where nothing is changed
	stateDirs []*vfs.Dir                // that were in state
	// unfinished is, under the lock, the note of a move of this process that the next holder of the lock finishes.
	unfinished string

	promised sync.Map // *promises, by the number of the device
	reporter atomic.Pointer[func(error)]
	early    []error // under mu: events before there was a reporter
}

// ReportTo sets the function that gets events which belong to no request: that versions of the history were dropped,
// or that an undo of a failed commit is tried again later. The function must not call back. It gets what has happened
// before, since Open.
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

// maxEarly bounds the events that wait for ReportTo.
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

// OpenAfero opens an afero.Fs that nobody else writes to.
func OpenAfero(below afero.Fs, opts Options) (*FS, error) {
	return open(vfs.OpenAfero(below, stateDir+"/"+stagePart+"/exchange", opts.Before), opts)
}

func open(calls *vfs.FS, opts Options) (*FS, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &FS{calls: calls, opts: opts, id: uuid.NewString(), locking: make(chan struct{}, 1)}
	s.below.Store(&[]*volume{})
	root, err := calls.Lstat(".")
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

// Close gives up what this process has staged and lets go of the tree.
func (s *FS) Close() error {
	var errs []error
	if s.alive != nil {
		errs = append(errs, s.closeSession())
	}
	if s.lockFile != nil {
		errs = append(errs, s.lockFile.Close())
	}
	for _, dir := range append(s.stateDirs, s.root.sessionDir) {
		if dir != nil {
			dir.Close()
		}
	}
	return errors.Join(append(errs, s.calls.Close())...)
}

func (s *FS) closeSession() error {
	if s.Lost() {
		return s.alive.Close() // what we had staged is lost too
	}
	unlock, err := s.Lock(context.Background())
	if err != nil {
		return errors.Join(err, s.alive.Close())
	}
	defer unlock()
	// An open file keeps its directory on some file systems, NFS and FUSE among them.
	errs := []error{s.alive.Close()}
	for _, v := range s.answering() {
		told, err := v.finishDisplaced(v.session)
		err = errors.Join(err, v.retryUndos(""))
		if err == nil {
			v.dropNotes()
			_ = s.calls.RemoveAll(v.session) // what stays is garbage: the next start tries again, and reports it
		}
		errs = append(errs, told, err)
	}
	return errors.Join(errs...)
}

// The state directory and what is in that of the root.
const (
	stateDir = ".ifmatch"
	lockName = stateDir + "/lock"

	stateFormat = "1\n"
)

func (s *FS) openState() error {
	s.gives = isRoot() // whether there is anybody, the look says
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
		// Such as what root has left there. What is kept further down has owners of its own.
		at := s.hostPath(stateDir)
		err = fmt.Errorf("%w; it must belong to the user that the server runs as: chown %s %s %s/* %s/*/*",
			err, nameOf(self()), at, at, at)
	}
	return err
}

func (s *FS) beginState() error {
	private, err := s.root.checkState()
	if err == nil {
		err = s.openLock()
	}
	if err != nil {
		return err
	}
	// Under the lock, so that two that start at once do not write the format over each other, and nobody takes a
	// session for a dead one between its first call and its last.
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

// makeDir makes a directory unless it is there.
func (s *FS) makeDir(name string) error {
	mode := iofs.FileMode(0o777) // what is served follows the umask
	if path.Base(name) == stateDir {
		mode = 0o700 // it is nobody else's business
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

// unique returns a name in dir that nobody else uses.
func (s *FS) unique(dir, prefix string) string {
	return fmt.Sprintf("%s/%s%s-%d", dir, prefix, s.id, s.counter.Add(1))
}

// ReadOnly reports whether the file system was opened to change nothing.
func (s *FS) ReadOnly() bool { return s.opts.ReadOnly }

// Durability returns what a commit promises.
func (s *FS) Durability() Durability { return s.opts.Durability }

// Uncache asks the system to read an open file from the disk the next time, and not from memory.
func (s *FS) Uncache(f *File) { f.Uncache() }

// Volume tells of the file system of an open file.
func (s *FS) Volume(f *File) Volume { return f.Volume() }

// SyncAll returns when all that was written to the file system of a directory before, by any program, is on disk. It
// can take as long as there is much of that.
func (s *FS) SyncAll(dir string) error { return s.calls.SyncAll(local(dir)) }

// LazyTimes reports whether time stamps can reach the disk long after the bytes that they go with: with the mount
// option lazytime, up to a day.
func (s *FS) LazyTimes(dir string) bool {
	return !s.calls.IsInMemory() && mounts.HasLazyTimes(s.hostPath(dir))
}

// Fresh reports whether the directory had no state directory, so that nobody has served it before.
func (s *FS) Fresh() bool { return s.fresh }

// Volume is [FS.Volume] of a directory.
func (d *Dir) Volume() Volume { return d.fs.Volume(d.file) }
