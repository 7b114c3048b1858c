package index

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
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

// A process that holds the lock is waited for once, and not for long, by who shows a date. Dates prove nothing, in
// any process, until all is said.
func TestHeldSharedStateIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		one, other := m.open(), m.open()
		first, second := m.dates(one), m.dates(other)
		m.clock.Advance(10 * time.Second)
		f := m.fileAt("f", "one")
		show := func(d *Dates, v Version) (took time.Duration) {
			start := time.Now()
			d.Show(f.name, v, AsIs, isSure, nowhere)
			return time.Since(start)
		}
		proves := func(d *Dates) bool { return f.proves(d, f.version()) }
		f.commit(one, first)
		if took := show(first, f.version()); took != 0 || !proves(first) {
			t.Errorf("before, it takes %v, and proves %v", took, proves(first))
		}
		letGo := m.hold(lockName)
		later := f.version()
		later.Modified = m.clock.Now().Add(time.Hour).Unix()
		for i, most := range []time.Duration{2 * sharedPatience, 0, 0} {
			later.Modified++
			if took := show(second, later); took > most {
				t.Errorf("showing date %d takes %v, want at most %v", i, took, most)
			}
		}
		if proves(first) || proves(second) {
			t.Error("a date proves something while another process shows dates and cannot say which")
		}
		m.mu.Lock()
		said := strings.Join(m.said, "\n")
		m.mu.Unlock()
		if strings.Count(said, "\n") != 0 || !strings.Contains(said, us()) || !strings.Contains(said, lockName) {
			t.Errorf("it was said: %q; want once who holds it, and what", said)
		}
		second.Tick()
		if proves(first) {
			t.Error("it proves something, and the lock is still held")
		}
		letGo()
		second.Tick()
		if took := show(second, later); took != 0 {
			t.Errorf("after it was let go it takes %v", took)
		}
		if !proves(first) || !proves(second) {
			t.Error("a date that a commit has put into a record proves nothing after the lock was let go")
		}
		if n, ok := one.home.Load().shared.read(); !ok || !tree.AnyHas(n.ahead, later.Modified) ||
			!tree.AnyHas(n.ahead, later.Modified-2) {
			t.Errorf("the shared state says %+v of the dates ahead", n.ahead)
		}
	})
}

// An index that another process is opening is waited for at the start, and done without then.
func TestHeldIndexIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.stop(m.open())
		letGo := m.hold(lockName)
		done := make(chan struct{})
		time.AfterFunc(openPatience/2, func() { letGo(); close(done) })
		x := m.open()
		<-done
		if !x.OnDisk() {
			t.Errorf("a process that lets go in time was not waited for: %q", m.said)
		}
		m.wantSaid()
		m.stop(x)

		m.hold(lockName)
		start := time.Now()
		x = m.open()
		if took := time.Since(start); took < openPatience || took > openPatience+time.Second || x.OnDisk() {
			t.Errorf("it takes %v to open, want %v; on disk: %v", took, openPatience, x.OnDisk())
		}
		said := strings.Join(m.said, "\n")
		for _, part := range []string{"the index in ", us(), lockName, "end the process that holds it"} {
			if !strings.Contains(said, part) {
				t.Errorf("it was said %q, want %q in it", said, part)
			}
		}
	})
}

// A record that was corrected while the lock was held is told of later.
func TestCorrectionIsToldWhenTheLockIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		one, other := m.open(), m.open()
		of := vfs.Fingerprint{Device: 1, Inode: 1}
		one.Put(of, RecordOf(oneTag))
		wantKnown(t, other, of, oneTag)
		letGo := m.hold(lockName)
		one.Forget(of)
		letGo()
		one.Tick()
		other.Tick()
		wantKnown(t, other, of, "")
		m.wantSaid("telling other servers of a wrong record")
	})
}

// A child process has copies of the descriptors of its parent from fork(2) to execve(2). This child keeps one.
func TestRunEndsAlthoughAChildHasTheDescriptor(t *testing.T) {
	m := newMachine(t)
	x := m.open()
	e := x.home.Load().epochs
	child := exec.Command("cat")
	child.ExtraFiles = append(child.ExtraFiles, e.file)
	input, err := child.StdinPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		input.Close()
		child.Wait()
	}()
	if !isAlive(e.dir, e.name) {
		t.Error("a run counts as dead")
	}
	if err := e.close(false); err != nil {
		t.Fatal(err)
	}
	if isAlive(e.dir, e.name) {
		t.Error("a run that is over counts as alive")
	}
}
