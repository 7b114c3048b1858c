package etagfs_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// TestNoStaleTag has a local program change a file over and over, always to the same size and with the time of before,
// and asks for its tag as soon as each change is made, while others keep asking in between: of a directory that is
// served to be written or only read, and of what is mounted in one. .ci/long runs it on several file systems, by
// TMPDIR.
func TestNoStaleTag(t *testing.T) {
	const size, rounds = 64 << 10, 30
	stamp := time.Unix(1_000_000_000, 0)
	content := func(round int) []byte {
		return bytes.Repeat([]byte{byte('a' + round%26), byte('a' + round/26)}, size/2)
	}
	inPlace := func(file string, data []byte) error {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(data, 0)
		return errors.Join(err, f.Close(), os.Chtimes(file, stamp, stamp))
	}
	mapped := func(file string) (data []byte, err error) {
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	for _, kind := range []struct {
		name    string
		mapping bool
		held    bool // it can be written to all the time
		prepare func(file string) (change func(data []byte) error, end func() error, err error)
	}{
		{"in place", false, false, func(file string) (func([]byte) error, func() error, error) {
			return func(data []byte) error { return inPlace(file, data) }, nil, nil
		}},
		{"in place, held open", false, true, func(file string) (func([]byte) error, func() error, error) {
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			return func(data []byte) error {
				_, err := f.WriteAt(data, 0)
				return errors.Join(err, os.Chtimes(file, stamp, stamp))
			}, f.Close, err
		}},
		{"by rename", false, false, func(file string) (func([]byte) error, func() error, error) {
			return func(data []byte) error {
				return errors.Join(os.WriteFile(file+"~", data, 0o666), os.Chtimes(file+"~", stamp, stamp),
					os.Rename(file+"~", file))
			}, nil, nil
		}},
		{"through a mapping", true, false, func(file string) (func([]byte) error, func() error, error) {
			return func(data []byte) error {
				memory, err := mapped(file)
				if err != nil {
					return err
				}
				copy(memory, data)
				return errors.Join(unix.Munmap(memory), os.Chtimes(file, stamp, stamp))
			}, nil, nil
		}},
		{"through a mapping that is kept", true, true, func(file string) (func([]byte) error, func() error, error) {
			memory, err := mapped(file)
			return func(data []byte) error { copy(memory, data); return nil },
				func() error { return unix.Munmap(memory) }, err
		}},
	} {
		for _, served := range []string{"to write", "to read", "mounted"} {
			t.Run(kind.name+"/"+served, func(t *testing.T) {
				dir, name := t.TempDir(), "f"
				root := dir
				if served == "mounted" {
					root, name = t.TempDir(), "m/f"
					bindAt(t, dir, filepath.Join(root, "m"))
				}
				below, err := fs.Open(root, fs.Options{Durability: fs.None, ReadOnly: served == "to read"})
				if err != nil {
					t.Fatal(err)
				}
				opts := etagfs.Options{IndexDir: filepath.Join(quickDir(t), "index")}
				if kind.held {
					// However long it was left alone: what nobody stamps is not remembered.
					clock := treetest.NewClock()
					clock.Advance(time.Hour)
					opts.Now = clock.Now
				}
				s, err := etagfs.New(below, opts)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				// What tmpfs does not stamp is written through a mapping that was read first, which is none of these.
				if kind.mapping && isOn(dir, unix.OVERLAYFS_SUPER_MAGIC) {
					t.Log("an overlay gives a lease where there is a mapping")
					return
				}
				file := filepath.Join(dir, "f")
				if err := os.WriteFile(file, content(0), 0o666); err != nil {
					t.Fatal(err)
				}
				change, end, err := kind.prepare(file)
				if err != nil {
					t.Fatal(err)
				}
				stop := make(chan struct{})
				var others sync.WaitGroup
				for range 2 {
					others.Go(func() {
						for {
							select {
							case <-stop:
								return
							default:
								_, _ = s.Stat(ctx, name, tree.ReadOptions{Want: tree.WantTag}) // of whatever version
							}
						}
					})
				}
				for round := range rounds {
					data := content(round)
					if err := change(data); err != nil {
						t.Fatal(err)
					}
					want := tree.TagOf(sha256.Sum256(data))
					if state, err := s.Stat(ctx, name, tree.ReadOptions{Want: tree.WantTag}); err != nil ||
						state.Tag != want {
						t.Fatalf("round %d: Stat says %s, want %s, error %v", round, state.Tag, want, err)
					}
					opened, state, err := s.Open(ctx, name, tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
					if err != nil {
						t.Fatal(err)
					}
					sent, err := treetest.ReadAll(opened, state)
					opened.Close()
					if err != nil || state.Tag != want || sent != string(data) {
						t.Fatalf("round %d: Open says %s of %d bytes, want %s, error %v", round, state.Tag, len(sent),
							want, err)
					}
				}
				close(stop)
				others.Wait()
				if end != nil {
					if err := end(); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}
