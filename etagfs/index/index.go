// Package index keeps the hashes of versions of files, and the dates that other versions of the same name can have been
// shown with.
//
// A [Record] is looked up by the full fingerprint of a version. It names an inode, not a path, so a tree that was moved
// keeps its records. The records are in pages on the disk, which are a pure cache and may be deleted at any time. A
// bounded number of records is also in memory, where a look-up costs no system call. Several processes may use one
// directory. [epochs] tell which records a power failure has made untrue. [Dates] tell which dates prove a version.
//
// A device below the root that is not the root's device has pages of its own in that directory. It is there by a mount,
// as a subvolume, or as a file of an overlay. A volume that is mounted by itself can be pulled out while the machine
// stays up. So of its records only those are trusted whose content is on the disk for sure. Some records are in memory
// only: those of a file system that has no name, and those of a file system that does not keep its inode numbers. All
// records are in memory only if there is no directory, or if the system does not tell one boot of the machine from the
// next.
package index

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Options configure an index.
type Options struct {
	Dir    string     // a path of the operating system. "": in memory only
	Device uint64     // of the served root
	Volume vfs.Volume // of the served root
	Heir   vfs.ID     // the owner of the served root, on whose behalf root works
	Boot   string     // see [BootID]. "": in memory only
	// Sync returns when all data that any program has written before to the file system of a directory is on the disk.
	// It fails if the directory is not on that device. It may take long, or not return.
	Sync func(dir string, device uint64) error
	// LazyTimes reports whether time stamps can reach the disk long after the bytes that they go with (the mount option
	// lazytime). nil: they cannot.
	LazyTimes func(dir string) bool
	Report    func(error)
	// Memory bounds the records and the bodies in memory, in bytes (0: [DefaultMemory]; negative: no bodies, and few
	// records).
	Memory int64
}

// DefaultMemory is the default of [Options.Memory].
const DefaultMemory = 64 << 20

// Interval is how often [Index.Tick] has to be called.
const Interval = 30 * time.Second

// syncEvery is how many ticks an epoch takes.
const syncEvery = 2

// Two fifths of the memory are for the hot records, which are the records in memory. Each takes about 200 bytes.
const (
	hotSize  = 200
	leastHot = 1 << 12
)

// maxUnsynced bounds how many records of a volume that is mounted by itself wait until their content is on the disk.
// Further records are not known after a restart.
const maxUnsynced = 1 << 16

// An Index is safe for concurrent use.
type Index struct {
	opts  Options
	above *os.Root // the parent of the index's directory. nil: it cannot be opened
	name  string
	hot   *cache[inodeKey, hot]
	// bodies are dropped where records are found to be wrong, as hot records are.
	bodies *bodies
	home   atomic.Pointer[home] // nil: in memory only
	ticks  int

	lookups lookups
	unsaid  atomic.Bool // other processes were not told that a record was corrected

	writing [writingLocks]sync.Mutex // one for each inode, see lock

	mu       sync.Mutex
	volumes  map[uint64]*volume // by device
	reported map[string]bool
}

// writingLocks is how many locks there are for changes of records. Inodes share them.
const writingLocks = 64

type inodeKey struct{ device, inode uint64 }

// A hot record is a record in memory, with the fingerprint of its version.
type hot struct {
	of vfs.Fingerprint
	Record
	plain bool // see [Index.Plain]
	read  bool // see [Index.WantsBody]
}

// Open opens an index. It makes damaged files in the directory of the index anew. If that does not help, the index is
// in memory only.
func Open(opts Options) *Index {
	x := &Index{opts: opts, volumes: map[uint64]*volume{}, reported: map[string]bool{}}
	memory := max(0, cmp.Or(opts.Memory, DefaultMemory))
	x.hot = newCache[inodeKey, hot](int(max(leastHot, memory/5*2/hotSize)), nil)
	x.bodies = newBodies(memory / 5 * 3)
	if opts.Dir == "" || opts.Boot == "" {
		return x
	}
	if err := x.open(); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			opts.Report(fmt.Errorf("the index is kept in memory only, because its directory has no file locks: %w",
				err))
		} else {
			opts.Report(fmt.Errorf("the index in %s cannot be used, and ETags and dates are kept in memory only "+
				"until the next start: %s: %w", opts.Dir, cure(err), err))
		}
		return x
	}
	if opts.Volume.Numbered {
		x.volumes[opts.Device] = &volume{kept: true} // without a name: the directory of the index is on this volume
	} else {
		opts.Report(errors.New("the ETags of files are kept in memory only, and computed anew after each start: on " +
			"this file system (FUSE, FAT, SMB, or an image) other files can have the same numbers and times when it is " +
			"mounted next"))
	}
	return x
}

func (x *Index) isLazy(at string) bool { return x.opts.LazyTimes != nil && x.opts.LazyTimes(at) }

// Lookup returns the record of exactly this version.
func (x *Index) Lookup(f vfs.Fingerprint) (Record, bool) {
	if f.Inode == 0 {
		return Record{}, false
	}
	key := inodeKey{f.Device, f.Inode}
	before, known := x.hot.Get(key)
	if known && before.of == f {
		x.lookups.memory.Add(1)
		return before.Record, true
	}
	h, v := x.kept(f.Device)
	if h == nil {
		x.lookups.missing.Add(1)
		return Record{}, false
	}
	e, ok := h.pages.read(v.prefix, f)
	if !ok || e.of != f || e.Has&Synced == 0 && (v.alone || !h.epochs.past.trusts(e.run, e.number)) {
		x.lookups.missing.Add(1)
		return Record{}, false
	}
	x.lookups.disk.Add(1)
	if e.run < h.epochs.past.undated {
		e.Dates = Evidence{}
	}
	// Another goroutine may have put a newer record of the inode since this one was read from the disk.
	x.hot.Update(key, func(now hot, inMemory bool) (hot, bool) {
		return hot{of: f, Record: e.Record}, inMemory == known && now.of == before.of
	})
	return e.Record, true
}

// Tag returns the tag of exactly this version, if it is known.
func (x *Index) Tag(f vfs.Fingerprint) (tree.ETag, bool) {
	r, ok := x.Lookup(f)
	if !ok {
		return "", false
	}
	return r.Tag(), true
}

// Plain reports whether [Index.SetPlain] was called for exactly this version.
func (x *Index) Plain(f vfs.Fingerprint) bool {
	r, ok := x.hot.Get(inodeKey{f.Device, f.Inode})
	return ok && r.of == f && r.plain && f.Inode != 0
}

// SetPlain notes, in memory only, that a version has no WebDAV properties. It does nothing for a version without a
// record in memory.
func (x *Index) SetPlain(f vfs.Fingerprint) {
	x.hot.Update(inodeKey{f.Device, f.Inode}, func(r hot, ok bool) (hot, bool) {
		r.plain = true
		return r, ok && r.of == f
	})
}

// Put keeps the record of a version, in place of the earlier record of the inode. When Put returns, other processes
// find the record on the disk.
func (x *Index) Put(f vfs.Fingerprint, r Record) {
	if f.Inode == 0 {
		return // the system tells too little to recognise the version later
	}
	defer x.lock(f)()
	x.put(f, r)
}

// A Mark is the state of the record of an inode at one instant. See [Index.Learn].
type Mark struct {
	of    vfs.Fingerprint // of the record in memory, or zero if there is none
	asked bool
}

// Mark returns a mark for the inode of a file. A caller takes it before it looks at the version that it hashes. asked
// says that the caller has just looked the version up, and that it has no record: Learn does not look again then.
func (x *Index) Mark(f vfs.Fingerprint, asked bool) Mark {
	r, _ := x.hot.Get(inodeKey{f.Device, f.Inode})
	return Mark{r.of, asked}
}

// Learn is [Index.Put] for a record that was found out by reading a file. Learn does nothing if the inode has got
// another record since the mark: a commit has renamed the file meanwhile, its record is of a later look, and has
// evidence about dates too.
func (x *Index) Learn(f vfs.Fingerprint, r Record, since Mark) {
	if f.Inode == 0 {
		return
	}
	defer x.lock(f)()
	now, ok := x.hot.Get(inodeKey{f.Device, f.Inode})
	if ok && (now.of != since.of || since.asked && now.of == f) {
		return
	}
	if !since.asked {
		if known, ok := x.Lookup(f); ok && known.SHA256 == r.SHA256 {
			return // the record that is known says more
		}
	}
	x.put(f, r)
}

// Extend changes the record of exactly this version, if there is one. change reports whether it has changed the record.
func (x *Index) Extend(f vfs.Fingerprint, change func(r *Record) bool) {
	if f.Inode == 0 {
		return
	}
	defer x.lock(f)()
	if r, ok := x.Lookup(f); ok && change(&r) {
		x.put(f, r)
	}
}

// lock keeps the record of an inode from being changed by another goroutine, in memory and on the disk.
func (x *Index) lock(f vfs.Fingerprint) (unlock func()) {
	mu := &x.writing[(f.Inode^f.Device)%writingLocks]
	mu.Lock()
	return mu.Unlock
}

// put is Put. The lock of the inode must be held.
func (x *Index) put(f vfs.Fingerprint, r Record) {
	x.hot.Put(inodeKey{f.Device, f.Inode}, hot{of: f, Record: r})
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

// Forget deletes the record of a version, in all processes, because the record was wrong.
func (x *Index) Forget(f vfs.Fingerprint) {
	unlock := x.lock(f)
	x.hot.Delete(inodeKey{f.Device, f.Inode})
	x.bodies.drop(inodeKey{f.Device, f.Inode})
	if h, v := x.kept(f.Device); h != nil {
		h.pages.clear(v.prefix, f.Inode)
	}
	unlock()
	x.Corrected()
}

// Corrected has other processes drop the records that they have in memory, with their next [Index.Tick], because a
// record was found to be wrong.
func (x *Index) Corrected() {
	h := x.home.Load()
	if h == nil {
		return
	}
	err := h.shared.change(func(n *sharedState) bool { n.corrected++; return true })
	x.unsaid.Store(err != nil)
	if err != nil {
		x.trouble("shared", fmt.Errorf("telling other servers of a wrong record, which is tried again: %w", err))
	}
}

// Clear deletes all records.
func (x *Index) Clear() {
	x.hot.Clear()
	x.bodies.clear()
	if h := x.home.Load(); h != nil {
		h.pages.closeAll()
		if _, err := clearAll(h.dir, isPage); err != nil {
			x.trouble("clear", err)
		}
	}
}

// OnDisk reports whether any records are kept on disk.
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

// Tick maintains the index on disk. If the index was deleted, Tick begins it anew, and reports so. It also has epochs
// completed. Only one Tick may run at a time.
func (x *Index) Tick() (anew bool) {
	h := x.home.Load()
	if h == nil {
		return false
	}
	if h.epochs.isDeleted() || isOther(h.dir, lockName, h.shared.file) {
		return x.renew(h)
	}
	h.pages.closeAll()
	if x.unsaid.Load() {
		x.Corrected()
	}
	if n, ok := h.shared.read(); ok && n.corrected != h.corrected {
		h.corrected = n.corrected
		x.hot.Clear()
		x.bodies.clear()
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

// Close ends the use of the index. It waits until the content of all records is on the disk, but no longer than
// patience. That spares the next start some hashing if the machine goes down before. No other method may be running, or
// be called any more.
func (x *Index) Close(patience time.Duration) error {
	h := x.home.Load()
	if h == nil {
		return nil
	}
	synced := x.syncAll(h, patience)
	h.pages.leave()
	err := errors.Join(h.epochs.close(synced), h.shared.file.Close(), h.dir.Close())
	if x.above != nil {
		err = errors.Join(err, x.above.Close())
	}
	return err
}

// trouble reports each kind of trouble once, because it can come with every file.
func (x *Index) trouble(kind string, err error) {
	x.mu.Lock()
	known := x.reported[kind]
	x.reported[kind] = true
	x.mu.Unlock()
	if !known {
		x.opts.Report(err)
	}
}
