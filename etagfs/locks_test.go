package etagfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/locktable"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// tokensOf returns the tokens of locks, in order.
func tokensOf(locks []tree.Lock) (tokens []string) {
	for _, l := range locks {
		tokens = append(tokens, l.Token)
	}
	slices.Sort(tokens)
	return tokens
}

// lockOf is a lock of a client that lasts.
// take takes a lock for its holder.
func take(s *Store, l tree.Lock, cond tree.Condition) (tree.Lock, bool, error) {
	req := tree.LockRequest{Root: l.Root, Infinite: l.Infinite, Shared: l.Shared, Owner: l.Owner,
		Timeout: time.Until(l.Expires)}
	return s.Lock(tree.WithClient(context.Background(), l.Holder), req, cond)
}

func lockOf(root, holder string) tree.Lock {
	return tree.Lock{Root: root, Holder: holder, Expires: time.Now().Add(time.Hour)}
}

// One more lock costs no more, however many there are: the file is appended to, and written anew only when most of it
// is of the past.
func TestALockCostsNoMoreThanItself(t *testing.T) {
	dir := t.TempDir()
	var written, anew atomic.Int64
	s, _ := openHooked(t, dir, Options{}, func(c vfs.Call) error {
		if c.Op == "write" && c.Name == ".ifmatch/locks" {
			written.Add(1)
		}
		if c.Op == "rename" && c.To == ".ifmatch/locks" {
			anew.Add(1)
		}
		return nil
	})
	defer s.Close()
	file := filepath.Join(dir, ".ifmatch", "locks")
	var tokens []string
	for i := range 1000 {
		name := fmt.Sprintf("f%d", i)
		l := lockOf(name, "")
		l.Owner = strings.Repeat("o", 300)
		l, _, err := take(s, l, tree.Condition{})
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, l.Token)
	}
	info, err := os.Stat(file)
	if err != nil || info.Size() > 1000*1000 || written.Load() != 1000 || anew.Load() != 0 {
		t.Errorf("1000 locks take %d writes, the file was written anew %d times, and has %d bytes, error %v",
			written.Load(), anew.Load(), info.Size(), err)
	}
	for i := range 5000 {
		if i == 1000 { // few are left
			for n, token := range tokens[10:] {
				if err := s.Unlock(t.Context(), fmt.Sprintf("f%d", n+10), token, tree.Condition{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := s.Refresh(t.Context(), "f0", tokens[:1], time.Hour, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	if info, err = os.Stat(file); err != nil || info.Size() > 2*locktable.RewriteAt || anew.Load() == 0 ||
		anew.Load() > 100 {
		t.Errorf("then it was written anew %d times, and has %d bytes, error %v", anew.Load(), info.Size(), err)
	}
	if s.locks.ReadTo() != info.Size() || s.locks.Count() != 10 {
		t.Errorf("%d bytes of %d are read, with %d locks", s.locks.ReadTo(), info.Size(), s.locks.Count())
	}
}

// What another process has done to the locks is seen by the next look, whether it appended or wrote them anew.
func TestLocksOfTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	a, _ := openStore(t, dir, Options{})
	defer a.Close()
	b, _ := openStore(t, dir, Options{})
	defer b.Close()
	stores := []*Store{a, b}
	held := map[string]string{} // token by name
	for i := range 400 {
		s, other := stores[i%2], stores[1-i%2]
		name := fmt.Sprintf("f%d", i%20)
		if token, ok := held[name]; ok {
			if err := s.Unlock(t.Context(), name, token, tree.Condition{}); err != nil {
				t.Fatal(err)
			}
			delete(held, name)
		} else {
			l := lockOf(name, "")
			l.Owner = strings.Repeat("o", 2000)
			l, _, err := take(s, l, tree.Condition{})
			if err != nil {
				t.Fatal(err)
			}
			held[name] = l.Token
		}
		var want []string
		for _, token := range held {
			want = append(want, token)
		}
		slices.Sort(want)
		for _, s := range []*Store{other, s} {
			err := s.Try(t.Context(), treetest.If(func(v tree.View) error {
				locks, err := v.Locks("")
				if got := tokensOf(locks); !slices.Equal(got, want) {
					t.Fatalf("step %d: got %q, want %q", i, got, want)
				}
				return err
			}))
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestLocksOfAnotherFormat: the server tells of such a file, goes on without its locks, and writes it anew with the next one.
func TestLocksOfAnotherFormat(t *testing.T) {
	dir := t.TempDir()
	var told []string // by the goroutines that change locks, one after the other
	s, _ := openStore(t, dir, Options{Report: func(err error) { told = append(told, err.Error()) }})
	file := filepath.Join(dir, ".ifmatch", "locks")
	if err := os.WriteFile(file, []byte("ifmatch locks 3\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, _, err := take(s, lockOf("f", ""), tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(data), "ifmatch locks 2\n") {
		t.Errorf("it is kept as %.80q, error %v", data, err)
	}
	if !slices.ContainsFunc(told, func(line string) bool { return strings.Contains(line, "has another format") }) {
		t.Errorf("told: %q", told)
	}
}

// A line that was torn, by a power failure or a disk that was full, is not there, and harms no other.
func TestTornLockHarmsNoOther(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, ".ifmatch", "locks")
	s, _ := openStore(t, dir, Options{})
	if _, _, err := take(s, lockOf("f", ""), tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line := locktable.SetLine(tree.Lock{Token: "urn:torn", Root: "g", Expires: time.Now().Add(time.Hour)})
	s.Close()
	for cut := range len(line) {
		if err := os.WriteFile(file, append(bytes.Clone(whole), line[:cut]...), 0o666); err != nil {
			t.Fatal(err)
		}
		var reported atomic.Int32
		s, _ := openStore(t, dir, Options{Report: func(error) { reported.Add(1) }})
		last, _, err := take(s, lockOf("h", ""), tree.Condition{})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		s, _ = openStore(t, dir, Options{Report: func(error) {}})
		locks, err := s.newView().Covering("h")
		all := s.locks.Count()
		s.Close()
		want := 2
		if cut == len(line)-1 {
			want = 3 // all of it is there
		}
		if err != nil || len(locks) != 1 || locks[0].Token != last.Token || all != want {
			t.Fatalf("cut at %d: got %+v of %d, error %v", cut, locks, all, err)
		}
		if cut > 1 && reported.Load() == 0 {
			t.Errorf("cut at %d: nothing is said", cut)
		}
	}
}

func TestSharedLocksAreBounded(t *testing.T) {
	s, _ := openStore(t, t.TempDir(), Options{})
	defer s.Close()
	if _, err := s.Mkdir(t.Context(), "d", tree.MkdirOptions{}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	take := func(root string, infinite bool) error {
		_, _, err := s.Lock(t.Context(),
			tree.LockRequest{Root: root, Infinite: infinite, Shared: true, Timeout: time.Hour}, tree.Condition{})
		return err
	}
	for i := range locktable.MaxShared / 2 {
		if err := errors.Join(take("d/f", false), take("d/g", false)); err != nil {
			t.Fatalf("lock %d: %v", i, err)
		}
	}
	for _, tt := range []struct {
		root     string
		infinite bool
		want     bool
	}{
		{"d", false, true}, // covers nothing that the others do
		{"d", true, false}, // covers both
		{"", true, false},
		{"d/f", false, true},
	} {
		err := take(tt.root, tt.infinite)
		if (err == nil) != tt.want || err != nil && !errors.Is(err, tree.ErrNoSpace) {
			t.Errorf("%q, infinite %v: got %v", tt.root, tt.infinite, err)
		}
	}
}

// A LOCK that is refused has staged nothing, and waited for no disk.
func TestRefusedLockCostsNothing(t *testing.T) {
	var costs atomic.Int32
	s, _ := openHooked(t, t.TempDir(), Options{}, func(c vfs.Call) error {
		switch c.Op {
		case "create", "sync", "syncDir", "appendTo":
			costs.Add(1)
		}
		return nil
	})
	defer s.Close()
	root := lockOf("", "a")
	root.Infinite = true
	if _, _, err := take(s, root, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	for _, tt := range []struct {
		about string
		check tree.Condition
		is    func(error) bool
	}{
		{"a conflict", tree.Condition{}, func(err error) bool { return errors.As(err, new(*tree.LockedError)) }},
		{"a condition, which is asked first", treetest.If(func(tree.View) error { return refused }),
			func(err error) bool { return errors.Is(err, refused) }},
	} {
		costs.Store(0)
		if _, _, err := take(s, lockOf("new", "a"), tt.check); !tt.is(err) || costs.Load() != 0 {
			t.Errorf("%s: got %v, %d calls that cost", tt.about, err, costs.Load())
		}
	}
}

// A lock that could not be put on disk is not acknowledged.
func TestLockThatIsNotSyncedIsUnsure(t *testing.T) {
	var fail atomic.Bool
	below, err := fs.Open(t.TempDir(), fs.Options{Before: func(c vfs.Call) error {
		if fail.Load() && c.Op == "sync" && c.Name == ".ifmatch/locks" {
			return syscall.EIO
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
	defer s.Close()
	l, _, err := take(s, lockOf("f", ""), tree.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	fail.Store(true)
	if _, err := s.Refresh(t.Context(), "f", []string{l.Token}, 2*time.Hour, tree.Condition{}); !errors.Is(err,
		tree.ErrUnsure) {
		t.Errorf("Refresh: got %v", err)
	}
	if _, _, err := take(s, lockOf("g", ""), tree.Condition{}); !errors.Is(err, tree.ErrUnsure) {
		t.Errorf("Lock: got %v", err)
	}
	if err := s.Unlock(t.Context(), "f", l.Token, tree.Condition{}); !errors.Is(err, tree.ErrUnsure) {
		t.Errorf("Unlock: got %v", err)
	}
	fail.Store(false)
	if _, _, err := take(s, lockOf("f", ""), tree.Condition{}); err != nil {
		t.Errorf("then: %v", err)
	}
}

// However often a condition names a token, each name is looked at once, and so is the file of locks.
func TestManyTokensCostOneLook(t *testing.T) {
	var calls atomic.Int32
	s, _ := openHooked(t, t.TempDir(), Options{}, func(vfs.Call) error { calls.Add(1); return nil })
	defer s.Close()
	lock, _, err := take(s, lockOf("f", "a"), tree.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	asked := func(times int) int32 {
		calls.Store(0)
		err := s.Try(t.Context(), treetest.If(func(v tree.View) error {
			for i := range times * 6 {
				name, token := []string{"f", "F", "g"}[i%3], []string{lock.Token, "urn:x"}[i%2]
				if held, err := v.Holds(name, token); err != nil || held && (name == "g" || token != lock.Token) ||
					!held && name == "f" && token == lock.Token {
					return fmt.Errorf("%q has %q: %v, error %w", name, token, held, err)
				}
			}
			return nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		return calls.Load()
	}
	if once, often := asked(1), asked(1000); once == 0 || often != once {
		t.Errorf("%d calls for each token once, %d for each a thousand times", once, often)
	}
}
