//go:build unix

package etagfs_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// dieEnv tells the test binary to do one commit and to die in it: "kind n race dir". With race 1, a local program
// replaces f at the moment at which it is about to give way.
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
	var n, race int
	if _, err := fmt.Sscan(how, &name, &n, &race, &dir); err != nil {
		return err
	}
	var k kind
	for _, k = range slices.Concat(kinds(), nestedKinds(), uploadKinds(), undoKinds()) {
		if k.name == name {
			break
		}
	}
	racing := race
	seam := seam{lacks: k.lacks}
	s := openQuietly(&testing.T{}, dir, fs.Options{Before: seam.before})
	if err := errors.Join(k.setup(s), put(s, "acknowledged", "before", tree.Condition{})); err != nil {
		return err
	}
	fmt.Println("acknowledged")
	changes := 0
	var last vfs.Call
	seam.arm(func(_ int, c vfs.Call) error {
		if race > 0 && (c.Op == "exchange" || c.Op == "renameNew" && c.Name == "f") {
			race = 0
			fmt.Println(raced)
			if err := errors.Join(os.WriteFile(dir+"/.theirs", []byte("theirs"), 0o666),
				os.Rename(dir+"/.theirs", dir+"/f")); err != nil {
				return err
			}
		}
		if !changesDisk(c) {
			return nil
		}
		again := c.Op == "write" && c == last && k.mounts != nil // the probe of a file system writes many times
		if last = c; again {
			return nil
		}
		if changes++; changes == n {
			fmt.Println(c)
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	})
	if err := k.do(s); race == racing {
		return err
	}
	return nil // a local program came between, and may be what it says
}

// raced is what a process says when the local program has come.
const raced = "raced"

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

// TestDieNested kills a process in commits on a file system of their own, and between two.
func TestDieNested(t *testing.T) {
	for _, k := range nestedKinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			ends := committed(t, k)
			for n := 1; dieAt(t, k, ends, n); n++ {
			}
		})
	}
}

// TestDieBesideAnother kills a process in each kind of move that replaces something by an exchange, at every system
// call. The client repeats the request, at a server that has been there all the time or at one that starts: in the end
// the move is done, and what gave way is in the history.
func TestDieBesideAnother(t *testing.T) {
	for _, k := range kinds() {
		if !strings.HasPrefix(k.name, "move-") || k.gone == "" || k.lacks != nil {
			continue
		}
		for _, other := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/there is another: %v", k.name, other), func(t *testing.T) {
				t.Parallel()
				want := committed(t, k).new
				for n := 1; repeatedAt(t, k, want, other, n); n++ {
				}
			})
		}
	}
}

func repeatedAt(t *testing.T, k kind, want string, other bool, n int) (died bool) {
	t.Helper()
	dir := quickDir(t)
	var s *etagfs.Store
	if other {
		s = openQuietly(t, dir, fs.Options{})
	}
	died, at := dieIn(t, dir, k, n, 0)
	if s == nil {
		s = openQuietly(t, dir, fs.Options{})
	}
	defer s.Close()
	// A server that finds it done says that nothing is there.
	if err := k.do(s); err != nil && !errors.Is(err, tree.ErrNotExist) {
		t.Errorf("death at %d, %s: repeated: %v", n, at, err)
	}
	if err := s.Remove(ctx, "acknowledged", tree.Condition{}); err != nil {
		t.Errorf("death at %d, %s: what was acknowledged: %v", n, at, err)
	}
	if now := snapshot(t, s); now != want {
		t.Errorf("death at %d, %s, and repeated:\n%s\nwant\n%s", n, at, now, want)
	}
	if kept := versionsOf(t, dir, k.gone); len(kept) != 1 {
		t.Errorf("death at %d, %s, and repeated: the history has %q of what gave way", n, at, kept)
	}
	return died
}

// dieIn runs a process that does a commit in dir and dies at its n-th change, if there is one: at is that then.
func dieIn(t *testing.T, dir string, k kind, n, race int) (died bool, at string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d %s", dieEnv, k.name, n, race, dir))
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
	return died, strings.TrimPrefix(strings.TrimSpace(string(out)), "acknowledged\n")
}

func dieAt(t *testing.T, k kind, ends ends, n int) (died bool) {
	t.Helper()
	dir := dirOf(t, k)
	died, at := dieIn(t, dir, k, n, 0)
	s := openQuietly(t, dir, fs.Options{})
	if err := s.Remove(ctx, "acknowledged", tree.Condition{}); err != nil {
		t.Errorf("death at %d, %s: what was acknowledged: %v", n, at, err)
	}
	now := snapshot(t, s)
	if now != ends.new && (!died || now != ends.old && now != ends.between) {
		t.Errorf("death at %d, %s:\n%s\nwant\n%s\nor\n%s", n, at, now, ends.old, ends.new)
	}
	wantTold(t, fmt.Sprintf("death at %d, %s", n, at), s, "acknowledged", ends.old, now)
	if now == ends.new && k.gone != "" && len(versionsOf(t, dir, k.gone)) == 0 {
		t.Errorf("death at %d, %s: what gave way is not in the history", n, at)
	}
	if err := s.Close(); err != nil {
		t.Errorf("death at %d, %s: Close: %v", n, at, err)
	}
	if left := litter(t, dir); left != nil {
		t.Errorf("death at %d, %s: it leaves %q", n, at, left)
	}
	return died
}

// TestDieInARace kills a process at every system call of a commit into which a local program comes. Its version is
// there after the restart, or where it was moved to, or in the history.
func TestDieInARace(t *testing.T) {
	for _, k := range kinds() {
		switch k.name {
		case "put-over", "put-over-if", "remove-file", "remove-if", "move-if", "move-over-if", "move-tree-over-file":
			t.Run(k.name, func(t *testing.T) {
				t.Parallel()
				for n := 1; dieInRaceAt(t, k, n); n++ {
				}
			})
		}
	}
}

func dieInRaceAt(t *testing.T, k kind, n int) (died bool) {
	t.Helper()
	dir := quickDir(t)
	died, at := dieIn(t, dir, k, n, 1)
	s := openQuietly(t, dir, fs.Options{})
	now := snapshot(t, s)
	if err := s.Close(); err != nil {
		t.Errorf("death at %d, %s: Close: %v", n, at, err)
	}
	if !strings.Contains(at, raced) {
		return died // before the local program came: the other test has that
	}
	found := func(in string) bool {
		content, err := os.ReadFile(filepath.Join(dir, in))
		return err == nil && string(content) == "theirs"
	}
	// A move that replaces something and is half done stays like that, and is told of: nobody knows whose turn it was.
	if !found("f") && !found("g") && !found("d/g") && !found("s") && !slices.Contains(versionsOf(t, dir, "f"), "theirs") {
		t.Errorf("death at %d, %s: the local program's version is gone; there is\n%s", n, at, now)
	}
	if left := litter(t, dir); left != nil {
		t.Errorf("death at %d, %s: it leaves %q", n, at, left)
	}
	return died
}
