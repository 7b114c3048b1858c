// Package index remembers what is known of the versions of files: their hashes, and which dates can have been shown for others.
//
// A [Record] is looked up by the full fingerprint of a version. It names an inode, not a path, so a tree that was moved keeps its
// records. Records are in pages on the disk, a pure cache that may be deleted at any time, with a bounded number of them in
// memory, where a look costs no system call. Several processes may use one directory. What a power failure makes untrue,
// [epochs] tell; which dates prove a version, [Dates].
//
// A device below the root that is not the root's (by a mount, as a subvolume, or as a file of an overlay) has pages of its own in
// that directory. What is mounted by itself can be pulled out while the machine stays up: of that only records are trusted
// whose content is on the disk for sure. In memory alone are the records of a file system that has no name, or does not number
// its inodes for good; and all records if there is no directory, or if nothing tells one boot of the machine from the next.
package index

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ifmatch/fs"
	"ifmatch/tree"
)

// Options configure an index.
type Options struct {
	Dir    string    // of the operating system; "": in memory only
	Device uint64    // of the served root
	Volume fs.Volume // of the served root
	Heir   fs.ID     // the owner of the served root, for whom root works
	Boot   string    // see [BootID]; "": in memory only
	// Sync returns when all that was written to the file system of a directory before, by any program, is on the disk. It fails if
	// the directory is not on that device. It may take long, or not return.
	Sync func(dir string, device uint64) error
	// LazyTimes reports whether time stamps can reach the disk long after the bytes that they go with (the mount option lazytime);
	// nil: they do not.
	LazyTimes func(dir string) bool
	Report    func(error)
}

// Interval is how often [Index.Tick] is to be called.
const Interval = 30 * time.Second

// syncEvery is how many ticks an epoch has.
const syncEvery = 2

// Hot records are those in memory. Each takes about 200 bytes.
const maxHot = 1 << 17

// maxUnsynced bounds how many records of a file system that is mounted by itself wait until their content is on the disk. More
// are not remembered after a restart.
const maxUnsynced = 1 << 16

// An Index is safe for concurrent use.
type Index struct {
	opts  Options
	above *os.Root // the directory that has the index's; nil where that cannot be opened
	name  string
	hot   *cache[inodeKey, hot]
	home  atomic.Pointer[home] // nil: in memory only
	ticks int

	unsaid atomic.Bool // that a record was corrected

	mu       sync.Mutex
	volumes  map[uint64]*volume // by device
	reported map[string]bool
}

type inodeKey struct{ device, inode uint64 }

// A hot record is one in memory, with the version that it is of.
type hot struct {
	of fs.Fingerprint
	Record
}

// A home is the open directory of an index. One that is deleted is left for another.
type home struct {
	dir       *os.Root
	epochs    *epochs
	pages     *pages
	board     *board
	corrected uint32 // as the board said when records in memory were forgotten last
	begun     bool   // there was no index before, or none that could be used
}

// A volume is what has a device.
type volume struct {
	kept     bool     // its records are, on disk
	prefix   string   // of its pages
	alone    bool     // it can be pulled out while the machine, and the root, stay
	at       string   // a directory on it
	unsynced []uint64 // inodes whose record is of content that may not be on the disk yet, if alone
	syncing  bool
}

// Open opens an index. What is damaged in its directory is made anew; where that does not help, the index is in memory only.
func Open(opts Options) *Index {
	x := &Index{opts: opts, hot: newCache[inodeKey, hot](maxHot, nil), volumes: map[uint64]*volume{}, reported: map[string]bool{}}
	if opts.Dir == "" || opts.Boot == "" {
		return x
	}
	if err := x.open(); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			opts.Report(fmt.Errorf("the index is kept in memory only, because its directory has no file locks: %w", err))
		} else {
			opts.Report(fmt.Errorf("the index in %s cannot be used, and ETags and dates are kept in memory only until the next start: "+
				"%s: %w", opts.Dir, cure(err), err))
		}
		return x
	}
	if opts.Volume.Numbered {
		x.volumes[opts.Device] = &volume{kept: true} // without a name: the directory is with it
	} else {
		opts.Report(errNotNumbered)
	}
	return x
}

var errNotNumbered = errors.New("the ETags of files are kept in memory only, and computed anew after each start: " +
	"on this file system (FUSE, FAT, SMB, or an image) other files can have the same numbers and times when it is mounted next")

// cure says what to do about an index that cannot be used.
func cure(err error) string {
	if errors.Is(err, errLocked) {
		return "end the process that holds it, and start anew"
	}
	return "delete it, or give it to the user that the server runs as"
}

func (x *Index) open() error {
	err := mkdirAll(x.opts.Dir)
	if info, failed := os.Lstat(x.opts.Dir); err != nil && failed == nil && !info.IsDir() && info.Mode()&iofs.ModeSymlink == 0 {
		// A link was made on purpose, and may lead to a disk that is not there today. A file was not.
		if err = os.Remove(x.opts.Dir); err == nil {
			err = mkdirAll(x.opts.Dir)
		}
		x.opts.Report(fmt.Errorf("%s was no directory, and is begun anew: all files are hashed again", x.opts.Dir))
	}
	if err != nil {
		return err
	}
	// Held open, so that nothing is written elsewhere should a link take its place.
	dir, err := os.OpenRoot(x.opts.Dir)
	if err != nil {
		return err
	}
	private, err := fs.CheckDir(x.opts.Dir, x.opts.Heir)
	if err == nil && !private {
		err = errors.New("its file system has no modes, and others can write to it")
	}
	var h *home
	if err == nil {
		h, err = x.openHome(dir, x.opts.Report)
	}
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	x.home.Store(h)
	x.name = filepath.Base(x.opts.Dir)
	// Held open too: where the path leads when the index is to be made anew may be another disk.
	x.above, err = os.OpenRoot(filepath.Dir(x.opts.Dir))
	if err != nil {
		x.above = nil // it can be made anew in its directory only
	}
	return nil
}

// openHome begins a run in a directory.
func (x *Index) openHome(dir *os.Root, report func(error)) (h *home, err error) {
	lock, err := openRepaired(dir, lockName)
	if err != nil {
		return nil, err
	}
	if err := lockFile(lock, openPatience); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	defer funlock(lock)
	h = &home{dir: dir}
	var whole bool
	if h.board, whole, err = openBoard(lock, x.opts.Boot); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if h.epochs, h.begun, err = openEpochs(dir, x.opts.Boot, x.isLazy(""), whole, report); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	n, _ := h.board.read()
	h.corrected = n.corrected
	if _, show := h.epochs.others(); n.broken && !show {
		err = h.board.mend() // that process is gone, and all that is known of dates is forgotten
		if err != nil {
			return nil, errors.Join(err, h.epochs.close(true), lock.Close())
		}
	}
	h.pages = newPages(dir, h.epochs.id, x.trouble)
	return h, nil
}

func (x *Index) isLazy(at string) bool { return x.opts.LazyTimes != nil && x.opts.LazyTimes(at) }

// Lookup returns what is known of exactly this version.
func (x *Index) Lookup(f fs.Fingerprint) (Record, bool) {
	if f.Inode == 0 {
		return Record{}, false
	}
	key := inodeKey{f.Device, f.Inode}
	if r, ok := x.hot.Get(key); ok && r.of == f {
		return r.Record, true
	}
	h, v := x.kept(f.Device)
	if h == nil {
		return Record{}, false
	}
	e, ok := h.pages.read(v.prefix, f)
	if !ok || e.of != f || e.Has&Synced == 0 && (v.alone || !h.epochs.trusts(e.run, e.number)) {
		return Record{}, false
	}
	if !h.epochs.provesDates(e.run) {
		e.Dates = Evidence{}
	}
	x.hot.Put(key, hot{f, e.Record})
	return e.Record, true
}

// Tag returns the tag of exactly this version, if it is known.
func (x *Index) Tag(f fs.Fingerprint) (tree.ETag, bool) {
	r, ok := x.Lookup(f)
	if !ok {
		return "", false
	}
	return r.Tag(), true
}

// Put remembers what is known of a version, in place of what was known of the inode before. The disk has it when Put returns, as far
// as other processes are concerned.
func (x *Index) Put(f fs.Fingerprint, r Record) {
	if f.Inode == 0 {
		return // the system tells too little to know it again
	}
	x.hot.Put(inodeKey{f.Device, f.Inode}, hot{f, r})
	h, v := x.kept(f.Device)
	if h == nil {
		return
	}
	e := entry{Record: r, of: f}
	e.run, e.number = h.epochs.stamp(r.Has&Synced == 0 && !v.alone)
	if v.alone && r.Has&Synced == 0 {
		x.wait(f)
	}
	h.pages.write(v.prefix, &e)
}

// wait notes that a record is of content that has to reach the disk before it is trusted.
func (x *Index) wait(f fs.Fingerprint) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if v := x.volumes[f.Device]; v != nil && len(v.unsynced) < maxUnsynced {
		v.unsynced = append(v.unsynced, f.Inode)
	}
}

// Forget drops what is known of a version, in all processes: the record was wrong.
func (x *Index) Forget(f fs.Fingerprint) {
	x.hot.Delete(inodeKey{f.Device, f.Inode})
	if h, v := x.kept(f.Device); h != nil {
		h.pages.clear(v.prefix, f.Inode)
	}
	x.Corrected()
}

// Corrected has other processes drop the records that they have in memory, with their next [Index.Tick], because one was found to
// be wrong.
func (x *Index) Corrected() {
	if h := x.home.Load(); h != nil {
		x.sayCorrected(h)
	}
}

func (x *Index) sayCorrected(h *home) {
	err := h.board.change(func(n *notice) bool { n.corrected++; return true })
	x.unsaid.Store(err != nil)
	if err != nil {
		x.trouble("board", fmt.Errorf("telling other servers of a wrong record, which is tried again: %w", err))
	}
}

// Clear drops all records.
func (x *Index) Clear() {
	x.hot.Clear()
	if h := x.home.Load(); h != nil {
		h.pages.closeAll()
		names, err := namesIn(h.dir)
		if err == nil {
			err = clearPages(h.dir, names)
		}
		if err != nil {
			x.trouble("clear", err)
		}
	}
}

// kept returns where the records of a device are kept; nil where they are in memory only.
func (x *Index) kept(device uint64) (*home, volume) {
	h := x.home.Load()
	if h == nil {
		return nil, volume{}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	v := x.volumes[device]
	if v == nil || !v.kept {
		return nil, volume{}
	}
	return h, *v
}

// Mounted tells on which volume a directory is that is not on the root's device, and whether that is mounted by itself. The
// kernel gives the device number of a volume that was unmounted to the next one.
func (x *Index) Mounted(device uint64, is fs.Volume, alone bool, dir string) {
	x.mu.Lock()
	known := x.volumes[device]
	x.mu.Unlock()
	found := volume{kept: is.Numbered && is.Name != "", prefix: is.Name + "-", alone: alone, at: dir}
	if known != nil && known.prefix == found.prefix && known.alone == alone && (known.kept || !found.kept) {
		return
	}
	found.kept = found.kept && (!alone || !x.isLazy(dir))
	x.mu.Lock()
	defer x.mu.Unlock()
	x.volumes[device] = &found
}

// Knows reports whether it was told which volume has a device.
func (x *Index) Knows(device uint64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.volumes[device] != nil || x.home.Load() == nil
}

// Persists reports whether the records of a device are kept on disk.
func (x *Index) Persists(device uint64) bool {
	h, _ := x.kept(device)
	return h != nil
}

// OnDisk reports whether anything is kept on disk.
func (x *Index) OnDisk() bool { return x.home.Load() != nil }

// Processes counts the processes that use the index on disk, this one included.
func (x *Index) Processes() int {
	h := x.home.Load()
	if h == nil {
		return 0
	}
	n, _ := h.epochs.others()
	return n + 1
}

// Tick looks after the index on disk: it finds out whether that was deleted, and then begins it anew, which it reports; and it
// has epochs completed. One Tick at a time.
func (x *Index) Tick() (anew bool) {
	h := x.home.Load()
	if h == nil {
		return false
	}
	if h.epochs.isDeleted() || isOther(h.dir, lockName, h.board.file) {
		return x.renew(h)
	}
	h.pages.closeAll()
	if x.unsaid.Load() {
		x.sayCorrected(h)
	}
	if n, ok := h.board.read(); ok && n.corrected != h.corrected {
		h.corrected = n.corrected
		x.hot.Clear()
	}
	lazy := x.isLazy("")
	err := h.epochs.set(true, func(e *epochs) bool {
		changed := lazy && !e.lazy
		e.lazy = e.lazy || lazy
		return changed
	})
	if err != nil {
		x.trouble("lazy", fmt.Errorf("noting in the index that the file system is mounted with lazytime: %w", err))
	}
	if x.ticks++; x.ticks%syncEvery == 0 {
		x.complete(h)
	}
	return false
}

// complete has the epochs until now completed, on each volume, beside what else goes on.
func (x *Index) complete(h *home) {
	h.epochs.complete(func() error { return x.opts.Sync("", x.opts.Device) })
	for device, v := range x.waiting() {
		number := h.epochs.raise()
		h.epochs.finished.Go(func() {
			err := x.opts.Sync(v.at, device)
			if err == nil {
				x.promote(h, device, v, number)
			}
			x.mu.Lock()
			defer x.mu.Unlock()
			if now := x.volumes[device]; now != nil && now.prefix == v.prefix {
				now.syncing = false
				if err != nil {
					now.unsynced = append(now.unsynced, v.unsynced[:min(len(v.unsynced), maxUnsynced-len(now.unsynced))]...)
				}
			}
		})
	}
}

// waiting returns the volumes with records that wait for the disk, and marks them as being synced.
func (x *Index) waiting() map[uint64]volume {
	x.mu.Lock()
	defer x.mu.Unlock()
	found := map[uint64]volume{}
	for device, v := range x.volumes {
		if len(v.unsynced) > 0 && !v.syncing {
			found[device] = *v
			v.unsynced, v.syncing = nil, true
		}
	}
	return found
}

// promote marks records as synced that were made in an epoch of this run, or before.
func (x *Index) promote(h *home, device uint64, v volume, number uint32) {
	slices.Sort(v.unsynced)
	for _, inode := range slices.Compact(v.unsynced) {
		if e, ok := h.pages.read(v.prefix, fs.Fingerprint{Device: device, Inode: inode}); ok && e.run == h.epochs.run && e.number <= number {
			e.Has |= Synced
			h.pages.write(v.prefix, &e)
		}
	}
}

// renew begins an index anew that was deleted while it was in use, or goes on in memory where it cannot. It reports whether it could.
func (x *Index) renew(old *home) bool {
	old.pages.leave()
	next, err := x.reopen(old)
	x.home.Store(next)
	x.hot.Clear()
	if err != nil {
		x.opts.Report(fmt.Errorf("the index was deleted while it was in use, and cannot be begun anew: "+
			"ETags are kept in memory only until the next start: %w", err))
	} else {
		x.opts.Report(errors.New("the index was deleted while it was in use, and is begun anew: all files are hashed again"))
	}
	_ = old.epochs.close(true) // most often its files are those that were deleted
	old.board.file.Close()
	if next == nil || next.dir != old.dir {
		old.dir.Close()
	}
	return err == nil
}

// reopen makes what was deleted: the files of the directory, or the directory itself.
func (x *Index) reopen(old *home) (*home, error) {
	silently := func(error) {} // the rest of a deleted index is no news
	next, err := x.openHome(old.dir, silently)
	if err == nil || x.above == nil {
		return next, err
	}
	made := x.above.Mkdir(x.name, 0o700)
	if made != nil && !errors.Is(made, iofs.ErrExist) {
		return nil, made
	}
	dir, err := x.above.OpenRoot(x.name)
	if err != nil {
		return nil, err
	}
	if made == nil {
		giveRoot(x.above, dir)
	}
	if next, err = x.openHome(dir, silently); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return next, nil
}

// Close ends the use of the index. It waits at most so long until all that was recorded is on the disk, which spares the next
// start some hashing should the machine go down before. No other method may be running, or be called any more.
func (x *Index) Close(patience time.Duration) error {
	h := x.home.Load()
	if h == nil {
		return nil
	}
	synced := x.syncAll(h, patience)
	h.pages.leave()
	err := errors.Join(h.epochs.close(synced), h.board.file.Close(), h.dir.Close())
	if x.above != nil {
		err = errors.Join(err, x.above.Close())
	}
	return err
}

// syncAll puts all that was recorded on the disk, on each volume by itself. It reports whether the root's is through in time.
func (x *Index) syncAll(h *home, patience time.Duration) bool {
	waiting := x.waiting()
	number := h.epochs.raise()
	root, others := make(chan error, 1), make(chan struct{})
	go func() { root <- x.opts.Sync("", x.opts.Device) }()
	go func() {
		defer close(others)
		var each sync.WaitGroup
		for device, v := range waiting {
			each.Go(func() {
				if x.opts.Sync(v.at, device) == nil {
					x.promote(h, device, v, number)
				}
			})
		}
		each.Wait()
	}()
	end := time.After(patience)
	synced := false
	select {
	case err := <-root:
		synced = err == nil
	case <-end:
		return false
	}
	select {
	case <-others:
	case <-end:
	}
	return synced
}

// trouble reports each kind of trouble once: it can come with every file.
func (x *Index) trouble(kind string, err error) {
	x.mu.Lock()
	known := x.reported[kind]
	x.reported[kind] = true
	x.mu.Unlock()
	if !known {
		x.opts.Report(err)
	}
}
