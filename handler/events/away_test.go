package events_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"r-seed-1f3a754f.example/ifmatch/handler/events"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// TestStoreThatWasAway: where the store was away for a moment, clients are told of each change, and list nothing again.
func TestStoreThatWasAway(t *testing.T) {
	for _, away := range []error{&tree.StorageError{Kind: tree.ErrUnavailable}, &tree.StorageError{Kind: tree.ErrBusy}} {
		synctest.Test(t, func(t *testing.T) {
			s := &breaking{Store: memtree.New(memtree.Options{}), err: away, breaks: make(chan struct{})}
			treetest.Edit(t, s.Store, "mkcol site")
			h := events.New(events.Options{Store: s, Feed: s})
			c := &client{seesAll: true}
			defer listen(t, h, c, "site", "")()
			c.want(t, "at first", "ready /site/")
			treetest.Edit(t, s.Store, "put site/meanwhile")
			close(s.breaks)
			time.Sleep(2 * time.Second) // longer than the pause between two attempts
			c.want(t, "when it is back", "change /site/meanwhile")
			treetest.Edit(t, s.Store, "put site/f")
			c.want(t, "and then", "change /site/f")
		})
	}
}

// A starting feed has no position at first.
type starting struct {
	*memtree.Store
	asked atomic.Int64
}

func (s *starting) Now(ctx context.Context) (tree.Cursor, error) {
	if s.asked.Add(1) == 1 {
		return "", tree.ErrUnavailable
	}
	return s.Store.Now(ctx)
}

// TestStoreThatIsAwayAtFirst: a client that comes while the store is away is served when it is back.
func TestStoreThatIsAwayAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starting{Store: memtree.New(memtree.Options{})}
		treetest.Edit(t, s.Store, "mkcol site")
		h := events.New(events.Options{Store: s, Feed: s})
		c := &client{seesAll: true}
		defer listen(t, h, c, "site", "")()
		time.Sleep(2 * time.Second) // longer than the pause between two attempts
		c.want(t, "when it is back", "ready /site/")
	})
}
