package fs

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The history keeps what a commit has replaced or removed, by rename, for as long as [FS.Expire] lets it. It has a
// directory for each hour (UTC), and another one for the same hour when one has become large, so that what is oldest
// can go by a single rename:
//
//	history/2026112509/paths            one note for each entry, see note
//	history/2026112509/n1234-…          what came out of an exchange for the staged version with inode 1234
//	history/2026112509/m1234-…          what came out of an exchange for the resource with inode 1234, that was moved
//	history/2026112509/r…               what was removed
//
// A staged version is in the history while it is exchanged, so that what it replaces is there at the same instant. That
// takes place under [FS.Lock]; whoever else has the lock and finds an n or m that is the very inode of its name finds
// what its maker has died with, or could not put back: an n never was a version, and is nobody's; an m is a user's, and goes
// back to where it came from, before anything happens to the directory that it is in. Both inodes exist at the moment of
// the exchange, so what came out never has the inode of the name.
const (
	pathsName = "paths"

	stagedPrefix  = "n"
	movedPrefix   = "m"
	removedPrefix = "r"

	hourFormat = "2006010215"
)

// A directory of the history is full at this many entries, or at this part of the most that the history may take.
const (
	maxEntries = 10_000
	maxPart    = 16
)

// batch is how many entries of the history go at once, while nothing else can change.
const batch = 64

// history is what this process knows of the history.
type history struct {
	mu      sync.Mutex
	hour    string // as it is written to
	part    int    // of that hour
	entries int    // that we have made in it
	bytes   int64  // in these, as far as they are files
	most    int64  // that the history may take, once that is known; see Expire
	added   int64  // bytes, since Expire was called
	sizes   map[string]measured
	heard   map[string]*hearing // by directory; see LateVersions
	told    *Retention          // what Expire was told
	noted   map[string]uint64   // of a directory with notes that may not be on disk, a number of the last one; see syncNotes
}

// measured is what a directory of the history takes, as it was found at a time.
type measured struct {
	bytes   int64
	count   int // of entries
	as      Fingerprint
	at      time.Time
	entries map[string]int64 // what each takes, of a directory to which more is coming
}

// Retention says how long the history is kept.
type Retention struct {
	Keep  time.Duration // at least; 0: nothing new is, and what is there for as long as leftFor
	Most  int64         // bytes; what is more goes, the oldest first; 0: see Share
	Share float64       // of the file system, if Most is 0
}

// leftFor is how long one who keeps nothing leaves what is there: another server may have kept it, or the same one before
// it was told to keep nothing, or a recovery.
const leftFor = 24 * time.Hour

// hourDir returns the directory of the history for now.
func (p *place) hourDir(size int64) string {
	hour := p.opts.Now().UTC().Format(hourFormat)
	h := &p.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hour != hour {
		h.hour, h.part, h.entries, h.bytes = hour, p.lastPart(hour), 0, 0
	} else if h.entries >= maxEntries || h.most > 0 && h.bytes >= h.most/maxPart {
		h.part, h.entries, h.bytes = h.part+1, 0, 0
	}
	h.entries++
	h.bytes += inBlocks(size)
	h.added += inBlocks(size)
	return p.partDir(h.hour, h.part)
}

func (p *place) partDir(hour string, part int) string {
	dir := p.in(historyPart) + "/" + hour
	if part > 0 {
		dir += fmt.Sprintf(".%04d", part)
	}
	return dir
}

// lastPart returns the last part of an hour that there is, by whichever process: what is newest is in the last directory.
func (p *place) lastPart(hour string) (part int) {
	dirs, _ := p.hours()
	for _, dir := range slices.Backward(dirs) {
		name, number, parted := strings.Cut(path.Base(dir), ".")
		if name == hour && parted {
			part, _ = strconv.Atoi(number)
		}
		if name <= hour {
			break
		}
	}
	return part
}

// leavePart has what comes next go into another directory than this one, which is about to go.
func (p *place) leavePart(dir string) {
	hour, number, _ := strings.Cut(path.Base(dir), ".")
	part, _ := strconv.Atoi(number)
	h := &p.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if hour != p.opts.Now().UTC().Format(hourFormat) {
		return
	}
	if h.hour != hour {
		h.hour, h.part = hour, p.lastPart(hour)
	}
	if part >= h.part {
		h.part, h.entries, h.bytes = part+1, 0, 0
	}
}

// enter gives what has a name another one in the history, of which n tells. It returns that. It must be called under
// [FS.Lock].
func (p *place) enter(name, prefix string, n note) (entry string, err error) {
	dir := p.hourDir(n.seen.Size)
	entry = p.unique(dir, prefix)
	n.entry, n.time = path.Base(entry), cmp.Or(n.time, p.opts.Now().UnixNano())
	step := func() error {
		// A user's resource on its way needs to find back, whatever happens.
		onItsWay := n.from != ""
		if p.opts.History || onItsWay || n.kept {
			if err := p.noteDown(dir, n, onItsWay); err != nil {
				return err
			}
		}
		return p.renameNew(name, entry)
	}
	err = step()
	if errors.Is(err, iofs.ErrNotExist) {
		// What does not exist is mostly the directory.
		if err = p.makeHour(dir); err == nil {
			err = step()
		}
	}
	return entry, err
}

func (p *place) makeHour(dir string) error {
	err := p.makeDir(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		if err = p.makeDir(p.in(historyPart)); err == nil {
			err = p.makeDir(dir)
		}
	}
	if err == nil && p.opts.Durability == Full {
		err = p.syncDir(p.in(historyPart))
	}
	return err
}

func (p *place) noteDown(dir string, n note, durable bool) error {
	n.path, n.from = p.relative(n.path), p.relative(n.from)
	f, err := p.calls.Append(dir + "/" + pathsName)
	if err != nil {
		return err
	}
	defer f.Close()
	p.give(f, dir+"/"+pathsName)
	if _, err := f.Write(n.encode()); err != nil {
		return err
	}
	switch {
	case p.opts.Durability != Full:
		return nil
	case durable:
		return errors.Join(f.Sync(), p.syncDir(dir), p.syncDir(p.in(historyPart)))
	}
	p.history.mu.Lock()
	defer p.history.mu.Unlock()
	if p.history.noted == nil {
		p.history.noted = map[string]uint64{}
	}
	p.history.noted[dir] = p.counter.Add(1)
	return nil
}

// syncNotes puts on disk what was noted, by whichever commit. It is called after the commit, so that one sync may do for
// many. The entries themselves are renamed at one instant with what took their name, and on disk with the directory of that.
func (p *place) syncNotes() error {
	h := &p.history
	h.mu.Lock()
	noted := maps.Clone(h.noted)
	h.mu.Unlock()
	var errs []error
	for dir, last := range noted {
		f, err := p.calls.Open(dir + "/" + pathsName)
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		} else if errors.Is(err, iofs.ErrNotExist) {
			err = nil // it has expired
		}
		errs = append(errs, err)
		h.mu.Lock()
		if h.noted[dir] == last { // it is said once, if it fails
			delete(h.noted, dir)
		}
		h.mu.Unlock()
	}
	return errors.Join(errs...)
}

// correct notes of an entry what was not known before it was made.
func (p *place) correct(entry string, n note) {
	n.entry, n.time = path.Base(entry), p.opts.Now().UnixNano()
	_ = p.noteDown(path.Dir(entry), n, false) // it is kept all the same
}

// keep ends a commit: what is in the history now stays there, or goes, if there is to be none.
func (p *place) keep(entry string) {
	if !p.opts.History {
		_ = p.rename(entry, p.unique(p.in(trashPart), "")) // what stays goes with its hour
	}
}

// shelve makes an entry of what could not be put back to its name, for good.
func (p *place) shelve(entry string, n note) error {
	n.from, n.kept, n.time = "", true, 0
	_, err := p.enter(entry, removedPrefix, n)
	return err
}

// madeFor returns the inode that an entry of the history was made for, and whether it belongs to a user.
func madeFor(entry string) (inode uint64, moved, ok bool) {
	for _, prefix := range []string{stagedPrefix, movedPrefix} {
		if rest, found := strings.CutPrefix(entry, prefix); found {
			digits, _, _ := strings.Cut(rest, "-")
			inode, err := strconv.ParseUint(digits, 10, 64)
			return inode, prefix == movedPrefix, err == nil
		}
	}
	return 0, false, false
}

// An underway is an entry that is on its way to a name, or back.
type underway struct {
	entry string
	moved bool // it is a user's
	note  note
	info  Info
}

// underway returns what is on its way in a directory of the history: users' resources, and with all also staged versions,
// which take a look at each entry to be found. Under [FS.Lock] that is what a process has died with, or could not put back.
// What is noted of the entries is read where that is not known.
func (p *place) underway(dir string, all bool, known map[string]note) (found []underway, err error) {
	f, err := p.calls.Open(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Names(-1)
	if err != nil {
		return nil, err
	}
	fresh := known == nil
	for _, name := range names {
		inode, moved, ok := madeFor(name)
		if !ok || !moved && !all {
			continue
		}
		info, err := f.LstatIn(name)
		if errors.Is(err, iofs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		u := underway{entry: dir + "/" + name, moved: moved, info: info}
		if moved {
			if _, ok := known[name]; !ok && (known == nil || !fresh) {
				fresh = true
				if known, err = p.noted(dir); err != nil {
					return nil, err
				}
			}
			u.note = known[name]
		}
		is := info.Inode == inode
		if !is && moved {
			if is, err = p.isMistaken(u.note, inode, info); err != nil {
				return nil, err
			}
		}
		if is {
			found = append(found, u)
		}
	}
	return found, nil
}

// isMistaken reports whether what is in the place of a resource on its way was taken from where that was, because a local
// program had put it there, and not from where that was to go.
func (p *place) isMistaken(n note, inode uint64, info Info) (bool, error) {
	if n.from == "" || info.Inode == n.seen.Inode {
		return false, nil
	}
	arrived, err := p.calls.Lstat(n.path)
	if errors.Is(err, iofs.ErrNotExist) || isDisplaced(err) {
		return true, nil
	}
	return arrived.Inode != inode, err
}

// recoverHistory sees to what a dead process has left on its way in the history, see underway. It must not be called under
// [FS.Lock], which it takes where there is something. What is to be told of that, though it went well, comes apart from what
// did not.
func (p *place) recoverHistory(ctx context.Context, all bool) (told, err error) {
	dirs, err := p.hours()
	for _, dir := range dirs {
		if ctx.Err() != nil {
			return told, errors.Join(err, ctx.Err())
		}
		found, failed := p.underway(dir, all, nil)
		if failed == nil && len(found) > 0 {
			var unlock func()
			if unlock, failed = p.Lock(ctx); failed == nil {
				var news error
				news, failed = p.settleHour(dir, all, nil)
				unlock()
				told = errors.Join(told, news)
			}
		}
		err = errors.Join(err, failed)
	}
	return told, err
}

// settleHour sees to what is on its way in a directory of the history. It must be called under [FS.Lock].
func (p *place) settleHour(dir string, all bool, known map[string]note) (told, err error) {
	found, err := p.underway(dir, all, known)
	if len(found) > 0 && known != nil {
		found, err = p.underway(dir, all, nil)
	}
	for _, u := range found {
		if !u.moved {
			err = errors.Join(err, p.rename(u.entry, p.unique(p.in(trashPart), "")))
			continue
		}
		news, failed := p.sendBack(u)
		told, err = errors.Join(told, news), errors.Join(err, failed)
	}
	return told, err
}

// sendBack gives a resource its name back from which it was on its way; if that is taken, it was replaced meanwhile.
func (p *place) sendBack(u underway) (told, err error) {
	reason := errors.New("where it came from is not known")
	if n := u.note; n.from != "" {
		if reason = p.renameNew(u.entry, n.from); reason == nil {
			return nil, nil
		}
		if !errors.Is(reason, iofs.ErrExist) && !isDisplaced(reason) {
			return nil, fmt.Errorf("what was on its way to %q could not be put back as %q: %w", n.path, n.from, reason)
		}
	}
	if err := p.shelve(u.entry, note{path: u.note.from, cause: causeRecovered, seen: u.info}); err != nil {
		return nil, err
	}
	n := u.note
	return fmt.Errorf("what was on its way to %q when a server died is in the history, as what %q was: %w", n.path, n.from, reason), nil
}

// What the history says of something that has lost its name otherwise than by being replaced or removed: a process had died
// that had taken it away, or it could not have its name back; or that is still tried, see ErrAway.
const (
	causeRecovered  = "recovered"
	causeUnfinished = "unfinished"
)

// notes returns what is noted in a directory of the history; what cannot be read is nothing.
func (p *place) notes(dir string) map[string]note {
	notes, err := p.noted(dir)
	if err != nil {
		return map[string]note{}
	}
	return notes
}

// noted returns what is noted in a directory of the history.
func (p *place) noted(dir string) (map[string]note, error) {
	data, err := p.readFile(dir + "/" + pathsName)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return nil, err
	}
	return p.decoded(data), nil
}

func (p *place) decoded(data []byte) map[string]note {
	notes := decodeNotes(data)
	for entry, n := range notes {
		n.path, n.from = p.absolute(n.path), p.absolute(n.from)
		notes[entry] = n
	}
	return notes
}

// hours returns the directories of the history, the oldest first.
func (p *place) hours() ([]string, error) {
	names, err := p.entries(p.in(historyPart))
	if errors.Is(err, iofs.ErrNotExist) {
		err = nil
	}
	names = slices.DeleteFunc(names, func(name string) bool { _, ok := hourOf(name); return !ok })
	slices.Sort(names)
	for i, name := range names {
		names[i] = p.in(historyPart) + "/" + name
	}
	return names, err
}

// hourOf returns the hour that a directory of the history is of.
func hourOf(dir string) (time.Time, bool) {
	hour, _, _ := strings.Cut(path.Base(dir), ".")
	t, err := time.Parse(hourFormat, hour)
	return t, err == nil
}

// Expire lets go of what the history has kept for long enough, and of the oldest where it takes too much. It may be
// called at any time but under [FS.Lock], which it takes for an instant.
func (s *FS) Expire(ctx context.Context, r Retention) error {
	var errs []error
	for _, p := range s.places() {
		errs = append(errs, p.expire(ctx, r))
	}
	return errors.Join(errs...)
}

func (p *place) expire(ctx context.Context, r Retention) error {
	dirs, err := p.hours()
	if err != nil {
		return err
	}
	most := r.Most
	if most == 0 && r.Share > 0 {
		if space, err := p.calls.Space(p.at); err == nil {
			most = int64(r.Share * float64(space.Size))
		}
	}
	p.history.mu.Lock()
	p.history.most, p.history.added, p.history.told = most, 0, &r
	p.history.mu.Unlock()
	oldest := p.oldest(r)
	var total int64
	var errs []error
	for _, dir := range slices.Backward(dirs) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if hour, _ := hourOf(dir); !hour.After(oldest) {
			_, err := p.drop(ctx, dir, true)
			errs = append(errs, p.once(dir, err))
			continue
		}
		size, err := p.measure(ctx, dir, 0)
		if err == nil && most > 0 && size.bytes > most {
			size, err = p.dropLarge(ctx, dir, size, most)
		}
		errs = append(errs, err)
		total += size.bytes
		if err != nil || most == 0 || total <= most && size.count > 0 {
			continue
		}
		dropped, err := p.drop(ctx, dir, false)
		errs = append(errs, p.once(dir, err))
		if !dropped {
			total -= size.bytes // it stays, and pushes nothing out
		}
	}
	p.forgetSizes()
	return errors.Join(errs...)
}

// dropLarge lets go of the entries of a directory of the history that take more than all of it may, so that they do not
// push out the rest. It returns what the directory takes then.
func (p *place) dropLarge(ctx context.Context, dir string, size measured, most int64) (measured, error) {
	if size.entries == nil {
		p.history.mu.Lock()
		delete(p.history.sizes, dir)
		p.history.mu.Unlock()
		var err error
		if size, err = p.measure(ctx, dir, 0); err != nil {
			return size, err
		}
	}
	notes, err := p.noted(dir)
	if err != nil {
		return size, err
	}
	var large []string
	for entry, bytes := range size.entries {
		if bytes > most && entry != pathsName {
			large = append(large, entry)
		}
	}
	spared := p.recovered(large, notes)
	large = slices.DeleteFunc(large, func(entry string) bool { return slices.Contains(spared, entry) })
	for some := range slices.Chunk(large, batch) {
		unlock, err := p.Lock(ctx)
		if err != nil {
			return size, err
		}
		for _, entry := range some {
			n := notes[entry]
			if _, ok := p.version(dir+"/"+entry, n); !ok {
				continue
			}
			if err := p.rename(dir+"/"+entry, p.unique(p.in(trashPart), "")); err != nil {
				unlock()
				return size, err
			}
			p.tell(fmt.Errorf("the history does not keep what %q was: this takes %d bytes, and all of the history may take %d",
				n.path, size.entries[entry], most))
		}
		unlock()
	}
	return p.measure(ctx, dir, 0)
}

// version is kept for what has given way; ok is false for what is under way.
func (p *place) version(at string, n note) (k Kept, ok bool) {
	if k, ok = p.kept(at, n); !ok || k.Cause == causeUnfinished {
		return k, false
	}
	inode, moved, made := madeFor(path.Base(at))
	if !made || !moved {
		return k, true
	}
	mistaken, err := p.isMistaken(n, inode, k.Info)
	return k, err == nil && !mistaken
}

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

// ExpiryDue reports whether so much has come to the history since the last [FS.Expire] that it is worth another one.
func (s *FS) ExpiryDue() bool {
	return slices.ContainsFunc(s.places(), (*place).expiryDue)
}

// expireNow is Expire as it was called last, if anything has come to the history since. It reports whether it did anything.
func (p *place) expireNow(ctx context.Context) bool {
	p.history.mu.Lock()
	r, added := p.history.told, p.history.added
	p.history.mu.Unlock()
	if r == nil || added == 0 {
		return false
	}
	if err := p.expire(ctx, *r); err != nil && ctx.Err() == nil {
		p.tell(err)
	}
	return true
}

func (p *place) expiryDue() bool {
	p.history.mu.Lock()
	defer p.history.mu.Unlock()
	return p.history.most > 0 && p.history.added >= p.history.most/maxPart
}

// oldest returns the hour that expires now, with all before it.
func (s *FS) oldest(r Retention) time.Time {
	keep := cmp.Or(r.Keep, leftFor)
	return s.opts.Now().Add(-keep - time.Hour) // an hour begins with its name, and ends an hour later
}

// drop moves a directory of the history to the trash, and reports whether it did. What is on its way in there gets its
// name back before: the lock is taken since nobody else is at that while it is held. What was recovered stays in the
// history for its time, unless that is over: nobody has asked for it to give way. Where there is nothing but that, the
// directory stays.
func (p *place) drop(ctx context.Context, dir string, expired bool) (dropped bool, err error) {
	known, err := p.noted(dir)
	if err != nil {
		return false, err
	}
	// A look at each comes from the disk now, and not while others wait.
	if _, err := p.underway(dir, false, known); err != nil {
		return false, err
	}
	var spared []string
	if !expired {
		names, err := p.entries(dir)
		if err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return false, err
		}
		spared = p.recovered(names, known)
		if len(spared) > 0 && len(spared) >= len(names)-1 {
			return false, nil
		}
	}
	unlock, err := p.Lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	p.leavePart(dir)
	err = p.putBackAll(dir)
	told, failed := p.settleHour(dir, false, known)
	if told != nil {
		p.tell(told)
	}
	if err = errors.Join(err, failed); err != nil {
		return false, fmt.Errorf("the history cannot let go of %s yet: %w", dir, err)
	}
	for _, entry := range spared {
		n := known[entry]
		n.kept = true
		if _, err := p.enter(dir+"/"+entry, removedPrefix, n); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return false, err
		}
	}
	err = p.calls.Rename(dir, p.unique(p.in(trashPart), ""))
	if errors.Is(err, iofs.ErrNotExist) {
		return false, nil // somebody else did it
	}
	return err == nil, err
}

// recovered returns which entries of a directory of the history were recovered, and have not been kept for long enough.
func (p *place) recovered(names []string, known map[string]note) (all []string) {
	p.history.mu.Lock()
	keep := leftFor
	if r := p.history.told; r != nil {
		keep = cmp.Or(r.Keep, leftFor)
	}
	p.history.mu.Unlock()
	young := p.opts.Now().Add(-keep).UnixNano()
	for _, name := range names {
		if n, ok := known[name]; ok && n.cause == causeRecovered && n.time > young {
			all = append(all, name)
		}
	}
	return all
}

// measure returns what a directory of the history takes, as it was found to before, if no entry has come or gone since;
// or if that was a moment ago.
func (p *place) measure(ctx context.Context, dir string, moment time.Duration) (measured, error) {
	info, err := p.calls.Lstat(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return measured{}, nil
	}
	if err != nil {
		return measured{}, err
	}
	now := p.opts.Now()
	h := &p.history
	h.mu.Lock()
	known, ok := h.sizes[dir]
	current := dir == p.partDir(h.hour, h.part)
	h.mu.Unlock()
	same := ok && info.Inode != 0 && known.as == info.Fingerprint
	if same || ok && now.Sub(known.at) < moment {
		if same && known.entries != nil && !current {
			known.entries = nil
			p.rememberSize(dir, known)
		}
		return known, nil
	}
	m := measured{as: info.Fingerprint, at: now, entries: map[string]int64{}, bytes: block}
	names, err := p.entries(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return measured{}, nil
	}
	if err != nil {
		return m, err
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return m, ctx.Err()
		}
		size, ok := known.entries[name]
		if !ok || name == pathsName {
			entry := dir + "/" + name
			info, err := p.calls.Lstat(entry)
			if err != nil {
				continue
			}
			if size, err = p.sizeOf(ctx, entry, info); err != nil {
				return m, err
			}
		}
		m.entries[name] = size
		m.bytes += size
		if name != pathsName {
			m.count++
		}
	}
	p.rememberSize(dir, m)
	return m, nil
}

func (p *place) rememberSize(dir string, m measured) {
	h := &p.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sizes == nil {
		h.sizes = map[string]measured{}
	}
	h.sizes[dir] = m
}

// forgetSizes forgets what is known of directories that are not there any more.
func (p *place) forgetSizes() {
	dirs, err := p.hours()
	if err != nil {
		return
	}
	there := map[string]bool{}
	for _, dir := range dirs {
		there[dir] = true
	}
	h := &p.history
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.sizes, func(dir string, _ measured) bool { return !there[dir] })
	p.trash.mu.Lock()
	defer p.trash.mu.Unlock()
	maps.DeleteFunc(p.trash.stuck, func(name string, _ stuck) bool { return isIn(name, p.in(historyPart)) && !there[name] })
}

// block is what the least file takes.
const block = 4 << 10

// inBlocks returns what a file of a size takes.
func inBlocks(size int64) int64 { return (size + block - 1) / block * block }

// sizeOf returns what is at a name and below it takes, in bytes, as far as it can be seen.
func (s *FS) sizeOf(ctx context.Context, name string, info Info) (total int64, err error) {
	if info.Kind != Directory {
		return min(inBlocks(info.Size), inBlocks(info.Allocated)), nil
	}
	total = block
	names, err := s.entries(name)
	if err != nil {
		return total, nil // gone, or not ours to look into
	}
	for _, base := range names {
		if ctx.Err() != nil {
			return total, ctx.Err()
		}
		member := name + "/" + base
		info, err := s.calls.Lstat(member)
		if err != nil {
			continue
		}
		size, err := s.sizeOf(ctx, member, info)
		if err != nil {
			return total, err
		}
		total += size
	}
	return total, nil
}

// historySize returns what the history takes, in bytes, as it has been found.
func (p *place) historySize() (total int64) {
	p.history.mu.Lock()
	defer p.history.mu.Unlock()
	for _, size := range p.history.sizes {
		total += size.bytes
	}
	return total
}
