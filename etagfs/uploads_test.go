package etagfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/afero"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestUploadLimits: too many uploads, or too many bytes, are refused before anything is kept. Those that were put or
// removed do not count.
func TestUploadLimits(t *testing.T) {
	below, err := fs.OpenAfero(afero.NewMemMapFs(), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	limits := etagfs.UploadLimits{Number: 2, Bytes: 10}
	s, err := etagfs.New(below, etagfs.Options{Uploads: func() etagfs.UploadLimits { return limits }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	begin := func(length int64, want error) tree.Upload {
		t.Helper()
		u, err := s.NewUpload(ctx, "f", tree.UploadOptions{Length: length, Expires: time.Now().Add(time.Hour)},
			tree.Condition{})
		if !errors.Is(err, want) {
			t.Fatalf("an upload of %d bytes: %v, want %v", length, err, want)
		}
		if err == nil {
			t.Cleanup(func() { u.Close() })
		}
		return u
	}
	begin(11, tree.ErrNoSpace)
	first := begin(6, nil)
	begin(5, tree.ErrNoSpace)
	second := begin(4, nil)
	begin(0, tree.ErrNoSpace)
	if err := second.Remove(ctx); err != nil {
		t.Fatal(err)
	}
	begin(5, tree.ErrNoSpace)
	if err := first.Append(ctx, strings.NewReader("123456"), tree.AppendOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := first.Put(ctx, "f", tree.PutOptions{}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	begin(10, nil)
	begin(1, tree.ErrNoSpace)
	limits = etagfs.UploadLimits{Number: 4, Bytes: 20} // as after a reload
	begin(10, nil)
}

// TestUploadLimitsAreShared: one client gets half of what is left.
func TestUploadLimitsAreShared(t *testing.T) {
	below, err := fs.OpenAfero(afero.NewMemMapFs(), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := etagfs.New(below, etagfs.Options{Uploads: func() etagfs.UploadLimits {
		return etagfs.UploadLimits{Number: 8, Bytes: 1000}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, tt := range []struct {
		client string
		length int64
		want   int // the number of such uploads that fit
	}{{"a", 10, 4}, {"b", 10, 2}, {"c", 950, 0}, {"c", 10, 1}, {"a", 10, 0}, {"d", 10, 1}, {"e", 10, 0}} {
		for n := 0; ; n++ {
			u, err := s.NewUpload(tree.WithClient(ctx, tt.client), "f",
				tree.UploadOptions{Length: tt.length, Expires: time.Now().Add(time.Hour)}, tree.Condition{})
			if err == nil {
				t.Cleanup(func() { u.Close() })
				continue
			}
			if !errors.Is(err, tree.ErrNoSpace) || n != tt.want {
				t.Errorf("%s gets %d uploads (%v), want %d", tt.client, n, err, tt.want)
			}
			break
		}
	}
}

// TestExpiredUploadsAreRemoved: nothing is left of them, of those that were put, and of the rest of a crash.
func TestExpiredUploadsAreRemoved(t *testing.T) {
	dir := quickDir(t)
	synctest.Test(t, func(t *testing.T) {
		below, err := fs.Open(dir, fs.Options{Durability: fs.None})
		if err != nil {
			t.Fatal(err)
		}
		s, err := etagfs.New(below, etagfs.Options{History: &history.Retention{}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		begin := func(expires time.Duration) tree.Upload {
			u, err := s.NewUpload(ctx, "f", tree.UploadOptions{Length: 5, Expires: time.Now().Add(expires)},
				tree.Condition{})
			if err != nil {
				t.Fatal(err)
			}
			if err := u.Append(ctx, strings.NewReader("hello"), tree.AppendOptions{}); err != nil {
				t.Fatal(err)
			}
			return u
		}
		finished := begin(24 * time.Hour)
		if _, _, err := finished.Put(ctx, "f", tree.PutOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		short, open, long := begin(10*time.Minute), begin(10*time.Minute), begin(24*time.Hour)
		if err := errors.Join(finished.Close(), short.Close(), long.Close()); err != nil {
			t.Fatal(err)
		}
		crashed := filepath.Join(dir, ".ifmatch/uploads/CRASHED")
		if err := os.Mkdir(crashed, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(crashed, "lock"), nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(crashed, time.Time{}, time.Now()); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			after time.Duration
			want  int
		}{{5 * time.Minute, 5}, {15 * time.Minute, 4}, {2 * time.Hour, 2}, {25 * time.Hour, 1}} {
			time.Sleep(tt.after)
			synctest.Wait()
			left, err := os.ReadDir(filepath.Join(dir, ".ifmatch/uploads"))
			if err != nil || len(left) != tt.want {
				t.Errorf("%v later there are %v (%v), want %d", tt.after, left, err, tt.want)
			}
		}
		if err := open.Close(); err != nil { // it was in use as long as that
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if left, _ := os.ReadDir(filepath.Join(dir, ".ifmatch/uploads")); len(left) > 0 {
			t.Errorf("at the end there are %v", left)
		}
	})
}

// TestRestoreAtUndoesUploads: an upload in parts is undone as a PUT is, and one that is under way goes on.
func TestRestoreAtUndoesUploads(t *testing.T) {
	dir := t.TempDir()
	s := openUndo(t, dir)
	if err := lay("d/", "d/f=old")(s); err != nil {
		t.Fatal(err)
	}
	before, at := contentsOf(t, dir), time.Now()
	begin := func(name, content, part string) tree.Upload {
		t.Helper()
		opts := tree.UploadOptions{Length: int64(len(content)), Expires: time.Now().Add(time.Hour)}
		u, err := s.NewUpload(ctx, name, opts, tree.Condition{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { u.Close() })
		if err := u.Append(ctx, strings.NewReader(part), tree.AppendOptions{}); err != nil {
			t.Fatal(err)
		}
		return u
	}
	finish := func(u tree.Upload) {
		t.Helper()
		if _, _, err := u.Put(ctx, u.State().Name, tree.PutOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	finish(begin("d/f", "over it", "over it"))
	finish(begin("d/new", "new", "new"))
	onTheWay := begin("d/later", "later", "la")
	after := contentsOf(t, dir)

	result := undone(t, s, "d", at)
	if lines := different(contentsOf(t, dir), before); result.Replaced != 1 || result.Removed != 1 || lines != nil {
		t.Errorf("%+v: %q", result, lines)
	}
	undone(t, s, "d", result.Began)
	if lines := different(contentsOf(t, dir), after); lines != nil {
		t.Errorf("back again: %q", lines)
	}
	if err := onTheWay.Append(ctx, strings.NewReader("ter"), tree.AppendOptions{}); err != nil {
		t.Fatal(err)
	}
	finish(onTheWay)
	if got := contentsOf(t, dir)["d/later"]; got != "=later" {
		t.Errorf("the upload that was under way has made %q", got)
	}
}
