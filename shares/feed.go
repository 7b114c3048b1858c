package shares

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pause"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// maxFollowed is the most shares whose changes can be followed. A cursor of one share has about 35 bytes.
const maxFollowed = 64

// unknown stands for the cursor of a share whose storage is not there.
const unknown tree.Cursor = "-"

var errNoFeed = fmt.Errorf("no changes are kept: %w", tree.ErrUnsupported)

// feeds returns the feeds of the shares, in their order.
func (s *Store) feeds() ([]tree.Feed, error) {
	if len(s.shares) > maxFollowed {
		return nil, errNoFeed
	}
	feeds := make([]tree.Feed, len(s.shares))
	for i, sh := range s.shares {
		feed, ok := sh.Store.(tree.Feed)
		if !ok {
			return nil, errNoFeed
		}
		feeds[i] = feed
	}
	return feeds, nil
}

// sumOf returns the checksum of a cursor: it is of these shares, and whole.
func (s *Store) sumOf(cursors string) string {
	sum := sha256.Sum256([]byte(strings.Join(s.Paths(), "\x00") + "\x00" + cursors))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// cursorOf puts the cursors of the shares together.
func (s *Store) cursorOf(all []tree.Cursor) tree.Cursor {
	var texts []string
	for _, c := range all {
		texts = append(texts, string(c))
	}
	joined := strings.Join(texts, ",")
	return tree.Cursor(s.sumOf(joined) + "," + joined)
}

// cursors takes a cursor apart. Those of the zero cursor are zero.
func (s *Store) cursors(c tree.Cursor) ([]tree.Cursor, error) {
	all := make([]tree.Cursor, len(s.shares))
	if c == "" {
		return all, nil
	}
	sum, joined, _ := strings.Cut(string(c), ",")
	parts := strings.Split(joined, ",")
	if sum != s.sumOf(joined) || len(parts) != len(all) {
		return nil, fmt.Errorf("a cursor of other shares: %w", tree.ErrNotExist)
	}
	for i, part := range parts {
		all[i] = tree.Cursor(part)
	}
	return all, nil
}

// Now implements [tree.Feed]. All shares are asked at once.
func (s *Store) Now(ctx context.Context) (tree.Cursor, error) {
	feeds, err := s.feeds()
	if err != nil {
		return "", err
	}
	all, errs := make([]tree.Cursor, len(feeds)), make([]error, len(feeds))
	var asked sync.WaitGroup
	for i, feed := range feeds {
		asked.Go(func() { all[i], errs[i] = feed.Now(ctx) })
	}
	asked.Wait()
	if !slices.ContainsFunc(errs, func(err error) bool { return !errors.Is(err, tree.ErrUnsupported) }) {
		return "", errNoFeed
	}
	for i, err := range errs {
		switch {
		case isAway(err):
			all[i] = unknown
		case err != nil:
			return "", s.shares[i].told(err)
		}
	}
	return s.cursorOf(all), nil
}

// isAway reports whether a share has no position now: its storage is not there, or cannot keep a journal.
func isAway(err error) bool {
	return errors.Is(err, tree.ErrUnavailable) || errors.Is(err, tree.ErrUnsupported)
}

// again returns the change that says that a share is to be listed again.
func (s *Store) again(c tree.Cursor) tree.Change {
	return tree.Change{Cursor: c, Cause: tree.CauseDisk, Again: true, Time: s.opts.Now(),
		State: tree.State{Exists: true, Collection: true}}
}

// change returns a change of a share as one of the whole tree. ok is false for a change of the copies that are being made.
func (sh *share) change(c tree.Change) (told tree.Change, ok bool) {
	if c, ok = c.Without(isReserved); !ok {
		return c, false
	}
	if c.From != "" {
		c.From = sh.outer(c.From)
	}
	c.Name = sh.outer(c.Name)
	c.State.Name = c.Name
	return c, true
}

// Latest implements [tree.Feed]. A collection above shares never came: it is there because of them.
func (s *Store) Latest(ctx context.Context, name string) (tree.Change, error) {
	p := s.place(name)
	if p.share == nil {
		return tree.Change{}, tree.ErrNotExist
	}
	feed, ok := p.share.Store.(tree.Feed)
	if !ok {
		return tree.Change{}, errNoFeed
	}
	c, err := feed.Latest(ctx, p.inner)
	if err != nil {
		return tree.Change{}, p.share.told(err)
	}
	if c, ok = p.share.change(c); !ok {
		return tree.Change{}, tree.ErrNotExist
	}
	c.Cursor = "" // of one share alone
	return c, nil
}

// Changes implements [tree.Feed].
func (s *Store) Changes(ctx context.Context, since, until tree.Cursor) iter.Seq2[tree.Change, error] {
	return func(yield func(tree.Change, error) bool) {
		feeds, err := s.feeds()
		var at, end []tree.Cursor
		if err == nil {
			at, err = s.cursors(since)
		}
		if err == nil && until != "" {
			end, err = s.cursors(until)
		}
		if err != nil {
			yield(tree.Change{}, err)
			return
		}
		f := follower{s, feeds, at, yield}
		if until == "" {
			f.follow(ctx)
			return
		}
		for i := range feeds {
			if !f.catchUp(ctx, i, end[i]) {
				return
			}
		}
	}
}

// A follower yields the changes of the shares. at has the cursors after what was yielded.
type follower struct {
	s     *Store
	feeds []tree.Feed
	at    []tree.Cursor
	yield func(tree.Change, error) bool
}

// show yields a change of a share, with its cursor there. It reports whether the caller wants more.
func (f *follower) show(i int, c tree.Change) bool {
	f.at[i] = c.Cursor
	c, ok := f.s.shares[i].change(c)
	c.Cursor = f.s.cursorOf(f.at)
	return !ok || f.yield(c, nil)
}

// catchUp yields the changes of a share up to a cursor. It reports whether the caller wants those of the next share.
func (f *follower) catchUp(ctx context.Context, i int, end tree.Cursor) bool {
	sh := f.s.shares[i]
	switch {
	case end == unknown: // the next cursor tells that the share is to be listed again
		f.at[i] = end
		return true
	case f.at[i] == unknown:
		return f.show(i, f.s.again(end))
	}
	for c, err := range f.feeds[i].Changes(ctx, f.at[i], end) {
		switch {
		case errors.Is(err, tree.ErrNotExist):
			return f.show(i, f.s.again(end))
		case err != nil:
			f.yield(tree.Change{}, sh.told(err))
			return false
		case !f.show(i, c):
			return false
		}
	}
	f.at[i] = end
	return true
}

// A news is a change of a share.
type news struct {
	share int
	tree.Change
}

// follow yields the changes of all shares as they come, until the context ends.
func (f *follower) follow(ctx context.Context) {
	following, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	all := make(chan news)
	for i, feed := range f.feeds {
		since := f.at[i]
		running.Go(func() { f.s.send(following, i, feed, since, all) })
	}
	for {
		select {
		case <-ctx.Done():
			f.yield(tree.Change{}, ctx.Err())
			return
		case n := <-all:
			if !f.show(n.share, n.Change) {
				return
			}
		}
	}
}

// awayPause is the time between two attempts to follow a share whose storage is not there.
const awayPause = time.Second

// send sends the changes of a share until the context ends. Where some are not known, it sends that the share is to be
// listed again.
func (s *Store) send(ctx context.Context, i int, feed tree.Feed, since tree.Cursor, to chan<- news) {
	push := func(c tree.Change) bool {
		select {
		case to <- news{i, c}:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for ctx.Err() == nil {
		fresh := since == unknown
		if fresh {
			if now, err := feed.Now(ctx); err == nil {
				since = now
				if !push(s.again(now)) {
					return
				}
			}
		}
		if since != unknown {
			for c, err := range feed.Changes(ctx, since, "") {
				if err != nil {
					since = unknown
				} else if since = c.Cursor; !push(c) {
					return
				}
			}
		}
		if fresh {
			_ = pause.For(ctx, awayPause)
		}
	}
}

// Since implements [tree.FeedView]. Of a collection above shares, it asks about all shares below it.
func (v *view) Since(name string, cursor tree.Cursor, _ func(string) bool) (changed bool, err error) {
	s := v.m.s
	all, err := s.cursors(cursor)
	if err != nil {
		return false, err
	}
	p := s.place(name)
	for i, sh := range s.shares {
		at := place{share: sh}
		switch {
		case p.share == sh:
			at = p
		case p.above == nil || p.above.name != "" && !tree.Below(sh.Path, p.above.name):
			continue
		}
		a, err := v.askOf(question{askSince, sh.outer(at.inner), all[i]}, at)
		if a.changed || err != nil {
			return a.changed, err
		}
	}
	return false, nil
}

// since asks the view of a share. The copies that are being made do not count.
func since(in tree.View, inner string, cursor tree.Cursor) (bool, error) {
	feed, ok := in.(tree.FeedView)
	switch {
	case !ok:
		return false, errNoFeed
	case cursor == "" || cursor == unknown:
		return false, fmt.Errorf("the share was not there: %w", tree.ErrNotExist)
	}
	return feed.Since(inner, cursor, isReserved)
}
