package index

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
)

// Epochs tell which records a power failure may have made untrue: after one, a file can have the size and the times
// of a change whose bytes never reached the disk.
//
// A run is one process that uses the index, and has a number. While it runs, it counts epochs: it raises its number,
// then has the kernel write all that is waiting to the disk (syncfs), and then notes the number before as completed,
// synced. A record names the run and the epoch in which it was made. What it is of was written before that epoch was
// completed. No clock is asked.
//
// Each run has a file, locked as long as the process lives, with the boot of the machine in which it began and the
// epoch that it has completed last. A process that stops well has the kernel write everything, and removes its file.
// One that is killed leaves it, and that does no harm as long as the machine stays up: the next epoch of any process
// completes those before, and the file is removed. But a file from another boot says that the machine went down: of
// that run only the records of completed epochs are trusted, and of content that was synced when it was recorded.
type epochs struct {
	dir    *os.Root
	boot   string
	report func(error)

	id   uint64 // of the index
	run  uint32
	past past // what was known when this run began

	name string
	file *os.File

	saving sync.Mutex // for who writes the file

	mu        sync.Mutex // never held across a system call
	number    uint32
	completed uint32
	pending   bool     // records of this epoch are of content that the kernel may still have to write
	syncing   bool     // the epochs before are being completed
	closed    bool     // the run is over
	lazy      bool     // the file system may write bytes long before their time stamps
	shows     bool     // the process shows dates to clients
	unclean   bool     // a run before was not stopped
	dead      []string // files of processes that were killed in this boot
	finished  sync.WaitGroup
}

const (
	epochsName  = "epochs"
	lockName    = "lock"
	runPrefix   = "run-"
	epochsMagic = "ifmatch index 3\n"

	// maxIncomplete bounds the runs that are remembered, of those that a power failure has ended.
	maxIncomplete = 1000
)

// openEpochs begins a run. The caller has locked the index. begun says that no index was there, or none that can be
// used.
//
// dated says that the shared state is that of the runs before. If it is not, their records say nothing of dates any
// more.
func openEpochs(dir *os.Root, boot string, lazy, dated bool, report func(error)) (e *epochs, begun bool, err error) {
	e = &epochs{dir: dir, boot: boot, lazy: lazy, report: report, number: 1}
	if begun, err = e.read(); err != nil {
		return nil, false, err
	}
	over, err := e.settle()
	if err != nil {
		return nil, false, err
	}
	e.past.last++
	e.run = e.past.last
	if !dated {
		e.past.undated = e.run
		if !begun {
			e.report(errors.New("the shared state of the index was lost, and is begun anew: dates until now prove nothing"))
		}
	}
	e.name = runPrefix + strconv.FormatUint(uint64(e.run), 10)
	if err := writeSealed(dir, epochsName, encodePast(e.id, e.past)); err != nil {
		return nil, false, err
	}
	for _, name := range over {
		if err := dir.RemoveAll(name); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return nil, false, err
		}
	}
	return e, begun, e.begin()
}

// read reads what is known of runs. Where there is no index yet, or none that can be used, it begins one.
func (e *epochs) read() (begun bool, err error) {
	data, err := readSealed(e.dir, epochsName)
	if err == nil {
		var ok bool
		if e.id, e.past, ok = decodePast(data); ok {
			return false, nil
		}
	} else if !errors.Is(err, iofs.ErrNotExist) && !isDamage(err) {
		return false, err
	}
	e.id, e.past = rand.Uint64(), past{incomplete: map[uint32]uint32{}}
	cleared, err := clearAll(e.dir)
	if err != nil {
		return false, fmt.Errorf("clearing an index that cannot be used: %w", err)
	}
	if cleared {
		e.report(errors.New("the index is of another version or damaged, and is begun anew: all files are hashed again"))
	}
	return true, nil
}

// settle looks at the runs whose process has died. It notes which epochs they have completed, where the machine went
// down since, and returns their files, which are not needed any more once that is on the disk.
func (e *epochs) settle() (over []string, err error) {
	names, err := namesIn(e.dir)
	if err != nil {
		return nil, err
	}
	down, unread, lazy := false, false, false
	for _, name := range names {
		run, ok := runOf(name)
		if !ok || isAlive(e.dir, name) {
			continue
		}
		state, err := readRun(e.dir, name)
		switch {
		case err == nil && state.boot == e.boot:
			e.dead, e.unclean = append(e.dead, name), true
			continue
		case err == nil:
			down, lazy = true, lazy || state.lazy
		default:
			unread = true // it may be of another boot
		}
		e.unclean = true
		e.past.incomplete[run] = state.completed
		e.past.last = max(e.past.last, run)
		over = append(over, name)
	}
	e.past.forgetOldest()
	what := "files whose content may not have reached the disk before are hashed again"
	if lazy {
		what, err = "all files are hashed again, since the file system is mounted with lazytime", clearPages(e.dir, names)
	}
	if down {
		e.report(errors.New("the machine went down while this directory was in use: " + what))
	} else if unread {
		e.report(errors.New("a run of the index cannot be read, and may be from before the machine went down: its files are hashed again"))
	}
	return over, err
}

// begin makes the file of the run. It is on disk before anything is recorded.
func (e *epochs) begin() error {
	var err error
	if e.file, err = create(e.dir, e.name); err != nil {
		return err
	}
	if err = tryFlock(e.file); err == nil {
		err = e.save(true)
	}
	if err == nil {
		err = syncNames(e.dir)
	}
	if err != nil {
		e.file.Close()
		return errors.Join(err, e.dir.Remove(e.name))
	}
	return nil
}

// stamp returns the epoch for a record. pending says that its content may not be on the disk yet.
func (e *epochs) stamp(pending bool) (run, number uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending = e.pending || pending
	return e.run, e.number
}

// trusts reports whether the content of a record of an epoch is on the disk. While the machine is up, the kernel
// answers for what it has yet to write: for this run, for those that began later, and for those that are over and
// were not ended by a power failure.
func (e *epochs) trusts(run, number uint32) bool { return e.past.trusts(run, number) }

// provesDates reports whether what a record of a run says of dates counts.
func (e *epochs) provesDates(run uint32) bool { return run >= e.past.undated }

// raise begins the next epoch, and returns the number of the one before.
func (e *epochs) raise() uint32 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.number++
	return e.number - 1
}

// complete has the epochs until now completed, if there is anything in them, beside what else goes on. sync returns
// when all that was written before is on the disk. If it does not return, nothing is completed any more; if it fails,
// a later call tries again.
func (e *epochs) complete(sync func() error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.syncing || e.closed || !e.pending && len(e.dead) == 0 {
		return
	}
	e.syncing, e.pending = true, false
	number := e.number
	e.number++
	dead := e.dead
	e.finished.Go(func() {
		err := sync()
		if err == nil {
			e.mu.Lock()
			e.completed = number
			e.mu.Unlock()
			err = e.save(true)
		}
		if err == nil {
			e.removeDead(dead)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.syncing = false
		if err == nil {
			e.dead = e.dead[len(dead):]
			return
		}
		e.pending = true
		if !e.closed && !errors.Is(err, errors.ErrUnsupported) {
			e.report(fmt.Errorf("writing to the disk what was hashed, without which a power failure costs more hashing: %w", err))
		}
	})
}

// removeDead removes the files of runs whose process is dead, and that have recorded nothing that is not on the disk
// by now.
func (e *epochs) removeDead(names []string) {
	for _, name := range names {
		if isAlive(e.dir, name) {
			continue // the index was deleted, and numbers are given again
		}
		_ = e.dir.RemoveAll(name) // one that stays is looked at again by the next run
	}
}

// set changes what the file of the run says. If synced, that is on the disk when set returns.
func (e *epochs) set(synced bool, change func(e *epochs) bool) error {
	e.mu.Lock()
	changed := !e.closed && change(e)
	e.mu.Unlock()
	if !changed {
		return nil
	}
	return e.save(synced)
}

// close ends the run. synced says that all that was recorded, by it and by dead runs, is on the disk.
func (e *epochs) close(synced bool) error {
	e.mu.Lock()
	e.closed = true
	dead := e.dead
	e.mu.Unlock()
	defer e.file.Close()
	if !synced {
		return nil // the file stays
	}
	e.removeDead(dead)
	if isOther(e.dir, e.name, e.file) {
		return nil // the index was deleted, as it may be
	}
	if err := e.dir.Remove(e.name); err != nil {
		if errors.Is(err, iofs.ErrNotExist) {
			return nil
		}
		return err
	}
	return syncNames(e.dir)
}

// isDeleted reports whether files were deleted that other runs must find, the one of this run above all: without it,
// nobody could tell after a power failure which of its records to trust.
func (e *epochs) isDeleted() bool {
	if isOther(e.dir, e.name, e.file) {
		return true
	}
	_, err := e.dir.Lstat(epochsName)
	return errors.Is(err, iofs.ErrNotExist)
}

// others tells of the other processes that use the index: how many there are, and whether one shows dates.
func (e *epochs) others() (n int, show bool) {
	names, err := namesIn(e.dir)
	show = err != nil // what cannot be listed may have one
	for _, name := range names {
		if _, ok := runOf(name); !ok || name == e.name || !isAlive(e.dir, name) {
			continue
		}
		n++
		state, err := readRun(e.dir, name)
		show = show || err != nil || state.shows
	}
	return n, show
}
