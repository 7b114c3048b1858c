package etagfs

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/afero"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestFewReadTheHistoryAtOnce: two requests do, on a disk that hangs. The next one is told to come again when it has waited
// for its turn, or goes away with its client, and has read nothing.
func TestFewReadTheHistoryAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		var reading atomic.Int32
		goOn := make(chan struct{})
		below, err := fs.OpenAfero(afero.NewMemMapFs(), fs.Options{History: true, Before: func(c vfs.Call) error {
			if hangs.Load() && strings.HasPrefix(c.Name, ".ifmatch/history") {
				reading.Add(1)
				<-goOn
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
		for _, content := range []string{"one", "two"} {
			opts := tree.PutOptions{Length: -1}
			if _, _, err := s.Put(t.Context(), "f", strings.NewReader(content), opts, tree.Condition{}); err != nil {
				t.Fatal(err)
			}
		}
		versions := func(ctx context.Context) (n int, failed error) {
			for _, err := range s.Versions(ctx, "f", tree.VersionOptions{}) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		}
		synctest.Wait()
		hangs.Store(true)
		ended := make(chan error)
		for range cap(s.versions) {
			go func() {
				n, err := versions(t.Context())
				if err == nil && n != 1 {
					err = errors.New("a version is missing")
				}
				ended <- err
			}()
		}
		synctest.Wait()
		if n := reading.Load(); n != 2 {
			t.Errorf("%d requests read the history", n)
		}
		begun := time.Now()
		_, err = versions(t.Context())
		storage := new(tree.StorageError)
		if !errors.Is(err, tree.ErrBusy) || !errors.As(err, &storage) || !strings.Contains(storage.Hint, "try again") {
			t.Errorf("the third got error %v", err)
		}
		if waited := time.Since(begun); waited != 5*time.Second {
			t.Errorf("it waited for %v", waited)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := versions(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("a client that is gone got error %v", err)
		}
		if n := reading.Load(); n != 2 {
			t.Errorf("%d requests read the history, and two had a turn", n)
		}
		hangs.Store(false)
		close(goOn)
		for range cap(s.versions) {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if n, err := versions(t.Context()); n != 1 || err != nil {
			t.Errorf("then: %d versions, error %v", n, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
