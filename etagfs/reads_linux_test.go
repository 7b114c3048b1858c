package etagfs_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A read is a way to read a small file that was left alone for a while, whose tag is known.
type read struct {
	name string
	do   func(s *etagfs.Store, name string) error
	// want are the system calls for a file in a collection. "close" is not asked about, and stands for itself in the
	// counts of docs/architecture.md.
	want string
	// kept are those of a file whose content is in memory.
	kept string
}

func getWhole(s *etagfs.Store, name string) error {
	content, state, err := s.Open(ctx, name, tree.ReadOptions{Want: tree.WantTag | tree.WantProperties},
		tree.Condition{})
	if err != nil {
		return err
	}
	defer content.Close()
	var got strings.Builder
	if _, err := content.WriteRange(ctx, &got, 0, state.Size); err != nil {
		return err
	}
	if tree.TagOf(sha256.Sum256([]byte(got.String()))) != state.Tag {
		return errors.New("the content is not that of the tag")
	}
	return nil
}

var errNotNow = errors.New("refused")

func reads() []read {
	all := tree.ReadOptions{Want: tree.WantTag | tree.WantProperties}
	return []read{
		{"GET", getWhole, "lstat open readAt fstat", "lstat"},
		{"GET that is refused", func(s *etagfs.Store, name string) error {
			_, _, err := s.Open(ctx, name, all, tree.Condition{Check: func(v tree.View) error {
				if state, err := v.State(name); err != nil || state.Tag == "" {
					return errors.New("the tag is not known")
				}
				return errNotNow
			}})
			if errors.Is(err, errNotNow) {
				return nil
			}
			return errors.Join(err, errors.New("it was not refused"))
		}, "lstat", "lstat"},
		{"HEAD", func(s *etagfs.Store, name string) error {
			head := all
			head.NoContent = true
			content, state, err := s.Open(ctx, name, head, tree.Condition{})
			if err != nil {
				return err
			}
			if state.Tag == "" || state.Size == 0 {
				err = fmt.Errorf("opened as %+v", state)
			}
			return errors.Join(err, content.Close())
		}, "lstat", "lstat"},
		{"PROPFIND", func(s *etagfs.Store, name string) error {
			_, err := s.Stat(ctx, name, all)
			return err
		}, "lstat", "lstat"},
	}
}

// openLater opens a store for which all that is done now was done a minute ago.
func openLater(t *testing.T, dir string, opts fs.Options) *etagfs.Store {
	t.Helper()
	return openLaterWith(t, dir, opts, 0)
}

// openLaterWith is openLater with a bound of what is kept in memory.
func openLaterWith(t *testing.T, dir string, opts fs.Options, memory int64) *etagfs.Store {
	t.Helper()
	opts.Durability = fs.None
	below, err := fs.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	later := func() time.Time { return time.Now().Add(time.Minute) }
	s, err := etagfs.New(below, etagfs.Options{Now: later, CacheMemory: memory})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestReadTrace compares the system calls of each way to read, once all is known of the file.
func TestReadTrace(t *testing.T) {
	t.Run("from the disk", func(t *testing.T) {
		testReadTrace(t, -1, func(r read) string { return r.want })
	})
	t.Run("from memory", func(t *testing.T) {
		testReadTrace(t, 0, func(r read) string { return r.kept })
	})
}

// testReadTrace compares the system calls with want, for a store with a bound of what is kept in memory.
func testReadTrace(t *testing.T, memory int64, want func(read) string) {
	seam := seam{}
	s := openLaterWith(t, t.TempDir(), fs.Options{Before: seam.before}, memory)
	able := s.Abilities()
	if !able.AttributeTimes {
		t.Skip("NOT RUN: an extended attribute does not move the time of change here")
	}
	if memory >= 0 && (!able.Mappings || !able.FineTimes) {
		t.Skip("NOT RUN: no content is kept here")
	}
	if err := lay("d/", "d/f=content")(s); err != nil {
		t.Fatal(err)
	}
	for range 3 { // so that all is known, and the content is kept
		if err := getWhole(s, "d/f"); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range reads() {
		t.Run(r.name, func(t *testing.T) {
			var calls []string
			seam.arm(func(_ int, c vfs.Call) error { calls = append(calls, c.Op); return nil })
			err := r.do(s, "d/f")
			seam.arm(nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(calls, " "); got != want(r) {
				t.Errorf("the calls are %s, want %s", got, want(r))
			}
		})
	}
}

// TestPropertiesAreMissedByNoRead: that a file has no properties is known of the version alone that was looked at.
func TestPropertiesAreMissedByNoRead(t *testing.T) {
	for _, set := range []struct {
		name string
		do   func(s *etagfs.Store, path string) error
	}{
		{"by a client", func(s *etagfs.Store, _ string) error {
			return s.PatchProperties(ctx, "f", patch("p", "1"), tree.Condition{})
		}},
		{"by a local program", func(_ *etagfs.Store, path string) error {
			return unix.Setxattr(path, "user.ifmatch.props", []byte(`[{"n":"p","v":"1"}]`), 0)
		}},
	} {
		t.Run(set.name, func(t *testing.T) {
			dir := t.TempDir()
			s := openLater(t, dir, fs.Options{})
			if !s.Abilities().Attributes {
				t.Skip("NOT RUN: no extended attributes here")
			}
			if err := lay("f=content")(s); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if err := getWhole(s, "f"); err != nil {
					t.Fatal(err)
				}
			}
			if err := set.do(s, filepath.Join(dir, "f")); err != nil {
				t.Fatal(err)
			}
			want := tree.ReadOptions{Want: tree.WantTag | tree.WantProperties}
			content, opened, err := s.Open(ctx, "f", want, tree.Condition{})
			if err != nil {
				t.Fatal(err)
			}
			content.Close()
			state, err := s.Stat(ctx, "f", want)
			if err != nil || len(opened.Properties) != 1 || len(state.Properties) != 1 {
				t.Errorf("Open returned the properties %v, Stat %v (%v), want one", opened.Properties, state.Properties,
					err)
			}
		})
	}
}

// TestOpenWhatTookItsName: a local program gives the name to another file between the look at it and the opening. No
// byte is sent then as if it were of the version that was looked at.
func TestOpenWhatTookItsName(t *testing.T) {
	for _, other := range []struct {
		name string
		make func(path string) error
		want error
	}{
		{"another file", func(path string) error { return os.WriteFile(path, []byte("CONTENT"), 0o666) },
			tree.ErrChanged},
		{"a shorter file", func(path string) error { return os.WriteFile(path, []byte("c"), 0o666) }, tree.ErrChanged},
		{"a collection", func(path string) error { return os.Mkdir(path, 0o777) }, tree.ErrChanged},
		{"a pipe", func(path string) error { return unix.Mkfifo(path, 0o666) }, tree.ErrChanged},
		{"the same content", func(path string) error { return os.WriteFile(path, []byte("content"), 0o666) }, nil},
	} {
		t.Run(other.name, func(t *testing.T) {
			dir, seam := t.TempDir(), seam{}
			s := openLater(t, dir, fs.Options{Before: seam.before})
			path := filepath.Join(dir, "f") // not by a PUT: its body would be in memory, and nothing opened
			if err := os.WriteFile(path, []byte("content"), 0o666); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag}); err != nil {
				t.Fatal(err)
			}
			seam.arm(func(_ int, c vfs.Call) error {
				if c.Op != "open" {
					return nil
				}
				return errors.Join(os.Rename(path, path+"-was"), other.make(path))
			})
			content, state, err := s.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
			seam.arm(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer content.Close()
			var sent strings.Builder
			_, err = content.WriteRange(ctx, &sent, 0, state.Size)
			if !errors.Is(err, other.want) || err == nil && sent.String() != "content" || err != nil && sent.Len() > 0 {
				t.Errorf("it sent %q, %v, want %v", sent.String(), err, other.want)
			}
		})
	}
}

// TestReadWhatMayNotBeRead: a condition tells nothing of a file that may not be read.
func TestReadWhatMayNotBeRead(t *testing.T) {
	const other = 65534
	s := openLater(t, t.TempDir(), fs.Options{FileMode: 0o200})
	if err := lay("f=content")(s); err != nil { // so its tag is known
		t.Fatal(err)
	}
	root := os.Geteuid() == 0
	if root {
		s.ActAs(other)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if root {
			runtime.LockOSThread() // for good: the thread ends with the goroutine
			if err := unix.Setfsuid(other); err != nil {
				t.Error(err)
				return
			}
		}
		_, _, err := s.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{
			Check: func(tree.View) error { return errNotNow },
		})
		if errors.Is(err, errNotNow) || err == nil {
			t.Errorf("Open returned %v, want that it may not be read", err)
		}
	}()
	<-done
}
