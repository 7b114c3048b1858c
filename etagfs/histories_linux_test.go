package etagfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A past is a directory with a history, and the dates with which each content of one name was shown.
type past struct {
	t      *testing.T
	dir    string
	index  string
	clock  *treetest.Clock
	stores []*etagfs.Store
	closes []func()
	name   string
	turn   int
	shown  map[string][]int64
}

func newPast(t *testing.T, stores int) *past {
	p := &past{t: t, dir: t.TempDir(), index: filepath.Join(t.TempDir(), "index"), clock: treetest.NewClock(),
		shown: map[string][]int64{}}
	p.stores, p.closes = make([]*etagfs.Store, stores), make([]func(), stores)
	for i := range p.stores {
		p.open(i)
	}
	p.clock.Advance(10 * time.Second)
	return p
}

func (p *past) open(i int) {
	below, err := fs.Open(p.dir, fs.Options{Durability: fs.None})
	p.stores[i], p.closes[i] = open(p.t, etagfs.Options{IndexDir: p.index, Now: p.clock.Now}, below, err)
}

func (p *past) restart() {
	for i := range p.stores {
		p.closes[i]()
		p.open(i)
	}
}

func (p *past) must(errs ...error) {
	p.t.Helper()
	for _, err := range errs {
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *past) path(name string) string { return filepath.Join(p.dir, name) }

// store returns each store in turn.
func (p *past) store() *etagfs.Store {
	p.turn++
	return p.stores[p.turn%len(p.stores)]
}

// local has a local program write a file with a date.
func (p *past) local(name, content string, date int64) {
	p.t.Helper()
	then := time.Unix(date, 0)
	p.must(os.MkdirAll(filepath.Dir(p.path(name)), 0o777), os.WriteFile(p.path(name), []byte(content), 0o666),
		os.Chtimes(p.path(name), then, then))
}

func (p *past) put(name, content string, date int64) {
	p.t.Helper()
	opts := tree.PutOptions{Length: -1}
	if date != 0 {
		opts.Modified = time.Unix(date, 0)
	}
	s, _, err := p.store().Put(p.t.Context(), name, strings.NewReader(content), opts, tree.Condition{})
	p.must(err)
	if name == p.name {
		p.shown[content] = append(p.shown[content], s.Modified.Unix())
	}
}

func (p *past) move(from, to string) {
	p.t.Helper()
	_, _, err := p.store().Move(p.t.Context(), from, to, tree.CopyOptions{}, tree.Condition{})
	p.must(err)
}

func (p *past) exchange(one, other string) {
	p.t.Helper()
	p.must(unix.Renameat2(unix.AT_FDCWD, p.path(one), unix.AT_FDCWD, p.path(other), unix.RENAME_EXCHANGE))
}

// show has a client look at the name, through one store.
func (p *past) show() {
	p.t.Helper()
	s, err := p.store().Stat(p.t.Context(), p.name, tree.ReadOptions{Want: tree.WantTag})
	p.must(err)
	data, err := os.ReadFile(p.path(p.name))
	p.must(err)
	p.shown[string(data)] = append(p.shown[string(data)], s.Modified.Unix())
}

// wantNoLies asserts that no date of other content proves what is there, in any store, and returns for how many the
// rule of RFC 9110 §13.1.4 would have.
func (p *past) wantNoLies() (dangerous int) {
	p.t.Helper()
	data, err := os.ReadFile(p.path(p.name))
	p.must(err)
	for _, s := range p.stores {
		err := s.Try(p.t.Context(), treetest.If(func(v tree.View) error {
			is, err := v.State(p.name)
			if err == nil && is.Tag == "" {
				err = tree.ErrTagUnknown
			}
			if err != nil {
				return err
			}
			for content, dates := range p.shown {
				for _, date := range dates {
					if content == string(data) || date < is.Modified.Unix() {
						continue
					}
					dangerous++
					if is.ProvenBy(time.Unix(date, 0)) == tree.True {
						p.t.Errorf("the date %v was shown with %q, and proves %q of %v", time.Unix(date, 0), content,
							data, is.Modified)
					}
				}
			}
			return nil
		}, p.name))
		p.must(err)
	}
	return dangerous
}

// In each history, a date that a client was shown with one version is one by which the modification date of another
// version is not later. No such date proves that version.
func TestDatesOfOtherVersionsProveNothing(t *testing.T) {
	same := time.Now().Add(-time.Hour).Unix() // the date of all versions
	for _, test := range []struct {
		name string
		of   string
		do   func(p *past, between func())
	}{
		{"a file is put over it", "f", func(p *past, between func()) {
			p.put("f", "one", same)
			between()
			p.put("f", "two", same)
		}},
		{"a client moves a file over it", "f", func(p *past, between func()) {
			p.local("g", "two", same)
			p.local("f", "one", same)
			p.show()
			between()
			p.move("g", "f")
		}},
		{"a local program moves a file over it", "f", func(p *past, between func()) {
			p.put("f", "one", same)
			p.local("g", "two", same)
			between()
			p.must(os.Rename(p.path("g"), p.path("f")))
		}},
		{"a local program exchanges it with another file, and back", "f", func(p *past, between func()) {
			p.put("f", "one", same)
			p.put("g", "two", same)
			between()
			p.exchange("f", "g")
			p.show()
			between()
			p.exchange("f", "g")
		}},
		{"a local program moves it away, and back", "f", func(p *past, between func()) {
			p.put("f", "one", same)
			p.must(os.Rename(p.path("f"), p.path("x")))
			p.put("f", "two", same)
			between()
			p.must(os.Rename(p.path("x"), p.path("f")))
		}},
		{"a client moves a collection over another one", "d/f", func(p *past, between func()) {
			p.local("e/f", "two", same)
			p.local("d/f", "one", same)
			p.show()
			between()
			p.move("e", "d")
		}},
		{"a client moves a collection away, and back", "d/f", func(p *past, between func()) {
			p.local("d/f", "one", 0)
			p.local("e/f", "none", 0)
			p.put("d/f", "one", same)
			p.put("e/f", "two", same)
			between()
			p.move("d", "x")
			p.move("e", "d")
			p.show()
			between()
			p.move("d", "e")
			p.move("x", "d")
		}},
		{"a local program exchanges two collections, and back", "d/f", func(p *past, between func()) {
			p.local("d/f", "one", 0)
			p.local("e/f", "none", 0)
			p.put("d/f", "one", same)
			p.put("e/f", "two", same)
			between()
			p.exchange("d", "e")
			p.show()
			between()
			p.exchange("d", "e")
		}},
		{"a local program exchanges two collections further up, and back", "a/d/f", func(p *past, between func()) {
			p.local("a/d/f", "one", 0)
			p.local("b/d/f", "none", 0)
			p.put("a/d/f", "one", same)
			p.put("b/d/f", "two", same)
			between()
			p.exchange("a", "b")
			p.show()
			between()
			p.exchange("a", "b")
		}},
		{"a link on the way is turned", "l/f", func(p *past, between func()) {
			p.local("d/f", "one", same)
			p.local("e/f", "two", same)
			p.must(os.Symlink("d", p.path("l")))
			p.show()
			between()
			p.must(os.Remove(p.path("l")), os.Symlink("e", p.path("l")))
		}},
		{"a link on the way is turned, and back", "l/f", func(p *past, between func()) {
			p.local("d/f", "one", 0)
			p.local("e/f", "none", 0)
			p.put("d/f", "one", same)
			p.put("e/f", "two", same)
			p.must(os.Symlink("e", p.path("l")))
			p.show()
			between()
			p.must(os.Remove(p.path("l")), os.Symlink("d", p.path("l")))
		}},
		{"it is deleted, and made again", "f", func(p *past, between func()) {
			p.put("f", "one", same)
			between()
			p.must(p.store().Remove(p.t.Context(), "f", tree.Condition{}))
			between()
			p.put("f", "two", same)
		}},
		{"a collection is deleted, and made again", "d/f", func(p *past, between func()) {
			p.local("d/f", "none", 0)
			p.put("d/f", "one", same)
			between()
			p.must(p.store().Remove(p.t.Context(), "d", tree.Condition{}))
			_, err := p.store().Mkdir(p.t.Context(), "d", tree.MkdirOptions{}, tree.Condition{})
			p.must(err)
			p.put("d/f", "two", same)
		}},
		{"a local program writes to it", "f", func(p *past, between func()) {
			p.put("f", "one", same)
			p.show()
			between()
			p.local("f", "two", same)
		}},
		{"the clock is set back", "f", func(p *past, between func()) {
			p.put("f", "one", 0)
			p.clock.Advance(-30 * time.Minute)
			between()
			p.put("f", "two", 0)
			p.show()
			p.clock.Advance(2 * time.Hour)
		}},
		{"the clock is set back, and a local program writes to it", "f", func(p *past, between func()) {
			p.put("f", "one", 0)
			p.clock.Advance(-30 * time.Minute)
			between()
			p.local("f", "two", p.clock.Now().Unix())
			p.show()
			p.clock.Advance(2 * time.Hour)
		}},
		{"the clock is set back, and two collections are exchanged, and back", "d/f", func(p *past, between func()) {
			p.local("d/f", "one", 0)
			p.local("e/f", "none", 0)
			p.put("d/f", "one", same)
			p.put("e/f", "two", same)
			between()
			p.clock.Advance(-30 * time.Minute)
			p.exchange("d", "e")
			p.show()
			between()
			p.exchange("d", "e")
			p.clock.Advance(2 * time.Hour)
		}},
		{"all in one second", "f", func(p *past, between func()) {
			for _, content := range []string{"one", "two", "three"} {
				p.put("f", content, 0)
				p.show()
				between()
				p.local("f", content+" edited", p.clock.Now().Unix())
				p.show()
				between()
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, how := range []struct {
				name     string
				stores   int
				restarts bool
			}{{"one process", 1, false}, {"restarts", 1, true}, {"two processes", 2, false},
				{"two processes that restart", 2, true}} {
				t.Run(how.name, func(t *testing.T) {
					p := newPast(t, how.stores)
					p.name = test.of
					test.do(p, func() {
						if how.restarts {
							p.restart()
						}
					})
					if p.wantNoLies() == 0 {
						t.Error("no date was shown by which this could fail")
					}
					p.clock.Advance(10 * time.Second)
					p.show()
					p.wantNoLies()
				})
			}
		})
	}
}

// What is mounted over a collection, and taken away again, leaves no trace in the times of either.
func TestDatesOfWhatWasMountedOverProveNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: root can mount a directory on another, and others cannot")
	}
	same := time.Now().Add(-time.Hour).Unix()
	for _, restarts := range []bool{false, true} {
		for _, stores := range []int{1, 2} {
			p := newPast(t, stores)
			p.name = "d/f"
			between := func() {
				if restarts {
					p.restart()
				}
			}
			p.local("d/f", "none", 0)
			p.local("e/f", "none", 0)
			p.put("d/f", "one", same)
			p.put("e/f", "two", same)
			between()
			p.must(unix.Mount(p.path("e"), p.path("d"), "", unix.MS_BIND, ""))
			p.show()
			between()
			unmount(t, p.path("d"))
			if p.wantNoLies() == 0 {
				t.Error("no date was shown by which this could fail")
			}
		}
	}
}

// Clients count by date alone, each time through another one of two processes. No increment is lost. A client that a
// date does not help goes by the tag once, as the refusal says.
func TestCountByDateThroughTwoProcesses(t *testing.T) {
	p := newPast(t, 2)
	p.local("counter", "0", p.clock.Now().Unix()-10)
	const clients, increments = 4, 15
	var byDate, byTag atomic.Int32
	increment := func(i int) error {
		for try := range 200 {
			s := p.stores[(i+try)%len(p.stores)]
			f, seen, err := s.Open(t.Context(), "counter", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
			if err != nil {
				return err
			}
			var data strings.Builder
			_, err = f.WriteRange(t.Context(), &data, 0, seen.Size)
			err = errors.Join(err, f.Close())
			if errors.Is(err, tree.ErrChanged) && data.Len() == 0 {
				continue // the other process has replaced it between the look and the opening: nothing was sent
			}
			if err != nil {
				return err
			}
			p.clock.Advance(200 * time.Millisecond)
			withTag := try%20 == 19
			n, err := strconv.Atoi(data.String())
			if err != nil {
				return err
			}
			s = p.stores[(i+try+1)%len(p.stores)] // another one than was asked
			content := strconv.Itoa(n + 1)
			opts := tree.PutOptions{Length: int64(len(content))}
			_, _, err = s.Put(t.Context(), "counter", strings.NewReader(content), opts,
				treetest.If(func(v tree.View) error {
					is, err := v.State("counter")
					if err != nil {
						return err
					}
					if withTag && is.Tag == "" {
						return tree.ErrTagUnknown
					}
					if is.Exists &&
						(withTag && is.Tag == seen.Tag || !withTag && is.ProvenBy(seen.Modified) == tree.True) {
						return nil
					}
					return errRefused
				}, "counter"))
			switch {
			case err == nil && withTag:
				byTag.Add(1)
				return nil
			case err == nil:
				byDate.Add(1)
				return nil
			case !errors.Is(err, errRefused) && !errors.Is(err, tree.ErrBusy):
				return err
			}
		}
		return errors.New("it does not get through")
	}
	var all errgroup.Group
	for i := range clients {
		all.Go(func() error {
			for range increments {
				if err := increment(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	p.must(all.Wait())
	data, err := os.ReadFile(p.path("counter"))
	p.must(err)
	if string(data) != strconv.Itoa(clients*increments) {
		t.Errorf("it is %s after %d increments", data, clients*increments)
	}
	if byDate.Load() == 0 {
		t.Error("a date was never believed")
	}
	t.Logf("%d increments by date, %d by tag", byDate.Load(), byTag.Load())
}

var errRefused = errors.New("refused")
