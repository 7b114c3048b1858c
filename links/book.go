package links

import (
	"crypto/sha256"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
)

// A Book knows the links as the file has them now. Each look-up looks at the file, and reads it anew if it has changed,
// so that a link that another process revokes has ended with the next request. It may be used by several goroutines at
// once.
type Book struct {
	users func() string // the users file, "" if there is none
	now   func() time.Time
	last  atomic.Pointer[reading]
	mu    sync.Mutex // one reads the file
}

// A reading is what the file was at one moment.
type reading struct {
	name string
	info os.FileInfo // nil: there was none
	at   time.Time
	sum  [sha256.Size]byte // of the text
	list *List
}

// NewBook returns the links beside the users file that users returns. now is the clock.
func NewBook(users func() string, now func() time.Time) *Book { return &Book{users: users, now: now} }

// Users returns the users file, or "" if there is none, and so no links.
func (b *Book) Users() string { return b.users() }

// Now returns the clock of the book.
func (b *Book) Now() time.Time { return b.now() }

// coarse is how long after a change another one may have the same date.
const coarse = 2 * time.Second

// current reports whether the file is what was read. A file that changed shortly before it was read is read again.
func (r *reading) current(name string, info os.FileInfo) bool {
	switch {
	case r == nil || r.name != name:
		return false
	case info == nil || r.info == nil:
		return info == nil && r.info == nil
	}
	return os.SameFile(info, r.info) && info.Size() == r.info.Size() && info.ModTime().Equal(r.info.ModTime()) &&
		r.at.Sub(info.ModTime()) > coarse
}

// List returns the links. They must not be changed.
func (b *Book) List() (*List, error) {
	users := b.users()
	if users == "" {
		return &List{}, nil
	}
	name := File(users)
	info, err := os.Stat(name)
	if err != nil {
		info = nil // reading says why
	}
	if r := b.last.Load(); r.current(name, info) {
		return r.list, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at := time.Now() // the clock of dates of files
	if info, err = os.Stat(name); err != nil {
		info = nil
	}
	r := b.last.Load()
	if r.current(name, info) {
		return r.list, nil
	}
	next, err := read(users, r)
	if err != nil {
		b.last.Store(nil)
		return nil, err
	}
	next.info, next.at = info, at
	b.last.Store(next)
	return next.list, nil
}

// read reads the file of some users. What was read before, which may be nil, is kept if the text is the same.
func read(users string, before *reading) (*reading, error) {
	name := File(users)
	text, err := auth.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := &reading{name: name, sum: sha256.Sum256([]byte(text))}
	if before != nil && before.name == name && before.sum == r.sum {
		r.list = before.list
		return r, nil
	}
	if r.list, err = Parse(text); err != nil {
		return nil, &auth.FileError{File: name, Err: err}
	}
	return r, nil
}

// ReadList reads the file of some users.
func ReadList(users string) (*List, error) {
	r, err := read(users, nil)
	if err != nil {
		return nil, err
	}
	return r.list, nil
}

// Find returns the link of a token, or nil if there is none or it has expired.
func (b *Book) Find(token string) (*Link, error) {
	list, err := b.List()
	if err != nil {
		return nil, err
	}
	return list.find(token, b.now()), nil
}

// Has reports whether a link is there still as it was found, and has not expired.
func (b *Book) Has(l *Link) bool {
	list, err := b.List()
	if err != nil {
		return false
	}
	now := list.bySum[l.SHA256]
	return now != nil && (now == l || *now == *l) && b.now().Before(now.Expires)
}
