package etagfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestCollectionIsThereByThen: where names cannot be exchanged, a collection that gives way is noted before the lock is
// taken. If there was no collection to note by then, the commit is prepared again.
func TestCollectionIsThereByThen(t *testing.T) {
	for name, do := range map[string]func(tree.Store) error{"COPY": copyTo("f", "g"), "MOVE": move("f", "g")} {
		t.Run(name, func(t *testing.T) {
			p := openPaused(t, quickDir(t), "exchange")
			if err := lay("f=new", "g=old")(p.Store); err != nil {
				t.Fatal(err)
			}
			at := filepath.Join(p.dir, "g")
			replace := sync.OnceValue(func() error { // as a local program does
				return errors.Join(os.Remove(at), os.Mkdir(at, 0o777),
					os.WriteFile(filepath.Join(at, "m"), []byte("precious"), 0o666))
			})
			p.come(func(c vfs.Call) {
				if c.Op == "tryFlock" && c.Name == ".ifmatch/lock" {
					if err := replace(); err != nil {
						t.Error(err)
					}
				}
			})
			err := do(p.Store)
			p.come(nil)
			if err != nil {
				t.Errorf("got error %v", err)
			}
			if got, err := os.ReadFile(at); string(got) != "new" {
				t.Errorf("it has %q, error %v", got, err)
			}
			if kept, err := p.below.History("g/m"); len(kept) != 1 || err != nil {
				t.Errorf("the history has %v, error %v", kept, err)
			}
		})
	}
}
