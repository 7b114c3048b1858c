package index

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestPowerFailure says which records are trusted after a machine went down.
func TestPowerFailure(t *testing.T) {
	m := newMachine(t)
	old, fresh, safe := fingerprint(1), fingerprint(2), fingerprint(3)
	x := m.open()
	x.Put(old, RecordOf(oneTag))
	m.complete(x)
	x.Put(fresh, RecordOf(oneTag))
	x.Put(safe, synced(oneTag))
	wantKnown(t, x, fresh, oneTag)

	// The process dies, the machine does not.
	m.kill(x)
	x = m.open()
	wantKnown(t, x, fresh, oneTag)
	m.wantSaid()

	m.reboot(x)
	x = m.open()
	m.wantSaid("files whose content may not have reached the disk before are hashed again")
	wantKnown(t, x, old, oneTag)
	wantKnown(t, x, safe, oneTag)
	wantKnown(t, x, fresh, "")
	x.Put(fresh, RecordOf(otherTag)) // hashed anew
	wantKnown(t, x, fresh, otherTag)
	m.stop(x)

	// After a clean stop, everything stays known.
	m.reboot()
	x = m.open()
	m.wantSaid()
	wantKnown(t, x, fresh, otherTag)

	// An epoch later, the disk has it.
	x.Put(fresh, RecordOf(oneTag))
	m.complete(x)
	m.reboot(x)
	x = m.open()
	m.wantSaid("the machine went down")
	wantKnown(t, x, fresh, oneTag)
	wantKnown(t, x, old, oneTag)
}

// Two processes put records of one inode, and only one of them stops, or completes an epoch.
func TestPowerFailureWithTwoProcesses(t *testing.T) {
	f := fingerprint(1)
	for _, test := range []struct {
		name string
		do   func(m *machine, one, other *Index)
		want tree.ETag
	}{
		{"the one that put it stops", func(m *machine, one, other *Index) { m.stop(one) }, oneTag},
		{"the other one stops", func(m *machine, one, other *Index) { m.stop(other) }, ""},
		{"the one that put it completes an epoch", func(m *machine, one, other *Index) { m.complete(one) }, oneTag},
		{"the other one completes an epoch", func(m *machine, one, other *Index) { m.complete(other) }, ""},
		{"the other one puts it again", func(m *machine, one, other *Index) {
			m.complete(one)
			other.Put(f, RecordOf(oneTag))
		}, ""},
		{"the one that put it is killed, and another one completes an epoch", func(m *machine, one, other *Index) {
			m.kill(one)
			third := m.open()
			m.complete(third)
			m.kill(third)
		}, oneTag},
		{"the one that put it is killed", func(m *machine, one, other *Index) { m.kill(one) }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t)
			one, other := m.open(), m.open()
			one.Put(f, RecordOf(oneTag))
			test.do(m, one, other)
			m.reboot(one, other)
			wantKnown(t, m.open(), f, test.want)
			m.wantSaid("the machine went down")
		})
	}
}

// Epochs ask no clock: a machine without one of its own gets the time when it has a network, and what was recorded a
// moment before looks hours old then.
func TestPowerFailsAfterTheClockHasStepped(t *testing.T) {
	for name, step := range map[string]time.Duration{"forward": 24 * time.Hour, "back": -24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			x := m.open()
			dates := m.dates(x)
			old, fresh := fingerprint(1), fingerprint(2)
			old.Changed = m.clock.Now().UnixNano()
			x.Put(old, RecordOf(oneTag))
			m.complete(x)
			fresh.Changed = m.clock.Now().UnixNano()
			x.Put(fresh, RecordOf(oneTag))
			m.clock.Advance(step) // in no time at all
			x.Tick()
			dates.Tick()
			m.reboot(x)
			x = m.open()
			wantKnown(t, x, old, oneTag)
			wantKnown(t, x, fresh, "")
		})
	}
}

// A file system whose disk hangs, or fails, completes nothing, and nothing waits for it.
func TestEpochIsNotCompletedWhereTheDiskFails(t *testing.T) {
	t.Run("hangs", func(t *testing.T) {
		m := newMachine(t)
		hangs, calls := make(chan struct{}), make(chan struct{}, 100)
		m.sync = func(string, uint64) error { calls <- struct{}{}; <-hangs; return nil }
		x := m.open()
		defer func() { close(hangs); x.home.Load().epochs.finished.Wait() }()
		f := fingerprint(1)
		x.Put(f, RecordOf(oneTag))
		for range 5 * syncEvery {
			x.Tick()
		}
		<-calls
		if len(calls) > 0 {
			t.Error("a second sync was begun before the first was through")
		}
		if err := x.Close(time.Millisecond); err != nil { // if it waits for the disk, it does not return
			t.Error(err)
		}
		m.reboot()
		wantKnown(t, m.open(), f, "")
	})
	t.Run("fails", func(t *testing.T) {
		m := newMachine(t)
		failure := errors.New("failure of the disk")
		m.sync = func(string, uint64) error { return failure }
		x := m.open()
		f := fingerprint(1)
		x.Put(f, RecordOf(oneTag))
		m.complete(x)
		m.wantSaid("failure of the disk")
		copied := m.copy()
		failure = nil
		m.complete(x)
		m.reboot(x)
		wantKnown(t, m.open(), f, oneTag) // it was tried again
		m.dir = copied
		wantKnown(t, m.open(), f, "")
	})
}

// copy copies the directory of an index, as it is on the disk at one moment, and returns where the copy is.
func (m *machine) copy() string {
	m.t.Helper()
	to := filepath.Join(m.t.TempDir(), "index")
	if err := os.CopyFS(to, os.DirFS(m.dir)); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Chmod(to, 0o700); err != nil {
		m.t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(to, "*"))
	for _, name := range names {
		err = errors.Join(err, os.Chmod(name, 0o600))
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return to
}

// What is recorded while the kernel writes belongs to the next epoch.
func TestRecordMadeDuringASync(t *testing.T) {
	m := newMachine(t)
	x := m.open()
	during := fingerprint(2)
	m.sync = func(string, uint64) error {
		x.Put(during, RecordOf(oneTag))
		return nil
	}
	x.Put(fingerprint(1), RecordOf(oneTag))
	m.complete(x)
	m.reboot(x)
	m.sync = nil
	x = m.open()
	wantKnown(t, x, fingerprint(1), oneTag)
	wantKnown(t, x, during, "")
}

// A process that records nothing does not have the disk written to.
func TestNothingIsSyncedWhereNothingWasRecorded(t *testing.T) {
	m := newMachine(t)
	syncs := 0
	m.sync = func(string, uint64) error { syncs++; return nil }
	x := m.open()
	m.complete(x)
	x.Put(fingerprint(1), synced(oneTag))
	m.complete(x)
	if syncs != 0 {
		t.Errorf("%d syncs, and nothing waits for one", syncs)
	}
	x.Put(fingerprint(2), RecordOf(oneTag))
	for range 5 {
		m.complete(x)
	}
	if syncs != 1 {
		t.Errorf("%d syncs for one record", syncs)
	}
}

// With the mount option lazytime the disk can have new bytes and old times, so nothing survives a power failure.
func TestPowerFailureWithLazyTimes(t *testing.T) {
	for _, when := range []string{"from the start", "since a moment ago"} {
		t.Run(when, func(t *testing.T) {
			m := newMachine(t)
			m.lazy = when == "from the start"
			f := fingerprint(1)
			x := m.open()
			x.Put(f, synced(oneTag))
			m.complete(x)
			m.lazy = true
			x.Tick()
			m.kill(x)
			x = m.open()
			wantKnown(t, x, f, oneTag) // the machine is up
			m.reboot(x)
			x = m.open()
			wantKnown(t, x, f, "")
			m.wantSaid("mounted with lazytime")
			x.Put(f, RecordOf(oneTag))
			m.stop(x)
			m.reboot()
			wantKnown(t, m.open(), f, oneTag) // a stop puts all on the disk
			m.wantSaid()
		})
	}
}

// The runs that a power failure has ended are remembered, but not without bound.
func TestManyPowerFailures(t *testing.T) {
	m := newMachine(t)
	x := m.open()
	first := x.home.Load().epochs.past
	for run := range uint32(3 * maxIncomplete) {
		first.incomplete[run+10] = run
	}
	first.last = 4 * maxIncomplete
	first.forgetOldest()
	if n := len(first.incomplete); n != maxIncomplete {
		t.Errorf("%d runs are remembered", n)
	}
	for _, test := range []struct {
		run, number uint32
		trusts      bool
	}{
		{0, 0, false},
		{5, 1, false},
		{2*maxIncomplete + 9, 0, false},
		{2*maxIncomplete + 10, 2 * maxIncomplete, true},
		{2*maxIncomplete + 10, 2*maxIncomplete + 1, false},
		{3*maxIncomplete + 10, 1 << 31, true},
	} {
		if got := first.trusts(test.run, test.number); got != test.trusts {
			t.Errorf("whether epoch %d of run %d is trusted: %v", test.number, test.run, got)
		}
	}
}

// The file of a run that cannot be read may be from before the machine went down.
func TestDamagedRun(t *testing.T) {
	for _, test := range []struct {
		name  string
		lives bool // its process does
		want  tree.ETag
		said  []string
	}{
		{"", false, "", []string{"cannot be read"}},
		{"?", false, "", []string{"cannot be read"}},
		{"?", true, oneTag, nil},
	} {
		t.Run(fmt.Sprintf("%q, alive: %v", test.name, test.lives), func(t *testing.T) {
			m := newMachine(t)
			x := m.open()
			f, safe := fingerprint(1), fingerprint(2)
			x.Put(f, RecordOf(oneTag))
			x.Put(safe, synced(oneTag))
			if err := os.WriteFile(filepath.Join(m.dir, x.home.Load().epochs.name), []byte(test.name),
				0o600); err != nil {
				t.Fatal(err)
			}
			if !test.lives {
				m.kill(x)
			}
			x = m.open()
			wantKnown(t, x, f, test.want)
			wantKnown(t, x, safe, oneTag)
			m.wantSaid(test.said...)
			m.stop(x)
			m.open()
			m.wantSaid() // once
		})
	}
}

// FuzzPast decodes what was never written: what it takes must be encoded the same again.
func FuzzPast(f *testing.F) {
	f.Add(encodePast(7, past{1, 2, 3, map[uint32]uint32{4: 5}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		id, p, ok := decodePast(data)
		if !ok {
			return
		}
		if p.incomplete = map[uint32]uint32(p.incomplete); len(p.incomplete) > 1 {
			return // in any order
		}
		again, then, ok := decodePast(encodePast(id, p))
		if !ok || again != id || fmt.Sprint(then) != fmt.Sprint(p) {
			t.Errorf("%q becomes %v, then %v", data, p, then)
		}
	})
}

func FuzzRunState(f *testing.F) {
	f.Add(runState{"boot", 3, true, false}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		dir, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		if err := dir.WriteFile("run-1", seal(data), 0o600); err != nil {
			t.Fatal(err)
		}
		state, err := readRun(dir, "run-1")
		if err != nil || !bytes.Contains(data, []byte("\n")) {
			return
		}
		if err := dir.WriteFile("run-1", state.encode(), 0o600); err != nil {
			t.Fatal(err)
		}
		if again, err := readRun(dir, "run-1"); err != nil || again != state {
			t.Errorf("%q becomes %+v, then %+v, %v", data, state, again, err)
		}
	})
}
