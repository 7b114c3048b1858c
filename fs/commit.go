package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/spf13/afero"
)

// How qualifies a commit.
type How struct {
	// Exact: only what the caller has seen may give way, down to the last byte, and a program that has it open for
	// writing is in the way. Otherwise whatever is there does, as long as it is of the same kind.
	Exact bool
	// Doubtful: versions that a program had open for writing when the caller read them. It fails with ErrMoved where one of
	// them is to give way exactly, and a lease shows that nobody writes to it any more, so that it can be read again.
	Doubtful map[Fingerprint]bool
	// Unkept: what is removed does not go to the history, for want of room, but to the trash.
	Unkept bool
	Cause  string // for the history: the method, or whatever else is in one word
	By     string // for the history: the user for whom it is done
	Tag    string // for the history: of what the caller has seen, where it is known
}

// A MountedError says that a collection cannot give way, since a file system is mounted there, or somewhere below.
type MountedError struct{ At string }

func (e *MountedError) Error() string { return fmt.Sprintf("a file system is mounted at %q", e.At) }

// The errors of a commit that say to look again. Nothing has changed then; ErrWriter and ErrExist are of that sort too.
var (
	ErrMoved = errors.New("it is not what was seen a moment ago")

	// ErrStands says that the new version has the name, though it should not: it could not be taken back. What it replaced
	// is in the history.
	ErrStands = errors.New("the new version could not be taken back")

	// errLost says that the staged version is gone, so that there is nothing to try again with: a local program has put
	// something in its place, or has written to it, at the instant between an exchange and its being taken back.
	errLost = fmt.Errorf("a local program has taken the place of the new version (%w)", ErrBusy)
)

// Commit gives a staged version its name, in place of what is there, which the caller has just seen. It must be called
// under [FS.Lock]. ErrExist says that something has appeared where nothing was, ErrMoved that something else is there
// than was seen, ErrWriter that a program has it open for writing. When it fails, the old version has its name.
//
//	nothing there:  renameNew(stage, name)
//	else:           lease(name), compare it with what was seen, into the history: renameNew(stage, entry),
//	                exchange(entry, name), compare what came out, exchange back if need be
//
// What came out stays in the history. Where names cannot be exchanged, a file is replaced by a rename, a collection by
// two (see displace), and nobody looks at what came out.
func (s *FS) Commit(st *Staged, name string, over Info, how How) error {
	if st.done {
		return errLost
	}
	st.endWriting()
	p := st.place
	var err error
	if !over.Exists() {
		err = p.calls.renameNew(st.name, name)
	} else if p.able().Exchange {
		err = p.commitOver(st, name, over, how)
	} else {
		err = p.replace(st.name, name, st.dir, over, how)
	}
	// What could not be put back is judged by whether the version it gave way to is still here: that one stays.
	if err == nil || errors.Is(err, ErrAway) || errors.Is(err, errLost) || errors.Is(err, ErrStands) {
		st.done = true
	}
	if err == nil && st.mode != 0 {
		_ = s.setMode(name, st.mode) // it is committed: at worst its owner may write to it
	}
	return err
}

func (p *place) commitOver(st *Staged, name string, over Info, how How) error {
	h, err := p.hold(name, over, how)
	if err != nil {
		return err
	}
	defer h.release()
	ours, err := st.Info()
	if err != nil {
		return err
	}
	n := note{path: name, cause: how.Cause, by: how.By, tag: how.Tag, seen: over}
	entry, err := p.enter(st.name, fmt.Sprintf("%s%d-", stagedPrefix, ours.Inode), n)
	if err != nil {
		return err
	}
	if seen, err := p.swap(entry, name, ours, h, n); err != nil {
		return errors.Join(err, p.unstage(st.name, entry, ours, seen, n))
	}
	p.keep(entry)
	return nil
}

// unstage sees to what is in the history for a commit that has failed. If it is ours, it is staged again; unless it has been
// seen under its name, and a local program has written to it there.
func (p *place) unstage(staged, entry string, ours Info, seen bool, n note) error {
	left, err := p.calls.lstat(entry)
	if err == nil && !left.SameFile(ours) {
		return nil // what a local program has replaced, or what ours stands for now
	}
	n = note{path: n.path, cause: n.cause, by: n.by, seen: left}
	touched := false
	if err == nil && seen {
		touched, err = p.isTouched(entry, ours)
	}
	switch {
	case err == nil && !touched:
		if err = p.renameNew(entry, staged); err == nil {
			return nil
		}
	case err == nil:
		err = p.shelve(entry, n)
	}
	if err != nil && seen {
		err = p.leaveAway(away{at: entry, note: n, was: ours}, err)
	} else if err != nil {
		p.left.add(entry) // nobody can have written to it
	}
	return errors.Join(errLost, err)
}

// isTouched reports whether somebody has written, or may still write, to a version that nobody could see before it was
// exchanged.
func (p *place) isTouched(name string, before Info) (bool, error) {
	f, err := p.calls.open(name)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return true, nil // it would wait for one who writes
	case errors.Is(err, iofs.ErrPermission):
		return false, nil // nor may others open it
	case err != nil:
		return false, err
	}
	defer f.Close()
	if p.able().Leases {
		if _, err := p.Lease(f); errors.Is(err, ErrWriter) {
			return true, nil
		}
	}
	now, err := p.calls.fstat(f)
	return now.Size != before.Size || now.Modified != before.Modified, err
}

func (s *FS) setMode(name string, mode iofs.FileMode) error {
	f, err := s.calls.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.calls.chmod(f, mode)
}

// Move gives what from names another name, in place of what is there; the caller has just seen both. It must be called
// under [FS.Lock], and fails as [FS.Commit] does.
//
//	nothing there:  lease(from), renameNew(from, to), compare what is there now, and rename it back if need be
//	one name:       see respell
//	else:           leases, renameNew(from, entry), and on as in a commit
func (s *FS) Move(from string, source Info, to string, over Info, how How) error {
	p, err := s.placeOf(from, source)
	if err != nil {
		return err
	}
	respelled := over.Exists() && s.SameName(from, source, to, over)
	if over.Exists() && !respelled {
		if other, err := s.placeOf(to, over); err != nil {
			return err
		} else if other != p {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: syscall.EXDEV}
		}
	}
	if respelled {
		err = p.respell(from, source, to, how)
	} else {
		err = p.move(from, source, to, over, how)
	}
	if err != nil {
		return err
	}
	if source.Kind == Directory {
		s.movePlaces(from, to)
	}
	return nil
}

func (p *place) move(from string, source Info, to string, over Info, how How) error {
	switch {
	case !over.Exists():
		return p.moveNew(from, source, to, how)
	case p.able().Exchange:
		return p.moveOver(from, source, to, over, how)
	}
	if err := p.movable(from, source); err != nil {
		return err
	}
	return p.replace(from, to, source.Kind == Directory, over, how)
}

func (p *place) moveNew(from string, source Info, to string, how How) error {
	h, err := p.hold(from, source, how)
	if err != nil {
		return err
	}
	defer h.release()
	if err := p.renameNew(from, to); err != nil {
		return vanished(err)
	}
	if err := h.check(p, to); err != nil {
		return errors.Join(err, p.takeBack(to, from, note{path: from, cause: how.Cause, by: how.By, seen: source}))
	}
	return nil
}

// respell gives what has a name another spelling of that; see [FS.SameName]. Where both are one file to a system, as they
// are to Linux, it may do nothing at all and report no failure. Then the name is given up first:
//
//	lease(from), rename(from, to), look for the name in its directory
//	not there:      renameNew(from, entry), renameNew(entry, to)
func (p *place) respell(from string, source Info, to string, how How) error {
	h, err := p.hold(from, source, how)
	if err != nil {
		return err
	}
	defer h.release()
	err = p.rename(from, to)
	if errors.Is(err, iofs.ErrNotExist) {
		return vanished(err)
	}
	if err == nil && p.isListed(to) {
		if err := h.check(p, to); err != nil {
			return errors.Join(err, p.rename(to, from))
		}
		return nil
	}
	n := note{path: to, from: from, cause: how.Cause, by: how.By, seen: source}
	entry, err := p.enter(from, fmt.Sprintf("%s%d-", movedPrefix, source.Inode), n)
	if err != nil {
		return vanished(err)
	}
	back := note{path: from, cause: how.Cause, by: how.By, seen: source}
	if err := h.check(p, entry); err != nil {
		return errors.Join(err, p.takeBack(entry, from, back))
	}
	if err := p.renameNew(entry, to); err != nil {
		return errors.Join(err, p.takeBack(entry, from, back))
	}
	return nil
}

func (p *place) moveOver(from string, source Info, to string, over Info, how How) error {
	hf, err := p.hold(from, source, how)
	if err != nil {
		return err
	}
	defer hf.release()
	ht, err := p.hold(to, over, how)
	if err != nil {
		return err
	}
	defer ht.release()
	n := note{path: to, from: from, cause: how.Cause, by: how.By, tag: how.Tag, seen: over}
	entry, err := p.enter(from, fmt.Sprintf("%s%d-", movedPrefix, source.Inode), n)
	if err != nil {
		return vanished(err)
	}
	back := note{path: from, cause: how.Cause, by: how.By, seen: source}
	if err := hf.check(p, entry); err != nil {
		return errors.Join(err, p.takeBack(entry, from, back))
	}
	if _, err := p.swap(entry, to, source, ht, n); err != nil {
		left, failed := p.calls.lstat(entry)
		switch {
		case failed != nil:
			failed = p.leaveAway(away{at: entry, name: from, note: back, was: source}, failed)
		case left.SameFile(source):
			if errors.Is(err, iofs.ErrNotExist) && Alike(from, to) && p.renameNew(entry, to) == nil {
				return nil // it was another spelling of the source after all
			}
			failed = p.takeBack(entry, from, back)
		}
		return errors.Join(err, failed)
	}
	p.keep(entry)
	return nil
}

// A Taken is what was taken away from its name, since a copy of it is to get another one, on another file system. It is in
// the history of its own; [FS.Recover] gives it its name back if nobody says what has become of it. With [How].Unkept it is
// in the trash, under a name that is not deleted; when the process dies it goes to the history, if there is room by then.
type Taken struct {
	place  *place
	hold   *hold
	entry  string
	note   note
	unkept bool
}

// Take takes a name away, which the caller has just seen. It must be called under [FS.Lock], and fails as [FS.Commit]
// does; what was taken is to be given back or up while that is held.
func (s *FS) Take(name string, seen Info, how How) (*Taken, error) {
	p, err := s.placeOf(name, seen)
	if err != nil {
		return nil, err
	}
	h, err := p.hold(name, seen, how)
	if err != nil {
		return nil, err
	}
	t := &Taken{place: p, hold: h, note: note{path: name, cause: how.Cause, by: how.By, tag: how.Tag, seen: seen}, unkept: how.Unkept}
	if t.unkept {
		t.entry = p.unique(p.in(trashPart), takenPrefix)
		err = p.renameNew(name, t.entry)
	} else {
		onItsWay := t.note
		onItsWay.from = name
		t.entry, err = p.enter(name, fmt.Sprintf("%s%d-", movedPrefix, seen.Inode), onItsWay)
	}
	if err != nil {
		h.release()
		return nil, vanished(err)
	}
	if err := h.check(p, t.entry); err != nil {
		return nil, errors.Join(err, t.GiveBack())
	}
	return t, nil
}

// GiveBack gives it its name back. If that is taken now, it is in the history.
func (t *Taken) GiveBack() error {
	defer t.hold.release()
	return t.place.takeBack(t.entry, t.note.path, t.note)
}

// GiveUp leaves it to the history, or the trash, as if it had been removed.
func (t *Taken) GiveUp() error {
	defer t.hold.release()
	if t.unkept {
		if t.place.renameNew(t.entry, t.place.unique(t.place.in(trashPart), "")) != nil {
			t.place.left.add(t.entry)
		}
		return nil
	}
	entry, err := t.place.enter(t.entry, removedPrefix, t.note)
	if err != nil {
		return t.place.leaveAway(away{at: t.entry, note: t.note, was: t.note.seen}, err)
	}
	t.place.keep(entry)
	return nil
}

// Kept returns it as what the history has, for a look at what is in it.
func (t *Taken) Kept() Kept { return Kept{Path: t.note.path, Info: t.note.seen, at: t.entry} }

// Unkept returns what was seen at a name as if the history had it.
func (s *FS) Unkept(name string, seen Info) Kept {
	return Kept{Path: name, Info: seen, at: local(name)}
}

// isExhausted reports whether a call failed before it began, because the process or the system has too much open.
func isExhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// vanished makes ErrMoved of the failure to rename what was there a moment ago.
func vanished(err error) error {
	if errors.Is(err, iofs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrMoved, err)
	}
	return err
}

// Remove takes a name away, which the caller has just seen, by one rename into the history. It must be called under
// [FS.Lock], and fails as [FS.Commit] does.
func (s *FS) Remove(name string, seen Info, how How) error {
	if how.Unkept {
		t, err := s.Take(name, seen, how)
		if err != nil {
			return err
		}
		return t.GiveUp()
	}
	p, err := s.placeOf(name, seen)
	if err != nil {
		return err
	}
	h, err := p.hold(name, seen, how)
	if err != nil {
		return err
	}
	defer h.release()
	n := note{path: name, cause: how.Cause, by: how.By, tag: how.Tag, seen: seen}
	entry, err := p.enter(name, removedPrefix, n)
	if errors.Is(err, syscall.EXDEV) && seen.Kind == Directory && p.calls.remove(name) == nil {
		return nil // an overlay renames no directory of a lower layer, and removes it if it is empty
	}
	if err != nil {
		return vanished(err)
	}
	if err := h.check(p, entry); err != nil {
		return errors.Join(err, p.takeBack(entry, name, n))
	}
	p.keep(entry)
	return nil
}

// A hold is what is known of a resource that is about to give way.
type hold struct {
	seen  Info
	exact bool
	file  afero.File // open for reading, where there is a lease
	lease *Lease
}

// hold makes sure that a name stands for exactly what was seen, if that is asked for; and that nobody writes to that,
// where there are leases.
func (p *place) hold(name string, seen Info, how How) (*hold, error) {
	h := &hold{seen: seen, exact: how.Exact}
	if err := p.movable(name, seen); err != nil {
		return nil, err
	}
	if !how.Exact {
		return h, nil
	}
	if seen.Kind != Regular || !p.able().Leases {
		return h, h.checkAll(p.calls.lstat(name))
	}
	f, err := p.calls.open(name)
	switch {
	case errors.Is(err, iofs.ErrPermission):
		return h, h.checkAll(p.calls.lstat(name)) // nor can we have a lease on it
	case errors.Is(err, syscall.EAGAIN):
		return nil, ErrWriter // it would wait for one who holds a lease for writing
	case err != nil:
		return nil, vanished(err)
	}
	h.file = f
	h.lease, err = p.Lease(f)
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	if err == nil {
		err = h.checkAll(p.calls.fstat(f))
	}
	if err == nil && h.lease != nil && how.Doubtful[seen.Fingerprint] {
		err = ErrMoved
	}
	if err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

// movable fails where a file system is mounted below a directory: it would go along, into the history too, and be deleted
// with that.
func (s *FS) movable(name string, seen Info) error {
	if seen.Kind != Directory {
		return nil
	}
	mounted, err := s.calls.mounts(name)
	if err != nil {
		return vanished(err)
	}
	if len(mounted) > 0 {
		return &MountedError{mounted[0]}
	}
	return nil
}

// checkAll compares a look with what was seen, before anything has happened to that.
func (h *hold) checkAll(now Info, err error) error {
	if err != nil {
		return vanished(err)
	}
	same := now.Kind == h.seen.Kind && now.Fingerprint == h.seen.Fingerprint
	if h.seen.Kind == Directory {
		same = now.SameFile(h.seen) // its members are not its content
	}
	if !same {
		return ErrMoved
	}
	return nil
}

// check looks at what was taken from its name, and tells whether it is what was to be taken. The time of change says
// nothing any more: a rename may move it.
func (h *hold) check(p *place, at string) error {
	if !h.exact {
		return nil
	}
	now, err := p.calls.lstat(at)
	if err != nil {
		return err
	}
	return h.compare(now)
}

func (h *hold) compare(now Info) error {
	switch {
	case !h.exact:
		if now.Kind != h.seen.Kind {
			return ErrMoved
		}
	case !now.SameFile(h.seen):
		return ErrMoved
	case h.lease != nil:
		if !h.lease.Held() {
			return ErrWriter
		}
	case now.Kind == Regular && (now.Size != h.seen.Size || now.Modified != h.seen.Modified):
		return ErrMoved
	}
	return nil
}

// release lets go of it, and lets those write who wait.
func (h *hold) release() {
	if h.file != nil {
		h.file.Close()
	}
}

// swap exchanges ours, which is in the history, for what is at name, and looks at what came out. If that is not what was
// held, it is put back: then an error says so, and ours is in the history again, unless it is errLost or ErrStands. seen
// reports whether ours has had the name, or may have.
func (p *place) swap(entry, name string, ours Info, h *hold, n note) (seen bool, err error) {
	if failed := p.exchange(entry, name); failed != nil {
		// Over a network it may have happened although it fails.
		now, err := p.calls.lstat(entry)
		if err != nil || now.SameFile(ours) {
			return err != nil && !isExhausted(failed), vanished(failed)
		}
	}
	out, err := p.calls.lstat(entry)
	if err == nil {
		err = h.compare(out)
	}
	if err != nil {
		failed := p.swapBack(entry, name, ours)
		if errors.Is(failed, ErrStands) && !p.opts.History {
			p.correct(entry, n) // what it stands for is kept all the same
		}
		return true, errors.Join(err, failed)
	}
	out = p.keepModified(entry, out, n.seen)
	if ours.Kind == Directory {
		if now, err := p.calls.lstat(name); err == nil {
			p.keepModified(name, now, ours)
		}
	}
	if out.Inode != n.seen.Inode || out.Size != n.seen.Size || out.Modified != n.seen.Modified {
		n.seen, n.tag = out, ""
		p.correct(entry, n)
	}
	return true, nil
}

// keepModified gives a directory that was exchanged the time back that it had, which XFS moves, and returns the look at it. It
// is no error where that cannot be: it has its name.
func (s *FS) keepModified(name string, now, had Info) Info {
	if now.Kind == Directory && now.SameFile(had) && now.Modified != had.Modified &&
		s.calls.chtimes(name, had.ModTime()) == nil {
		now.Modified, now.Second = had.Modified, had.Second
	}
	return now
}

// maxBack bounds how often local programs may come between an exchange and its being taken back.
const maxBack = 16

// swapBack takes an exchange back. Should what comes out of name not be what we put there, then a local program has
// replaced that, and has the last word: it goes back, for what we have put there last. What is in the history in the
// end is ours; or else what a local program has replaced, and errLost says that ours is gone.
func (s *FS) swapBack(entry, name string, ours Info) error {
	expected := ours
	for range maxBack {
		other, err := s.calls.lstat(entry)
		if err != nil {
			other = Info{}
		}
		err = s.exchange(entry, name)
		if errors.Is(err, iofs.ErrNotExist) {
			return errLost // a local program has removed it
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrStands, err)
		}
		got, err := s.calls.lstat(entry)
		if err != nil {
			return nil // it has happened, and nobody can say what
		}
		if got.SameFile(expected) {
			if expected.SameFile(ours) {
				return nil
			}
			return errLost
		}
		expected = other
	}
	return errLost
}

// replace is for where names cannot be exchanged: it renames, so that to is never half of anything.
func (p *place) replace(from, to string, directory bool, over Info, how How) error {
	h, err := p.hold(to, over, how)
	if err != nil {
		return err
	}
	defer h.release()
	n := note{path: to, cause: how.Cause, by: how.By, tag: how.Tag, seen: over}
	if over.Kind != Directory && !directory {
		if p.opts.History {
			p.linkIntoHistory(to, n)
		}
		return p.calls.rename(from, to)
	}
	gone, err := p.displace(to, from)
	if err != nil {
		return err
	}
	if err := p.renameNew(from, to); err != nil {
		return errors.Join(err, p.restore(gone, to, from))
	}
	// It has given way for good, and without its name there is nothing to put back. Should neither call succeed, recovery
	// finds that what it gave way to has the name.
	old := gone + "/" + displacedOld
	entry, err := p.enter(old, removedPrefix, n)
	if err != nil {
		_ = p.rename(old, gone+"/"+displacedGone)
		return nil
	}
	p.keep(entry)
	p.forget(gone)
	return nil
}

// linkIntoHistory gives what is about to be replaced by a rename, or is in a collection of the history, a second name. Where
// that cannot be, there is no history of it by itself.
func (p *place) linkIntoHistory(name string, n note) {
	dir := p.hourDir(n.seen.Size)
	entry := p.unique(dir, removedPrefix)
	n.entry, n.time = path.Base(entry), p.opts.Now().UnixNano()
	err := p.noteDown(dir, n, false)
	if errors.Is(err, iofs.ErrNotExist) {
		if err = p.makeHour(dir); err == nil {
			err = p.noteDown(dir, n, false)
		}
	}
	if err == nil {
		_ = p.calls.link(name, entry)
	}
}

// displace takes what is at name out of the way of by, so that it can be put back, also by the next process.
func (p *place) displace(name, by string) (dir string, err error) {
	info, err := p.calls.lstat(by)
	if err != nil {
		return "", err
	}
	dir = p.unique(p.session, displacedName)
	if err := p.calls.mkdir(dir); err != nil {
		return "", err
	}
	err = p.writeFile(dir+"/"+displacedPath, displacement{p.relative(name), p.relative(by), info.Inode, info.Born}.encode())
	if err == nil && p.opts.Durability == Full {
		err = errors.Join(p.syncDir(dir), p.syncDir(p.session))
	}
	if err == nil {
		err = p.rename(name, dir+"/"+displacedOld)
	}
	if err != nil {
		// Over a network a rename may have happened although it fails.
		return "", errors.Join(err, p.restore(dir, name, by))
	}
	return dir, nil
}

// restore puts back what has given way, if it has, and forgets that it was to. It removes nothing but our note.
func (p *place) restore(dir, name, by string) error {
	old := dir + "/" + displacedOld
	info, err := p.calls.lstat(old)
	if err == nil {
		err = p.renameNew(old, name)
	} else if errors.Is(err, iofs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		a := away{at: old, name: name, was: info, displaced: dir, by: by}
		return p.leaveAway(a, &iofs.PathError{Op: "restore", Path: name, Err: err})
	}
	p.forget(dir)
	return nil
}

// forget removes the note of what had given way.
func (s *FS) forget(dir string) {
	_ = s.calls.remove(dir + "/" + displacedPath) // what stays goes with the session
	_ = s.calls.remove(dir)
}

// rename, renameNew and exchange are the calls, for what may be a directory that its owner may not write to: such a one goes
// into no other directory, since its ".." is written to. So it gets that permission for the call, where the system asks for it.
func (s *FS) rename(from, to string) error {
	return s.writable(func() error { return s.calls.rename(from, to) }, from)
}

func (s *FS) renameNew(from, to string) error {
	return s.writable(func() error { return s.calls.renameNew(from, to) }, from)
}

func (s *FS) exchange(a, b string) error {
	return s.writable(func() error { return s.calls.exchange(a, b) }, a, b)
}

func (s *FS) writable(rename func() error, names ...string) error {
	err := rename()
	if !errors.Is(err, iofs.ErrPermission) {
		return err
	}
	granted := false
	for _, name := range names {
		if takeBack, ok := s.grantWrite(name); ok {
			defer takeBack()
			granted = true
		}
	}
	if granted {
		err = rename()
	}
	return err
}

// grantWrite lets its owner write to a directory, unless that may be. Whatever name it has by then, takeBack gives it the mode
// that it had.
func (s *FS) grantWrite(name string) (takeBack func(), ok bool) {
	if info, err := s.calls.lstat(name); err != nil || info.Kind != Directory || info.Mode&ownerWrite != 0 {
		return nil, false
	}
	dir, err := s.calls.open(name)
	if err != nil {
		return nil, false
	}
	info, err := s.calls.fstat(dir)
	if err == nil {
		err = s.calls.chmod(dir, info.Mode|ownerWrite)
	}
	if err != nil {
		dir.Close()
		return nil, false
	}
	return func() {
		_ = s.calls.chmod(dir, info.Mode) // it has its name: at worst its owner may write to it
		dir.Close()
	}, true
}

// Mkdir makes a directory where nothing is, with a modification time if one is given and the disk keeps such a one. It must
// be called under [FS.Lock].
func (s *FS) Mkdir(name string, modified time.Time) error {
	name = local(name)
	if err := s.calls.mkdir(name); err != nil {
		return err
	}
	err := s.setDirMode(name)
	if err == nil && !modified.IsZero() {
		err = s.setNewTime(name, modified)
	}
	if err != nil {
		_ = s.calls.remove(name) // it is new, and empty
	}
	return err
}

// setNewTime sets the modification time of a new directory. Where the disk keeps no such time it is that of now.
func (s *FS) setNewTime(name string, t time.Time) error {
	_, err := s.setTime(name, Info{Fingerprint: Fingerprint{Modified: s.opts.Now().UnixNano()}}, t, Nearly)
	if errors.Is(err, ErrTime) {
		err = nil
	}
	return err
}

// setDirMode gives a new directory the mode that was asked for, if one was.
func (s *FS) setDirMode(name string) error {
	mode := s.opts.DirMode
	if mode == 0 {
		return nil
	}
	f, err := s.calls.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := s.calls.fstat(f)
	if err != nil {
		return err
	}
	inherited, err := s.calls.getAttr(f, defaultACL)
	if err != nil {
		return err
	}
	if inherited != nil {
		mode &= info.Mode | iofs.ModeSetgid | iofs.ModeSticky // what the ACL grants is in its mode
	}
	return s.calls.chmod(f, mode|info.Mode&iofs.ModeSetgid)
}

// SetAttributes keeps value, or what [FS.KeepBeside] has made of it, with a file or directory; the next look at it finds its
// Changed time moved. It must be called under [FS.Lock].
func (s *FS) SetAttributes(name string, value []byte) error {
	f, err := s.calls.open(local(name))
	if err != nil {
		return err
	}
	defer f.Close()
	if len(value) == 0 {
		value = nil // none, and not an empty one
	}
	return s.calls.setAttr(f, propertiesAttr, value)
}

// SetExecutable lets its owner start a program from a file, and those who may read it; or nobody. It must be called under
// [FS.Lock].
func (s *FS) SetExecutable(name string, yes bool) error {
	info, err := s.Lstat(name)
	if err != nil {
		return err
	}
	mode := info.Mode &^ 0o111
	if yes {
		mode |= 0o100 | mode&0o444>>2
	}
	if mode == info.Mode {
		return nil
	}
	return s.SetMode(name, mode)
}

// SetMode sets the permission bits of a file or directory. It must be called under [FS.Lock].
func (s *FS) SetMode(name string, mode iofs.FileMode) error { return s.setMode(local(name), mode) }

// SyncFile puts a file, or what is kept beside it, on disk as far as the durability asks for it; after the commit, as
// [FS.SyncNames].
func (s *FS) SyncFile(name string) error {
	if s.opts.Durability == None {
		return nil
	}
	f, err := s.calls.open(local(name))
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return s.calls.syncDir(f) // all of it: what is kept beside a file is not what sync must write to read it back
}

// SyncState puts the names of the state directory on disk, as [FS.SyncNames] does for those of the tree.
func (s *FS) SyncState() error { return s.SyncNames(lockName) }

// SyncNames puts the names in the directories of these names on disk, and what the history has of what they stood for, as
// far as the durability asks for it. It is called after the commit, outside the lock: should it fail, the new version is
// visible and whole, and not acknowledged.
func (s *FS) SyncNames(names ...string) error {
	if s.opts.Durability != Full {
		return nil
	}
	var errs []error
	for _, p := range s.places() {
		errs = append(errs, p.syncNotes())
	}
	done := map[string]bool{}
	for _, name := range names {
		if dir := path.Dir(local(name)); !done[dir] {
			done[dir] = true
			errs = append(errs, s.syncDir(dir))
		}
	}
	return errors.Join(errs...)
}

func (s *FS) syncDir(name string) error {
	f, err := s.calls.open(name)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil // moved or removed since, by a commit that syncs it itself
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return s.calls.syncDir(f)
}

// ReadState returns the content of a small file of the state directory.
func (s *FS) ReadState(name string) ([]byte, error) { return s.readFile(stateDir + "/" + name) }

// ReadStateFrom returns the rest of the content of a small file of the state directory, from an offset on.
func (s *FS) ReadStateFrom(name string, offset int64) ([]byte, error) {
	f, err := s.calls.open(stateDir + "/" + name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := s.calls.fstat(f)
	if err != nil || info.Size <= offset {
		return nil, err
	}
	data := make([]byte, info.Size-offset)
	n, err := s.calls.readAt(f, data, offset)
	if isEOF(err) {
		err = nil
	}
	return data[:n], err
}

// AppendState appends to a small file of the state directory, which is made where there is none. It must be called under
// [FS.Lock]. Where it fails, some of the data may be there.
func (s *FS) AppendState(name string, data []byte) error {
	f, err := s.calls.appendTo(stateDir + "/" + name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = s.calls.write(f, data)
	return err
}

// SyncStateFile puts a small file of the state directory on disk, as far as the durability asks for it; after the commit, as
// [FS.SyncNames].
func (s *FS) SyncStateFile(name string) error {
	if s.opts.Durability == None {
		return nil
	}
	f, err := s.calls.open(stateDir + "/" + name)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return s.calls.sync(f)
}

// StatState looks at a small file of the state directory; Nothing if there is none.
func (s *FS) StatState(name string) (Info, error) {
	info, err := s.calls.lstat(stateDir + "/" + name)
	if errors.Is(err, iofs.ErrNotExist) {
		return Info{}, nil
	}
	return info, err
}

// WriteState replaces a small file of the state directory in one step. It must be called under [FS.Lock].
func (s *FS) WriteState(name string, data []byte) error {
	name = stateDir + "/" + name
	staged := name + ".new"
	if err := s.calls.remove(staged); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	if err := s.writeFile(staged, data); err != nil {
		return err
	}
	return s.calls.rename(staged, name)
}

func (s *FS) writeFile(name string, data []byte) error {
	f, err := s.calls.create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	s.give(f, name)
	if _, err := s.calls.write(f, data); err != nil {
		return err
	}
	if s.opts.Durability == None {
		return nil
	}
	return s.calls.sync(f)
}

func (s *FS) readFile(name string) ([]byte, error) {
	f, err := s.calls.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := s.calls.fstat(f)
	if err != nil {
		return nil, err
	}
	return s.readAll(f, info.Size)
}

func (s *FS) readAll(f afero.File, size int64) ([]byte, error) {
	data := make([]byte, size)
	n, err := s.calls.readAt(f, data, 0)
	if isEOF(err) {
		err = nil
	}
	return data[:n], err
}
