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

	"ifmatch/fs"
)

// Pages are the files with the records. A record is looked up in its place, and never loaded before it is asked for:
// the record of an inode has its place in a sparse file, of 4,096 inodes each. The memory that pages take is the
// kernel's, which gives it back when it is needed. Of two processes that write one record, the last wins. A record
// that was torn, cut off or damaged fails its checksum, and counts as absent. Nothing is synced: which records to
// trust after a power failure, epochs say.
type pages struct {
	dir    *os.Root
	id     uint64                         // of the index
	report func(kind string, about error) // once for each kind

	mu   sync.Mutex
	open *lru.Cache[pageKey, *os.File]

	writing sync.RWMutex // held for reading by each write
	left    bool         // no write happens any more
}

type pageKey struct {
	prefix string // of the names of the pages of a volume
	number uint64 // of its first inode, divided by inodesPerPage
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

// read returns the record in the place of the inode of a file.
func (p *pages) read(prefix string, seen fs.Fingerprint) (entry, bool) {
	var b [recordSize]byte
	for range 2 { // another process may be writing it
		n, err := p.at(prefix, seen.Inode, 0, func(page *os.File, offset int64) (int, error) { return page.ReadAt(b[:], offset) })
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

// write writes a record to its place.
func (p *pages) write(prefix string, e *entry) { p.put(prefix, e.of.Inode, e.encode(p.id)) }

// clear removes the record of an inode.
func (p *pages) clear(prefix string, inode uint64) { p.put(prefix, inode, make([]byte, recordSize)) }

func (p *pages) put(prefix string, inode uint64, b []byte) {
	p.writing.RLock()
	defer p.writing.RUnlock()
	if p.left {
		return
	}
	_, err := p.at(prefix, inode, os.O_CREATE, func(page *os.File, offset int64) (int, error) { return page.WriteAt(b, offset) })
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

// closeAll closes the files, so that one that was deleted is missed.
func (p *pages) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open.Purge()
}

// at calls do with the open page of an inode, and the offset of its record.
func (p *pages) at(prefix string, inode uint64, flags int, do func(page *os.File, offset int64) (int, error)) (n int, err error) {
	key, offset := pageKey{prefix, inode / inodesPerPage}, int64(inode%inodesPerPage)*recordSize
	for {
		page, err := p.page(key, flags)
		if err != nil {
			return 0, err
		}
		// It may have been closed to make room since.
		if n, err := do(page, offset); !errors.Is(err, os.ErrClosed) {
			return n, err
		}
	}
}

// page returns an open page. If flags have os.O_CREATE, it is made where there is none, or where the file that is
// there cannot be one.
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
