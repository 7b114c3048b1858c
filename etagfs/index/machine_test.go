package index

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A machine is what an index lives on: it has a clock, boots, and fails.
type machine struct {
	t     *testing.T
	dir   string
	boot  string
	root  vfs.Volume
	clock *treetest.Clock
	sync  func(dir string, device uint64) error // nil: it succeeds
	lazy  bool                                  // the file system is mounted with lazytime

	mu   sync.Mutex
	said []string // reports
}

func newMachine(t *testing.T) *machine {
	if BootID() == "" {
		const why = "nothing here tells one boot from the next, so nothing is kept on disk"
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip("NOT RUN: ", why)
	}
	return &machine{t: t, dir: filepath.Join(t.TempDir(), "index"), boot: "boot-1", root: vfs.Volume{Numbered: true},
		clock: treetest.NewClock()}
}

// open opens the index as a process does. What it opens is closed in the end as one that is killed.
func (m *machine) open() *Index {
	m.t.Helper()
	var heir vfs.ID
	if above, err := os.Stat(filepath.Dir(m.dir)); err == nil {
		heir, _ = volumes.OwnerOf(above)
	}
	x := Open(Options{
		Dir: m.dir, Device: 1, Volume: m.root, Heir: heir, Boot: m.boot,
		Sync: func(dir string, device uint64) error {
			if m.sync == nil {
				return nil
			}
			return m.sync(dir, device)
		},
		LazyTimes: func(string) bool { return m.lazy },
		Report:    m.report,
	})
	m.t.Cleanup(func() { m.kill(x) })
	return x
}

func (m *machine) report(err error) {
	m.t.Log(err)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.said = append(m.said, err.Error())
}

// dates opens the dates beside an index, as a process does that did not begin the tree.
func (m *machine) dates(x *Index) *Dates { return NewDates(x, false, m.clock.Now, m.report) }

// kill ends a process as the kernel does.
func (m *machine) kill(x *Index) {
	h := x.home.Load()
	if h == nil {
		return // in memory
	}
	h.pages.closeAll()
	h.epochs.file.Close()
	h.shared.file.Close()
	h.dir.Close()
}

func (m *machine) stop(x *Index) {
	m.t.Helper()
	if err := x.Close(lastWait); err != nil {
		m.t.Error(err)
	}
}

const lastWait = 20e9

// reboot takes the power away, and boots.
func (m *machine) reboot(running ...*Index) {
	for _, x := range running {
		m.kill(x)
	}
	m.boot += "+"
}

// complete has what was recorded until now put on the disk.
func (m *machine) complete(x *Index) {
	for range syncEvery {
		x.Tick()
	}
	if h := x.home.Load(); h != nil {
		h.epochs.finished.Wait()
	}
}

func (m *machine) wantSaid(want ...string) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.said) != len(want) {
		m.t.Errorf("said %q, want %q", m.said, want)
	} else {
		for i := range want {
			if !strings.Contains(m.said[i], want[i]) {
				m.t.Errorf("said %q, want %q", m.said[i], want[i])
			}
		}
	}
	m.said = nil
}

func (m *machine) forgetSaid() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.said = nil
}

func fingerprint(inode uint64) vfs.Fingerprint {
	return vfs.Fingerprint{Device: 1, Inode: inode, Size: 2, Born: 3, Modified: 4, Changed: 5}
}

var (
	oneTag   = tree.TagOf(sha256.Sum256([]byte("one")))
	otherTag = tree.TagOf(sha256.Sum256([]byte("other")))
)

// synced is a record of content that was synced.
func synced(tag tree.ETag) Record {
	r := RecordOf(tag)
	r.Has |= Synced
	return r
}

func wantKnown(t *testing.T, x *Index, f vfs.Fingerprint, want tree.ETag) {
	t.Helper()
	if tag, ok := x.Tag(f); tag != want || ok != (want != "") {
		t.Errorf("inode %d is known as %q, want %q", f.Inode, tag, want)
	}
}

// inPlaceOf puts something else in the place of a file of an index: a dir with something in it, a pipe, a file, or a
// link.
func inPlaceOf(name, kind string) func(m *machine) error {
	return func(m *machine) error {
		path := filepath.Join(m.dir, name)
		err := os.RemoveAll(path)
		switch kind {
		case "dir":
			return errors.Join(err, os.MkdirAll(filepath.Join(path, "d"), 0o700))
		case "pipe":
			return errors.Join(err, mkfifo(path))
		case "file":
			return errors.Join(err, os.WriteFile(path, []byte("text"), 0o600))
		case "link":
			return errors.Join(err, os.Symlink("../elsewhere", path))
		}
		panic(kind)
	}
}
