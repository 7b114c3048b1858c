//go:build unix

package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

var containment = []string{
	"f=file", "d/", "d/g=inner", "d/deep/", "d/deep/h=deepest", "pipe|", "socket@", "device%",
	"d/.ifmatch/", "d/.ifmatch/x=reserved",
	"to-f => f", "to-d => d", "to-self => to-self", "loop-a => loop-b", "loop-b => loop-a", "d/to-top => ..",
	"chain => to-d/to-top/to-f", "dots => d/../f", "through => d/deep/../g",
	"broken => no", "broken-deep => no/no", "to-file-below => f/x",
	"absolute => /etc/passwd", "relative => ../outside", "deep-relative => d/deep/../../../outside",
	"to-absolute => absolute", "d/out => ../../outside", "root => /", "up => ..",
	"to-state => .ifmatch", "to-state-file => .ifmatch/format", "d/to-state => ../.ifmatch", "STATE => .IFMATCH", "d/to-x => .ifmatch/x",
	"to-pipe => pipe", "to-device => device", "to-socket => socket",
}

// What a name leads to: the content of a file, the error, or nil for a directory.
var leads = []struct {
	name    string
	content string
	err     error
	linked  bool
}{
	{name: ""},
	{name: "f", content: "file"},
	{name: "d"},
	{name: "d/g", content: "inner"},
	{name: "to-f", content: "file", linked: true},
	{name: "to-d", linked: true},
	{name: "to-d/g", content: "inner"},
	{name: "to-d/deep/h", content: "deepest"},
	{name: "d/to-top", linked: true},
	{name: "d/to-top/f", content: "file"},
	{name: "d/to-top/to-f", content: "file", linked: true},
	{name: "to-d/to-top/to-d/g", content: "inner"},
	{name: "chain", content: "file", linked: true},
	{name: "dots", content: "file", linked: true},
	{name: "through", content: "inner", linked: true},
	{name: "no", err: iofs.ErrNotExist},
	{name: "no/no", err: iofs.ErrNotExist},
	{name: "f/x", err: iofs.ErrNotExist},
	{name: "to-f/x", err: iofs.ErrNotExist},
	{name: "broken", err: iofs.ErrNotExist},
	{name: "broken-deep", err: iofs.ErrNotExist},
	{name: "to-file-below", err: iofs.ErrNotExist},
	{name: "to-self", err: syscall.ELOOP},
	{name: "to-self/x", err: syscall.ELOOP},
	{name: "loop-a", err: syscall.ELOOP},
	{name: "absolute", err: ErrEscapes},
	{name: "to-absolute", err: ErrEscapes},
	{name: "relative", err: ErrEscapes},
	{name: "deep-relative", err: ErrEscapes},
	{name: "d/out", err: ErrEscapes},
	{name: "root", err: ErrEscapes},
	{name: "root/etc/passwd", err: ErrEscapes},
	{name: "up", err: ErrEscapes},
	{name: "up/outside", err: ErrEscapes},
	{name: "d/to-top/up/outside", err: ErrEscapes},
	{name: ".ifmatch", err: ErrReserved},
	{name: ".ifmatch/format", err: ErrReserved},
	{name: ".ifmatch/no", err: ErrReserved},
	{name: ".IfMatch", err: ErrReserved},
	{name: "d/.ifmatch/x", err: ErrReserved},
	{name: "no/.ifmatch", err: ErrReserved},
	{name: "to-d/.ifmatch", err: ErrReserved},
	{name: "to-state", err: ErrReserved},
	{name: "to-state/format", err: ErrReserved},
	{name: "to-state-file", err: ErrReserved},
	{name: "d/to-state/format", err: ErrReserved},
	{name: "d/to-x", err: ErrReserved},
	{name: "STATE", err: ErrReserved},
	{name: "pipe", err: ErrSpecial},
	{name: "socket", err: ErrSpecial},
	{name: "device", err: ErrSpecial},
	{name: "pipe/x", err: iofs.ErrNotExist},
	{name: "to-pipe", err: ErrSpecial},
	{name: "to-device", err: ErrSpecial},
	{name: "to-socket", err: ErrSpecial},
	{name: "d/to-top/pipe", err: ErrSpecial},
}

func TestContainment(t *testing.T) {
	forBothWalks(t, func(t *testing.T, open func(*testing.T, string, Options) *FS) {
		top := t.TempDir()
		dir := filepath.Join(top, "root")
		lay(t, top, "root/", "outside=secret")
		s := open(t, dir, Options{})
		lay(t, dir, containment...)
		for _, test := range leads {
			soon(t, test.name, func() {
				info, err := s.Stat(test.name)
				if !errors.Is(err, test.err) {
					t.Errorf("Stat(%q): got error %v, want %v", test.name, err, test.err)
				}
				if err == nil && (info.Linked != test.linked || (info.Kind == Regular) != (test.content != "")) {
					t.Errorf("Stat(%q) = %+v", test.name, info)
				}
				f, info, err := s.Open(test.name)
				if !errors.Is(err, test.err) || err != nil && f != nil {
					t.Errorf("Open(%q): got error %v, want %v", test.name, err, test.err)
				}
				if err == nil && info.Linked != test.linked {
					t.Errorf("Open(%q) = %+v", test.name, info)
				}
				if f != nil {
					defer f.Close()
					if got, err := readAll(f, info.Size); string(got) != test.content || err != nil {
						t.Errorf("%q has %q, error %v", test.name, got, err)
					}
				}
				want := test.err
				if want == nil && test.content != "" {
					want = syscall.ENOTDIR
				}
				d, err := s.OpenDir(test.name, DirOptions{Follow: true})
				if !errors.Is(err, want) {
					t.Errorf("OpenDir(%q): got error %v, want %v", test.name, err, want)
				}
				if err == nil {
					d.Close()
				}
				if _, err := s.Attributes(test.name); !errors.Is(err, test.err) {
					t.Errorf("Attributes(%q): got error %v, want %v", test.name, err, test.err)
				}
			})
		}
	})
}

func TestLstat(t *testing.T) {
	forBothWalks(t, func(t *testing.T, open func(*testing.T, string, Options) *FS) {
		dir := t.TempDir()
		s := open(t, dir, Options{})
		lay(t, dir, containment...)
		for _, test := range []struct {
			name string
			kind Kind
			err  error
		}{
			{"", Directory, nil},
			{"f", Regular, nil},
			{"d/deep", Directory, nil},
			{"to-f", Link, nil},
			{"to-d", Link, nil},
			{"absolute", Link, nil},
			{"to-self", Link, nil},
			{"broken", Link, nil},
			{"pipe", Special, nil},
			{"socket", Special, nil},
			{"device", Special, nil},
			{"to-d/g", Nothing, ErrLink},
			{"to-d/no", Nothing, ErrLink},
			{"up/outside", Nothing, ErrLink},
			{"root/etc", Nothing, ErrLink},
			{"d/to-top/f", Nothing, ErrLink},
			{"to-self/x", Nothing, ErrLink},
			{"broken/x", Nothing, ErrLink},
			{"no", Nothing, iofs.ErrNotExist},
			{"no/no", Nothing, iofs.ErrNotExist},
			{"f/x", Nothing, iofs.ErrNotExist},
			{"f/x/y", Nothing, iofs.ErrNotExist},
			{"pipe/x", Nothing, iofs.ErrNotExist},
			{".ifmatch", Nothing, ErrReserved},
			{"to-d/.ifmatch", Nothing, ErrReserved},
			{strings.Repeat("n", 256), Nothing, syscall.ENAMETOOLONG},
		} {
			soon(t, test.name, func() {
				info, err := s.Lstat(test.name)
				if info.Kind != test.kind || !errors.Is(err, test.err) {
					t.Errorf("Lstat(%.20q) = %+v, error %v, want kind %v, error %v", test.name, info, err, test.kind, test.err)
				}
			})
		}
		f, opened, err := s.Open("f")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if looked, err := s.Lstat("f"); looked != opened || err != nil || looked.Inode == 0 {
			t.Errorf("looked at as %+v, opened as %+v, error %v", looked, opened, err)
		}
	})
}

func TestOpenDir(t *testing.T) {
	forBothWalks(t, func(t *testing.T, open func(*testing.T, string, Options) *FS) {
		dir := t.TempDir()
		s := open(t, dir, Options{})
		lay(t, dir, containment...)
		for _, test := range []struct {
			name   string
			follow bool
			want   []string
		}{
			{"", true, []string{"chain", "d/", "dots", "f", "through", "to-d/", "to-f"}},
			{"d", true, []string{"deep/", "g", "to-top/"}},
			{"to-d", true, []string{"deep/", "g", "to-top/"}},
			{"d", false, []string{"deep/", "g", "out@", "to-state@", "to-top@", "to-x@"}},
		} {
			d, err := s.OpenDir(test.name, DirOptions{Follow: test.follow})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			var got []string
			for {
				members, end := d.Next(3)
				for _, m := range members {
					if m.Err != nil {
						t.Errorf("%q: %v", m.Name, m.Err)
					}
					got = append(got, m.Name+map[Kind]string{Regular: "", Directory: "/", Link: "@", Special: "!"}[m.Kind])
				}
				if end != nil {
					if !volumes.IsEOF(end) {
						t.Error(end)
					}
					break
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("%q, follow %v: got %q, want %q", test.name, test.follow, got, test.want)
			}
		}
	})
}

func TestSend(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	lay(t, dir, "f=was here")
	f, _, err := s.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	appendTo(t, filepath.Join(dir, "f"), " and is longer now")
	for _, tt := range []struct {
		offset, n int64
		want      string
	}{
		{0, 8, "was here"},
		{4, 4, "here"},
		{0, 3, "was"},
		{9, 100, "and is longer now"},
		{100, 1, ""},
	} {
		var sent strings.Builder
		if n, err := s.Send(f, &sent, tt.offset, tt.n); sent.String() != tt.want || n != int64(len(tt.want)) || err != nil {
			t.Errorf("%d bytes from %d: got %q, %d, error %v", tt.n, tt.offset, sent.String(), n, err)
		}
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

// These are the names of the lock file and of the file with the format.
const (
	lockName   = volumes.OwnDir + "/lock"
	formatPart = "format"
)

// readAll reads an open file.
func readAll(f *File, size int64) ([]byte, error) {
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

// Commit is [Place.Commit] by a name.
func (s *FS) Commit(st *Staged, name string, over Info, how How) error {
	return s.placeAt(name).Commit(st, over, how)
}

func recoverTest(t *testing.T, s *FS) error {
	t.Helper()
	return s.Recover(t.Context())
}

// removeTest removes what is at a name.
func removeTest(t *testing.T, s *FS, name string) {
	t.Helper()
	if err := s.Remove(name, see(t, s, name), How{Exact: true, Cause: "DELETE"}); err != nil {
		t.Fatal(err)
	}
}

// see looks at what a commit is to be about.
func see(t *testing.T, s *FS, name string) Info {
	t.Helper()
	info, err := s.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// moveTest moves with a note of what is there, as callers do.
func moveTest(s *FS, from string, source Info, to string, over Info, how How) (err error) {
	if how.Note, err = s.NoteMove(context.Background(), from, to, Need{Name: to}, how); err != nil {
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
func keeps(t *testing.T, s *FS, name string, want ...string) []Kept {
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

func TestRecover(t *testing.T) {
	t.Run("a maker that lives keeps its uploads", func(t *testing.T) {
		dir := t.TempDir()
		first, second := openTest(t, dir, Options{}), openTest(t, dir, Options{})
		st := stageFile(t, first, "on its way")
		if err := recoverTest(t, second); err != nil {
			t.Error(err)
		}
		has(t, dir, st.at.Name, "on its way")
		if err := first.Commit(st, "f", Info{}, How{}); err != nil {
			t.Error(err)
		}
		has(t, dir, "f", "on its way")
	})
	t.Run("uploads of one that is gone are removed", func(t *testing.T) {
		dir := t.TempDir()
		lay(t, dir, "f=stays")
		gone := openTest(t, dir, Options{})
		stageFile(t, gone, "never committed")
		tree, err := gone.StageDir(t.Context(), Need{Name: "d"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tree.Member("f"); err != nil {
			t.Fatal(err)
		}
		abandon(gone)
		s := openTest(t, dir, Options{})
		if err := recoverTest(t, s); err != nil {
			t.Error(err)
		}
		if n := sessions(t, dir); n != 1 {
			t.Errorf("%d sessions are left", n)
		}
		has(t, dir, "f", "stays")
	})
}

// TestRecoverDisplaced lays out what a process leaves that dies while the tree d gives way to a staged version, where
// names cannot be exchanged.
func TestRecoverDisplaced(t *testing.T) {
	for _, test := range []struct {
		name    string
		between func(s *FS, dir, by, displaced string) error // before the recovery
		back    bool                                         // it is put back; else it is in the history
		unknown bool                                         // without its name
		told    bool
	}{
		{name: "what gave way to a commit that never came is put back",
			between: func(*FS, string, string, string) error { return nil }, back: true},
		{name: "it is not put over a new file",
			between: func(_ *FS, dir, _, _ string) error {
				return os.WriteFile(filepath.Join(dir, "d"), []byte("of a local program"), 0o666)
			}, told: true},
		{name: "what gave way for good is kept",
			between: func(s *FS, _, by, _ string) error { return s.calls.RenameNew(by, "d") }},
		{name: "what was removed after the commit does not rise",
			between: func(s *FS, dir, by, _ string) error {
				return errors.Join(s.calls.RenameNew(by, "d"), os.Remove(filepath.Join(dir, "d")))
			}},
		{name: "that the name is taken does not prove the commit",
			between: func(_ *FS, dir, by, _ string) error {
				return errors.Join(os.Remove(filepath.Join(dir, by)), os.Mkdir(filepath.Join(dir, "d"), 0o777))
			}},
		{name: "the note is empty",
			between: func(_ *FS, dir, _, displaced string) error {
				return os.Truncate(filepath.Join(dir, displaced, "path"), 0)
			}, unknown: true, told: true},
		{name: "the note is cut off",
			between: func(_ *FS, dir, _, displaced string) error {
				return os.WriteFile(filepath.Join(dir, displaced, "path"), []byte("d\x00x\x001\x002"), 0o666)
			}, unknown: true, told: true},
		{name: "the note is lost",
			between: func(_ *FS, dir, _, displaced string) error { return os.Remove(filepath.Join(dir, displaced, "path")) },
			unknown: true, told: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			lay(t, dir, "d/", "d/f=precious")
			gone := openTest(t, dir, Options{})
			st := stageFile(t, gone, "new")
			displaced, err := gone.root.moveAside("d", st.at.Name)
			if err != nil {
				t.Fatal(err)
			}
			if err := test.between(gone, dir, st.at.Name, displaced); err != nil {
				t.Fatal(err)
			}
			abandon(gone)
			s := openTest(t, dir, Options{})
			if err := recoverTest(t, s); (err != nil) != test.told {
				t.Errorf("got error %v", err)
			}
			if err := recoverTest(t, s); err != nil {
				t.Errorf("again: got error %v", err)
			}
			if n := sessions(t, dir); n != 1 {
				t.Errorf("%d sessions are left", n)
			}
			switch {
			case test.back:
				has(t, dir, "d/f", "precious")
				keeps(t, s, "d/f")
			case test.unknown:
				if all, err := s.History(""); len(all) != 1 || all[0].Path != "" || err != nil {
					t.Errorf("the history has %+v, error %v", all, err)
				}
			default:
				keeps(t, s, "d/f", "precious")
			}
		})
	}
	t.Run("of a source that is moved again", func(t *testing.T) {
		dir := t.TempDir()
		lay(t, dir, "d/", "d/f=precious", "from=1")
		gone := openTest(t, dir, Options{})
		if _, err := gone.root.moveAside("d", "from"); err != nil {
			t.Fatal(err)
		}
		abandon(gone)
		s := openTest(t, dir, Options{})
		if err := recoverTest(t, s); err != nil {
			t.Error(err)
		}
		has(t, dir, "d/f", "precious")
		has(t, dir, "from", "1")
	})
}

// A local program takes the name between the two renames: what stood there is in the history.
func TestTakenBetween(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "d/", "d/f=precious")
	s, err := Open(dir, Options{Before: func(c Call) error {
		if c.Op == "exchange" {
			return errors.ErrUnsupported
		}
		if c.Op == "renameNew" && c.To == "d" {
			return os.MkdirAll(filepath.Join(dir, "d"), 0o777)
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.StageDir(t.Context(), Need{Name: "d"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(st, "d", see(t, s, "d"), How{}); !errors.Is(err, ErrAway) {
		t.Errorf("Commit: got error %v", err)
	}
	st.Discard()
	if err := s.Close(); err == nil {
		t.Error("Close reports nothing")
	}
	keeps(t, openTest(t, dir, Options{}), "d/f", "precious")
}

// A rename over a network happens, and its answer is lost.
func TestRenameHappens(t *testing.T) {
	for _, taken := range []bool{false, true} {
		dir := t.TempDir()
		lay(t, dir, "d/", "d/f=precious")
		s, err := Open(dir, Options{Before: func(c Call) error {
			if c.Op == "exchange" {
				return errors.ErrUnsupported
			}
			if c.Op != "rename" || c.Name != "d" {
				return nil
			}
			err := os.Rename(filepath.Join(dir, "d"), filepath.Join(dir, c.To))
			if taken {
				err = errors.Join(err, os.Mkdir(filepath.Join(dir, "d"), 0o777))
			}
			return errors.Join(err, syscall.EIO)
		}})
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.StageDir(t.Context(), Need{Name: "d"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(st, "d", see(t, s, "d"), How{}); !errors.Is(err, syscall.EIO) {
			t.Errorf("got error %v", err)
		}
		st.Discard()
		if err := s.Close(); (err != nil) != taken {
			t.Errorf("Close: got error %v", err)
		}
		if taken {
			keeps(t, openTest(t, dir, Options{}), "d/f", "precious")
		} else {
			has(t, dir, "d/f", "precious")
		}
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	first, second := openTest(t, dir, Options{}), openTest(t, dir, Options{})
	unlock, err := first.Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	others := []*FS{first, second}
	if !first.Abilities().Flock {
		t.Log("no file locks here: one server only")
		others = others[:1]
	}
	for _, other := range others {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if _, err := other.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("another has it, and we get error %v", err)
		}
	}
	unlock()
	unlock, err = second.Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// However the lock file is lost, two servers agree on one.
func TestLockFileReplaced(t *testing.T) {
	for _, lose := range []func(name string) error{
		os.Remove,
		func(name string) error { return errors.Join(os.Remove(name), os.WriteFile(name, nil, 0o666)) },
	} {
		dir := t.TempDir()
		first, second := openTest(t, dir, Options{}), openTest(t, dir, Options{})
		if !first.Abilities().Flock {
			if os.Getenv("CI") != "" {
				t.Fatal("no file locks here")
			}
			t.Skip("NOT RUN: no file locks here")
		}
		if err := lose(filepath.Join(dir, lockName)); err != nil {
			t.Fatal(err)
		}
		for _, s := range [][2]*FS{{first, second}, {second, first}} {
			unlock, err := s[0].Lock(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			if _, err := s[1].Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("both have it: error %v", err)
			}
			unlock()
		}
	}
}

func TestOpenState(t *testing.T) {
	t.Run("a newer format is refused", func(t *testing.T) {
		dir := t.TempDir()
		openTest(t, dir, Options{}).Close()
		lay(t, dir, volumes.OwnDir+"/"+formatPart+"=2\n")
		if s, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "newer") {
			t.Errorf("got %v, error %v", s, err)
		}
		has(t, dir, volumes.OwnDir+"/"+formatPart, "2\n")
	})
	t.Run("read-only makes nothing", func(t *testing.T) {
		dir := t.TempDir()
		lay(t, dir, "f=1")
		s := openTest(t, dir, Options{ReadOnly: true})
		if info, err := s.Stat("f"); err != nil || info.Size != 1 {
			t.Errorf("got %+v, error %v", info, err)
		}
		s.Close()
		if found, err := os.ReadDir(dir); len(found) != 1 || err != nil {
			t.Errorf("there is %v now, error %v", found, err)
		}
	})
	t.Run("read-only knows other spellings", func(t *testing.T) {
		dir := t.TempDir()
		lay(t, dir, "f=1", ".IFMATCH/") // as a file system that takes one for the other shows it
		s := openTest(t, dir, Options{ReadOnly: true})
		if !s.Abilities().Aliases {
			t.Error("it does not")
		}
		if _, err := s.Stat("f"); err != nil {
			t.Error(err)
		}
	})
	t.Run("nobody else looks into it", func(t *testing.T) {
		dir := t.TempDir()
		openTest(t, dir, Options{})
		if fi, err := os.Stat(filepath.Join(dir, volumes.OwnDir)); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("got %v, error %v", fi, err)
		}
	})
	t.Run("something else has the name", func(t *testing.T) {
		for _, layout := range [][]string{{".ifmatch=file"}, {"d/", ".ifmatch => d"}} {
			dir := t.TempDir()
			lay(t, dir, layout...)
			if _, err := Open(dir, Options{}); err == nil {
				t.Errorf("%q: opened", layout)
			}
		}
	})
	t.Run("many start at once", func(t *testing.T) {
		dir := t.TempDir()
		errs := make(chan error)
		const n = 8
		for range n {
			go func() {
				s, err := Open(dir, Options{})
				if err == nil {
					err = s.Close()
				}
				errs <- err
			}()
		}
		for range n {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n := sessions(t, dir); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}

// The trash is left when there is no time for it.
func TestEmptyTrash(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	s := openTest(t, dir, Options{Before: func(c Call) error {
		if c.Op == "removeAll" && strings.HasPrefix(c.Name, volumes.OwnDir+"/"+volumes.TrashPart) {
			stop()
		}
		return nil
	}})
	lay(t, dir, "f=1", "g=2")
	if err := errors.Join(s.Remove("f", see(t, s, "f"), How{}), s.Remove("g", see(t, s, "g"), How{})); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		if err := s.EmptyTrash(ctx); (err != nil) != (want > 0) {
			t.Errorf("got error %v", err)
		}
		if found, err := s.Entries(s.root.StatePath(volumes.TrashPart)); len(found) != want || err != nil {
			t.Errorf("there is left %q, error %v", found, err)
		}
		ctx = context.Background()
	}
}

func TestCreateOnly(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	st := stageFile(t, s, "ours")
	defer st.Discard()
	lay(t, dir, "f=of a local program", "d/")
	for _, name := range []string{"f", "d"} {
		if err := s.Commit(st, name, Info{}, How{}); !errors.Is(err, iofs.ErrExist) {
			t.Errorf("%q: got error %v", name, err)
		}
	}
	has(t, dir, "f", "of a local program")
}

// Nothing but kinds is told without a look at any, in as many reads as it takes.
func TestListingKindsOnly(t *testing.T) {
	dir := t.TempDir()
	looks := 0
	s := openTest(t, dir, Options{Before: func(c Call) error {
		if c.Op == "lstat" && strings.HasPrefix(c.Name, "d/") {
			looks++
		}
		return nil
	}})
	layout := []string{"d/sub/", "d/.IFMATCH/", "d/fifo|", "d/link => sub", "d/dead => nowhere"}
	want := map[string]Kind{"link": Link, "dead": Link, "sub": Directory}
	for i := range 2000 {
		name := fmt.Sprintf("a file with a long name %d", i)
		want[name] = Regular
		layout = append(layout, "d/"+name+"=")
	}
	lay(t, dir, layout...)
	d, err := s.OpenDir("d", DirOptions{KindsOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got := map[string]Kind{}
	for {
		members, err := d.Next(64)
		for _, m := range members {
			if m.Err != nil {
				t.Error(m.Err)
			}
			got[m.Name] = m.Kind
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %d members, want %d: %v", len(got), len(want), got["link"])
	}
	if looks > 0 && runtime.GOOS == "linux" {
		t.Errorf("it took %d looks", looks)
	}
}
