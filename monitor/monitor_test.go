package monitor

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

func openStore(t *testing.T, dir string, opts fs.Options) *etagfs.Store {
	t.Helper()
	below, err := fs.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	store, err := etagfs.New(below, etagfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// failingStore cannot stage anything.
type failingStore struct {
	tree.Store
	err error
}

func (s failingStore) Put(
	context.Context, string, io.Reader, tree.PutOptions, tree.Condition,
) (tree.State, bool, error) {
	return tree.State{}, false, s.err
}

// A look whether the disk takes writes leaves nothing, and says why it does not.
func TestReadinessTriesAWrite(t *testing.T) {
	dir := t.TempDir()
	store := openStore(t, dir, fs.Options{History: true})
	if err := (&readyCheck{store: store}).ask(t.Context()); err != nil {
		t.Error(err)
	}
	members, err := os.ReadDir(dir)
	if err != nil || len(members) != 1 {
		t.Errorf("%v, %v", members, err)
	}
	for v, err := range store.Versions(t.Context(), "", tree.VersionOptions{}) {
		t.Errorf("there is a version %+v, %v", v, err)
	}
	for _, why := range []error{tree.ErrNoSpace, tree.ErrReadOnly, errors.New("as the disk has it")} {
		if err := (&readyCheck{store: failingStore{store, why}}).ask(t.Context()); !errors.Is(err, why) {
			t.Errorf("got %v, want %v", err, why)
		}
	}
	if err := (&readyCheck{store: failingStore{store, tree.ErrReadOnly}, readOnly: true}).ask(t.Context()); err != nil {
		t.Errorf("a server that only reads is ready, and the answer is %v", err)
	}
}

func TestReadinessBeginsAndEndsWithTheServer(t *testing.T) {
	store := openStore(t, t.TempDir(), fs.Options{})
	m := new(Monitor)
	if err := m.ready(t.Context()); err != errStarting {
		t.Errorf("before the start: %v", err)
	}
	m.Serves(store, nil, false, nil)
	if err := m.ready(t.Context()); err != nil {
		t.Errorf("while it serves: %v", err)
	}
	m.Leave()
	if err := m.ready(t.Context()); err != errLeaving {
		t.Errorf("when it stops: %v", err)
	}
}

// Holders of locks that overlap count each.
func TestTimeUnderALockIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []time.Duration
		held := heldMeter(func(d time.Duration) { told = append(told, d) })
		end := held()
		time.Sleep(time.Second)
		end()
		time.Sleep(time.Hour)
		first := held()
		time.Sleep(time.Second)
		second := held()
		time.Sleep(time.Second)
		first()
		time.Sleep(time.Second)
		second()
		if want := []time.Duration{time.Second, 2 * time.Second, 2 * time.Second}; !slices.Equal(told, want) {
			t.Errorf("%v, want %v", told, want)
		}
	})
}
