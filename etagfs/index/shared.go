package index

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A sharedFile holds the facts that the processes of an index tell each other. The processes also lock the index by
// this file. It has 648 bytes, which one system call reads: a sealed sharedState, which is changed under the lock, and
// words after it, which are written without the lock.
type sharedFile struct {
	file *os.File
	mu   sync.Mutex // a lock of the file belongs to the whole process
	held bool       // another process held the lock at the last attempt, and did not release it. Under mu
}

// A sharedState is the content of a sharedFile.
type sharedState struct {
	// corrected changes each time a record is found to be wrong. Then no process may use its records in memory any
	// more.
	corrected uint32
	// mounted: a file was shown that is on another mount than the root. A mount over a directory, and its end, leave no
	// trace in the times of the directory or of the mounted one.
	mounted bool
	// high is the highest time that the clock has shown, in seconds since 1970, as far as a process has had a reason to
	// write it here.
	high int64
	// boot is a hash of the boot of the machine. lead is how far the clock was ahead of the machine's monotonic clock
	// at most, in seconds. It is written before a process shows any date by a clock that is further ahead. So every
	// process can tell which dates can have been shown, even if the clock was set since.
	boot uint64
	lead int64
	// back is the highest time that the clock can have shown before it was last set back, in seconds since 1970.
	// Changes before that can have later times of change than changes after it.
	back int64
	// ahead are dates that lay in the future when they were shown. If there are too many of them, ahead has a few spans
	// that contain them.
	ahead []tree.Span

	// showing gets another number each time a process begins to show dates to clients.
	showing uint64
	// broken: a process shows dates and cannot get the lock to tell more about them. Then no date proves anything. Each
	// run has a word for this in the file, which its number selects.
	broken bool
}

const (
	stateSize  = 512
	sharedSize = brokenAt + 8*brokenWords
	stateMagic = "ifmatch shared 1\n"
	maxAhead   = (stateSize - 72) / 16

	showingAt = stateSize
	brokenAt  = stateSize + 8

	brokenWords = 16

	// sharedPatience is how long a process waits for another process to release the lock. A change of the shared state
	// takes less than a millisecond. Commits and readers wait meanwhile.
	sharedPatience = 50 * time.Millisecond
)

// openShared opens the shared state of an index that is locked. It begins a shared file anew that cannot be read. whole
// says that the file could be read.
func openShared(file *os.File, boot string) (b *sharedFile, whole bool, err error) {
	b = &sharedFile{file: file}
	n, whole := b.read()
	if whole && n.boot == nameID(boot) {
		return b, true, nil
	}
	n.boot, n.lead = nameID(boot), never
	if !whole {
		n.back = never
	}
	err = b.write(0, n.encode())
	if !whole {
		err = cmp.Or(err, b.word(showingAt, rand.Uint64()), b.mend())
	}
	return b, whole, err
}

// read returns the shared state. ok is false if it cannot be read.
func (b *sharedFile) read() (n sharedState, ok bool) {
	var data [sharedSize]byte
	for range 3 { // another process may be writing it
		if got, _ := b.file.ReadAt(data[:], 0); got == len(data) {
			if n, ok := decodeShared(data[:stateSize]); ok {
				n.showing = binary.LittleEndian.Uint64(data[showingAt:])
				n.broken = [8 * brokenWords]byte(data[brokenAt:]) != [8 * brokenWords]byte{}
				return n, true
			}
		}
	}
	return sharedState{high: never, lead: never, back: never}, false
}

// change changes the shared state. It waits a short time for another process that holds the lock. As long as that
// process does not release the lock, later calls do not wait again, because that process was stopped.
func (b *sharedFile) change(change func(n *sharedState) bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	patience := sharedPatience
	if b.held {
		patience = 0
	}
	err := lockFile(b.file, patience)
	b.held = err != nil
	if err != nil {
		return err
	}
	defer funlock(b.file)
	n, ok := b.read()
	if !ok {
		return fmt.Errorf("%s: %w", b.file.Name(), errUnsealed)
	}
	if !change(&n) {
		return nil
	}
	return b.write(0, n.encode())
}

func (b *sharedFile) write(at int64, data []byte) error {
	_, err := b.file.WriteAt(data, at)
	return err
}

// word writes one of the words after the sharedState.
func (b *sharedFile) word(at int64, value uint64) error {
	return b.write(at, binary.LittleEndian.AppendUint64(nil, value))
}

// setBroken writes the word of a run.
func (b *sharedFile) setBroken(run uint32, broken bool) error {
	value := uint64(0)
	if broken {
		value = uint64(run)
	}
	return b.word(brokenAt+8*int64(run%brokenWords), value)
}

// mend clears the words of all runs.
func (b *sharedFile) mend() error { return b.write(brokenAt, make([]byte, 8*brokenWords)) }

// The sharedState is sealed. It has the magic, corrected and mounted (4 bytes each), high, boot, lead and back (8
// each), the number of spans (4), and the spans (8 and 8 each). Unused bytes are zero.
func (n sharedState) encode() []byte {
	b := append(make([]byte, 0, stateSize), stateMagic...)
	b = binary.LittleEndian.AppendUint32(b, n.corrected)
	mounted := uint32(0)
	if n.mounted {
		mounted = 1
	}
	b = binary.LittleEndian.AppendUint32(b, mounted)
	b = binary.LittleEndian.AppendUint64(b, uint64(n.high))
	b = binary.LittleEndian.AppendUint64(b, n.boot)
	b = binary.LittleEndian.AppendUint64(b, uint64(n.lead))
	b = binary.LittleEndian.AppendUint64(b, uint64(n.back))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(n.ahead)))
	for _, s := range n.ahead {
		b = binary.LittleEndian.AppendUint64(b, uint64(s.First))
		b = binary.LittleEndian.AppendUint64(b, uint64(s.Last))
	}
	return seal(b[:stateSize-4])
}

func decodeShared(data []byte) (n sharedState, ok bool) {
	data, ok = unseal(data)
	if !ok || len(data) != stateSize-4 || string(data[:len(stateMagic)]) != stateMagic {
		return sharedState{}, false
	}
	data = data[len(stateMagic):]
	signed := func(at int) int64 { return int64(binary.LittleEndian.Uint64(data[at:])) }
	n = sharedState{
		corrected: binary.LittleEndian.Uint32(data), mounted: binary.LittleEndian.Uint32(data[4:]) != 0,
		high: signed(8), boot: uint64(signed(16)), lead: signed(24), back: signed(32),
	}
	spans := binary.LittleEndian.Uint32(data[40:])
	if spans > maxAhead {
		return sharedState{}, false
	}
	for data = data[44:]; spans > 0; spans, data = spans-1, data[16:] {
		first, last := binary.LittleEndian.Uint64(data), binary.LittleEndian.Uint64(data[8:])
		n.ahead = append(n.ahead, tree.Span{First: int64(first), Last: int64(last)})
	}
	return n, true
}

// addTo adds a span to spans that are sorted and do not touch, and returns them in this form. If there are too many,
// the two with the smallest gap between them become one.
func addTo(spans []tree.Span, added tree.Span) []tree.Span {
	sorted := make([]tree.Span, 0, len(spans)+1)
	for _, s := range spans {
		switch {
		case s.Last < added.First:
			sorted = append(sorted, s)
		case s.First > added.Last:
			sorted, added = append(sorted, added), s
		default:
			added = added.Join(s)
		}
	}
	sorted = append(sorted, added)
	if len(sorted) <= maxAhead {
		return sorted
	}
	nearest, least := 0, uint64(math.MaxUint64)
	for i := range sorted[1:] {
		if gap := uint64(sorted[i+1].First) - uint64(sorted[i].Last); gap < least {
			nearest, least = i, gap
		}
	}
	sorted[nearest].Last = sorted[nearest+1].Last
	return append(sorted[:nearest+1], sorted[nearest+2:]...)
}

var errLocked = errors.New("it is locked")

const (
	// openPatience is how long the opening of an index waits for another process that is opening it.
	openPatience = 5 * time.Second
	lockPause    = time.Millisecond
)

// lockFile locks an open file. It fails when patience is over, because the process that has the lock may have been
// stopped.
func lockFile(f *os.File, patience time.Duration) error {
	for end := time.Now().Add(patience); ; time.Sleep(lockPause) {
		err := tryFlock(f)
		if !errors.Is(err, errLocked) {
			return err
		}
		if !time.Now().Before(end) {
			return fmt.Errorf("%s: %w: %s has had it for %v", f.Name(), err, vfs.HolderOf(f), patience)
		}
	}
}
