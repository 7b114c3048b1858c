package etagfs

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	iofs "io/fs"
	"os"
	"sync"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"

	"ifmatch/fs"
	"ifmatch/tree"
)

// index remembers the tags of versions by their full fingerprint. It names inodes, not paths, so a moved tree keeps
// its entries; 256 neighbouring inodes share a page, and a page is a small file of the index directory, read when one
// of them is first asked for and written when nobody is busy.
//
// It is a pure cache. A page is written by rename and carries a checksum; one that cannot be read is not there. A page
// also carries the boot it was written in and is used in no other: after a power failure a fingerprint can prove bytes
// that never reached the disk.
type index struct {
	dir    *os.Root // nil: in memory only
	boot   string
	device uint64 // of the served root; pages of other mounts below it stay in memory
	report func(error)
	dirty  func() // called when there is something to write

	mu    sync.Mutex
	pages *lru.Cache[pageKey, *page]
}

type pageKey struct{ device, number uint64 }

type page struct {
	entries map[uint64]entry // by inode
	dirty   bool
}

type entry struct {
	fs.Fingerprint
	tag tree.ETag
}

const (
	inodesPerPage = 256
	maxPages      = 4096 // in memory, of up to 30 KiB each
)

func openIndex(dir string, device uint64, dirty func(), report func(error)) (*index, error) {
	x := &index{device: device, dirty: dirty, report: report}
	var err error
	x.pages, err = lru.NewWithEvict(maxPages, func(key pageKey, p *page) { x.write(key, p) })
	if err != nil || dir == "" {
		return x, err
	}
	if x.boot = bootID(); x.boot == "" {
		return x, nil // nothing here tells one boot from the next
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the index directory: %w", err)
	}
	// Held open, so that nothing is written elsewhere should a link take its place.
	if x.dir, err = os.OpenRoot(dir); err != nil {
		return nil, fmt.Errorf("opening the index directory: %w", err)
	}
	return x, nil
}

func keyOf(f fs.Fingerprint) pageKey { return pageKey{f.Device, f.Inode / inodesPerPage} }

// get returns the tag of exactly this version, if it is known.
func (x *index) get(f fs.Fingerprint) (tree.ETag, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e, ok := x.page(f).entries[f.Inode]
	if !ok || e.Fingerprint != f {
		return "", false
	}
	return e.tag, true
}

// put remembers the tag of a version and forgets that of the one before it.
func (x *index) put(f fs.Fingerprint, tag tree.ETag) {
	if f.Inode == 0 {
		return // the system tells too little to know it again
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.page(f)
	p.entries[f.Inode] = entry{f, tag}
	x.touch(p)
}

// touch notes that a page has changed. mu must be held.
func (x *index) touch(p *page) {
	if !p.dirty {
		p.dirty = true
		x.dirty()
	}
}

// drop forgets what is known of a file, whichever version.
func (x *index) drop(f fs.Fingerprint) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.page(f)
	delete(p.entries, f.Inode)
	x.touch(p)
}

// clear forgets everything.
func (x *index) clear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range x.pages.Values() {
		p.dirty = false
	}
	x.pages.Purge()
	if x.dir == nil {
		return
	}
	if err := removeMembers(x.dir); err != nil {
		x.report(fmt.Errorf("clearing the index: %w", err))
	}
}

func removeMembers(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	for _, name := range names {
		if failed := dir.Remove(name); !errors.Is(failed, iofs.ErrNotExist) {
			err = errors.Join(err, failed)
		}
	}
	return err
}

// close writes what has changed and lets go of the directory.
func (x *index) close() {
	x.flush()
	if x.dir != nil {
		x.dir.Close()
	}
}

// flush writes what has changed.
func (x *index) flush() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, key := range x.pages.Keys() {
		if p, ok := x.pages.Peek(key); ok {
			x.write(key, p)
		}
	}
}

// page returns the page of a file, from memory or disk, or a new one. mu must be held.
func (x *index) page(f fs.Fingerprint) *page {
	key := keyOf(f)
	if p, ok := x.pages.Get(key); ok {
		return p
	}
	p := &page{entries: map[uint64]entry{}}
	if x.onDisk(key) {
		data, err := x.dir.ReadFile(fileOf(key))
		if err == nil {
			err = p.decode(data, x.boot, x.device)
		}
		if err != nil && !errors.Is(err, iofs.ErrNotExist) {
			clear(p.entries)
			x.report(fmt.Errorf("reading the index, which costs some hashing: %w", err))
		}
	}
	x.pages.Add(key, p)
	return p
}

func (x *index) onDisk(key pageKey) bool { return x.dir != nil && key.device == x.device }

func fileOf(key pageKey) string { return fmt.Sprintf("%x", key.number) }

// write writes a page if it has changed. mu must be held.
func (x *index) write(key pageKey, p *page) {
	if !p.dirty || !x.onDisk(key) {
		return
	}
	p.dirty = false
	if err := replaceFile(x.dir, fileOf(key), p.encode(x.boot)); err != nil {
		x.report(fmt.Errorf("writing the index, which costs hashing after a restart: %w", err))
	}
}

// replaceFile writes a file by rename. It syncs nothing: what is lost with the power is only a cache.
func replaceFile(dir *os.Root, name string, data []byte) error {
	staged := name + "." + uuid.NewString()
	err := dir.WriteFile(staged, data, 0o600)
	if err == nil {
		err = dir.Rename(staged, name)
	}
	if err != nil {
		err = errors.Join(err, dir.Remove(staged))
	}
	return err
}

// A page on disk: a line of magic, a line with the boot, the records, and a CRC-32C of all that.
const pageMagic = "ifmatch index 1\n"

type record struct {
	Inode                         uint64
	Size, Born, Modified, Changed int64
	Sum                           [32]byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (p *page) encode(boot string) []byte {
	var b bytes.Buffer
	b.WriteString(pageMagic + boot + "\n")
	for _, e := range p.entries {
		r := record{Inode: e.Inode, Size: e.Size, Born: e.Born, Modified: e.Modified, Changed: e.Changed}
		base64.RawURLEncoding.Decode(r.Sum[:], []byte(e.tag[1:len(e.tag)-1]))
		binary.Write(&b, binary.LittleEndian, r) // a Buffer does not fail
	}
	return seal(b.Bytes())
}

// seal appends the checksum.
func seal(data []byte) []byte {
	return binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
}

var errDamaged = errors.New("a page is damaged")

// decode fills a page; one of another boot counts as empty.
func (p *page) decode(data []byte, boot string, device uint64) error {
	if len(data) < crc32.Size {
		return errDamaged
	}
	data, sum := data[:len(data)-crc32.Size], data[len(data)-crc32.Size:]
	if crc32.Checksum(data, castagnoli) != binary.LittleEndian.Uint32(sum) {
		return errDamaged
	}
	data, ok := bytes.CutPrefix(data, []byte(pageMagic+boot+"\n"))
	if !ok {
		return nil
	}
	for b := bytes.NewReader(data); b.Len() > 0; {
		var r record
		if err := binary.Read(b, binary.LittleEndian, &r); err != nil {
			return errDamaged
		}
		p.entries[r.Inode] = entry{fs.Fingerprint{
			Device: device, Inode: r.Inode, Size: r.Size, Born: r.Born, Modified: r.Modified, Changed: r.Changed,
		}, tree.TagOf(r.Sum)}
	}
	return nil
}
