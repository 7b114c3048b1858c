package etagfs_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A beside is a collection d of members with a content each, of which some are renamed.
type beside struct {
	*paused
	want []string // the contents, sorted
}

func layBeside(t *testing.T, members int) *beside {
	b := &beside{paused: openPaused(t, quickDir(t))}
	layout := []string{"d/"}
	for i := range members {
		layout = append(layout, fmt.Sprintf("d/m%d=%d", i, i))
		b.want = append(b.want, fmt.Sprint(i))
	}
	slices.Sort(b.want)
	if err := lay(layout...)(b.Store); err != nil {
		t.Fatal(err)
	}
	return b
}

// order returns the members as they are listed when nothing happens.
func (b *beside) order(t *testing.T) (names []string) {
	t.Helper()
	for state, err := range b.List(ctx, "d", tree.ListOptions{Depth: 1}, tree.Condition{}) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, state.Name)
	}
	return names[1:]
}

// between has clients rename members from now on: the first before the system call with a number, and the second so
// many later, which is the first again, back to its name, or another member that is read late. No call counts once
// under returns true. What it returns undoes this, and reports whether the first was renamed.
func (b *beside) between(
	t *testing.T, back bool, first, later int, under func(vfs.Call) bool,
) (undo func() (done bool)) {
	t.Helper()
	order := b.order(t)
	x, z := order[len(order)/2], order[len(order)*9/10]
	moves := map[int][2]string{first: {x, "d/y"}, first + later: {z, "d/w"}}
	if back {
		moves[first+later] = [2]string{"d/y", x}
	}
	n := 0
	var done [][2]string
	b.come(func(c vfs.Call) {
		if under(c) {
			n = 1 << 20
		}
		n++
		if m, ok := moves[n]; ok {
			b.rename(t, m[0], m[1])
			done = append(done, m)
		}
	})
	return func() bool {
		b.come(nil)
		for _, m := range slices.Backward(done) {
			b.rename(t, m[1], m[0])
		}
		return len(done) > 0
	}
}

// rename has a client rename a member.
func (b *beside) rename(t *testing.T, from, to string) {
	t.Helper()
	if _, _, err := b.Move(ctx, from, to, tree.CopyOptions{}, tree.Condition{}); err != nil {
		t.Errorf("MOVE %s to %s: %v", from, to, err)
	}
}

// wantMembers asserts that a collection has each of the contents exactly once, in it or below it, as the tags of a
// listing tell.
func (b *beside) wantMembers(t *testing.T, dir, when string) {
	t.Helper()
	tags := map[tree.ETag]string{}
	for _, content := range b.want {
		tags[treetest.TagOf(content)] = content
	}
	var got []string
	opts := tree.ListOptions{Want: tree.WantTag, Depth: -1}
	for state, err := range b.List(ctx, dir, opts, tree.Condition{}) {
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if !state.Collection {
			got = append(got, tags[state.Tag])
		}
	}
	if slices.Sort(got); !slices.Equal(got, b.want) {
		t.Fatalf("%s, %s has %d members, want %d: %v", when, dir, len(got), len(b.want), differ(got, b.want))
	}
}

// differ returns what is only in one of two sorted lists, or there more often.
func differ(a, b []string) (only []string) {
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0] < b[0]:
			only, a = append(only, "too often "+a[0]), a[1:]
		case len(a) == 0 || b[0] < a[0]:
			only, b = append(only, "missing "+b[0]), b[1:]
		default:
			a, b = a[1:], b[1:]
		}
	}
	return only
}

// TestMembersThatAreRenamedAreListedOnce: clients rename members before any two system calls of a listing.
func TestMembersThatAreRenamedAreListedOnce(t *testing.T) {
	for _, members := range []int{60, 200} {
		b := layBeside(t, members)
		for _, back := range []bool{true, false} {
			for _, later := range []int{1, 2, 30, 64, 1 << 10} {
				for first, done := 1, true; done; first += members / 30 {
					undo := b.between(t, back, first, later, func(vfs.Call) bool { return false })
					b.wantMembers(t, "d", fmt.Sprintf("with a MOVE before call %d, and one %d later (back: "+
						"%v)", first, later, back))
					done = undo()
				}
			}
		}
	}
}

// TestMembersThatAreRenamedAreCopiedOnce is the same beside a COPY.
func TestMembersThatAreRenamedAreCopiedOnce(t *testing.T) {
	b := layBeside(t, 60)
	for _, back := range []bool{true, false} {
		for _, later := range []int{3, 100, 1 << 10} {
			for first, done := 1, true; done; first += 17 {
				undo := b.between(t, back, first, later, func(c vfs.Call) bool { return c.Op == "tryFlock" })
				_, _, err := b.Copy(ctx, "d", "copy", tree.CopyOptions{}, tree.Condition{})
				b.come(nil)
				if err != nil {
					t.Fatal(err)
				}
				b.wantMembers(t, "copy", fmt.Sprintf("with a MOVE before call %d, and one %d later (back: "+
					"%v)", first, later, back))
				done = undo()
			}
		}
	}
}

// TestCollectionsThatAreRenamedAreReadOnce: a client renames a collection in the one that is listed or copied with all
// that is below it.
func TestCollectionsThatAreRenamedAreReadOnce(t *testing.T) {
	layBelow := func(t *testing.T) *beside {
		b := &beside{paused: openPaused(t, quickDir(t))}
		layout := []string{"d/"}
		for i := range 6 {
			dir := fmt.Sprint("d/c", i)
			layout = append(layout, dir+"/", fmt.Sprintf("%s/f=%d", dir, i))
			layout = append(layout, dir+"/sub/", fmt.Sprintf("%s/sub/g=below %d", dir, i))
			b.want = append(b.want, fmt.Sprint(i), fmt.Sprint("below ", i))
		}
		slices.Sort(b.want)
		if err := lay(layout...)(b.Store); err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, tt := range []struct {
		name  string
		read  func(t *testing.T, b *beside, when string)
		under string // the call from which on it has the lock itself
	}{
		{name: "listed", read: func(t *testing.T, b *beside, when string) { b.wantMembers(t, "d", when) }},
		{name: "copied", under: "tryFlock", read: func(t *testing.T, b *beside, when string) {
			_, _, err := b.Copy(ctx, "d", "copy", tree.CopyOptions{}, tree.Condition{})
			b.come(nil)
			if err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			b.wantMembers(t, "copy", when)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := layBelow(t)
			for _, later := range []int{2, 9, 1 << 10} {
				for first, done := 1, true; done; first++ {
					undo := b.between(t, true, first, later, func(c vfs.Call) bool { return c.Op == tt.under })
					tt.read(t, b, fmt.Sprintf("with a MOVE before call %d, and back %d later", first, later))
					done = undo()
				}
			}
		})
	}
}

// TestCollectionsThatTakeEachOthersNamesAreReadOnce: clients exchange the names of two collections in steps, again and
// again, before any calls of a listing or a copy.
func TestCollectionsThatTakeEachOthersNamesAreReadOnce(t *testing.T) {
	b := &beside{paused: openPaused(t, quickDir(t))}
	layout := []string{"d/"}
	for i := range 4 {
		dir := fmt.Sprint("d/c", i)
		layout = append(layout, dir+"/", dir+"/sub/")
		for name, what := range map[string]string{"f": "", "sub/g": "below "} {
			b.want = append(b.want, fmt.Sprint(what, i))
			layout = append(layout, fmt.Sprintf("%s/%s=%s%d", dir, name, what, i))
		}
	}
	slices.Sort(b.want)
	if err := lay(layout...)(b.Store); err != nil {
		t.Fatal(err)
	}
	steps := [][2]string{{"d/c0", "d/t"}, {"d/c3", "d/c0"}, {"d/t", "d/c3"}, {"d/c1", "d/t"}, {"d/c2", "d/c1"}, {"d/t", "d/c2"}}
	for _, tt := range []struct {
		name string
		read func(when string)
	}{
		{"listed", func(when string) { b.wantMembers(t, "d", when) }},
		{"copied", func(when string) {
			_, _, err := b.Copy(ctx, "d", "copy", tree.CopyOptions{}, tree.Condition{})
			b.come(nil)
			if err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			b.wantMembers(t, "copy", when)
		}},
	} {
		for _, every := range []int{1, 2, 3, 5, 8, 13, 21, 34} {
			for first, done := 1, false; !done; first += every {
				undo := b.steps(t, steps, first, every)
				tt.read(fmt.Sprintf("%s with a step before call %d, and each %d later", tt.name, first, every))
				done = !undo()
			}
		}
	}
}

// steps has a client rename members before a call, and before some later ones, but not when the lock is held. The returned
// function goes on until each name is as it was, or another one's, and reports whether a step was taken.
func (b *beside) steps(t *testing.T, steps [][2]string, first, every int) (finish func() (taken bool)) {
	calls, taken, under := 0, 0, false
	step := func() {
		b.rename(t, steps[taken%len(steps)][0], steps[taken%len(steps)][1])
		taken++
	}
	b.come(func(c vfs.Call) {
		under = under || c.Op == "tryFlock"
		if calls++; !under && calls >= first && (calls-first)%every == 0 && taken < 2*len(steps) {
			step()
		}
	})
	return func() bool {
		b.come(nil)
		any := taken > 0
		for taken%len(steps) != 0 {
			step()
		}
		return any
	}
}

// TestMembersAreRenamedAllTheTime does both beside a client that never stops.
func TestMembersAreRenamedAllTheTime(t *testing.T) {
	b := layBeside(t, 60)
	var stop atomic.Bool
	var moving sync.WaitGroup
	moves := 0
	moving.Go(func() {
		for ; !stop.Load(); moves += 2 {
			b.rename(t, "d/m7", "d/y")
			b.rename(t, "d/y", "d/m7")
		}
	})
	defer moving.Wait()
	defer stop.Store(true)
	for i := range 100 {
		b.wantMembers(t, "d", fmt.Sprint("listing ", i))
	}
	copied := 0
	for range 10 {
		_, _, err := b.Copy(ctx, "d", "copy", tree.CopyOptions{}, tree.Condition{})
		if err == nil {
			copied++
			b.wantMembers(t, "copy", "copied")
		}
	}
	stop.Store(true)
	moving.Wait()
	if moves == 0 || copied == 0 {
		t.Errorf("%d moves, and %d copies succeeded", moves, copied)
	}
}
