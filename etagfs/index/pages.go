package index

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"strconv"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// Pages are the files with the records. A page is a sparse file for 4,096 inodes, in which the record of each inode has
// its place. So a record is read from its place, and no page is loaded beforehand. The memory that pages take belongs
// to the kernel, which frees it when needed. If two processes write the same record, the last one wins. A record that
// was torn, cut off or damaged fails its checksum, and counts as absent. No page is synced: epochs tell which records
// to trust after a power failure.
type pages struct {
	dir    *os.Root
	id     uint64                         // of the index
	report func(kind string, about error) // reports each kind of error once

	mu   sync.Mutex
	open *lru.Cache[pageKey, *os.File]

	writing sync.RWMutex // held for reading by each write
	left    bool         // no more writes are made
}

type pageKey struct {
	prefix string // of the names of the volume's pages
	number uint64 // the first inode of the page, divided by inodesPerPage
}

const (
	pagePrefix    = "inodes-"
	inodesPerPage = 4096
	maxOpenPages  = 128 // file descriptors
)

func newPages(dir *os.Root, id uint64, report func(string, error)) *pages {
	p := &pages{dir: dir, id: id, report: report}
	p.open, _ = lru.NewWithEvict(maxOpenPages, func(_ pageKey, f *os.File) { f.Close() }) // fails for a size below one
	return p
}

var errDamaged = errors.New("the index is damaged in places: those files are hashed anew")

// read returns the record of the inode of a file.
func (p *pages) read(prefix string, seen vfs.Fingerprint) (entry, bool) {
	var b [recordSize]byte
	for range 2 { // another process may be writing the record
		n, err := p.at(prefix, seen.Inode, 0,
			func(page *os.File, offset int64) (int, error) { return page.ReadAt(b[:], offset) })
		if err != nil && !errors.Is(err, io.EOF) {
			if !errors.Is(err, iofs.ErrNotExist) {
				p.report("read", fmt.Errorf("reading the index, which costs some hashing: %w", err))
			}
			return entry{}, false
		}
		if e, ok := decode(b[:n], p.id, seen); ok {
			return e, true
		}
		if n == 0 || b == [recordSize]byte{} {
			return entry{}, false
		}
	}
	p.report("damage", errDamaged)
	return entry{}, false
}

// write writes a record to its place in a page.
func (p *pages) write(prefix string, e *entry) { p.put(prefix, e.of.Inode, e.encode(p.id)) }

// clear deletes the record of an inode.
func (p *pages) clear(prefix string, inode uint64) { p.put(prefix, inode, make([]byte, recordSize)) }

func (p *pages) put(prefix string, inode uint64, b []byte) {
	p.writing.RLock()
	defer p.writing.RUnlock()
	if p.left {
		return
	}
	_, err := p.at(prefix, inode, os.O_CREATE,
		func(page *os.File, offset int64) (int, error) { return page.WriteAt(b, offset) })
	if err != nil {
		p.report("write", fmt.Errorf("writing the index, which costs hashing after a restart: %w", err))
	}
}

// leave ends all writing.
func (p *pages) leave() {
	p.writing.Lock()
	p.left = true
	p.writing.Unlock()
	p.closeAll()
}

// closeAll closes the open pages, so that the index notices if one of them was deleted.
func (p *pages) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open.Purge()
}

// at calls do with the open page of an inode, and with the offset of its record.
func (p *pages) at(
	prefix string, inode uint64, flags int, do func(page *os.File, offset int64) (int, error),
) (n int, err error) {
	key, offset := pageKey{prefix, inode / inodesPerPage}, int64(inode%inodesPerPage)*recordSize
	for {
		page, err := p.page(key, flags)
		if err != nil {
			return 0, err
		}
		// The page may have been closed since, to make room for another.
		if n, err := do(page, offset); !errors.Is(err, os.ErrClosed) {
			return n, err
		}
	}
}

// page returns an open page. With os.O_CREATE in flags, it makes the page if there is none, or if the file that is
// there cannot be a page.
func (p *pages) page(key pageKey, flags int) (page *os.File, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if page, ok := p.open.Get(key); ok {
		return page, nil
	}
	name := key.prefix + pagePrefix + strconv.FormatUint(key.number, 16)
	if flags&os.O_CREATE != 0 {
		page, err = openRepaired(p.dir, name)
	} else if err = checkFile(p.dir, name); err == nil {
		page, err = p.dir.OpenFile(name, os.O_RDWR|noWait, 0)
	}
	if err == nil {
		p.open.Add(key, page)
	}
	return page, err
}
