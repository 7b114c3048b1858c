package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// past describes the runs that are over, and the numbers that were given to runs.
type past struct {
	last       uint32            // the highest number that a run got
	floor      uint32            // no record of a run with a lower number is trusted, unless its content was synced
	undated    uint32            // no record of a run with a lower number proves dates
	incomplete map[uint32]uint32 // by run: the last completed epoch before the machine went down
}

// trusts reports whether the content of a record of an epoch is on the disk. While the machine is up, data that the
// kernel has yet to write counts as being on the disk. This holds for this run, for the runs that began later, and for
// past runs that no power failure has ended.
func (p *past) trusts(run, number uint32) bool {
	if last, ok := p.incomplete[run]; ok {
		return number <= last
	}
	return run > 0 && run >= p.floor
}

// forgetOldest bounds how many runs that a power failure ended are remembered. Runs that are older than those are not
// trusted instead.
func (p *past) forgetOldest() {
	for len(p.incomplete) > maxIncomplete {
		oldest := p.last
		for run := range p.incomplete {
			oldest = min(oldest, run)
		}
		delete(p.incomplete, oldest)
		p.floor = max(p.floor, oldest+1)
	}
}

// runOf returns the number in the name of a run's file.
func runOf(name string) (uint32, bool) {
	digits, ok := strings.CutPrefix(name, runPrefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err == nil
}

// isAlive reports whether the process of a run is alive.
func isAlive(dir *os.Root, name string) bool {
	if checkFile(dir, name) != nil {
		return false
	}
	f, err := dir.OpenFile(name, os.O_RDWR|noWait, 0)
	if err != nil {
		return errors.Is(err, syscall.EAGAIN) // a program has a lease on the file, and an open would wait for it
	}
	defer f.Close()
	if tryFlock(f) != nil {
		return true
	}
	funlock(f) // a child process that is being started may have a copy of the descriptor, which keeps the lock
	return false
}

// The file of the epochs is sealed. It has the magic, the id of the index (8 bytes), then the highest run, the floor,
// the first run whose records prove dates, and zero (4 each), and for each run that a power failure has ended its
// number and its last completed epoch (4 each).
func encodePast(id uint64, p past) []byte {
	b := binary.LittleEndian.AppendUint64([]byte(epochsMagic), id)
	b = binary.LittleEndian.AppendUint32(b, p.last)
	b = binary.LittleEndian.AppendUint32(b, p.floor)
	b = binary.LittleEndian.AppendUint32(b, p.undated)
	b = binary.LittleEndian.AppendUint32(b, 0)
	for run, completed := range p.incomplete {
		b = binary.LittleEndian.AppendUint32(b, run)
		b = binary.LittleEndian.AppendUint32(b, completed)
	}
	return b
}

func decodePast(data []byte) (id uint64, p past, ok bool) {
	data, ok = bytes.CutPrefix(data, []byte(epochsMagic))
	if !ok || len(data) < 24 || len(data)%8 != 0 {
		return 0, past{}, false
	}
	id = binary.LittleEndian.Uint64(data)
	number := func(at int) uint32 { return binary.LittleEndian.Uint32(data[at:]) }
	p = past{last: number(8), floor: number(12), undated: number(16), incomplete: map[uint32]uint32{}}
	for data = data[24:]; len(data) > 0; data = data[8:] {
		p.incomplete[binary.LittleEndian.Uint32(data)] = binary.LittleEndian.Uint32(data[4:])
	}
	return id, p, true
}

// The file of a run always has the same length, and one sector of a disk holds it. It is written in place, because it
// is locked.
type runState struct {
	boot        string
	completed   uint32
	lazy, shows bool
}

func (e *epochs) save(synced bool) error {
	e.saving.Lock()
	defer e.saving.Unlock()
	e.mu.Lock()
	state := runState{e.boot, e.completed, e.lazy, e.shows}
	e.mu.Unlock()
	if _, err := e.file.WriteAt(state.encode(), 0); err != nil {
		return err
	}
	if !synced {
		return nil
	}
	return e.file.Sync()
}

func (s runState) encode() []byte {
	return seal(fmt.Appendf(nil, "%010d %5t %5t %s\n", s.completed, s.lazy, s.shows, s.boot))
}

func readRun(dir *os.Root, name string) (s runState, err error) {
	data, err := readSealed(dir, name)
	if err == nil {
		_, err = fmt.Sscanf(string(data), "%d %t %t %s\n", &s.completed, &s.lazy, &s.shows, &s.boot)
	}
	if err != nil {
		return runState{}, err
	}
	return s, nil
}

// clearAll deletes all files that have a certain name, and reports whether there were any.
func clearAll(dir *os.Root, which func(name string) bool) (any bool, err error) {
	names, err := namesIn(dir)
	for _, name := range names {
		if which(name) {
			any = true
			if failed := dir.RemoveAll(name); !errors.Is(failed, iofs.ErrNotExist) {
				err = errors.Join(err, failed)
			}
		}
	}
	return any, err
}

func isPage(name string) bool { return strings.Contains(name, pagePrefix) }

// isOther reports whether a name no longer stands for an open file.
func isOther(dir *os.Root, name string, open *os.File) bool {
	ours, err := open.Stat()
	if err != nil {
		return false
	}
	found, err := dir.Lstat(name)
	return err == nil && !os.SameFile(ours, found) || errors.Is(err, iofs.ErrNotExist)
}
