package etagfs_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestRestoreAtKnowsWhatCameWithACollection: a watcher tells of each member of a collection that was moved. That is no
// change by a program, whatever a client does with the member after it. A change by a program in between is one.
func TestRestoreAtKnowsWhatCameWithACollection(t *testing.T) {
	type servers struct{ watched, beside *watchedStore }
	type step func(s servers) error
	move := func(s tree.Store, from, to string) error {
		_, _, err := s.Move(ctx, from, to, tree.CopyOptions{}, tree.Condition{})
		return err
	}
	moves := func(from, to string) step { return func(s servers) error { return move(s.watched, from, to) } }
	other := func(from, to string) step { return func(s servers) error { return move(s.beside, from, to) } }
	lays := func(layout ...string) step { return func(s servers) error { return lay(layout...)(s.watched) } }
	removes := func(name string) step {
		return func(s servers) error { return s.watched.Remove(ctx, name, tree.Condition{}) }
	}
	tells := func(s servers) error {
		for _, name := range slices.Sorted(maps.Keys(contentsOf(t, s.watched.dir))) {
			s.watched.told(name)
		}
		return nil
	}
	replaced := func(name string) step { // the watcher tells that something else was at the name, too
		return func(s servers) error { s.watched.Removed(name); return tells(s) }
	}
	writes := func(name string) step {
		return func(s servers) error {
			tick(t)
			since := now(t, s.watched)
			s.watched.write(t, name, "theirs")
			for end := time.Now().Add(time.Minute); time.Now().Before(end); {
				s.watched.told(name)
				if all, _ := followed(t, s.watched, since); len(all) > 0 {
					return nil
				}
			}
			return errors.New("the watcher's word does not get into the journal")
		}
	}
	for _, test := range []struct {
		name string
		do   []step
		left string
	}{
		{"and moved out of it", []step{other("d", "n"), tells, moves("n/f", "moved")}, ""},
		{"and moved out of it, told by the server that has moved it over another",
			[]step{moves("d", "old"), replaced("old"), moves("old/f", "moved")}, ""},
		{"and moved out of it, while something else gets its name",
			[]step{moves("d", "old"), lays("d/", "d/new=new"), replaced("old"), moves("old/f", "moved"), tells}, ""},
		{"and moved out of the next collection", []step{other("d", "n"), tells, moves("n", "m"), tells,
			moves("m/f", "moved"), tells}, ""},
		{"and moved from below", []step{other("d", "n"), tells, moves("n/e/h", "n/h"), tells}, ""},
		{"and moved with its collection over another", []step{other("d", "n"), tells, moves("n/e", "old"), tells}, ""},
		{"and moved over another file", []step{other("d", "n"), tells, moves("n/f", "n/g"), tells}, ""},
		{"and moved over a collection", []step{other("d", "n"), tells, moves("n/f", "n/e"), tells}, ""},
		{"and overwritten", []step{other("d", "n"), tells, lays("n/f=new"), tells}, ""},
		{"and removed", []step{other("d", "n"), tells, removes("n/f"), tells}, ""},
		{"and described", []step{other("d", "n"), tells, lays("n/f+"), tells}, ""},
		{"and changed by a program, and moved out of it",
			[]step{other("d", "n"), tells, writes("n/f"), moves("n/f", "moved")},
			"d/f: a program has changed it on the disk"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s := servers{openWatched(t, dir), openWatched(t, dir)}
			if err := lays("d/", "d/f=f", "d/g=g", "d/e/", "d/e/h=h", "old/")(s); err != nil {
				t.Fatal(err)
			}
			s.watched.settle(t)
			at := tick(t)
			before := contentsOf(t, dir)
			if err := lays("old/kept=kept")(s); err != nil { // so the collection is not as it was told of before
				t.Fatal(err)
			}
			for _, do := range test.do {
				if err := do(s); err != nil {
					t.Fatal(err)
				}
			}
			s.watched.settle(t)
			result, err := s.watched.RestoreAt(ctx, "", at, tree.RestoreAtOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var left []string
			for _, l := range result.Left {
				left = append(left, l.Name+": "+l.Reason)
			}
			if test.left != "" {
				if !slices.Contains(left, test.left) {
					t.Errorf("left %q, want %q", left, test.left)
				}
				return
			}
			if diff := different(contentsOf(t, dir), before); len(diff) > 0 || left != nil {
				t.Errorf("left %q, and it differs:\n%s", left, strings.Join(diff, "\n"))
			}
		})
	}
}
