package monitor

import (
	"log/slog"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/etagfs/reopening"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/quota"
	"r-seed-1f3a754f.example/ifmatch/quota/limits"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// TestWrappedStores runs the conformance suite over a directory in all stores that a server wraps it in: it may go away
// and come back, its changes are timed, and it has quotas, which are far away.
func TestWrappedStores(t *testing.T) {
	b := treetest.Backend{Open: func(t *testing.T, now func() time.Time) (tree.Store, func() tree.Store) {
		dir := t.TempDir()
		s := openWrapped(t, dir, now)
		t.Cleanup(func() { s.Close() })
		return s, func() tree.Store {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			s = openWrapped(t, dir, now)
			return s
		}
	}}
	below, err := fs.Open(t.TempDir(), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !below.Abilities().Attributes {
		b.NoProperties = "the file system of the temporary directory has no extended attributes"
	}
	if err := below.Close(); err != nil {
		t.Error(err)
	}
	if runtime.GOOS != "linux" {
		b.ForgetsDates = "the index is kept in memory here"
		b.ForgetsFeed = "this system does not tell one boot from the next"
	}
	treetest.Run(t, b)
}

func openWrapped(t *testing.T, dir string, now func() time.Time) *quota.Store {
	t.Helper()
	reopening, err := reopening.Open(reopening.Options{
		Dir: dir, State: ".ifmatch", Log: slog.New(slog.DiscardHandler),
		Open: func() (*etagfs.Store, error) {
			below, err := fs.Open(dir, fs.Options{Durability: fs.None, History: true})
			if err != nil {
				return nil, err
			}
			return etagfs.New(below, etagfs.Options{
				Now: now, Journal: true, IndexDir: filepath.Join(dir, ".ifmatch", "index"),
			})
		},
		Start: func(*etagfs.Store) func() { return func() {} },
	})
	if err != nil {
		t.Fatal(err)
	}
	measured := &measuredStore{reopening, func(string, time.Duration) {}}
	far := []limits.Limit{{Path: "/", Max: 1 << 40}, {Path: "/*", Max: 1 << 40, History: true}}
	s := quota.New(measured, limits.NewSet(far, volumes.Alike), quota.Options{Patience: time.Minute, Now: now})
	s.Start()
	return s
}
