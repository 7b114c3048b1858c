package index

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

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
	remove := func(name string) func(m *machine) error {
		return func(m *machine) error { return os.RemoveAll(filepath.Join(m.dir, name)) }
	}
	begun, unread, shared := "begun anew: all files", "a run of the index cannot be read",
		"the shared state of the index was lost"
	again := map[string]bool{"damaged": true, noFile: true} // until something is written there
	for _, test := range []struct {
		name string
		harm func(m *machine) error
		f, g tree.ETag // what is still known
		said []string
	}{
		{"a page is removed", remove(page), "", oneTag, nil},
		{"a page is emptied", edit(page, func([]byte) []byte { return nil }), "", oneTag, nil},
		{"a page is cut", edit(page, func(data []byte) []byte { return data[:len(data)-1] }), "", oneTag,
			[]string{"damaged"}},
		{"a bit flips in a tag", edit(page, flip(recordSize+50)), "", oneTag, []string{"damaged"}},
		{"a bit flips in a date", edit(page, flip(2*recordSize-1)), "", oneTag, []string{"damaged"}},
		{"a bit flips in a checksum", edit(page, flip(recordSize)), "", oneTag, []string{"damaged"}},
		{"a page has the name of another", func(m *machine) error {
			return os.Rename(filepath.Join(m.dir, page), filepath.Join(m.dir, pagePrefix+"2"))
		}, "", "", nil},
		{"a page is a directory", func(m *machine) error {
			file := filepath.Join(m.dir, page)
			return errors.Join(os.Remove(file), os.Mkdir(file, 0o700))
		}, "", oneTag, []string{noFile}},
		{"a page is a pipe", inPlaceOf(page, "pipe"), "", oneTag, []string{noFile}},
		{"the epochs are removed", remove(epochsName), "", "", []string{begun}},
		{"the epochs are cut", edit(epochsName, func(data []byte) []byte { return data[:len(data)-3] }), "", "",
			[]string{begun}},
		{"a bit flips in the epochs", edit(epochsName, flip(len(epochsMagic))), "", "", []string{begun}},
		{"another version wrote it", func(m *machine) error {
			return os.WriteFile(filepath.Join(m.dir, epochsName), seal([]byte("ifmatch index 9\n")), 0o600)
		}, "", "", []string{begun}},
		{"the first version wrote it", func(m *machine) error {
			return errors.Join(os.RemoveAll(m.dir), os.Mkdir(m.dir, 0o700),
				os.WriteFile(filepath.Join(m.dir, "3f"), []byte("ifmatch index 1\n"), 0o600))
		}, "", "", []string{begun}},
		{"the second version wrote it", func(m *machine) error {
			err := errors.Join(os.RemoveAll(m.dir), os.Mkdir(m.dir, 0o700))
			for _, name := range []string{"boots", "boots.lock", "dates", "session-1", "inodes-0"} {
				err = errors.Join(err, os.WriteFile(filepath.Join(m.dir, name), []byte("text"), 0o600))
			}
			return err
		}, "", "", []string{begun}},
		{"the epochs are a directory", inPlaceOf(epochsName, "dir"), "", "", []string{begun}},
		{"the epochs are a pipe", inPlaceOf(epochsName, "pipe"), "", "", []string{begun}},
		{"the epochs are a link", inPlaceOf(epochsName, "link"), "", "", []string{begun}},
		{"the lock is removed", remove(lockName), oneTag, oneTag, []string{shared}},
		{"the lock is a directory", inPlaceOf(lockName, "dir"), oneTag, oneTag, []string{shared}},
		{"the lock is a pipe", inPlaceOf(lockName, "pipe"), oneTag, oneTag, []string{shared}},
		{"the lock is a link", inPlaceOf(lockName, "link"), oneTag, oneTag, []string{shared}},
		{"a bit flips in the shared state", edit(lockName, flip(20)), oneTag, oneTag, []string{shared}},
		{"a run is a directory", inPlaceOf(runPrefix+"7", "dir"), oneTag, oneTag, []string{unread}},
		{"a run is a pipe", inPlaceOf(runPrefix+"7", "pipe"), oneTag, oneTag, []string{unread}},
		{"it is a file", inPlaceOf(".", "file"), "", "", []string{"was no directory, and is begun anew"}},
		{"it is a pipe", inPlaceOf(".", "pipe"), "", "", []string{"was no directory, and is begun anew"}},
		{"all is removed", remove("."), "", "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t)
			x := m.open()
			for _, f := range []vfs.Fingerprint{f, g} {
				x.Put(f, RecordOf(oneTag))
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
			x = m.open()
			x.Put(f, RecordOf(otherTag)) // and it goes on
			x.hot.Clear()
			wantKnown(t, x, f, otherTag)
		})
	}
}

// FuzzRecord decodes what was never written: what it takes must be encoded the same again.
func FuzzRecord(f *testing.F) {
	for _, of := range []Evidence{{}, {7, never}, {7, 8}, {7, forever}, {7, -1}} {
		r := RecordOf(oneTag)
		r.Dates = of
		f.Add((&entry{Record: r, of: fingerprint(1), run: 7, number: 8}).encode(9))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		seen := vfs.Fingerprint{Mount: 2, Device: 1, Inode: 1}
		if len(data) == recordSize { // a checksum that is right, so that there is something behind it to look at
			binary.LittleEndian.PutUint32(data, checksum(9, seen.Inode, data))
		}
		e, ok := decode(data, 9, seen)
		if !ok {
			return
		}
		if again, ok := decode(e.encode(9), 9, seen); !ok || again != e {
			t.Errorf("got %+v, then %+v", e, again)
		}
		if _, ok := decode(data, 9, vfs.Fingerprint{Inode: 2}); ok {
			t.Error("it is taken for the record of another inode")
		}
		if _, ok := decode(data, 10, seen); ok {
			t.Error("it is taken for a record of another index")
		}
	})
}
