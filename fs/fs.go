// Package fs is a file system in which a name goes from one version to the next in a single step, and which cannot be
// left.
//
// A new version is written to a staging file, synced, and given its name by one rename or exchange; what it replaces is
// whole until then, and kept in the history. Whether a change may happen is for the caller to decide: it looks, decides
// and commits while it holds [FS.Lock], which also keeps out other processes that serve the same directory; and the commit
// makes sure that what gives way is what was seen.
//
// # What lies below
//
// There are two implementations of the one table of system calls ([Open], [OpenAfero]): a directory of the operating
// system, through os.Root, so that neither ".." nor a symbolic link leads out of it; and any afero.Fs, such as
// MemMapFs, which is neither durable nor seen by others. [FS.Abilities] tells what was found below.
//
// # The state directory
//
// .ifmatch at the top of the tree holds what is not the users': staging files of each process that serves the directory, the
// history of what was replaced and removed, what waits to be deleted, large properties, and small state files. Each file
// system that is mounted in the tree gets one for what is staged and kept there. No name leads to any, in any spelling or
// through a link: it is [ErrReserved], and not listed.
//
// # Limits
//
// A program that writes the directory itself takes no lock of ours. A file it creates is never overwritten by a
// create-only commit where the kernel knows RENAME_NOREPLACE; one it changes after the caller's last look is not replaced
// where it knows leases and RENAME_EXCHANGE. Until such an exchange is taken back, some microseconds, the program can see
// the version that did not come to be. One that is about to open a file for writing at the instant in which that is
// replaced writes to what is then in the history. No rename leads to another file system: a move fails there with EXDEV, and
// is for the caller to be made of a copy and [FS.Take]. What has no room in the history ([How].Unkept) is deleted with
// whatever a program has written to it after the last look.
package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"path"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/afero"
)

// The errors of this package, besides those of io/fs and the operating system.
var (
	ErrReserved = errors.New("the name is reserved for the server's own state")
	ErrLink     = errors.New("a symbolic link is on the way")
	ErrEscapes  = errors.New("a symbolic link leads out of the tree")
	ErrSpecial  = errors.New("neither a file nor a directory")
	ErrLost     = errors.New("the directory is gone, or the server's own state in it")
	ErrBusy     = errors.New("another process holds the lock")
	ErrWriter   = fmt.Errorf("a program has the file open for writing (%w)", ErrBusy)
)

var errNoLease = fmt.Errorf("no leases: %w", errors.ErrUnsupported)

// Durability says what is on disk before a commit returns.
type Durability uint8

// The durabilities, the strongest first.
const (
	Full Durability = iota // the content and the name
	Data                   // the content; a power failure may undo the last seconds' names
	None                   // whatever the operating system has written by then
)

// Options configure a file system; the zero value works.
type Options struct {
	ReadOnly   bool // change nothing, not even the state directory
	Durability Durability
	History    bool             // keep what is replaced and removed, until Expire lets it go
	Now        func() time.Time // the clock (nil: time.Now)

	// FileMode and DirMode are the modes of new files and directories (0: what the umask leaves). Where the directory they
	// are made in has a default ACL, that says who may what, and they are the most that it can grant.
	FileMode, DirMode iofs.FileMode

	// Met is told, before the first commit on a file system that is mounted in the tree, at which name that is and what it was
	// found to do (nil: nobody). It must not call back.
	Met func(name string, able Abilities)

	// Before, if not nil, is asked before each system call; an error it returns fails the call, which then does not
	// happen. Tests fail the n-th call with it, die at it, and print the trace.
	Before func(Call) error
}

// An FS is a tree of files. Names are as in package tree: relative, slash-separated, "" for the root. All methods may be
// called concurrently, but those that commit only under [FS.Lock].
type FS struct {
	calls calls
	opts  Options

	id      string        // of this process, among those that serve the directory
	alive   afero.File    // open and locked as long as it lives
	counter atomic.Uint64 // for names that are ours alone

	root    *place
	aliased atomic.Bool // some of the places have aliases
	// gives: what we make in the state directory is for the user whom that belongs to, and we are root.
	gives bool

	mu     sync.Mutex
	nested []*place // the others that are known
	found  bool     // some of them were not known when Discover was called last

	locking  chan struct{} // full while lockFile is locked, or waited for
	lockFile afero.File

	promised sync.Map // *promises, by the number of the device
	report   atomic.Pointer[func(error)]
}

// ReportTo has somebody told of what nobody's request is answered with: that the history has given way to something, or that
// what a failed commit had taken away is put back later. It must not call back.
func (s *FS) ReportTo(report func(error)) { s.report.Store(&report) }

func (s *FS) tell(news error) {
	if report := s.report.Load(); report != nil {
		(*report)(news)
	}
}

// Open opens the directory dir of the operating system.
func Open(dir string, opts Options) (*FS, error) {
	table, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	return open(table, opts)
}

// OpenAfero opens an afero.Fs that nobody else writes to.
func OpenAfero(below afero.Fs, opts Options) (*FS, error) {
	return open(newAferoCalls(below), opts)
}

func open(table calls, opts Options) (*FS, error) {
	if opts.Before != nil {
		table = hooked{table, opts.Before}
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &FS{calls: table, opts: opts, id: uuid.NewString(), locking: make(chan struct{}, 1)}
	root, err := table.lstat(".")
	s.root = s.newPlace(".", volumeOf(root))
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
	return errors.Join(append(errs, s.calls.close())...)
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
	errs := []error{s.alive.Close()} // under some file systems, NFS and FUSE among them, what is open keeps its directory
	for _, p := range s.places() {
		told, err := p.settle(p.session)
		err = errors.Join(err, p.putBackAll(""))
		if err == nil {
			_ = s.calls.removeAll(p.session) // what stays is garbage: the next start tries again, and reports it
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
	if err := s.makeDir(stateDir); err != nil {
		return fmt.Errorf("making the state directory %s: %w", stateDir, err)
	}
	state, err := s.calls.lstat(stateDir)
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
	// Under the lock, so that two that start at once do not write the format over each other, and nobody takes a session
	// for a dead one between its first call and its last.
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
	err := s.calls.mkdir(name)
	if err == nil {
		s.giveDir(name)
	}
	if !errors.Is(err, iofs.ErrExist) {
		return err
	}
	info, err := s.calls.lstat(name)
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

// openHeld opens a file that stays open, to be locked, and makes it where there is none. Not for writing: that would keep
// the disk from being made read-only.
func (s *FS) openHeld(name string) (afero.File, error) {
	f, err := s.calls.create(name)
	if err == nil {
		s.give(f, name)
		err = f.Close()
	}
	if err != nil && !errors.Is(err, iofs.ErrExist) {
		return nil, err
	}
	return s.calls.open(name)
}

// openLock opens the lock file in place of the one that is open, and makes it where there is none.
func (s *FS) openLock() error {
	f, err := s.openHeld(lockName)
	if err != nil {
		return err
	}
	if s.lockFile != nil {
		s.lockFile.Close()
	}
	s.lockFile = f
	return nil
}

// How long a commit waits for others.
const (
	lockPatience = 10 * time.Second
	lockPause    = time.Millisecond
)

// Lock takes the one lock under which names change: among the callers of this FS, and among all processes that serve
// the directory where the file system below can lock. It waits ten seconds at most, then fails with ErrBusy.
func (s *FS) Lock(ctx context.Context) (unlock func(), err error) {
	deadline := time.NewTimer(lockPatience)
	defer deadline.Stop()
	select {
	case s.locking <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-deadline.C:
		return nil, &iofs.PathError{Op: "lock", Path: lockName, Err: ErrBusy}
	}
	for {
		unlock, err := s.tryLock()
		if err == nil {
			return unlock, nil
		}
		if errors.Is(err, ErrBusy) {
			select {
			case <-time.After(lockPause):
				continue
			case <-ctx.Done():
				err = ctx.Err()
			case <-deadline.C:
				err = fmt.Errorf("%w: %s has had it for %v", err, s.holder(), lockPatience)
			}
		}
		<-s.locking
		return nil, err
	}
}

// holder says which other process has the lock.
func (s *FS) holder() string {
	if f, ok := s.lockFile.(*dirFile); ok {
		return HolderOf(f.File)
	}
	return "nobody" // in memory there is no other
}

// tryLock locks the file that has the name of the lock now: one that was removed or replaced since we opened it keeps
// out nobody who comes later.
func (s *FS) tryLock() (unlock func(), err error) {
	err = s.calls.tryFlock(s.lockFile)
	if errors.Is(err, errors.ErrUnsupported) {
		return func() { <-s.locking }, nil
	}
	if err != nil {
		return nil, err
	}
	ours, err := s.calls.fstat(s.lockFile)
	if err == nil && ours.Inode != 0 {
		var named Info
		if named, err = s.calls.lstat(lockName); err == nil && !named.SameFile(ours) || errors.Is(err, iofs.ErrNotExist) {
			if err = s.openLock(); err == nil {
				err = ErrBusy // try again
			} else if errors.Is(err, iofs.ErrNotExist) {
				err = &iofs.PathError{Op: "lock", Path: lockName, Err: ErrLost}
			}
		}
	}
	if err != nil {
		s.calls.funlock(s.lockFile)
		return nil, err
	}
	return func() { s.calls.funlock(s.lockFile); <-s.locking }, nil
}

// Lost reports whether the server's own state is not where it was made: somebody has removed or replaced it, and nothing
// can be committed until the file system is opened anew.
func (s *FS) Lost() bool {
	if s.alive == nil {
		return false
	}
	now, err := s.calls.lstat(s.root.session + "/" + aliveName)
	return errors.Is(err, iofs.ErrNotExist) || isNotDir(err) || err == nil && now.Inode != s.root.staged.Inode
}

// ReadOnly reports whether the file system was opened to change nothing.
func (s *FS) ReadOnly() bool { return s.opts.ReadOnly }

// Durability returns what a commit promises.
func (s *FS) Durability() Durability { return s.opts.Durability }

// Uncache asks the system to read an open file from the disk the next time, and not from memory.
func (s *FS) Uncache(f afero.File) { s.calls.uncache(f) }

// A Volume is what lasts of a file system from one mount to the next.
type Volume struct {
	Name     string // what tells it from others; "" where nothing does
	LongOnly bool   // nothing on it has a short name beside its own, as FAT has them
	Numbered bool   // the number of an inode is that of the same file the next time
	Modeless bool   // it may have no modes, or one for all files
	Leases   bool   // it is of a kind that is known to have them, whether that was tried or not
}

// Volume tells of the file system of an open file.
func (s *FS) Volume(f afero.File) Volume { return s.calls.volume(f) }

// SyncAll returns when all that was written to the file system of the root before, by any program, is on disk. It can
// take as long as there is much of that.
func (s *FS) SyncAll() error { return s.calls.syncAll(".") }

// Abilities tells what was found of the file system of the root when it was opened.
func (s *FS) Abilities() Abilities { return s.root.abilities }

// Stat looks at what a name stands for, through symbolic links that stay inside.
func (s *FS) Stat(name string) (Info, error) {
	_, info, err := s.resolve(name)
	if err == nil {
		info.Name = path.Base(name)
	}
	return info, err
}

// Lstat looks at the name itself, for those who want to change it: a symbolic link on the way to it is ErrLink.
func (s *FS) Lstat(name string) (Info, error) {
	if err := s.checkReserved(name); err != nil {
		return Info{}, err
	}
	info, err := s.calls.lstat(local(name))
	if isNotDir(err) {
		err = &iofs.PathError{Op: "lstat", Path: name, Err: iofs.ErrNotExist}
	}
	return info, err
}

// Open opens a file for reading and never waits for one; it is nil where the name is a directory. The Info is of what
// was opened.
func (s *FS) Open(name string) (afero.File, Info, error) {
	canonical, info, err := s.resolve(name)
	if err != nil {
		return nil, Info{}, err
	}
	if info.Kind == Directory {
		return nil, info, nil
	}
	f, err := s.calls.open(canonical)
	if err != nil {
		return nil, Info{}, err
	}
	resolved := info
	info, err = s.calls.fstat(f)
	if err == nil && info.Kind != Regular {
		err = &iofs.PathError{Op: "open", Path: name, Err: ErrSpecial}
	}
	if err != nil {
		f.Close()
		return nil, Info{}, err
	}
	info.Name = path.Base(name)
	return f, info.FoundAs(resolved), nil
}

// Refresh looks at an open file again.
func (s *FS) Refresh(f afero.File) (Info, error) { return s.calls.fstat(f) }

// ReadAt reads an open file without moving its offset, through the table of system calls.
func (s *FS) ReadAt(f afero.File, p []byte, offset int64) (int, error) {
	return s.calls.readAt(f, p, offset)
}

// Send writes n bytes of an open file to w, from an offset on, or as many as there are. Where w has a ReadFrom that knows
// how, such as that of a TCP connection, the kernel does it. One Send at a time.
func (s *FS) Send(f afero.File, w io.Writer, offset, n int64) (int64, error) {
	return s.calls.send(f, w, offset, n)
}

// DirOptions say what a listing tells of its members.
type DirOptions struct {
	// Follow: a link is what it leads to, and one that leads nowhere is left out; without, links are links.
	Follow bool
	// Attributes: what [FS.Attributes] returns, too; nothing of what may not be read.
	Attributes bool
	// KindsOnly: nothing but names and kinds, which a directory mostly says without a look at each; links are links.
	KindsOnly bool
}

// A Dir is a directory that is being listed.
type Dir struct {
	fs   *FS
	file afero.File
	name string // canonical
	opts DirOptions
}

// A Member is what a listing tells of one name, or why it cannot.
type Member struct {
	Info
	Attributes []byte
	Err        error
}

// OpenDir opens a directory for listing. Special files and the state directory are left out.
func (s *FS) OpenDir(name string, opts DirOptions) (*Dir, error) {
	canonical, info, err := s.resolve(name)
	if err != nil {
		return nil, err
	}
	if info.Kind != Directory {
		return nil, &iofs.PathError{Op: "opendir", Path: name, Err: syscall.ENOTDIR}
	}
	f, err := s.calls.open(canonical)
	if err != nil {
		return nil, err
	}
	return &Dir{s, f, canonical, opts}, nil
}

// Volume is [FS.Volume] of a directory.
func (d *Dir) Volume() Volume { return d.fs.Volume(d.file) }

// Next returns some of the members that were not returned yet, n at the most, in no order; io.EOF at the end. It looks
// once at each and opens none, so that it costs little, and a file that may not be read is listed too.
func (d *Dir) Next(n int) ([]Member, error) {
	if d.opts.KindsOnly {
		if members, err := d.kinds(); !errors.Is(err, errors.ErrUnsupported) {
			return members, err
		}
	}
	names, err := d.fs.calls.names(d.file, n)
	if errors.Is(err, iofs.ErrNotExist) {
		err = io.EOF // removed since it was opened: it has no more members
	}
	members := make([]Member, 0, len(names))
	for _, base := range names {
		if m, ok := d.member(base); ok {
			members = append(members, m)
		}
	}
	if len(names) == 0 && err == nil {
		err = io.EOF
	}
	return members, err
}

// kinds is Next for DirOptions.KindsOnly.
func (d *Dir) kinds() ([]Member, error) {
	found, err := d.fs.calls.kinds(d.file)
	if errors.Is(err, iofs.ErrNotExist) {
		err = io.EOF
	}
	members := make([]Member, 0, len(found))
	for _, info := range found {
		if info.Kind == Nothing { // this file system does not say
			if m, ok := d.member(info.Name); ok {
				members = append(members, m)
			}
		} else if info.Kind != Special && !isReserved(info.Name) {
			members = append(members, Member{Info: info})
		}
	}
	return members, err
}

// Close lets go of the directory.
func (d *Dir) Close() error { return d.file.Close() }

// member looks at one name; ok is false where it is not to be shown.
func (d *Dir) member(base string) (m Member, ok bool) {
	if isReserved(base) {
		return Member{}, false
	}
	info, err := d.fs.calls.lstatIn(d.file, base)
	if err == nil && info.Kind == Link && d.opts.Follow {
		_, info, err = d.fs.resolve(path.Join(d.name, base))
		if IsDeadEnd(err) {
			return Member{}, false
		}
	}
	if err == nil && info.Kind == Special {
		return Member{}, false
	}
	var attributes []byte
	if err == nil && d.opts.Attributes {
		attributes, err = d.attributes(base, info)
		if errors.Is(err, iofs.ErrPermission) {
			err = nil // there is all the rest to tell
		}
	}
	info.Name = base
	// Removed since the names were read: nothing to show.
	return Member{info, attributes, err}, !errors.Is(err, iofs.ErrNotExist)
}

func (d *Dir) attributes(base string, info Info) ([]byte, error) {
	switch {
	case info.Kind == Link:
		return nil, nil
	case info.Linked:
		return d.fs.Attributes(path.Join(d.name, base))
	}
	return d.fs.calls.getAttrIn(d.file, base, propertiesAttr)
}

// Readlink returns where a link leads.
func (s *FS) Readlink(name string) (string, error) {
	if err := s.checkReserved(name); err != nil {
		return "", err
	}
	return s.calls.readlink(local(name))
}

// AttributesOf returns [FS.Attributes] of what is open.
func (s *FS) AttributesOf(f afero.File) ([]byte, error) { return s.calls.getAttr(f, propertiesAttr) }

// Attributes returns what [FS.SetAttributes] or a commit has kept with a file or directory; nil if nothing. See [FS.Value].
func (s *FS) Attributes(name string) ([]byte, error) {
	canonical, info, err := s.resolve(name)
	if err != nil || info.Kind == Link {
		return nil, err
	}
	f, err := s.calls.open(canonical)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return s.calls.getAttr(f, propertiesAttr)
}
