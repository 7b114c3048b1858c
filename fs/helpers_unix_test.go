//go:build unix

package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// lay makes what is in dir: "d/", "f=content", "link => target", "pipe|", "socket@", "device%".
func lay(t *testing.T, dir string, layout ...string) {
	t.Helper()
	for _, line := range layout {
		var err error
		at := func(name string) string { return filepath.Join(dir, name) }
		if name, target, ok := strings.Cut(line, " => "); ok {
			err = os.Symlink(target, at(name))
		} else if name, ok := strings.CutSuffix(line, "/"); ok {
			err = os.MkdirAll(at(name), 0o777)
		} else if name, ok := strings.CutSuffix(line, "|"); ok {
			err = unix.Mkfifo(at(name), 0o666)
		} else if name, ok := strings.CutSuffix(line, "@"); ok {
			var l net.Listener
			if l, err = net.ListenUnix("unix", &net.UnixAddr{Name: at(name)}); err == nil {
				t.Cleanup(func() { l.Close() })
			}
		} else if name, ok := strings.CutSuffix(line, "%"); ok {
			err = mknodNull(at(name))
			if errors.Is(err, iofs.ErrPermission) {
				t.Log("only root can make a device: a pipe has to do")
				err = unix.Mkfifo(at(name), 0o666)
			}
		} else {
			name, content, _ := strings.Cut(line, "=")
			err = os.WriteFile(at(name), []byte(content), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func openTest(t *testing.T, dir string, opts Options) *FS {
	t.Helper()
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// soon fails a test in which do takes long: whatever lies there, nothing may wait for it.
func soon(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s hangs", what)
	}
}

func appendTo(t *testing.T, name, content string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
}

func stageFile(t *testing.T, s *FS, content string) *Staged {
	t.Helper()
	st, err := s.Stage("f")
	if err == nil {
		_, err = st.Write([]byte(content))
	}
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// readAll reads an open file.
func readAll(f *vfs.File, size int64) ([]byte, error) {
	data := make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return data[:n], err
}

// abandon lets go of what proves that an FS lives, as the death of its process does.
func abandon(s *FS) {
	s.Alive.Close()
	s.RootLock.File.Close()
	s.calls.Close()
}

// Commit is [Staged.Commit] by a name, after what comes before the lock.
func (s *FS) Commit(st *Staged, name string, over vfs.Info, how How) error {
	if err := st.NoteReplaced(name); err != nil {
		return err
	}
	return st.Commit(s.At(name), over, how)
}

// moveAside moves what is at a name out of the way of what is at another name, and returns where it is noted.
func moveAside(t *testing.T, s *FS, name, by string) (dir string) {
	t.Helper()
	seen, err := s.calls.Lstat(by)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.root.newAside(name, by, seen)
	if err == nil {
		err = s.calls.Rename(name, a.old())
	}
	if err != nil {
		t.Fatal(err)
	}
	return a.dir
}

func recoverTest(t *testing.T, s *FS) error {
	t.Helper()
	return s.Recover(t.Context())
}

// removeTest removes what is at a name.
func removeTest(t *testing.T, s *FS, name string) {
	t.Helper()
	if err := s.Remove(s.At(name), see(t, s, name), How{Exact: true, Cause: "DELETE"}); err != nil {
		t.Fatal(err)
	}
}

// see looks at what a commit is to be about.
func see(t *testing.T, s *FS, name string) vfs.Info {
	t.Helper()
	info, err := s.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// moveTest moves with a note of what is there, as callers do.
func moveTest(s *FS, from string, source vfs.Info, to string, over vfs.Info, how How) (err error) {
	if how.Note, err = s.NoteMove(context.Background(), from, to, room.Need{Name: to}, how); err != nil {
		return err
	}
	err = s.Move(from, source, to, over, how)
	return errors.Join(err, how.Note.End(context.Background()))
}

func has(t *testing.T, dir, name, want string) {
	t.Helper()
	if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != want || err != nil {
		t.Errorf("%q has %q, error %v, want %q", name, got, err, want)
	}
}

// keeps asserts which contents the history has of a file, the oldest first.
func keeps(t *testing.T, s *FS, name string, want ...string) []history.Kept {
	t.Helper()
	found, err := s.History(name)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range found {
		if k.Path != name {
			t.Errorf("the history of %q has %+v", name, k)
		}
		f, info, err := s.OpenKept(k)
		if err != nil {
			t.Fatal(err)
		}
		data, err := readAll(f, info.Size)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(data))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the history has %q of %q, want %q", got, name, want)
	}
	return found
}

func sessions(t *testing.T, dir string) (n int) {
	t.Helper()
	found, err := os.ReadDir(filepath.Join(dir, volumes.OwnDir, volumes.StagePart))
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

// A clock that a test moves.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newTestClock() *clock { return &clock{time.Date(2026, 1, 2, 3, 30, 0, 0, time.UTC)} }

// replaceBy commits a new version of a file, whatever is there.
func replaceBy(t *testing.T, s *FS, name, content string) {
	t.Helper()
	st := stageFile(t, s, content)
	defer st.Discard()
	if err := s.Commit(st, name, see(t, s, name), How{Cause: "PUT"}); err != nil {
		t.Fatal(err)
	}
}

func paths(t *testing.T, found []history.Kept, err error) (all []string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range found {
		all = append(all, fmt.Sprintf("%s %s %d", k.Path, k.Cause, k.Kind))
	}
	return all
}

// stampsPass waits until the stamps of files, which move by ticks of the kernel's clock, are later than a time.
func stampsPass(t *testing.T, moment time.Time) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "stamped")
	for deadline := time.Now().Add(time.Minute); ; {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.ModTime().After(moment) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the stamps of files stand still")
		}
	}
}

// enterTest makes an entry of the history whose name begins with a prefix.
func enterTest(t *testing.T, v *volume, name, prefix string, n history.Note) (entry string) {
	t.Helper()
	removed := v.history.NewEntry(n.Seen.Size)
	entry = path.Dir(removed) + "/" + prefix + "-" + path.Base(removed)
	if err := v.history.ArchiveAs(entry, name, n); err != nil {
		t.Fatal(err)
	}
	return entry
}
