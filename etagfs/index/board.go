package index

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"ifmatch/tree"
)

// A board is what the processes that use an index tell each other. It is in the file by which they lock the index, 512 bytes
// that are read by one system call.
type board struct {
	file *os.File
	mu   sync.Mutex // a lock of the file is of the process
}

// A notice is what a board says.
type notice struct {
	// showing changes whenever a process begins to show dates to clients.
	showing uint32
	// corrected changes whenever a record was found to be wrong, so that it must not be believed from memory.
	corrected uint32
	// high is the highest time that the clock has shown, in seconds since 1970, as far as a process had cause to say.
	high int64
	// ahead are dates that had not come when they were shown. Where there are too many, they are some spans around them.
	ahead []tree.Span
}

const (
	noticeSize  = 512
	noticeMagic = "ifmatch board 1\n"
	maxAhead    = (noticeSize - 40) / 16
)

// openBoard opens the board of an index, with a new notice where there is none that can be read.
func openBoard(file *os.File) (b *board, err error) {
	b = &board{file: file}
	if _, ok := b.read(); ok {
		return b, nil
	}
	return b, b.write(notice{showing: rand.Uint32(), high: never})
}

// read returns what the board says; ok is false where that cannot be read.
func (b *board) read() (n notice, ok bool) {
	var data [noticeSize]byte
	for range 3 { // another process may be writing it
		if got, _ := b.file.ReadAt(data[:], 0); got == len(data) {
			if n, ok := decodeNotice(data[:]); ok {
				return n, true
			}
		}
	}
	return notice{high: never}, false
}

// change changes what the board says. It waits for a bounded time for other processes.
func (b *board) change(patience time.Duration, change func(n *notice) bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := lockFile(b.file, patience); err != nil {
		return err
	}
	defer funlock(b.file)
	n, ok := b.read()
	if !ok {
		n.showing = rand.Uint32() // not what any process remembers
	}
	if !change(&n) {
		return nil
	}
	return b.write(n)
}

func (b *board) write(n notice) error {
	_, err := b.file.WriteAt(n.encode(), 0)
	return err
}

// The notice is sealed: the magic, showing and corrected (4 bytes each), high (8), the number of spans (4), and those (8 and 8
// each); what is unused is zero.
func (n notice) encode() []byte {
	b := append(make([]byte, 0, noticeSize), noticeMagic...)
	b = binary.LittleEndian.AppendUint32(b, n.showing)
	b = binary.LittleEndian.AppendUint32(b, n.corrected)
	b = binary.LittleEndian.AppendUint64(b, uint64(n.high))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(n.ahead)))
	for _, s := range n.ahead {
		b = binary.LittleEndian.AppendUint64(b, uint64(s.First))
		b = binary.LittleEndian.AppendUint64(b, uint64(s.Last))
	}
	return seal(b[:noticeSize-4])
}

func decodeNotice(data []byte) (n notice, ok bool) {
	data, ok = unseal(data)
	if !ok || len(data) != noticeSize-4 || string(data[:len(noticeMagic)]) != noticeMagic {
		return notice{}, false
	}
	data = data[len(noticeMagic):]
	n = notice{binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:]), int64(binary.LittleEndian.Uint64(data[8:])), nil}
	spans := binary.LittleEndian.Uint32(data[16:])
	if spans > maxAhead {
		return notice{}, false
	}
	for data = data[20:]; spans > 0; spans, data = spans-1, data[16:] {
		n.ahead = append(n.ahead, tree.Span{First: int64(binary.LittleEndian.Uint64(data)), Last: int64(binary.LittleEndian.Uint64(data[8:]))})
	}
	return n, true
}

// isIn reports whether a second is in one of some spans.
func isIn(spans []tree.Span, second int64) bool {
	for _, s := range spans {
		if s.Has(second) {
			return true
		}
	}
	return false
}

// addTo adds a second to spans that are sorted, and returns them so. Where that are too many, the two become one that have the
// least between them.
func addTo(spans []tree.Span, second int64) []tree.Span {
	if isIn(spans, second) {
		return spans
	}
	i := 0
	for i < len(spans) && spans[i].Last < second {
		i++
	}
	sorted := append(make([]tree.Span, 0, len(spans)+1), spans[:i]...)
	sorted = append(append(sorted, tree.Span{First: second, Last: second}), spans[i:]...)
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
