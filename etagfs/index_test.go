package etagfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ifmatch/fs"
	"ifmatch/tree"
	"ifmatch/tree/treetest"
)

func fingerprint(inode uint64) fs.Fingerprint {
	return fs.Fingerprint{Device: 1, Inode: inode, Size: 2, Born: 3, Modified: 4, Changed: 5}
}

// A machine is what an index lives on: it has a clock, boots, and fails.
type machine struct {
	t     *testing.T
	dir   string
	boot  string
	root  fs.Volume
	clock *treetest.Clock
	mu    sync.Mutex
	said  []string // reports
}

func newMachine(t *testing.T) *machine {
	if bootID() == "" {
		const why = "nothing here tells one boot from the next, so nothing is kept on disk"
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return &machine{t: t, dir: filepath.Join(t.TempDir(), "index"), boot: "boot-1", root: fs.Volume{Numbered: true}, clock: treetest.NewClock()}
}

// open opens the index as a process does. What it opens is closed in the end as one that is killed.
func (m *machine) open() *index {
	m.t.Helper()
	var heir fs.ID
	if above, err := os.Stat(filepath.Dir(m.dir)); err == nil {
		heir, _ = fs.OwnerOf(above)
	}
	opts := indexOptions{dir: m.dir, device: 1, volume: m.root, heir: heir, boot: m.boot, now: m.clock.Now}
	opts.report = func(err error) {
		m.t.Log(err)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.said = append(m.said, err.Error())
	}
	x := openIndex(opts)
	m.t.Cleanup(func() { m.kill(x) })
	return x
}

func (m *machine) kill(x *index) {
	x.pages.Purge()
	if x.boots == nil {
		return // in memory
	}
	x.boots.session.Close()
	x.boots.dir.Close()
}

func (m *machine) stop(x *index) {
	m.t.Helper()
	if err := x.close(true); err != nil {
		m.t.Error(err)
	}
}

func (m *machine) wantSaid(want ...string) {
	m.t.Helper()
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

// changed is a file that was last changed some time ago.
func (m *machine) changed(inode uint64, ago time.Duration) fs.Fingerprint {
	f := fingerprint(inode)
	f.Changed = m.clock.Now().Add(-ago).UnixNano()
	return f
}

func wantKnown(t *testing.T, x *index, f fs.Fingerprint, want tree.ETag) {
	t.Helper()
	if tag, ok := x.get(f); tag != want || ok != (want != "") {
		t.Errorf("inode %d is known as %q, want %q", f.Inode, tag, want)
	}
}

var (
	oneTag   = tree.TagOf(sha256.Sum256([]byte("one")))
	otherTag = tree.TagOf(sha256.Sum256([]byte("other")))
)

func TestIndexKnowsExactVersions(t *testing.T) {
	inMemory := openIndex(indexOptions{device: 1})
	indexes := map[string]*index{"memory": inMemory}
	if bootID() != "" {
		indexes["disk"] = newMachine(t).open()
	}
	for where, x := range indexes {
		t.Run(where, func(t *testing.T) {
			f := fingerprint(7)
			wantKnown(t, x, f, "")
			x.put(f, knownBy(oneTag))
			wantKnown(t, x, f, oneTag)
			for _, change := range []func(*fs.Fingerprint){
				func(f *fs.Fingerprint) { f.Device++ },
				func(f *fs.Fingerprint) { f.Inode++ },
				func(f *fs.Fingerprint) { f.Inode += inodesPerPage },
				func(f *fs.Fingerprint) { f.Size++ },
				func(f *fs.Fingerprint) { f.Born++ },
				func(f *fs.Fingerprint) { f.Modified++ },
				func(f *fs.Fingerprint) { f.Changed++ },
			} {
				other := f
				change(&other)
				wantKnown(t, x, other, "")
			}
			if where == "memory" { // the kernel gives the device of what was unmounted to what is mounted next
				other := f
				other.Mount++
				wantKnown(t, x, other, "")
			}
			x.put(f, knownBy(otherTag))
			wantKnown(t, x, f, otherTag)
			elsewhere := f
			elsewhere.Device = 2
			x.put(elsewhere, knownBy(oneTag))
			wantKnown(t, x, elsewhere, oneTag)
			wantKnown(t, x, f, otherTag)
			unknowable := fs.Fingerprint{Device: 1, Size: 2, Modified: 4}
			x.put(unknowable, knownBy(oneTag))
			wantKnown(t, x, unknowable, "")
		})
	}
}

func TestIndexIsKeptOnDisk(t *testing.T) {
	m := newMachine(t)
	inodes := []uint64{1, 2, inodesPerPage - 1, inodesPerPage, 1 << 40, 1<<64 - 1}
	full := known{flags: knowsSHA1 | knowsMD5, sha256: [32]byte{1}, sha1: [20]byte{2}, md5: [16]byte{3}}
	x := m.open()
	for _, inode := range inodes {
		x.put(fingerprint(inode), full)
	}
	elsewhere := fingerprint(9)
	elsewhere.Device = 2
	x.put(elsewhere, full)
	both := func(x *index) {
		t.Helper()
		for _, inode := range inodes {
			if k, ok := x.known(fingerprint(inode)); !ok || k != full {
				t.Errorf("inode %d is known as %+v, %v", inode, k, ok)
			}
		}
		wantKnown(t, x, elsewhere, "")
	}
	second := m.open() // at the same time
	both(second)
	m.kill(x)
	both(m.open())
	m.stop(m.open())
	m.boot = "boot-2"
	m.stop(second)
	m.said = nil
	both(m.open())
	m.wantSaid("the machine went down") // the killed ones
	both(m.open())
}

// TestIndexOfWhatIsMountedBelow: it is known again by the name of its file system, whatever device that is then.
func TestIndexOfWhatIsMountedBelow(t *testing.T) {
	m := newMachine(t)
	const device, later = 2, 3
	on := func(device uint64, f fs.Fingerprint) fs.Fingerprint {
		f.Device = device
		return f
	}
	old, fresh, synced := m.changed(1, time.Hour), m.changed(2, time.Second), m.changed(3, time.Second)
	other := m.changed(1, 2*time.Hour) // of another file system, with the number of old
	k := knownBy(oneTag)
	k.flags |= isSynced
	put := func(x *index) {
		for _, f := range []fs.Fingerprint{old, fresh} {
			x.put(on(device, f), knownBy(oneTag))
			wantKnown(t, x, on(device, f), oneTag)
		}
		x.put(on(device, synced), k)
		wantKnown(t, x, on(device, synced), oneTag)
		x.put(other, knownBy(otherTag))
	}
	x := m.open()
	lasting := fs.Volume{Name: "a", Numbered: true}
	x.meet(device, lasting, true)
	put(x)
	m.stop(x)

	x = m.open()
	wantKnown(t, x, on(later, old), "")
	x.meet(later, lasting, true)
	wantKnown(t, x, on(later, old), oneTag)
	wantKnown(t, x, on(later, synced), oneTag)
	wantKnown(t, x, on(later, fresh), "") // its disk may have been pulled out before it was written
	x.put(on(later, fresh), knownBy(oneTag))
	m.clock.Advance(written)
	wantKnown(t, x, on(later, fresh), oneTag)
	m.stop(x)

	x = m.open()
	x.meet(later, lasting, true)
	wantKnown(t, x, on(later, fresh), oneTag)
	wantKnown(t, x, other, otherTag)
	x.forget(on(later, old))
	wantKnown(t, x, on(later, old), "")

	for _, v := range []fs.Volume{{Name: "b", Numbered: true}, {Numbered: true}, {Name: "a"}, {}} {
		x.meet(later, v, true)
		wantKnown(t, x, on(later, synced), "")
	}
	x.meet(device, fs.Volume{Name: "a"}, true)
	put(x)
	wantKnown(t, x, other, otherTag)
	m.stop(x)
	x = m.open()
	x.meet(device, lasting, true)
	wantKnown(t, x, on(device, old), "")
	m.wantSaid()
}

// TestIndexOfWhatIsOnTheSameMount: it stays and goes with the root, and is trusted as that is.
func TestIndexOfWhatIsOnTheSameMount(t *testing.T) {
	m := newMachine(t)
	part := fs.Volume{Name: "a", Numbered: true}
	old, fresh := m.changed(1, time.Hour), m.changed(2, time.Second)
	old.Device, fresh.Device = 2, 2
	x := m.open()
	x.meet(2, part, false)
	for _, f := range []fs.Fingerprint{old, fresh} {
		x.put(f, knownBy(oneTag))
	}
	m.kill(x)

	x = m.open()
	x.meet(2, part, false)
	wantKnown(t, x, old, oneTag)
	wantKnown(t, x, fresh, oneTag)
	m.kill(x)

	m.boot = "boot-2"
	x = m.open()
	m.wantSaid("the machine went down")
	x.meet(2, part, false)
	wantKnown(t, x, old, oneTag)
	wantKnown(t, x, fresh, "")
}

// TestIndexOfWhatIsNotNumbered: where a number of an inode can be another file's after the next mount, nothing is known then.
func TestIndexOfWhatIsNotNumbered(t *testing.T) {
	m := newMachine(t)
	m.root = fs.Volume{}
	f := m.changed(1, time.Hour)
	for range 2 {
		x := m.open()
		m.wantSaid("computed anew after each start")
		wantKnown(t, x, f, "")
		x.put(f, knownBy(oneTag))
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
				x.put(f, knownBy(oneTag))
				wantKnown(t, x, f, oneTag)
			}
		})
	}
	group.Wait()
	if n := x.pages.Len(); n != maxOpenPages {
		t.Errorf("%d pages are open", n)
	}
	for i := range uint64(4 * maxOpenPages) {
		wantKnown(t, x, fingerprint(i*inodesPerPage+1), oneTag)
	}
	m.wantSaid()
}

// A clock that is put right, as at each start of a machine that has none of its own, says nothing of how long the disk has had
// to write: what was recorded a moment before the power fails looks an hour old.
func TestPowerFailsAfterTheClockHasStepped(t *testing.T) {
	treetest.KnownFault(t, "the index has epochs, and asks no clock what is on the disk", func() error {
		m := newMachine(t)
		x := m.open()
		fresh := m.changed(1, time.Second) // by the wrong clock
		x.put(fresh, knownBy(oneTag))
		m.clock.Advance(time.Hour) // in no time at all
		x.beat()
		m.kill(x)
		m.boot = "boot-2"
		x = m.open()
		if _, trusted := x.get(fresh); trusted {
			return errors.New("a tag is believed whose bytes may never have reached the disk")
		}
		return nil
	})
}

// TestPowerFailure says what is still trusted after a machine went down.
func TestPowerFailure(t *testing.T) {
	m := newMachine(t)
	old, fresh, synced := m.changed(1, time.Hour), m.changed(2, time.Second), m.changed(3, time.Second)
	putAll := func(x *index) {
		for _, f := range []fs.Fingerprint{old, fresh} {
			x.put(f, knownBy(oneTag))
		}
		k := knownBy(oneTag)
		k.flags |= isSynced
		x.put(synced, k)
	}
	x := m.open()
	putAll(x)
	wantKnown(t, x, fresh, oneTag)

	// The process dies, the machine does not.
	m.kill(x)
	x = m.open()
	wantKnown(t, x, fresh, oneTag)
	m.wantSaid()

	m.kill(x)
	m.boot = "boot-2"
	x = m.open()
	m.wantSaid("files that changed after " + m.clock.Now().Add(-time.Minute).Format(time.RFC3339))
	wantKnown(t, x, old, oneTag)
	wantKnown(t, x, synced, oneTag)
	wantKnown(t, x, fresh, "")
	x.put(fresh, knownBy(otherTag)) // hashed anew
	wantKnown(t, x, fresh, otherTag)
	m.stop(x)

	// After a clean stop, everything stays known.
	m.boot = "boot-3"
	x = m.open()
	m.wantSaid()
	wantKnown(t, x, fresh, otherTag)

	// A minute and a heartbeat later, the disk has it.
	m.clock.Advance(written + heartbeat)
	x.beat()
	m.kill(x)
	m.boot = "boot-4"
	x = m.open()
	m.wantSaid("the machine went down")
	wantKnown(t, x, fresh, otherTag)

	// One of two processes has stopped well, the other was running.
	second := m.open()
	fresh = m.changed(2, time.Second)
	x.put(fresh, knownBy(oneTag))
	m.stop(x)
	m.kill(second)
	m.boot = "boot-5"
	x = m.open()
	wantKnown(t, x, fresh, "")
	wantKnown(t, x, old, oneTag)
}

// TestHeartbeatRests: who has nothing to say does not wake the disk.
func TestHeartbeatRests(t *testing.T) {
	m := newMachine(t)
	x := m.open()
	beats := func() (n int) {
		for range 20 {
			before := x.boots.beaten
			m.clock.Advance(heartbeat)
			x.beat()
			if x.boots.beaten != before {
				n++
			}
		}
		return n
	}
	beats()
	if n := beats(); n != 0 {
		t.Errorf("%d beats, and nothing was recorded", n)
	}
	x.put(m.changed(1, time.Hour), knownBy(oneTag))
	if n := beats(); n < 2 || n > 4 {
		t.Errorf("%d beats after one record", n)
	}
}

// TestClockSetBack: a time of change before the last heartbeat proves nothing when the clock was set back since.
func TestClockSetBack(t *testing.T) {
	m := newMachine(t)
	x := m.open()
	m.clock.Advance(-time.Hour)
	f := m.changed(1, 0)
	x.put(f, knownBy(oneTag))
	wantKnown(t, x, f, "")
	x.beat()
	x.put(f, knownBy(oneTag))
	wantKnown(t, x, f, oneTag)
	m.kill(x)
	m.boot = "boot-2"
	wantKnown(t, m.open(), f, "")
}

// inPlaceOf puts something else in the place of a file of an index: a dir with something in it, a pipe, a file, or a link.
func inPlaceOf(name, kind string) func(m *machine) error {
	return func(m *machine) error {
		path, then := filepath.Join(m.dir, name), m.clock.Now().Add(-time.Second)
		err := os.RemoveAll(path)
		switch kind {
		case "dir":
			return errors.Join(err, os.MkdirAll(filepath.Join(path, "d"), 0o700), os.Chtimes(path, then, then))
		case "pipe":
			return errors.Join(err, mkfifo(path), os.Chtimes(path, then, then))
		case "file":
			return errors.Join(err, os.WriteFile(path, []byte("text"), 0o600))
		case "link":
			return errors.Join(err, os.Symlink("../elsewhere", path))
		}
		panic(kind)
	}
}

// TestIndexMayBeDamaged does to the files of an index what can happen to files.
func TestIndexMayBeDamaged(t *testing.T) {
	f, g := fingerprint(1), fingerprint(2*inodesPerPage)
	page, noFile := pagePrefix+"0", errNoFile.Error()
	edit := func(name string, change func(data []byte) []byte) func(m *machine) error {
		return func(m *machine) error {
			file := filepath.Join(m.dir, name)
			data, err := os.ReadFile(file)
			if err == nil {
				err = os.WriteFile(file, change(data), 0o600)
			}
			return err
		}
	}
	flip := func(at int) func([]byte) []byte {
		return func(data []byte) []byte { data[at] ^= 1; return data }
	}
	begun, unread := "begun anew", "a session of the index cannot be read"
	again := map[string]bool{"damaged": true, noFile: true} // until something is written there
	for _, test := range []struct {
		name string
		harm func(m *machine) error
		f, g tree.ETag // what is still known
		said []string
	}{
		{"a page is removed", func(m *machine) error { return os.Remove(filepath.Join(m.dir, page)) }, "", oneTag, nil},
		{"a page is emptied", edit(page, func([]byte) []byte { return nil }), "", oneTag, nil},
		{"a page is cut", edit(page, func(data []byte) []byte { return data[:len(data)-1] }), "", oneTag, []string{"damaged"}},
		{"a bit flips in a tag", edit(page, flip(recordSize+50)), "", oneTag, []string{"damaged"}},
		{"a bit flips in a checksum", edit(page, flip(recordSize)), "", oneTag, []string{"damaged"}},
		{"a page has the name of another", func(m *machine) error {
			return os.Rename(filepath.Join(m.dir, page), filepath.Join(m.dir, pagePrefix+"2"))
		}, "", "", nil},
		{"a page is a directory", func(m *machine) error {
			file := filepath.Join(m.dir, page)
			return errors.Join(os.Remove(file), os.Mkdir(file, 0o700))
		}, "", oneTag, []string{noFile}},
		{"the generations are removed", func(m *machine) error { return os.Remove(filepath.Join(m.dir, bootsName)) }, "", "", []string{begun}},
		{"the generations are cut", edit(bootsName, func(data []byte) []byte { return data[:len(data)-3] }), "", "", []string{begun}},
		{"a bit flips in a generation", edit(bootsName, flip(len(bootsMagic))), "", "", []string{begun}},
		{"another version wrote it", func(m *machine) error {
			return os.WriteFile(filepath.Join(m.dir, bootsName), seal([]byte("ifmatch index 9\n")), 0o600)
		}, "", "", []string{begun}},
		{"the first version wrote it", func(m *machine) error {
			return errors.Join(os.RemoveAll(m.dir), os.Mkdir(m.dir, 0o700), os.WriteFile(filepath.Join(m.dir, "3f"), []byte("ifmatch index 1\n"), 0o600))
		}, "", "", []string{begun}},
		{"the generations are a directory", inPlaceOf(bootsName, "dir"), "", "", []string{begun}},
		{"the generations are a pipe", inPlaceOf(bootsName, "pipe"), "", "", []string{begun}},
		{"the generations are a link", inPlaceOf(bootsName, "link"), "", "", []string{begun}},
		{"the lock is a directory", inPlaceOf(bootsLockName, "dir"), oneTag, oneTag, nil},
		{"the lock is a pipe", inPlaceOf(bootsLockName, "pipe"), oneTag, oneTag, nil},
		{"the lock is a link", inPlaceOf(bootsLockName, "link"), oneTag, oneTag, nil},
		{"a page is a pipe", inPlaceOf(page, "pipe"), "", oneTag, []string{noFile}},
		{"a session is a directory", inPlaceOf(sessionPrefix+"x", "dir"), oneTag, oneTag, []string{unread}},
		{"a session is a pipe", inPlaceOf(sessionPrefix+"x", "pipe"), oneTag, oneTag, []string{unread}},
		{"it is a file", inPlaceOf(".", "file"), "", "", []string{"was no directory, and is begun anew"}},
		{"it is a pipe", inPlaceOf(".", "pipe"), "", "", []string{"was no directory, and is begun anew"}},
		{"all is removed", func(m *machine) error { return os.RemoveAll(m.dir) }, "", "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t)
			x := m.open()
			for _, f := range []fs.Fingerprint{f, g} {
				x.put(f, knownBy(oneTag))
			}
			m.stop(x)
			if err := test.harm(m); err != nil {
				t.Fatal(err)
			}
			for range 2 { // said once
				x = m.open()
				wantKnown(t, x, f, test.f)
				wantKnown(t, x, f, test.f)
				wantKnown(t, x, g, test.g)
				m.stop(x)
				m.wantSaid(test.said...)
				if len(test.said) > 0 && !again[test.said[0]] {
					test.said = nil
				}
			}
		})
	}
}

// A session that cannot be read was written to when the machine was up; that is all it tells.
func TestDamagedSession(t *testing.T) {
	const may = "may be from before the machine went down: "
	for _, test := range []struct {
		name    string
		session string
		age     time.Duration // of its last modification
		lives   bool          // its process does
		other   time.Duration // how long ago another process died with the machine; 0: none did
		old     tree.ETag     // of what changed an hour before
		fresh   tree.ETag     // of what changed a minute and a half before
		said    string
	}{
		{name: "empty", age: 10 * time.Second, old: oneTag, fresh: oneTag, said: may + "files that changed after"},
		{name: "garbage", session: "?", age: 10 * time.Second, old: oneTag, fresh: oneTag, said: may + "files that changed after"},
		{name: "long ago", age: 10 * time.Minute, old: oneTag, said: may + "files that changed after"},
		{name: "in the future", age: -time.Minute, said: may + "all files are hashed again"},
		{name: "of a process that lives", lives: true, old: oneTag, fresh: oneTag},
		{name: "beside one that can be read", age: 2 * time.Hour, other: time.Second, said: "the machine went down"},
		{name: "beside one that is older", age: time.Second, other: 10 * time.Minute, old: oneTag, said: "the machine went down"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t)
			x := m.open()
			old, fresh := m.changed(1, time.Hour), m.changed(2, 90*time.Second)
			x.put(old, knownBy(oneTag))
			x.put(fresh, knownBy(oneTag))
			if test.other != 0 {
				other := encodeSession("boot-0", m.clock.Now().Add(-test.other))
				if err := os.WriteFile(filepath.Join(m.dir, sessionPrefix+"other"), other, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			session, then := filepath.Join(m.dir, x.boots.name), m.clock.Now().Add(-test.age)
			if err := errors.Join(os.WriteFile(session, []byte(test.session), 0o600), os.Chtimes(session, then, then)); err != nil {
				t.Fatal(err)
			}
			if !test.lives {
				m.kill(x)
			}
			x = m.open()
			wantKnown(t, x, old, test.old)
			wantKnown(t, x, fresh, test.fresh)
			if test.said == "" {
				m.wantSaid()
			} else {
				m.wantSaid(test.said)
			}
			m.stop(x)
			m.open()
			m.wantSaid() // once
		})
	}
}

// An index that is deleted under a process is begun anew with the next beat, and others find what is in it then.
func TestIndexIsDeletedWhileItIsUsed(t *testing.T) {
	const anew = "was deleted while it was in use, and is begun anew"
	remove := func(names ...string) func(m *machine, x *index) error {
		return func(m *machine, x *index) (err error) {
			for _, name := range names {
				err = errors.Join(err, os.RemoveAll(filepath.Join(m.dir, name)))
			}
			return err
		}
	}
	for _, test := range []struct {
		name string
		harm func(m *machine, x *index) error
		is   tree.ETag // what is known afterwards of what was known before
		said []string
	}{
		{"the directory", remove(""), "", []string{anew}},
		{"what is in it", func(m *machine, x *index) error {
			names, err := os.ReadDir(m.dir)
			for _, name := range names {
				err = errors.Join(err, os.Remove(filepath.Join(m.dir, name.Name())))
			}
			return err
		}, "", []string{anew}},
		{"the session", func(m *machine, x *index) error { return os.Remove(filepath.Join(m.dir, x.boots.name)) }, oneTag, []string{anew}},
		{"the generations", remove(bootsName), "", []string{anew}},
		{"a page", remove(pagePrefix + "0"), "", nil},
		{"and made by another process", func(m *machine, x *index) error {
			err := os.RemoveAll(m.dir)
			m.open()
			return err
		}, "", []string{anew}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t)
			x := m.open()
			f, g, fresh := m.changed(1, time.Hour), m.changed(2*inodesPerPage, time.Hour), m.changed(3, 0)
			x.put(f, knownBy(oneTag))
			if err := test.harm(m, x); err != nil {
				t.Fatal(err)
			}
			m.said = nil
			m.clock.Advance(heartbeat)

			// Nobody stands still meanwhile.
			stop := make(chan struct{})
			var others sync.WaitGroup
			for n := range uint64(4) {
				others.Go(func() {
					of := m.changed(100+n*inodesPerPage, time.Hour)
					for {
						x.put(of, knownBy(oneTag))
						if tag, ok := x.get(of); ok && tag != oneTag {
							t.Errorf("it is known as %q", tag)
						}
						select {
						case <-stop:
							return
						default:
						}
					}
				})
			}
			x.beat()
			close(stop)
			others.Wait()
			var said []string
			for _, line := range m.said {
				if !strings.Contains(line, "writing the index") { // in a directory that was not there
					said = append(said, line)
				}
			}
			m.said = said
			m.wantSaid(test.said...)

			wantKnown(t, x, f, test.is)
			for _, f := range []fs.Fingerprint{f, g, fresh} {
				x.put(f, knownBy(otherTag))
			}
			x.beat()
			second := m.open()
			for _, f := range []fs.Fingerprint{f, g, fresh} {
				wantKnown(t, x, f, otherTag)
				wantKnown(t, second, f, otherTag)
			}
			m.wantSaid()

			// It answers for what it records, as it did before.
			m.kill(second)
			m.kill(x)
			m.boot = "boot-2"
			x = m.open()
			m.wantSaid("the machine went down")
			wantKnown(t, x, g, otherTag)
			wantKnown(t, x, fresh, "")
			m.stop(x)
		})
	}
}

// Where it cannot be begun anew, memory has to do.
func TestIndexIsDeletedWithWhatItIsIn(t *testing.T) {
	m := newMachine(t)
	m.dir = filepath.Join(m.dir, "index")
	x := m.open()
	notes := m.notes(x)
	x.put(fingerprint(1), knownBy(oneTag))
	set(t, notes, 1, 10, 9)
	if err := os.RemoveAll(filepath.Dir(m.dir)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if x.beat() {
			t.Error("it is begun anew")
		}
		notes.renew(x)
	}
	m.wantSaid("cannot be begun anew: ETags are kept in memory only")
	wantNote(t, notes, 1, 10, 9)
	f := fingerprint(inodesPerPage)
	wantKnown(t, x, f, "")
	x.put(f, knownBy(oneTag))
	wantKnown(t, x, f, oneTag)
	if _, err := os.Stat(filepath.Dir(m.dir)); !os.IsNotExist(err) {
		t.Errorf("it was made anew: %v", err)
	}
	m.stop(x)
	m.wantSaid()
}

// FuzzRecord decodes what nobody wrote: what it takes must be encoded the same again.
func FuzzRecord(f *testing.F) {
	f.Add(record{of: fingerprint(1), known: knownBy(oneTag), generation: 7}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == recordSize { // a checksum that is right, so that there is something behind it to look at
			binary.LittleEndian.PutUint32(data, crc32.Checksum(data[4:], castagnoli))
		}
		other := fs.Fingerprint{Mount: 2, Device: 1}
		r, ok := decode(data, other)
		if !ok {
			return
		}
		if again, ok := decode(r.encode(), other); !ok || again != r {
			t.Errorf("got %+v, then %+v", r, again)
		}
	})
}

// FuzzGenerations does the same for the file of generations.
func FuzzGenerations(f *testing.F) {
	f.Add([]byte(bootsMagic + "123456789012"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if g, ok := decodeGenerations(seal(data)); ok && !bytes.Equal(encodeGenerations(g), seal(data)) {
			t.Errorf("%q becomes %v", data, g)
		}
	})
}

// openStore opens a store of dir, and counts the files that are hashed.
func openStore(t *testing.T, dir string, opts Options) (s *Store, hashed *atomic.Int32) {
	t.Helper()
	return openHooked(t, dir, opts, func(fs.Call) error { return nil })
}

func openWithoutLeases(t *testing.T, dir string, opts Options) (s *Store, hashed *atomic.Int32) {
	t.Helper()
	return openHooked(t, dir, opts, func(c fs.Call) error {
		if c.Op == "lease" {
			return errors.ErrUnsupported
		}
		return nil
	})
}

func openHooked(t *testing.T, dir string, opts Options, before func(fs.Call) error) (s *Store, hashed *atomic.Int32) {
	t.Helper()
	hashed = new(atomic.Int32)
	below, err := fs.Open(dir, fs.Options{Durability: fs.None, Before: func(c fs.Call) error {
		if err := before(c); err != nil {
			return err
		}
		if c.Op == "readAt" && !strings.HasPrefix(c.Name, ".ifmatch") {
			hashed.Add(1)
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s, err = New(below, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s, hashed
}

// eventually waits for what another goroutine does.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s does not happen", what)
		}
	}
}

func (s *Store) knows(name string) bool {
	info, err := s.look(name)
	_, ok := s.index.get(info.Fingerprint)
	return err == nil && ok
}

func TestIndexOutlivesTheStore(t *testing.T) {
	dir, index := t.TempDir(), filepath.Join(t.TempDir(), "index")
	clock := treetest.NewClock()
	names := []string{"f", "g"}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	clock.Advance(10 * time.Second)
	for round, want := range []int32{2, 0} {
		s, hashed := openStore(t, dir, Options{IndexDir: index, Now: clock.Now, Report: func(err error) { t.Error(err) }})
		for _, name := range names {
			if state, err := s.Stat(t.Context(), name, tree.ReadOptions{Want: tree.WantTag}); err != nil || state.Tag != treetest.TagOf(name) {
				t.Errorf("got %+v, error %v", state, err)
			}
		}
		if n := hashed.Load(); n != want && s.index.dir != nil {
			t.Errorf("round %d: %d files were hashed, want %d", round, n, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestChangedHashesAhead(t *testing.T) {
	dir := t.TempDir()
	clock := treetest.NewClock()
	s, hashed := openWithoutLeases(t, dir, Options{Now: clock.Now, Report: func(err error) { t.Error(err) }})
	defer s.Close()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("theirs"), 0o666); err != nil {
		t.Fatal(err)
	}
	// One that has just changed is put off; others are not.
	s.Changed("f", "no", "", ".ifmatch/format", "f/x")
	eventually(t, "that f is put off", func() bool {
		s.queue.mu.Lock()
		defer s.queue.mu.Unlock()
		return len(s.queue.due) == 1 && s.queue.due["f"].at.After(clock.Now())
	})
	if n := hashed.Load(); n != 0 {
		t.Errorf("%d files were hashed too early", n)
	}
	clock.Advance(10 * time.Second)
	s.Changed("no") // wakes it; else it would look by itself in two seconds
	eventually(t, "the hash", func() bool { return s.knows("f") })
	if state, err := s.Stat(t.Context(), "f", tree.ReadOptions{Want: tree.WantTag}); err != nil || state.Tag != treetest.TagOf("theirs") || hashed.Load() != 1 {
		t.Errorf("got %+v, error %v, hashed %d times", state, err, hashed.Load())
	}
}

// TestOneHashAtATime has many ask for one tag, the first of whom gives up.
func TestOneHashAtATime(t *testing.T) {
	dir := t.TempDir()
	content := strings.Repeat("x", 1<<20)
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	var reads atomic.Int32
	reading, goOn := make(chan struct{}), make(chan struct{})
	below, err := fs.Open(dir, fs.Options{Durability: fs.None, Before: func(c fs.Call) error {
		if c.Op == "readAt" && c.Name == "f" && reads.Add(1) == 1 {
			close(reading)
			<-goOn
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(below, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := s.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag})
		first <- err
	}()
	<-reading
	const n = 8
	rest := make(chan error, n)
	for range n {
		go func() {
			state, err := s.Stat(t.Context(), "f", tree.ReadOptions{Want: tree.WantTag})
			if err == nil && state.Tag != treetest.TagOf(content) {
				err = fmt.Errorf("it has the tag %s", state.Tag)
			}
			rest <- err
		}()
	}
	cancel()
	close(goOn)
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that gave up got error %v", err)
	}
	for range n {
		if err := <-rest; err != nil {
			t.Error(err)
		}
	}
}

func TestDamagedLocks(t *testing.T) {
	dir := t.TempDir()
	var reported atomic.Int32
	s, _ := openStore(t, dir, Options{Report: func(error) { reported.Add(1) }})
	defer s.Close()
	l, _, err := s.Lock(t.Context(), tree.LockRequest{Root: "f", Timeout: time.Hour}, tree.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, ".ifmatch", "locks")
	data, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, data[:len(data)-1], 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unlock(t.Context(), "f", l.Token, tree.Condition{}); !errors.Is(err, tree.ErrNoLock) || reported.Load() == 0 {
		t.Errorf("got error %v, %d reports", err, reported.Load())
	}
	if _, _, err := s.Lock(t.Context(), tree.LockRequest{Root: "f", Timeout: time.Hour}, tree.Condition{}); err != nil {
		t.Errorf("the next lock: %v", err)
	}
}

// TestTwoStores serves one directory twice, as two processes do.
func TestTwoStores(t *testing.T) {
	dir := t.TempDir()
	a, _ := openStore(t, dir, Options{})
	defer a.Close()
	b, _ := openStore(t, dir, Options{})
	defer b.Close()
	put := func(s *Store, content string, check tree.Condition) error {
		_, _, err := s.Put(t.Context(), "f", strings.NewReader(content), tree.PutOptions{Length: -1}, check)
		return err
	}
	if err := put(a, "one", treetest.IfAbsent("f")); err != nil {
		t.Fatal(err)
	}
	if err := put(b, "two", treetest.IfAbsent("f")); err == nil {
		t.Error("created twice")
	}
	if err := put(b, "two", treetest.IfTag("f", treetest.TagOf("one"))); err != nil {
		t.Error(err)
	}
	if err := put(a, "three", treetest.IfTag("f", treetest.TagOf("one"))); err == nil {
		t.Error("a lost update")
	}
	l, _, err := a.Lock(t.Context(), tree.LockRequest{Root: "f", Timeout: time.Hour}, tree.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Lock(t.Context(), tree.LockRequest{Root: "f", Timeout: time.Hour}, tree.Condition{}); err == nil {
		t.Error("locked twice")
	}
	if err := b.Unlock(t.Context(), "f", l.Token, tree.Condition{}); err != nil {
		t.Error(err)
	}
}
