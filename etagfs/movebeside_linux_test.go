package etagfs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// TestMoveOverBesideASaver has a local program save over and over at the source or the target of moves that replace
// something, as editors do, by a rename. Whichever instant it comes in: what was acknowledged at the target is there or
// in the history, and what the program has saved last is at one of the two names, or in the history.
func TestMoveOverBesideASaver(t *testing.T) {
	const rounds = 150
	for _, saves := range []string{"from", "to"} {
		for _, exact := range []bool{true, false} {
			t.Run(fmt.Sprintf("it saves at %s, a condition: %v", saves, exact), func(t *testing.T) {
				dir := quickDir(t)
				s := openQuietly(t, dir, fs.Options{Durability: fs.None})
				stop := make(chan struct{})
				var last string
				var saver sync.WaitGroup
				saver.Go(func() { last = saveOverAndOver(t, dir, saves, stop) })
				var acknowledged []string
				moved, busy, missed := 0, 0, 0
				for i := range rounds {
					content := fmt.Sprint("acknowledged ", i)
					if err := put(s, "to", content, tree.Condition{}); err == nil {
						acknowledged = append(acknowledged, content)
					} else if !errors.Is(err, tree.ErrBusy) {
						t.Errorf("PUT: %v", err)
					}
					if saves == "to" {
						if err := put(s, "from", fmt.Sprint("moved ", i), tree.Condition{}); err != nil {
							t.Errorf("PUT of the source: %v", err)
						}
					}
					for saves == "from" && !exists(dir, "from") && !t.Failed() {
						runtime.Gosched() // it saves again at once
					}
					cond := tree.Condition{}
					if state, err := s.Stat(ctx, "from", tree.ReadOptions{Want: tree.WantTag}); exact && err == nil {
						cond = treetest.IfTag("from", state.Tag)
					}
					_, _, err := s.Move(ctx, "from", "to", tree.CopyOptions{}, cond)
					switch {
					case err == nil:
						moved++
					case errors.Is(err, tree.ErrUnsure):
						t.Errorf("MOVE: %v", err)
					case errors.Is(err, tree.ErrBusy):
						busy++
					default:
						missed++
					}
				}
				close(stop)
				saver.Wait()
				t.Logf("%d moves were made, %d had no luck, and %d had nothing to move or a false condition", moved,
					busy, missed)
				if moved == 0 {
					t.Error("no move was made")
				}
				there := append(versionsOf(t, dir, "to"), versionsOf(t, dir, "from")...)
				for _, name := range []string{"to", "from"} {
					if content, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
						there = append(there, string(content))
					}
				}
				slices.Sort(there)
				has := func(content string) bool { _, ok := slices.BinarySearch(there, content); return ok }
				if !has(last) {
					t.Errorf("%q was saved last, and is gone", last)
				}
				// What the program itself replaces at the target is its own affair.
				for _, content := range acknowledged {
					if saves == "from" && !has(content) {
						t.Errorf("%q was acknowledged, and is gone", content)
					}
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if left := litter(t, dir); left != nil {
					t.Errorf("it leaves %q", left)
				}
			})
		}
	}
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

// saveAt saves at a name by a rename, as editors do.
func saveAt(dir, name, content string) error {
	tmp := filepath.Join(dir, ".tmp")
	return errors.Join(os.WriteFile(tmp, []byte(content), 0o666), os.Rename(tmp, filepath.Join(dir, name)))
}

// TestMoveOverSavedAtEachCall has a local program save at the source or the target at each system call of a move that
// replaces something, once or from then on at each.
func TestMoveOverSavedAtEachCall(t *testing.T) {
	for _, k := range kinds() {
		if k.name != "move-over-if" && k.name != "move-file-over-file" {
			continue
		}
		for _, saves := range []string{"f", "g"} { // f goes over g
			for _, always := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/it saves at %s, always: %v", k.name, saves, always), func(t *testing.T) {
					for n := 1; savedAt(t, k, saves, always, n); n++ {
					}
				})
			}
		}
	}
}

func savedAt(t *testing.T, k kind, saves string, always bool, n int) (came bool) {
	t.Helper()
	dir := quickDir(t)
	defer os.RemoveAll(dir)
	var seam seam
	s := openQuietly(t, dir, fs.Options{Before: seam.before, Durability: fs.None})
	if err := k.setup(s); err != nil {
		t.Fatal(err)
	}
	at, times := "", 0
	seam.arm(func(i int, c vfs.Call) error {
		if i == n || always && i > n {
			at, times = c.String(), times+1
			return saveAt(dir, saves, fmt.Sprint("saved ", times))
		}
		return nil
	})
	err := k.do(s)
	seam.arm(nil)
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if times == 0 {
		return false
	}
	there := append(versionsOf(t, dir, "f"), versionsOf(t, dir, "g")...)
	for _, name := range []string{"f", "g"} {
		if content, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			there = append(there, string(content))
		}
	}
	want := []string{fmt.Sprint("saved ", times)}
	if saves == "f" {
		want = append(want, "2") // nobody but the move has replaced it
	}
	for _, content := range want {
		if !slices.Contains(there, content) {
			t.Errorf("it saves at call %d, %s (%d times), the move with %v: %q is gone, there is %q", n, at, times, err,
				content, there)
		}
	}
	if left := litter(t, dir); left != nil {
		t.Errorf("it saves at call %d, %s: it leaves %q", n, at, left)
	}
	return true
}

// saveOverAndOver saves at a name by a rename until it is to stop, and returns what it has saved last.
func saveOverAndOver(t *testing.T, dir, name string, stop chan struct{}) (last string) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return last
		default:
		}
		last = fmt.Sprint("saved ", i)
		if err := saveAt(dir, name, last); err != nil {
			t.Error(err)
			return last
		}
	}
}
