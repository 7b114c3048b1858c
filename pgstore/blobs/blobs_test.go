package blobs

import (
	"errors"
	"io"
	iofs "io/fs"
	"testing"

	"github.com/google/uuid"
)

func TestDir(t *testing.T) {
	ctx := t.Context()
	d, err := NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	read := func(id ID) string {
		t.Helper()
		o, err := d.Open(ctx, id)
		if err != nil {
			return err.Error()
		}
		defer o.Close()
		all, err := io.ReadAll(io.NewSectionReader(o, 0, 100))
		if err != nil {
			t.Error(err)
		}
		return string(all)
	}
	write := func(w Writer, err error, text string) Writer {
		t.Helper()
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	id, given := uuid.New(), uuid.New()
	w, err := d.Create(ctx, id)
	if err := write(w, err, "begun, and lost").Keep(); err != nil {
		t.Error(err)
	}
	w, err = d.Resume(ctx, id, int64(len("begun")))
	if err := write(w, err, ", and whole").Commit(); err != nil {
		t.Error(err)
	}
	if got := read(id); got != "begun, and whole" {
		t.Errorf("got %q", got)
	}
	if _, err := d.Create(ctx, id); !errors.Is(err, iofs.ErrExist) {
		t.Errorf("an object is made twice: %v", err)
	}
	if _, err := d.Resume(ctx, id, 1000); err == nil {
		t.Error("an object goes on beyond its end")
	}
	w, err = d.Create(ctx, given)
	if err := write(w, err, "given up").Abort(); err != nil {
		t.Error(err)
	}
	var all []ID
	for one, err := range d.List(ctx) {
		if err != nil {
			t.Error(err)
		}
		all = append(all, one)
	}
	if len(all) != 1 || all[0] != id {
		t.Errorf("the objects are %v, want %v", all, id)
	}
	for range 2 {
		if err := d.Delete(ctx, id); err != nil {
			t.Error(err)
		}
	}
	if _, err := d.Open(ctx, id); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("a deleted object: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	dir := t.TempDir()
	for address, good := range map[string]bool{
		"dir://" + dir: true, "dir://host" + dir: false, dir: false, "dir://": false, "s3://bucket": false, "dir://" + dir + "?x": false,
	} {
		if _, err := Open(address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}
