package index

import (
	"bytes"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// versionAt is a version of a file: each number is another one of the same inode.
func versionAt(inode uint64, number int64) vfs.Fingerprint {
	return vfs.Fingerprint{Device: 1, Inode: inode, Changed: number}
}

// TestBodyIsOfOneVersion: a body is found by exactly the version that it was kept for, until a record of that file is
// found to be wrong.
func TestBodyIsOfOneVersion(t *testing.T) {
	was, is, tag := versionAt(7, 1), versionAt(7, 2), tree.TagOf([32]byte{1})
	for _, tt := range []struct {
		name string
		do   func(x *Index)
		want bool
	}{
		{"nothing", func(*Index) {}, true},
		{"another file is forgotten", func(x *Index) { x.Forget(versionAt(8, 1)) }, true},
		{"a later version is kept", func(x *Index) { x.KeepBody(is, tag, []byte("later")) }, false},
		{"the record is wrong", func(x *Index) { x.Forget(was) }, false},
		{"all records are dropped", func(x *Index) { x.Clear() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := Open(Options{Report: func(err error) { t.Error(err) }})
			x.KeepBody(was, tag, []byte("content"))
			if _, _, ok := x.Body(is); ok {
				t.Error("the body of another version was found")
			}
			tt.do(x)
			data, of, ok := x.Body(was)
			if ok != tt.want || ok && (of != tag || string(data) != "content") {
				t.Errorf("found %t: %q with the tag %s, want %t", ok, data, of, tt.want)
			}
		})
	}
}

// TestOtherProcessFindsAWrongRecord: bodies are dropped where another process has found a record to be wrong.
func TestOtherProcessFindsAWrongRecord(t *testing.T) {
	dir := t.TempDir()
	open := func() *Index {
		x := Open(Options{Dir: dir, Device: 1, Boot: "boot", Volume: vfs.Volume{Numbered: true},
			Sync: func(string, uint64) error { return nil }, Report: func(err error) { t.Error(err) }})
		t.Cleanup(func() { x.Close(0) })
		return x
	}
	x, other := open(), open()
	x.Tick()
	x.KeepBody(versionAt(7, 1), tree.TagOf([32]byte{1}), []byte("content"))
	other.Forget(versionAt(9, 1))
	x.Tick()
	if _, _, ok := x.Body(versionAt(7, 1)); ok {
		t.Error("the body is still there")
	}
}

// TestOnlyWhatIsReadAgainIsWanted: the body of a version without a record, or that is read once, takes no room.
func TestOnlyWhatIsReadAgainIsWanted(t *testing.T) {
	x := Open(Options{})
	f := versionAt(7, 1)
	for range 2 {
		if x.WantsBody(f) {
			t.Error("a version without a record is wanted")
		}
	}
	x.Put(f, Record{})
	if x.WantsBody(f) {
		t.Error("wanted at the first read")
	}
	if !x.WantsBody(f) || x.WantsBody(versionAt(7, 2)) {
		t.Error("want the version that is read again, and no other")
	}
	if none := Open(Options{Memory: -1}); none.KeepsBodies() {
		t.Error("there is room for bodies, although there is to be none")
	}
}

// TestBodiesAreBounded: however many bodies are kept, they take no more than their room, and those that are there
// already are not all removed by others.
func TestBodiesAreBounded(t *testing.T) {
	const room, size = 1 << 20, 4 << 10
	b := newBodies(room)
	data := bytes.Repeat([]byte("x"), size)
	for i := range uint64(1000) {
		b.put(body{versionAt(i+1, 1), "", data})
	}
	total, entries := b.size, b.lru.Len()
	if total != int64(entries)*(size+bodyOverhead) {
		t.Errorf("%d bytes for %d entries", total, entries)
	}
	if total > room || entries < room/2/(size+bodyOverhead) {
		t.Errorf("%d entries take %d bytes, want at most %d", entries, total, room)
	}
	old := 0
	for i := range uint64(entries) {
		if _, ok := b.get(versionAt(i+1, 1)); ok {
			old++
		}
	}
	if old < entries/8 {
		t.Errorf("%d of the first %d are left", old, entries)
	}
	b.put(body{versionAt(5000, 1), "", make([]byte, room)})
	if _, ok := b.get(versionAt(5000, 1)); ok {
		t.Error("a body larger than the room is kept")
	}
}
