package quota_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/quota"
	"r-seed-1f3a754f.example/ifmatch/quota/limits"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
)

// TestAsManyAsFit: of equal writes that come at once, exactly as many are stored as have room, and the others are
// refused.
func TestAsManyAsFit(t *testing.T) {
	const writers, size, most = 12, 3000, 10_000
	for _, test := range []struct {
		name string
		do   func(u user, from, to string) error
	}{
		{"PUT", func(u user, _, to string) error { return u.put(to, size) }},
		{"PUT of unknown length", func(u user, _, to string) error { return u.putBody(to, content(size), -1) }},
		{"COPY of a file", func(u user, from, to string) error { return u.copy(from+"/f", to) }},
		{"COPY of a collection", func(u user, from, to string) error { return u.copy(from, to) }},
		{"MOVE of a file", func(u user, from, to string) error { return u.move(from+"/f", to) }},
		{"MOVE of a collection", func(u user, from, to string) error { return u.move(from, to) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, s *quota.Store, u user) {
				u.mkdir("free", "d")
				for w := range writers {
					u.mkdir(fmt.Sprint("free/", w))
					u.must(u.put(fmt.Sprint("free/", w, "/f"), size))
				}
				var all sync.WaitGroup
				var stored, refused atomic.Int64
				begin := make(chan struct{})
				for w := range writers {
					all.Go(func() {
						<-begin
						switch err := test.do(u, fmt.Sprint("free/", w), fmt.Sprint("d/", w)); {
						case err == nil:
							stored.Add(1)
						case errors.Is(err, tree.ErrNoSpace):
							refused.Add(1)
						default:
							t.Error(err)
						}
					})
				}
				close(begin)
				all.Wait()
				if stored.Load() != most/size || refused.Load() != writers-most/size {
					t.Errorf("%d were stored and %d refused, want %d and %d",
						stored.Load(), refused.Load(), most/size, writers-most/size)
				}
				there := walked(t, s, "d")
				if a := s.Allowances("d")[0]; a.Used != there || a.Available != most-there || there != most/size*size {
					t.Errorf("%+v, and %d bytes are there", a, there)
				}
			}, limits.Limit{Path: "/d", Max: most})
		})
	}
}

// TestConcurrentWritersNeverExceed: many writers at once, of all kinds, in two limits and between them. In one of them
// half of the room is taken by a file that stays, so that some writers can never have room there.
func TestConcurrentWritersNeverExceed(t *testing.T) {
	const writers, rounds, most = 16, 20, 10_000
	onBoth(t, func(t *testing.T, s *quota.Store, u user) {
		u.mkdir("home", "home/a", "home/b", "home/a/d", "home/b/d")
		u.must(u.put("home/a/stays", most/2))
		var done atomic.Bool
		var watching, running sync.WaitGroup
		var above atomic.Int64
		watching.Go(func() {
			for !done.Load() {
				for _, name := range []string{"home/a", "home/b"} {
					// A listing is not of one instant, so only single collections are looked at, of which nothing moves.
					for _, a := range s.Allowances(name) {
						if a.Used > most {
							above.Store(a.Used)
						}
					}
				}
			}
		})
		var stored, refused atomic.Int64
		for w := range writers {
			running.Go(func() {
				for i := range rounds {
					err := u.anyWrite(w, i)
					switch {
					case err == nil:
						stored.Add(1)
					case errors.Is(err, tree.ErrNoSpace):
						refused.Add(1)
					}
				}
			})
		}
		running.Wait()
		done.Store(true)
		watching.Wait()
		if above.Load() > 0 {
			t.Errorf("%d bytes counted at once, and %d may", above.Load(), most)
		}
		for _, name := range []string{"home/a", "home/b"} {
			there := walked(t, s, name)
			if there > most {
				t.Errorf("%s: %d bytes are there, and %d may", name, there, most)
			}
			await(t, s, name, there)
		}
		if stored.Load() == 0 || refused.Load() == 0 {
			t.Errorf("%d writes were stored, and %d refused: the test shows nothing", stored.Load(), refused.Load())
		}
	}, limits.Limit{Path: "/home/{user}", Max: most})
}

// anyWrite does one of the writes of TestConcurrentWritersNeverExceed.
func (u user) anyWrite(w, i int) error {
	names := []string{"home/a/f", "home/b/f", "home/a/d", "home/b/d", "home/a/d/f", "home/b/d/f", "home/a/g"}
	one, other := names[(w+i)%len(names)], names[(w*3+i*5)%len(names)]
	switch (w + i*7) % 5 {
	case 0, 1:
		return u.put(one, 1500+300*w)
	case 2:
		return u.copy(one, other)
	case 3:
		return u.move(one, other)
	}
	return u.put(one, 10*w)
}

// A staged store has something happen between the listing of the source of a COPY, by the quota, and the copy.
type staged struct {
	quota.Inner
	between, after func()
}

func (s *staged) Copy(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	s.between()
	state, created, err := s.Inner.Copy(ctx, from, to, opts, cond)
	if s.after != nil {
		s.after() // before the quota knows how it has ended
	}
	return state, created, err
}

// A copyCase is a case of TestCopyOfWhatChanges.
type copyCase struct {
	name    string
	between func(u user)
	after   func(u user)
	to      string // where the copy is in the end
	want    error
}

// TestCopyOfWhatChanges: other operations change the source of a COPY while the copy is being made. The bytes that the copy
// has in the end are counted, and never fewer.
func TestCopyOfWhatChanges(t *testing.T) {
	for _, test := range []copyCase{
		{"nothing", func(user) {}, nil, "d/to", nil},
		{"a file goes", func(u user) { u.must(u.remove("src/e/f")) }, nil, "d/to", nil},
		{"a file shrinks", func(u user) { u.must(u.put("src/e/f", 1)) }, nil, "d/to", nil},
		{"a file grows", func(u user) { u.must(u.put("src/e/f", 700)) }, nil, "d/to", nil},
		{"a file grows too large", func(u user) { u.must(u.put("src/e/f", 901)) }, nil, "", tree.ErrNoSpace},
		{"a file comes", func(u user) { u.must(u.put("src/new", 100)) }, nil, "d/to", nil},
		{"a collection comes", func(u user) { u.must(u.move("other", "src/other")) }, nil, "d/to", nil},
		{"a collection goes", func(u user) { u.must(u.move("src/e", "e")) }, nil, "d/to", nil},
		{"another takes its place", func(u user) {
			u.must(u.move("src", "was"))
			u.must(u.move("other", "src"))
		}, nil, "", tree.ErrBusy},
		{"another was in its place", func(u user) {
			u.must(u.move("src", "was"))
			u.must(u.move("other", "src"))
			u.must(u.move("src", "other"))
			u.must(u.move("was", "src"))
		}, nil, "", tree.ErrBusy},
		{"the copy is moved at once", func(u user) { u.must(u.remove("src/e/f")) },
			func(u user) { u.must(u.move("d/to", "d/moved")) }, "d/moved", nil},
		{"the collection of the copy is moved at once", func(u user) { u.must(u.remove("src/e/f")) },
			func(u user) { u.must(u.move("d", "x")); u.must(u.move("x", "d")) }, "d/to", nil},
	} {
		t.Run(test.name+"/memory", func(t *testing.T) { test.run(t, memory{memtree.New(memtree.Options{})}) })
		t.Run(test.name+"/directory", func(t *testing.T) { test.run(t, openDirectory(t, t.TempDir())) })
	}
}

func (test copyCase) run(t *testing.T, inner quota.Inner) {
	const most = 1000
	stage := &staged{Inner: inner}
	s := start(t, stage, quota.Options{}, limits.Limit{Path: "/d", Max: most})
	u := user{t, s}
	u.mkdir("d", "src", "src/e", "other")
	u.must(u.put("src/e/f", 300))
	u.must(u.put("src/g", 100))
	u.must(u.put("other/f", 400))
	await(t, s, "d", 0)
	stage.between = func() { test.between(u) }
	if test.after != nil {
		stage.after = func() { test.after(u) }
	}
	if err := u.copy("src", "d/to"); !errors.Is(err, test.want) || err == nil != (test.want == nil) {
		t.Fatalf("got %v, want %v", err, test.want)
	}
	there := walked(t, s, test.to)
	if test.to == "" {
		there = 0
	}
	if got := used(t, s, "d"); got < there {
		t.Errorf("%d bytes count, and %d are there", got, there)
	}
	await(t, s, "d", there)
	u.must(u.put("d/rest", int(most-there))) // nothing is reserved any more
}

// TestMovedBeforeItIsListed: what another program has done in a collection counts where the collection is, though it
// was moved by a request before it could be listed.
func TestMovedBeforeItIsListed(t *testing.T) {
	dir := t.TempDir()
	inner := openDirectory(t, dir)
	inner.Watched(func(context.Context) error { return nil })
	s := start(t, inner, quota.Options{}, limits.Limit{Path: "/*", Max: 1000})
	u := user{t, s}
	u.mkdir("a", "a/d", "b")
	u.must(u.put("a/d/f", 10))
	await(t, s, "a", 10)
	for i, name := range []string{"a/d/g", "a/d/new/f", "a/d/new/g"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
		inner.Changed(name)
		_, err := inner.Now(t.Context()) // the feed has the change
		u.must(err)
		u.must(u.move("a/d", "b/d"))
		await(t, s, "b", int64(110+100*i))
		await(t, s, "a", 0)
		u.must(u.move("b/d", "a/d"))
		await(t, s, "a", int64(110+100*i))
	}
}

// A slow store has something happen between a look at the members of a collection and the end of its listing.
type slow struct {
	directory
	name   string
	looked atomic.Pointer[func()] // once
}

func (s *slow) List(
	ctx context.Context, name string, opts tree.ListOptions, cond tree.Condition,
) iter.Seq2[tree.State, error] {
	all := s.directory.List(ctx, name, opts, cond)
	if name != s.name || opts.Depth != 1 {
		return all
	}
	return func(yield func(tree.State, error) bool) {
		for state, err := range all {
			if !yield(state, err) {
				return
			}
		}
		if looked := s.looked.Swap(nil); looked != nil {
			(*looked)()
		}
	}
}

// TestMadeWhileItsParentIsListed: what comes into a collection counts, though a listing of the one above it does not
// know the collection yet.
func TestMadeWhileItsParentIsListed(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(u user)
	}{
		{"PUT", func(u user) { u.must(u.put("d/e/f", 300)) }},
		{"PUT below", func(u user) { u.mkdir("d/e/e"); u.must(u.put("d/e/e/f", 300)) }},
		{"MOVE of a file", func(u user) { u.must(u.move("from/f", "d/e/f")) }},
		{"MOVE of a collection", func(u user) { u.must(u.move("from", "d/e/f")) }},
		{"COPY of a collection", func(u user) { u.must(u.copy("from", "d/e/f")) }},
		{"MOVE of it all", func(u user) { u.must(u.put("d/e/f", 300)); u.must(u.move("d/e", "d/x")) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			inner := &slow{directory: openDirectory(t, dir), name: "d"}
			inner.Watched(func(context.Context) error { return nil })
			s := start(t, inner, quota.Options{Gather: time.Millisecond}, limits.Limit{Path: "/d", Max: 1000})
			u := user{t, s}
			u.mkdir("d", "from")
			u.must(u.put("from/f", 300))
			u.must(u.put("d/first", 1)) // it waits until the sums are known
			looked := make(chan struct{})
			do := func() {
				defer close(looked)
				u.mkdir("d/e")
				test.do(u)
			}
			inner.looked.Store(&do)
			write := func(name string) {
				t.Helper()
				if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 10), 0o600); err != nil {
					t.Fatal(err)
				}
				inner.Changed(name)
			}
			write("d/one")
			<-looked
			await(t, s, "d", 311)
			write("d/two") // it is listed again
			await(t, s, "d", 321)
		})
	}
}
