package quota_test

import (
	"errors"
	"testing"
	"time"

	"ifmatch/quota"
	"ifmatch/quota/limits"
	"ifmatch/tree"
)

// TestUploadsInParts: an upload in parts counts from its commit on, no part of it comes without room, and what it holds
// meanwhile ends with each request.
func TestUploadsInParts(t *testing.T) {
	s := start(t, openDirectory(t, t.TempDir()), quota.Options{}, limits.Limit{Path: "/home/{user}", Max: 1000})
	u := user{t, s}
	u.mkdir("home", "home/a")
	u.must(u.put("home/a/f", 300))
	count := func(want int64) {
		t.Helper()
		a := s.Allowances("home/a")[0]
		if there := walked(t, s, "home/a"); a.Used != want || there != want || a.Available != 1000-want {
			t.Fatalf("%+v, and %d bytes are there, want %d", a, there, want)
		}
	}
	begin := func(name string, length int64) (tree.Upload, error) {
		return s.NewUpload(t.Context(), name, tree.UploadOptions{
			Length: length, Expires: time.Now().Add(time.Hour),
		}, tree.Condition{})
	}
	begun := func(name string, length int64) tree.Upload {
		t.Helper()
		up, err := begin(name, length)
		u.must(err)
		t.Cleanup(func() { up.Close() })
		return up
	}
	add := func(up tree.Upload, bytes int) error {
		return up.Append(t.Context(), content(bytes), tree.AppendOptions{})
	}
	commit := func(up tree.Upload, cond tree.Condition) error {
		_, _, err := up.Put(t.Context(), up.State().Name, tree.PutOptions{}, cond)
		return err
	}
	_, err := begin("home/a/g", 701)
	u.full(err)
	over, fresh, late := begun("home/a/f", 1000), begun("home/a/g", 700), begun("home/a/h", 200)
	u.must(add(fresh, 350))
	count(300)
	u.must(add(late, 200))
	u.must(add(over, 500))
	refused := errors.New("refused")
	if err := commit(late, tree.Condition{Check: func(tree.View) error { return refused }}); !errors.Is(err, refused) {
		t.Fatalf("a condition that is not true: %v", err)
	}
	count(300)
	u.must(commit(late, tree.Condition{}))
	count(500)
	u.full(add(fresh, 350))
	count(500)
	u.must(u.remove("home/a/h"))
	id := fresh.State().ID
	u.must(fresh.Close())
	fresh, err = s.OpenUpload(t.Context(), id)
	u.must(err)
	t.Cleanup(func() { fresh.Close() })
	u.must(add(fresh, 350))
	u.must(add(over, 500))
	u.must(commit(fresh, tree.Condition{}))
	u.full(commit(over, tree.Condition{}))
	count(1000)
	u.must(u.remove("home/a/g"))
	u.must(commit(over, tree.Condition{})) // it grows the file that is there
	count(1000)
}
