package etagfs_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// TestLocksWaitForTheCommitsThatTheyConcern: a commit on the file system at m has asked about locks, and is in the
// middle of its renames. A lock that covers its name is neither taken nor ended until it is through, by any server: the
// client that is told of that has seen the end of the commit. Locks elsewhere do not wait.
func TestLocksWaitForTheCommitsThatTheyConcern(t *testing.T) {
	take := func(root string, infinite bool) func(context.Context, *etagfs.Store, string) error {
		return func(ctx context.Context, s *etagfs.Store, _ string) error {
			_, err := lockShared(ctx, s, root, infinite)
			return err
		}
	}
	for _, tt := range []struct {
		name  string
		held  string // the root of an infinite shared lock that is there before ("-": there is none)
		do    func(ctx context.Context, s *etagfs.Store, token string) error
		waits bool
	}{
		{"a lock of the file", "-", take("m/f", false), true},
		{"a lock of its collection", "-", take("m", true), true},
		{"a lock of the collection above the mount", "-", take("", true), true},
		{"a lock elsewhere", "-", take("f", false), false},
		{"a lock of a collection elsewhere", "-", take("d", true), false},
		{"the end of a lock above the mount", "", func(ctx context.Context, s *etagfs.Store, token string) error {
			return s.Unlock(ctx, "", token, tree.Condition{})
		}, true},
		{"the end of that lock, by a name elsewhere", "",
			func(ctx context.Context, s *etagfs.Store, token string) error {
				return s.Unlock(ctx, "f", token, tree.Condition{})
			}, true},
		{"the end of a lock elsewhere", "d", func(ctx context.Context, s *etagfs.Store, token string) error {
			return s.Unlock(ctx, "d", token, tree.Condition{})
		}, false},
		{"a longer life of a lock above the mount", "", func(ctx context.Context, s *etagfs.Store, token string) error {
			_, err := s.Refresh(ctx, "f", []string{token}, time.Hour, tree.Condition{})
			return err
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := quickDir(t)
			mountAt(t, filepath.Join(dir, "m"))
			p := openPaused(t, dir)
			if err := lay("f=1", "d/", "m/f=3")(p.Store); err != nil {
				t.Fatal(err)
			}
			another := openQuietly(t, dir, fs.Options{})
			defer another.Close()
			token := ""
			if tt.held != "-" {
				var err error
				if token, err = lockShared(ctx, p.Store, tt.held, true); err != nil {
					t.Fatal(err)
				}
			}
			hung, end := p.hang(isCall("exchange", "m/"))
			defer end()
			done := make(chan error, 1)
			go func() {
				done <- put(p.Store, "m/f", "new", treetest.If(func(v tree.View) error {
					_, err := v.Locks("m/f")
					return err
				}))
			}()
			<-hung
			for _, s := range []*etagfs.Store{p.Store, another} {
				soon, cancel := ctx, context.CancelFunc(func() {})
				if tt.waits {
					soon, cancel = context.WithTimeout(ctx, 20*time.Millisecond)
				}
				if err := tt.do(soon, s, token); tt.waits != errors.Is(err, context.DeadlineExceeded) ||
					!tt.waits && err != nil && !errors.Is(err, tree.ErrNoLock) {
					t.Errorf("while the commit hangs: %v; want that it waits: %v", err, tt.waits)
				}
				cancel()
			}
			end()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if tt.waits {
				if err := tt.do(ctx, another, token); err != nil {
					t.Errorf("after the commit: %v", err)
				}
			}
		})
	}
}

// lockShared takes a shared lock, and returns its token.
func lockShared(ctx context.Context, s *etagfs.Store, root string, infinite bool) (token string, err error) {
	req := tree.LockRequest{Root: root, Infinite: infinite, Shared: true, Timeout: time.Hour}
	l, _, err := s.Lock(ctx, req, tree.Condition{})
	return l.Token, err
}

// TestLocksOfTwoVolumesAreKept has two servers take locks on two file systems at once, until the file of locks is
// written anew again and again. Each lock that was acknowledged is there in the end, for both.
func TestLocksOfTwoVolumesAreKept(t *testing.T) {
	dir := quickDir(t)
	mountAt(t, filepath.Join(dir, "m"))
	var s [2]*etagfs.Store
	for i := range s {
		s[i] = openQuietly(t, dir, fs.Options{Durability: fs.None})
	}
	defer s[0].Close()
	defer s[1].Close()
	if err := lay("f=1", "m/f=2")(s[0]); err != nil {
		t.Fatal(err)
	}
	const rounds = 400 // the lines of which are more than the file may have
	kept := [2]chan string{make(chan string, rounds), make(chan string, rounds)}
	done := make(chan error, 2)
	for i, name := range []string{"f", "m/f"} {
		go func() {
			for n := range rounds {
				token, err := lockShared(ctx, s[i], name, false)
				if err == nil && n%50 != 0 {
					err = s[i].Unlock(ctx, name, token, tree.Condition{})
				} else if err == nil {
					kept[i] <- token
				}
				if err != nil {
					done <- err
					return
				}
			}
			close(kept[i])
			done <- nil
		}()
	}
	if err := errors.Join(<-done, <-done); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"f", "m/f"} {
		var want []string
		for token := range kept[i] {
			want = append(want, token)
		}
		for which, by := range s {
			state, err := by.Stat(ctx, name, tree.ReadOptions{Want: tree.WantLocks})
			if err != nil {
				t.Fatal(err)
			}
			there := map[string]bool{}
			for _, l := range state.Locks {
				there[l.Token] = true
			}
			for _, token := range want {
				if !there[token] {
					t.Errorf("server %d does not know a lock on %s", which, name)
				}
			}
			if len(there) != len(want) {
				t.Errorf("server %d knows %d locks on %s, want %d", which, len(there), name, len(want))
			}
		}
	}
}
