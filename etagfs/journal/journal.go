// Package journal keeps the changes of a tree in the order in which they happened, so that they can be followed by a
// cursor. It is bounded in size and age, and survives the end of its process.
//
// # Order
//
// The methods that write are called under one lock, which also keeps out other processes. A change is appended before
// it happens ([Journal.Append]), and shown to readers when it has happened ([Journal.Show]), or taken back
// ([Journal.TakeBack]). So a process that is killed in between leaves a change that may not have happened. It never
// leaves a change that is not in the journal.
//
// A change may take longer than its caller may hold the lock. Such a caller gives up the lock after Append, and settles
// the change under it later ([Journal.Settle]). Where others have appended meanwhile, the change has been shown too
// early, and is appended once more: a cursor that a reader has got before a change happened is never behind it.
//
// # Gaps
//
// No append waits for the disk. A power failure can lose appended changes whose files are on the disk. So a journal
// belongs to one boot of the machine, and is begun anew in the next. A record that cannot be appended is a gap too: the
// journal is emptied, and begun anew with the next change. A journal that is begun anew has another id, and knows no
// cursor of the one before: [tree.ErrNotExist].
//
// # Files
//
// The files have names ID-BASE, where BASE is the position of the beginning of the file in the journal, in hexadecimal.
// Each file begins with a header. A position is a number of bytes since the beginning of the journal, headers included.
// A cursor is the id, a position, and the checksum of the line before that position, so that a cursor of a journal that
// was set back, with its disk, is not taken for one of this journal.
package journal

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/lingering"
)

// Options configure a journal. The zero value works.
type Options struct {
	Turn    Turn             // nil: other processes can always have written
	Boot    string           // names the present boot of the machine ("": the journal is always begun anew)
	Now     func() time.Time // nil: time.Now
	Segment int64            // the size of a file in bytes, from which the next one is begun (0: 4 MiB)
	Most    int              // how many files are kept (0: 8)
	Age     time.Duration    // how long changes are kept, and up to an eighth of that longer (0: 7 days)
	Linger  time.Duration    // how long the last file stays open after its use, see [lingering.Slot] (0: no longer)
}

// A Journal is the changes of one tree. Methods that write must be called under the lock of the tree. The others may
// be called concurrently.
type Journal struct {
	files Files
	opts  Options

	// These belong to the holder of the lock of the tree.
	there   bool // there is a journal
	current bool // all changes that were appended before this process took its last turn are known
	file    File // the last segment, or nil while it is not open
	rested  lingering.Slot[File]
	head    header
	name    string // of the last segment
	size    int64  // of that file, in bytes
	pending int64  // how many bytes at its end are not shown yet
	left    bool   // the caller that has appended these has given up the lock since
	appends uint64 // how often changes were appended
	last    string // the checksum of the last line, shown or not

	mu   sync.Mutex // never held across a system call
	id   string     // "" if there is no journal now
	end  int64      // the position after the last change that is shown, or after the header if there is none
	sum  string     // the checksum of the line before that
	mark int64      // see Mark
	busy bool       // a change was shown since that mark
	tail tail
	more chan struct{} // closed when more is shown. nil: no reader waits
}

// New returns the journal of a directory. [Journal.Load] or the first change opens it.
func New(files Files, opts Options) *Journal {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.Segment = cmp.Or(opts.Segment, 4<<20)
	opts.Most = cmp.Or(opts.Most, 8)
	opts.Age = cmp.Or(opts.Age, 7*24*time.Hour)
	return &Journal{files: files, opts: opts}
}

// Close closes the files. The next method that writes opens them again.
func (j *Journal) Close() {
	j.rested.Close()
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
}

// A segment is a file of a journal.
type segment struct {
	id   string
	base int64
}

func (s segment) name() string { return fmt.Sprintf("%s-%016x", s.id, s.base) }

// segments returns the files in the order of their positions, those of each journal together.
func (j *Journal) segments() (found []segment, err error) {
	names, err := j.files.List()
	for _, name := range names {
		id, base, ok := strings.Cut(name, "-")
		if n, failed := strconv.ParseInt(base, 16, 64); ok && failed == nil {
			found = append(found, segment{id, n})
		}
	}
	slices.SortFunc(found, func(a, b segment) int {
		return cmp.Or(strings.Compare(a.id, b.id), cmp.Compare(a.base, b.base))
	})
	return found, err
}

// Load takes up the journal where the files end, or begins one if there is none that can be continued. It must be
// called under the lock of the tree. If it fails, the next change tries again.
func (j *Journal) Load() error {
	err := j.tryLoad()
	if err != nil {
		j.leave()
	}
	j.current = err == nil
	return err
}

// leave forgets the journal. Readers get no more changes of it.
func (j *Journal) leave() {
	j.Close()
	j.there, j.current, j.pending, j.left = false, false, 0, false
	j.mu.Lock()
	j.id = ""
	j.mu.Unlock()
	j.wake()
}

func (j *Journal) tryLoad() error {
	j.Close()
	if err := j.takeTurn(); err != nil {
		if cleared := j.clear(); cleared != nil {
			return errors.Join(err, cleared)
		}
		return fmt.Errorf("%w: %w", errEmpty, err) // another process finds no file to append to
	}
	found, err := j.segments()
	if err != nil {
		return err
	}
	if len(found) == 0 || found[0].id != found[len(found)-1].id || j.opts.Boot == "" {
		return j.begin()
	}
	last := found[len(found)-1]
	if j.file, err = j.files.Append(last.name(), false); err != nil {
		return err
	}
	size, _, err := j.file.Size()
	if err != nil {
		return err
	}
	data, err := readRange(j.files, last.name(), 0, size)
	if err != nil {
		return err
	}
	head, length, ok := decodeHeader(data)
	if !ok || head.id != last.id || head.base != last.base || head.boot != j.opts.Boot {
		return j.begin()
	}
	j.enter(head, sumOf(data[:length]), int64(length))
	ended, err := j.take(data[length:])
	if err == nil && ended {
		err = j.next() // the process died before it could
	}
	return err
}

// take takes in lines that were appended to the last file, and cuts off a line that is not whole. The change of such a
// line has not happened, because the process died before. ended reports whether the journal goes on in another file.
func (j *Journal) take(data []byte) (ended bool, err error) {
	found := scan(data, j.head.base+j.size)
	if found.damaged {
		return false, j.begin()
	}
	if found.whole < int64(len(data)) {
		if err := j.file.Truncate(j.size + found.whole); err != nil {
			return false, err
		}
	}
	j.size, j.pending, j.left = j.size+found.whole, 0, false
	if found.sum != "" {
		j.last = found.sum
	}
	j.mu.Lock()
	for _, c := range found.changes {
		j.tail.add(c)
		j.end, j.sum, j.busy = c.end, c.sum, true
	}
	if found.mark != 0 {
		j.mark, j.busy = found.mark, false
	}
	j.mu.Unlock()
	j.wake()
	return found.ended, nil
}

// enter goes on in a file of which the header was read or written.
func (j *Journal) enter(head header, sum string, length int64) {
	j.there, j.head, j.size, j.pending, j.left, j.last = true, head, length, 0, false, sum
	j.name = segment{head.id, head.base}.name()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.id != head.id {
		j.busy = false
	}
	j.id, j.end, j.sum, j.mark = head.id, head.base+length, sum, head.mark
	j.tail = tail{start: placed{end: j.end, sum: sum}}
}

var (
	// errKept says that files of a journal that has a gap could not be removed.
	errKept = errors.New("the journal of changes has a gap, and cannot be begun anew")
	// errEmpty says that no journal could be begun, and that there is none.
	errEmpty = errors.New("the journal of changes cannot be begun")
)

// begin begins a new journal, after the files of all others are gone.
func (j *Journal) begin() error {
	j.leave()
	if err := j.clear(); err != nil {
		return err
	}
	var id [8]byte
	rand.Read(id[:])
	if err := j.create(header{id: hex.EncodeToString(id[:]), boot: j.opts.Boot}); err != nil {
		return fmt.Errorf("%w: %w", errEmpty, err)
	}
	_, now, err := j.file.Size()
	if err != nil {
		return j.lose(err)
	}
	return j.note(now)
}

// clear removes all files. The last one is removed last, so that no older one is taken for it.
func (j *Journal) clear() error {
	found, err := j.segments()
	for i := 0; i < len(found) && err == nil; i++ {
		err = j.files.Remove(found[i].name())
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errKept, err)
	}
	return nil
}

// create makes a file of the journal, and goes on in it.
func (j *Journal) create(head header) error {
	head.made = j.opts.Now().UnixNano()
	name, line := segment{head.id, head.base}.name(), head.encode()
	file, err := j.files.Append(name, true)
	if err != nil {
		return err
	}
	if _, err = file.Write(line); err != nil {
		return errors.Join(err, file.Close(), j.files.Remove(name)) // without a header, it is no file of a journal
	}
	j.Close()
	j.file = file
	j.enter(head, sumOf(line), int64(len(line)))
	return nil
}

// next goes on in the next file, and removes the oldest ones.
func (j *Journal) next() error {
	head := header{id: j.head.id, boot: j.head.boot, base: j.head.base + j.size, mark: j.Seen()}
	if err := j.create(head); err != nil {
		return j.lose(err)
	}
	return j.trim()
}

// rotate ends the last file, and goes on in the next one.
func (j *Journal) rotate() error {
	line := encode(nextField)
	if err := j.write(line, sumOf(line)); err != nil || !j.there {
		return err
	}
	return j.next()
}

// Trim forgets changes that are too old.
func (j *Journal) Trim() error {
	if err := j.Adopt(); err != nil || !j.there {
		return err
	}
	if j.opts.Now().Sub(time.Unix(0, j.head.made)) > j.opts.Age/8 && j.end > j.head.base+int64(len(j.head.encode())) {
		return j.rotate()
	}
	return j.trim()
}

// trim removes files that are too many, or whose changes are too old.
func (j *Journal) trim() error {
	found, err := j.segments()
	if err != nil {
		return err
	}
	if !slices.Contains(found, segment{j.head.id, j.head.base}) {
		return j.Load() // a program has removed the file that is open
	}
	for i := 0; i < len(found)-1; i++ {
		if i >= len(found)-j.opts.Most {
			after, err := readHeader(j.files, found[i+1])
			if err != nil || j.opts.Now().Sub(time.Unix(0, after.made)) <= j.opts.Age {
				return nil
			}
		}
		if err := j.files.Remove(found[i].name()); err != nil {
			return err
		}
	}
	return nil
}
