//go:build unix

package fs

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

var containment = []string{
	"f=file", "d/", "d/g=inner", "d/deep/", "d/deep/h=deepest", "pipe|", "socket@", "device%",
	"d/.ifmatch/", "d/.ifmatch/x=reserved",
	"to-f => f", "to-d => d", "to-self => to-self", "loop-a => loop-b", "loop-b => loop-a", "d/to-top => ..",
	"chain => to-d/to-top/to-f", "dots => d/../f", "through => d/deep/../g",
	"broken => no", "broken-deep => no/no", "to-file-below => f/x",
	"absolute => /etc/passwd", "relative => ../outside", "deep-relative => d/deep/../../../outside",
	"to-absolute => absolute", "d/out => ../../outside", "root => /", "up => ..",
	"to-state => .ifmatch", "to-state-file => .ifmatch/format", "d/to-state => ../.ifmatch", "STATE => .IFMATCH",
	"d/to-x => .ifmatch/x",
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
	{name: "absolute", err: volumes.ErrEscapes},
	{name: "to-absolute", err: volumes.ErrEscapes},
	{name: "relative", err: volumes.ErrEscapes},
	{name: "deep-relative", err: volumes.ErrEscapes},
	{name: "d/out", err: volumes.ErrEscapes},
	{name: "root", err: volumes.ErrEscapes},
	{name: "root/etc/passwd", err: volumes.ErrEscapes},
	{name: "up", err: volumes.ErrEscapes},
	{name: "up/outside", err: volumes.ErrEscapes},
	{name: "d/to-top/up/outside", err: volumes.ErrEscapes},
	{name: ".ifmatch", err: volumes.ErrReserved},
	{name: ".ifmatch/format", err: volumes.ErrReserved},
	{name: ".ifmatch/no", err: volumes.ErrReserved},
	{name: ".IfMatch", err: volumes.ErrReserved},
	{name: "d/.ifmatch/x", err: volumes.ErrReserved},
	{name: "no/.ifmatch", err: volumes.ErrReserved},
	{name: "to-d/.ifmatch", err: volumes.ErrReserved},
	{name: "to-state", err: volumes.ErrReserved},
	{name: "to-state/format", err: volumes.ErrReserved},
	{name: "to-state-file", err: volumes.ErrReserved},
	{name: "d/to-state/format", err: volumes.ErrReserved},
	{name: "d/to-x", err: volumes.ErrReserved},
	{name: "STATE", err: volumes.ErrReserved},
	{name: "pipe", err: volumes.ErrSpecial},
	{name: "socket", err: volumes.ErrSpecial},
	{name: "device", err: volumes.ErrSpecial},
	{name: "pipe/x", err: iofs.ErrNotExist},
	{name: "to-pipe", err: volumes.ErrSpecial},
	{name: "to-device", err: volumes.ErrSpecial},
	{name: "to-socket", err: volumes.ErrSpecial},
	{name: "d/to-top/pipe", err: volumes.ErrSpecial},
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
				if err == nil && (info.Linked != test.linked || (info.Kind == vfs.Regular) != (test.content != "")) {
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
				d, err := s.OpenDir(test.name, volumes.DirOptions{Follow: true})
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
			kind vfs.Kind
			err  error
		}{
			{"", vfs.Directory, nil},
			{"f", vfs.Regular, nil},
			{"d/deep", vfs.Directory, nil},
			{"to-f", vfs.Link, nil},
			{"to-d", vfs.Link, nil},
			{"absolute", vfs.Link, nil},
			{"to-self", vfs.Link, nil},
			{"broken", vfs.Link, nil},
			{"pipe", vfs.Special, nil},
			{"socket", vfs.Special, nil},
			{"device", vfs.Special, nil},
			{"to-d/g", vfs.Nothing, vfs.ErrLink},
			{"to-d/no", vfs.Nothing, vfs.ErrLink},
			{"up/outside", vfs.Nothing, vfs.ErrLink},
			{"root/etc", vfs.Nothing, vfs.ErrLink},
			{"d/to-top/f", vfs.Nothing, vfs.ErrLink},
			{"to-self/x", vfs.Nothing, vfs.ErrLink},
			{"broken/x", vfs.Nothing, vfs.ErrLink},
			{"no", vfs.Nothing, iofs.ErrNotExist},
			{"no/no", vfs.Nothing, iofs.ErrNotExist},
			{"f/x", vfs.Nothing, iofs.ErrNotExist},
			{"f/x/y", vfs.Nothing, iofs.ErrNotExist},
			{"pipe/x", vfs.Nothing, iofs.ErrNotExist},
			{".ifmatch", vfs.Nothing, volumes.ErrReserved},
			{"to-d/.ifmatch", vfs.Nothing, volumes.ErrReserved},
			{strings.Repeat("n", 256), vfs.Nothing, syscall.ENAMETOOLONG},
		} {
			soon(t, test.name, func() {
				info, err := s.Lstat(test.name)
				if info.Kind != test.kind || !errors.Is(err, test.err) {
					t.Errorf("Lstat(%.20q) = %+v, error %v, want kind %v, error %v", test.name, info, err, test.kind,
						test.err)
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
			d, err := s.OpenDir(test.name, volumes.DirOptions{Follow: test.follow})
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
					got = append(got, m.Name+map[vfs.Kind]string{vfs.Regular: "", vfs.Directory: "/", vfs.Link: "@",
						vfs.Special: "!"}[m.Kind])
				}
				if end != nil {
					if vfs.Ignoring(end, io.EOF) != nil {
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
		if n, err := f.SendTo(&sent, tt.offset, tt.n); sent.String() != tt.want || n != int64(len(tt.want)) ||
			err != nil {
			t.Errorf("%d bytes from %d: got %q, %d, error %v", tt.n, tt.offset, sent.String(), n, err)
		}
	}
}

// These are the names of the lock file and of the file with the format.
const (
	lockName   = volumes.OwnDir + "/lock"
	formatPart = "format"
)

// Nothing but kinds is told without a look at any, in as many reads as it takes.
func TestListingKindsOnly(t *testing.T) {
	dir := t.TempDir()
	looks := 0
	s := openTest(t, dir, Options{Before: func(c vfs.Call) error {
		if c.Op == "lstat" && strings.HasPrefix(c.Name, "d/") {
			looks++
		}
		return nil
	}})
	layout := []string{"d/sub/", "d/.IFMATCH/", "d/fifo|", "d/link => sub", "d/dead => nowhere"}
	want := map[string]vfs.Kind{"link": vfs.Link, "dead": vfs.Link, "sub": vfs.Directory}
	for i := range 2000 {
		name := fmt.Sprintf("a file with a long name %d", i)
		want[name] = vfs.Regular
		layout = append(layout, "d/"+name+"=")
	}
	lay(t, dir, layout...)
	d, err := s.OpenDir("d", volumes.DirOptions{KindsOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got := map[string]vfs.Kind{}
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
