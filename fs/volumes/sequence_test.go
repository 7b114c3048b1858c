package volumes

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// alone is a layer without anything above.
type alone struct{}

func (alone) NewVolume(*Volume) Above        { return alone{} }
func (alone) FinishMarked(*CommitLock) error { return nil }
func (alone) Probe() (Abilities, error)      { return Abilities{}, nil }
func (alone) CloseSession() error            { return nil }

// openTree opens a directory.
func openTree(t *testing.T, dir string) *Tree {
	t.Helper()
	calls, err := vfs.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := New(calls, Options{Durability: None, Now: time.Now}, alone{})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// withVolumes returns a tree with volumes at these names, of which nothing but the sequence numbers is used.
func withVolumes(tops ...string) (s *Tree, at map[string]*Volume) {
	s = New(nil, Options{}, alone{})
	s.RootLock = s.newLock(1, lockName)
	s.root = s.newVolume(".", MountDevice{1, 1})
	at = map[string]*Volume{".": s.root}
	var below []*Volume
	for i, top := range tops {
		at[top] = s.newVolume(top, MountDevice{uint64(i + 2), uint64(i + 2)})
		below = append(below, at[top])
	}
	s.below.Store(&below)
	return s, at
}

// TestChangesAreSeenWhereReadersLook: a change of a name makes readers of that name, and of the directory that it is
// in, look again, whatever the file systems on the way take the name for. Readers of another disk are left alone.
func TestChangesAreSeenWhereReadersLook(t *testing.T) {
	for _, tt := range []struct {
		name    string
		entry   []string // the volumes whose numbers a rename of the name moves
		content []string // those that a change of metadata moves
	}{
		{"f", []string{"."}, []string{"."}},
		{"d/f", []string{"."}, []string{"."}},
		{"m/f", []string{"m"}, []string{"m"}},
		{"m/sub/f", []string{"m/sub"}, []string{"m/sub"}},
		{"m", []string{".", "m"}, []string{"m"}},        // the volume may have been unmounted
		{"M", []string{".", "m"}, []string{".", "m"}},   // another directory than m, or m
		{"M/f", []string{".", "m"}, []string{".", "m"}}, // in the one or the other
		{"m/SUB/f", []string{"m", "m/sub"}, []string{"m", "m/sub"}},
		{".ifmatch/history/x", nil, nil},
		{"m/.ifmatch/history/x", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for kind, begin := range map[string]func(Place) func(){
				"a rename":             func(p Place) func() { return p.Changing() },
				"a change of metadata": Place.touching,
			} {
				want := tt.entry
				if kind != "a rename" {
					want = tt.content
				}
				s, at := withVolumes("m", "m/sub")
				reader := s.Snapshot()
				if err := reader.Begin(t.Context()); err != nil {
					t.Fatal(err)
				}
				reader.pass(tt.name)
				end := begin(Place{s: s, Name: tt.name})
				var moved []string
				for top, v := range at {
					if v.names.number.Load()%2 != 0 {
						moved = append(moved, top)
					}
				}
				slices.Sort(moved)
				if !slices.Equal(moved, want) {
					t.Errorf("%s moves the numbers of %q, want %q", kind, moved, want)
				}
				if valid := reader.Valid(); valid != (want == nil) {
					t.Errorf("during %s, the looks of a reader of the name are valid: %v", kind, valid)
				}
				end()
				for top, v := range at {
					if v.names.number.Load()%2 != 0 {
						t.Errorf("after %s, readers of %q wait", kind, top)
					}
				}
			}
		})
	}
}

// TestReaderWaitsTenSecondsInAll: names are in the middle of a commit each time that the reader begins anew.
func TestReaderWaitsTenSecondsInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := withVolumes()
		reader := s.Snapshot()
		start := time.Now()
		for range 3 {
			end := s.root.names.rename()
			time.AfterFunc(3*time.Second, end)
			if err := reader.Begin(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		end := s.root.names.rename()
		defer end()
		if err := reader.Begin(t.Context()); !errors.Is(err, vfs.ErrBusy) {
			t.Errorf("Begin returned %v", err)
		}
		if took := time.Since(start); took != lockPatience {
			t.Errorf("it has waited for %v, want %v", took, lockPatience)
		}
		if err := reader.Begin(t.Context()); !errors.Is(err, vfs.ErrBusy) || time.Since(start) != lockPatience {
			t.Errorf("after that, Begin returned %v after %v, want at once", err, time.Since(start))
		}
		given, giveUp := context.WithCancel(t.Context())
		giveUp()
		if err := s.Snapshot().Begin(given); !errors.Is(err, context.Canceled) {
			t.Errorf("for a client that has gone, Begin returned %v", err)
		}
	})
}
