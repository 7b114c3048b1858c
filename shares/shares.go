// Package shares is a [tree.Store] of several stores: each has a path of its own, and the collections above these paths
// can only be listed.
//
// A name belongs to the share whose path its first segments are. Its store is asked with the rest of the name, and
// keeps all promises of the contract. So a condition that is about one share is decided inside the commit of its store.
//
// # Several shares
//
// A condition that also names resources of another share is decided on the answers of that share from the instant
// before the commit. No lock of two stores is ever held at once.
//
// COPY to another share copies file by file to a hidden name in the share of the destination, and gives the copy its
// name in one step. MOVE does the same, and then removes the source exactly: only if it is still the copied version.
// Both commits decide the whole condition, each on its own share as it is then. A source that has changed meanwhile
// stays, and the error says so ([tree.ErrUnsure]). So a crash, a failure or another client can leave the resource at
// both names, and never at none.
//
// # Changes
//
// A [tree.Cursor] has one cursor of each share. The changes of one share are in their order, and come between those of
// others in any order. Where a share has forgotten changes, or was not there, its root is told to be listed again.
//
// # Limits
//
// The changes of more than 64 shares cannot be followed: the cursor would be too long for a header.
//
// A copy in another share has the content, the properties, the executable flag and, after a MOVE, the times of files.
// It has not the owners, modes and access lists of the source. A symbolic link is not copied: the error is a
// [tree.MemberError]. A collection is moved only out of a share that keeps a history, which shows the removed version.
package shares

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Share is a store and its place in the tree.
type Share struct {
	// Path is the name of the root of the store, such as "docs" or "team/docs".
	Path string
	// Store may also be a [tree.Speller], a [tree.Quotas], a [tree.Feed], a [tree.Uploads], a [tree.Undoer], an
	// [io.Closer], and have a method Start.
	Store tree.Store
	// NoHistory says that the store keeps no removed version.
	NoHistory bool
}

// Options configure a store. The zero value works.
type Options struct {
	// Now is the clock (nil: time.Now).
	Now func() time.Time
	// Report gets failures that no caller gets, such as that a copy which was given up could not be cleared away.
	Report func(error)
}

// A Store has the trees of several shares below collections of its own. See the comment of the package.
type Store struct {
	opts    Options
	root    *node
	shares  []*share // in the order in which they were given
	started time.Time
	patches patches

	mu      sync.Mutex
	staging map[string]bool // the names of the copies that this process is making
}

var _ interface {
	tree.Store
	tree.Speller
	tree.Quotas
	tree.Feed
	tree.Uploads
	tree.Undoer
	io.Closer
} = (*Store)(nil)

// A share is a [Share] that is served.
type share struct {
	Share
	swept time.Time // when it was searched for abandoned copies; under Store.mu
}

// New returns a store of some shares. Their paths must be names ([tree.CheckName]), and none may be another one or
// above it.
func New(all []Share, opts Options) (*Store, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Report == nil {
		opts.Report = func(error) {}
	}
	s := &Store{opts: opts, root: &node{}, started: time.Unix(opts.Now().Unix(), 0), staging: map[string]bool{}}
	if len(all) == 0 {
		return nil, errors.New("there is no share")
	}
	for _, one := range all {
		if err := s.add(&share{Share: one}); err != nil {
			return nil, fmt.Errorf("the share %q: %w", one.Path, err)
		}
	}
	return s, nil
}

func (s *Store) add(sh *share) error {
	if sh.Path == "" {
		return errors.New("its path is empty")
	}
	if err := tree.CheckName(sh.Path); err != nil {
		return err
	}
	n := s.root
	for segment := range strings.SplitSeq(sh.Path, "/") {
		if n.share != nil {
			return fmt.Errorf("it is in the share %q", n.share.Path)
		}
		n = n.member(segment)
	}
	if n.share != nil || len(n.members) > 0 {
		return errors.New("another share has this path, or one below it")
	}
	n.share = sh
	s.shares = append(s.shares, sh)
	return nil
}

// Paths returns the paths of the shares.
func (s *Store) Paths() (paths []string) {
	for _, sh := range s.shares {
		paths = append(paths, sh.Path)
	}
	return paths
}

// Start starts the stores of the shares that have such a method.
func (s *Store) Start() {
	for _, sh := range s.shares {
		if starter, ok := sh.Store.(interface{ Start() }); ok {
			starter.Start()
		}
	}
}

// Close closes the stores of the shares.
func (s *Store) Close() error {
	var errs []error
	for _, sh := range s.shares {
		if closer, ok := sh.Store.(io.Closer); ok {
			errs = append(errs, closer.Close())
		}
	}
	return errors.Join(errs...)
}
