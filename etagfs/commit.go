package etagfs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"sync"
	"syscall"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A newVersion is a staged version that is to get a name.
type newVersion struct {
	staged   *fs.Staged
	kind     vfs.Kind
	tag      tree.ETag   // of a file
	body     []byte      // the content of a small file that was written from memory, or nil
	cause    string      // for the history
	modified time.Time   // the time that a client wants and the staged file has, or zero if no client wants one
	dated    bool        // it keeps the date that it has, even if no client wants one
	quiet    func() bool // asked last, under the lock: no program has the source of a copy open for writing. Or nil
	opened   *vfs.File   // the version that is replaced, open for reading, or nil. The commit closes it.
}

// lease takes a lease on a staged file whose tag is to be remembered, and returns the open file. It returns nil if no
// lease can be had. A preparation takes the lease, so that this takes no time under the lock.
func (n newVersion) lease() *vfs.File {
	if able := n.staged.Abilities(); n.tag == "" || !able.Leases || !able.FineTimes {
		return nil
	}
	lease, _ := n.staged.Lease()
	return lease
}

// commit gives a staged version a name, in place of the resource that the transaction has found there, and remembers
// its tag. It returns the look at the new version.
func (t *transaction) commit(name string, over vfs.Info, n newVersion) (vfs.Info, error) {
	if n.opened != nil {
		defer n.opened.Close() // unless the commit has closed it
	}
	if err := t.names(name); err != nil {
		return vfs.Info{}, err
	}
	// The tag that is remembered is of the bytes of this process. A program that writes to the file as soon as the file
	// has the name must break the lease.
	defer n.staged.Release()
	lease := n.lease()
	var change *index.Change
	if n.kind == vfs.Regular {
		change = t.s.change(name, over, shownFor(n.modified), n.staged)
		if err := t.date(n, change); err != nil {
			return vfs.Info{}, err
		}
	}
	before, err := n.staged.Seen()
	if err != nil {
		return vfs.Info{}, err
	}
	if lease != nil {
		t.s.hasher.Meet(lease, name, before)
	}
	how := t.how(n.cause, name, over)
	how.Opened = n.opened
	news := telling{cause: n.cause, name: name, over: over, kind: n.kind, old: tree.ETag(how.Tag), tag: n.tag}
	if err := t.tell(news); err != nil {
		return vfs.Info{}, err
	}
	k := t.record(n.tag)
	// No reader finds the version before its tag is remembered.
	end := t.s.fs.OneStep(name)
	defer end()
	var info vfs.Info
	how.Settled = sync.OnceFunc(func() {
		var same bool
		info, same = t.carry(before, name, k, n.tag != "", func() bool { return lease == nil || lease.Leased() },
			change.Done)
		if same && lease != nil {
			t.s.contents.KeepOwn(info, n.tag, n.body)
		}
		end()
	})
	if err := t.give(n.staged, name, over, how); err != nil {
		return vfs.Info{}, err
	}
	how.Settled()
	if over.Exists() {
		t.s.displaced()
	}
	t.feed.Made(name, info, n.kind == vfs.Directory)
	return info, nil
}

// record returns the record of a version that is synced before it gets its name.
func (t *transaction) record(tag tree.ETag) index.Record {
	k := index.RecordOf(tag)
	if t.s.fs.Durability() != fs.None {
		k.Has |= index.Synced
	}
	return k
}

// date sets the modification time of a staged file, unless a client wants one. The time at which the file was written
// is kept, if no other version of the name can have been shown with the same second.
func (t *transaction) date(n newVersion, change *index.Change) error {
	if n.dated || !n.modified.IsZero() {
		return nil
	}
	now := t.s.now()
	date := change.Next(now)
	if date.Equal(now) {
		written, err := n.staged.Seen()
		if at := written.ModTime(); err == nil && !at.After(now) && at.Unix() == now.Unix() {
			return nil
		}
	}
	return n.staged.SetModified(date)
}

// give gives a staged version a name.
func (t *transaction) give(staged *fs.Staged, name string, over vfs.Info, how fs.How) error {
	defer t.givingWay(name, over)()
	err := staged.Commit(t.at(name), over, how)
	if errors.Is(err, fs.ErrNotNoted) || errors.Is(err, syscall.EXDEV) && !staged.Fits(name) {
		// There is another kind of resource than there was when it was staged, or a file system was mounted or unmounted.
		return fmt.Errorf("%w: %w", errStale, err)
	}
	if errors.Is(err, iofs.ErrNotExist) && !errors.Is(err, tree.ErrUnsure) && !t.isInPlace(name) {
		return errAgain // a local program has removed the collection
	}
	return appeared(err, over.Kind)
}

// remove removes the name of the resource that the transaction has found there.
func (t *transaction) remove(name string, found vfs.Info, how fs.How) error {
	if err := t.names(name); err != nil {
		return err
	}
	defer t.givingWay(name, found)()
	if err := t.tell(telling{cause: how.Cause, name: name, over: found, old: tree.ETag(how.Tag)}); err != nil {
		return err
	}
	if err := t.s.fs.Remove(t.at(name), found, how); err != nil {
		return err
	}
	t.feed.Made(name, vfs.Info{}, false)
	t.s.displaced()
	return nil
}

// carry remembers the record k of a file, if ok says that the record is known, and if the file was quiet meanwhile.
// This process has changed the name or the attributes of the file, and so its time of change. carry returns the look
// that it takes, and whether this look is of the same content. If a local program changed the file at the same time, it
// returns the look from before.
//
// done ends the change of dates, and returns the evidence that the record is to have.
func (t *transaction) carry(before vfs.Info, name string, k index.Record, ok bool, quiet func() bool,
	done func(index.Version) index.Evidence) (vfs.Info, bool) {
	after, err := t.at(name).Lstat()
	if err != nil {
		return before, false
	}
	return t.carryLooked(before, after, k, ok, quiet, done)
}

// carryLooked is [transaction.carry] with the look that was taken after the change.
func (t *transaction) carryLooked(before, after vfs.Info, k index.Record, ok bool, quiet func() bool,
	done func(index.Version) index.Evidence) (vfs.Info, bool) {
	if !after.SameFile(before) || after.Size != before.Size || after.Modified != before.Modified {
		return before, false
	}
	if !quiet() {
		return after, false
	}
	if after.Kind == vfs.Regular {
		k.Dates = done(t.s.versionOf(after, tagOf(k, ok)))
	}
	// If two changes can have the same time stamp, the next change might go unseen.
	if ok && t.s.fs.AbilitiesOf(after).FineTimes {
		t.s.index.Put(after.Fingerprint, k)
	}
	return after, true
}

// quietly takes a lease on a file that this process is about to change, but not in its content. end releases the lease.
// quiet reports whether no program can have written to the file since it was seen. The change by this process would
// hide such a write. If there are no leases, nothing shows such a write, and quiet assumes that there was none.
func (t *transaction) quietly(name string, seen vfs.Info) (quiet func() bool, end func()) {
	always := func(yes bool) func() bool { return func() bool { return yes } }
	nothing := func() {}
	if seen.Kind != vfs.Regular || !t.s.fs.AbilitiesOf(seen).Leases {
		return always(true), nothing
	}
	f, _, err := t.at(name).Open()
	if err != nil || f == nil {
		// If this process may not read the file, it has not read the file before.
		return always(errors.Is(err, iofs.ErrPermission)), nothing
	}
	if err := f.Lease(); err != nil {
		f.Close()
		return always(errors.Is(err, errors.ErrUnsupported)), nothing
	}
	now, err := f.Stat()
	same := err == nil && now.Fingerprint == seen.Fingerprint
	return func() bool { return same && f.Leased() }, func() { f.Close() }
}

// errOther says that there is another resource than was expected.
var errOther = errors.New("there is something else now")

// touch sets the modification time of a file, as [fs.Place.SetModified] does. The record of the file stays known if a
// lease shows that no local program has written meanwhile. The new time would hide such a write.
func (t *transaction) touch(
	name string, before vfs.Info, modified time.Time, k index.Record, change *index.Change,
) (vfs.Info, error) {
	f, _, err := t.at(name).Open()
	if err != nil {
		return before, err
	}
	if f == nil {
		return before, errOther
	}
	defer f.Close()
	leased := f.Lease() == nil
	if leased {
		defer f.Unlease()
	}
	if now, err := f.Stat(); err != nil || now.Fingerprint != before.Fingerprint {
		return before, errOther
	}
	after, err := t.at(name).SetModified(before, modified, 0)
	if err != nil {
		return before, err
	}
	if leased && f.Leased() && t.s.fs.AbilitiesOf(after).FineTimes {
		k.Dates = change.Same(t.s.versionOf(after, k.Tag()))
		t.s.index.Put(after.Fingerprint, k)
	}
	return after, nil
}

// givingWay is called before the resource that was seen at a name gives way, and the function that it returns is called
// after that. The record of the file stays known if the file is being downloaded, and if a lease says that no program
// wrote to it meanwhile.
func (t *transaction) givingWay(name string, seen vfs.Info) (gone func()) {
	s, nothing := t.s, func() {}
	if seen.Kind != vfs.Regular || !s.contents.IsSending(seen) {
		return nothing
	}
	k, known := s.index.Lookup(seen.Fingerprint)
	able := s.fs.AbilitiesOf(seen)
	if !known || !able.FineTimes || !able.Leases {
		return nothing
	}
	f, info, err := t.at(name).Open()
	if err != nil || f == nil {
		return nothing
	}
	if f.Lease() != nil || info.Fingerprint != seen.Fingerprint {
		f.Close()
		return nothing
	}
	return func() {
		defer f.Close() // this releases the lease, too
		if now, err := f.Stat(); err == nil && now.SameFile(seen) && now.Size == seen.Size &&
			now.Modified == seen.Modified && f.Leased() {
			k.Dates = index.Evidence{} // it has no name any more with which dates could be shown
			s.index.Put(now.Fingerprint, k)
		}
	}
}

// isThere returns the fingerprint of the version that was looked at, if that version has this content, and the zero
// value otherwise. It hashes a file of the same size, unless a program has the file open for writing: a look might not
// show the bytes that such a program writes later.
//
// If other writers wait (alone), a file that is not small is not hashed, and counts as other content.
func (s *Store) isThere(
	ctx context.Context, name string, info vfs.Info, tag tree.ETag, size int64, alone bool,
) vfs.Fingerprint {
	if info.Kind != vfs.Regular || info.Size != size || info.Inode == 0 {
		return vfs.Fingerprint{}
	}
	have, known := s.index.Tag(info.Fingerprint)
	if !known && (!alone || size <= copyAlone) {
		info, have, _ = s.hasher.Hash(ctx, name, hashing.How{Rounds: 1, Alone: true}) // no tag if it fails
	}
	if have != tag {
		return vfs.Fingerprint{}
	}
	return info.Fingerprint
}
