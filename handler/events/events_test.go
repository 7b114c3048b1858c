package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"r-seed-1f3a754f.example/ifmatch/handler/events"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A client is a listener, and the answer that it gets.
type client struct {
	hidden, way []string // names of which it may not know, or as of collections alone
	seesAll     bool
	dead        atomic.Bool
	blocked     atomic.Pointer[chan struct{}] // its writes wait for this

	mu      sync.Mutex
	header  http.Header
	text    strings.Builder
	largest int // write, in bytes
}

func (c *client) Live() bool                  { return !c.dead.Load() }
func (c *client) SeesAll() bool               { return c.seesAll }
func (c *client) Seen(name string) bool       { return !slices.Contains(c.hidden, name) }
func (c *client) Lists(name string) bool      { return c.Seen(name) && !slices.Contains(c.way, name) }
func (c *client) Token(at tree.Cursor) string { return "t:" + string(at) }
func (c *client) Cursor(t string) (tree.Cursor, bool) {
	at, ok := strings.CutPrefix(t, "t:")
	return tree.Cursor(at), ok
}

func (c *client) Shows(s *tree.State) (shows, reads bool) {
	return c.Seen(s.Name) && (s.Collection || c.Lists(s.Name)), c.Lists(s.Name)
}

func (c *client) Href(name string, collection bool) string {
	if collection && name != "" {
		name += "/"
	}
	return "/" + name
}

func (c *client) Header() http.Header { return c.header }
func (c *client) WriteHeader(int)     {}
func (c *client) Flush()              {}

func (c *client) Write(p []byte) (int, error) {
	if wait := c.blocked.Load(); wait != nil {
		<-*wait
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.largest = max(c.largest, len(p))
	return c.text.Write(p)
}

// take returns what has come since the last call, a line for each event, without ids.
func (c *client) take() (lines []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for part := range strings.SplitSeq(strings.TrimSuffix(c.text.String(), "\n\n"), "\n\n") {
		if strings.HasPrefix(part, "id: ") {
			lines = append(lines, "(id)")
			continue
		}
		_, name, _ := strings.Cut(part, "event: ")
		name, data, _ := strings.Cut(name, "\n")
		_, data, _ = strings.Cut(data, "data: ")
		var told struct {
			Path, From         string
			Exists, Collection bool
			ETag               string
		}
		switch err := json.Unmarshal([]byte(data), &told); {
		case part == ":":
			lines = append(lines, "(heartbeat)")
			continue
		case err != nil:
			continue
		}
		line := name + " " + told.Path
		if told.From != "" {
			line += " from " + told.From
		}
		if name == "change" && !told.Exists {
			line += " gone"
		}
		if name == "change" && told.Exists && !told.Collection && told.ETag == "" {
			line += " without a tag"
		}
		lines = append(lines, line)
	}
	c.text.Reset()
	return lines
}

// lastID returns the id after which the client would ask again.
func (c *client) lastID() (id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for line := range strings.Lines(c.text.String()) {
		if rest, ok := strings.CutPrefix(line, "id: "); ok {
			id = strings.TrimSpace(rest)
		}
	}
	return id
}

func (c *client) want(t *testing.T, what string, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := c.take(); !slices.Equal(got, want) {
		t.Errorf("%s: the client was told\n%q, want\n%q", what, got, want)
	}
}

// listen lets a client listen until stop is called.
func listen(t *testing.T, h *events.Hub, c *client, name, since string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c.header = http.Header{}
	var running sync.WaitGroup
	running.Go(func() {
		if err := h.Serve(ctx, c, c, "", name, since); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return func() { cancel(); running.Wait() }
}

func TestEventsOfChanges(t *testing.T) {
	for _, tt := range []struct {
		name   string
		client *client // nil: it sees all
		later  bool    // the client listens only after the steps
		disk   bool    // another program does the steps
		blind  bool    // see [treetest.BlindFeed]
		steps  []string
		want   []string
	}{
		{name: "elsewhere", steps: []string{"put out", "mkcol site2", "put site2/f"}},
		{name: "members", steps: []string{"put site/f new", "mkcol site/c", "put site/c/g", "rm site/f", "rm site/d"},
			want: []string{"change /site/f", "change /site/c/", "change /site/c/g", "change /site/f gone", "change /site/d gone"}},
		{name: "moved inside", steps: []string{"mv site/f site/g", "mv site/d site/e"},
			want: []string{"change /site/g from /site/f", "change /site/e/ from /site/d/", "list /site/e/"}},
		{name: "moved out", steps: []string{"mv site/d e"}, want: []string{"change /site/d gone"}},
		{name: "moved in", steps: []string{"mv e site/e", "cp site/e site/c"},
			want: []string{"change /site/e/", "list /site/e/", "change /site/c/", "list /site/c/"}},
		{name: "the collection itself", steps: []string{"mv site s", "mv s site", "rm site", "mkcol site"},
			want: []string{"list /site/", "list /site/", "list /site/", "change /site/"}},
		{name: "the collection replaced", steps: []string{"mv e site"}, want: []string{"list /site/"}},
		{name: "a hidden name", client: &client{hidden: []string{"site/f", "site/h"}},
			steps: []string{"put site/f new", "put site/g", "rm site/f", "mkcol site/h"}, want: []string{"change /site/g"}},
		{name: "out of sight, and into it", client: &client{hidden: []string{"site/h"}},
			steps: []string{"mv site/f site/h", "mv site/h site/i"}, want: []string{"change /site/f gone", "change /site/i"}},
		{name: "a collection on the way", client: &client{way: []string{"site/d", "site/f"}},
			steps: []string{"put site/f new", "mv site/d site/e", "mv site/e site/d"},
			want:  []string{"change /site/e/ from /site/d/", "list /site/e/", "change /site/d/ from /site/e/", "list /site/d/"}},
		{name: "by another program", client: &client{}, disk: true, steps: []string{"rm site/f", "rm site/d"},
			want: []string{"change /site/f gone", "change /site/d gone"}},
		{name: "what may have been a collection", client: &client{way: []string{"site/d", "site/d/g", "site/f", "site/n"}}, disk: true,
			steps: []string{"put site/n", "put site/f new", "rm site/d/g", "rm site/f", "rm site/d", "put site/k"},
			want:  []string{"list /site/", "list /site/d/", "list /site/", "list /site/", "change /site/k"}},
		{name: "and is told at once", client: &client{way: []string{"site/d", "site/f"}}, disk: true, later: true,
			steps: []string{"rm site/f", "put site/k", "rm site/d"}, want: []string{"list /site/", "change /site/k"}},
		{name: "where a file is by now", client: &client{way: []string{"site/d/g"}}, disk: true, later: true,
			steps: []string{"rm site/d/g", "rm site/d", "put site/d"}, want: []string{"change /site/d gone", "change /site/d"}},
		{name: "over what is not known", client: &client{way: []string{"site/d", "site/d/g", "site/f"}}, blind: true,
			steps: []string{"put site/f new", "rm site/d/g", "rm site/f", "rm site/d", "put site/k"},
			want:  []string{"list /site/", "list /site/d/", "list /site/", "change /site/d gone", "change /site/k"}},
		{name: "and of all that is shown", client: &client{}, blind: true,
			steps: []string{"put site/f new", "rm site/f", "mv site/d site/e"},
			want:  []string{"change /site/f", "change /site/f gone", "change /site/e/ from /site/d/", "list /site/e/"}},
		{name: "gone by now", client: &client{}, later: true, steps: []string{"put site/n", "rm site/n", "put site/f", "rm site/f"},
			want: []string{"change /site/n gone", "change /site/f gone", "change /site/f gone"}},
		{name: "moved away by now", client: &client{}, later: true, steps: []string{"mv site/d site/e", "mv site/e e/d"},
			want: []string{"change /site/e from /site/d gone", "change /site/e gone"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := memtree.New(memtree.Options{})
				treetest.Edit(t, s, "mkcol site", "put site/f", "mkcol site/d", "put site/d/g", "mkcol e", "put e/x")
				c := tt.client
				if c == nil {
					c = &client{seesAll: true}
				}
				opts := events.Options{Store: s, Feed: s}
				if tt.disk {
					opts.Feed = treetest.BlindFeed{Feed: s, Cause: tree.CauseDisk}
				}
				if tt.blind {
					opts.Feed = treetest.BlindFeed{Feed: s}
				}
				h := events.New(opts)
				stop := listen(t, h, c, "site", "")
				id := c.lastID()
				c.want(t, "at first", "ready /site/")
				if tt.later {
					stop()
				}
				for _, step := range tt.steps {
					treetest.Edit(t, s, step)
					synctest.Wait()
				}
				if tt.later {
					stop = listen(t, h, c, "site", id)
				}
				defer stop()
				c.want(t, tt.name, tt.want...)
			})
		})
	}
}

// TestOlderEvents: a client that comes back with its last id is told what it has missed, and the same as at once.
func TestOlderEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memtree.New(memtree.Options{})
		treetest.Edit(t, s, "mkcol site")
		h := events.New(events.Options{Store: s, Feed: s, Kept: 4})
		c := &client{seesAll: true}
		stop := listen(t, h, c, "site", "")
		id := c.lastID()
		stop()
		c.take()
		treetest.Edit(t, s, "put site/1", "put site/2", "put elsewhere")
		stop = listen(t, h, c, "site", id)
		c.want(t, "missed", "change /site/1", "change /site/2")
		treetest.Edit(t, s, "put site/3")
		synctest.Wait()
		id = c.lastID()
		c.want(t, "and then", "change /site/3")
		other := &client{seesAll: true}
		treetest.Edit(t, s, "put site/4")
		stopOther := listen(t, h, other, "site", id)
		other.want(t, "from the ring", "change /site/4")
		stopOther()
		stop()
		for i := range 600 {
			treetest.Edit(t, s, fmt.Sprint("put site/", i))
		}
		stop = listen(t, h, other, "site", id)
		synctest.Wait()
		if told := other.take(); len(told) != 601 || told[600] != "change /site/599" {
			t.Errorf("of 601 changes, told %d: %q …", len(told), told[:1])
		}
		stop()
		for range 20_001 {
			treetest.Edit(t, s, "put site/x")
		}
		for what, id := range map[string]string{"too many": id, "of another store": "t:x.1", "no token at all": "x"} {
			stop = listen(t, h, other, "site", id)
			synctest.Wait()
			if told := other.take(); told[len(told)-1] != "list /site/" {
				t.Errorf("%s: told %q …", what, told[:1])
			}
			treetest.Edit(t, s, "put site/y")
			other.want(t, "after "+what, "change /site/y")
			stop()
		}
	})
}

// TestSlowListener: a client that does not read holds up neither the store nor other clients, and lists again.
func TestSlowListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memtree.New(memtree.Options{})
		treetest.Edit(t, s, "mkcol site")
		h := events.New(events.Options{Store: s, Feed: s, Kept: 8})
		slow, other := &client{seesAll: true}, &client{seesAll: true}
		defer listen(t, h, slow, "site", "")()
		defer listen(t, h, other, "site", "")()
		slow.want(t, "at first", "ready /site/")
		other.want(t, "at first", "ready /site/")
		wait := make(chan struct{})
		slow.blocked.Store(&wait)
		for range 20 {
			treetest.Edit(t, s, "put site/f")
			other.want(t, "another client", "change /site/f")
		}
		slow.blocked.Store(nil)
		close(wait)
		slow.want(t, "the slow client", "change /site/f", "list /site/")
		treetest.Edit(t, s, "put site/g")
		slow.want(t, "and then", "change /site/g")
	})
}

// TestEventsAreSentInPieces: a listener that was away, or is slow, costs the server no more memory for many changes with long
// names. What is too much for the names that are kept is listed again.
func TestEventsAreSentInPieces(t *testing.T) {
	long := strings.Repeat("n", 4000)
	for _, tt := range []struct {
		name    string
		changes int
		later   bool
		want    int // events
	}{
		{"behind the latest changes", 300, false, 300},
		{"away", 300, true, 300},
		{"more than is kept", 1100, false, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := memtree.New(memtree.Options{})
				treetest.Edit(t, s, "mkcol site", "put site/"+long)
				c := &client{seesAll: true}
				h := events.New(events.Options{Store: s, Feed: s})
				stop := listen(t, h, c, "site", "")
				id := c.lastID()
				c.want(t, "at first", "ready /site/")
				wait := make(chan struct{})
				c.blocked.Store(&wait)
				if tt.later {
					stop()
				}
				for range tt.changes {
					treetest.Edit(t, s, "put site/"+long)
					synctest.Wait()
				}
				c.blocked.Store(nil)
				close(wait)
				if tt.later {
					stop = listen(t, h, c, "site", id)
				}
				defer stop()
				synctest.Wait()
				if got := c.take(); len(got) != tt.want {
					t.Errorf("%d events, want %d", len(got), tt.want)
				}
				if c.largest > 64<<10 {
					t.Errorf("%d bytes are sent at once", c.largest)
				}
			})
		})
	}
}

// TestHeartbeat: a quiet stream has a comment now and then, or the present position if changes have passed that the client
// was not told.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memtree.New(memtree.Options{})
		treetest.Edit(t, s, "mkcol site")
		h := events.New(events.Options{Store: s, Feed: s})
		c := &client{seesAll: true}
		stop := listen(t, h, c, "site", "")
		c.want(t, "at first", "ready /site/")
		time.Sleep(14 * time.Second)
		c.want(t, "too early")
		time.Sleep(17 * time.Second)
		c.want(t, "heartbeats", "(heartbeat)", "(heartbeat)")
		treetest.Edit(t, s, "put elsewhere")
		c.want(t, "elsewhere")
		time.Sleep(15 * time.Second)
		id := c.lastID()
		c.want(t, "its position", "(id)")
		time.Sleep(15 * time.Second)
		c.want(t, "a heartbeat again", "(heartbeat)")
		stop()
		treetest.Edit(t, s, "put site/f")
		defer listen(t, h, c, "site", id)()
		c.want(t, "from there", "change /site/f")
	})
}

// TestStreamEnds with the login or the rules, which are asked before each event and at each heartbeat, and when the
// server stops.
func TestStreamEnds(t *testing.T) {
	for _, how := range []string{"before an event", "at a heartbeat", "with the server"} {
		synctest.Test(t, func(t *testing.T) {
			s := memtree.New(memtree.Options{})
			treetest.Edit(t, s, "mkcol site")
			ending := make(chan struct{})
			h := events.New(events.Options{Store: s, Feed: s, Ending: ending})
			c, ended := &client{seesAll: true, header: http.Header{}}, make(chan error, 1)
			go func() { ended <- h.Serve(t.Context(), c, c, "", "site", "") }()
			c.want(t, how, "ready /site/")
			switch how {
			case "before an event":
				c.dead.Store(true)
				treetest.Edit(t, s, "put site/secret")
			case "at a heartbeat":
				c.dead.Store(true)
				time.Sleep(15 * time.Second)
			default:
				close(ending)
			}
			synctest.Wait()
			select {
			case err := <-ended:
				if err != nil {
					t.Error(how, err)
				}
			default:
				t.Fatal(how, "it does not end")
			}
			if got := c.take(); slices.Contains(got, "change /site/secret") {
				t.Errorf("%s: told %q", how, got)
			}
		})
	}
}

// TestListenersAreBounded: one more is refused, and the others go on.
func TestListenersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memtree.New(memtree.Options{})
		treetest.Edit(t, s, "mkcol site")
		h := events.New(events.Options{Store: s, Feed: s, Most: 3})
		var stops []func()
		for range 3 {
			stops = append(stops, listen(t, h, &client{seesAll: true}, "site", ""))
		}
		c, tooMany := &client{header: http.Header{}}, new(limit.Error)
		if err := h.Serve(t.Context(), c, c, "", "site", ""); !errors.As(err, &tooMany) {
			t.Errorf("error %v", err)
		}
		stops[0]()
		stops[0] = listen(t, h, c, "site", "")
		for _, stop := range stops {
			stop()
		}
	})
}

// A breaking feed ends with an error, once.
type breaking struct {
	*memtree.Store
	err    error
	breaks chan struct{}
	broken atomic.Bool
	reads  atomic.Int64
}

func (b *breaking) Changes(ctx context.Context, since, until tree.Cursor) iter.Seq2[tree.Change, error] {
	if b.broken.Load() {
		return b.Store.Changes(ctx, since, until)
	}
	return func(yield func(tree.Change, error) bool) {
		b.reads.Add(1)
		<-b.breaks
		b.broken.Store(true)
		yield(tree.Change{}, b.err)
	}
}

// TestLostChanges: where the store has lost changes, all clients list again.
func TestLostChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &breaking{Store: memtree.New(memtree.Options{}), err: tree.ErrNotExist, breaks: make(chan struct{})}
		treetest.Edit(t, s.Store, "mkcol site")
		h := events.New(events.Options{Store: s, Feed: s})
		clients := []*client{{seesAll: true}, {seesAll: true}}
		for _, c := range clients {
			defer listen(t, h, c, "site", "")()
			c.want(t, "at first", "ready /site/")
		}
		if n := s.reads.Load(); n != 1 {
			t.Errorf("%d readers for two clients", n)
		}
		treetest.Edit(t, s.Store, "put site/lost")
		close(s.breaks)
		time.Sleep(time.Minute)
		for _, c := range clients {
			synctest.Wait()
			if got := c.take(); len(got) < 2 || got[0] != "(heartbeat)" && got[0] != "list /site/" || !slices.Contains(got, "list /site/") {
				t.Errorf("told %q", got)
			}
		}
		treetest.Edit(t, s.Store, "put site/f")
		for _, c := range clients {
			c.want(t, "and then", "change /site/f")
		}
	})
}
