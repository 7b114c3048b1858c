package etagfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"ifmatch/fs"
	"ifmatch/tree"
)

// hold locks a file of an index, as another process does that was stopped then.
func (m *machine) hold(name string) (letGo func()) {
	m.t.Helper()
	f, err := os.OpenFile(filepath.Join(m.dir, name), os.O_RDWR, 0)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { f.Close() })
	return func() { funlock(f) }
}

// us is how an error names the process that holds a file.
func us() string { return fmt.Sprintf("process %d (", os.Getpid()) }

// Who holds the notes on dates is waited for once, and not for long; what was not noted proves nothing.
func TestHeldNotesAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		d := &dates{now: m.clock.Now, kept: m.notes(m.open()), failed: never, report: func(err error) { m.said = append(m.said, err.Error()) }}
		show := func(name string) (shown tree.State, took time.Duration) {
			start := time.Now()
			shown = tree.State{Name: name, Tag: `"of it"`}
			info := fs.Info{Kind: fs.Regular}
			info.Inode, info.Modified, info.Changed = 1, m.clock.Now().UnixNano(), m.clock.Now().UnixNano()
			d.show(&shown, info, asValidator, true)
			return shown, time.Since(start)
		}
		if state, took := show("before"); took != 0 || state.ProvenBy(m.clock.Now()) != tree.True {
			t.Errorf("shown as %+v after %v", state, took)
		}
		letGo := m.hold(notesName)
		now := m.clock.Now().Truncate(time.Second)
		for i, most := range []time.Duration{2 * notesPatience, 0, 0} {
			state, took := show(fmt.Sprint("held ", i))
			if took > most || state.ProvenBy(now) != tree.False {
				t.Errorf("name %d, while the notes are held, is shown as %+v after %v; want it within %v, and no date until now to prove it", i, state, took, most)
			}
		}
		if said := strings.Join(m.said, "\n"); strings.Count(said, "\n") != 0 || !strings.Contains(said, us()) || !strings.Contains(said, notesName) {
			t.Errorf("it was said: %q; want once who holds it, and what", said)
		}
		letGo()
		if _, took := show("after"); took != 0 {
			t.Errorf("after it was let go it takes %v", took)
		}
		if n := get(t, d.kept, hash64([]byte("after"))); n.shown == never {
			t.Error("what is shown after it was let go is not noted")
		}
		m.hold(notesName)
		if _, took := show("held again"); took == 0 || took > 2*notesPatience {
			t.Errorf("when it is held again it takes %v", took)
		}
	})
}

// An index that another process is opening is waited for at the start, and done without then.
func TestHeldIndexIsNotWaitedForForEver(t *testing.T) {
	for name, want := range map[string]string{bootsLockName: "the index in ", notesName: "which dates were shown "} {
		synctest.Test(t, func(t *testing.T) {
			m := newMachine(t)
			x := m.open()
			m.notes(x)
			m.stop(x)
			letGo := m.hold(name)
			done := make(chan struct{})
			time.AfterFunc(openPatience/2, func() { letGo(); close(done) })
			x = m.open()
			d := m.notes(x)
			<-done
			if x.dir == nil || len(m.said) > 0 {
				t.Errorf("%s: who lets go in time was not waited for: %q", name, m.said)
			}
			d.file.Close()
			m.stop(x)

			m.hold(name)
			start := time.Now()
			x = m.open()
			k := openNotes(x)
			if _, memory := k.(*memoryNotes); !memory {
				t.Errorf("%s: the notes are %T", name, k)
			}
			if took := time.Since(start); took < openPatience || took > openPatience+time.Second {
				t.Errorf("%s: it takes %v to open, want %v", name, took, openPatience)
			}
			said := strings.Join(m.said, "\n")
			for _, part := range []string{want, us(), name, "end the process that holds it"} {
				if !strings.Contains(said, part) {
					t.Errorf("%s: it was said %q, want %q in it", name, said, part)
				}
			}
		})
	}
}

// A session that cannot be opened without waiting is of one who lives, for all we know.
func TestLeasedSessionIsAlive(t *testing.T) {
	m := newMachine(t)
	x := m.open()
	session, err := os.Open(filepath.Join(m.dir, x.boots.name))
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	x.boots.session.Close() // which would keep a lease from being had
	if _, err := unix.FcntlInt(session.Fd(), unix.F_SETLEASE, unix.F_RDLCK); errors.Is(err, unix.EINVAL) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	if !x.boots.isAlive(x.boots.name) {
		t.Error("it counts as dead")
	}
}
