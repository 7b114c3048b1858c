package journal

import (
	"cmp"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strconv"
	"syscall"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Append appends changes that are about to happen. If it cannot, it empties the journal, so that followers are told
// of the gap, and returns nil. If it cannot do that either, it returns an error, and the changes must not happen. The
// caller must call [Journal.Show] or [Journal.TakeBack] before it gives up the lock, or [Journal.Settle] later.
func (j *Journal) Append(changes ...tree.Change) error {
	if err := j.prepare(); err != nil {
		return err
	}
	if j.left {
		j.Show() // these changes are not settled yet, and no commit waits for them
	}
	if !j.there {
		if err := j.Load(); err != nil {
			return unlessEmpty(err)
		}
	}
	if j.size >= j.opts.Segment && j.pending == 0 {
		if err := j.rotate(); err != nil || !j.there {
			return unlessEmpty(err)
		}
	}
	var data []byte
	last, added := j.last, make([]placed, 0, len(changes))
	for _, c := range changes {
		data = appendChange(data, c)
		last = sumOf(data)
		added = append(added, placed{c, j.head.base + j.size + int64(len(data)), last})
	}
	if err := j.write(data, last); err != nil || !j.there {
		return err
	}
	j.pending += int64(len(data))
	j.appends++
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range added {
		j.tail.add(c)
	}
	return nil
}

// unlessEmpty returns an error, unless there is no journal at all by now, so that no gap is left untold.
func unlessEmpty(err error) error {
	if errors.Is(err, errEmpty) {
		return nil
	}
	return err
}

// Show shows readers the changes that were appended. They have happened.
func (j *Journal) Show() {
	if j.pending == 0 {
		return
	}
	j.pending, j.left = 0, false
	j.mu.Lock()
	j.end, j.sum, j.busy = j.head.base+j.size, j.last, true
	j.mu.Unlock()
	j.wake()
}

// TakeBack removes the changes that were appended. They have not happened. If they cannot be removed, they are shown:
// a follower that looks finds nothing new.
func (j *Journal) TakeBack() {
	if j.pending == 0 {
		return
	}
	err := j.reopen()
	if err == nil {
		err = j.file.Truncate(j.size - j.pending)
	}
	if err != nil {
		j.Show()
		return
	}
	j.size, j.pending, j.left = j.size-j.pending, 0, false
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tail.cut(j.head.base + j.size)
}

// A Pending is changes that were appended, and are to be settled later.
type Pending struct {
	changes []tree.Change
	number  uint64
}

// Pending returns the changes of the last [Journal.Append], for [Journal.Settle]. It must be called before the lock is
// given up.
func (j *Journal) Pending(changes ...tree.Change) Pending { return Pending{changes, j.appends} }

// Settle ends changes whose caller has given up the lock since it has appended them: they have happened, or have not.
// If others may have seen them since, those that have happened are appended once more. Those that have not stay: a
// follower that looks finds nothing new.
func (j *Journal) Settle(p Pending, happened bool) error {
	ours := j.opts.Turn == nil || j.opts.Turn.IsClaimed()
	if j.there && j.current && j.pending > 0 && j.appends == p.number && ours {
		if happened {
			j.Show()
		} else {
			j.TakeBack()
		}
		return nil
	}
	if !happened {
		return nil
	}
	err := j.Append(p.changes...)
	if err == nil {
		j.Show()
	}
	return err
}

// Mark notes that all changes on the disk before a time were seen, by the clock of the file system in nanoseconds
// since 1970. After the end of this process, later changes must be looked for.
func (j *Journal) Mark(at int64) error {
	if !j.there || j.pending > 0 {
		return nil
	}
	if err := j.prepare(); err != nil || !j.there {
		return err
	}
	return j.note(at)
}

func (j *Journal) note(at int64) error {
	line := encode(markField, strconv.FormatInt(at, 10))
	if err := j.write(line, sumOf(line)); err != nil || !j.there {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mark, j.busy = at, false
	return nil
}

// Seen returns the time of the last mark, or 0 if nothing is known.
func (j *Journal) Seen() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mark
}

// Busy reports whether changes were shown since the last mark.
func (j *Journal) Busy() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.busy
}

// Adopt takes in the changes that other processes have appended.
func (j *Journal) Adopt() error {
	if !j.there {
		return nil
	}
	j.current = false
	if err := j.takeTurn(); err != nil {
		return j.lose(err)
	}
	j.rested.Close() // another process may have removed the file, and begun the journal anew
	if err := j.reopen(); errors.Is(err, iofs.ErrNotExist) {
		return unlessEmpty(j.Load()) // another process has begun it anew
	} else if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return unlessEmpty(j.begin()) // a removal, which makes room, must not fail for want of room
	} else if err != nil {
		return err
	}
	size, _, err := j.file.Size()
	switch {
	case err != nil:
		return j.lose(err)
	case size == j.size:
		j.current = true
		return nil
	case size < j.size:
		return unlessEmpty(j.Load())
	}
	data, err := readRange(j.files, j.name, j.size, size)
	var ended bool
	if err == nil {
		ended, err = j.take(data)
	}
	switch {
	case err != nil:
		return j.lose(err)
	case ended:
		return unlessEmpty(j.Load())
	}
	j.current = j.there
	return nil
}

// prepare opens the last file to write to it. It takes in the changes of other processes, if there can be any.
func (j *Journal) prepare() error {
	if j.there && j.current && j.opts.Turn != nil && j.opts.Turn.IsClaimed() && j.reopen() == nil {
		return nil
	}
	return j.Adopt()
}

// takeTurn has other processes look at the lines that this one is about to write.
func (j *Journal) takeTurn() error {
	if j.opts.Turn == nil {
		return nil
	}
	return j.opts.Turn.Claim()
}

// Rest closes the file, at once or in a moment. It must be called before the lock is given up: a file that stays open
// for writing would prevent a remount of the disk as read-only.
func (j *Journal) Rest() {
	j.left = j.pending > 0
	if j.opts.Linger > 0 && j.file != nil && j.there {
		j.rested.Put(j.name, j.file, j.opts.Linger)
		j.file = nil
		return
	}
	j.Close()
}

// reopen opens the last file again, unless it is still open.
func (j *Journal) reopen() (err error) {
	if j.file != nil {
		return nil
	}
	if file, ok := j.rested.Take(j.name); ok {
		j.file = file
		return nil
	}
	j.file, err = j.files.Append(j.name, false)
	return err
}

// Grown reports whether another process has changed the journal since the last look. It needs no lock.
func (j *Journal) Grown() bool {
	found, err := j.segments()
	id, end, _ := j.shown()
	if err != nil || len(found) == 0 {
		return id != ""
	}
	last := found[len(found)-1]
	if last.id != id || last.base > end {
		return true
	}
	f, err := j.files.Open(last.name())
	if err != nil {
		return true
	}
	defer f.Close()
	n, _ := f.ReadAt(make([]byte, 2), end-last.base-1)
	return n != 1 // or another process has emptied it
}

// write appends lines to the last file. sum is the checksum of the last line.
func (j *Journal) write(data []byte, sum string) error {
	if n, err := j.file.Write(data); err != nil || n != len(data) {
		return j.lose(fmt.Errorf("%d of %d bytes were written: %w", n, len(data), err))
	}
	j.size += int64(len(data))
	j.last = sum
	return nil
}

// lose empties the journal, because a change cannot be kept. Other processes notice that, and so does the next start.
// It needs no room on the disk. If it fails, no change may happen.
func (j *Journal) lose(why error) error {
	if j.there {
		if err := j.empty(); err != nil {
			return fmt.Errorf("%w: %w: %w", errKept, why, err)
		}
	}
	j.leave()
	return nil
}

// empty makes the journal one that no process continues.
func (j *Journal) empty() error {
	err := j.reopen()
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = j.file.Truncate(0)
	}
	return err
}

func (j *Journal) wake() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.more != nil {
		close(j.more)
		j.more = nil
	}
}

// maxTail and maxTailBytes bound the changes in memory, in number and in bytes of names.
const (
	maxTail      = 4096
	maxTailBytes = 1 << 20
)

// A tail is the last changes, in memory.
type tail struct {
	start   placed // the place after which all changes are here
	changes []placed
	bytes   int
}

// A placed is a change with the position after it, and the checksum of its line.
type placed struct {
	tree.Change
	end int64
	sum string
}

func (t *tail) add(c placed) {
	t.changes = append(t.changes, c)
	t.bytes += len(c.Name) + len(c.From)
	drop := 0
	for ; len(t.changes)-drop > maxTail || t.bytes > maxTailBytes; drop++ {
		t.start = t.changes[drop]
		t.bytes -= len(t.start.Name) + len(t.start.From)
	}
	t.changes = t.changes[drop:]
}

// cut removes the changes after a position.
func (t *tail) cut(end int64) {
	for n := len(t.changes); n > 0 && t.changes[n-1].end > end; n = len(t.changes) {
		t.bytes -= len(t.changes[n-1].Name) + len(t.changes[n-1].From)
		t.changes = t.changes[:n-1]
	}
}

// after returns the changes after a position, and the checksum of the line before it. known is false if the position
// is not in memory.
func (t *tail) after(end int64) (changes []placed, sum string, known bool) {
	if end == t.start.end {
		return t.changes, t.start.sum, true
	}
	i, known := slices.BinarySearchFunc(t.changes, end,
		func(c placed, end int64) int { return cmp.Compare(c.end, end) })
	if !known {
		return nil, "", false
	}
	return t.changes[i+1:], t.changes[i].sum, true
}
