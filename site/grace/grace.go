// Package grace finds the files that a publication has taken from a site not long ago, for pages that were loaded
// before it.
//
// A publication is a MOVE of a collection over the path of a site. The collection that it displaces is in the history.
// A file of it is found for the time of grace, unless it was taken away on purpose since then: by a DELETE, by a MOVE
// of it or over a part of the site, by a restore, or by a program on the disk. The changes of the store say that. So
// no file is found that gave way before the oldest change that the store knows, nor after more losses than
// [maxLosses] of one site. A file that the history does not keep any more is not found either.
//
// Package site decides which names are asked for, and the caller who may read them.
package grace

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/text/unicode/norm"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The bounds of the memory.
const (
	maxPublications = 1 << 10 // of a site. Beyond it, the oldest are forgotten
	maxLosses       = 1 << 10 // of a site. Beyond it, all that was displaced before them is forgotten
	maxNames        = 1 << 12 // found, or looked for
)

// Sites are how long the files of each site are found after a publication, by the path of the site.
type Sites map[string]time.Duration

// A Keeper finds displaced files. Its methods may be called concurrently.
type Keeper struct {
	store tree.Store
	feed  tree.Feed
	now   func() time.Time

	stamps atomic.Uint64 // orders the questions, and the readings of changes
	turn   chan struct{} // full while changes are read. The fields below belong to the reader
	cursor tree.Cursor   // up to it, the changes are read
	order  uint64        // of the last change

	mu     sync.Mutex
	sites  map[string]*record
	upTo   uint64 // the stamp of the last reading that has succeeded
	recent *lru.Cache[string, answer]
}

// A record is the state of one site.
type record struct {
	path      string
	keep      time.Duration
	displaced []publication // the oldest first
	losses    []loss        // the oldest first
	count     uint64        // of the changes that an answer may depend on
}

// A publication has displaced a collection.
type publication struct {
	order uint64
	told  time.Time // of the change, which is told of before it is made
	gone  time.Time // of the version of the history, or zero where it is not known yet
}

// A loss says that names, and all below them, were taken away.
type loss struct {
	order uint64
	names []string // folded
}

// An answer is remembered as long as no change concerns the site.
type answer struct {
	count uint64
	found Found
	ok    bool
}

// A Found is a displaced file.
type Found struct {
	ID    string    // for [tree.Store.OpenVersion], which fails once the history does not keep it
	Until time.Time // the end of its grace
}

// New returns a keeper for a store. The store must be a [tree.Feed].
func New(store tree.Store, feed tree.Feed, sites Sites, now func() time.Time) *Keeper {
	k := &Keeper{store: store, feed: feed, now: now, turn: make(chan struct{}, 1), sites: map[string]*record{}}
	k.recent, _ = lru.New[string, answer](maxNames) // it fails only for a size below one
	for path, keep := range sites {
		k.sites[path] = &record{path: path, keep: keep}
	}
	return k
}

// Find returns the file that a name of the tree had in the site at a path before a publication, if its grace has not
// ended. It waits until all changes that were made before the call are known. The name must not exist now.
func (k *Keeper) Find(ctx context.Context, path, name string) (Found, bool, error) {
	if k == nil || k.sites[path] == nil {
		return Found{}, false, nil
	}
	if err := k.catchUp(ctx); err != nil {
		return Found{}, false, err
	}
	k.mu.Lock()
	site := k.sites[path]
	count, displaced := site.count, site.remaining(k.now(), name)
	k.mu.Unlock()
	if len(displaced) == 0 {
		return Found{}, false, nil
	}
	known, ok := k.recent.Get(name)
	if !ok || known.count != count {
		known = answer{count: count}
		var err error
		if known.found, known.ok, err = k.look(ctx, site.keep, name, displaced); err != nil {
			return Found{}, false, err
		}
		k.recent.Add(name, known)
	}
	left := known.found.Until.Sub(k.now())
	if !known.ok || left <= 0 || left > site.keep { // the clock may have been set
		return Found{}, false, nil
	}
	return known.found, true, nil
}

// look looks for the latest version of a name that one of some publications has displaced.
func (k *Keeper) look(
	ctx context.Context, keep time.Duration, name string, displaced []publication,
) (found Found, ok bool, err error) {
	since := displaced[0].gone
	for _, p := range displaced {
		if p.gone.Before(since) {
			since = p.gone
		}
	}
	for v, err := range k.store.Versions(ctx, name, tree.VersionOptions{Since: since}) {
		if err != nil {
			return Found{}, false, err
		}
		// The version of a member has the time and the cause of its collection.
		by := slices.ContainsFunc(displaced, func(p publication) bool { return p.gone.Equal(v.Gone) })
		if by && v.Name == name && v.Cause == "MOVE" && !v.Collection && !v.Link && !v.Late {
			found, ok = Found{v.ID, v.Gone.Add(keep)}, true
		}
	}
	return found, ok, nil
}

// catchUp reads the changes that were made before the call. If another caller has begun to do so since, it waits for
// that one.
func (k *Keeper) catchUp(ctx context.Context) error {
	asked := k.stamps.Add(1)
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	k.mu.Lock()
	known := k.upTo > asked
	k.mu.Unlock()
	if known {
		return nil
	}
	began := k.stamps.Add(1)
	err := k.readChanges(ctx)
	if errors.Is(err, tree.ErrNotExist) { // the store has forgotten changes
		k.reset()
		err = k.readChanges(ctx)
	}
	if err == nil {
		err = k.findVersions(ctx)
	}
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.upTo = began
	return nil
}

// reset forgets everything.
func (k *Keeper) reset() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cursor = ""
	for _, site := range k.sites {
		site.displaced, site.losses = nil, nil
		site.count++
	}
}

func (k *Keeper) readChanges(ctx context.Context) error {
	until, err := k.feed.Now(ctx)
	if err != nil {
		return err
	}
	for c, err := range k.feed.Changes(ctx, k.cursor, until) {
		if err != nil {
			return err
		}
		k.mu.Lock()
		k.order++
		for _, site := range k.sites {
			site.take(c, k.order, k.now())
		}
		k.mu.Unlock()
		k.cursor = c.Cursor
	}
	return nil
}

// take notes a change, if it is a publication, or a loss of files that one has displaced.
func (r *record) take(c tree.Change, order uint64, now time.Time) {
	switch {
	case !c.Concerns(r.path, alike):
	case c.Cause == "MOVE" && c.Name == r.path && c.State.Exists && c.State.Collection && !c.Created && !c.Again:
		r.count++
		if c.Time.Add(r.keep).After(now) {
			r.displaced = append(r.displaced, publication{order: order, told: c.Time})
		}
		if extra := len(r.displaced) - maxPublications; extra > 0 {
			r.displaced = slices.Delete(r.displaced, 0, extra)
		}
	case c.Again && c.Name == r.path && c.Cause == tree.CauseDisk:
		// The watcher tells of a publication too, and the store does not always know whether a program has put another
		// collection there just before it.
	case len(r.displaced) > 0 && c.Deep():
		r.count++
		l := loss{order: order, names: []string{folded(c.Name)}}
		if c.From != "" {
			l.names = append(l.names, folded(c.From))
		}
		if r.losses = append(r.losses, l); len(r.losses) > maxLosses {
			r.displaced, r.losses = nil, nil
		}
	}
}

// remaining returns the publications whose grace has not ended, and since which a name was not taken away. It forgets
// the others.
func (r *record) remaining(now time.Time, name string) (all []publication) {
	r.displaced = slices.DeleteFunc(r.displaced, func(p publication) bool {
		return !p.gone.IsZero() && !p.gone.Add(r.keep).After(now)
	})
	if len(r.displaced) == 0 {
		r.losses = nil
		return nil
	}
	// A loss matters to files that were displaced before it.
	first := r.displaced[0].order
	r.losses = slices.DeleteFunc(r.losses, func(l loss) bool { return l.order < first })
	lost, name := uint64(0), folded(name)
	for _, l := range r.losses {
		if slices.ContainsFunc(l.names, func(taken string) bool { return covers(taken, name) }) {
			lost = l.order
		}
	}
	for _, p := range r.displaced {
		if p.order > lost && !p.gone.IsZero() {
			all = append(all, p)
		}
	}
	return all
}

// findVersions finds the versions of the history that the latest publications have displaced. Their order is that of
// the publications. Where one is not kept, its publication may get the version of a later one, which makes more losses
// count.
func (k *Keeper) findVersions(ctx context.Context) error {
	for path, site := range k.sites {
		k.mu.Lock()
		i := slices.IndexFunc(site.displaced, func(p publication) bool { return p.gone.IsZero() })
		var since time.Time
		if i >= 0 {
			since = site.displaced[i].told
		}
		k.mu.Unlock()
		if i < 0 {
			continue
		}
		var gone []time.Time
		for v, err := range k.store.Versions(ctx, path, tree.VersionOptions{Since: since}) {
			if err != nil {
				return err
			}
			if v.Name == path && v.Collection && v.Cause == "MOVE" {
				gone = append(gone, v.Gone)
			}
		}
		k.mu.Lock()
		site.count++
		for ; i < len(site.displaced); i++ {
			p := &site.displaced[i]
			gone = slices.DeleteFunc(gone, func(t time.Time) bool { return t.Before(p.told) })
			if len(gone) > 0 {
				p.gone, gone = gone[0], gone[1:]
			}
		}
		// Without a version, as where the history has no room, there is nothing to find.
		site.displaced = slices.DeleteFunc(site.displaced, func(p publication) bool { return p.gone.IsZero() })
		k.mu.Unlock()
	}
	return nil
}

// covers reports whether a name is another name, or is below it. Both are folded.
func covers(above, name string) bool {
	return above == "" || name == above || strings.HasPrefix(name, above+"/")
}

// folded returns a name in a form that is the same for names that a disk may take for one because of case or of
// composed characters. A loss of one counts as a loss of the other.
func folded(name string) string { return strings.ToLower(strings.ToUpper(norm.NFKC.String(name))) }

func alike(a, b string) bool { return folded(a) == folded(b) }
