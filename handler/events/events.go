// Package events streams the changes of a tree to clients, as Server-Sent Events (HTML Living Standard §9.2).
//
// One goroutine reads the changes of the store, as long as there is a listener, and keeps the latest ones in a [ring]. Each
// listener has its own position there, decides which changes it may be told, and sends them at the pace of its client. So a
// listener costs no memory that grows, and nothing while nothing changes but a heartbeat. A listener that falls behind the
// ring is told to list again.
package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pause"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Options configure a [Hub]. Store and Feed are needed.
type Options struct {
	Store tree.Store
	Feed  tree.Feed
	// Most is how many listeners there may be (0: 2,000). One client may have half of them.
	Most int
	// Heartbeat is the time without an event after which a listener is sent a comment (0: 15 seconds).
	Heartbeat time.Duration
	// Kept is how many of the latest changes are kept for slow listeners (0: 4,096).
	Kept int
	// Ending is closed when the server stops: all streams end then (nil: never).
	Ending <-chan struct{}
}

// A Listener is a client, with its rights at this moment.
type Listener interface {
	// Live reports whether the login and the rules are still those with which the stream has begun.
	Live() bool
	// SeesAll reports whether the client may list and read everything.
	SeesAll() bool
	// Seen reports whether the client may know of a name, be it of a collection alone.
	Seen(name string) bool
	// Lists reports whether the client may know of a name of any kind.
	Lists(name string) bool
	// Shows reports whether a listing shows a resource that was found, and reads whether it shows its ETag too.
	Shows(s *tree.State) (shows, reads bool)
	// Href returns the path of a name in URLs.
	Href(name string, collection bool) string
	// Token returns the sync token of a cursor.
	Token(c tree.Cursor) string
	// Cursor is the inverse. ok is false for a token of another user or other rules, and for any other text.
	Cursor(token string) (c tree.Cursor, ok bool)
}

// A Hub hands the changes of a store to listeners.
type Hub struct {
	opts  Options
	slots *limit.Pool
	past  chan struct{} // has an element for each listener that reads older changes

	mu        sync.Mutex
	listeners int
	reading   *reading // nil: there are no listeners
}

// A reading is the one reader of the changes, as long as there are listeners.
type reading struct {
	*ring
	begun chan struct{} // closed when the ring has its first position
	stop  context.CancelFunc
	done  chan struct{}
}

const (
	// maxPast is how many listeners read older changes at once.
	maxPast = 4
	// againPause is the time between two attempts to read changes where the store cannot tell them.
	againPause = time.Second
	// joinPatience is how long a listener waits for the first position.
	joinPatience = 10 * time.Second
)

// New returns a hub.
func New(opts Options) *Hub {
	opts.Most = cmp.Or(opts.Most, 2000)
	opts.Heartbeat = cmp.Or(opts.Heartbeat, 15*time.Second)
	opts.Kept = cmp.Or(opts.Kept, 4096)
	return &Hub{opts: opts, slots: limit.NewPool("event streams", opts.Most), past: make(chan struct{}, maxPast)}
}

// Serve streams the changes of a collection to a client, until the context ends. since is the sync token of the last event
// that the client has, or "". client is the client that the stream counts for. The error is a [limit.Error],
// [tree.ErrUnavailable] or that of ctx, and nothing was sent then.
func (h *Hub) Serve(ctx context.Context, w http.ResponseWriter, l Listener, client, name, since string) error {
	slot, err := h.slots.TryAcquire(client, nil)
	if err != nil {
		return err
	}
	defer slot.Release()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	from, err := h.join(ctx)
	defer h.leave()
	if err != nil {
		return err
	}
	s := &stream{hub: h, ring: from.ring, l: l, name: name, w: w, control: http.NewResponseController(w)}
	s.run(ctx, since)
	return nil
}

// join adds a listener. It waits until the changes are read. [Hub.leave] must be called, also after an error.
func (h *Hub) join(ctx context.Context) (*reading, error) {
	h.mu.Lock()
	h.listeners++
	if h.reading == nil {
		reads, stop := context.WithCancel(context.Background())
		h.reading = &reading{newRing(h.opts.Kept), make(chan struct{}), stop, make(chan struct{})}
		go h.reading.run(reads, h.opts.Feed)
	}
	r := h.reading
	h.mu.Unlock()
	select {
	case <-r.begun:
		return r, nil
	case <-time.After(joinPatience):
		return nil, fmt.Errorf("no changes can be read: %w", tree.ErrUnavailable)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// leave removes a listener. After the last one, nothing reads the store when it returns.
func (h *Hub) leave() {
	h.mu.Lock()
	r := h.reading
	h.listeners--
	last := h.listeners == 0
	if last {
		h.reading = nil
	}
	h.mu.Unlock()
	if last {
		r.stop()
		<-r.done
	}
}

// run puts the changes into the ring until ctx is done. Where the store is away, as a database is until its standby is
// promoted, it goes on after the last change. Only where the store does not know that position any more, listeners have
// to list again.
func (r *reading) run(ctx context.Context, feed tree.Feed) {
	defer close(r.done)
	for known, joined := false, false; ctx.Err() == nil; {
		if !known {
			now, err := feed.Now(ctx)
			if err != nil {
				_ = pause.For(ctx, againPause)
				continue
			}
			if r.begin(now); !joined {
				close(r.begun)
			}
			known, joined = true, true
		}
		read := false
		_, since := r.now()
		for c, err := range feed.Changes(ctx, since, "") {
			if err != nil {
				known = errors.Is(err, tree.ErrUnavailable) || errors.Is(err, tree.ErrBusy)
				break
			}
			r.add(c)
			read = true
		}
		if !read { // it has failed at once, and may do so again
			_ = pause.For(ctx, againPause)
		}
	}
}

// maxOlder is how many older changes a listener is told one by one, and olderAtOnce how many of them are read at once, or
// fewer with olderBytes in their names. The client of more lists again.
const (
	maxOlder    = 20_000
	olderAtOnce = 256
	olderBytes  = 64 << 10
)

var errOlder = errors.New("too many changes")

// older returns the next changes after a cursor, up to another one, at most a few. It waits for its turn.
func (h *Hub) older(ctx context.Context, since, until tree.Cursor) (changes []tree.Change, err error) {
	select {
	case h.past <- struct{}{}:
		defer func() { <-h.past }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	size := 0
	for c, err := range h.opts.Feed.Changes(ctx, since, until) {
		if err != nil {
			return nil, err
		}
		size += sizeOf(c)
		if changes = append(changes, c); len(changes) == olderAtOnce || size >= olderBytes {
			break
		}
	}
	return changes, nil
}
