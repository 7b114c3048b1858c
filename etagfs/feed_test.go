package etagfs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// followed returns the changes after a cursor, up to now. again reports that they are not known.
func followed(t testing.TB, s tree.Feed, since tree.Cursor) (all []tree.Change, again bool) {
	t.Helper()
	end, err := s.Now(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for c, err := range s.Changes(ctx, since, end) {
		if errors.Is(err, tree.ErrNotExist) {
			return nil, true
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all, false
}

// wantTold asserts that all names that differ between two snapshots are told after the PUT of a name.
func wantTold(t testing.TB, what string, s tree.Feed, after, old, now string) {
	t.Helper()
	all, _ := followed(t, s, "")
	i := slices.IndexFunc(all, func(c tree.Change) bool { return c.Name == after && c.Cause == "PUT" })
	if i < 0 {
		if runtime.GOOS == "linux" {
			t.Errorf("%s: the journal was begun anew", what)
		}
		return
	}
	before, is := facts(old), facts(now)
	for name, fact := range before {
		if is[name] == fact {
			delete(is, name)
		} else {
			is[name] = "changed"
		}
	}
	for name := range is {
		if !slices.ContainsFunc(all[i+1:], func(c tree.Change) bool { return c.Concerns(name, nil) }) {
			t.Errorf("%s: %q has changed, and the journal has only %+v", what, name, all[i+1:])
		}
	}
}

// facts returns what a snapshot has of each name, without locks.
func facts(snapshot string) map[string]string {
	found := map[string]string{}
	for line := range strings.SplitSeq(snapshot, "\n") {
		line, _, _ = strings.Cut(line, " {Token:")
		what, _, _ := strings.Cut(line, " tag=")
		name, isDir := strings.CutSuffix(what, "/")
		if !isDir {
			name, _, _ = strings.Cut(what, "=")
		}
		found[name] = line
	}
	return found
}

// A watchedStore is a store with a watcher that tells only what a test says.
type watchedStore struct {
	*etagfs.Store
	dir   string
	below *fs.FS
	close func() // as at a stop
	kill  func()
	asked atomic.Int64
}

func openWatched(t *testing.T, dir string) *watchedStore {
	t.Helper()
	below, err := fs.Open(dir, fs.Options{Durability: fs.None, History: true})
	w := &watchedStore{dir: dir, below: below}
	s, closeNow := open(t, etagfs.Options{Journal: true}, below, err)
	w.Store, w.close, w.kill = s, func() { s.NoteSeen(ctx); closeNow() }, closeNow
	s.Watched(func(context.Context) error { w.asked.Add(1); return nil })
	w.settle(t)
	return w
}

// settle waits until nothing is looked for.
func (w *watchedStore) settle(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); w.Unsettled(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("changes are looked for, and that does not end")
		}
	}
}

func (w *watchedStore) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

func lines(all []tree.Change) (lines []string) {
	for _, c := range all {
		line := c.Cause + " " + c.Name
		if !c.State.Exists {
			line += " gone"
		}
		if c.Again {
			line += " again"
		}
		lines = append(lines, line)
	}
	return lines
}

func wantChanges(t *testing.T, what string, s tree.Feed, since tree.Cursor, want ...string) {
	t.Helper()
	all, again := followed(t, s, since)
	if got := lines(all); again || !slices.Equal(got, want) {
		t.Errorf("%s: told %q, forgotten %v; want %q", what, got, again, want)
	}
}

func now(t *testing.T, s tree.Feed) tree.Cursor {
	t.Helper()
	c, err := s.Now(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestChangesOnTheDiskAreTold: a change of another program is told when the watcher tells of it. An event of a change
// of the store itself is no news.
func TestChangesOnTheDiskAreTold(t *testing.T) {
	w := openWatched(t, t.TempDir())
	begin := now(t, w)
	if err := lay("d/", "d/f=1", "g=2", "gone=3")(w); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(move("g", "h")(w), w.Remove(ctx, "gone", tree.Condition{}),
		copyTo("d", "e")(w), w.PatchProperties(ctx, "h", patch("a", "1"), tree.Condition{})); err != nil {
		t.Fatal(err)
	}
	own := []string{"MKCOL d", "PUT d/f", "PUT g", "PUT gone", "MOVE h", "DELETE gone gone", "COPY e", "PROPPATCH h"}
	w.Changed("d", "d/f", "h", "e")
	w.Removed("g", "gone")
	wantChanges(t, "own changes", w, begin, own...)

	begin = now(t, w)
	w.write(t, "d/f", "by another")
	w.write(t, "new", "by another")
	w.Changed("d/f", "new")
	wantChanges(t, "others", w, begin, "disk d/f", "disk new")

	begin = now(t, w)
	if err := os.Remove(filepath.Join(w.dir, "new")); err != nil {
		t.Fatal(err)
	}
	w.write(t, "gone", "back")
	w.Removed("new")
	w.Changed("gone")
	wantChanges(t, "others", w, begin, "disk new gone", "disk gone")
	begin = now(t, w)
	if err := os.Remove(filepath.Join(w.dir, "gone")); err != nil {
		t.Fatal(err)
	}
	w.Removed("gone")
	wantChanges(t, "gone again", w, begin, "disk gone gone")

	// A name that was free came with its collection, and goes again.
	if err := errors.Join(
		lay("d/x=1", "k/", "k/x=2")(w), w.Remove(ctx, "d/x", tree.Condition{}), move("k", "d")(w)); err != nil {
		t.Fatal(err)
	}
	begin = now(t, w)
	if err := os.Remove(filepath.Join(w.dir, "d", "x")); err != nil {
		t.Fatal(err)
	}
	w.Removed("d/x")
	wantChanges(t, "came with its collection", w, begin, "disk d/x gone")

	begin = now(t, w)
	dir := filepath.Join(w.dir, "d")
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	w.Removed("d")
	w.Changed("d")
	wantChanges(t, "another collection", w, begin, "disk d again")
	if w.asked.Load() == 0 {
		t.Error("the watcher is not asked")
	}
}

// TestRemovalBeforeAChangeIsTold: another program removes a collection, and a client makes one of that name before the
// watcher tells of the removal. A follower has to learn that the members are gone.
func TestRemovalBeforeAChangeIsTold(t *testing.T) {
	w := openWatched(t, t.TempDir())
	remove := func(name string) {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(w.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := lay("d/", "d/f=1")(w); err != nil {
		t.Fatal(err)
	}
	begin := now(t, w)
	remove("d")
	if err := lay("d/")(w); err != nil {
		t.Fatal(err)
	}
	w.Removed("d")
	w.Changed("d")
	wantChanges(t, "removed before MKCOL", w, begin, "MKCOL d", "disk d again")
	begin = now(t, w)
	w.Removed("d")
	wantChanges(t, "told already", w, begin)
	if err := errors.Join(w.Remove(ctx, "d", tree.Condition{}), lay("d/")(w)); err != nil {
		t.Fatal(err)
	}
	w.Removed("d")
	wantChanges(t, "removed by the store itself", w, begin, "DELETE d gone", "MKCOL d")
	begin = now(t, w)
	remove("d")
	if err := errors.Join(lay("d/", "d/f=1")(w),
		w.PatchProperties(ctx, "d", patch("a", "1"), tree.Condition{})); err != nil {
		t.Fatal(err)
	}
	w.Removed("d")
	wantChanges(t, "and once more", w, begin, "MKCOL d", "PUT d/f", "PROPPATCH d", "disk d again")
	begin = now(t, w)
	remove("d")
	if err := errors.Join(lay("e/", "e/f=1")(w), move("e", "d")(w)); err != nil {
		t.Fatal(err)
	}
	w.Removed("d", "e")
	wantChanges(t, "before a MOVE", w, begin, "MKCOL e", "PUT e/f", "MOVE d", "disk d again")

	// What another program has made and removed again is told, if followers can have seen it.
	if err := w.Remove(ctx, "d", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	w.Removed("d")
	begin = now(t, w)
	if err := errors.Join(os.Mkdir(filepath.Join(w.dir, "d"), 0o777), lay("d/f=1")(w)); err != nil {
		t.Fatal(err)
	}
	remove("d")
	w.Removed("d")
	wantChanges(t, "with a file in it", w, begin, "PUT d/f", "disk d gone")
	begin = now(t, w)
	w.Removed("d")
	wantChanges(t, "once more", w, begin, "disk d gone")
	if err := errors.Join(lay("d/", "d/x/")(w), w.Remove(ctx, "d/x", tree.Condition{}), lay("e/", "e/x/", "e/x/f=1")(w),
		move("e", "d")(w)); err != nil {
		t.Fatal(err)
	}
	begin = now(t, w)
	remove("d/x")
	w.Removed("d/x")
	wantChanges(t, "after a MOVE has brought it", w, begin, "disk d/x gone")
}

// TestChangesThatNoEventToldAreLookedFor: after an overflow, and at a start, only what has changed since is told.
func TestChangesThatNoEventToldAreLookedFor(t *testing.T) {
	dir := t.TempDir()
	w := openWatched(t, dir)
	if err := lay("a/", "a/f=1", "b/", "b/c/", "b/c/f=1", "b/g=2")(w); err != nil {
		t.Fatal(err)
	}
	w.NoteSeen(ctx)
	begin := now(t, w)
	w.Rescan()
	w.settle(t)
	wantChanges(t, "nothing was lost", w, begin)
	w.write(t, "b/c/new", "x")
	w.write(t, "a/f", "changed in place")
	w.Rescan()
	w.settle(t)
	all, _ := followed(t, w, begin)
	if got := lines(all); !slices.Contains(got, "disk b/c again") || !slices.Contains(got, "disk a/f") ||
		len(got) != 2 {
		t.Errorf("after an overflow, told %q", got)
	}

	begin = now(t, w)
	w.close()
	w = openWatched(t, dir)
	if runtime.GOOS != "linux" {
		t.Log("no cursor outlives the process here")
		return
	}
	wantChanges(t, "a restart", w, begin)
	w.close()
	w.write(t, "b/while", "it was stopped")
	w = openWatched(t, dir)
	wantChanges(t, "a change while it was stopped", w, begin, "disk b again")
	if err := put(w, "a/after", "x", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	begin = now(t, w)
	w.kill() // nothing is noted
	w.write(t, "top", "x")
	w = openWatched(t, dir)
	all, again := followed(t, w, begin)
	if !again && !slices.ContainsFunc(all, func(c tree.Change) bool { return c.Concerns("top", nil) }) {
		t.Errorf("killed, and changed: told %q", lines(all))
	}
}

// TestConditionSeesTheDisk: a condition on a cursor is false after a change on the disk that the watcher knows of,
// though it has not told of it yet.
func TestConditionSeesTheDisk(t *testing.T) {
	dir := t.TempDir()
	w := openWatched(t, dir)
	if err := lay("site/", "site/f=1", "other=1")(w); err != nil {
		t.Fatal(err)
	}
	w.Watched(func(context.Context) error { w.Changed("site/f", "other"); return nil })
	w.settle(t)
	unchanged := func(name string, since tree.Cursor) tree.Condition {
		return tree.Condition{Exact: true, Check: func(v tree.View) error {
			changed, err := v.(tree.FeedView).Since(name, since, nil)
			if err == nil && changed {
				err = errChangedSince
			}
			return err
		}}
	}
	since := now(t, w)
	w.write(t, "other", "22")
	if err := put(w, "site/g", "new", unchanged("site", since)); err != nil {
		t.Errorf("beside another change: %v", err)
	}
	since = now(t, w)
	w.write(t, "site/f", "22")
	if err := w.Remove(ctx, "site", unchanged("site", since)); !errors.Is(err, errChangedSince) {
		t.Errorf("after a change below it: %v", err)
	}
	if err := w.Remove(ctx, "site", unchanged("site", now(t, w))); err != nil {
		t.Errorf("with the present cursor: %v", err)
	}
	// Other spellings of the name count, in case the disk takes them for it.
	since = now(t, w)
	if err := lay("Site/", "Site/f=1")(w); err != nil {
		t.Fatal(err)
	}
	if err := put(w, "x", "new", unchanged("site", since)); !errors.Is(err, errChangedSince) {
		t.Errorf("after a change below another spelling: %v", err)
	}
}

var errChangedSince = errors.New("it has changed since")

// TestManyHintsAreNotLost: more events than are kept lead to a search.
func TestManyHintsAreNotLost(t *testing.T) {
	w := openWatched(t, t.TempDir())
	if err := lay("d/", "d/f=1")(w); err != nil {
		t.Fatal(err)
	}
	w.NoteSeen(ctx)
	begin := now(t, w)
	w.write(t, "d/new", "x")
	var names []string
	for i := range 20_000 {
		names = append(names, fmt.Sprint("nothing/", i))
	}
	names = append(names, "d/new")
	w.Removed(names...)
	w.settle(t)
	all, _ := followed(t, w, begin)
	if !slices.ContainsFunc(all, func(c tree.Change) bool { return c.Concerns("d/new", nil) }) {
		t.Errorf("it is not told among %d", len(all))
	}
}

// TestTwoProcessesTellOfEachOther: a follower of one store is told what another store of the same directory has
// changed.
func TestTwoProcessesTellOfEachOther(t *testing.T) {
	dir := t.TempDir()
	a, b := openWatched(t, dir), openWatched(t, dir)
	begin := now(t, a)
	for i := range 10 {
		s := a
		if i%2 > 0 {
			s = b
		}
		if err := put(s, fmt.Sprint("f", i), "x", tree.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*watchedStore{a, b} {
		if all, again := followed(t, s, begin); again || len(all) < 10 {
			t.Errorf("told %q, forgotten %v", lines(all), again)
		}
	}
}
