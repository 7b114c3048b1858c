package treetest

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// An Undoer is a store whose tree can be made what it was at a time. Its clock is that of the machine.
type Undoer interface {
	tree.Store
	tree.Undoer
}

// A wanderer makes random changes.
type wanderer struct {
	*rand.Rand
	s Undoer
	n int
}

func (w *wanderer) name() string {
	parts := make([]string, 1+w.IntN(3))
	for i := range parts {
		parts[i] = string(rune('a' + w.IntN(3)))
	}
	return strings.Join(parts, "/")
}

func putContent(ctx context.Context, s tree.Store, name, content string) error {
	opts := tree.PutOptions{Length: int64(len(content))}
	_, _, err := s.Put(ctx, name, strings.NewReader(content), opts, tree.Condition{})
	return err
}

// change makes a change, which may be impossible.
func (w *wanderer) change(ctx context.Context) string {
	w.n++
	name, other := w.name(), w.name()
	switch w.IntN(10) {
	case 0, 1, 2, 3:
		_ = putContent(ctx, w.s, name, fmt.Sprint("content ", w.n))
		return "PUT " + name
	case 4, 5:
		_, _ = w.s.Mkdir(ctx, name, tree.MkdirOptions{}, tree.Condition{})
		return "MKCOL " + name
	case 6:
		_ = w.s.Remove(ctx, name, tree.Condition{})
		return "DELETE " + name
	case 7:
		_, _, _ = w.s.Copy(ctx, name, other, tree.CopyOptions{}, tree.Condition{})
		return "COPY " + name + " " + other
	}
	_, _, _ = w.s.Move(ctx, name, other, tree.CopyOptions{}, tree.Condition{})
	return "MOVE " + name + " " + other
}

// treeOf returns the ETag of each file, and "/" for each collection, by name.
func treeOf(t *testing.T, s tree.Store) map[string]string {
	t.Helper()
	found := map[string]string{}
	for state, err := range s.List(t.Context(), "", tree.ListOptions{Depth: -1, Want: tree.WantTag}, tree.Condition{}) {
		if err != nil {
			t.Fatal(err)
		}
		if found[state.Name] = string(state.Tag); state.Collection {
			found[state.Name] = "/"
		}
	}
	return found
}

// differences returns the names at which two trees differ.
func differences(got, want map[string]string) (lines []string) {
	names := maps.Clone(got)
	maps.Copy(names, want)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if got[name] != want[name] {
			lines = append(lines, fmt.Sprintf("%s: %q, want %q", name, got[name], want[name]))
		}
	}
	return lines
}

// RestoreAt tests restores as of a time, with a random tree for each of a number of seeds.
func RestoreAt(t *testing.T, seeds int, open func(*testing.T) Undoer) {
	t.Run("any time", func(t *testing.T) { restoreAtAnyTime(t, seeds, open) })
	t.Run("guarded", func(t *testing.T) { restoreAtIsGuarded(t, open(t)) })
	t.Run("broken off", func(t *testing.T) { restoreAtGoesOn(t, open(t)) })
	t.Run("a member meanwhile", func(t *testing.T) { restoreAtLeavesMembers(t, open(t)) })
	t.Run("the same content with other properties", func(t *testing.T) { restoreAtBeforeSameContent(t, open(t)) })
}

// restoreAtAnyTime: after random changes, a restore of the root as of any time between them, and one as of a time
// between these restores, makes the tree what it was. Each seed gets an empty tree.
func restoreAtAnyTime(t *testing.T, seeds int, open func(*testing.T) Undoer) {
	for seed := range uint64(seeds) {
		s := open(t)
		w := &wanderer{rand.New(rand.NewPCG(seed, 1)), s, 0}
		type moment struct {
			at   time.Time
			tree map[string]string
		}
		moments := []moment{{time.Now(), treeOf(t, s)}}
		var log []string
		for range 60 {
			log = append(log, w.change(t.Context()))
			moments = append(moments, moment{time.Now(), treeOf(t, s)})
			if w.IntN(12) > 0 {
				continue
			}
			index := w.IntN(len(moments))
			then := moments[index]
			result, err := s.RestoreAt(t.Context(), "", then.at, tree.RestoreAtOptions{})
			if err != nil {
				t.Fatal(err)
			}
			log = append(log, fmt.Sprintf("RESTORE as of %d", index))
			diff := differences(treeOf(t, s), then.tree)
			for _, left := range result.Left {
				diff = append(diff, fmt.Sprint("left: ", left))
			}
			if len(diff) > 0 {
				t.Fatalf("seed %d: after\n%s\nit differs:\n%s", seed, strings.Join(log, "\n"), strings.Join(diff, "\n"))
			}
			moments = append(moments, moment{time.Now(), treeOf(t, s)})
		}
	}
}

// An undoFixture is a store whose methods end the test where they fail.
type undoFixture struct {
	*testing.T
	Undoer
}

func (f *undoFixture) must(err error) {
	f.T.Helper()
	if err != nil {
		f.T.Fatal(err)
	}
}

func (f *undoFixture) put(content string, names ...string) {
	f.T.Helper()
	for _, name := range names {
		f.must(putContent(f.Context(), f, name, content))
	}
}

func (f *undoFixture) mkdir(name string) {
	f.T.Helper()
	_, err := f.Mkdir(f.Context(), name, tree.MkdirOptions{}, tree.Condition{})
	f.must(err)
}

// tick returns a time after all changes so far, and before all others.
func (f *undoFixture) tick() time.Time {
	at := time.Now()
	time.Sleep(20 * time.Millisecond) // the clock of a file system may be that coarse
	return at
}

func (f *undoFixture) wantTree(want map[string]string) {
	f.T.Helper()
	if diff := differences(treeOf(f.T, f), want); len(diff) > 0 {
		f.T.Errorf("it differs:\n%s", strings.Join(diff, "\n"))
	}
}

// undone restores everything as of a time.
func (f *undoFixture) undone(at time.Time, left ...tree.LeftAlone) tree.Restored {
	f.T.Helper()
	result, err := f.RestoreAt(f.Context(), "", at, tree.RestoreAtOptions{})
	if err != nil || !slices.Equal(result.Left, left) {
		f.T.Errorf("restore: got %+v, error %v, want %v left", result, err, left)
	}
	return result
}

// restoreAtIsGuarded: a dry run changes nothing, a lock keeps all of it back, a condition of the caller is asked for
// each step, and what a client writes meanwhile is named and stays. The tree must be empty.
func restoreAtIsGuarded(t *testing.T, s Undoer) {
	ctx := t.Context()
	f := &undoFixture{t, s}
	f.mkdir("d")
	f.put("1", "d/f", "d/g")
	at := f.tick()
	f.put("new", "d/f", "d/g", "d/h")
	before := treeOf(t, s)
	result, err := s.RestoreAt(ctx, "d", at, tree.RestoreAtOptions{DryRun: true})
	if err != nil || result.Replaced != 2 || result.Removed != 1 {
		t.Errorf("a dry run: %+v, %v", result, err)
	}
	lock, _, err := s.Lock(ctx, tree.LockRequest{Root: "d/g", Timeout: time.Hour}, tree.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.RestoreAt(ctx, "d", at, tree.RestoreAtOptions{}); !errors.As(err, new(*tree.LockedError)) {
		t.Errorf("beside a lock: %v", err)
	}
	f.wantTree(before)

	refused := errors.New("refused")
	cond := func(name, _ string) tree.Condition {
		switch name {
		case "d/g":
			return tree.Condition{Check: func(tree.View) error { return refused }}
		case "d/h":
			f.put("newer", "d/h")
		}
		return tree.Condition{}
	}
	result, err = s.RestoreAt(ctx, "d", at, tree.RestoreAtOptions{Condition: cond})
	left := []tree.LeftAlone{{Name: "d/g", Reason: "refused"}, {Name: "d/h", Reason: "it has changed meanwhile"}}
	if err != nil || result.Replaced != 1 || result.Removed != 0 || !slices.Equal(result.Left, left) {
		t.Errorf("with a condition that refuses one name, and a client that writes another: %+v, %v", result, err)
	}
	before["d/f"], before["d/h"] = string(TagOf("1")), string(TagOf("newer"))
	f.wantTree(before)

	if err := s.Unlock(ctx, "d/g", lock.Token, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	result, err = s.RestoreAt(ctx, "", result.Began, tree.RestoreAtOptions{})
	if err != nil || result.Replaced != 2 || len(result.Left) > 0 {
		t.Errorf("taken back: %+v, %v", result, err)
	}
	before["d/f"], before["d/h"] = string(TagOf("new")), string(TagOf("new"))
	f.wantTree(before)
}

// restoreAtGoesOn: a restore that ends after any of its steps, as with its process, is finished by another one.
func restoreAtGoesOn(t *testing.T, s Undoer) {
	f := &undoFixture{t, s}
	f.mkdir("d")
	f.mkdir("d/e")
	f.put("1", "d/f", "d/e/g", "x", "y")
	at, want := f.tick(), treeOf(t, s)
	for ended, done := false, 0; !ended; done++ {
		f.must(s.Remove(t.Context(), "d/e", tree.Condition{}))
		_, _, err := s.Move(t.Context(), "x", "y", tree.CopyOptions{}, tree.Condition{})
		f.must(err)
		_, _, err = s.Copy(t.Context(), "d", "c", tree.CopyOptions{}, tree.Condition{})
		f.must(err)
		f.put("new", "d/f", "n")
		ctx, cancel := context.WithCancel(t.Context())
		steps := 0
		_, err = s.RestoreAt(ctx, "", at, tree.RestoreAtOptions{Condition: func(_, _ string) tree.Condition {
			if steps++; steps > done {
				cancel()
			}
			return tree.Condition{}
		}})
		if ended = ctx.Err() == nil; ended {
			f.must(err)
			if done < 5 {
				t.Errorf("it took %d steps: too few for this test", done)
			}
		}
		cancel()
		f.undone(at)
		f.wantTree(want)
	}
}

// restoreAtLeavesMembers: a collection that was made since then and gets a member meanwhile stays with that.
func restoreAtLeavesMembers(t *testing.T, s Undoer) {
	f := &undoFixture{t, s}
	f.put("1", "a")
	at := f.tick()
	f.mkdir("d")
	f.put("new", "d/f")
	result, err := s.RestoreAt(t.Context(), "", at, tree.RestoreAtOptions{Condition: func(name, _ string) tree.Condition {
		if name == "d" {
			f.put("meanwhile", "d/g")
		}
		return tree.Condition{}
	}})
	left := []tree.LeftAlone{{Name: "d", Reason: "it has members that stay"}}
	if err != nil || result.Removed != 1 || result.RemovedDirs != 0 || !slices.Equal(result.Left, left) {
		t.Errorf("got %+v, error %v", result, err)
	}
	f.wantTree(map[string]string{"": "/", "a": string(TagOf("1")), "d": "/", "d/g": string(TagOf("meanwhile"))})
	f.undone(at)
	f.wantTree(map[string]string{"": "/", "a": string(TagOf("1"))})
}

// restoreAtBeforeSameContent: a version that gave way to one with the same content is not taken for that of the change
// before.
func restoreAtBeforeSameContent(t *testing.T, s Undoer) {
	f := &undoFixture{t, s}
	f.put("1", "f")
	at := f.tick()
	f.put("2", "f")
	describe := func(tree.ETag) []webdav.Proppatch {
		return []webdav.Proppatch{{Props: []webdav.Property{{XMLName: xml.Name{Space: "urn:x", Local: "p"}, InnerXML: []byte("v")}}}}
	}
	_, _, err := s.Put(t.Context(), "f", strings.NewReader("2"), tree.PutOptions{Length: 1, Describe: describe}, tree.Condition{})
	f.must(err)
	f.undone(at)
	f.wantTree(map[string]string{"": "/", "f": string(TagOf("1"))})
}
