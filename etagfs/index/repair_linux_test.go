package index

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func mkfifo(path string) error { return unix.Mkfifo(path, 0o600) }

// asNobody runs a test as a user whom modes bind, and who owns a directory.
func asNobody(t *testing.T, dir string, test func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		test()
		return
	}
	const nobody = 65534
	for above := filepath.Dir(dir); strings.HasPrefix(above, os.TempDir()+"/"); above = filepath.Dir(above) {
		if err := os.Chmod(above, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and no other one becomes nobody
		if err := unix.Setfsuid(nobody); err != nil {
			t.Error(err)
			return
		}
		test()
	}()
	<-done
}

// What cannot be mended costs the memory of it, and says what to do.
func TestIndexThatCannotBeUsed(t *testing.T) {
	unusable, shared := "give it to the user that the server runs as: ", "the shared state of the index was lost"
	mode := func(path string, mode os.FileMode) func(m *machine) error {
		return func(m *machine) error { return os.Chmod(filepath.Join(m.dir, path), mode) }
	}
	closed := func(path string) func(m *machine) error { return mode(path, 0) }
	for _, test := range []struct {
		name string
		harm func(m *machine) error
		kept bool // on disk
		said []string
	}{
		{"it leads nowhere", inPlaceOf(".", "link"), false, []string{unusable}},
		{"it is closed", closed("."), false, []string{unusable}},
		{"the lock is closed", closed(lockName), true, []string{shared}},
		{"the epochs are closed", closed(epochsName), true, []string{"begun anew"}},
		{"others can write to it", mode(".", 0o770), false, []string{unusable}},
		{"others can write to the lock", mode(lockName, 0o666), true, []string{shared}},
		{"others can write to the epochs", mode(epochsName, 0o666), true, []string{"begun anew"}},
		{"nothing can be made in it", mode(".", 0o500), false, []string{unusable}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t)
			asNobody(t, filepath.Dir(m.dir), func() {
				x := m.open()
				m.stop(x)
				if err := test.harm(m); err != nil {
					t.Error(err)
				}
				for range 2 { // what can be mended is mended once
					x = m.open()
					if x.OnDisk() != test.kept {
						t.Errorf("kept on disk: %v", x.OnDisk())
					}
					x.Put(fingerprint(1), RecordOf(oneTag))
					wantKnown(t, x, fingerprint(1), oneTag)
					m.wantSaid(test.said...)
					m.stop(x)
					if test.kept {
						test.said = nil
					}
				}
				_ = os.Chmod(m.dir, 0o700) // to be removed; where it leads nowhere, it cannot
			})
		})
	}
}

// The files of another user are not believed, whatever they say.
func TestIndexOfAStranger(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root can give anything away
	}
	const stranger = 12345
	for _, test := range []struct {
		path string
		kept bool // the index is, on disk
		said []string
	}{
		{".", false, []string{"12345"}},
		{lockName, true, []string{"the shared state of the index was lost"}},
		{epochsName, true, []string{"begun anew"}},
		{pagePrefix + "0", true, []string{"12345"}},
	} {
		t.Run(test.path, func(t *testing.T) {
			m := newMachine(t)
			x := m.open()
			x.Put(fingerprint(1), RecordOf(oneTag))
			m.stop(x)
			if err := os.Chown(filepath.Join(m.dir, test.path), stranger, stranger); err != nil {
				t.Fatal(err)
			}
			x = m.open()
			if x.OnDisk() != test.kept {
				t.Errorf("kept on disk: %v", x.OnDisk())
			}
			if test.path != lockName {
				wantKnown(t, x, fingerprint(1), "")
			}
			m.wantSaid(test.said...)
			x.Put(fingerprint(1), RecordOf(otherTag))
			wantKnown(t, x, fingerprint(1), otherTag)
			m.stop(x)
		})
	}
}

// A run whose file cannot be opened without waiting counts as alive.
func TestLeasedRunIsAlive(t *testing.T) {
	m := newMachine(t)
	x := m.open()
	e := x.home.Load().epochs
	run, err := os.Open(filepath.Join(m.dir, e.name))
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	e.file.Close() // which would keep a lease from being had
	if _, err := unix.FcntlInt(run.Fd(), unix.F_SETLEASE, unix.F_RDLCK); errors.Is(err, unix.EINVAL) {
		t.Skip("NOT RUN: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	if !isAlive(e.dir, e.name) {
		t.Error("it counts as dead")
	}
}
