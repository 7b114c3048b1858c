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

// Epochs tell which records a power failure may have made untrue. After a power failure, a file can have the size and
// the times of a change whose bytes never reached the disk.
//
// A run is one process that uses the index, and has a number. While it runs, it counts epochs. At the end of an epoch,
// it raises the number of the epoch, then has the kernel write all waiting data to the disk (syncfs), and then notes
// the number before as completed, synced. A record names the run and the epoch in which it was made. The content that
// it describes was written before that epoch was completed. No clock is needed for this.
//
// Each run has a file, which is locked as long as the process lives. The file has the boot of the machine in which the
// run began, and the number of the last epoch that the run has completed. A process that stops in order has the kernel
// write everything, and removes its file. A process that is killed leaves its file, which does no harm as long as the
// machine stays up: the next epoch of any process completes the epochs before, and the file is removed. But a file from
// another boot says that the machine went down. Of such a run, only two kinds of records are trusted: those of
// completed epochs, and those of content that was synced when it was recorded.
type epochs struct {
	dir    *os.Root
	boot   string
	report func(error)

	id   uint64 // of the index
	run  uint32
	past past // the past when this run began

	name string
	file *os.File

	saving sync.Mutex // held by a goroutine that writes the file

	mu        sync.Mutex // never held during a system call
	number    uint32
	completed uint32
	pending   bool     // this epoch has records of content that the kernel may still have to write
	syncing   bool     // the epochs before are being completed
	closed    bool     // the run is over
	lazy      bool     // the file system may write bytes long before their time stamps
	shows     bool     // the process shows dates to clients
	unclean   bool     // a run before was not stopped in order
	dead      []string // files of processes that were killed in this boot
	finished  sync.WaitGroup
}

const (
	epochsName  = "epochs"
	lockName    = "lock"
	runPrefix   = "run-"
	epochsMagic = "ifmatch index 3\n"

	// maxIncomplete bounds how many runs that a power failure has ended are remembered.
	maxIncomplete = 1000
)

// openEpochs begins a run. The caller has locked the index. dated says that the shared state belongs to
// the runs before. Otherwise the records of those runs prove no dates any more.
func openEpochs(dir *os.Root, boot string, lazy, dated bool, report func(error)) (*epochs, error) {
	e := &epochs{dir: dir, boot: boot, lazy: lazy, report: report, number: 1}
	begun, err := e.read()
	if err != nil {
		return nil, err
	}
	over, err := e.settle()
	if err != nil {
		return nil, err
	}
	e.past.last++
	e.run = e.past.last
	if !dated {
		e.past.undated = e.run
		if !begun {
			e.report(errors.New("the shared state of the index was lost, and is begun anew: dates until now prove " +
				"nothing"))
		}
	}
	e.name = runPrefix + strconv.FormatUint(uint64(e.run), 10)
	if err := writeSealed(dir, epochsName, encodePast(e.id, e.past)); err != nil {
		return nil, err
	}
	for _, name := range over {
		if err := dir.RemoveAll(name); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return nil, err
		}
	}
	return e, e.begin()
}

// read reads the past of the index. If there is no index yet, or none that can be used, read begins one.
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
	cleared, err := clearAll(e.dir, func(name string) bool { return name != lockName })
	if err != nil {
		return false, fmt.Errorf("clearing an index that cannot be used: %w", err)
	}
	if cleared {
		e.report(errors.New("the index is of another version or damaged, and is begun anew: all files are hashed " +
			"again"))
	}
	return true, nil
}

// settle looks at the runs whose process has died. If the machine went down since, it notes which epochs they have
// completed. It returns the files of these runs, which are not needed any more once the note is on the disk.
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
			unread = true // the file may be of another boot
		}
		e.unclean = true
		e.past.incomplete[run] = state.completed
		e.past.last = max(e.past.last, run)
		over = append(over, name)
	}
	e.past.forgetOldest()
	what := "files whose content may not have reached the disk before are hashed again"
	if lazy {
		what = "all files are hashed again, since the file system is mounted with lazytime"
		_, err = clearAll(e.dir, isPage)
	}
	if down {
		e.report(errors.New("the machine went down while this directory was in use: " + what))
	} else if unread {
		e.report(errors.New("a run of the index cannot be read, and may be from before the machine went down: its " +
			"files are hashed again"))
	}
	return over, err
}

// begin makes the file of the run. The file is on the disk before any record is made.
func (e *epochs) begin() (err error) {
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
		funlock(e.file)
		e.file.Close()
		return errors.Join(err, e.dir.Remove(e.name))
	}
	return nil
}

// stamp returns the epoch for a record. pending says that the content of the record may not be on the disk yet.
func (e *epochs) stamp(pending bool) (run, number uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending = e.pending || pending
	return e.run, e.number
}

// raise begins the next epoch, and returns the number of the epoch before.
func (e *epochs) raise() uint32 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.number++
	return e.number - 1
}

// complete has the epochs until now completed, if they have any pending records, in a goroutine of its own. sync
// returns when all data that was written before is on the disk. If sync does not return, no epoch is completed any
// more. If it fails, a later call tries again.
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
			e.report(fmt.Errorf("writing to the disk what was hashed, without which a power failure costs more "+
				"hashing: %w", err))
		}
	})
}

// removeDead removes the files of runs whose process is dead, and whose records are all of content that is on the disk
// by now.
func (e *epochs) removeDead(names []string) {
	for _, name := range names {
		if isAlive(e.dir, name) {
			continue // the index was deleted, and run numbers are given again
		}
		_ = e.dir.RemoveAll(name) // the next run looks again at a file that stays
	}
}

// set changes the content of the run's file. If synced, the new content is on the disk when set returns.
func (e *epochs) set(synced bool, change func(e *epochs) bool) error {
	e.mu.Lock()
	changed := !e.closed && change(e)
	e.mu.Unlock()
	if !changed {
		return nil
	}
	return e.save(synced)
}

// close ends the run. synced says that the content of all records, of this run and of dead runs, is on the disk.
func (e *epochs) close(synced bool) error {
	e.mu.Lock()
	e.closed = true
	dead := e.dead
	e.mu.Unlock()
	defer func() {
		funlock(e.file) // a child process that is being started may have a copy of the descriptor, which keeps the lock
		e.file.Close()
	}()
	if !synced {
		return nil // the file stays
	}
	e.removeDead(dead)
	if isOther(e.dir, e.name, e.file) {
		return nil // the index was deleted, which is allowed
	}
	if err := e.dir.Remove(e.name); errors.Is(err, iofs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return syncNames(e.dir)
}

// isDeleted reports whether files were deleted that other runs must find. The most important one is the file of this
// run. Without it, no later run could tell after a power failure which records of this run to trust.
func (e *epochs) isDeleted() bool {
	if isOther(e.dir, e.name, e.file) {
		return true
	}
	_, err := e.dir.Lstat(epochsName)
	return errors.Is(err, iofs.ErrNotExist)
}

// others looks at the other processes that use the index. It returns their number, and whether one of them shows dates.
func (e *epochs) others() (n int, show bool) {
	names, err := namesIn(e.dir)
	show = err != nil // a directory that cannot be listed may have such a run
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
