package etagfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// openParted opens a store of a directory, as a server that starts.
func openParted(t *testing.T, dir string) *etagfs.Store {
	t.Helper()
	below, err := fs.Open(dir, fs.Options{History: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := etagfs.New(below, etagfs.Options{Report: func(err error) { t.Errorf("reported: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func beginParted(t *testing.T, s *etagfs.Store, name string) tree.Upload {
	t.Helper()
	opts := tree.UploadOptions{Length: 10, Expires: time.Now().Add(time.Hour)}
	u, err := s.NewUpload(ctx, name, opts, tree.Condition{})
	if err == nil {
		err = u.Append(ctx, strings.NewReader("hello"), tree.AppendOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func uploadsBelow(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, ".ifmatch/uploads/*/data"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestUploadToDiskBelow: the bytes lie on the disk of the target, so the commit is a rename there, also after a
// restart.
func TestUploadToDiskBelow(t *testing.T) {
	dir := quickDir(t)
	disk := filepath.Join(dir, "disk")
	mountAt(t, disk)
	if err := os.WriteFile(filepath.Join(disk, "f"), []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	s := openParted(t, dir)
	u := beginParted(t, s, "disk/f")
	if above, below := uploadsBelow(t, dir), uploadsBelow(t, disk); len(above) != 0 || len(below) != 1 {
		t.Errorf("the bytes are in %v and %v", above, below)
	}
	id := u.State().ID
	if err := errors.Join(u.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = openParted(t, dir)
	defer s.Close()
	u, err := s.OpenUpload(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if err := u.Append(ctx, strings.NewReader("world"), tree.AppendOptions{}); err != nil {
		t.Fatal(err)
	}
	state, created, err := u.Put(ctx, "disk/f", tree.PutOptions{}, tree.Condition{})
	if err != nil || created || state.Size != 10 {
		t.Errorf("Put: %+v, %v, %v", state, created, err)
	}
	if got, err := os.ReadFile(filepath.Join(disk, "f")); string(got) != "helloworld" {
		t.Errorf("the file has %q (%v)", got, err)
	}
	if left := uploadsBelow(t, disk); len(left) != 0 {
		t.Errorf("it leaves %v", left)
	}
}

// TestUploadWhoseDiskChanges: a disk is mounted at the collection of the target. Nothing is put on it, and the upload
// goes on when the disk is away again.
func TestUploadWhoseDiskChanges(t *testing.T) {
	dir := quickDir(t)
	disk := filepath.Join(dir, "disk")
	s := openParted(t, dir)
	defer s.Close()
	if err := os.Mkdir(disk, 0o777); err != nil {
		t.Fatal(err)
	}
	u := beginParted(t, s, "disk/f")
	defer u.Close()
	if err := u.Append(ctx, strings.NewReader("world"), tree.AppendOptions{}); err != nil {
		t.Fatal(err)
	}
	aside := disk + " aside"
	if err := os.Rename(disk, aside); err != nil {
		t.Fatal(err)
	}
	t.Run("mounted", func(t *testing.T) {
		mountAt(t, disk)
		state, _, err := u.Put(ctx, "disk/f", tree.PutOptions{}, tree.Condition{})
		if !errors.Is(err, tree.ErrBusy) {
			t.Errorf("Put to another disk: %+v, %v", state, err)
		}
		if _, err := os.Stat(filepath.Join(disk, "f")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a file is there: %v", err)
		}
	})
	_ = os.Rename(disk, disk+" away") // where no disk could be mounted there is none
	if err := os.Rename(aside, disk); err != nil {
		t.Fatal(err)
	}
	if _, _, err := u.Put(ctx, "disk/f", tree.PutOptions{}, tree.Condition{}); err != nil {
		t.Errorf("Put without the other disk: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(disk, "f")); string(got) != "helloworld" {
		t.Errorf("the file has %q (%v)", got, err)
	}
}
