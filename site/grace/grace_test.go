package grace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

const kept = 10 * time.Minute

// A stage is a store with a site at "www", and a keeper of it.
type stage struct {
	*testing.T
	dir    string
	store  *etagfs.Store
	keeper *Keeper
	later  time.Duration // of the clock of the keeper
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{T: t, dir: t.TempDir()}
	s.open()
	t.Cleanup(func() { s.store.Close() })
	return s
}

func (s *stage) open() {
	s.Helper()
	below, err := fs.Open(s.dir, fs.Options{History: true, Durability: fs.None})
	if err != nil {
		s.Fatal(err)
	}
	if s.store, err = etagfs.New(below, etagfs.Options{Journal: true}); err != nil {
		s.Fatal(err)
	}
	s.keeper = New(s.store, s.store, Sites{"www": kept}, func() time.Time { return time.Now().Add(s.later) })
}

// do does a step: "site FILE=CONTENT …" publishes a site, and the others are plain.
func (s *stage) do(step string) {
	s.Helper()
	ctx, args := s.Context(), strings.Fields(step)
	put := func(name, content string) error {
		for dir := range parents(name) {
			_, err := s.store.Mkdir(ctx, dir, tree.MkdirOptions{}, tree.Condition{})
			if err != nil && !errors.Is(err, tree.ErrExist) {
				return err
			}
		}
		_, _, err := s.store.Put(ctx, name, strings.NewReader(content), tree.PutOptions{Length: -1}, tree.Condition{})
		return err
	}
	move := func(from, to string) error {
		_, _, err := s.store.Move(ctx, from, to, tree.CopyOptions{}, tree.Condition{})
		return err
	}
	var err error
	switch args[0] {
	case "site":
		for _, file := range args[1:] {
			name, content, _ := strings.Cut(file, "=")
			err = errors.Join(err, put("next/"+name, content))
		}
		err = errors.Join(err, move("next", "www"))
	case "put":
		name, content, _ := strings.Cut(args[1], "=")
		err = put(name, content)
	case "move":
		err = move(args[1], args[2])
	case "delete":
		err = s.store.Remove(ctx, args[1], tree.Condition{})
	case "restore":
		id := ""
		for v, failed := range s.store.Versions(ctx, args[1], tree.VersionOptions{}) {
			if err = errors.Join(err, failed); v.Name == args[1] {
				id = v.ID
			}
		}
		_, _, failed := s.store.Restore(ctx, id, args[1], tree.RestoreOptions{}, tree.Condition{})
		err = errors.Join(err, failed)
	case "prune":
		_, err = s.store.Prune(ctx, args[1], false, func(tree.Version, int64) {})
	case "restart":
		err = s.store.Close()
		s.open()
	case "wait":
		d, failed := time.ParseDuration(args[1])
		s.later, err = s.later+d, failed
	case "ask":
		_, _, err = s.keeper.Find(ctx, "www", "www/"+args[1])
	default:
		s.Fatalf("what is %q?", step)
	}
	if err != nil {
		s.Fatalf("%s: %v", step, err)
	}
}

func parents(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range name {
			if name[i] == '/' && !yield(name[:i]) {
				return
			}
		}
	}
}

// find returns the displaced content of a name, or "" if there is none.
func (s *stage) find(name string) string {
	s.Helper()
	found, ok, err := s.keeper.Find(s.Context(), "www", "www/"+name)
	if err != nil {
		s.Fatal(err)
	}
	if !ok {
		return ""
	}
	if left := found.Until.Sub(time.Now().Add(s.later)); left <= 0 || left > kept {
		s.Errorf("%s is found for %v", name, left)
	}
	content, v, err := s.store.OpenVersion(s.Context(), found.ID)
	if errors.Is(err, tree.ErrNotExist) {
		return ""
	}
	if err != nil {
		s.Fatal(err)
	}
	defer content.Close()
	data, err := io.ReadAll(io.NewSectionReader(content, 0, v.Size))
	if err != nil {
		s.Fatal(err)
	}
	return string(data)
}

func TestWhatIsFound(t *testing.T) {
	for _, test := range []struct {
		name  string
		steps string
		ask   string
		want  string
	}{
		{"nothing was published", "put www/a=1; delete www/a", "a", ""},
		{"the first publication displaces nothing", "site a=1", "b", ""},
		{"a publication displaces", "site a=1; site b=2", "a", "1"},
		{"in a folder", "site d/e/a=1; site b=2", "d/e/a", "1"},
		{"a folder is no file", "site d/e/a=1; site b=2", "d", ""},
		{"it never was there", "site a=1; site b=2", "c", ""},
		{"the latest of several", "site a=1; site a=2; site b=3", "a", "2"},
		{"of some publications ago", "site a=1; site b=2; site c=3; site d=4", "a", "1"},
		{"of a name that came back and went", "site a=1; site b=2; site a=3; site b=4", "a", "3"},
		{"after a restart", "site a=1; site b=2; restart; site c=3", "a", "1"},
		{"the grace has ended", "site a=1; site b=2; wait 11m", "a", ""},
		{"it had ended at the start", "site a=1; site b=2; restart; wait 11m", "a", ""},
		{"the grace of an older one has ended", "site a=1; site b=2; wait 9m; ask a; wait 2m; ask a", "a", ""},
		{"the clock was set back", "site a=1; site b=2; wait -11m", "a", ""},
		{"it was deleted before", "site a=1 b=2; delete www/a; site b=3", "a", ""},
		{"it was deleted after it came again", "site a=1; site b=2; put www/a=3; delete www/a", "a", ""},
		{"it was deleted after two publications", "site a=1; site a=1; delete www/a", "a", ""},
		{"it was deleted, and a publication came", "site a=1; site a=1 b=1; delete www/a; site c=1", "a", ""},
		{"another was deleted, and a publication came", "site a=1; site a=1 b=1; delete www/a; site c=1", "b", "1"},
		{"it was deleted, came again, and was displaced", "site a=1; site a=1 b=1; delete www/a; site a=2; site c=1", "a", "2"},
		{"its folder was deleted", "site d/a=1; site d/a=1; delete www/d", "d/a", ""},
		{"it was deleted, asked in between", "site a=1; site b=1; ask a; put www/a=2; delete www/a; ask a", "a", ""},
		{"a name in other case was deleted", "site App=1; site b=1; put www/APP=2; delete www/APP", "App", ""},
		{"a name that begins alike was deleted", "site a=1 ab=1; site b=1 ab=1; delete www/ab", "a", "1"},
		{"it was moved away", "site a=1; site a=1; move www/a www/z", "a", ""},
		{"its folder was replaced", "site d/a=1; site d/a=1; put x/b=1; move x www/d", "d/a", ""},
		{"the site was deleted", "site a=1; site b=1; delete www", "a", ""},
		{"the site was moved away, and another came", "site a=1; site b=1; move www old; site c=1", "a", ""},
		{"the site was restored", "site a=1; site b=1; site c=1; restore www", "a", ""},
		{"it was pruned", "site a=1; site b=2; ask a; prune www", "a", ""},
		{"it alone was pruned", "site a=1 c=1; site b=2; ask a; prune www/a", "a", ""},
		{"another was pruned", "site a=1 c=1; site b=2; ask a; prune www/c", "a", "1"},
		{"a latest publication was pruned, an older stays", "site a=1; site b=2; wait 0s; ask a; site c=3", "a", "1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t)
			for step := range strings.SplitSeq(test.steps, "; ") {
				s.do(step)
			}
			if got := s.find(test.ask); got != test.want {
				t.Errorf("%s: %s has %q, want %q", test.steps, test.ask, got, test.want)
			}
		})
	}
}

// A feed that forgets: its cursors are not known any more.
type forgetful struct {
	tree.Feed
	forgets bool
	reads   int
}

func (f *forgetful) Changes(ctx context.Context, since, until tree.Cursor) iter.Seq2[tree.Change, error] {
	f.reads++
	if f.forgets && since != "" {
		return func(yield func(tree.Change, error) bool) { yield(tree.Change{}, tree.ErrNotExist) }
	}
	return f.Feed.Changes(ctx, since, until)
}

// What the store has forgotten is read anew from what it knows.
func TestForgottenChanges(t *testing.T) {
	s := newStage(t)
	feed := &forgetful{Feed: s.store}
	s.keeper = New(s.store, feed, Sites{"www": kept}, time.Now)
	s.do("site a=1")
	s.do("site b=2")
	if got := s.find("a"); got != "1" {
		t.Errorf("got %q", got)
	}
	feed.forgets = true
	s.do("put www/a=2")
	s.do("delete www/a")
	if got := s.find("a"); got != "" {
		t.Errorf("got %q", got)
	}
	if got := s.find("b"); got != "" {
		t.Errorf("got %q of a name that is there", got)
	}
}

// Another site, and one without a grace, has nothing.
func TestOtherSites(t *testing.T) {
	s := newStage(t)
	s.do("site a=1")
	s.do("site b=2")
	for _, path := range []string{"", "ww", "www/x"} {
		if _, ok, err := s.keeper.Find(t.Context(), path, "www/a"); ok || err != nil {
			t.Errorf("%q: found, or %v", path, err)
		}
	}
	if _, ok, err := (*Keeper)(nil).Find(t.Context(), "www", "www/a"); ok || err != nil {
		t.Errorf("nil has found it, or %v", err)
	}
}

// No more than the bound is remembered, and the latest is.
func TestPublicationsAreBounded(t *testing.T) {
	r := &record{path: "www", keep: time.Hour}
	now := time.Now()
	for i := range uint64(maxPublications + 10) {
		r.take(tree.Change{Name: "www", From: "next", Cause: "MOVE", Time: now, State: tree.State{Exists: true, Collection: true}}, i, now)
	}
	if n := len(r.displaced); n != maxPublications || r.displaced[n-1].order != maxPublications+9 {
		t.Errorf("there are %d", n)
	}
}

// After too many losses, nothing that was displaced before them is found.
func TestLossesAreBounded(t *testing.T) {
	r := &record{path: "www", keep: time.Hour}
	now := time.Now()
	published := tree.Change{Name: "www", From: "next", Cause: "MOVE", Time: now, State: tree.State{Exists: true, Collection: true}}
	r.take(published, 0, now)
	for i := range uint64(maxLosses + 1) {
		r.take(tree.Change{Name: fmt.Sprintf("www/%d", i), Cause: "DELETE", Time: now}, i+1, now)
	}
	if len(r.displaced) > 0 || len(r.losses) > 0 {
		t.Errorf("%d publications and %d losses are left", len(r.displaced), len(r.losses))
	}
	r.take(published, maxLosses+2, now)
	if len(r.displaced) != 1 {
		t.Errorf("%d publications are known after that", len(r.displaced))
	}
}

// The watcher tells of a publication as of something that a program may have done. That is no loss.
func TestEchoOfAPublication(t *testing.T) {
	now := time.Now()
	published := tree.Change{Name: "www", From: "next", Cause: "MOVE", Time: now, State: tree.State{Exists: true, Collection: true}}
	again := tree.Change{Name: "www", Cause: tree.CauseDisk, Again: true, Time: now, State: published.State}
	below := again
	below.Name = "www/assets"
	for _, test := range []struct {
		about   string
		changes []tree.Change
		losses  int
	}{
		{"one", []tree.Change{published, again}, 0},
		{"one for two", []tree.Change{published, published, again}, 0},
		{"one for each", []tree.Change{published, again, published, again}, 0},
		{"a second one", []tree.Change{published, again, again}, 0},
		{"below the site", []tree.Change{published, below}, 1},
	} {
		r := &record{path: "www", keep: time.Hour}
		for i, c := range test.changes {
			r.take(c, uint64(i), now)
		}
		if len(r.losses) != test.losses {
			t.Errorf("%s: %d losses, want %d", test.about, len(r.losses), test.losses)
		}
	}
}
