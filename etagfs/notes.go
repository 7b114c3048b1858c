package etagfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	iofs "io/fs"
	"os"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// A keeper keeps the notes of [dates]. How many, and for how long, is its affair; but for what it drops it answers.
type keeper interface {
	// change hands out the note on a name, or one to begin with, of which earlier is a date that is not before any in a
	// note that was dropped, and ahead has those of them that had not come. It keeps what change makes of it, if that says
	// so; change may run twice.
	change(name uint64, change func(*note) bool) error
	// lost returns a date that is not before any that was shown when notes were lost, where the given one was too; never
	// where none were. Dates are seconds since 1970.
	lost(date int64) int64
	// renew goes on in a new file where the one in the index was deleted.
	renew(x *index)
	close() error
}

// openNotes keeps notes in the directory of an index; in memory where that is kept there, or they cannot be kept on disk.
func openNotes(x *index) keeper {
	if x.dir == nil {
		return newMemoryNotes(x.forgotten)
	}
	n, err := openDiskNotes(x, false, openPatience)
	if err != nil {
		x.report(fmt.Errorf("which dates were shown is kept in memory only until the next start, and dates until now prove nothing: %s: %w",
			cure(err), err))
		return newMemoryNotes(x.boots.now().Unix())
	}
	return n
}

// openDiskNotes opens the file. lost says that there are notes of before that are not in it.
func openDiskNotes(x *index, lost bool, patience time.Duration) (*diskNotes, error) {
	f, repaired, err := openRepaired(x.dir, notesName)
	if err != nil {
		return nil, err
	}
	n := &diskNotes{file: f, levels: noteLevels, report: func(err error) { x.trouble("notes", err) }, now: x.boots.now}
	if repaired {
		x.report(errNotesAnew)
	}
	err = n.begin(x.boots, lost || repaired, patience)
	if isDamage(err) && !repaired {
		// The head cannot be read.
		if failed := errors.Join(f.Close(), x.dir.Remove(notesName)); failed != nil {
			return nil, err
		}
		if n.file, _, err = openRepaired(x.dir, notesName); err != nil {
			return nil, err
		}
		x.report(errNotesAnew)
		err = n.begin(x.boots, true, patience)
	}
	if err != nil {
		return nil, errors.Join(err, n.file.Close())
	}
	return n, nil
}

var errNotesAnew = errors.New("the notes on dates are of another version or damaged, and begun anew: dates until now prove nothing")

// last returns the latest date in a note of those that had come.
func (n *note) last() int64 { return max(n.earlier, n.shown) }

// allAhead returns those that had not.
func (n *note) allAhead() span { return n.ahead.with(n.told) }

// memoryNotes keeps notes in memory. Those that were not asked for longest are dropped first.
type memoryNotes struct {
	mu      sync.Mutex
	notes   *lru.Cache[uint64, note]
	dropped int64 // the latest date in a note that was dropped
	ahead   span  // the dates in those that had not come
}

const maxMemoryNotes = 1 << 16

// newMemoryNotes keeps notes in memory, of which those until a date are lost, in seconds since 1970.
func newMemoryNotes(lost int64) *memoryNotes {
	m := &memoryNotes{dropped: lost, ahead: noTime}
	m.notes, _ = lru.NewWithEvict(maxMemoryNotes, func(_ uint64, n note) { // fails for a size below one
		m.dropped, m.ahead = max(m.dropped, n.last()), m.ahead.join(n.allAhead())
	})
	return m
}

func (m *memoryNotes) change(name uint64, change func(*note) bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.notes.Get(name)
	if !ok {
		n = firstNote(name, m.dropped, m.ahead)
	}
	if change(&n) {
		m.notes.Add(name, n)
	}
	return nil
}

func (m *memoryNotes) lost(int64) int64 { return never }
func (m *memoryNotes) renew(*index)     {}
func (m *memoryNotes) close() error     { return nil }

func firstNote(name uint64, earlier int64, ahead span) note {
	return note{name: name, shown: never, told: never, earlier: earlier, ahead: ahead, since: never}
}

// diskNotes keeps notes in a sparse file that is looked up and never loaded. A name has its place in a bucket of each
// level. A bucket that is full gives the note with the oldest date down to the next level, and the last one drops it; so
// a small tree takes little room, and a large one remembers what is young.
//
// Several processes may use one file: what changes is changed under its lock, and a bucket that is read while it is
// written fails its checksum. Nothing is synced before the end: what a power failure takes is what was shown shortly before,
// and dates of that time prove nothing any more (see lost).
type diskNotes struct {
	file   *os.File
	levels []uint64 // how many buckets each has
	report func(error)
	now    func() time.Time
	ends   []badEnd

	mu   sync.Mutex   // for who changes it
	held bool         // by another process, when it was to be locked last; under mu
	life sync.RWMutex // for writing by who takes another file; file and ends are what they are as long as it is held
}

// A badEnd is the time around a power failure, from when not all that was shown is known, in seconds since 1970.
type badEnd struct{ from, to int64 }

const (
	notesName  = "dates"
	notesMagic = "ifmatch dates 2\n"

	noteSize       = 72
	bucketSize     = 1024 // divides a page of memory, so that none lies across two
	bucketHead     = 32
	notesPerBucket = (bucketSize - bucketHead) / noteSize
	maxBadEnds     = 32
)

// noteLevels have room for 13 thousand, 106 thousand and 850 thousand names.
var noteLevels = []uint64{1 << 10, 1 << 13, 1 << 16}

// A bucket on disk: a CRC-32C of the rest, 4 bytes of which the lowest bit is full, dropped, ahead, and notes of 72 bytes,
// unused ones zero.
type bucket struct {
	full    bool  // it has given notes down to the next level
	dropped int64 // the latest date in a note that was dropped, or never
	ahead   span  // the dates in those that had not come
	notes   []note
}

// place returns where the bucket of a name is. The head of the file takes the room of the first.
func (d *diskNotes) place(name uint64, level int) int64 {
	at := uint64(1)
	for _, n := range d.levels[:level] {
		at += n
	}
	return int64(at+name%d.levels[level]) * bucketSize
}

func (b *bucket) encode() []byte {
	data := make([]byte, 8, bucketSize)
	if b.full {
		data[4] = 1
	}
	for _, v := range []int64{b.dropped, b.ahead.from, b.ahead.to} {
		data = binary.LittleEndian.AppendUint64(data, uint64(v))
	}
	for _, n := range b.notes {
		for _, v := range []uint64{n.name, n.look, n.tag} {
			data = binary.LittleEndian.AppendUint64(data, v)
		}
		for _, v := range []int64{n.shown, n.told, n.earlier, n.ahead.from, n.ahead.to, n.since} {
			data = binary.LittleEndian.AppendUint64(data, uint64(v))
		}
	}
	data = data[:bucketSize]
	binary.LittleEndian.PutUint32(data, crc32.Checksum(data[4:], castagnoli))
	return data
}

var errTorn = errors.New("the notes on dates are damaged in places")

// A block is a bucket as it is on disk.
type block [bucketSize]byte

var blocks = sync.Pool{New: func() any { return new(block) }}

// read reads a bucket. Beyond the end of the file all are empty.
func (d *diskNotes) read(b *block, at int64) error {
	n, err := d.file.ReadAt(b[:], at)
	if err != nil && err != io.EOF {
		return err
	}
	clear(b[n:])
	return b.check()
}

// check returns errTorn unless the checksum is right; what is empty has none.
func (b *block) check() error {
	if sum := binary.LittleEndian.Uint32(b[:]); sum != crc32.Checksum(b[4:], castagnoli) && *b != (block{}) {
		return errTorn
	}
	return nil
}

func (b *block) int(offset int) int64 { return int64(binary.LittleEndian.Uint64(b[offset:])) }

// head returns a bucket without its notes.
func (b *block) head() bucket {
	if *b == (block{}) {
		return bucket{dropped: never, ahead: noTime}
	}
	return bucket{full: b[4]&1 != 0, dropped: b.int(8), ahead: span{b.int(16), b.int(24)}}
}

// name returns the name of the i-th note, 0 where there is none.
func (b *block) name(i int) uint64 { return uint64(b.int(bucketHead + i*noteSize)) }

func (b *block) note(i int) note {
	at := bucketHead + i*noteSize
	return note{
		name: uint64(b.int(at)), look: uint64(b.int(at + 8)), tag: uint64(b.int(at + 16)),
		shown: b.int(at + 24), told: b.int(at + 32), earlier: b.int(at + 40),
		ahead: span{b.int(at + 48), b.int(at + 56)}, since: b.int(at + 64),
	}
}

func (b *block) bucket() bucket {
	found := b.head()
	for i := 0; i < notesPerBucket && b.name(i) != 0; i++ {
		found.notes = append(found.notes, b.note(i))
	}
	return found
}

// find returns the note on a name, or one to begin with, and the level to keep it in.
func (d *diskNotes) find(name uint64) (n note, level int, err error) {
	b := blocks.Get().(*block)
	defer blocks.Put(b)
	dropped, ahead := int64(never), noTime
	for level := range d.levels {
		if err := d.read(b, d.place(name, level)); err != nil {
			return note{}, 0, err
		}
		for i := 0; i < notesPerBucket && b.name(i) != 0; i++ {
			if b.name(i) == name {
				return b.note(i), level, nil
			}
		}
		head := b.head()
		dropped, ahead = max(dropped, head.dropped), ahead.join(head.ahead)
		if !head.full {
			break
		}
	}
	return firstNote(name, dropped, ahead), 0, nil
}

func (b *bucket) index(name uint64) int {
	return slices.IndexFunc(b.notes, func(n note) bool { return n.name == name })
}

func (d *diskNotes) change(name uint64, change func(*note) bool) error {
	d.life.RLock()
	defer d.life.RUnlock()
	// Nearly always nothing is changed, and then nobody needs to be kept out.
	n, _, err := d.find(name)
	if err == nil && !change(&n) {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// Not the lock of the tree, though a commit, which shows what it has written, holds that: whoever is shown something
	// notes it, and must not wait for commits. It is held for a read and a write of one bucket, of which nothing is synced.
	if err := d.lock(); err != nil {
		return err
	}
	defer funlock(d.file)
	n, level, err := d.find(name)
	if errors.Is(err, errTorn) {
		n, level, err = d.mend(name)
	}
	if err == nil && change(&n) {
		err = d.keep(n, level)
	}
	return err
}

// notesPatience is how long it is waited for another process that changes a note, which takes it less than a millisecond. Commits
// and readers wait meanwhile.
const notesPatience = 50 * time.Millisecond

// lock locks the file. Where another process has it that does not let go, it was stopped: then nobody waits for it again until
// it has. mu must be held.
func (d *diskNotes) lock() error {
	patience := notesPatience
	if d.held {
		patience = 0
	}
	err := flock(d.file, patience)
	d.held = err != nil
	return err
}

// keep writes a note to its bucket.
func (d *diskNotes) keep(n note, level int) error {
	at, data := d.place(n.name, level), new(block)
	if err := d.read(data, at); err != nil {
		return err
	}
	b := data.bucket()
	if i := b.index(n.name); i >= 0 {
		b.notes[i] = n
	} else {
		b.notes = append(b.notes, n)
	}
	if len(b.notes) > notesPerBucket {
		down := b.takeOldest()
		if level+1 == len(d.levels) {
			b.dropped, b.ahead = max(b.dropped, down.last()), b.ahead.join(down.allAhead())
		} else if err := d.keep(down, level+1); err != nil { // first there, then no more here
			return err
		} else {
			b.full = true
		}
	}
	_, err := d.file.WriteAt(b.encode(), at)
	return err
}

func (b *bucket) takeOldest() note {
	oldest := 0
	for i, n := range b.notes {
		if n.last() < b.notes[oldest].last() {
			oldest = i
		}
	}
	n := b.notes[oldest]
	b.notes = slices.Delete(b.notes, oldest, oldest+1)
	return n
}

// mend empties the buckets of a name that are damaged, with a date that answers for all that was in them.
func (d *diskNotes) mend(name uint64) (n note, level int, err error) {
	d.report(fmt.Errorf("%w: dates until now prove nothing for some files", errTorn))
	for level := range d.levels {
		at := d.place(name, level)
		err := d.read(new(block), at)
		if errors.Is(err, errTorn) {
			b := bucket{full: true, dropped: d.now().Unix(), ahead: noTime}
			_, err = d.file.WriteAt(b.encode(), at)
		}
		if err != nil {
			return note{}, 0, err
		}
	}
	return d.find(name)
}

// begin reads the head of the file, and adds the bad end that has come since it was written, if one has. Where the notes of
// before are lost, that is one that reaches back to the first.
func (d *diskNotes) begin(b *boots, lost bool, patience time.Duration) error {
	if err := flock(d.file, patience); err != nil {
		return err
	}
	defer funlock(d.file)
	head := make([]byte, bucketSize)
	n, err := d.file.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return err
	}
	generation, ok := d.decodeHead(head)
	if n > 0 && !ok {
		lost = true
		d.report(errNotesAnew)
		if err := d.file.Truncate(0); err != nil {
			return err
		}
	}
	if ok && generation == b.current() && !lost {
		return nil
	}
	if ok || lost {
		from := int64(never)
		if end, known := b.era.Load().trusted[generation]; known && !lost {
			from = time.Unix(0, end).Unix()
		}
		d.ends = append(d.ends, badEnd{from, d.now().Unix()})
		d.ends = d.ends[max(0, len(d.ends)-maxBadEnds):]
	}
	if _, err := d.file.WriteAt(d.encodeHead(b.current()), 0); err != nil {
		return err
	}
	return d.file.Sync()
}

// renew begins a new file where ours was deleted. Until the next beat some may have been noted in one that nobody finds, by us
// or by others; so dates until now prove nothing. Where there can be no file, ours is as good as memory.
func (d *diskNotes) renew(x *index) {
	if !x.onDisk() {
		return
	}
	ours, err := d.file.Stat()
	if err != nil {
		return
	}
	if found, err := x.dir.Lstat(notesName); err != nil && !errors.Is(err, iofs.ErrNotExist) || err == nil && os.SameFile(ours, found) {
		return
	}
	d.life.Lock()
	defer d.life.Unlock()
	next, err := openDiskNotes(x, true, notesPatience)
	if err != nil {
		x.trouble("dates", fmt.Errorf("the notes on dates were deleted while they were in use, and cannot be begun anew: they are kept until the server stops: %w", err))
		return
	}
	d.file.Close()
	d.file, d.ends = next.file, next.ends
	x.report(errors.New("the notes on dates were deleted while they were in use, and begun anew: dates until now prove nothing"))
}

// The head of the file: the magic, the generation in which it was written, the bad ends, and a CRC-32C.
func (d *diskNotes) encodeHead(generation uint32) []byte {
	data := append(make([]byte, 0, bucketSize), notesMagic...)
	data = binary.LittleEndian.AppendUint32(data, generation)
	data = append(data, byte(len(d.ends)))
	for _, end := range d.ends {
		data = binary.LittleEndian.AppendUint64(data, uint64(end.from))
		data = binary.LittleEndian.AppendUint64(data, uint64(end.to))
	}
	return seal(data[:bucketSize-crc32.Size])
}

func (d *diskNotes) decodeHead(data []byte) (generation uint32, ok bool) {
	data, ok = unseal(data)
	if ok {
		data, ok = bytes.CutPrefix(data, []byte(notesMagic))
	}
	if !ok {
		return 0, false
	}
	for i := range int(data[4]) {
		at := func(offset int) int64 { return int64(binary.LittleEndian.Uint64(data[5+16*i+offset:])) }
		d.ends = append(d.ends, badEnd{at(0), at(8)})
	}
	return binary.LittleEndian.Uint32(data), true
}

func (d *diskNotes) lost(date int64) int64 {
	d.life.RLock()
	defer d.life.RUnlock()
	last := int64(never)
	for _, end := range d.ends {
		if end.from <= date && date <= end.to {
			last = max(last, end.to)
		}
	}
	return last
}

// close puts the notes on disk.
func (d *diskNotes) close() error { return errors.Join(d.file.Sync(), d.file.Close()) }
