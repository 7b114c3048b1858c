//go:build power

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestUncleanBoot takes the power from a machine whose kernel has put on disk what it had to, and not the bytes that a
// local program had written: file systems come back with the size, the times and the inode of these bytes, and the ones
// before in their place; or, mounted with lazytime, with the bytes, and the times before in their place. It needs root and loop
// devices; .ci/long runs it.
func TestUncleanBoot(t *testing.T) {
	for _, test := range []struct {
		name, kind string
		lazy       bool // the mount option lazytime
		processes  int
	}{
		{"ext4", "ext4", false, 1},
		{"xfs", "xfs", false, 1},
		{"ext4, two processes", "ext4", false, 2},
		{"xfs, two processes", "xfs", false, 2},
		{"ext4, lazytime", "ext4", true, 1},
		{"ext4, lazytime, two processes", "ext4", true, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &poweredMachine{t: t, kind: test.kind, lazy: test.lazy, processes: test.processes, dir: t.TempDir(), client: &http.Client{}}
			defer m.end()
			m.format()
			for round := range 3 {
				m.boot++
				m.mount("disk")
				s := m.serve()
				if round > 0 {
					m.wantTold(s)
				}
				s = m.change(s, round)
				m.command("cp", "--sparse=always", m.path("disk"), m.path("copy")) // in the middle of it all
				m.unplug(s)

				// A server that believes that the machine was up all the time trusts its records. Without a wrong
				// record this would test nothing.
				m.command("cp", "--sparse=always", m.path("copy"), m.path("control"))
				m.mount("control")
				s = m.serve()
				wrong := m.wrongTags(s)
				if len(wrong) == 0 {
					t.Fatal("the disk has the bytes that go with its time stamps: this shows nothing")
				}
				t.Logf("without a look at the boot, %d tags would be wrong", len(wrong))
				m.unplug(s)

				m.boot++
				m.mount("copy")
				s = m.serve()
				m.wantTold(s)
				if wrong = m.wrongTags(s); len(wrong) > 0 {
					t.Errorf("after the power failure, these are not the tags of what the disk has: %q", wrong)
				}
				m.wantGuarded(s)
				m.unplug(s)
				if err := os.Rename(m.path("copy"), m.path("disk")); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A poweredMachine has one disk at a time, and boots.
type poweredMachine struct {
	t       *testing.T
	kind    string
	dir     string // of images, and of where they are mounted
	boot    int
	client  *http.Client
	running []*servertest.Server
	lazy    bool
	// processes is how many servers have the directory before the power fails.
	processes int
	seen      map[string]string // the tags that a server has told before the power failed, by name
}

const changedFiles = 16

func (m *poweredMachine) path(name string) string { return filepath.Join(m.dir, name) }
func (m *poweredMachine) root() string            { return m.path("mounted") }

func (m *poweredMachine) command(name string, args ...string) {
	m.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		m.t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}

func (m *poweredMachine) format() {
	if err := os.Mkdir(m.root(), 0o777); err != nil {
		m.t.Fatal(err)
	}
	m.command("truncate", "--size=512M", m.path("disk"))
	m.command("mkfs."+m.kind, "-q", m.path("disk"))
	m.mount("disk")
	for i := range changedFiles {
		if err := os.WriteFile(filepath.Join(m.root(), fmt.Sprint("theirs", i)), theirs(i, -1), 0o666); err != nil {
			m.t.Fatal(err)
		}
	}
	m.command("umount", m.root())
}

// theirs is the content that a local program writes in a round. Its length is always the same.
func theirs(i, round int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%7d %7d\n", i, round), 4<<10) }

func (m *poweredMachine) mount(image string) {
	m.t.Helper()
	options := "loop"
	if m.lazy {
		options += ",lazytime"
	}
	if m.kind == "xfs" {
		options += ",nouuid" // the kernel may not be through with the one it is a copy of
	}
	m.command("mount", "-t", m.kind, "-o", options, m.path(image), m.root())
}

// serve starts a server, which sees the boot that the machine is in.
func (m *poweredMachine) serve() *servertest.Server {
	m.t.Helper()
	id := m.path("boot_id")
	if err := os.WriteFile(id, fmt.Appendf(nil, "%08d-0000-4000-8000-000000000000\n", m.boot), 0o444); err != nil {
		m.t.Fatal(err)
	}
	s, err := servertest.Start(exec.Command("unshare", "--mount", "sh", "-euc",
		`mount --bind "$1" /proc/sys/kernel/random/boot_id; exec ifmatch serve --addr 127.0.0.1:0 "$2"`, "sh", id, m.root()))
	if err != nil {
		m.t.Fatal(err)
	}
	m.running = append(m.running, s)
	return s
}

// beside starts the other servers.
func (m *poweredMachine) beside() {
	m.t.Helper()
	for len(m.running) < m.processes {
		m.serve()
	}
}

// unplug ends everything that has to do with the disk that is mounted. What reaches it now is looked at by nobody.
func (m *poweredMachine) unplug(*servertest.Server) {
	m.t.Helper()
	for _, s := range m.running {
		if err := s.Kill(); err != nil {
			m.t.Fatal(err)
		}
	}
	m.running = nil
	m.client.CloseIdleConnections()
	m.command("umount", m.root())
}

// end leaves nothing behind, however the test has ended.
func (m *poweredMachine) end() {
	for _, s := range m.running {
		_ = s.Kill()
	}
	m.client.CloseIdleConnections()
	_ = exec.Command("umount", "--lazy", m.root()).Run() // fails where all went well
}

// change has a local program rewrite files in place and hide it, the servers tell their tags, and the disk have all but their
// bytes. With lazytime the servers tell the tags before, and the disk has all but the times. It returns the server that runs then.
func (m *poweredMachine) change(s *servertest.Server, round int) *servertest.Server {
	m.t.Helper()
	m.seen = map[string]string{}
	if m.lazy {
		m.tell(round - 1)
		if err := s.Stop(false); err != nil { // which puts all on the disk that it has recorded
			m.t.Fatal(err)
		}
		m.running = m.running[1:]
		s = m.serve()
		m.beside()
		m.putOurs(s, round)
		m.rewrite(round, func(f *os.File, _ os.FileInfo) error { return unix.Fdatasync(int(f.Fd())) })
		return s
	}
	m.beside()
	m.rewrite(round, func(f *os.File, before os.FileInfo) error {
		return os.Chtimes(f.Name(), before.ModTime(), before.ModTime())
	})
	m.tell(round)
	m.syncPages()
	m.putOurs(s, round)
	return s
}

// rewrite has a local program write to files in place, and do something with each.
func (m *poweredMachine) rewrite(round int, then func(f *os.File, before os.FileInfo) error) {
	m.t.Helper()
	for i := range changedFiles {
		file := filepath.Join(m.root(), fmt.Sprint("theirs", i))
		info, err := os.Stat(file)
		if err != nil {
			m.t.Fatal(err)
		}
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			m.t.Fatal(err)
		}
		if _, err = f.WriteAt(theirs(i, round), 0); err == nil {
			err = then(f, info)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			m.t.Fatal(err)
		}
	}
}

// tell has the servers tell the tags of what the local program has written, in turn.
func (m *poweredMachine) tell(round int) {
	m.t.Helper()
	for i := range changedFiles {
		name := fmt.Sprint("theirs", i)
		status, tag, _ := servertest.Send(m.t, m.client, "GET", m.running[i%len(m.running)].URL+"/"+name, "")
		if want := string(tree.TagOf(sha256.Sum256(theirs(i, round)))); status != http.StatusOK || tag != want {
			m.t.Fatalf("GET %s: %d %s", name, status, tag)
		}
		m.seen[name] = tag
	}
}

// syncPages puts the records of the index on the disk, which the kernel may write before anything else.
func (m *poweredMachine) syncPages() {
	m.t.Helper()
	pages, err := filepath.Glob(filepath.Join(m.root(), stateName, "index", "inodes-*"))
	if err != nil || len(pages) == 0 {
		m.t.Fatalf("the index is %q, error %v", pages, err)
	}
	for _, page := range pages {
		f, err := os.Open(page)
		if err == nil {
			err = unix.Fdatasync(int(f.Fd()))
			f.Close()
		}
		if err != nil {
			m.t.Fatal(err)
		}
	}
}

// putOurs has a client write, which takes the journal with it.
func (m *poweredMachine) putOurs(s *servertest.Server, round int) {
	m.t.Helper()
	for i := range 4 {
		name := fmt.Sprintf("ours%d-%d", round, i)
		status, tag, _ := servertest.Send(m.t, m.client, "PUT", s.URL+"/"+name, strings.Repeat(name, 1000))
		if status != http.StatusCreated {
			m.t.Fatalf("PUT %s: %d", name, status)
		}
		m.seen[name] = tag
	}
}

// wrongTags returns the names of which a server tells a tag that is not that of the bytes on the disk.
func (m *poweredMachine) wrongTags(s *servertest.Server) (wrong []string) {
	m.t.Helper()
	entries, err := os.ReadDir(m.root())
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		content, err := os.ReadFile(filepath.Join(m.root(), e.Name()))
		if err != nil {
			m.t.Fatal(err)
		}
		want := string(tree.TagOf(sha256.Sum256(content)))
		if _, _, listed := servertest.Send(m.t, m.client, "PROPFIND", s.URL+"/"+e.Name(), "", "Depth", "0"); !strings.Contains(listed, strings.Trim(want, `"`)) {
			wrong = append(wrong, "PROPFIND "+e.Name())
		}
		for _, method := range []string{"HEAD", "GET"} {
			if status, tag, _ := servertest.Send(m.t, m.client, method, s.URL+"/"+e.Name(), ""); status != http.StatusOK || tag != want {
				wrong = append(wrong, method+" "+e.Name())
			}
		}
	}
	return wrong
}

// wantTold waits until a server says that the machine went down.
func (m *poweredMachine) wantTold(s *servertest.Server) {
	m.t.Helper()
	if _, err := s.Log.Await(regexp.MustCompile("the machine went down while this directory was in use")); err != nil {
		m.t.Error(err)
	}
}

// wantGuarded writes to what a server has told of before the power failed: what was acknowledged is there, and what a
// client has seen of a local program and is gone is not replaced by it.
func (m *poweredMachine) wantGuarded(s *servertest.Server) {
	m.t.Helper()
	for name, seen := range m.seen {
		_, tag, content := servertest.Send(m.t, m.client, "GET", s.URL+"/"+name, "")
		if strings.HasPrefix(name, "ours") && tag != seen {
			m.t.Errorf("%s was acknowledged as %s, and is %q", name, seen, tag)
		}
		want := http.StatusNoContent
		if tag != seen {
			want = http.StatusPreconditionFailed
		}
		if status, _, _ := servertest.Send(m.t, m.client, "PUT", s.URL+"/"+name, content, "If-Match", seen); status != want {
			m.t.Errorf("PUT %s: %d, want %d", name, status, want)
		}
	}
}
