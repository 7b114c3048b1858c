package etagfs_test

import (
	"errors"
	"os"
	"slices"
	"testing"

	"ifmatch/fs"
	"ifmatch/tree"
	"ifmatch/tree/treetest"
)

// A program on the server has a file open for writing.
func TestOpenForWriting(t *testing.T) {
	setup := func(t *testing.T) (v *served, w *os.File) {
		t.Helper()
		v = serve(t, "f=seen", "g=other")
		w, err := os.OpenFile(v.path("f"), os.O_WRONLY|os.O_APPEND, 0)
		v.must(err)
		t.Cleanup(func() { w.Close() })
		return v, w
	}
	write := func(v *served, tag tree.ETag) error { return put(v, "f", "ours", treetest.IfTag("f", tag)) }

	t.Run("a write that names its version does not pass it", func(t *testing.T) {
		v, _ := setup(t)
		err := write(v, treetest.TagOf("seen"))
		if !errors.Is(err, tree.ErrWriter) || !errors.Is(err, tree.ErrBusy) {
			t.Errorf("got error %v", err)
		}
		if err := v.Remove(ctx, "f", treetest.IfTag("f", treetest.TagOf("seen"))); !errors.Is(err, tree.ErrWriter) {
			t.Errorf("Remove: got error %v", err)
		}
		v.wantTag("f", "seen")
	})
	t.Run("that it names another version is told first", func(t *testing.T) {
		v, _ := setup(t)
		if err := write(v, treetest.TagOf("never was")); err == nil || errors.Is(err, tree.ErrBusy) {
			t.Errorf("got error %v", err)
		}
	})
	t.Run("it is tried again when the program has finished", func(t *testing.T) {
		v, w := setup(t)
		tries := 0
		v.seam.arm(func(_ int, c fs.Call) error {
			if c.Op == "lease" && c.Name == "f" {
				if tries++; tries == 3 {
					return w.Close()
				}
			}
			return nil
		})
		v.must(write(v, treetest.TagOf("seen")))
		if tries < 3 {
			t.Errorf("it took %d tries", tries)
		}
		v.wantTag("f", "ours")
	})
	t.Run("a write that names none replaces it, and the history has what the program writes", func(t *testing.T) {
		v, w := setup(t)
		v.must(put(v, "f", "ours", func(view tree.View) error {
			tree.AnyVersion(view)
			_, err := view.State("f")
			return err
		}))
		_, err := w.WriteString(" and theirs")
		v.must(err)
		v.wantTag("f", "ours")
		if got := history(t, v.dir, "f"); !slices.Equal(got, []string{"seen and theirs"}) {
			t.Errorf("the history has %q", got)
		}
	})
}
