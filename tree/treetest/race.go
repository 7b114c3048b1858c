package treetest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// together runs do n times at once.
func together(n int, do func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			do(i)
		})
	}
	close(start)
	all.Wait()
}

func testRace(t *testing.T, b Backend) {
	// winners counts the calls that were not refused. Other failures fail the test.
	winners := func(t *testing.T, n int, do func(i int) error) (won []int) {
		var mu sync.Mutex
		together(n, func(i int) {
			err := do(i)
			if err != nil && !errors.Is(err, errStale) && !errors.Is(err, tree.ErrNotExist) {
				t.Errorf("writer %d: %v", i, err)
			}
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				won = append(won, i)
			}
		})
		return won
	}
	t.Run("of many writers with one expected tag, one wins", func(t *testing.T) {
		f := open(t, b, "f=old")
		won := winners(t, 16, func(i int) error {
			_, _, err := f.tryPut("f", fmt.Sprint("writer ", i), IfTag("f", TagOf("old")))
			return err
		})
		if len(won) != 1 {
			t.Fatalf("%v have won", won)
		}
		f.wantTree(fmt.Sprint("f=writer ", won[0]))
	})
	t.Run("of many that create one name with equal bytes, one wins", func(t *testing.T) {
		f := open(t, b)
		var created atomic.Int32
		won := winners(t, 64, func(int) error {
			_, is, err := f.tryPut("f", "equal", IfAbsent("f"))
			if err == nil && is {
				created.Add(1)
			}
			return err
		})
		if len(won) != 1 || created.Load() != 1 {
			t.Errorf("%v have won, %d created", won, created.Load())
		}
		f.wantTree("f=equal")
	})
	t.Run("of many that remove one version, one wins", func(t *testing.T) {
		f := open(t, b, "f=old")
		won := winners(t, 16, func(i int) error {
			if i%2 == 0 {
				return f.Remove(f.ctx, "f", IfTag("f", TagOf("old")))
			}
			_, _, err := f.Move(f.ctx, "f", fmt.Sprint("moved", i), tree.CopyOptions{}, IfTag("f", TagOf("old")))
			return err
		})
		if len(won) != 1 {
			t.Errorf("%v have won", won)
		}
	})
	t.Run("without a Check all succeed", func(t *testing.T) {
		f := open(t, b)
		var created atomic.Int32
		together(16, func(i int) {
			_, is, err := f.tryPut("f", fmt.Sprint(i), tree.Condition{})
			if err != nil {
				t.Error(err)
			}
			if is {
				created.Add(1)
			}
		})
		if created.Load() != 1 {
			t.Errorf("%d have created it", created.Load())
		}
	})
	t.Run("a counter loses nothing", func(t *testing.T) {
		f := open(t, b, "counter=0")
		const clients, each = 8, 8
		together(clients, func(int) {
			for done := 0; done < each; {
				content, s := read(t, f.Store, "counter")
				n, err := strconv.Atoi(content)
				if err != nil {
					t.Error(err)
					return
				}
				_, _, err = f.tryPut("counter", strconv.Itoa(n+1), IfTag("counter", s.Tag))
				if err == nil {
					done++
				} else if !errors.Is(err, errStale) {
					t.Error(err)
					return
				}
			}
		})
		f.wantTree(fmt.Sprintf("counter=%d", clients*each))
	})
	t.Run("what is replaced all the time can be copied", func(t *testing.T) {
		f := open(t, b, "f=0")
		var done atomic.Bool
		together(8, func(i int) {
			if i > 0 {
				for !done.Load() {
					if _, _, err := f.tryPut("f", fmt.Sprint(i), tree.Condition{}); err != nil {
						t.Error(err)
					}
				}
				return
			}
			defer done.Store(true)
			for range 8 {
				if s, _, err := f.Copy(f.ctx, "f", "copy", tree.CopyOptions{}, tree.Condition{}); err != nil || s.Size != 1 {
					t.Error(s, err)
				}
			}
		})
	})
	t.Run("what is replaced all the time can be copied with its collection", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=0")
		var done atomic.Bool
		together(8, func(i int) {
			if i > 0 {
				for !done.Load() {
					if _, _, err := f.tryPut("d/f", fmt.Sprint(i), tree.Condition{}); err != nil {
						t.Error(err)
					}
				}
				return
			}
			defer done.Store(true)
			for range 8 {
				if s, _, err := f.Copy(f.ctx, "d", "copy", tree.CopyOptions{}, tree.Condition{}); err != nil {
					t.Error(s, err)
				}
			}
		})
	})
	t.Run("what comes and goes can be written", func(t *testing.T) {
		f := open(t, b)
		together(8, func(i int) {
			for n := range 64 {
				if _, _, err := f.tryPut("f", fmt.Sprint(i, n), tree.Condition{}); err != nil {
					t.Error(err)
				}
				if err := f.Remove(f.ctx, "f", tree.Condition{}); err != nil && !errors.Is(err, tree.ErrNotExist) {
					t.Error(err)
				}
			}
		})
	})
	t.Run("of many that lock one name, one wins", func(t *testing.T) {
		f := open(t, b)
		var won, created atomic.Int32
		together(16, func(int) {
			_, is, err := f.Lock(f.ctx, tree.LockRequest{Root: "f", Timeout: 1 << 40}, tree.Condition{})
			if locked := new(tree.LockedError); err == nil {
				won.Add(1)
			} else if !errors.As(err, &locked) {
				t.Error(err)
			}
			if is {
				created.Add(1)
			}
		})
		if won.Load() != 1 || created.Load() != 1 {
			t.Errorf("%d have won, %d created", won.Load(), created.Load())
		}
	})
	t.Run("readers never see a half state", func(t *testing.T) { testReaders(t, b) })
	t.Run("commits of all kinds at once", func(t *testing.T) {
		f := open(t, b, "f=0", "d/", "d/g=0")
		together(8, func(i int) {
			for round := range 8 {
				var err error
				switch (i + round) % 8 {
				case 0:
					_, _, err = f.tryPut("f", fmt.Sprint(round), tree.Condition{})
				case 1:
					_, _, err = f.tryPut("d/g", fmt.Sprint(round), tree.Condition{})
				case 2:
					_, _, err = f.Copy(f.ctx, "d", "e", tree.CopyOptions{}, tree.Condition{})
				case 3:
					_, _, err = f.Move(f.ctx, "e", "d", tree.CopyOptions{}, tree.Condition{})
				case 4:
					_, _, err = f.Copy(f.ctx, "f", "d/g", tree.CopyOptions{}, tree.Condition{})
				case 5:
					err = f.Remove(f.ctx, "e", tree.Condition{})
				case 6:
					_, err = f.Mkdir(f.ctx, "e", tree.MkdirOptions{}, tree.Condition{})
				case 7:
					for s, e := range Members(f.ctx, f, "d", tree.WantTag) {
						if e != nil {
							t.Errorf("%+v: %v", s, e)
						}
					}
				}
				if err != nil && !errors.Is(err, tree.ErrNotExist) && !errors.Is(err, tree.ErrExist) &&
					!errors.Is(err, tree.ErrNoParent) && !errors.Is(err, tree.ErrBusy) {
					t.Error(err)
				}
			}
		})
		if lines := Layout(t, f.Store); !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "f=") }) {
			t.Errorf("f, which nobody removes, is gone: %q", lines)
		}
	})
}

// testReaders swaps two collections while readers look at their members.
func testReaders(t *testing.T, b Backend) {
	f := open(t, b, "a/", "a/f=one", "a/x=1", "a/e/", "a/e/deep=one", "b/", "b/f=two", "b/y=2", "b/e/", "b/e/deep=two")
	whole := [][]string{{"e", "f", "x"}, {"e", "f", "y"}}
	copyTo := func(from, to string) {
		t.Helper()
		if _, _, err := f.Copy(f.ctx, from, to, tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Error(err)
		}
	}
	copyTo("a", "live")
	done := make(chan struct{})
	var readers sync.WaitGroup
	reader := func(look func()) {
		readers.Go(func() {
			for {
				look()
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	reader(func() {
		var got []string
		for s, err := range Members(f.ctx, f, "live", 0) {
			if err != nil {
				t.Errorf("List: %+v: %v", s, err)
			}
			got = append(got, strings.TrimPrefix(s.Name, "live/"))
		}
		slices.Sort(got)
		if !slices.ContainsFunc(whole, func(w []string) bool { return slices.Equal(w, got) }) {
			t.Errorf("a listing had %q", got)
		}
	})
	reader(func() {
		if got, _ := read(t, f.Store, "live/e/deep"); got != "one" && got != "two" {
			t.Errorf("a file had %q", got)
		}
	})
	reader(func() {
		s, err := f.Stat(f.ctx, "live/f", tree.ReadOptions{Want: tree.WantTag | tree.WantProperties | tree.WantLocks})
		if err != nil || s.Tag != TagOf("one") && s.Tag != TagOf("two") {
			t.Errorf("Stat: %+v, error %v", s, err)
		}
		f.wantErr("Try", f.Try(f.ctx, If(func(v tree.View) error {
			s, err := v.State("live/e")
			if err == nil && !s.Collection {
				t.Errorf("State: %+v", s)
			}
			return err // of one who is asked again
		}, "live/e")), nil)
	})
	for range 10 {
		copyTo("b", "live")
		copyTo("a", "next")
		if _, _, err := f.Move(f.ctx, "next", "live", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Error(err)
		}
		copyTo("b/f", "live/f")
		f.put("live/f", "one")
	}
	close(done)
	readers.Wait()
}
