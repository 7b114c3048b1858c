// Package locktable holds the WebDAV locks of a tree: the file of them, to which several processes append, and the set
// in memory that finds the locks on a name, above it and below it, also by other spellings and short names.
package locktable

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// fileName is the state file that holds the WebDAV locks. Its first line names its format. Each other line is a
// [lockChange] as JSON, after the first digits of the SHA-256 of that JSON in hex. There are empty lines between them.
// Each commit only appends its lines, so a lock costs no more than its own line. When most of the file is out of date,
// the file is written anew.
const (
	fileName   = "locks"
	fileFormat = "ifmatch locks 2\n"
)

const (
	// RewriteAt is the size, in bytes, from which the file is written anew if the present locks take less than a
	// quarter of it.
	RewriteAt = 64 << 10
	// maxLocksFile is a size, in bytes, that the file never reaches, even with as many locks as there can be.
	maxLocksFile = 64 << 20
	lineSum      = 16 // the number of digits of the SHA-256 at the beginning of a line
)

// A lockChange is a line of the file. It sets a new or changed lock, or it holds the token of a lock that has ended.
type lockChange struct {
	Set *keptLock `json:",omitempty"`
	End string    `json:",omitempty"`
}

// keptLock is a lock in the file. A client sends Root and Owner, which can be any bytes. As strings in JSON, only their
// valid UTF-8 would be kept.
type keptLock struct {
	tree.Lock
	Root, Owner []byte
}

func (k keptLock) lock() tree.Lock {
	k.Lock.Root, k.Lock.Owner = string(k.Root), string(k.Owner)
	return k.Lock
}

// A Table holds the WebDAV locks of the tree. The file is authoritative, since other processes change it too. The
// memory holds the content of the file as of its fingerprint. The table is changed under [fs.FS.Lock], and after a look
// under that lock.
type Table struct {
	fs     *fs.FS
	now    func() time.Time
	report func(error)

	mu   sync.Mutex
	as   vfs.Info // the look at the file when it was read
	read int64    // how much of it was read, up to the end of a line, or -1 if it has another format or is too large
	set  Set

	rewrite int64  // the size at which the file is written anew
	changed uint64 // the number of changes by this process
	named   bool   // the file has kept its name since the last sync

	syncing sync.Mutex
	synced  uint64 // the number of changes that are on disk, guarded by syncing
}

// New returns the locks that the state directory of below holds. report gets what was damaged there.
func New(below *fs.FS, now func() time.Time, report func(error)) *Table {
	return &Table{fs: below, now: now, report: report, rewrite: RewriteAt}
}

// fresh reads the part of the file that has changed since the last read. mu must be held.
func (t *Table) fresh() error {
	info, err := t.fs.StatState(fileName)
	if err != nil {
		return err
	}
	if t.isAsOf(info) {
		return nil
	}
	from := int64(0)
	if info.SameFile(t.as) && t.read >= 0 && info.Size >= t.read {
		from = t.read
	}
	if err := t.readFrom(info, from); err != nil {
		t.as = vfs.Info{}
		return err
	}
	t.as = info
	return nil
}

// isAsOf reports whether the memory holds the file that a look has found. mu must be held.
func (t *Table) isAsOf(info vfs.Info) bool {
	return info.Fingerprint == t.as.Fingerprint && info.Exists() == t.as.Exists()
}

// readFrom reads the file from an offset, which is the end of a line. A damaged file counts as a file without locks:
// locks are advisory, preconditions are not.
func (t *Table) readFrom(info vfs.Info, from int64) error {
	if from == 0 {
		t.set, t.read, t.rewrite, t.named = Set{}, 0, RewriteAt, false
	}
	if !info.Exists() {
		return nil
	}
	if info.Size > maxLocksFile {
		t.read = -1
		t.report(errors.New("the file of WebDAV locks is too large to be one: going on without locks"))
		return nil
	}
	data, err := t.fs.ReadStateFrom(fileName, from)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if from == 0 && len(data) > 0 && !bytes.HasPrefix(data, []byte(fileFormat)) {
		t.read = -1
		t.report(errors.New("the file of WebDAV locks has another format, or is damaged: going on without locks"))
		return nil
	}
	damaged := 0
	whole := bytes.LastIndexByte(data, '\n') + 1
	if from == 0 && whole < len(data) {
		damaged++ // or another process is still writing the line, and the next look reads the rest
	}
	data = data[:whole]
	t.read += int64(whole)
	if from == 0 {
		data = bytes.TrimPrefix(data, []byte(fileFormat))
	}
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) > 0 && !t.set.apply(line) {
			damaged++
		}
	}
	if damaged > 0 {
		// A power failure can damage the last line. No client was told that the change in that line was done.
		t.report(fmt.Errorf("%d lines of the file of WebDAV locks are damaged: going on without what they say",
			damaged))
	}
	return nil
}

// apply applies a line. It reports whether the line is undamaged.
func (s *Set) apply(line []byte) bool {
	sum, rest, _ := bytes.Cut(line, []byte(" "))
	var change lockChange
	if string(sum) != sumOfLine(rest) || json.Unmarshal(rest, &change) != nil {
		return false
	}
	if change.Set != nil {
		s.put(change.Set.lock(), len(line)+2)
	}
	s.remove(change.End)
	return true
}

func sumOfLine(rest []byte) string { return fmt.Sprintf("%x", sha256.Sum256(rest))[:lineSum] }

// encodeLine returns the line of a change. It begins with the end of the line before, in case a power failure has cut
// that line off.
func encodeLine(change lockChange) []byte {
	rest, err := json.Marshal(change)
	if err != nil { // a time beyond the year 9999
		return nil
	}
	return fmt.Appendf(nil, "\n%s %s\n", sumOfLine(rest), rest)
}

// SetLine returns the line of the file that sets a lock.
func SetLine(l tree.Lock) []byte {
	return encodeLine(lockChange{Set: &keptLock{l, []byte(l.Root), []byte(l.Owner)}})
}

func endLine(l tree.Lock) []byte { return encodeLine(lockChange{End: l.Token}) }

// append appends lines to the file. mu must be held. An append that fails has changed nothing, or the next caller reads
// the lines that it has written.
func (t *Table) append(lines ...[]byte) error {
	if len(lines) == 0 {
		return nil
	}
	if t.read < 0 { // it cannot be appended to. This is the only time that a change waits for the disk
		staged, err := t.fs.StageState(t.lines())
		if err != nil {
			return err
		}
		if err := t.replace(staged); err != nil {
			t.fs.DropState(staged)
			return err
		}
	}
	data := bytes.Join(lines, nil)
	if !t.as.Exists() || t.as.Size == 0 {
		data = append([]byte(fileFormat), data...)
		t.named = false
	}
	before := t.as
	t.as = vfs.Info{}         // In case the append fails in the middle
	defer t.fs.Changing("")() // all readers pass the root, so all of them notice the change
	if err := t.fs.AppendState(fileName, data); err != nil {
		return err
	}
	t.changed++
	info, err := t.fs.StatState(fileName)
	if err != nil || before.Exists() && !info.SameFile(before) || info.Size != t.read+int64(len(data)) {
		return nil // the lines are written, and the next caller reads them, and any torn line before them
	}
	for _, line := range lines {
		t.set.apply(bytes.TrimSpace(line))
	}
	t.as, t.read = info, info.Size
	return nil
}

// lines returns what the file has if it is written anew, with only the present locks in it. mu must be held.
func (t *Table) lines() []byte {
	t.set.purge(t.now())
	data := []byte(fileFormat)
	for _, l := range t.set.ByToken {
		data = append(data, SetLine(l.Lock)...)
	}
	return data
}

// replace puts a file that was written anew in place of the present one. The caller holds the lock of the tree, and mu.
func (t *Table) replace(staged string) error {
	defer t.fs.Changing("")() // as in append
	if err := t.fs.ReplaceState(fileName, staged); err != nil {
		return err
	}
	t.as, t.named = vfs.Info{}, false
	return t.fresh()
}

// shrinkTries is how often the file is written anew if locks change meanwhile.
const shrinkTries = 3

// shrink writes the file anew if most of it is out of date. It waits for the disk without the lock of the tree, which it
// takes to rename the file. The callers that change locks wait for it in Sync, so that it comes to its end. If it fails,
// their changes are on disk all the same, and the next one does not try again at once.
func (t *Table) shrink() {
	for range shrinkTries {
		t.mu.Lock()
		was, due := t.as, t.as.Size >= t.rewrite && t.as.Size > 4*int64(t.set.bytes)
		var data []byte
		if due {
			data = t.lines()
		}
		t.mu.Unlock()
		if !due {
			return
		}
		staged, err := t.fs.StageState(data)
		replaced := false
		if err == nil {
			replaced, err = t.replaceIf(was, staged)
		}
		if replaced {
			err = t.fs.SyncState()
		}
		if err != nil {
			t.report(fmt.Errorf("the file of WebDAV locks cannot be written anew: %w", err))
			break
		}
		if replaced {
			return
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rewrite = max(RewriteAt, 2*t.as.Size)
}

// replaceIf is replace, if the present file is the one that a look has found. It reports whether it is replaced.
func (t *Table) replaceIf(was vfs.Info, staged string) (replaced bool, err error) {
	defer func() {
		if !replaced {
			t.fs.DropState(staged)
		}
	}()
	unlock, err := t.fs.Lock(context.Background())
	if err != nil {
		return false, err
	}
	defer unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	// Another process may have changed locks. Then the next try begins with what it has written.
	if err := t.fresh(); err != nil || t.as.Fingerprint != was.Fingerprint {
		return false, err
	}
	err = t.replace(staged)
	return err == nil, err
}

// Sync puts the changes by this process on disk, as far as the durability asks for it, and then writes the file anew if
// most of it is out of date. It is called after the commit, outside the lock.
func (t *Table) Sync() error {
	t.mu.Lock()
	changed := t.changed
	t.mu.Unlock()
	t.syncing.Lock()
	defer t.syncing.Unlock()
	if t.synced >= changed {
		return nil // a later caller has synced them
	}
	t.mu.Lock()
	changed, named := t.changed, t.named
	t.mu.Unlock()
	if err := t.fs.SyncStateFile(fileName); err != nil {
		return err
	}
	if !named {
		if err := t.fs.SyncState(); err != nil {
			return err
		}
	}
	t.synced = changed
	t.mu.Lock()
	t.named = t.named || t.changed == changed
	t.mu.Unlock()
	t.shrink()
	return nil
}

// Look calls do with the present locks. It looks at the file without mu, so other callers wait only if the file has
// changed and must be read.
func (t *Table) Look(do func(*Set, time.Time)) error {
	info, err := t.fs.StatState(fileName)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.isAsOf(info) {
		if err := t.fresh(); err != nil {
			return err
		}
	}
	do(&t.set, t.now())
	return nil
}

// LookAgain is look without the look at the file.
func (t *Table) LookAgain(do func(*Set, time.Time)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	do(&t.set, t.now())
}

// HasRoom returns nil if there is room for one more lock.
func (t *Table) HasRoom(lock tree.Lock) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.now().Before(t.set.soonest) {
		t.set.purge(t.now())
	}
	return t.set.hasRoom(lock.Holder, len(SetLine(lock)))
}

// Take records a lock, if there is room for it. It does not check whether the lock can be taken beside others.
func (t *Table) Take(lock tree.Lock) error {
	if err := t.HasRoom(lock); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.append(SetLine(lock))
}

// The methods below change locks that a view has seen in the same commit, so they do not look at the file again.

// Refresh moves the expiry of the lock with a token.
func (t *Table) Refresh(token string, expires time.Time) (tree.Lock, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.set.Live(token, t.now())
	if l == nil {
		return tree.Lock{}, tree.ErrNoLock
	}
	lock := l.Lock
	lock.Expires = expires
	return lock, t.append(SetLine(lock))
}

// Unlock ends the lock with a token.
func (t *Table) Unlock(token string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.set.Live(token, t.now())
	if l == nil {
		return tree.ErrNoLock
	}
	return t.append(endLine(l.Lock))
}

// Replaced ends and changes locks as their fate says, inside the commit that put another resource, or none, at their
// name. collection says whether the new resource is a collection. The locks that stay cover the new resource (RFC 4918
// §7.6).
func (t *Table) Replaced(f Fate, collection bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines [][]byte
	for token := range f.Ended {
		if l := t.set.Live(token, t.now()); l != nil {
			lines = append(lines, endLine(l.Lock))
		}
	}
	for token := range f.Stay {
		if l := t.set.Live(token, t.now()); l != nil && l.Collection != collection {
			lock := l.Lock
			lock.Collection = collection
			lines = append(lines, SetLine(lock))
		}
	}
	return t.append(lines...)
}
