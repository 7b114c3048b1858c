//go:build unix

package fs

import (
	"fmt"
	iofs "io/fs"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// The history forgets what it is told to forget, for good, and nothing else.
func TestPrune(t *testing.T) {
	all := []string{"f PUT", "f DELETE", "fg PUT", "d/g PUT", "d DELETE", "d/g in d", "d/h in d"}
	without := func(gone ...string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(gone, s) })
	}
	for _, test := range []struct {
		name    string
		prune   string
		opts    history.PruneOptions
		held    bool // a commit is at work on the removed file
		left    int
		dropped []string
		want    []string // in the history after that
	}{
		{name: "a file", prune: "f", dropped: []string{"f PUT", "f DELETE"}, want: without("f PUT", "f DELETE")},
		{name: "a collection, with what its members were", prune: "d", dropped: []string{"d/g PUT", "d DELETE"},
			want: without("d/g PUT", "d DELETE", "d/g in d", "d/h in d")},
		{name: "a member of a kept collection", prune: "d/g", dropped: []string{"d/g PUT", "d/g DELETE"},
			want: without("d/g PUT", "d/g in d")},
		{name: "everything", prune: "", dropped: []string{"f PUT", "f DELETE", "fg PUT", "d/g PUT", "d DELETE"}},
		{name: "a name without a version", prune: "x", want: all},
		{name: "a dry run", prune: "f", opts: history.PruneOptions{DryRun: true}, dropped: []string{"f PUT", "f DELETE"},
			want: all},
		{name: "a version that is held", prune: "f", held: true, left: 1, dropped: []string{"f PUT"},
			want: without("f PUT")},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			lay(t, dir, "f=1", "fg=1", "d/", "d/g=1", "d/h=1")
			server := openTest(t, dir, Options{History: true})
			replaceBy(t, server, "f", "2")
			removeTest(t, server, "f")
			lay(t, dir, "f=now")
			replaceBy(t, server, "fg", "2")
			replaceBy(t, server, "d/g", "2")
			removeTest(t, server, "d")
			command := openTest(t, dir, Options{History: true}) // beside it
			if test.held {
				for _, k := range keeps(t, server, "f", "1", "2") {
					if k.Cause == "DELETE" {
						command.root.history.Hold(k.ID())
					}
				}
			}
			var dropped []string
			test.opts.Dropped = func(k history.Kept, bytes int64) {
				dropped = append(dropped, k.Path+" "+k.Cause)
				if k.Kind == vfs.Regular && bytes > volumes.Block || bytes <= 0 {
					t.Errorf("%s takes %d bytes", k.Path, bytes)
				}
			}
			left, err := command.Prune(t.Context(), test.prune, test.opts)
			if err != nil || left != test.left || !slices.Equal(dropped, test.dropped) {
				t.Errorf("dropped %q, left %d, error %v", dropped, left, err)
			}
			if err := command.EmptyTrash(t.Context()); err != nil {
				t.Error(err)
			}
			if got := versionsOf(t, server); !slices.Equal(got, test.want) {
				t.Errorf("the history has %q, want %q", got, test.want)
			}
			has(t, dir, "f", "now")
			has(t, dir, "fg", "2")
		})
	}
}

// versionsOf returns the path and the cause of each version, and the files in each kept collection.
func versionsOf(t *testing.T, s *FS) (all []string) {
	t.Helper()
	found, err := s.History("")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range found {
		all = append(all, k.Path+" "+k.Cause)
		if k.Kind != vfs.Directory {
			continue
		}
		for m, err := range s.Inside(k) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprintf("%s in %s", m.Path, k.Path))
		}
	}
	return all
}

// A version that no request has removed may be the only copy that a user has.
func TestPruneLeavesRecoveredVersions(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=1", "g=2")
	s := openTest(t, dir, Options{History: true})
	for _, cause := range []string{"DELETE", history.CauseRecovered} {
		name := map[string]string{"DELETE": "f", history.CauseRecovered: "g"}[cause]
		n := history.Note{Path: "f", Cause: cause, Seen: see(t, s, name)}
		if _, err := s.root.history.Archive(name, n); err != nil {
			t.Fatal(err)
		}
	}
	left, err := s.Prune(t.Context(), "f", history.PruneOptions{})
	if err != nil || left != 1 {
		t.Errorf("left %d, error %v", left, err)
	}
	keeps(t, s, "f", "2")
}

// A version that cannot be deleted is told, and stops no other one. What was dropped is gone from the disk.
func TestPruneGoesOn(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=1")
	failing := ""
	s := openTest(t, dir, Options{History: true, Before: func(c vfs.Call) error {
		if c.Op == "rename" && c.Name == failing && failing != "" {
			return iofs.ErrPermission
		}
		return nil
	}})
	replaceBy(t, s, "f", "2")
	replaceBy(t, s, "f", "3")
	failing = keeps(t, s, "f", "1", "2")[0].ID()
	left, err := s.Prune(t.Context(), "f", history.PruneOptions{})
	if err == nil || left != 1 {
		t.Errorf("left %d, error %v", left, err)
	}
	keeps(t, s, "f", "1")
	if err := s.EmptyTrash(t.Context()); err != nil {
		t.Error(err)
	}
	there, err := filepath.Glob(filepath.Join(dir, volumes.OwnDir, volumes.TrashPart, "*"))
	if err != nil || len(there) > 0 {
		t.Errorf("the trash has %q, error %v", there, err)
	}
}

// What a MOVE to another disk has taken away stays until it is given up, also beside another process. After that, it
// gave way when it was taken.
func TestTakenStays(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "d/", "d/f=1")
	c := newTestClock()
	s, other := openTest(t, dir, Options{History: true, Now: c.Now}), openTest(t, dir, Options{History: true, Now: c.Now})
	taken, err := s.Take("d", see(t, s, "d"), How{Exact: true, Cause: "MOVE"})
	if err != nil {
		t.Fatal(err)
	}
	begun := c.now
	c.now = c.now.Add(time.Minute)
	left, err := other.Prune(t.Context(), "d", history.PruneOptions{})
	if err != nil || left != 1 {
		t.Errorf("left %d, error %v", left, err)
	}
	keeps(t, s, "d/f", "1")
	taken.GiveUp()
	taken.Release()
	if all, err := other.History("d"); err != nil || len(all) != 1 || all[0].Cause != "MOVE" || !all[0].Gone.Equal(begun) {
		t.Errorf("got %+v, error %v", all, err)
	}
	if left, err := other.Prune(t.Context(), "d", history.PruneOptions{}); err != nil || left != 0 {
		t.Errorf("given up: left %d, error %v", left, err)
	}
}
