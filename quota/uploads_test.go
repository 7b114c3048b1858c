package quota_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/quota"
	"r-seed-1f3a754f.example/ifmatch/quota/limits"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// begin begins an upload that arrives in parts.
func (u user) begin(name string, length int64) (tree.Upload, error) {
	return u.Store.(tree.Uploads).NewUpload(u.t.Context(), name, tree.UploadOptions{
		Length: length, Expires: time.Now().Add(time.Hour),
	}, tree.Condition{})
}

// begun is begin for an upload that must succeed.
func (u user) begun(name string, length int64) tree.Upload {
	u.t.Helper()
	up, err := u.begin(name, length)
	u.must(err)
	u.t.Cleanup(func() { up.Close() })
	return up
}

func (u user) arrive(up tree.Upload, bytes int) error {
	return up.Append(u.t.Context(), content(bytes), tree.AppendOptions{})
}

func (u user) finish(up tree.Upload, cond tree.Condition) error {
	_, _, err := up.Put(u.t.Context(), up.State().Name, tree.PutOptions{}, cond)
	return err
}

// wantLeft fails unless a limit counts used bytes and leaves available ones, when all operations that have ended are
// counted.
func (u user) wantLeft(s *quota.Store, used, available int64) {
	u.t.Helper()
	if a := s.Allowances("")[0]; a.Used != used || a.Available != available {
		u.t.Errorf("the limit says %+v, want %d used and %d available", a, used, available)
	}
}

// TestUploadsReserve: an upload that arrives in parts holds the room for all of its body from its beginning to its end.
func TestUploadsReserve(t *testing.T) {
	refused := errors.New("the condition is not true")
	for _, tt := range []struct {
		name            string
		test            func(s *quota.Store, u user)
		used, available int64
	}{
		{"until its Put", func(_ *quota.Store, u user) {
			up := u.begun("f", 60)
			u.full(u.put("g", 41))
			u.must(u.arrive(up, 20))
			u.full(u.put("g", 41))
			u.must(u.arrive(up, 40))
			u.full(u.put("g", 41))
			u.must(u.finish(up, tree.Condition{}))
			u.full(u.put("g", 41))
		}, 60, 40},
		{"too much", func(_ *quota.Store, u user) {
			_, err := u.begin("f", 101)
			u.full(err)
		}, 0, 100},
		{"beside another one", func(_ *quota.Store, u user) {
			u.begun("f", 60)
			_, err := u.begin("g", 41)
			u.full(err)
			u.begun("g", 40)
		}, 0, 0},
		{"until it is ended", func(_ *quota.Store, u user) { u.must(u.begun("f", 60).Remove(u.t.Context())) }, 0, 100},
		{"not if it does not begin", func(_ *quota.Store, u user) {
			if _, err := u.begin("", 60); !errors.Is(err, tree.ErrIsCollection) {
				u.t.Errorf("an upload of the root: %v", err)
			}
		}, 0, 100},
		{"what the file grows by", func(_ *quota.Store, u user) {
			u.must(u.put("f", 80))
			up := u.begun("f", 90)
			u.full(u.put("g", 11))
			u.must(u.arrive(up, 90))
			u.must(u.finish(up, tree.Condition{}))
		}, 90, 10},
		{"after a Put that has failed", func(_ *quota.Store, u user) {
			up := u.begun("f", 60)
			u.must(u.arrive(up, 60))
			if err := u.finish(up, tree.Condition{Check: func(tree.View) error { return refused }}); !errors.Is(err, refused) {
				u.t.Errorf("the Put says %v", err)
			}
			u.full(u.put("g", 41))
		}, 0, 40},
		{"and its Put counts once", func(_ *quota.Store, u user) {
			up := u.begun("f", 60)
			u.must(u.arrive(up, 60))
			u.must(u.finish(up, tree.Condition{}))
			u.must(u.put("f", 10))
			u.must(u.remove("f"))
		}, 0, 100},
		{"also if the limit came later", func(s *quota.Store, u user) {
			s.Limit(limits.NewSet(nil, strings.EqualFold))
			up := u.begun("f", 60)
			u.must(u.put("g", 50))
			s.Limit(limits.NewSet([]limits.Limit{{Path: "/", Max: 100}}, strings.EqualFold))
			u.full(u.arrive(up, 60))
			u.must(u.put("g", 40))
			u.must(u.arrive(up, 60))
		}, 40, 0},
		{"and its Put is refused above a limit that came later", func(s *quota.Store, u user) {
			up := u.begun("f", 60)
			u.must(u.arrive(up, 60))
			s.Limit(limits.NewSet([]limits.Limit{{Path: "/", Max: 50}}, strings.EqualFold))
			u.full(u.finish(up, tree.Condition{}))
			s.Limit(limits.NewSet([]limits.Limit{{Path: "/", Max: 100}}, strings.EqualFold))
			u.must(u.finish(up, tree.Condition{}))
		}, 60, 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, openDirectory(t, t.TempDir()), quota.Options{}, limits.Limit{Path: "/", Max: 100})
			u := user{t, s}
			tt.test(s, u)
			u.wantLeft(s, tt.used, tt.available)
		})
	}
}

// TestExpiredUploadsHoldNothing: the reservation of an upload ends with it, though no request comes.
func TestExpiredUploadsHoldNothing(t *testing.T) {
	s := start(t, openDirectory(t, t.TempDir()), quota.Options{}, limits.Limit{Path: "/", Max: 100})
	up, err := s.NewUpload(t.Context(), "f", tree.UploadOptions{Length: 60, Expires: time.Now()}, tree.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	for deadline := time.Now().Add(time.Minute); s.Allowances("")[0].Available != 100; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it holds its room after a minute: %+v", s.Allowances(""))
		}
	}
}

// TestUploadsReserveAgainAfterARestart: reservations are in memory, so the next part of an upload reserves anew, or
// fails before its body is read.
func TestUploadsReserveAgainAfterARestart(t *testing.T) {
	dir := t.TempDir()
	all := []limits.Limit{{Path: "/", Max: 100}}
	first := quota.New(openDirectory(t, dir), limits.NewSet(all, strings.EqualFold), quota.Options{Patience: time.Minute})
	first.Start()
	u := user{t, first}
	up := u.begun("f", 60)
	u.must(u.arrive(up, 20))
	id := up.State().ID
	u.must(up.Close())
	u.must(first.Close())

	s := start(t, openDirectory(t, dir), quota.Options{}, all...)
	u = user{t, s}
	u.must(u.put("g", 50))
	up, err := s.OpenUpload(t.Context(), id)
	u.must(err)
	defer up.Close()
	u.full(up.Append(t.Context(), readsNothing{t}, tree.AppendOptions{}))
	if at := up.State().Offset; at != 20 {
		t.Errorf("the upload is at byte %d", at)
	}
	u.must(u.remove("g"))
	u.must(u.arrive(up, 40))
	u.full(u.put("g", 50))
	u.must(u.finish(up, tree.Condition{}))
	u.wantLeft(s, 60, 40)
	data, err := os.ReadFile(filepath.Join(dir, "f"))
	if err != nil || len(data) != 60 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	content, _, err := s.Open(t.Context(), "f", tree.ReadOptions{}, tree.Condition{})
	u.must(err)
	defer content.Close()
	if read, err := io.ReadAll(io.NewSectionReader(content, 0, 100)); err != nil || string(read) != string(data) {
		t.Errorf("the store has %d bytes, %v", len(read), err)
	}
}

// TestRestoreAtCounts: an undo as of a time is refused by no limit, and what it brings counts.
func TestRestoreAtCounts(t *testing.T) {
	s := start(t, openDirectory(t, t.TempDir()), quota.Options{}, limits.Limit{Path: "/", Max: 100})
	u := user{t, s}
	u.mkdir("d", "d/e")
	u.must(u.put("d/e/f", 90))
	cursor, err := s.Now(t.Context())
	if err != nil || cursor == "" {
		t.Fatal(err)
	}
	before := time.Now()
	u.must(u.remove("d"))
	u.must(u.put("g", 50))
	result, err := s.RestoreAt(t.Context(), "d", before, tree.RestoreAtOptions{})
	if err != nil || result.Returned != 1 {
		t.Fatalf("%+v, %v", result, err)
	}
	await(t, s, "", 140)
	u.full(u.put("h", 1))
	u.must(u.remove("d/e"))
	await(t, s, "", 50)
	u.must(u.put("h", 50))
}
