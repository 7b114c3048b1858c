package quota

import (
	"context"
	"errors"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"r-seed-1f3a754f.example/ifmatch/quota/limits"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// historyPause is the time between two looks at the history, which loses versions by itself. A large history is read
// less often, so that this takes a twentieth of the time.
const (
	historyPause = time.Minute
	historyShare = 20
)

// maxEntries bounds for how many collections in the history the size is remembered. A version never changes.
const maxEntries = 1 << 14

// readHistory sums the versions that the history keeps for limits that count it, until the context ends.
func (c *counter) readHistory(ctx context.Context) {
	sizes, _ := lru.New[string, int64](maxEntries) // it fails only for a size below one
	for ctx.Err() == nil {
		start := time.Now()
		pause := historyPause
		if err := c.readHistoryOnce(ctx, sizes); err != nil && ctx.Err() == nil {
			c.report(fmt.Errorf("the history: %w", err))
			pause = followPause
		}
		t := time.NewTimer(max(pause, historyShare*time.Since(start)))
		select {
		case <-t.C:
		case <-c.limitsChanged:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

func (c *counter) readHistoryOnce(ctx context.Context, sizes *lru.Cache[string, int64]) error {
	c.mu.Lock()
	set := c.limits
	counts := set.CountHistory()
	c.history.begin()
	c.mu.Unlock()
	sums := map[string]int64{}
	var failed error
	if counts && !c.opts.NoHistory {
		failed = c.sumHistory(ctx, set, sums, sizes)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case failed != nil:
		c.history.since = nil
	case c.limits == set:
		c.history.took(sums)
		c.learnedMore()
	}
	return failed
}

// sumHistory adds the size of each version to the limits that hold for its former name.
func (c *counter) sumHistory(
	ctx context.Context, set *limits.Set, sums map[string]int64, sizes *lru.Cache[string, int64],
) error {
	for v, err := range c.store.Versions(ctx, "", tree.VersionOptions{}) {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case v.Name == "" || v.Link:
			continue
		}
		size := v.Size
		if v.Collection {
			known := false
			if size, known = sizes.Get(v.ID); !known {
				inside, err := c.versionNode(ctx, v.ID)
				if err != nil && !errors.Is(err, tree.ErrNotExist) {
					return err
				}
				if err == nil {
					size = inside.total
					sizes.Add(v.ID, size)
				}
			}
		}
		for _, a := range set.Of(v.Name) {
			if a.History {
				sums[a.Name] += size
			}
		}
	}
	return nil
}

// versionNode returns a node for a version that is a collection.
func (c *counter) versionNode(ctx context.Context, id string) (*node, error) {
	n := &node{}
	for v, err := range c.store.Versions(ctx, "", tree.VersionOptions{Inside: id}) {
		switch {
		case err != nil:
			return nil, err
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case v.Link:
			continue
		case !v.Collection:
			n.add(v.Size)
			continue
		}
		child, err := c.versionNode(ctx, v.ID)
		if err != nil {
			return nil, err
		}
		if _, child.name = tree.Split(v.Name); child.total > 0 && n.children[child.name] == nil {
			n.attach(child)
		}
	}
	return n, nil
}
