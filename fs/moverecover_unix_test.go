//go:build unix

package fs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// errDead fails each system call of a process that has died.
var errDead = errors.New("the process is dead")

// halfMoved has a process move o over f that dies at the first call of a kind from the exchange on.
func halfMoved(t *testing.T, dir string, opts Options, op string) {
	t.Helper()
	armed, begun, dead := false, false, false
	opts.Before = func(c vfs.Call) error {
		begun = begun || armed && c.Op == "exchange"
		if dead = dead || begun && c.Op == op; dead {
			return errDead
		}
		return nil
	}
	s := openTest(t, dir, opts)
	source, over := see(t, s, "o"), see(t, s, "f")
	armed = true
	err := moveTest(s, "o", source, "f", over, How{Exact: true, Cause: "MOVE", By: "her"})
	if !dead || !errors.Is(err, errDead) && err != nil {
		t.Fatalf("dead: %v, error %v", dead, err)
	}
	abandon(s)
}

// A move in which a process dies is finished by the next holder of the lock, or by the next start, if both names still
// have the files that they got by it.
func TestMoveHalfDone(t *testing.T) {
	write := func(name, content string) func(dir string) error {
		return func(dir string) error {
			tmp := filepath.Join(dir, "tmp")
			return errors.Join(os.WriteFile(tmp, []byte(content), 0o666), os.Rename(tmp, filepath.Join(dir, name)))
		}
	}
	inHistory := func(dir string) (entry string, err error) {
		found, err := filepath.Glob(filepath.Join(dir, volumes.OwnDir, volumes.HistoryPart, "*", "r*"))
		if err == nil && len(found) != 1 {
			err = errors.New("the history has " + strings.Join(found, ", "))
		}
		return strings.Join(found, ""), err
	}
	const nothing = ""
	for _, test := range []struct {
		name  string
		dies  string // the call
		since func(dir string) error
		f, o  string   // what they have in the end
		kept  []string // in the history of f
		tells []string // what is told
	}{
		{name: "before the exchange", dies: "exchange", f: "seen", o: "other"},
		{name: "before the exchange, and the source was replaced since", dies: "exchange", since: write("o", "theirs"),
			f: "seen", o: "theirs"},
		{name: "before the exchange, and the target was replaced since", dies: "exchange", since: write("f", "theirs"),
			f: "theirs", o: "other"},
		{name: "after the exchange", dies: "lstat", f: "other", kept: []string{"seen"}},
		{name: "before the second rename", dies: "renameNew", f: "other", kept: []string{"seen"}},
		{name: "after the second rename", dies: "truncate", f: "other", kept: []string{"seen"}},
		{name: "after the mark is cleared", dies: "remove", f: "other", kept: []string{"seen"}},
		{name: "after the mark is cleared, and more has happened since", dies: "remove",
			since: func(dir string) error { return errors.Join(write("f", "theirs")(dir), write("o", "new")(dir)) },
			f:     "theirs", o: "new", kept: []string{"seen"}},
		{name: "after the exchange, and the new version was replaced since", dies: "lstat", since: write("f", "theirs"),
			f: "theirs", o: "seen", tells: []string{`"o"`, `"f"`, "local program"}},
		{name: "after the exchange, and the old name was given away since", dies: "lstat", since: write("o", "theirs"),
			f: "other", o: "theirs", tells: []string{`"o"`, `"f"`, "local program"}},
		{name: "after the exchange, and the old name was removed since", dies: "lstat",
			since: func(dir string) error { return os.Remove(filepath.Join(dir, "o")) }, f: "other"},
		{name: "the second rename took what a local program had saved", dies: "truncate",
			since: func(dir string) error {
				entry, err := inHistory(dir)
				return errors.Join(err, write("o", "saved")(dir), os.Rename(filepath.Join(dir, "o"), entry))
			}, f: "other", o: "saved"},
		{name: "after the second rename, and all files were restored from a backup since", dies: "truncate",
			since: func(dir string) error {
				entry, err := inHistory(dir)
				return errors.Join(err, os.WriteFile(entry+"~", []byte("seen"), 0o666), os.Rename(entry+"~", entry),
					write("f", "other")(dir))
			}, f: "other", kept: []string{"seen"}, tells: []string{`"o"`, `"f"`, "history"}},
	} {
		for _, how := range []string{"a start", "another process", "a command that keeps no history"} {
			t.Run(test.name+", "+how, func(t *testing.T) {
				dir := t.TempDir()
				lay(t, dir, "f=seen", "o=other")
				opts := Options{History: true, Durability: None}
				var s *FS
				if how == "another process" {
					s = openTest(t, dir, opts)
				}
				halfMoved(t, dir, opts, test.dies)
				if test.since != nil {
					if err := test.since(dir); err != nil {
						t.Fatal(err)
					}
				}
				if s == nil {
					opts.History = how == "a start"
					s = openTest(t, dir, opts)
				}
				log := logOf(s)
				unlock, err := s.Lock(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				unlock()
				told := log.all
				if err := s.Recover(t.Context()); err != nil {
					told = append(told, err.Error())
				}
				for name, want := range map[string]string{"f": test.f, "o": test.o} {
					got, err := os.ReadFile(filepath.Join(dir, name))
					if string(got) != want || (want == nothing) != errors.Is(err, os.ErrNotExist) {
						t.Errorf("%s has %q, error %v, want %q", name, got, err, want)
					}
				}
				if err := s.EmptyTrash(t.Context()); err != nil {
					t.Error(err)
				}
				kept := keeps(t, s, "f", test.kept...)
				if len(kept) > 0 && (kept[0].Cause != "MOVE" || kept[0].By != "her") {
					t.Errorf("the history says %+v", kept[0])
				}
				for _, part := range test.tells {
					if !strings.Contains(strings.Join(told, "\n"), part) {
						t.Errorf("told: %q, without %q", told, part)
					}
				}
				if test.tells == nil && told != nil {
					t.Errorf("told: %q", told)
				}
				if left, err := s.Entries(s.root.StatePath(movingPart)); len(left) > 0 || err != nil {
					t.Errorf("noted as under way: %q, error %v", left, err)
				}
				if mark, err := os.ReadFile(filepath.Join(dir, lockName)); len(mark) > 0 || err != nil {
					t.Errorf("the lock file has %q, error %v", mark, err)
				}
			})
		}
	}
}

// A note of which a part is missing says nothing, and stands in no one's way.
func TestDamagedMoveNote(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=seen", "o=other")
	s := openTest(t, dir, Options{History: true})
	m, err := s.NoteMove(t.Context(), "o", "f", room.Need{Name: "f"}, How{Cause: "MOVE"})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, m.at))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.root.decodeMove(whole); got == nil || got.from != "o" || got.to != "f" || got.entry != m.entry ||
		!isNoted(m.source.seen, got.source.seen) || !isNoted(m.over.seen, got.over.seen) {
		t.Errorf("it is read as %+v", got)
	}
	for cut := range len(whole) {
		if got := s.root.decodeMove(whole[:cut]); got != nil {
			t.Errorf("cut off at %d it is read as %+v", cut, got)
		}
	}
	abandon(s)
	if err := os.Truncate(filepath.Join(dir, m.at), int64(len(whole)/2)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, lockName), []byte(m.at), 0o666); err != nil {
		t.Fatal(err)
	}
	next := openTest(t, dir, Options{History: true})
	if err := recoverTest(t, next); err != nil {
		t.Error(err)
	}
	has(t, dir, "f", "seen")
	has(t, dir, "o", "other")
	if left, err := next.Entries(next.root.StatePath(movingPart)); len(left) > 0 || err != nil {
		t.Errorf("noted as under way: %q, error %v", left, err)
	}
}

// The note of a process that lives is left alone by others.
func TestLivingMoveNote(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=seen", "o=other")
	lives := openTest(t, dir, Options{History: true})
	how := How{Cause: "MOVE"}
	m, err := lives.NoteMove(t.Context(), "o", "f", room.Need{Name: "f"}, how)
	if err != nil {
		t.Fatal(err)
	}
	other := openTest(t, dir, Options{History: true})
	if err := errors.Join(other.Recover(t.Context()), lives.Recover(t.Context())); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, m.at)); err != nil {
		t.Error(err)
	}
	how.Note = m
	err = lives.Move("o", see(t, lives, "o"), "f", see(t, lives, "f"), how)
	if err = errors.Join(err, m.End(t.Context())); err != nil {
		t.Error(err)
	}
	has(t, dir, "f", "other")
	keeps(t, other, "f", "seen")
}

// A move of something else than was noted does nothing.
func TestMoveOfWhatWasNotNoted(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=seen", "o=other", "g=1")
	s := openTest(t, dir, Options{History: true})
	how := How{Cause: "MOVE"}
	m, err := s.NoteMove(t.Context(), "o", "f", room.Need{Name: "f"}, how)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Move("o", see(t, s, "o"), "f", see(t, s, "f"), how); !errors.Is(err, ErrNotNoted) {
		t.Errorf("without a note: error %v", err)
	}
	how.Note = m
	if err := s.Move("o", see(t, s, "o"), "g", see(t, s, "g"), how); !errors.Is(err, ErrNotNoted) {
		t.Errorf("to another name: error %v", err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "tmp"), []byte("new"), 0o666),
		os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "f"))); err != nil {
		t.Fatal(err)
	}
	if err := s.Move("o", see(t, s, "o"), "f", see(t, s, "f"), how); !errors.Is(err, ErrNotNoted) {
		t.Errorf("over another file: error %v", err)
	}
	if err := m.End(t.Context()); err != nil {
		t.Error(err)
	}
	has(t, dir, "o", "other")
	has(t, dir, "f", "new")
	has(t, dir, "g", "1")
}

// A move that cannot be finished, since too much is open, keeps the lock from all, so that no client acts on names
// that are exchanged.
func TestLockWaitsForAMoveToBeFinished(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=seen", "o=other")
	halfMoved(t, dir, Options{History: true}, "lstat")
	full := true
	_, err := Open(dir, Options{History: true, Before: func(c vfs.Call) error {
		if full && strings.Contains(c.Name, movingPart) {
			return syscall.EMFILE
		}
		return nil
	}})
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("got error %v", err)
	}
	has(t, dir, "o", "seen")
	full = false
	s := openTest(t, dir, Options{History: true})
	unlock, err := s.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	has(t, dir, "f", "other")
	keeps(t, s, "f", "seen")
}
