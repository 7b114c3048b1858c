package etagfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestOutOfInodes: a disk that has no room for another file gets it from the history, and what is removed makes room.
func TestOutOfInodes(t *testing.T) {
	d := onSmallDisk(t, "size=64m,nr_inodes=300", nil)
	for i := range 2000 {
		name := fmt.Sprint("f", i%20)
		if err := put(d, name, fmt.Sprint(i), tree.Condition{}); err != nil {
			t.Fatalf("the %d-th: %v", i, err)
		}
		d.clock.Advance(time.Millisecond)
	}
	var full error
	n := 0
	for ; full == nil; n++ {
		full = put(d, fmt.Sprint("g", n), "x", tree.Condition{})
	}
	if !errors.Is(full, tree.ErrNoSpace) || n < 200 {
		t.Errorf("after %d files: %v", n, full)
	}
	for _, do := range []func(tree.Store) error{lay("d/"), copyTo("f1", "h")} {
		if err := do(d); !errors.Is(err, tree.ErrNoSpace) {
			t.Errorf("got error %v", err)
		}
	}
	if err := errors.Join(d.Remove(ctx, "g0", tree.Condition{}), put(d, "h", "again", tree.Condition{})); err != nil {
		t.Error(err)
	}
	for _, state := range []string{"f1", "g1", "h"} {
		if _, err := d.Stat(ctx, state, tree.ReadOptions{}); err != nil {
			t.Error(err)
		}
	}
}

// TestRestoreKeepsWhatItRestores: a version is brought back though the disk is full, and none that it is made of gives
// way.
func TestRestoreKeepsWhatItRestores(t *testing.T) {
	d := onSmallDisk(t, "size=24m", nil)
	for i := range 4 {
		d.put("doc", 3*mega, i)
		d.clock.Advance(4 * time.Hour)
	}
	all, err := d.below.History("doc")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "theirs"), make([]byte, d.free()-mega), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Restore(ctx, all[0].ID(), "doc", tree.RestoreOptions{}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(d.dir, "doc"))
	if err != nil || !bytes.Equal(got, []byte(letters(3*mega, 0))) {
		t.Errorf("it has %d bytes: %v", len(got), err)
	}
	d.wantKept("doc", "acd")
	d.wantGave("doc 1")
}

// On a disk that is full to the last byte, and whose history has nothing to give, a file is removed for good, and an
// overwriting write is refused for want of room, not as if another try could help.
func TestRemovalOnADiskThatIsFullToTheLastByte(t *testing.T) {
	d := onSmallDisk(t, "size=2m", nil)
	for _, name := range []string{"a", "b"} {
		if err := d.upload(name, strings.NewReader("x"), 1, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	fill, err := os.Create(filepath.Join(d.dir, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	for size := 64 << 10; size > 0; {
		if _, err := fill.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	fill.Close()
	if free := d.free(); free != 0 {
		t.Fatalf("%d bytes are free", free)
	}
	if _, _, err := d.Move(ctx, "a", "b", tree.CopyOptions{}, tree.Condition{}); err != nil &&
		!errors.Is(err, tree.ErrNoSpace) {
		t.Errorf("MOVE over something: %v", err)
	}
	if err := d.Remove(ctx, "fill", tree.Condition{}); err != nil {
		t.Errorf("DELETE: %v", err)
	}
	if _, err := d.Stat(ctx, "fill", tree.ReadOptions{}); !errors.Is(err, tree.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}
