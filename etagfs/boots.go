package etagfs

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	iofs "io/fs"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"
)

// boots knows which records of an index a power failure may have made untrue: after one, a file can have the size and
// the times of a change whose bytes never reached the disk.
//
// The time between two such ends is a generation, and every record carries the one it was written in. Each process that
// uses the index has a session file: the boot of the machine in which it began, and the last time it was seen alive,
// synced to the disk. A process that stops well has the kernel write everything to the disk and removes its file. So a
// session of another boot tells that a generation has ended badly, and the last of those times when the machine was
// still up: what had changed a minute before that, or earlier, has reached the disk, and what changed later is not
// trusted, unless it was synced.
//
// A process that is killed leaves a session behind that does no harm as long as the machine stays up. Of one that cannot be
// read nobody knows in which boot that was; its time of modification stands for the time when it was alive.
type boots struct {
	dir    *os.Root
	boot   string
	now    func() time.Time
	report func(error)

	era atomic.Pointer[era]

	name    string
	session *os.File

	mu       sync.Mutex
	beaten   time.Time // the time in the session file
	recorded time.Time // when the last record was written
	behind   bool      // the clock was set back since the last beat
}

const (
	// written is how long a change may take to reach the disk by itself: twice the 30 s after which Linux writes it.
	written = time.Minute
	// heartbeat is how often a session says that it is alive, while there is something to be said.
	heartbeat = 30 * time.Second

	bootsName     = "generations"
	bootsLockName = "lock"
	sessionPrefix = "session-"
	bootsMagic    = "ifmatch index 2\n"

	maxGenerations = 100 // of the past; what is older is not trusted

	// openPatience is how long the opening of an index waits for another process that does the same.
	openPatience = 5 * time.Second
)

// errHeld says that another process has a file of the index locked: one that was stopped, since nobody keeps one for long.
var errHeld = errors.New("it is locked")

// An era is what a process knows of generations.
type era struct {
	current uint32
	trusted map[uint32]int64 // by generation: the latest time of change that is trusted in it
}

type generation struct {
	id  uint32
	end int64 // the latest time of change that is trusted in it
}

func openBoots(dir *os.Root, boot string, now func() time.Time, report func(error)) (*boots, error) {
	b := &boots{dir: dir, boot: boot, now: now, report: report}
	lock, _, err := openRepaired(dir, bootsLockName)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := flock(lock, openPatience); err != nil {
		return nil, fmt.Errorf("locking it: %w", err)
	}
	generations, err := b.read()
	if err != nil {
		return nil, err
	}
	if generations, err = b.end(generations); err != nil {
		return nil, err
	}
	e := &era{current: generations[len(generations)-1].id, trusted: map[uint32]int64{}}
	end := int64(math.MaxInt64)
	for i := len(generations) - 1; i >= 0; i-- {
		end = min(end, generations[i].end)
		e.trusted[generations[i].id] = end
	}
	b.era.Store(e)
	return b, b.begin()
}

// read returns the generations, the current one last; none where there is no index yet, or none that can be used.
func (b *boots) read() ([]generation, error) {
	data, err := readSmall(b.dir, bootsName)
	if err == nil {
		if generations, ok := decodeGenerations(data); ok {
			return generations, nil
		}
	} else if !errors.Is(err, iofs.ErrNotExist) && !isDamage(err) {
		return nil, err
	}
	cleared, err := b.clear()
	if err != nil {
		return nil, fmt.Errorf("clearing an index that cannot be used: %w", err)
	}
	if cleared {
		b.report(errors.New("the index is of another version or damaged, and begun anew: all files are hashed again"))
	}
	return nil, nil
}

// clear removes everything but the lock, and the notes on dates, which know what the end of a generation costs them.
func (b *boots) clear() (any bool, err error) {
	names, err := b.names()
	for _, name := range names {
		if name == bootsLockName {
			continue
		}
		any = true
		if name != notesName {
			if failed := b.dir.RemoveAll(name); !errors.Is(failed, iofs.ErrNotExist) {
				err = errors.Join(err, failed)
			}
		}
	}
	return any, err
}

func (b *boots) names() ([]string, error) {
	f, err := b.dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// end closes the current generation if it ended badly, and clears up what dead sessions left.
func (b *boots) end(generations []generation) ([]generation, error) {
	names, err := b.names()
	if err != nil {
		return nil, err
	}
	var over []string
	var bad, unread bool
	last, least := int64(math.MinInt64), int64(math.MaxInt64)
	for _, name := range names {
		if !strings.HasPrefix(name, sessionPrefix) {
			continue
		}
		boot, alive, ok := b.readSession(name)
		switch {
		case ok && boot != b.boot:
			bad = true
			last = max(last, alive.UnixNano())
		case b.isAlive(name): // and perhaps writing to it
			continue
		case !ok:
			unread = true
			least = min(least, b.touched(name))
		}
		over = append(over, name)
	}
	if len(generations) == 0 || bad || unread {
		if len(generations) > 0 {
			end, why := last, "the machine went down while this directory was in use"
			if !bad {
				end, why = least, "a session of the index cannot be read, and may be from before the machine went down"
			}
			// Where both are, what cannot be read may be of that boot or of this one, and later then.
			if end = min(end, least); end != math.MinInt64 {
				end -= int64(written)
			}
			generations[len(generations)-1].end = end
			b.report(fmt.Errorf("%s: %s are hashed again", why, changedAfter(end)))
		}
		generations = append(generations, generation{rand.Uint32(), math.MaxInt64})
		generations = generations[max(0, len(generations)-maxGenerations):]
		if err := b.replace(bootsName, encodeGenerations(generations)); err != nil {
			return nil, err
		}
	}
	for _, name := range over {
		if err := b.dir.RemoveAll(name); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return nil, err
		}
	}
	return generations, nil
}

// touched returns when a session that cannot be read was written to last, as the kernel has it: the machine was up then.
// It is the beginning of all time where that is not known.
func (b *boots) touched(name string) int64 {
	info, err := b.dir.Lstat(name)
	if err != nil || info.ModTime().After(b.now()) {
		return math.MinInt64
	}
	return info.ModTime().UnixNano()
}

func changedAfter(end int64) string {
	if end == math.MinInt64 {
		return "all files"
	}
	return "files that changed after " + time.Unix(0, end).Format(time.RFC3339)
}

// isAlive reports whether the process of a session is running.
func (b *boots) isAlive(name string) bool {
	if isFile(b.dir, name) != nil {
		return false
	}
	f, err := b.dir.OpenFile(name, os.O_RDWR|noWait, 0)
	if err != nil {
		return errors.Is(err, syscall.EAGAIN) // who has a lease on it would have to be waited for to find out
	}
	defer f.Close()
	return flock(f, 0) != nil
}

// begin makes our session. It is on disk before anything is recorded.
func (b *boots) begin() error {
	b.name = sessionPrefix + uuid.NewString()
	var err error
	b.session, err = create(b.dir, b.name)
	if err != nil {
		return err
	}
	if err = flock(b.session, 0); err == nil {
		err = b.beat()
	}
	b.recorded = b.beaten // by whoever was here last, for all we know
	if err == nil {
		err = b.syncNames()
	}
	if err != nil {
		b.session.Close()
		return errors.Join(err, b.dir.Remove(b.name))
	}
	return nil
}

// trusts reports whether a version that was recorded in a generation, and not synced, is what the disk holds.
func (b *boots) trusts(generation uint32, changed int64) bool {
	end, ok := b.era.Load().trusted[generation]
	return ok && changed <= end
}

// current returns the generation of what is recorded now.
func (b *boots) current() uint32 { return b.era.Load().current }

// record notes that something is recorded, or reports that it must not be: the clock was set back, and until the next
// beat a time of change says nothing.
func (b *boots) record() bool {
	now := b.now().Round(0) // as the clock on the wall has it
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Before(b.beaten) {
		b.behind = true
		return false
	}
	b.recorded = now
	return true
}

// beatIfDue says that we are alive, until all that was recorded is older than what is trusted.
func (b *boots) beatIfDue() {
	b.mu.Lock()
	due := b.behind || b.beaten.Before(b.recorded.Add(written+heartbeat))
	b.mu.Unlock()
	if !due {
		return
	}
	if err := b.beat(); err != nil {
		b.report(fmt.Errorf("writing the heartbeat, without which a power failure costs more hashing: %w", err))
	}
}

func (b *boots) beat() error {
	now := b.now().Round(0)
	if _, err := b.session.WriteAt(encodeSession(b.boot, now), 0); err != nil {
		return err
	}
	if err := b.session.Sync(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.beaten, b.behind = now, false
	return nil
}

// close ends the session: it stays where not all was synced.
func (b *boots) close(synced bool) error {
	defer b.session.Close()
	if !synced {
		return b.beat()
	}
	if err := b.dir.Remove(b.name); err != nil {
		if errors.Is(err, iofs.ErrNotExist) {
			return nil // the index was deleted, as it may be
		}
		return err
	}
	return b.syncNames()
}

// replace writes a file by rename, synced.
func (b *boots) replace(name string, data []byte) error {
	staged := name + "." + uuid.NewString()
	f, err := create(b.dir, staged)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = cmp.Or(err, f.Sync())
	err = cmp.Or(err, f.Close())
	if err == nil {
		err = b.dir.Rename(staged, name)
	}
	if err != nil {
		return errors.Join(err, b.dir.Remove(staged))
	}
	return b.syncNames()
}

func (b *boots) syncNames() error {
	f, err := b.dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// seal appends a CRC-32C.
func seal(data []byte) []byte {
	return binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
}

func unseal(data []byte) ([]byte, bool) {
	n := len(data) - crc32.Size
	if n < 0 || crc32.Checksum(data[:n], castagnoli) != binary.LittleEndian.Uint32(data[n:]) {
		return nil, false
	}
	return data[:n], true
}

func encodeGenerations(generations []generation) []byte {
	b := []byte(bootsMagic)
	for _, g := range generations {
		b = binary.LittleEndian.AppendUint32(b, g.id)
		b = binary.LittleEndian.AppendUint64(b, uint64(g.end))
	}
	return seal(b)
}

func decodeGenerations(data []byte) ([]generation, bool) {
	data, ok := unseal(data)
	if !ok {
		return nil, false
	}
	data, ok = bytes.CutPrefix(data, []byte(bootsMagic))
	if !ok || len(data) == 0 || len(data)%12 != 0 {
		return nil, false
	}
	var generations []generation
	for ; len(data) > 0; data = data[12:] {
		generations = append(generations, generation{
			id: binary.LittleEndian.Uint32(data), end: int64(binary.LittleEndian.Uint64(data[4:])),
		})
	}
	return generations, true
}

// A session file has one length always, and one sector of a disk holds it.
func encodeSession(boot string, alive time.Time) []byte {
	return seal(fmt.Appendf(nil, "%020d %s\n", alive.UnixNano(), boot))
}

func (b *boots) readSession(name string) (boot string, alive time.Time, ok bool) {
	data, err := readSmall(b.dir, name)
	if err != nil {
		return "", time.Time{}, false
	}
	text, ok := unseal(data)
	if !ok {
		return "", time.Time{}, false
	}
	var nanoseconds int64
	if _, err := fmt.Sscanf(string(text), "%d %s\n", &nanoseconds, &boot); err != nil {
		return "", time.Time{}, false
	}
	return boot, time.Unix(0, nanoseconds), true
}

// deleted reports whether files were deleted that others must find, our session above all: without, nobody would know
// after a power failure what to make of what we have recorded.
func (b *boots) deleted() bool {
	ours, err := b.session.Stat()
	if err != nil {
		return false
	}
	found, err := b.dir.Lstat(b.name)
	if err == nil && os.SameFile(ours, found) {
		_, err = b.dir.Lstat(bootsName)
	}
	return err == nil && !os.SameFile(ours, found) || errors.Is(err, iofs.ErrNotExist)
}

// adopt goes on with another session, and the generations that were read for it. What is recorded meanwhile is of the one or
// of the other, and both are in use.
func (b *boots) adopt(next *boots) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.session.Close()
	_ = b.dir.Remove(b.name) // most often it is what was deleted
	b.era.Store(next.era.Load())
	b.dir, b.name, b.session = next.dir, next.name, next.session
	b.beaten, b.recorded, b.behind = next.beaten, next.recorded, next.behind
}

// sessions counts the processes that use the index.
func (b *boots) sessions() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	names, _ := b.names() // what cannot be listed has none that can be counted
	for _, name := range names {
		if strings.HasPrefix(name, sessionPrefix) && b.isAlive(name) {
			n++
		}
	}
	return n
}
