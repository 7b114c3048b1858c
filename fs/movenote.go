package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"strconv"
	"syscall"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// movingPart is the directory of the notes of moves that replace a file or collection. Each such move has one note,
// which is a file, and the note is removed when the move is complete. See [MoveNote] and finishMove.
const movingPart = "moving"

// ErrNotNoted says that a commit would replace a file or collection by two renames, and that its note does not describe
// the two files that have the names now. The caller must take another note and try again. Nothing has changed.
var ErrNotNoted = errors.New("the commit was not noted as it would be now")

// A MoveNote is the note on the disk that a move is about to replace a file or collection. Such a move consists of two
// visible renames, and a process can die between them. Then the next holder of the lock finishes the move by the note,
// and so does the next start. A note contains both names, both inodes, and the name of the history entry that the
// replaced version gets.
//
// A MoveNote also holds both files open. So leases need no further look under the lock. The replaced version can also
// still be read if a local program takes its name away.
//
// The methods may be called on nil, which is the note of a move that needs no note.
type MoveNote struct {
	volume   *volume
	at       string // the name of the note
	from, to string
	source   moveEnd // has the name from
	over     moveEnd // has the name to
	entry    string  // the history entry that the replaced version becomes
	cause    string
	by       string

	hour   *vfs.File // the history notes for the hour of the entry, or nil without a history
	lock   *vfs.File // the lock file, open for the mark
	locked *vfs.Info // the lock file of the volume when lock was opened

	watched    bool     // both leases were taken before the look on which the move is decided
	arrived    vfs.Info // a look at the name to after the exchange
	quiet      bool     // no program can have written to the source since the deciding look
	unfinished bool     // the mark must stay in the lock file
	waits      bool     // End has left the move to PutBack
	lost       bool     // a local program may have taken the name of the replaced version

	aside *aside // where names cannot be exchanged, and nothing but the names is set then
}

// A moveEnd is the file or collection at one of the names of a move.
type moveEnd struct {
	seen  vfs.Info
	file  *vfs.File // nil if the file is not regular, or cannot be opened
	lease *vfs.File // the file, if there is a lease on it
	busy  bool      // a program has the file open for writing
	quiet bool      // there is no lease, and no program is known to write to the file
}

// NoteMove writes the note of a move and opens both files. If the durability requires it, the note is on disk when
// NoteMove returns. NoteMove returns nil if the move replaces nothing, or is done by one rename. If the disk is full,
// NoteMove drops history as need describes. It must not be called under [FS.Lock]. The caller puts the note into
// [How] and must end the note after the move, whether or not the move succeeded.
func (s *FS) NoteMove(ctx context.Context, from, to string, need room.Need, how How) (*MoveNote, error) {
	source, err := s.Lstat(from)
	if err != nil {
		return nil, nil // the move says why
	}
	over, err := s.Lstat(to)
	if err != nil || source.SameFile(over) && !s.SameName(from, source, to, over) {
		return nil, nil
	}
	v, err := s.volumeHolding(from, source)
	if err != nil {
		return nil, nil
	}
	if other, err := s.volumeHolding(to, over); err != nil || other != v {
		return nil, nil
	}
	m := &MoveNote{volume: v, from: from, to: to, cause: how.Cause, by: how.By}
	write := m.write
	if v.canExchange(source, over) {
		m.source.seen, m.over.seen = source, over
		err = errors.Join(m.source.open(v, from), m.over.open(v, to))
	} else if source.Kind != vfs.Directory && over.Kind != vfs.Directory || s.SameName(from, source, to, over) {
		return nil, nil
	} else {
		write = func() (err error) {
			m.aside, err = v.newAside(to, from, source)
			return err
		}
	}
	if err == nil {
		err = s.rooms.Retry(ctx, need, write)
	}
	if err != nil {
		return nil, errors.Join(err, m.End(ctx))
	}
	return m, nil
}

// canExchange reports whether two files can be exchanged, and recognised by their inodes after the exchange.
func (v *volume) canExchange(a, b vfs.Info) bool {
	return v.Able().Exchange && a.Inode != 0 && b.Inode != 0
}

// open opens the file if it is regular. The note then describes the file that was opened.
func (e *moveEnd) open(v *volume, name string) error {
	if e.seen.Kind != vfs.Regular {
		return nil
	}
	f, err := v.calls.Open(name)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		e.busy = true // opening would wait for another process that holds a write lease
		return nil
	case errors.Is(err, iofs.ErrPermission), errors.Is(err, iofs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	e.seen, err = f.Stat()
	if err != nil || e.seen.Kind != vfs.Regular {
		f.Close()
		return err
	}
	e.file = f
	return nil
}

// write writes the note, and makes the directory of the history that will contain the entry.
func (m *MoveNote) write() (err error) {
	v := m.volume
	if m.entry == "" {
		m.entry = v.history.NewEntry(m.over.seen.Size)
	}
	if m.hour == nil {
		if m.hour, err = v.history.OpenNotes(m.entry); err != nil {
			return err
		}
	}
	if m.lock == nil {
		if err := m.openLock(); err != nil {
			return err
		}
	}
	if m.at != "" {
		_ = v.calls.Remove(m.at) // the note of the previous attempt
	}
	dir := v.StatePath(movingPart)
	m.at = v.Unique(dir, "")
	var f *vfs.File
	err = v.Within(dir, func() (err error) {
		f, err = v.calls.Create(m.at)
		return err
	})
	if err != nil {
		return err
	}
	defer f.Close()
	v.GiveToOwner(f, m.at)
	if _, err = f.Write(m.encode()); err == nil && v.opts.Durability == Full {
		err = errors.Join(f.Sync(), v.SyncDir(dir))
	}
	return err
}

func (m *MoveNote) openLock() (err error) {
	m.locked = m.volume.CommitLock.Opened.Load()
	m.lock, err = m.volume.CommitLock.OpenToMark()
	return err
}

// note returns the note in the history for the entry.
func (m *MoveNote) note() history.Note {
	return history.Note{Entry: path.Base(m.entry), Path: m.to, Cause: m.cause, By: m.by, Seen: m.over.seen}
}

// sourceMark is the entry name of the line about the source.
const sourceMark = "source"

// encode returns two lines in the format of the history notes. The first line describes the replaced version, with the
// whole name of its entry. The second line describes the source.
func (m *MoveNote) encode() []byte {
	v, over := m.volume, m.note()
	over.Entry, over.Path, over.From = v.Relative(m.entry), v.Relative(m.to), v.Relative(m.from)
	over.Time = v.opts.Now().UnixNano()
	source := history.Note{Entry: sourceMark, Path: over.From, Seen: m.source.seen}
	// A disk gives the number of a deleted file to a new one. The time of birth tells them apart.
	over.Tag, source.Tag = bornText(m.over.seen), bornText(m.source.seen)
	return append(over.Encode(), source.Encode()...)
}

// bornText is the time of birth of a file in a note, in nanoseconds since 1970.
func bornText(i vfs.Info) string { return strconv.FormatInt(i.Born, 10) }

// decodeMove decodes a note. It returns nil if the note is damaged: the maker died, or the power failed, before it was
// on disk. The move was not begun.
func (v *volume) decodeMove(data []byte) (m *MoveNote) {
	notes := v.history.DecodeNotes(data)
	for entry, n := range notes {
		n.Seen.Born, _ = strconv.ParseInt(n.Tag, 10, 64) // 0 if it is not known
		notes[entry] = n
	}
	source, ok := notes[sourceMark]
	delete(notes, sourceMark)
	for entry, over := range notes {
		m = &MoveNote{volume: v, from: over.From, to: over.Path, entry: v.Absolute(entry), cause: over.Cause,
			by: over.By, source: moveEnd{seen: source.Seen}, over: moveEnd{seen: over.Seen}}
	}
	if ok && len(notes) == 1 && m.from == source.Path && m.from != "" && m.to != "" && v.IsInState(m.entry) {
		return m
	}
	return nil
}

// maker returns the session of the process that made a note.
func (v *volume) maker(at string) string {
	base := path.Base(at)
	return base[:min(len(v.ID), len(base))]
}

// Watch takes leases on both files. If Watch is called under [FS.Lock], before the look on which the move is decided,
// the move needs one look less at each file. The leases last until Unwatch, which must be called before the lock is
// released.
func (m *MoveNote) Watch() {
	if m == nil {
		return
	}
	m.watched = true
	m.source.watch(m.volume)
	m.over.watch(m.volume)
}

// Unwatch ends the leases of Watch. Programs that wait to write to the files may then write.
func (m *MoveNote) Unwatch() {
	if m == nil {
		return
	}
	m.watched = false
	m.source.unwatch()
	m.over.unwatch()
}

// Watches reports whether the source of the move is this file, and Watch was called before the caller's look at it.
func (m *MoveNote) Watches(source vfs.Info) bool {
	return m != nil && m.watched && m.source.seen.SameFile(source)
}

// IsQuiet reports whether no program has written to the source since Watch. This is so however the source is moved: the
// file at the other name may have gone since the note was written, so that the move replaces nothing. If there are no
// leases, IsQuiet assumes that no program has written.
func (m *MoveNote) IsQuiet() bool { return m.source.isQuiet() }

func (e *moveEnd) watch(v *volume) {
	e.unwatch()
	if e.file == nil || !v.Able().Leases {
		e.quiet = !e.busy
		return
	}
	err := e.file.Lease()
	if err == nil {
		e.lease = e.file
	}
	e.busy, e.quiet = errors.Is(err, vfs.ErrWriter), errors.Is(err, errors.ErrUnsupported)
}

func (e *moveEnd) unwatch() {
	if e.lease != nil {
		e.lease.Unlease()
		e.lease = nil
	}
}

// isQuiet reports whether no program has written to the file since the lease was taken. If there are no leases, isQuiet
// assumes so.
func (e *moveEnd) isQuiet() bool {
	if e.lease == nil {
		return e.quiet
	}
	return e.lease.Leased()
}

// Arrived returns the look at the new name that the move has taken. quiet reports whether it is certain that no program
// has written to the source since the look on which the move was decided. ok is false if the move has replaced nothing
// by this note.
func (m *MoveNote) Arrived() (now vfs.Info, quiet, ok bool) {
	if m == nil || !m.arrived.Exists() {
		return vfs.Info{}, false, false
	}
	return m.arrived, m.quiet, true
}

// isOf reports whether this note describes the given move.
func (m *MoveNote) isOf(v *volume, from string, source vfs.Info, to string, over vfs.Info) bool {
	return m != nil && m.volume == v && m.from == from && m.to == to &&
		m.source.seen.SameFile(source) && m.over.seen.SameFile(over)
}

// mark writes the name of the note into the lock file, so that the next holder of the lock finds the note.
func (m *MoveNote) mark() error {
	if m.locked != m.volume.CommitLock.Opened.Load() {
		m.lock.Close()
		if err := m.openLock(); err != nil {
			m.lock = nil
			return err
		}
	}
	_, err := m.lock.Write([]byte(m.at))
	return err
}

// unmark clears the lock file. If that fails, the next holder of the lock finds that there is nothing to finish.
func (m *MoveNote) unmark() {
	if m.lock != nil && !m.unfinished {
		_ = m.lock.Truncate(0)
	}
}

// leave makes the next holder of the lock responsible for the move: that process finishes the move, or finds that the
// move was not begun.
func (m *MoveNote) leave(reason error) error {
	m.unfinished = true
	m.volume.CommitLock.Unfinished = m.at
	return fmt.Errorf("%w: %w", ErrAway, reason)
}

// End ends the note, after the move and outside [FS.Lock]. If the move could not be finished, End tries once more to
// finish it, and otherwise leaves it to [FS.PutBack] and the next holder of the lock. If a local program has taken the
// name of the replaced version before that version was in the history, End writes the version there. An error says that
// End could not write the version.
func (m *MoveNote) End(ctx context.Context) error {
	if m == nil {
		return nil
	}
	v := m.volume
	var err error
	if m.lost && v.opts.History {
		err = m.rescue(ctx)
	}
	for _, f := range []*vfs.File{m.source.file, m.over.file, m.hour, m.lock} {
		f.Close()
	}
	m.aside.drop()
	if m.unfinished && !v.finishNow(ctx, m.at) {
		v.pendingUndos.add(pendingUndo{m.at, func() error {
			err := v.tryFinish(m.at)
			if err == nil {
				_ = v.dropNote(m.at) // if that fails, the note is dropped at the end
			}
			return err
		}, fmt.Errorf("the move of %q that was half done is finished, or undone", m.from)})
		m.waits = true
		v.report(fmt.Errorf("the move of %q to %q could not be finished or undone; that is tried again", m.from, m.to))
		return err
	}
	if m.at != "" && v.dropNote(m.at) != nil {
		v.trash.DeleteLater(m.at)
		v.trash.DeleteLater(m.at + finishedSuffix)
	}
	return err
}

// Waits reports whether [FS.PutBack] is to finish the move, because End could not.
func (m *MoveNote) Waits() bool { return m != nil && m.waits }
