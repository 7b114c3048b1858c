package index

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// An index that is deleted under a process is begun anew with the next tick, and others find what is in it then.
func TestIndexIsDeletedWhileItIsUsed(t *testing.T) {
	const anew = "was deleted while it was in use, and is begun anew"
	remove := func(names ...string) func(m *machine, x *Index) error {
		return func(m *machine, x *Index) (err error) {
			for _, name := range names {
				err = errors.Join(err, os.RemoveAll(filepath.Join(m.dir, name)))
			}
			return err
		}
	}
	for _, test := range []struct {
		name string
		harm func(m *machine, x *Index) error
		is   tree.ETag // what is known afterwards of what was known before
		said []string
	}{
		{"the directory", remove(""), "", []string{anew}},
		{"what is in it", func(m *machine, x *Index) error {
			names, err := os.ReadDir(m.dir)
			for _, name := range names {
				err = errors.Join(err, os.Remove(filepath.Join(m.dir, name.Name())))
			}
			return err
		}, "", []string{anew}},
		{"the run",
			func(m *machine, x *Index) error { return os.Remove(filepath.Join(m.dir, x.home.Load().epochs.name)) },
			oneTag, []string{anew}},
		{"the epochs", remove(epochsName), "", []string{anew}},
		{"the lock", remove(lockName), oneTag, []string{anew}},
		{"and made by another process", func(m *machine, x *Index) error {
			err := os.RemoveAll(m.dir)
			m.open()
			return err
		}, "", []string{anew}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t)
			x := m.open()
			f, g, fresh := fingerprint(1), fingerprint(2*inodesPerPage), fingerprint(3)
			x.Put(f, RecordOf(oneTag))
			if err := test.harm(m, x); err != nil {
				t.Fatal(err)
			}
			m.forgetSaid()

			// Others go on meanwhile.
			stop := make(chan struct{})
			var others sync.WaitGroup
			for n := range uint64(4) {
				others.Go(func() {
					of := fingerprint(100 + n*inodesPerPage)
					for {
						x.Put(of, RecordOf(oneTag))
						if tag, ok := x.Tag(of); ok && tag != oneTag {
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
			x.Tick()
			close(stop)
			others.Wait()
			m.said = slices.DeleteFunc(m.said, func(line string) bool {
				return strings.Contains(line, "writing the index") // in a directory that was not there
			})
			m.wantSaid(test.said...)

			wantKnown(t, x, f, test.is)
			for _, f := range []uint64{f.Inode, g.Inode, fresh.Inode} {
				x.Put(fingerprint(f), RecordOf(otherTag))
			}
			second := m.open()
			for _, inode := range []uint64{f.Inode, g.Inode, fresh.Inode} {
				wantKnown(t, x, fingerprint(inode), otherTag)
				wantKnown(t, second, fingerprint(inode), otherTag)
			}
			m.wantSaid()

			// It answers for what it records, as it did before.
			m.complete(x)
			x.Put(fresh, RecordOf(oneTag))
			m.reboot(second, x)
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
	x.Put(fingerprint(1), RecordOf(oneTag))
	if err := os.RemoveAll(filepath.Dir(m.dir)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if x.Tick() {
			t.Error("it is begun anew")
		}
	}
	m.wantSaid("cannot be begun anew: ETags are kept in memory only")
	if x.OnDisk() || x.Processes() != 0 {
		t.Error("it counts as one on the disk")
	}
	f := fingerprint(inodesPerPage)
	wantKnown(t, x, f, "")
	x.Put(f, RecordOf(oneTag))
	wantKnown(t, x, f, oneTag)
	if _, err := os.Stat(filepath.Dir(m.dir)); !os.IsNotExist(err) {
		t.Errorf("it was made anew: %v", err)
	}
	m.stop(x)
	m.wantSaid()
}
