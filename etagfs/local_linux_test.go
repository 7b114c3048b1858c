package etagfs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ifmatch/etagfs"
	"ifmatch/fs"
	"ifmatch/tree"
	"ifmatch/tree/treetest"
)

var (
	contend    = flag.Duration("contend", time.Second, "how long local programs and clients go on changing the same files")
	contendDir = flag.String("contend-dir", "", "where; a directory on the file system to be tried")
)

// A local program writes each of its versions over one that it has seen to be a client's. None of them may be lost: a
// client has read it, and named it in the write that replaced it; or it is in the history; or it is still there.
type localProgram struct {
	name string
	// write writes version over the file if it holds one of a client. It reports whether it did.
	write func(path string, version []byte) (bool, error)
}

const versionSize = 64

var errStale = errors.New("it is another version")

func versionOf(format string, args ...any) []byte {
	return fmt.Appendf(nil, "%-*s\n", versionSize-1, fmt.Sprintf(format, args...))
}

func isClients(content []byte) bool { return len(content) == versionSize && content[0] == 'c' }

// localPrograms returns one of each kind. undone is told of a version that its own program has replaced.
func localPrograms(undone func(version []byte)) []localProgram {
	inPlace := func(path string, do func(f *os.File) (bool, error)) (bool, error) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(err, iofs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		defer f.Close()
		return do(f)
	}
	overClients := func(f *os.File, version []byte) (bool, error) {
		have := make([]byte, versionSize)
		if n, _ := f.ReadAt(have, 0); !isClients(have[:n]) {
			return false, nil
		}
		_, err := f.WriteAt(version, 0)
		return err == nil, err
	}
	return []localProgram{
		{"renames", func(path string, version []byte) (wrote bool, err error) {
			have, err := os.ReadFile(path)
			if err != nil || !isClients(have) {
				return false, nil
			}
			// As a rename over it, but that it tells what it has replaced: its own version, if what it has read never
			// came to be.
			staged := path + ".theirs"
			if err := os.WriteFile(staged, version, 0o666); err != nil {
				return false, err
			}
			defer os.Remove(staged)
			if err := unix.Renameat2(unix.AT_FDCWD, staged, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE); err != nil {
				return false, err
			}
			out, err := os.ReadFile(staged)
			if err == nil && !isClients(out) {
				undone(out)
			}
			return true, err
		}},
		{"rewrites", func(path string, version []byte) (bool, error) {
			return inPlace(path, func(f *os.File) (bool, error) { return overClients(f, version) })
		}},
		{"holds", func(path string, version []byte) (bool, error) {
			return inPlace(path, func(f *os.File) (wrote bool, err error) {
				for range 200 { // it goes on writing to what it has opened, replaced or not
					again, err := overClients(f, version)
					wrote = wrote || again
					if err != nil {
						return wrote, err
					}
					if wrote {
						if _, err := f.WriteAt(version, 0); err != nil {
							return true, err
						}
					}
					runtime.Gosched()
				}
				return wrote, nil
			})
		}},
		{"maps", func(path string, version []byte) (bool, error) {
			return inPlace(path, func(f *os.File) (bool, error) {
				if info, err := f.Stat(); err != nil || info.Size() != versionSize {
					return false, err
				}
				memory, err := unix.Mmap(int(f.Fd()), 0, versionSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
				if err != nil {
					return false, err
				}
				f.Close() // the map is what is left
				wrote := isClients(memory)
				if wrote {
					for range 10 {
						copy(memory, version)
						runtime.Gosched()
					}
				}
				return wrote, unix.Munmap(memory)
			})
		}},
	}
}

// TestLocalProgramsLoseNothing has one program of each kind change a file, each its own, while 16 clients compare and
// swap on the same files, and one replaces them whatever is there. Half of them use a second server on the directory.
func TestLocalProgramsLoseNothing(t *testing.T) {
	dir := *contendDir
	if dir == "" {
		dir = quickDir(t)
	} else {
		var err error
		if dir, err = os.MkdirTemp(dir, "contend-"); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
	}
	var servers [2]*etagfs.Store
	var below *fs.FS
	for i := range servers {
		var err error
		if below, err = fs.Open(dir, fs.Options{History: true, Durability: fs.None}); err != nil {
			t.Fatal(err)
		}
		if servers[i], err = etagfs.New(below, etagfs.Options{Report: func(err error) { t.Error(err) }}); err != nil {
			t.Fatal(err)
		}
		defer servers[i].Close()
	}
	able := below.Abilities()
	t.Log(able)
	if !able.Leases || !able.Exchange {
		t.Fatal("this file system promises less")
	}
	var mu sync.Mutex
	over := map[string]bool{} // versions of local programs that they have replaced themselves
	programs := localPrograms(func(version []byte) { mu.Lock(); defer mu.Unlock(); over[string(version)] = true })
	if !able.Mappings {
		programs = programs[:3]
	}

	run, stop := context.WithTimeout(ctx, *contend)
	defer stop()
	local := map[tree.ETag]string{} // versions of local programs
	replaced := map[tree.ETag]int{} // how often a version was named in a write that succeeded
	var acknowledged, refused, busy int
	var running sync.WaitGroup
	for _, p := range programs {
		if err := put(servers[0], p.name, string(versionOf("c begins %s", p.name)), nil); err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			for n := 0; run.Err() == nil; {
				version := versionOf("local %s %d", p.name, n)
				wrote, err := p.write(filepath.Join(dir, p.name), version)
				if err != nil {
					t.Errorf("%s: %v", p.name, err)
					return
				}
				if wrote {
					mu.Lock()
					local[tree.TagOf(sha256.Sum256(version))] = string(version)
					mu.Unlock()
					n++
				}
				runtime.Gosched()
			}
		})
	}
	for client := range 16 {
		s := servers[client%2]
		running.Go(func() {
			for n := 0; run.Err() == nil; n++ {
				p := programs[n%len(programs)]
				file, state, err := s.Open(ctx, p.name)
				if err != nil {
					if !errors.Is(err, tree.ErrNotExist) {
						t.Errorf("Open: %v", err)
					}
					continue
				}
				content, err := io.ReadAll(file)
				file.Close()
				if err != nil || len(content) != versionSize || content[versionSize-1] != '\n' {
					t.Errorf("a reader of %s got %q, error %v", p.name, content, err)
				}
				tag := tree.TagOf(sha256.Sum256(content))
				if state.Tag != tag {
					continue // it was rewritten while it was read
				}
				var check tree.Check
				if client != 0 {
					check = func(v tree.View) error {
						err := treetest.IfTag(p.name, tag)(v)
						if err != nil && !errors.Is(err, tree.ErrTagUnknown) {
							err = errStale
						}
						return err
					}
				}
				err = put(s, p.name, string(versionOf("c%d %d", client, n)), check)
				mu.Lock()
				switch {
				case err == nil && check != nil:
					replaced[tag]++
					acknowledged++
				case errors.Is(err, tree.ErrBusy):
					busy++
				case errors.Is(err, errStale):
					refused++
				case err != nil:
					t.Errorf("Put: %v", err)
				}
				mu.Unlock()
			}
		})
	}
	running.Wait()

	kept, err := below.History("")
	if err != nil {
		t.Fatal(err)
	}
	var history bytes.Buffer
	for _, k := range kept {
		f, info, err := below.OpenKept(k)
		if err != nil {
			t.Fatal(err)
		}
		if content, err := io.ReadAll(f); err != nil || len(content) != versionSize || info.Size != versionSize {
			t.Errorf("in the history of %s: %q, error %v", k.Path, content, err)
		} else {
			history.Write(content)
		}
		f.Close()
	}
	var now strings.Builder
	for _, p := range programs {
		content, err := os.ReadFile(filepath.Join(dir, p.name))
		if err != nil || len(content) != versionSize {
			t.Errorf("%s is %q now, error %v", p.name, content, err)
		}
		now.Write(content)
	}
	wrote := map[string]int{}
	for tag, version := range local {
		wrote[strings.Fields(version)[1]]++
		if replaced[tag] == 0 && !over[version] && !bytes.Contains(history.Bytes(), []byte(version)) && !strings.Contains(now.String(), version) {
			t.Errorf("lost: %s", version)
		}
	}
	for tag, n := range replaced {
		if n > 1 {
			t.Errorf("%d writes have replaced the version %s, which they all named", n, tag)
		}
	}
	t.Logf("local versions %v; of clients %d acknowledged, %d refused, %d busy; %d in the history; %d replaced by themselves",
		wrote, acknowledged, refused, busy, len(kept), len(over))
	for _, p := range programs {
		if wrote[p.name] == 0 {
			t.Errorf("%s never wrote", p.name)
		}
	}
	if acknowledged == 0 {
		t.Error("no client has ever written")
	}
}
