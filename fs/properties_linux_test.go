package fs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/properties"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// A besides is a tree in which files have large properties, at a time that the test sets.
type besides struct {
	*FS
	t     *testing.T
	dir   string
	ahead time.Duration
	fail  func(vfs.Call) error
}

func openBesides(t *testing.T) *besides {
	b := &besides{t: t, dir: t.TempDir()}
	var err error
	now := func() time.Time { return time.Now().Add(b.ahead) }
	b.FS, err = Open(b.dir, Options{History: true, Durability: None, Now: now,
		Before: func(c vfs.Call) error {
			if b.fail != nil {
				return b.fail(c)
			}
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// set gives a file or a directory a value that is kept beside.
func (b *besides) set(name, value string) {
	b.t.Helper()
	stored, err := b.KeepBeside(name, []byte(value))
	if err == nil {
		err = b.At(name).SetAttributes(stored)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *besides) get(name string) string {
	b.t.Helper()
	stored, err := b.Attributes(name)
	var value []byte
	if err == nil {
		value, err = b.Value(stored)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return string(value)
}

// file returns the name of the file that has a value.
func (b *besides) file(value string) string {
	return filepath.Join(b.dir, volumes.OwnDir, "properties", fmt.Sprintf("%x", sha256.Sum256([]byte(value))))
}

// kept returns which of some values are there, and in which generation.
func (b *besides) kept(values ...string) (all []string) {
	b.t.Helper()
	for _, value := range values {
		for _, suffix := range []string{"", ".old"} {
			if _, err := os.Lstat(b.file(value) + suffix); err == nil {
				all = append(all, value+suffix)
			}
		}
	}
	return all
}

func (b *besides) want(want ...string) {
	b.t.Helper()
	if got := b.kept("file", "dir", "history", "inside", "nobody", "again"); !slices.Equal(got, want) {
		b.t.Errorf("kept is %q, want %q", got, want)
	}
}

func (b *besides) sweepAfter(d time.Duration) {
	b.t.Helper()
	b.ahead += d
	if err := b.SweepBeside(b.t.Context()); err != nil {
		b.t.Error(err)
	}
}

func (b *besides) write(name string) {
	b.t.Helper()
	at := filepath.Join(b.dir, name)
	err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o777), os.WriteFile(at, nil, 0o666))
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *besides) remove(name string) {
	b.t.Helper()
	seen, err := b.Lstat(name)
	if err == nil {
		err = b.Remove(b.At(name), seen, How{Cause: "DELETE"})
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// What nobody refers to goes in two steps, a day each; what a file, a directory or the history refers to stays.
func TestSweepBeside(t *testing.T) {
	b := openBesides(t)
	for _, name := range []string{"f", "d/e/f", "removed", "gone/inside", "g"} {
		b.write(name)
	}
	b.set("f", "file")
	b.set("d/e", "dir")
	b.set("removed", "history")
	b.set("gone/inside", "inside")
	b.remove("removed")
	b.remove("gone")
	b.set("g", "nobody")
	b.set("g", "again")
	b.want("file", "dir", "history", "inside", "nobody", "again")

	b.sweepAfter(time.Hour)
	b.want("file", "dir", "history", "inside", "nobody", "again")
	b.sweepAfter(24 * time.Hour)
	b.want("file", "dir", "history", "inside", "nobody.old", "again")
	b.sweepAfter(time.Hour)
	b.want("file", "dir", "history", "inside", "nobody.old", "again")
	b.sweepAfter(24 * time.Hour)
	b.want("file", "dir", "history", "inside", "again")
	if b.get("f") != "file" || b.get("d/e") != "dir" || b.get("g") != "again" {
		t.Errorf("got %q, %q, %q", b.get("f"), b.get("d/e"), b.get("g"))
	}
}

// What was overlooked while it was moved comes back when it is read, referred to again, or found the next time.
func TestSweptByMistake(t *testing.T) {
	overlooked := func() *besides {
		b := openBesides(t)
		b.write("f")
		b.set("f", "file")
		elsewhere := filepath.Join(t.TempDir(), "f")
		if err := os.Rename(filepath.Join(b.dir, "f"), elsewhere); err != nil {
			t.Fatal(err)
		}
		b.sweepAfter(25 * time.Hour)
		b.want("file.old")
		if err := os.Rename(elsewhere, filepath.Join(b.dir, "f")); err != nil {
			t.Fatal(err)
		}
		return b
	}
	t.Run("read", func(t *testing.T) {
		b := overlooked()
		if got := b.get("f"); got != "file" {
			t.Errorf("got %q", got)
		}
		b.want("file")
	})
	t.Run("referred to", func(t *testing.T) {
		b := overlooked()
		b.write("g")
		b.set("g", "file")
		b.want("file")
	})
	t.Run("found", func(t *testing.T) {
		b := overlooked()
		b.sweepAfter(25 * time.Hour)
		b.want("file")
	})
	t.Run("touched at that instant", func(t *testing.T) {
		b := openBesides(t)
		b.write("f")
		b.set("f", "file")
		b.remove("f")
		if err := os.RemoveAll(filepath.Join(b.dir, volumes.OwnDir, volumes.HistoryPart)); err != nil {
			t.Fatal(err)
		}
		b.write("g")
		b.ahead += 25 * time.Hour
		b.fail = func(c vfs.Call) error {
			if c.Op == "rename" && strings.HasSuffix(c.To, ".old") {
				b.fail = nil
				b.set("g", "file")
			}
			return nil
		}
		b.sweepAfter(0)
		b.want("file")
		if got := b.get("g"); got != "file" {
			t.Errorf("got %q", got)
		}
	})
}

// Where the tree cannot be looked through, nothing goes.
func TestSweepThatCannotSeeAll(t *testing.T) {
	for _, call := range []string{"open d", "getAttr d", "names d", "lstat d", "lstat d/f", "getAttr d/f"} {
		b := openBesides(t)
		for _, name := range []string{"f", "d/f"} {
			b.write(name)
		}
		b.set("f", "file")
		b.set("f", "again")
		b.fail = func(c vfs.Call) error {
			if c.String() == call {
				return os.ErrPermission
			}
			return nil
		}
		b.ahead += 25 * time.Hour
		if err := b.SweepBeside(t.Context()); !errors.Is(err, os.ErrPermission) {
			t.Errorf("%s fails, and it says %v", call, err)
		}
		b.want("file", "again")
	}
}

// What clients set and set again does not fill the disk: there is a bound on what comes between two sweeps, and those
// come soon.
func TestTooManyLargeProperties(t *testing.T) {
	b := openBesides(t)
	b.write("f")
	space, err := b.calls.Space(".")
	if err != nil {
		t.Fatal(err)
	}
	most := max(1<<20, min(256<<20, space.Size/50))
	value := bytes.Repeat([]byte("x"), 1<<20)
	n := int64(0)
	for ; err == nil && n < 1000; n++ {
		_, err = b.KeepBeside("f", fmt.Append(value, n))
	}
	if !errors.Is(err, vfs.ErrAttribute) || volumes.IsFull(err) || n*(1<<20) > most+1<<20 || n == 1000 {
		t.Fatalf("after %d MB of %d: %v", n, most>>20, err)
	}
	if !b.SweepDue() {
		t.Error("no sweep is due")
	}
	b.sweepAfter(11 * time.Minute)
	if _, err := b.KeepBeside("f", value); err != nil {
		t.Error(err)
	}
	if b.SweepDue() {
		t.Error("a sweep is still due")
	}
	all, err := os.ReadDir(filepath.Join(b.dir, volumes.OwnDir, "properties"))
	isOld := func(entry os.DirEntry) bool { return strings.HasSuffix(entry.Name(), ".old") }
	if err != nil || len(all) < int(n) || !isOld(all[0]) && !isOld(all[1]) {
		t.Errorf("there are %d, the first is %v, error %v", len(all), all[0], err)
	}
}

// What is damaged is told, and what is gone is none.
func TestValueThatIsNotThere(t *testing.T) {
	b := openBesides(t)
	b.write("f")
	b.set("f", "file")
	at := b.file("file")
	if err := os.WriteFile(at, []byte("something else"), 0o666); err != nil {
		t.Fatal(err)
	}
	stored, err := b.Attributes("f")
	if err != nil {
		t.Fatal(err)
	}
	if value, err := b.Value(stored); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %q, error %v", value, err)
	}
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	if got := b.get("f"); got != "" {
		t.Errorf("got %q", got)
	}
	for _, no := range []string{"", "[]", "beside:", "beside:x", "beside:" + strings.Repeat("A", 64),
		"beside:" + strings.Repeat("a", 63), "beside:../../" + strings.Repeat("a", 58)} {
		if properties.Refers([]byte(no)) {
			t.Errorf("%q refers to a value", no)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.ahead += 25 * time.Hour
	b.write("g")
	b.set("g", "again")
	b.ahead += 25 * time.Hour
	if err := b.SweepBeside(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("it goes on when it is to stop: %v", err)
	}
}
