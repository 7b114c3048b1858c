package etagfs_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A program changes a file of 8 KiB behind the server's back, always to the same size and with the time of before, as
// far as it can choose it. begin is called before the file is read for the first time, and change each time with other
// content. idle says that change leaves nothing that could still write to the file.
type program struct {
	name   string
	idle   bool
	begin  func(file string) (state []byte, err error)
	change func(file string, state, content []byte) error
}

const keptSize = 8 << 10

var beforeAll = time.Unix(1_000_000_000, 0)

func mapOf(file string) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return unix.Mmap(int(f.Fd()), 0, keptSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func nothing(string) ([]byte, error) { return nil, nil }

func programs() []program {
	var late []byte // a mapping that is made after the content is kept, and that stays
	return []program{
		{"writes in place", true, nothing, func(file string, _, content []byte) error {
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt(content, 0)
			return errors.Join(err, f.Close(), os.Chtimes(file, beforeAll, beforeAll))
		}},
		{"cuts it off, and writes it again", true, nothing, func(file string, _, content []byte) error {
			return errors.Join(os.Truncate(file, 1), os.WriteFile(file, content, 0o666),
				os.Chtimes(file, beforeAll, beforeAll))
		}},
		{"replaces it", true, nothing, func(file string, _, content []byte) error {
			return errors.Join(os.WriteFile(file+"~", content, 0o666), os.Chtimes(file+"~", beforeAll, beforeAll),
				os.Rename(file+"~", file))
		}},
		{"writes by another name", true, func(file string) ([]byte, error) {
			return nil, os.Link(file, filepath.Join(filepath.Dir(filepath.Dir(file)), "elsewhere"))
		}, func(file string, _, content []byte) error {
			other := filepath.Join(filepath.Dir(filepath.Dir(file)), "elsewhere")
			f, err := os.OpenFile(other, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt(content, 0)
			return errors.Join(err, f.Close(), os.Chtimes(other, beforeAll, beforeAll))
		}},
		{"maps it, reads, and stores", true, nothing, func(file string, _, content []byte) error {
			memory, err := mapOf(file)
			if err != nil {
				return err
			}
			seen := bytes.Clone(memory)
			copy(memory, content)
			_ = seen
			return errors.Join(unix.Munmap(memory), os.Chtimes(file, beforeAll, beforeAll))
		}},
		{"stores into a mapping from before", false, mapOf, func(_ string, memory, content []byte) error {
			copy(memory, content)
			return nil
		}},
		{"stores into a mapping that it then keeps", false, nothing, func(file string, _, content []byte) (err error) {
			if late == nil {
				if late, err = mapOf(file); err != nil {
					return err
				}
				if bytes.Contains(late, []byte("\x00")) { // so that each page was read before it is written
					return errors.New("the file is not that of the test")
				}
			}
			copy(late, content)
			return nil
		}},
	}
}

func contentOf(round int) []byte {
	return bytes.Repeat([]byte{byte('a' + round%26), byte('A' + round/26)}, keptSize/2)
}

// keeper returns a store for which all was done a minute ago, on a directory for the file, with the file in it.
func keeper(t *testing.T, seam *seam) (s *etagfs.Store, file string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "served")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	s = openLater(t, dir, fs.Options{Before: seam.before})
	if able := s.Abilities(); !able.AttributeTimes || !able.FineTimes {
		t.Skip("NOT RUN: the stamps of this file system do not tell enough")
	}
	file = filepath.Join(dir, "f")
	if err := os.WriteFile(file, contentOf(0), 0o666); err != nil {
		t.Fatal(err)
	}
	return s, file
}

// read returns the content that a GET sends, with the system calls that it took. It fails if the tag is not that of the
// content.
func readKept(s *etagfs.Store, seam *seam) (content, calls string, err error) {
	var ops []string
	seam.arm(func(_ int, c vfs.Call) error { ops = append(ops, c.Op); return nil })
	defer seam.arm(nil)
	c, state, err := s.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag | tree.WantProperties}, tree.Condition{})
	if err != nil {
		return "", "", err
	}
	defer c.Close()
	var sent strings.Builder
	if _, err = c.WriteRange(ctx, &sent, 0, state.Size); err != nil {
		return "", "", err
	}
	if state.Tag != tree.TagOf(sha256.Sum256([]byte(sent.String()))) {
		err = fmt.Errorf("the tag %s is not that of what was sent", state.Tag)
	}
	seam.arm(nil) // the store goes on with calls of its own
	return sent.String(), strings.Join(ops, " "), err
}

// TestContentInMemoryIsNeverStale has a program change a file again and again, and reads it between until its content
// can be in memory. Each read gets the content of now. The program may have the file mapped from before the first read
// on, or from when the content was kept on. .ci/long runs it on several file systems, by TMPDIR.
func TestContentInMemoryIsNeverStale(t *testing.T) {
	for _, p := range programs() {
		t.Run(p.name, func(t *testing.T) {
			var seam seam
			s, file := keeper(t, &seam)
			state, err := p.begin(file)
			if err != nil {
				t.Fatal(err)
			}
			if state != nil {
				defer unix.Munmap(state)
			}
			fromMemory := 0
			for round := range 40 {
				want := contentOf(round)
				if round > 0 {
					if err := p.change(file, state, want); err != nil {
						t.Fatal(err)
					}
				}
				for again := range 4 {
					got, calls, err := readKept(s, &seam)
					unseen := !s.Abilities().Mappings && strings.Contains(p.name, "stores") // by any look
					if err == nil && got != string(want) && !unseen {
						err = fmt.Errorf("it got %q…, want %q…", got[:4], want[:4])
					}
					if err != nil && !unseen {
						t.Fatalf("round %d, read %d (%s): %v", round, again, calls, err)
					}
					if calls == "lstat" {
						fromMemory++
					}
				}
			}
			switch {
			case !s.Abilities().Mappings && fromMemory > 0:
				t.Errorf("%d reads were answered from memory, where not all stores are seen", fromMemory)
			case s.Abilities().Mappings && p.idle && fromMemory < 40:
				t.Errorf("%d reads were answered from memory, want one of each round at least", fromMemory)
			}
		})
	}
}

// TestWriterWhileContentIsKept has a program come before each system call of the read that keeps a content. It opens
// the file for writing, which must break the lease, and writes as soon as it may.
func TestWriterWhileContentIsKept(t *testing.T) {
	var seam seam
	s, file := keeper(t, &seam)
	if !s.Abilities().Mappings {
		t.Skip("NOT RUN: no content is kept here")
	}
	const keeping = "lstat open lease fstat readAt leased"
	for at := 1; at <= len(strings.Fields(keeping)); at++ {
		before, after := contentOf(2*at), contentOf(2*at+1)
		if err := os.WriteFile(file, before, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, calls, err := readKept(s, &seam); err != nil || calls == "lstat" { // it hashes, and the next read keeps
			t.Fatalf("call %d: %s, %v", at, calls, err)
		}
		var tried error
		var ops []string
		seam.arm(func(n int, c vfs.Call) error {
			ops = append(ops, c.Op)
			if n == at {
				tried = tryToWrite(file, after)
			}
			return nil
		})
		content, state, err := s.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag | tree.WantProperties},
			tree.Condition{})
		seam.arm(nil)
		if err != nil || len(ops) < at || ops[at-1] != strings.Fields(keeping)[at-1] {
			t.Fatalf("before call %d of %s: the calls are %s, %v", at, keeping, ops, err)
		}
		var sent strings.Builder
		_, err = content.WriteRange(ctx, &sent, 0, state.Size)
		content.Close()
		if err != nil && !errors.Is(err, tree.ErrChanged) {
			t.Fatal(err)
		}
		if err == nil && state.Tag != tree.TagOf(sha256.Sum256([]byte(sent.String()))) {
			t.Errorf("before call %d (%s): what was sent is not that of the tag", at, ops)
		}
		if tried != nil { // it was kept out by the lease, and comes now
			if err := os.WriteFile(file, after, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		for again := range 4 {
			if got, calls, err := readKept(s, &seam); err != nil || got != string(after) {
				t.Fatalf("before call %d (%s), read %d (%s): %q…, %v", at, ops, again, calls, got[:min(4, len(got))],
					err)
			}
		}
	}
}

// tryToWrite writes without waiting for the end of a lease. It fails if there is one, which is broken then.
func tryToWrite(file string, content []byte) error {
	fd, err := unix.Open(file, unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	_, err = unix.Pwrite(fd, content, 0)
	return errors.Join(err, unix.Close(fd))
}

// TestContentIsReadByWhomMayRead: what is in memory is not sent where the mode says that the file may not be read.
func TestContentIsReadByWhomMayRead(t *testing.T) {
	var seam seam
	s, file := keeper(t, &seam)
	for range 3 {
		if _, _, err := readKept(s, &seam); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(file, 0); err != nil {
		t.Fatal(err)
	}
	s.ActAs(65534)
	if _, calls, err := readKept(s, &seam); err == nil && !strings.Contains(calls, "open") {
		t.Errorf("it was sent after %s", calls)
	}
}

// TestConditionIsAskedOfContentInMemory: a condition decides about the version whose content is in memory.
func TestConditionIsAskedOfContentInMemory(t *testing.T) {
	var seam seam
	s, _ := keeper(t, &seam)
	for range 4 {
		if _, _, err := readKept(s, &seam); err != nil {
			t.Fatal(err)
		}
	}
	want := tree.TagOf(sha256.Sum256(contentOf(0)))
	for _, refused := range []error{nil, errNotNow} {
		asked := 0
		content, state, err := s.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{
			Names: []string{"f"},
			Check: func(v tree.View) error {
				asked++
				if state, err := v.State("f"); err != nil || state.Tag != want {
					t.Errorf("the condition sees the tag %s, %v", state.Tag, err)
				}
				return refused
			},
		})
		if !errors.Is(err, refused) || asked == 0 || err == nil && state.Tag != want {
			t.Errorf("asked %d times, with %v: %s, %v", asked, refused, state.Tag, err)
		}
		if err == nil {
			content.Close()
		}
	}
}
