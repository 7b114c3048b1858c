package etagfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// TestUploadInPartsKeepsRoom: the length that was announced is kept free between the parts, and given back at the end.
func TestUploadInPartsKeepsRoom(t *testing.T) {
	d := onSmallDisk(t, "size=16m", nil)
	length := d.free() * 2 / 3
	u, err := d.NewUpload(tree.WithClient(ctx, "one"), "f",
		tree.UploadOptions{Length: length, Expires: d.clock.Now().Add(time.Hour)}, tree.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if err := u.Append(ctx, strings.NewReader("the first part"), tree.AppendOptions{}); err != nil {
		t.Fatal(err)
	}
	d.client = "another"
	if err := d.upload("g", &slowly{length: length}, length, tree.Condition{}); !errors.Is(err, tree.ErrNoSpace) {
		t.Errorf("another client gets the room: %v", err)
	}
	if err := u.Remove(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.upload("g", &slowly{length: length}, length, tree.Condition{}); err != nil {
		t.Errorf("after the end of the upload: %v", err)
	}
}

// TestUploadInPartsReadsNothingTwice: the ETag comes from the state of the hash that is kept with the bytes, also after
// a restart. Bytes that are changed on the disk meanwhile, as no program may do, are not read again.
func TestUploadInPartsReadsNothingTwice(t *testing.T) {
	dir := t.TempDir()
	w := openWatched(t, dir)
	u, err := w.NewUpload(ctx, "f", tree.UploadOptions{Length: 11, Expires: time.Now().Add(time.Hour)},
		tree.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	id := u.State().ID
	err = errors.Join(u.Append(ctx, strings.NewReader("hello"), tree.AppendOptions{}), u.Close())
	if err != nil {
		t.Fatal(err)
	}
	w.close()
	found, err := filepath.Glob(filepath.Join(dir, ".ifmatch/uploads/*/data"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the bytes are in %q (%v)", found, err)
	}
	f, err := os.OpenFile(found[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("J"), 0)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	w = openWatched(t, dir)
	if u, err = w.OpenUpload(ctx, id); err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if err := u.Append(ctx, strings.NewReader(" world"), tree.AppendOptions{}); err != nil {
		t.Fatal(err)
	}
	state, _, err := u.Put(ctx, "f", tree.PutOptions{}, tree.Condition{})
	if want := treetest.TagOf("hello world"); err != nil || state.Tag != want {
		t.Errorf("the upload has the ETag %s (%v), want %s", state.Tag, err, want)
	}
}
