package index

import (
	"sync"
	"sync/atomic"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

func TestIndexKnowsExactVersions(t *testing.T) {
	indexes := map[string]*Index{"memory": Open(Options{Device: 1})}
	if BootID() != "" {
		indexes["disk"] = newMachine(t).open()
	}
	for where, x := range indexes {
		t.Run(where, func(t *testing.T) {
			f := fingerprint(7)
			wantKnown(t, x, f, "")
			x.Put(f, RecordOf(oneTag))
			wantKnown(t, x, f, oneTag)
			for _, change := range []func(*vfs.Fingerprint){
				// the kernel gives the device of what was unmounted to what is mounted next
				func(f *vfs.Fingerprint) { f.Mount++ },
				func(f *vfs.Fingerprint) { f.Device++ },
				func(f *vfs.Fingerprint) { f.Inode++ },
				func(f *vfs.Fingerprint) { f.Inode += inodesPerPage },
				func(f *vfs.Fingerprint) { f.Size++ },
				func(f *vfs.Fingerprint) { f.Born++ },
				func(f *vfs.Fingerprint) { f.Modified++ },
				func(f *vfs.Fingerprint) { f.Changed++ },
			} {
				other := f
				change(&other)
				if where == "disk" && other.Mount != f.Mount {
					continue // a volume on the disk has a name
				}
				wantKnown(t, x, other, "")
			}
			x.Put(f, RecordOf(otherTag))
			wantKnown(t, x, f, otherTag)
			elsewhere := f
			elsewhere.Device = 2
			x.Put(elsewhere, RecordOf(oneTag))
			wantKnown(t, x, elsewhere, oneTag)
			wantKnown(t, x, f, otherTag)
			unknowable := vfs.Fingerprint{Device: 1, Size: 2, Modified: 4}
			x.Put(unknowable, RecordOf(oneTag))
			wantKnown(t, x, unknowable, "")
		})
	}
}

// What is in memory is bounded. The disk has the rest.
func TestIndexHasMoreRecordsThanMemory(t *testing.T) {
	m := newMachine(t)
	x := m.open()
	x.hot = newCache[inodeKey, hot](100, nil)
	const n = 3000
	for inode := range uint64(n) {
		x.Put(fingerprint(inode+1), RecordOf(oneTag))
	}
	if got := x.hot.Len(); got > 128 {
		t.Errorf("%d records are in memory", got)
	}
	for inode := range uint64(n) {
		wantKnown(t, x, fingerprint(inode+1), oneTag)
	}
	x.Forget(fingerprint(1))
	wantKnown(t, x, fingerprint(1), "")
	x.Clear()
	wantKnown(t, x, fingerprint(2), "")
	m.wantSaid()
}

func TestIndexIsKeptOnDisk(t *testing.T) {
	m := newMachine(t)
	inodes := []uint64{1, 2, inodesPerPage - 1, inodesPerPage, 1 << 40, 1<<64 - 1}
	full := Record{Has: Synced | HasSHA1 | HasMD5, SHA256: [32]byte{1}, SHA1: [20]byte{2}, MD5: [16]byte{3},
		Dates: Evidence{7, 8}}
	x := m.open()
	for _, inode := range inodes {
		x.Put(fingerprint(inode), full)
	}
	elsewhere := fingerprint(9)
	elsewhere.Device = 2
	x.Put(elsewhere, full)
	all := func(x *Index) {
		t.Helper()
		for _, inode := range inodes {
			if r, ok := x.Lookup(fingerprint(inode)); !ok || r != full {
				t.Errorf("inode %d is known as %+v, %v", inode, r, ok)
			}
		}
		wantKnown(t, x, elsewhere, "")
	}
	second := m.open() // at the same time
	all(second)
	if n := x.Processes(); n != 2 {
		t.Errorf("%d processes use it", n)
	}
	m.kill(x)
	third := m.open()
	all(third)
	m.stop(second)
	m.wantSaid()
	m.reboot(third)
	all(m.open())
	m.wantSaid("the machine went down") // the killed ones
	all(m.open())
}

// A record that was found to be wrong is not believed by another process from its memory.
func TestCorrectedRecordIsForgottenByAllProcesses(t *testing.T) {
	m := newMachine(t)
	one, other := m.open(), m.open()
	f := fingerprint(1)
	one.Put(f, RecordOf(oneTag))
	wantKnown(t, other, f, oneTag)
	one.Forget(f)
	wantKnown(t, one, f, "")
	other.Tick()
	wantKnown(t, other, f, "")
	m.wantSaid()
}

// TestIndexOfWhatIsMountedBelow: it is known again by the name of its file system, whatever device that is then.
func TestIndexOfWhatIsMountedBelow(t *testing.T) {
	m := newMachine(t)
	const device, later = 2, 3
	on := func(device uint64, f vfs.Fingerprint) vfs.Fingerprint {
		f.Device = device
		return f
	}
	old, fresh, safe := fingerprint(1), fingerprint(2), fingerprint(3)
	other := fingerprint(1) // of the root, with the number of old
	other.Changed++
	var synced2 atomic.Bool
	m.sync = func(dir string, device uint64) error {
		if dir == "mnt" && (device == 2 || device == 3) {
			synced2.Store(true)
		}
		return nil
	}
	x := m.open()
	lasting := vfs.Volume{Name: "a", Numbered: true}
	if x.Knows(device) || x.Persists(device) {
		t.Error("it knows of a volume that nothing was said of")
	}
	x.Mounted(device, lasting, true, "mnt")
	if !x.Knows(device) || !x.Persists(device) {
		t.Error("it does not know of a volume")
	}
	x.Put(on(device, old), RecordOf(oneTag))
	m.complete(x)
	if !synced2.Load() {
		t.Error("the volume was not synced")
	}
	x.Put(on(device, fresh), RecordOf(oneTag))
	x.Put(on(device, safe), synced(oneTag))
	x.Put(other, RecordOf(otherTag))
	for _, f := range []vfs.Fingerprint{old, fresh, safe} {
		wantKnown(t, x, on(device, f), oneTag)
	}
	m.kill(x)

	x = m.open()
	wantKnown(t, x, on(later, old), "")
	x.Mounted(later, lasting, true, "mnt")
	wantKnown(t, x, on(later, old), oneTag)
	wantKnown(t, x, on(later, safe), oneTag)
	wantKnown(t, x, on(later, fresh), "") // its disk may have been pulled out before it was written
	x.Put(on(later, fresh), RecordOf(oneTag))
	wantKnown(t, x, on(later, fresh), oneTag)
	m.stop(x)

	x = m.open()
	x.Mounted(later, lasting, true, "mnt")
	wantKnown(t, x, on(later, fresh), oneTag)
	wantKnown(t, x, other, otherTag)
	x.Forget(on(later, old))
	wantKnown(t, x, on(later, old), "")
	x.hot.Clear()
	for _, v := range []vfs.Volume{{Name: "b", Numbered: true}, {Numbered: true}, {Name: "a"}, {}} {
		x.Mounted(later, v, true, "mnt")
		wantKnown(t, x, on(later, safe), "")
	}
	x.Mounted(device, vfs.Volume{Name: "a"}, true, "mnt") // it does not number its inodes
	x.Put(on(device, old), RecordOf(oneTag))
	wantKnown(t, x, on(device, old), oneTag)
	m.stop(x)
	x = m.open()
	x.Mounted(device, lasting, true, "mnt")
	wantKnown(t, x, on(device, old), "")
	m.wantSaid()
}

// A volume that cannot be synced keeps what waits, and is tried again.
func TestVolumeBelowIsSyncedAgain(t *testing.T) {
	m := newMachine(t)
	fails := true
	m.sync = func(dir string, device uint64) error {
		if fails && device == 2 {
			return vfs.ErrBusy
		}
		return nil
	}
	f := fingerprint(1)
	f.Device = 2
	x := m.open()
	x.Mounted(2, vfs.Volume{Name: "a", Numbered: true}, true, "mnt")
	x.Put(f, RecordOf(oneTag))
	m.complete(x)
	second := m.open()
	second.Mounted(2, vfs.Volume{Name: "a", Numbered: true}, true, "mnt")
	wantKnown(t, second, f, "")
	fails = false
	m.complete(x)
	wantKnown(t, second, f, oneTag)
}

// TestIndexOfWhatIsOnTheSameMount: it stays and goes with the root, and is trusted as that is.
func TestIndexOfWhatIsOnTheSameMount(t *testing.T) {
	m := newMachine(t)
	part := vfs.Volume{Name: "a", Numbered: true}
	old, fresh := fingerprint(1), fingerprint(2)
	old.Device, fresh.Device = 2, 2
	x := m.open()
	x.Mounted(2, part, false, "sub")
	x.Put(old, RecordOf(oneTag))
	m.complete(x)
	x.Put(fresh, RecordOf(oneTag))
	m.kill(x)

	x = m.open()
	x.Mounted(2, part, false, "sub")
	wantKnown(t, x, old, oneTag)
	wantKnown(t, x, fresh, oneTag)

	m.reboot(x)
	x = m.open()
	m.wantSaid("the machine went down")
	x.Mounted(2, part, false, "sub")
	wantKnown(t, x, old, oneTag)
	wantKnown(t, x, fresh, "")
}

// TestIndexOfWhatIsNotNumbered: where a number of an inode can be another file's after the next mount, nothing is
// known then.
func TestIndexOfWhatIsNotNumbered(t *testing.T) {
	m := newMachine(t)
	m.root = vfs.Volume{}
	f := fingerprint(1)
	for range 2 {
		x := m.open()
		m.wantSaid("computed anew after each start")
		wantKnown(t, x, f, "")
		x.Put(f, RecordOf(oneTag))
		wantKnown(t, x, f, oneTag)
		m.stop(x)
	}
	m.root.Numbered = true
	wantKnown(t, m.open(), f, "")
}

// TestManyPages has more open files than there may be at once.
func TestManyPages(t *testing.T) {
	m := newMachine(t)
	x := m.open()
	var group sync.WaitGroup
	for part := range uint64(4) {
		group.Go(func() {
			for i := range uint64(maxOpenPages) {
				f := fingerprint((part*maxOpenPages+i)*inodesPerPage + 1)
				x.Put(f, RecordOf(oneTag))
				wantKnown(t, x, f, oneTag)
			}
		})
	}
	group.Wait()
	if n := x.home.Load().pages.open.Len(); n != maxOpenPages {
		t.Errorf("%d pages are open", n)
	}
	x.hot.Clear()
	for i := range uint64(4 * maxOpenPages) {
		wantKnown(t, x, fingerprint(i*inodesPerPage+1), oneTag)
	}
	m.wantSaid()
}

// TestPlain: that a version has no properties is known of that version alone, and until its record is another one.
func TestPlain(t *testing.T) {
	x := Open(Options{Report: func(err error) { t.Error(err) }})
	f := vfs.Fingerprint{Device: 1, Inode: 2, Changed: 3}
	later := f
	later.Changed++
	x.SetPlain(f)
	if x.Plain(f) {
		t.Error("a version without a record is known to be plain")
	}
	x.Put(f, RecordOf(oneTag))
	x.SetPlain(later)
	if x.Plain(f) || x.Plain(later) {
		t.Error("a version is known to be plain of which nobody said so")
	}
	x.SetPlain(f)
	if !x.Plain(f) || x.Plain(later) {
		t.Errorf("Plain returned %v, and of a later version %v", x.Plain(f), x.Plain(later))
	}
	r, _ := x.Lookup(f)
	x.Put(later, r) // what was known of the inode is carried on
	if x.Plain(later) || x.Plain(f) {
		t.Error("a new record is known to be plain")
	}
}

// TestHashThatEndsLate: a commit has renamed the file since, and its record stays. The record of a version that no
// commit has recorded meanwhile is kept.
func TestHashThatEndsLate(t *testing.T) {
	for _, tt := range []struct {
		about  string
		before func(x *Index, old, next vfs.Fingerprint) // the mark
		during func(x *Index, old, next vfs.Fingerprint) // the hash
		late   bool                                      // the old version stays unknown
	}{
		{about: "no record", late: false},
		{about: "a commit", late: true,
			during: func(x *Index, _, next vfs.Fingerprint) { x.Put(next, RecordOf(otherTag)) }},
		{about: "a commit before the hash",
			before: func(x *Index, _, next vfs.Fingerprint) { x.Put(next, RecordOf(otherTag)) }},
		{about: "a commit of a known version", late: true,
			before: func(x *Index, old, _ vfs.Fingerprint) { x.Put(old, RecordOf(oneTag)) },
			during: func(x *Index, _, next vfs.Fingerprint) { x.Put(next, RecordOf(otherTag)) }},
	} {
		t.Run(tt.about, func(t *testing.T) {
			x := Open(Options{Device: 1})
			old := fingerprint(7)
			next := old
			next.Changed++
			if tt.before != nil {
				tt.before(x, old, next)
			}
			mark := x.Mark(old, false)
			if tt.during != nil {
				tt.during(x, old, next)
			}
			x.Learn(old, RecordOf(oneTag), mark)
			if tt.late {
				wantKnown(t, x, old, "")
				wantKnown(t, x, next, otherTag)
			} else {
				wantKnown(t, x, old, oneTag)
			}
		})
	}
}

// TestWhatIsLearnedTakesNothingAway: the record of a commit has evidence and hashes that a later hash does not find.
func TestWhatIsLearnedTakesNothingAway(t *testing.T) {
	m := newMachine(t)
	x := m.open()
	f := fingerprint(7)
	full := RecordOf(oneTag)
	full.Has, full.SHA1, full.Dates = Synced|HasSHA1, [20]byte{2}, Evidence{7, 8}
	x.Put(f, full)
	for _, where := range []string{"memory", "disk"} {
		if where == "disk" {
			x.hot.Clear()
		}
		x.Learn(f, RecordOf(oneTag), x.Mark(f, false))
		if r, ok := x.Lookup(f); !ok || r != full {
			t.Errorf("in %s, the record is %+v, %v; want %+v", where, r, ok, full)
		}
	}
	x.Extend(f, func(r *Record) bool { r.Has |= HasMD5; return true })
	full.Has |= HasMD5
	if r, _ := x.Lookup(f); r != full {
		t.Errorf("the extended record is %+v, want %+v", r, full)
	}
	x.Extend(fingerprint(8), func(*Record) bool { t.Error("a record that is not there is extended"); return true })
	m.wantSaid()
}
