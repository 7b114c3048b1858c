package fs

import (
	"bytes"
	"context"
	"errors"
	iofs "io/fs"
	"slices"
	"syscall"
	"time"
)

// lateFor is for how long a version is looked at that has given way, and once more before it expires.
const lateFor = 2 * time.Hour

// A hearing is what LateVersions knows of a directory of the history.
type hearing struct {
	file uint64            // the inode of what is noted there
	read int64             // of that, in bytes
	loud map[string]*heard // the entries that a program may still write to
}

// heard is what LateVersions knows of one entry.
type heard struct {
	note  note
	quiet int       // how often it was found to be
	next  time.Time // when it is looked at again, or into
}

const (
	// quietFor is how often an entry is found to be quiet, where nothing tells that nobody has it open.
	quietFor = 2
	// maxLoud bounds the collections of one directory that are looked through again; the others are before they expire.
	maxLoud = 1 << 12
)

// LateVersions returns the files of the history that a program has written to after they had given way, or the collection
// they were in, since the last call. Each gets an entry of its own, so that it is kept for as long as if it had given way
// now; a member of a collection stays in that too. It must not be called under [FS.Lock].
//
// It looks at what is new since the last call, and at what a program has open for writing; of all else once more before it
// expires. One call at a time.
func (s *FS) LateVersions(ctx context.Context, r Retention) ([]Kept, error) {
	var all []Kept
	var errs []error
	for _, p := range s.places() {
		late, err := p.lateVersions(ctx, r)
		all, errs = append(all, late...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

func (p *place) lateVersions(ctx context.Context, r Retention) (late []Kept, err error) {
	dirs, err := p.hours()
	if err != nil {
		return nil, err
	}
	var errs []error
	before, hearings := p.history.heard, map[string]*hearing{}
	p.history.heard = hearings
	for _, dir := range dirs {
		hour, _ := hourOf(dir)
		var h *hearing
		switch {
		case !hour.After(p.oldest(r)):
			h = &hearing{} // for the last time, all of it
		case hour.Before(p.opts.Now().Add(-lateFor)):
			continue
		default:
			if h = before[dir]; h == nil {
				h = &hearing{}
			}
			hearings[dir] = h
		}
		if err := p.hearOf(dir, h); err != nil {
			errs = append(errs, err)
		}
		for base, one := range h.loud {
			if ctx.Err() != nil {
				return late, ctx.Err()
			}
			found, quiet, err := p.listen(ctx, dir+"/"+base, one)
			late, errs = append(late, found...), append(errs, err)
			if quiet {
				delete(h.loud, base)
			}
		}
	}
	return late, errors.Join(errs...)
}

// hearOf adds what has been noted in a directory of the history since the last time.
func (p *place) hearOf(dir string, h *hearing) error {
	f, err := p.calls.Open(dir + "/" + pathsName)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Inode != h.file || info.Size < h.read {
		*h = hearing{file: info.Inode, loud: map[string]*heard{}}
	}
	data := make([]byte, info.Size-h.read)
	n, err := f.ReadAt(data, h.read)
	if err != nil && !isEOF(err) {
		return err
	}
	data = data[:n]
	// The last line may be one that is being written.
	last := max(bytes.LastIndexByte(data, '\n'), 0)
	if _, whole := decodeNote(string(data[min(last+1, n):])); whole {
		last = n
	}
	h.read += int64(last)
	for base, n := range p.decoded(data[:last]) {
		if n.seen.Kind != Directory || len(h.loud) < maxLoud {
			h.loud[base] = &heard{note: n}
		}
	}
	return nil
}

// listen looks whether a program has written to an entry, or what is in it, and returns what it has. quiet reports
// whether none will any more, as far as that can be told.
func (p *place) listen(ctx context.Context, at string, h *heard) (late []Kept, quiet bool, err error) {
	now := p.opts.Now()
	if now.Before(h.next) {
		return nil, false, nil
	}
	writer, known := true, false
	if h.note.seen.Kind == Regular {
		writer, known = p.hasWriter(at) // before the look: who lets go of it after this is seen by that
	}
	k, ok := p.kept(at, h.note)
	switch {
	case !ok || k.Kind == Link:
		return nil, true, nil
	case k.Cause == causeUnfinished:
		return nil, false, nil
	case k.Late:
		ok, err := p.renew(ctx, k)
		if ok {
			late = append(late, k)
		}
		return late, err == nil, err
	case k.Kind == Directory:
		late, err = p.lateMembers(ctx, k)
		h.next = now.Add(now.Sub(k.Gone)) // there may be many, and what has been quiet for long mostly stays so
		return late, false, err
	case known:
		return nil, !writer, nil
	}
	h.quiet++
	return nil, h.quiet >= quietFor, nil
}

// hasWriter reports whether a program has a file of the history open for writing, if that is known.
func (p *place) hasWriter(at string) (writer, known bool) {
	if able := p.able(); !able.Leases || !able.Mappings {
		return false, false
	}
	f, err := p.calls.Open(at)
	if err != nil {
		return true, errors.Is(err, syscall.EAGAIN)
	}
	defer f.Close()
	_, err = p.Lease(f)
	return errors.Is(err, ErrWriter), err == nil || errors.Is(err, ErrWriter)
}

// lateMembers is lateVersions of a collection.
func (p *place) lateMembers(ctx context.Context, dir Kept) (late []Kept, err error) {
	found := p.lateIn(ctx, dir)
	if len(found) == 0 {
		return nil, nil
	}
	known, err := p.keptAt(dir.Path)
	if err != nil {
		return nil, err
	}
	for _, m := range found {
		// What is written to it now is in its own entry, which is another name of it.
		if slices.ContainsFunc(known, func(k Kept) bool { return k.Cause == CauseLate && k.Path == m.Path && k.SameFile(m.Info) }) {
			continue
		}
		unlock, err := p.Lock(ctx)
		if err != nil {
			return late, err
		}
		p.linkIntoHistory(m.at, note{path: m.Path, cause: CauseLate, seen: m.Info})
		unlock()
		late = append(late, m)
	}
	return late, nil
}

// lateIn returns the members of a collection that a program has written to since that was removed, as far as it can be looked
// into.
func (p *place) lateIn(ctx context.Context, dir Kept) (late []Kept) {
	members, err := p.Inside(dir)
	if err != nil {
		return nil
	}
	for _, m := range members {
		switch {
		case ctx.Err() != nil:
			return late
		case m.Kind == Directory:
			late = append(late, p.lateIn(ctx, m)...)
		case m.Late:
			late = append(late, m)
		}
	}
	return late
}

// renew enters a version into the history again, as it is now.
func (p *place) renew(ctx context.Context, k Kept) (bool, error) {
	unlock, err := p.Lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	info, err := p.calls.Lstat(k.at)
	if errors.Is(err, iofs.ErrNotExist) {
		return false, nil // it has expired
	}
	if err == nil {
		_, err = p.enter(k.at, removedPrefix, note{path: k.Path, cause: CauseLate, seen: info})
	}
	return err == nil, err
}

// CauseLate says in the history that a program had written to a version after that had given way.
const CauseLate = "late"
