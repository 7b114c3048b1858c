package etagfs

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"ifmatch/fs"
	"ifmatch/tree"
)

// index remembers what is known of versions by their full fingerprint. It names inodes, not paths, so a moved tree keeps
// its records.
//
// It is a pure cache on disk, looked up and never loaded: the record of an inode has its place in a sparse file, 4096
// inodes to a file, where it is read and written by itself. What memory that takes is the kernel's, which gives it back
// when it is needed. Several processes may use one directory: of two that write one record the last wins, and a record
// that was torn, cut off or damaged fails its checksum and is not there. Nothing is synced; what of that a power failure
// makes untrue is for [boots] to say.
//
// What is below the root and has another device, by its mount, as a subvolume or as a file of an overlay, has its own files in
// that directory. What is mounted there can be pulled out while the machine stays up, so of that only versions are kept whose
// bytes are on the disk for sure. In memory is what is younger; and all of a file system that has no name, or does not number
// its inodes for good; and everything where there is no directory, or nothing tells one boot of the machine from the next.
type index struct {
	boots  *boots   // nil: in memory only, from the start
	above  *os.Root // what its directory is in; nil where that cannot be opened
	name   string
	device uint64 // of the served root
	report func(error)
	// forgotten is a date, in seconds since 1970, that is not before any that was noted in a directory that cannot be used.
	forgotten int64

	mu      sync.Mutex
	dir     *os.Root                      // nil: in memory only
	volumes map[uint64]volume             // by the device, where its records are kept on disk
	pages   *lru.Cache[pageKey, *os.File] // open files
	memory  *lru.Cache[inodeKey, record]
	told    map[string]bool // troubles that were reported
}

type inodeKey struct{ device, inode uint64 }

type volume struct {
	prefix string // of the names of its pages
	alone  bool   // it can be pulled out while the machine, and the root, stay
}

type pageKey struct {
	prefix string
	number uint64 // of its first inode, divided by inodesPerPage
}

const (
	pagePrefix    = "inodes-"
	inodesPerPage = 4096
	maxOpenPages  = 128     // file descriptors
	maxInMemory   = 1 << 16 // records, of about 300 bytes each
)

type indexOptions struct {
	dir    string // "": in memory only
	device uint64
	volume fs.Volume // of the served root
	heir   fs.ID     // the owner of the served root, whom root works for
	boot   string    // what the machine calls itself since it started; "": in memory only
	now    func() time.Time
	report func(error)
}

// openIndex opens an index. What is damaged in its directory is made anew; where that is of no help, it is kept in memory.
func openIndex(opts indexOptions) *index {
	x := &index{device: opts.device, report: opts.report, forgotten: never, volumes: map[uint64]volume{}, told: map[string]bool{}}
	x.memory, _ = lru.New[inodeKey, record](maxInMemory) // fails for a size below one
	x.pages, _ = lru.NewWithEvict(maxOpenPages, func(_ pageKey, f *os.File) { f.Close() })
	if opts.dir == "" || opts.boot == "" {
		return x
	}
	if err := x.open(opts); err != nil {
		x.forgotten = opts.now().Unix()
		if errors.Is(err, errors.ErrUnsupported) {
			opts.report(fmt.Errorf("the index is kept in memory only, because its directory has no file locks: %w", err))
		} else {
			opts.report(fmt.Errorf("the index in %s cannot be used, and ETags and dates are kept in memory only until the next start: "+
				"%s: %w", opts.dir, cure(err), err))
		}
		return x
	}
	if opts.volume.Numbered {
		x.volumes[x.device] = volume{} // whatever it is called: this directory is with it
	} else {
		opts.report(errNotNumbered)
	}
	return x
}

// cure says what to do about an index that cannot be used.
func cure(err error) string {
	if errors.Is(err, errHeld) {
		return "end the process that holds it, and start anew"
	}
	return "delete it, or give it to the user that the server runs as"
}

func (x *index) open(opts indexOptions) error {
	err := mkdirAll(opts.dir)
	if info, failed := os.Lstat(opts.dir); err != nil && failed == nil && !info.IsDir() && info.Mode()&iofs.ModeSymlink == 0 {
		// A link is somebody's wish, and may lead to a disk that is not there today; nobody wants a file here.
		if err = os.Remove(opts.dir); err == nil {
			err = mkdirAll(opts.dir)
		}
		opts.report(fmt.Errorf("%s was no directory, and is begun anew: all files are hashed again", opts.dir))
	}
	if err != nil {
		return err
	}
	// Held open, so that nothing is written elsewhere should a link take its place.
	dir, err := os.OpenRoot(opts.dir)
	if err != nil {
		return err
	}
	private, err := fs.CheckDir(opts.dir, opts.heir)
	if err == nil && !private {
		err = errors.New("its file system has no modes, and others can write to it")
	}
	var boots *boots
	if err == nil {
		boots, err = openBoots(dir, opts.boot, opts.now, opts.report)
	}
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	x.dir, x.boots, x.name = dir, boots, filepath.Base(opts.dir)
	// Held open too: where the path leads when it is to be made anew may be another disk.
	x.above, err = os.OpenRoot(filepath.Dir(opts.dir))
	if err != nil {
		x.above = nil // it can be made anew in its directory only
	}
	return nil
}

// renew begins an index anew that was deleted under us, or goes on in memory where it cannot. It reports whether it could.
func (x *index) renew() bool {
	dir, next, err := x.reopen()
	x.mu.Lock()
	old := x.dir
	if x.dir = dir; err != nil {
		clear(x.volumes)
	}
	x.pages.Purge()
	x.mu.Unlock()
	if err != nil {
		x.report(fmt.Errorf("the index was deleted while it was in use, and cannot be begun anew: "+
			"ETags are kept in memory only until the next start: %w", err))
		return false
	}
	x.boots.adopt(next)
	if old != dir {
		old.Close()
	}
	x.report(errors.New("the index was deleted while it was in use, and is begun anew: all files are hashed again"))
	return true
}

// reopen makes what was deleted: the files of the directory, or the directory itself.
func (x *index) reopen() (*os.Root, *boots, error) {
	silently := func(error) {} // what is left of it is no news
	next, err := openBoots(x.dir, x.boots.boot, x.boots.now, silently)
	if err == nil || x.above == nil {
		return x.dir, next, err
	}
	made := x.above.Mkdir(x.name, 0o700)
	if made != nil && !errors.Is(made, iofs.ErrExist) {
		return nil, nil, made
	}
	dir, err := x.above.OpenRoot(x.name)
	if err != nil {
		return nil, nil, err
	}
	if made == nil {
		giveRoot(x.above, dir)
	}
	if next, err = openBoots(dir, x.boots.boot, x.boots.now, silently); err != nil {
		return nil, nil, errors.Join(err, dir.Close())
	}
	return dir, next, nil
}

var errNotNumbered = errors.New("the ETags of files are kept in memory only, and computed anew after each start: " +
	"on this file system (FUSE, FAT, SMB, or an image) other files can have the same numbers and times when it is mounted next")

// meet tells what has a device now that is not the root's, and whether that is mounted by itself: the number of what was
// unmounted goes to what is mounted next.
func (x *index) meet(device uint64, is fs.Volume, alone bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if delete(x.volumes, device); x.dir != nil && is.Numbered && is.Name != "" {
		x.volumes[device] = volume{is.Name + "-", alone}
	}
}

func (x *index) volumeOf(device uint64) (v volume, kept bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	v, kept = x.volumes[device]
	return v, kept
}

func (x *index) keeps(device uint64) bool {
	_, kept := x.volumeOf(device)
	return kept
}

// close lets go of the directory. synced says that all that was written to the served files before is on disk.
func (x *index) close(synced bool) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.pages.Purge()
	if x.boots == nil {
		return nil
	}
	err := errors.Join(x.boots.close(synced), x.boots.dir.Close())
	if x.above != nil {
		err = errors.Join(err, x.above.Close())
	}
	return err
}

// known is what is remembered of a version.
type known struct {
	flags  knownFlags
	sha256 [32]byte
	sha1   [20]byte // with knowsSHA1
	md5    [16]byte // with knowsMD5
}

type knownFlags uint32

const (
	// isSynced: the content was on disk before the version was remembered.
	isSynced knownFlags = 1 << iota
	knowsSHA1
	knowsMD5
)

func (k known) tag() tree.ETag { return tree.TagOf(k.sha256) }

// knownBy returns what a tag tells.
func knownBy(tag tree.ETag) (k known) {
	base64.RawURLEncoding.Decode(k.sha256[:], []byte(tag[1:len(tag)-1]))
	return k
}

// get returns the tag of exactly this version, if it is known.
func (x *index) get(f fs.Fingerprint) (tree.ETag, bool) {
	k, ok := x.known(f)
	if !ok {
		return "", false
	}
	return k.tag(), true
}

// known returns what is known of exactly this version.
func (x *index) known(f fs.Fingerprint) (known, bool) {
	if f.Inode == 0 {
		return known{}, false
	}
	v, kept := x.volumeOf(f.Device)
	if !kept || v.alone {
		if r, ok := x.memory.Get(inodeKey{f.Device, f.Inode}); ok && r.of == f {
			if kept && x.isWritten(f) {
				x.put(f, r.known)
			}
			return r.known, true
		}
	}
	if !kept {
		return known{}, false
	}
	r, ok := x.read(v, f)
	if !ok || r.of != f || r.known.flags&isSynced == 0 && !x.boots.trusts(r.generation, f.Changed) {
		return known{}, false
	}
	return r.known, true
}

// put remembers what is known of a version, and forgets the one that had its inode before.
func (x *index) put(f fs.Fingerprint, k known) {
	if f.Inode == 0 {
		return // the system tells too little to know it again
	}
	v, kept := x.volumeOf(f.Device)
	if kept && v.alone && x.isWritten(f) {
		k.flags |= isSynced
	}
	key := inodeKey{f.Device, f.Inode}
	if !kept || v.alone && k.flags&isSynced == 0 {
		x.memory.Add(key, record{of: f, known: k})
		return
	}
	x.memory.Remove(key)
	if x.boots.record() {
		x.writeAt(v, f.Inode, record{of: f, known: k, generation: x.boots.current()}.encode())
	}
}

// isWritten reports whether a version is so old that the system has written it to the disk.
func (x *index) isWritten(f fs.Fingerprint) bool {
	return x.boots.now().Sub(time.Unix(0, f.Changed)) >= written
}

// forget drops what is known of a version.
func (x *index) forget(f fs.Fingerprint) {
	x.memory.Remove(inodeKey{f.Device, f.Inode})
	if v, kept := x.volumeOf(f.Device); kept {
		x.writeAt(v, f.Inode, make([]byte, recordSize))
	}
}

// beat is to be called every [heartbeat]. It reports whether the index was found deleted, and was begun anew.
func (x *index) beat() (anew bool) {
	if !x.onDisk() {
		return false
	}
	if x.boots.deleted() {
		return x.renew()
	}
	x.mu.Lock()
	x.pages.Purge() // so that one that was deleted by itself is missed
	x.mu.Unlock()
	x.boots.beatIfDue()
	return false
}

// onDisk reports whether anything is kept on disk.
func (x *index) onDisk() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.dir != nil
}

// A record on disk: a CRC-32C of the rest, the generation in which it was written, the fingerprint without the device,
// the digests, the flags, and 8 bytes to spare. Its size divides that of a page of memory, so none lies across two.
type record struct {
	of         fs.Fingerprint
	known      known
	generation uint32
}

const recordSize = 128

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (r record) encode() []byte {
	b := make([]byte, 4, recordSize)
	b = binary.LittleEndian.AppendUint32(b, r.generation)
	for _, v := range []uint64{r.of.Inode, uint64(r.of.Size), uint64(r.of.Born), uint64(r.of.Modified), uint64(r.of.Changed)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	b = append(append(append(b, r.known.sha256[:]...), r.known.sha1[:]...), r.known.md5[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(r.known.flags))
	b = b[:recordSize]
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}

// decode returns the record in b, as one of what is mounted where another version is; ok is false where there is none or it is
// damaged.
func decode(b []byte, other fs.Fingerprint) (r record, ok bool) {
	if len(b) != recordSize || binary.LittleEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return record{}, false
	}
	signed := func(at int) int64 { return int64(binary.LittleEndian.Uint64(b[at:])) }
	r.generation = binary.LittleEndian.Uint32(b[4:])
	r.of = fs.Fingerprint{
		Mount: other.Mount, Device: other.Device, Inode: binary.LittleEndian.Uint64(b[8:]),
		Size: signed(16), Born: signed(24), Modified: signed(32), Changed: signed(40),
	}
	copy(r.known.sha256[:], b[48:])
	copy(r.known.sha1[:], b[80:])
	copy(r.known.md5[:], b[100:])
	r.known.flags = knownFlags(binary.LittleEndian.Uint32(b[116:]))
	return r, true
}

var errDamaged = errors.New("the index is damaged in places: those files are hashed anew")

// read returns the record in the place of an inode.
func (x *index) read(v volume, f fs.Fingerprint) (record, bool) {
	b := make([]byte, recordSize)
	// Twice, because somebody may be writing it.
	for range 2 {
		n, err := x.at(v, f.Inode, 0, func(page *os.File, offset int64) (int, error) { return page.ReadAt(b, offset) })
		if err != nil && !errors.Is(err, io.EOF) {
			if !errors.Is(err, iofs.ErrNotExist) {
				x.trouble("read", fmt.Errorf("reading the index, which costs some hashing: %w", err))
			}
			return record{}, false
		}
		if r, ok := decode(b[:n], f); ok {
			return r, true
		}
		if n == 0 || [recordSize]byte(b) == [recordSize]byte{} {
			return record{}, false
		}
	}
	x.trouble("damage", errDamaged)
	return record{}, false
}

func (x *index) writeAt(v volume, inode uint64, b []byte) {
	_, err := x.at(v, inode, os.O_CREATE, func(page *os.File, offset int64) (int, error) { return page.WriteAt(b, offset) })
	if err != nil {
		x.trouble("write", fmt.Errorf("writing the index, which costs hashing after a restart: %w", err))
	}
}

// at calls do with the open page of an inode, and the offset of its record.
func (x *index) at(v volume, inode uint64, flags int, do func(page *os.File, offset int64) (int, error)) (n int, err error) {
	key, offset := pageKey{v.prefix, inode / inodesPerPage}, int64(inode%inodesPerPage)*recordSize
	for {
		page, err := x.page(key, flags)
		if err != nil {
			return 0, err
		}
		// It may have been closed to make room since.
		if n, err := do(page, offset); !errors.Is(err, os.ErrClosed) {
			return n, err
		}
	}
}

func (x *index) page(key pageKey, flags int) (*os.File, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if page, ok := x.pages.Get(key); ok {
		return page, nil
	}
	page, err := x.openPage(key.prefix+pagePrefix+strconv.FormatUint(key.number, 16), flags)
	if err == nil {
		x.pages.Add(key, page)
	}
	return page, err
}

// openPage opens a page; to be made where it is not there, or cannot be one, if flags have os.O_CREATE.
func (x *index) openPage(name string, flags int) (*os.File, error) {
	if x.dir == nil {
		return nil, iofs.ErrNotExist // since a moment ago
	}
	if flags&os.O_CREATE != 0 {
		page, _, err := openRepaired(x.dir, name)
		return page, err
	}
	if err := isFile(x.dir, name); err != nil {
		return nil, err
	}
	return x.dir.OpenFile(name, os.O_RDWR|noWait, 0)
}

// trouble reports each kind of trouble once: it can come with every file.
func (x *index) trouble(kind string, err error) {
	x.mu.Lock()
	told := x.told[kind]
	x.told[kind] = true
	x.mu.Unlock()
	if !told {
		x.report(err)
	}
}
