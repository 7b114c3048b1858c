package pgstore_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// limited returns three replicas of a tree with limits of uploads, and a function that begins an upload of a client at
// the next of them.
func limited(t *testing.T, limits *pgstore.UploadLimits) (begin func(client string, length int64) (tree.Upload, error)) {
	t.Helper()
	dsn := pgtest.Shared(t).Database(t, clean)
	dir, err := blobs.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var all []*pgstore.Store
	for range 3 {
		s, err := pgstore.Open(t.Context(), dsn, pgstore.Options{
			Blobs: dir, Uploads: func() pgstore.UploadLimits { return *limits },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		all = append(all, s)
	}
	next := 0
	return func(client string, length int64) (tree.Upload, error) {
		next++
		u, err := all[next%len(all)].NewUpload(tree.WithClient(t.Context(), client), "f",
			tree.UploadOptions{Length: length, Expires: time.Now().Add(time.Hour)}, tree.Condition{})
		if err == nil {
			t.Cleanup(func() { u.Close() })
		}
		return u, err
	}
}

// TestUploadLimits: too many uploads, or too many bytes, at all replicas together are refused. Those that were put or
// removed do not count.
func TestUploadLimits(t *testing.T) {
	limits := pgstore.UploadLimits{Number: 2, Bytes: 10}
	next := limited(t, &limits)
	begin := func(length int64, want error) tree.Upload {
		t.Helper()
		u, err := next("", length)
		if !errors.Is(err, want) {
			t.Fatalf("an upload of %d bytes: %v, want %v", length, err, want)
		}
		return u
	}
	begin(11, tree.ErrNoSpace)
	first := begin(6, nil)
	begin(5, tree.ErrNoSpace)
	second := begin(4, nil)
	begin(0, tree.ErrNoSpace)
	if err := second.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	begin(5, tree.ErrNoSpace)
	if err := first.Append(t.Context(), strings.NewReader("123456"), tree.AppendOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := first.Put(t.Context(), "f", tree.PutOptions{}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	begin(10, nil)
	begin(1, tree.ErrNoSpace)
	limits = pgstore.UploadLimits{Number: 4, Bytes: 20} // as after a reload
	begin(10, nil)
	begin(1, tree.ErrNoSpace)
	limits = pgstore.UploadLimits{} // none
	for range 10 {
		begin(1<<40, nil)
	}
}

// TestUploadLimitsAreShared: one client gets half of the rest, whichever replicas it asks.
func TestUploadLimitsAreShared(t *testing.T) {
	begin := limited(t, &pgstore.UploadLimits{Number: 8, Bytes: 1000})
	for _, tt := range []struct {
		client string
		length int64
		want   int // the number of such uploads that fit
	}{{"a", 10, 4}, {"b", 10, 2}, {"c", 950, 0}, {"c", 10, 1}, {"a", 10, 0}, {"d", 10, 1}, {"e", 10, 0}} {
		for n := 0; ; n++ {
			if _, err := begin(tt.client, tt.length); err == nil {
				continue
			} else if !errors.Is(err, tree.ErrNoSpace) || n != tt.want {
				t.Errorf("%s gets %d uploads (%v), want %d", tt.client, n, err, tt.want)
			}
			break
		}
	}
}
