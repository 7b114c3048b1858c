package history

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"path"
	"slices"
	"syscall"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// lateFor is how long LateVersions looks at a version after it was replaced or removed. It looks once more before the
// version expires.
const lateFor = 2 * time.Hour

// A lateScan is the state of LateVersions for a directory of the history.
type lateScan struct {
	file    uint64                // the inode of the file of notes
	read    int64                 // the bytes of that file that were read
	watched map[string]*lateEntry // the entries that a program may still write to
}

// A lateEntry is the state of LateVersions for one entry.
type lateEntry struct {
	note  Note
	quiet int       // how many looks have found no change
	next  time.Time // the time of the next look at the entry, or into the collection
}

const (
	// quietFor is how many looks must find no change in an entry, if it is not known whether a program has it open.
	quietFor = 2
	// maxWatched bounds the entries of one directory that are watched when a collection is added. A collection beyond
	// it is looked through only before it expires.
	maxWatched = 1 << 12
)

// LateVersions returns the files of the history to which a program has written since the last call, after the file or
// its collection was replaced or removed. Each such file gets an entry of its own, so that it is kept for as long as if
// it had been replaced now. A member of a collection stays in the collection too. LateVersions must not be called under
// the lock.
//
// LateVersions looks at the entries that are new since the last call, and at the files that a program has open for
// writing. It looks at all other entries once more before they expire. Only one call may run at a time.
func (s *Histories) LateVersions(ctx context.Context, r Retention) ([]Kept, error) {
	var all []Kept
	var errs []error
	for _, h := range s.answering() {
		late, err := h.lateVersions(ctx, r)
		all, errs = append(all, late...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

func (h *History) lateVersions(ctx context.Context, r Retention) (late []Kept, err error) {
	dirs, err := h.hours()
	if err != nil {
		return nil, err
	}
	var errs []error
	before, scans := h.lateScans, map[string]*lateScan{}
	h.lateScans = scans
	for _, dir := range dirs {
		hour, _ := hourOf(dir)
		var scan *lateScan
		switch {
		case !hour.After(h.oldest(r)):
			scan = &lateScan{} // the last look, at all entries
		case hour.Before(h.opts.Now().Add(-lateFor)):
			continue
		default:
			scan = cmp.Or(before[dir], &lateScan{})
			scans[dir] = scan
		}
		failed := h.readNewNotes(dir, scan)
		found, err := h.checkWatched(ctx, dir, scan)
		late, errs = append(late, found...), append(errs, failed, err)
		if ctx.Err() != nil {
			return late, ctx.Err()
		}
	}
	return late, errors.Join(errs...)
}

// checkWatched is [History.checkLate] for all watched entries of a directory, which it opens once for all of them.
func (h *History) checkWatched(ctx context.Context, dir string, scan *lateScan) (late []Kept, err error) {
	if len(scan.watched) == 0 {
		return nil, nil
	}
	in, err := h.calls.OpenDir(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		clear(scan.watched) // it has expired
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer in.Close()
	var errs []error
	for base, one := range scan.watched {
		if ctx.Err() != nil {
			break
		}
		found, quiet, err := h.checkLate(ctx, in, dir+"/"+base, one)
		late, errs = append(late, found...), append(errs, err)
		if quiet {
			delete(scan.watched, base)
		}
	}
	return late, errors.Join(errs...)
}

// readNewNotes reads the notes that were added to a directory of the history since the last call.
func (h *History) readNewNotes(dir string, scan *lateScan) error {
	f, err := h.calls.Open(dir + "/" + pathsName)
	if err != nil {
		return vfs.Ignoring(err, iofs.ErrNotExist)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Inode != scan.file || info.Size < scan.read {
		*scan = lateScan{file: info.Inode, watched: map[string]*lateEntry{}}
	}
	data := make([]byte, info.Size-scan.read)
	n, err := f.ReadAt(data, scan.read)
	if err = vfs.Ignoring(err, io.EOF); err != nil {
		return err
	}
	data = data[:n]
	// Another process may be writing the last line.
	last := max(bytes.LastIndexByte(data, '\n'), 0)
	if _, whole := decodeNote(string(data[min(last+1, n):])); whole {
		last = n
	}
	scan.read += int64(last)
	for base, n := range h.DecodeNotes(data[:last]) {
		if n.Seen.Kind != vfs.Directory || len(scan.watched) < maxWatched {
			scan.watched[base] = &lateEntry{note: n}
		}
	}
	return nil
}

// checkLate looks whether a program has written to an entry, or to a member of it, and returns the versions that it has
// written to. quiet reports that no program will write to the entry any more, as far as that can be told.
func (h *History) checkLate(
	ctx context.Context, in *vfs.Dir, at string, one *lateEntry,
) (late []Kept, quiet bool, err error) {
	now := h.opts.Now()
	if now.Before(one.next) {
		return nil, false, nil
	}
	writer, known := true, false
	if one.note.Seen.Kind == vfs.Regular {
		writer, known = h.hasWriter(in, path.Base(at)) // asked before the look, so that the look sees the last write
	}
	info, failed := in.Lstat(path.Base(at))
	k, ok := keptAs(info, at, one.note)
	switch {
	case failed != nil || !ok || k.Kind == vfs.Link:
		return nil, true, nil
	case k.Late:
		ok, err := h.archiveAgain(ctx, k)
		if ok {
			late = append(late, k)
		}
		return late, err == nil, err
	case k.Kind == vfs.Directory:
		late, err = h.lateMembers(ctx, k)
		one.next = now.Add(now.Sub(k.Gone)) // members may be many, and a quiet collection mostly stays quiet
		return late, false, err
	case known:
		return nil, !writer, nil
	}
	one.quiet++
	return nil, one.quiet >= quietFor, nil
}

// hasWriter reports whether a program has a file in a directory of the history open for writing. known is false if that
// cannot be told.
func (h *History) hasWriter(in *vfs.Dir, base string) (writer, known bool) {
	if able := h.volume.Able(); !able.Leases || !able.Mappings {
		return false, false
	}
	f, err := in.Open(base)
	if err != nil {
		return true, errors.Is(err, syscall.EAGAIN)
	}
	defer f.Close()
	err = f.Lease()
	return errors.Is(err, vfs.ErrWriter), err == nil || errors.Is(err, vfs.ErrWriter)
}

// lateMembers is [History.lateVersions] for a collection.
func (h *History) lateMembers(ctx context.Context, dir Kept) (late []Kept, err error) {
	found := h.lateIn(ctx, dir)
	if len(found) == 0 {
		return nil, nil
	}
	known, err := h.keptAt(dir.Path, time.Time{})
	if err != nil {
		return nil, err
	}
	for _, m := range found {
		// The member has an entry of its own already. This is another name of the same file, so it has all later
		// writes.
		if slices.ContainsFunc(known, func(k Kept) bool {
			return k.Cause == CauseLate && k.Path == m.Path && k.SameFile(m.Info)
		}) {
			continue
		}
		unlock, err := h.volume.Lock(ctx)
		if err != nil {
			return late, err
		}
		h.Link(h.tree.At(m.at), Note{Path: m.Path, Cause: CauseLate, Seen: m.Info})
		unlock()
		late = append(late, m)
	}
	return late, nil
}

// lateIn returns the members of a collection to which a program has written since the collection was removed, if they
// can be looked at.
func (h *History) lateIn(ctx context.Context, dir Kept) (late []Kept) {
	for m, err := range h.Inside(dir) {
		switch {
		case err != nil, ctx.Err() != nil:
			return late
		case m.Kind == vfs.Directory:
			late = append(late, h.lateIn(ctx, m)...)
		case m.Late:
			late = append(late, m)
		}
	}
	return late
}

// archiveAgain makes a new entry of a version, as the version is now.
func (h *History) archiveAgain(ctx context.Context, k Kept) (bool, error) {
	unlock, err := h.volume.Lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	info, err := h.calls.Lstat(k.at)
	if errors.Is(err, iofs.ErrNotExist) {
		return false, nil // it has expired
	}
	if err == nil {
		_, err = h.Archive(k.at, Note{Path: k.Path, Cause: CauseLate, Seen: info})
	}
	return err == nil, err
}

// CauseLate says in the history that a program has written to a version after it was replaced or removed.
const CauseLate = "late"
