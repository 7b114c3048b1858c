package quota

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pause"
	"r-seed-1f3a754f.example/ifmatch/quota/limits"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A counter keeps a ledger true to a store: it lists the tree once, and after that the collections of which the feed
// tells.
type counter struct {
	*ledger
	store   Inner
	opts    *Options
	stop    context.CancelFunc
	running sync.WaitGroup

	followed tree.Cursor // of the last change that was marked

	reporting sync.Mutex
	reported  string // the last error
}

// startCounter starts to count.
func startCounter(store Inner, set *limits.Set, opts *Options) *counter {
	ctx, stop := context.WithCancel(context.Background())
	c := &counter{ledger: newLedger(set, opts.Now), store: store, opts: opts, stop: stop}
	c.running.Go(func() {
		c.follow(ctx)
	})
	c.running.Go(func() { c.readHistory(ctx) })
	return c
}

// end stops the counting.
func (c *counter) end() {
	c.stop()
	c.running.Wait()
}

func (c *counter) report(err error) {
	c.reporting.Lock()
	defer c.reporting.Unlock()
	if text := err.Error(); text != c.reported {
		c.reported = text
		c.opts.Report(fmt.Errorf("a quota counts what is there as soon as it can be listed: %w", err))
	}
}

// followPause is the time after which a feed is tried again that has failed.
const followPause = 5 * time.Second

// follow marks the collections of which the feed tells. The counting begins when the position of the feed is known, so
// that nothing is missed in between. Where there is no feed, the whole tree is listed from time to time.
func (c *counter) follow(ctx context.Context) {
	begun := false
	for ctx.Err() == nil {
		since, err := c.store.Now(ctx)
		c.mark("", true)
		if !begun {
			begun = true
			c.running.Go(func() { c.count(ctx) })
		}
		switch {
		case errors.Is(err, tree.ErrUnsupported):
			return
		case err == nil:
			c.follows(since)
			err = c.followSince(ctx, since)
		}
		if ctx.Err() == nil && !errors.Is(err, tree.ErrNotExist) {
			c.report(fmt.Errorf("changes cannot be followed: %w", err))
			_ = pause.For(ctx, followPause)
		}
	}
}

// followSince marks the changes since a cursor until the feed ends.
func (c *counter) followSince(ctx context.Context, since tree.Cursor) error {
	for {
		for change, err := range c.store.Changes(ctx, since, "") {
			if err != nil {
				return err
			}
			since = change.Cursor
			c.changed(change)
			c.follows(since)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		_ = pause.For(ctx, c.opts.Gather) // the store was closed, and may be opened again
	}
}

func (c *counter) follows(at tree.Cursor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.followed = at
}

// changed marks the collections that a change concerns, unless it is of an operation that was counted.
func (c *counter) changed(change tree.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case change.Again:
		c.dirty.mark(change.Name, true)
		return
	case change.Cause == "PROPPATCH", change.Cause == "LOCK", change.Cause == "MKCOL":
		return // no bytes
	case change.Cause != tree.CauseDisk && c.own.is(change.Name):
		return
	}
	for _, name := range []string{change.Name, change.From} {
		if name != "" {
			name = c.own.since(name)
			dir, base := tree.Split(name)
			c.dirty.mark(dir, false)
			if n := c.root.find(dir); n != nil && n.children[base] != nil {
				c.dirty.mark(name, true) // another collection may be there now
			}
		}
	}
}

// awaitKnown waits until the sums of all limits of a name are known.
func (c *counter) awaitKnown(ctx context.Context, name string) error {
	return c.await(ctx, func() bool { return c.allKnown(name) })
}

// await waits until enough sums are known, or fails with errCounting.
func (c *counter) await(ctx context.Context, enough func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Patience)
	defer cancel()
	for {
		c.mu.Lock()
		known, more := enough(), c.learned
		c.mu.Unlock()
		if known {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return errCounting
		}
	}
}
