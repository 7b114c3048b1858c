package links

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
)

// A Book knows the links as the file, or the shelf of several servers, has them now. Each look-up looks there, and reads it
// anew if it has changed, so that a link that another process revokes has ended with the next request. It may be used by
// several goroutines at once.
type Book struct {
	users func() string // the users file, "" if there is none
	shelf Shelf         // nil: the links are in a file beside the users file
	now   func() time.Time
	last  atomic.Pointer[reading]
	mu    sync.Mutex // one reads the file
}

// A reading is the file as it was at one moment.
type reading struct {
	name string      // of the file, or the version on the shelf
	info os.FileInfo // nil: there was none
	at   time.Time
	sum  [sha256.Size]byte // of the text
	list *List
}

// A Shelf keeps the text of the links for several servers, as [Parse] reads it. Its methods wait for seconds at the most.
type Shelf interface {
	// Read returns the text and its version, "" if there is none yet. Where the version is the known one, there is no text.
	Read(ctx context.Context, known string) (text, version string, err error)
	// Edit changes the text in one step for all servers. It returns the error of change, after which nothing has happened.
	Edit(ctx context.Context, change func(text string) (string, error)) error
}

// NewBook returns the links beside the users file that users returns, or those on a shelf, unless that is nil. now is the
// clock. Without users there are no links in either place.
func NewBook(users func() string, shelf Shelf, now func() time.Time) *Book {
	return &Book{users: users, shelf: shelf, now: now}
}

// Users returns the users file, or "" if there is none, and so no links.
func (b *Book) Users() string { return b.users() }

// Now returns the clock of the book.
func (b *Book) Now() time.Time { return b.now() }

// coarse is how long after a change another one may have the same date.
const coarse = 2 * time.Second

// current reports whether the file is the one that was read. A file that changed shortly before it was read is read
// again.
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
	if b.shelf != nil {
		return b.shelved(context.Background())
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

// shelved returns the links on the shelf. One goroutine reads them, where they have changed.
func (b *Book) shelved(ctx context.Context) (*List, error) {
	known := func() (*List, string) {
		if r := b.last.Load(); r != nil {
			return r.list, r.name
		}
		return &List{}, ""
	}
	list, version := known()
	if text, now, err := b.shelf.Read(ctx, version); err != nil || now == version && text == "" {
		return list, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	list, version = known()
	text, now, err := b.shelf.Read(ctx, version)
	if err != nil || now == version && text == "" {
		return list, err
	}
	if list, err = Parse(text); err != nil {
		return nil, fmt.Errorf("the share links in the database cannot be read: %w", err)
	}
	b.last.Store(&reading{name: now, list: list})
	return list, nil
}

// Add adds a link. It is kept for good when Add returns.
func (b *Book) Add(ctx context.Context, link Link) error { return add(b.editor(ctx), link, b.now()) }

// Revoke removes the link of a maker that has an id, and returns it, if it was there. maker "" stands for each maker,
// and id "" for each link of the maker.
func (b *Book) Revoke(ctx context.Context, maker, id string) (gone []Link, err error) {
	return revoke(b.editor(ctx), maker, id, b.now())
}

// Carry keeps the links of a maker when the hash of the password becomes another one: see [auth.Users.Carried].
func (b *Book) Carry(ctx context.Context, before *auth.Users, maker, hash string) error {
	return change(b.editor(ctx), b.now(), func(l *List) error {
		for _, link := range l.all {
			if link.Maker == maker {
				link.Account = before.Carried(maker, link.Account, hash)
			}
		}
		return nil
	})
}

func (b *Book) editor(ctx context.Context) editor {
	if b.shelf == nil {
		return fileEditor(b.users())
	}
	return func(change func(text string) (string, error)) error { return b.shelf.Edit(ctx, change) }
}

// read reads the file of some users. The reading before, which may be nil, is kept if the text is the same.
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
