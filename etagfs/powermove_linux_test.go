//go:build power

package etagfs_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestPowerFailsInAMove takes the power at each system call of a move that replaces something: the disk comes back as
// it is then, or as it is after the kernel has written all changes to it. What was acknowledged is there. The client
// repeats the move, which is done in the end, and what gave way is in the history. It needs root and loop devices;
// .ci/long runs it.
func TestPowerFailsInAMove(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: root can mount an image of a disk, and others cannot")
	}
	for _, system := range []string{"ext4", "xfs"} {
		for _, k := range kinds() {
			if k.name != "move-over-if" && k.name != "move-tree-over-file" {
				continue
			}
			for _, written := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/all is written: %v", system, k.name, written), func(t *testing.T) {
					want := committed(t, k).new
					for n := 1; powerFailsAt(t, system, k, want, written, n); n++ {
					}
				})
			}
		}
	}
}

func powerFailsAt(t *testing.T, system string, k kind, want string, written bool, n int) (failed bool) {
	t.Helper()
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
	}
	dir := t.TempDir()
	disk, left := filepath.Join(dir, "disk.img"), filepath.Join(dir, "left.img")
	f, err := os.Create(disk)
	if err == nil {
		err = errors.Join(f.Truncate(320<<20), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "at")
	if err := os.Mkdir(at, 0o777); err != nil {
		t.Fatal(err)
	}
	run("mkfs."+system, "-q", disk)
	run("mount", "-o", "loop", disk, at)
	var seam seam
	s := openQuietly(t, at, fs.Options{Before: seam.before})
	if err := errors.Join(k.setup(s), put(s, "acknowledged", "before", tree.Condition{})); err != nil {
		t.Fatal(err)
	}
	call := ""
	seam.arm(func(i int, c vfs.Call) error {
		if i == n {
			call = c.String()
			if written {
				run("sync", "-f", at)
			}
			run("cp", "--sparse=always", disk, left)
		}
		return nil
	})
	err = k.do(s)
	seam.arm(nil)
	if err = errors.Join(err, s.Close()); err != nil {
		t.Error(err)
	}
	run("umount", at)
	if call == "" {
		return false
	}

	run("mount", "-o", "loop", left, at)
	defer run("umount", at)
	s = openQuietly(t, at, fs.Options{})
	defer s.Close()
	if err := k.do(s); err != nil && !errors.Is(err, tree.ErrNotExist) {
		t.Errorf("the power fails at call %d, %s; repeated: %v", n, call, err)
	}
	if err := s.Remove(ctx, "acknowledged", tree.Condition{}); err != nil {
		t.Errorf("the power fails at call %d, %s: what was acknowledged: %v", n, call, err)
	}
	now := strings.ReplaceAll(snapshot(t, s), "\nlost+found/ tag=", "") // which ext4 makes
	if now != want {
		t.Errorf("the power fails at call %d, %s, and the move is repeated:\n%s\nwant\n%s", n, call, now, want)
	}
	if kept := versionsOf(t, at, k.gone); len(kept) != 1 {
		t.Errorf("the power fails at call %d, %s, and the move is repeated: the history has %q of what gave way", n,
			call, kept)
	}
	return true
}
