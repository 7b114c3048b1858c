package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// An interrupted command prints in one line how much it did.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	if err := errors.Join(os.WriteFile(large, nil, 0o666), os.Truncate(large, 1<<40)); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]string{
		"warm":   "ifmatch: interrupted after 0 of 1 files were hashed (0 B of 1.0 TiB): run it again to go on from there\n",
		"verify": "ifmatch: interrupted before all of 1 file (1.0 TiB) was read; 0 files (0 B) read: 0 unchanged, 0 not known before, 0 changed without a new time stamp, 0 unreadable\n",
	} {
		t.Run(command, func(t *testing.T) {
			cmd := exec.Command("ifmatch", "index", command, dir)
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for deadline := time.After(servertest.Patience); !opens(cmd.Process.Pid, large); {
				select {
				case <-tick.C:
				case <-deadline:
					t.Fatalf("the file is not read: %s", stderr.String())
				}
			}
			if err := cmd.Process.Signal(unix.SIGINT); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // its status says it
			if status := cmd.ProcessState.ExitCode(); status != 130 || stdout.String() != "" || stderr.String() != want {
				t.Errorf("it ends with %d, and %q and %q", status, stdout.String(), stderr.String())
			}
		})
	}
}

// opens reports whether a process has a file open.
func opens(pid int, name string) bool {
	links, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "fd", "*"))
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == name {
			return true
		}
	}
	return false
}
