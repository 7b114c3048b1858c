package etagfs

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/spf13/afero"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Another process holds the lock of the directory: that is not the file that changes.
func TestLockHeldByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which has no patience
		held := false
		below, err := fs.OpenAfero(afero.NewMemMapFs(), fs.Options{Before: func(c vfs.Call) error {
			if held && c.Op == "tryFlock" {
				return vfs.ErrBusy
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(below, Options{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		put := func() error {
			_, _, err := s.Put(t.Context(), "f", strings.NewReader("x"), tree.PutOptions{Length: -1}, tree.Condition{})
			return err
		}
		held = true
		if err := put(); !errors.Is(err, tree.ErrBusy) ||
			!strings.Contains(err.Error(), "another program on the server holds the lock") {
			t.Errorf("got error %v", err)
		}
		held = false
		if err := put(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
