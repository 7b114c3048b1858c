package pgstore_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// unavailable expects an error that says so of the storage, and nothing of a resource: a client that syncs would delete a
// file that is not there.
func unavailable(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, tree.ErrUnavailable) || errors.Is(err, tree.ErrNotExist) || errors.Is(err, tree.ErrPermission) {
		t.Errorf("%s: error %v", what, err)
	}
}

// use calls the methods of a store with a small and a large file, and returns the errors that are not nil.
func use(t *testing.T, s *pgstore.Store) map[string]error {
	t.Helper()
	ctx, failed := t.Context(), map[string]error{}
	note := func(what string, err error) {
		if err != nil {
			failed[what] = err
		}
	}
	for name, size := range map[string]int{"small": 10, "large": 100_000} {
		content, _, err := s.Open(ctx, name, tree.ReadOptions{}, tree.Condition{})
		if err == nil {
			_, err = content.WriteRange(ctx, io.Discard, 0, int64(size))
			err = errors.Join(err, content.Close())
		}
		note("read "+name, err)
		body := strings.NewReader(strings.Repeat("x", size))
		_, _, err = s.Put(ctx, name, body, tree.PutOptions{Length: -1}, tree.Condition{})
		note("write "+name, err)
	}
	for _, err := range s.List(ctx, "", tree.ListOptions{Depth: 1}, tree.Condition{}) {
		note("list", err)
	}
	note("remove", s.Remove(ctx, "small", tree.Condition{}))
	_, _, err := s.Put(ctx, "small", strings.NewReader("xxxxxxxxxx"), tree.PutOptions{Length: -1}, tree.Condition{})
	note("write small again", err)
	_, err = s.Now(ctx)
	note("now", err)
	return failed
}

// TestWhatIsAwayIsUnavailable: neither the socket of a database nor the directory of objects is there, and no resource is
// said to be missing for that.
func TestWhatIsAwayIsUnavailable(t *testing.T) {
	server, root := pgtest.Run(t), filepath.Join(t.TempDir(), "place")
	place, err := blobs.NewDir(root)
	if err != nil {
		t.Fatal(err)
	}
	s, err := pgstore.Open(t.Context(), server.DSN("postgres"), pgstore.Options{Blobs: place, History: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	use(t, s) // makes the files
	if failed := use(t, s); len(failed) > 0 {
		t.Fatalf("all is there: %v", failed)
	}
	for _, below := range []func() error{func() error { return nil }, func() error { return os.Mkdir(root, 0o700) }} {
		if err := errors.Join(os.Rename(root, root+"-mounted"), below()); err != nil {
			t.Fatal(err)
		}
		failed := use(t, s)
		for what, err := range failed {
			unavailable(t, "without objects, "+what, err)
		}
		if len(failed) != 2 || failed["read large"] == nil || failed["write large"] == nil {
			t.Errorf("without objects, these fail: %v", failed)
		}
		_ = os.Remove(root) // the empty one
		if err := os.Rename(root+"-mounted", root); err != nil {
			t.Fatal(err)
		}
	}
	server.End()
	if _, err := os.Stat(server.Socket()); err == nil {
		t.Error("the socket of the database is still there")
	}
	failed := use(t, s)
	for what, err := range failed {
		unavailable(t, "without the database, "+what, err)
	}
	if len(failed) != 8 {
		t.Errorf("without the database, these fail: %v", failed)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if failed := use(t, s); len(failed) > 0 {
		t.Errorf("all is there again: %v", failed)
	}
}
