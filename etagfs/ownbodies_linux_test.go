package etagfs_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// putKept writes the file of a keeper.
func putKept(t *testing.T, s *etagfs.Store, content []byte) {
	t.Helper()
	opts := tree.PutOptions{Length: int64(len(content))}
	if _, _, err := s.Put(ctx, "f", bytes.NewReader(content), opts, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
}

// wantOnDisk reads the file of a keeper several times. Each read must get the content that is on the disk. It returns
// how many reads took nothing from the disk but looks.
func wantOnDisk(t *testing.T, s *etagfs.Store, seam *seam, file, when string) (fromMemory int) {
	t.Helper()
	for again := range 4 {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, calls, err := readKept(s, seam)
		if err != nil || got != string(want) {
			t.Fatalf("%s, read %d (%s): %q…, %v, want %q…", when, again, calls, got[:min(4, len(got))], err, want[:4])
		}
		if !strings.Contains(calls, "readAt") {
			fromMemory++
		}
	}
	return fromMemory
}

// TestContentOfOwnPutIsNeverStale has a program change a file after each PUT of the server. Each read gets the content
// of now. The program may have the old version mapped, or have the new one mapped from the end of the PUT on, or make
// a mapping after the first read and keep it.
func TestContentOfOwnPutIsNeverStale(t *testing.T) {
	for _, p := range programs() {
		if p.name == "writes by another name" {
			continue // a PUT leaves the other name with the version before
		}
		t.Run(p.name, func(t *testing.T) {
			var seam seam
			s, file := keeper(t, &seam)
			if !s.Abilities().Mappings {
				t.Skip("NOT RUN: no content is kept here")
			}
			fromMemory := 0
			for round := range 20 {
				putKept(t, s, contentOf(4*round+1))
				state, err := p.begin(file)
				if err != nil {
					t.Fatal(err)
				}
				fromMemory += wantOnDisk(t, s, &seam, file, "after the PUT")
				for again := range 3 {
					if err := p.change(file, state, contentOf(4*round+2+again)); err != nil {
						t.Fatal(err)
					}
					wantOnDisk(t, s, &seam, file, "after the change")
				}
				if state != nil {
					if err := unix.Munmap(state); err != nil {
						t.Fatal(err)
					}
				}
			}
			if p.idle && fromMemory < 4*20 {
				t.Errorf("%d of %d reads after a PUT read no file", fromMemory, 4*20)
			}
		})
	}
}

// TestWriterWhileOwnContentIsKept has a program come before each system call of a PUT, and write to the file as soon as
// it may: at once, or when the PUT has ended. It may also keep the file mapped from then on.
func TestWriterWhileOwnContentIsKept(t *testing.T) {
	var seam seam
	s, file := keeper(t, &seam)
	if !s.Abilities().Mappings {
		t.Skip("NOT RUN: no content is kept here")
	}
	for at := 1; ; at++ {
		var tried error
		calls := 0
		seam.arm(func(n int, _ vfs.Call) error {
			if calls = n; n == at {
				tried = tryToWrite(file, contentOf(3*at+1))
			}
			return nil
		})
		putKept(t, s, contentOf(3*at))
		seam.arm(nil)
		if calls < at {
			break
		}
		wantOnDisk(t, s, &seam, file, "after the PUT")
		if tried != nil { // a lease has kept the program out
			if err := os.WriteFile(file, contentOf(3*at+1), 0o666); err != nil {
				t.Fatal(err)
			}
			wantOnDisk(t, s, &seam, file, "after the program has come")
		}
		memory, err := mapOf(file)
		if err != nil {
			t.Fatal(err)
		}
		wantOnDisk(t, s, &seam, file, "mapped")
		copy(memory, contentOf(3*at+2))
		wantOnDisk(t, s, &seam, file, "stored to")
		if err := unix.Munmap(memory); err != nil {
			t.Fatal(err)
		}
	}
}
