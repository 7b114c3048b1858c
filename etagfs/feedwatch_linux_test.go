package etagfs_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/watcher"
)

// A followedStore is a store with a watcher, as the program has them.
type followedStore struct {
	*etagfs.Store
	stop  func()       // ends the watcher
	turn  sync.Mutex   // held while the watcher tells of something
	calls atomic.Int64 // how often it was about to
}

func serveFollowed(t *testing.T, dir, index string) *followedStore {
	t.Helper()
	below, err := fs.Open(dir, fs.Options{Durability: fs.None, History: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := etagfs.New(below, etagfs.Options{Journal: true, IndexDir: index})
	if err != nil {
		t.Fatal(err)
	}
	followed := &followedStore{Store: s}
	asks, ready, done := make(chan chan<- bool), make(chan struct{}), make(chan error, 1)
	watching, cancel := context.WithCancel(ctx)
	opts := watcher.Options{
		Skip: func(name string) bool { return name == ".ifmatch" }, Ask: asks, AskDir: s.AskDir(),
		Ready: func() {
			s.Watched(func(ctx context.Context) error { return question(ctx, asks) })
			close(ready)
		},
	}
	go func() {
		done <- watcher.Watch(watching, dir, opts, func(events []watcher.Event) {
			followed.calls.Add(1)
			followed.turn.Lock()
			defer followed.turn.Unlock()
			for _, ev := range events {
				switch ev.Op {
				case watcher.Changed:
					s.Changed(ev.Name)
				case watcher.Removed:
					s.Removed(ev.Name)
				case watcher.Overflow:
					s.Rescan()
				}
			}
		})
	}()
	<-ready
	followed.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	return followed
}

func question(ctx context.Context, asks chan<- chan<- bool) error {
	answer := make(chan bool, 1)
	select {
	case asks <- answer:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case yes := <-answer:
		if !yes {
			return errors.New("it is not known")
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A mirror has the names and tags of a tree, and follows its changes.
type mirror struct {
	t     *testing.T
	has   map[string]tree.ETag
	seen  tree.Cursor
	again int // how often it had to list everything
}

func (m *mirror) list(s tree.Store, name string) {
	m.t.Helper()
	maps.DeleteFunc(m.has, func(have string, _ tree.ETag) bool { return have == name || tree.Below(have, name) })
	opts := tree.ListOptions{Want: tree.WantTag, Depth: -1}
	for state, err := range s.List(ctx, name, opts, tree.Condition{}) {
		if errors.Is(err, tree.ErrNotExist) {
			return
		}
		if err != nil {
			m.t.Fatal(err)
		}
		if state.Name != "" {
			m.has[state.Name] = state.Tag
		}
	}
}

func (m *mirror) catchUp(s *followedStore) {
	m.t.Helper()
	changes, again := followed(m.t, s, m.seen)
	if again {
		m.again++
		m.seen = now(m.t, s)
		m.list(s, "")
		return
	}
	for _, c := range changes {
		if c.From != "" {
			m.list(s, c.From)
		}
		m.list(s, c.Name)
		m.seen = c.Cursor
	}
}

// hold has the watcher wait, once it tells of something, until the function that it returns is called.
func (s *followedStore) hold(t *testing.T, dir string) (goOn func()) {
	t.Helper()
	s.turn.Lock()
	before := s.calls.Load()
	if err := os.WriteFile(filepath.Join(dir, "any"), fmt.Append(nil, before), 0o666); err != nil {
		t.Fatal(err)
	}
	for s.calls.Load() == before {
		runtime.Gosched()
	}
	return s.turn.Unlock
}

// TestRemovalInANewCollectionIsTold: a collection is new, and a program removes what a client has put into it before the
// watcher watches it. No event of the system tells of that.
func TestRemovalInANewCollectionIsTold(t *testing.T) {
	dir := t.TempDir()
	s := serveFollowed(t, dir, t.TempDir())
	defer func() {
		s.stop()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	onDisk := func(name string) error { return os.MkdirAll(filepath.Join(dir, name), 0o777) }
	for _, test := range []struct {
		about, file, gone string // what a client puts, and what the program removes
		make              func() error
	}{
		{"made by a program", "a/f", "a/f", func() error { return onDisk("a") }},
		{"made by a client", "b/f", "b/f", func() error { return lay("b/")(s) }},
		{"in another one", "c/in/in/f", "c/in", func() error { return onDisk("c/in/in") }},
		{"where a file was", "d/f", "d/f", func() error {
			return errors.Join(lay("d=file")(s), s.Remove(ctx, "d", tree.Condition{}), onDisk("d"))
		}},
	} {
		goOn := s.hold(t, dir)
		err := errors.Join(test.make(), put(s, test.file, "1", tree.Condition{}), os.RemoveAll(filepath.Join(dir, test.gone)))
		goOn()
		if err != nil {
			t.Fatal(err)
		}
		if all, _ := followed(t, s, ""); !isToldGone(all, test.file) {
			t.Errorf("a collection %s: followers still have %s: %q", test.about, test.file, lines(all))
		}
	}
}

// isToldGone reports whether followers who were told of the PUT of a name know that nothing is there any more.
func isToldGone(all []tree.Change, name string) bool {
	gone := false
	for _, c := range all {
		switch {
		case c.Name == name && c.Cause == "PUT":
			gone = false
		case c.Name == name || tree.Below(name, c.Name):
			gone = gone || c.Again || !c.State.Exists
		}
	}
	return gone
}

// TestMirrorOfStoreAndDisk: clients and local programs change a tree, and the server is stopped, killed and started,
// with changes meanwhile. A mirror that follows the changes has in the end what is there.
func TestMirrorOfStoreAndDisk(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			dir, index := t.TempDir(), t.TempDir()
			s := serveFollowed(t, dir, index)
			m := &mirror{t: t, has: map[string]tree.ETag{}, seen: now(t, s)}
			m.list(s, "")
			random := rand.New(rand.NewPCG(seed, 1))
			all := []string{"a", "b", "c", "a/x", "a/y", "b/x", "b/y", "a/d", "a/d/x", "b/d", "b/d/y", "c/z"}
			name := func() string { return all[random.IntN(len(all))] }
			onDisk := func(i int) {
				at := filepath.Join(dir, name())
				switch random.IntN(5) {
				case 0, 1:
					_ = os.WriteFile(at, fmt.Append(nil, "disk ", i), 0o666)
				case 2:
					_ = os.MkdirAll(at, 0o777)
				case 3:
					_ = os.RemoveAll(at)
				case 4:
					_ = os.Rename(at, filepath.Join(dir, name()))
				}
			}
			for i := range 150 {
				switch at := name(); random.IntN(10) {
				case 0, 1:
					_ = put(s, at, fmt.Sprint(i), tree.Condition{})
				case 2:
					_, _ = s.Mkdir(ctx, at, tree.MkdirOptions{}, tree.Condition{})
				case 3:
					_ = s.Remove(ctx, at, tree.Condition{})
				case 4:
					_ = move(at, name())(s)
				case 5:
					_ = copyTo(at, name())(s)
				case 6, 7, 8:
					onDisk(i)
				case 9:
					if random.IntN(3) > 0 {
						m.catchUp(s)
						continue
					}
					if random.IntN(2) == 0 { // else it is killed, and notes nothing
						s.NoteSeen(ctx)
					}
					s.stop()
					if err := s.Close(); err != nil {
						t.Error(err)
					}
					for range random.IntN(3) {
						onDisk(i)
					}
					s = serveFollowed(t, dir, index)
				}
			}
			for s.Unsettled() { // the search after the last start
				m.catchUp(s)
			}
			m.catchUp(s)
			truth := &mirror{t: t, has: map[string]tree.ETag{}}
			truth.list(s, "")
			if !maps.Equal(m.has, truth.has) {
				t.Errorf("the mirror has %v\nand there is %v", m.has, truth.has)
			}
			if m.again > 0 {
				t.Errorf("it had to list all %d times: the journal was lost", m.again)
			}
			s.stop()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
