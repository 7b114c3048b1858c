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
// [volumes.ErrReserved], and no listing contains it.
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
	"path"
	"sync"
	"time"

	"github.com/spf13/afero"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/properties"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/sharedsync"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs/aferosystem"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// An FS is a tree of files. Names are as in package tree: relative, slash-separated, "" for the root. All methods may
// be called concurrently. The methods that commit may be called only under [FS.Lock].
type FS struct {
	*volumes.Tree
	*history.Histories
	*properties.Values
	calls *vfs.FS
	opts  Options
	root  *volume

	syncs   sharedsync.Syncs[directoryID]
	rooms   *room.Rooms
	uploads sync.Map // the identifiers of those that this process has open

	reporting sync.Mutex
	reporter  func(error)
	early     []error // events that were reported before ReportTo was called
}

// ReportTo sets the function that gets the events which belong to no request. Examples are that versions of the history
// were dropped, and that the undo of a failed commit will be tried again later. The function must not call methods of
// the FS. ReportTo calls it at once for the events since Open.
func (s *FS) ReportTo(report func(error)) {
	s.reporting.Lock()
	early := s.early
	s.reporter, s.early = report, nil
	s.reporting.Unlock()
	for _, news := range early {
		report(news)
	}
}

// maxEarly bounds the number of events that wait for ReportTo.
const maxEarly = 16

// report hands an event to the function of ReportTo.
func (s *FS) report(news error) {
	s.reporting.Lock()
	report := s.reporter
	if report == nil && len(s.early) < maxEarly {
		s.early = append(s.early, news)
	}
	s.reporting.Unlock()
	if report != nil {
		report(news)
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
	return open(vfs.New(aferosystem.New(below, volumes.OwnDir+"/"+volumes.StagePart+"/exchange"), opts.Before), opts)
}

func open(calls *vfs.FS, opts Options) (*FS, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &FS{calls: calls, opts: opts}
	s.Tree = volumes.New(calls, opts, layer{s})
	historyOf := func(v *volumes.Volume) *history.History { return of(v).history }
	s.Histories = history.NewHistories(s.Tree, calls, opts, s.report, historyOf)
	s.rooms = room.New(s.Tree, calls, opts.Now, s.report, historyOf)
	s.Values = properties.New(s.Tree, calls, opts, s.rooms,
		func(v *volumes.Volume) *properties.Store { return of(v).properties })
	if err := s.Tree.Start(); err != nil {
		return nil, err
	}
	return s, nil
}

// CloseSession implements [volumes.Above].
func (v *volume) CloseSession() error {
	defer v.history.CloseOpen()
	told, err := v.finishDisplaced(v.Session)
	err = errors.Join(err, v.RetryUndos(""))
	if err == nil {
		v.dropNotes()
		_ = v.calls.RemoveAll(v.Session) // the rest is garbage: the next start tries again, and reports it
	}
	return errors.Join(told, err)
}

// EmptyTrash deletes the files and collections that any process has removed and that the history does not keep, and the
// staged versions that [Staged.Discard] could not delete. It takes no lock. It may be interrupted at any time. It ends
// with ctx, after the deletion that is under way. If a deletion fails, EmptyTrash reports this once, and goes on with
// the other files.
func (s *FS) EmptyTrash(ctx context.Context) error {
	var errs []error
	for _, v := range s.answering() {
		errs = append(errs, v.trash.Empty(ctx))
	}
	return errors.Join(errs...)
}

// MakeRoom frees space on the disk that an error says is full, see [room.Rooms.MakeRoom].
func (s *FS) MakeRoom(ctx context.Context, full error, name string) (freed bool) {
	return s.rooms.MakeRoom(ctx, full, name)
}

// Space returns how much room the file system has at a name, see [room.Rooms.Space]. Space fails with
// errors.ErrUnsupported if the system does not tell the free space.
func (s *FS) Space(name string) (vfs.Space, error) {
	dir, info, err := s.Follow(name, nil)
	if err == nil && info.Kind != vfs.Directory {
		dir = path.Dir(dir)
		info, err = s.calls.Lstat(dir)
	}
	if err != nil {
		return vfs.Space{}, err
	}
	return s.rooms.Space(dir, info)
}
