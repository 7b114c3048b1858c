//go:build unix

package etagfs_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"ifmatch/fs"
)

// dieEnv tells the test binary to do one commit and to die in it: "kind n dir".
const dieEnv = "IFMATCH_TEST_DIE"

func TestMain(m *testing.M) {
	if how := os.Getenv(dieEnv); how != "" {
		if err := die(how); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// die does a commit in a tree and kills its own process at the n-th system call that could change the disk; dying at
// another leaves what dying at the next of these does. It returns if there is no n-th.
func die(how string) error {
	var name, dir string
	var n int
	if _, err := fmt.Sscan(how, &name, &n, &dir); err != nil {
		return err
	}
	var k kind
	for _, k = range kinds() {
		if k.name == name {
			break
		}
	}
	var seam seam
	s := openQuietly(&testing.T{}, dir, fs.Options{Before: seam.before})
	if err := errors.Join(k.setup(s), put(s, "acknowledged", "before", nil)); err != nil {
		return err
	}
	fmt.Println("acknowledged")
	changes := 0
	seam.arm(func(_ int, c fs.Call) error {
		if !changesDisk(c) {
			return nil
		}
		if changes++; changes == n {
			fmt.Println(c)
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	})
	return k.do(s)
}

// TestDie kills a process in each kind of commit, at every system call, and looks at what the next one finds.
func TestDie(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			ends := committed(t, k)
			for n := 1; dieAt(t, k, ends, n); n++ {
			}
		})
	}
}

func dieAt(t *testing.T, k kind, ends ends, n int) (died bool) {
	t.Helper()
	dir := quickDir(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %s", dieEnv, k.name, n, dir))
	out, err := cmd.Output()
	exit := new(exec.ExitError)
	if errors.As(err, &exit) {
		if status := exit.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
			t.Fatalf("the process failed: %v: %s", err, exit.Stderr)
		}
		died = true
	} else if err != nil {
		t.Fatal(err)
	}
	at := strings.TrimPrefix(strings.TrimSpace(string(out)), "acknowledged\n")

	s := openQuietly(t, dir, fs.Options{})
	if err := s.Remove(ctx, "acknowledged", nil); err != nil {
		t.Errorf("death at %d, %s: what was acknowledged: %v", n, at, err)
	}
	now := snapshot(t, s)
	if now != ends.new && (!died || now != ends.old && now != ends.between) {
		t.Errorf("death at %d, %s:\n%s\nwant\n%s\nor\n%s", n, at, now, ends.old, ends.new)
	}
	if err := s.Close(); err != nil {
		t.Errorf("death at %d, %s: Close: %v", n, at, err)
	}
	if left := litter(t, dir); left != nil {
		t.Errorf("death at %d, %s: it leaves %q", n, at, left)
	}
	return died
}
