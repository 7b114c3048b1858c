package etagfs

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

// asNobody runs a test as somebody whom modes bind, and who owns a directory.
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
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and nobody else becomes nobody
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
	unusable := "give it to the user that the server runs as: "
	mode := func(path string, mode os.FileMode) func(m *machine) error {
		return func(m *machine) error { return os.Chmod(filepath.Join(m.dir, path), mode) }
	}
	closed := func(path string) func(m *machine) error { return mode(path, 0) }
	for _, test := range []struct {
		name   string
		harm   func(m *machine) error
		kept   bool // on disk
		proves bool // dates that were shown before are known, or none were
		said   []string
	}{
		{"it leads nowhere", inPlaceOf(".", "link"), false, false, []string{unusable}},
		{"it is closed", closed("."), false, false, []string{unusable}},
		{"the lock is closed", closed(bootsLockName), true, true, nil},
		{"the generations are closed", closed(bootsName), true, false, []string{"begun anew"}},
		{"the dates are closed", closed(notesName), true, false, []string{"begun anew: dates until now prove nothing"}},
		{"the dates are a pipe", inPlaceOf(notesName, "pipe"), true, false, []string{"begun anew: dates until now prove nothing"}},
		{"the dates are a directory", inPlaceOf(notesName, "dir"), true, false, []string{"begun anew: dates until now prove nothing"}},
		{"the dates are removed", func(m *machine) error { return os.Remove(filepath.Join(m.dir, notesName)) }, true, true, nil},
		{"others can write to it", mode(".", 0o770), false, false, []string{unusable}},
		{"others can write to the lock", mode(bootsLockName, 0o666), true, true, nil},
		{"others can write to the generations", mode(bootsName, 0o666), true, false, []string{"begun anew"}},
		{"others can write to the dates", mode(notesName, 0o606), true, false, []string{"begun anew: dates until now prove nothing"}},
		{"nothing can be made in it", func(m *machine) error {
			return errors.Join(os.Remove(filepath.Join(m.dir, notesName)), os.Chmod(m.dir, 0o500))
		}, false, false, []string{unusable}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t)
			asNobody(t, filepath.Dir(m.dir), func() {
				x := m.open()
				set(t, m.notes(x), 1, 10, 9)
				m.stop(x)
				if err := test.harm(m); err != nil {
					t.Error(err)
				}
				for range 2 { // what can be mended is mended once
					x = m.open()
					if kept := x.dir != nil; kept != test.kept {
						t.Errorf("kept on disk: %v", kept)
					}
					notes := openNotes(x)
					now := m.clock.Now().Unix()
					if proves := get(t, notes, 2).earlier < now && notes.lost(now) < now; proves != test.proves {
						t.Errorf("dates until now prove something: %v", proves)
					}
					x.put(fingerprint(1), knownBy(oneTag))
					wantKnown(t, x, fingerprint(1), oneTag)
					m.wantSaid(test.said...)
					if err := notes.close(); err != nil {
						t.Error(err)
					}
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

// What belongs to somebody else is not believed, whatever it says.
func TestIndexOfAStranger(t *testing.T) {
	if os.Geteuid() != 0 {
		return // nobody else can give anything away
	}
	const stranger = 12345
	for _, test := range []struct {
		path string
		kept bool // the index is, on disk
		said []string
	}{
		{".", false, []string{"12345"}},
		{notesName, true, []string{"begun anew: dates until now prove nothing"}},
		{bootsName, true, []string{"begun anew"}},
		{pagePrefix + "0", true, []string{"12345"}},
	} {
		t.Run(test.path, func(t *testing.T) {
			m := newMachine(t)
			x := m.open()
			m.notes(x)
			x.put(fingerprint(1), knownBy(oneTag))
			m.stop(x)
			if err := os.Chown(filepath.Join(m.dir, test.path), stranger, stranger); err != nil {
				t.Fatal(err)
			}
			x = m.open()
			if kept := x.dir != nil; kept != test.kept {
				t.Errorf("kept on disk: %v", kept)
			}
			if test.path != notesName {
				wantKnown(t, x, fingerprint(1), "")
			}
			openNotes(x)
			m.wantSaid(test.said...)
			x.put(fingerprint(1), knownBy(otherTag))
			wantKnown(t, x, fingerprint(1), otherTag)
			m.stop(x)
		})
	}
}
