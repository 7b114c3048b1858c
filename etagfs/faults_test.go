package etagfs_test

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestFaults lets the n-th system call of each kind of commit fail, for every n.
func TestFaults(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			ends := committed(t, k)
			for n := 1; ; n++ {
				failed := failNth(t, k, ends, n, syscall.EIO, false)
				if failed.Op == "" {
					break
				}
				// What cannot change the disk is nothing new to those that come after.
				if changesDisk(failed) {
					failNth(t, k, ends, n, syscall.ENOSPC, false)
					failNth(t, k, ends, n, syscall.EIO, true)
				}
			}
		})
	}
}

// TestFaultsInARow lets some system calls in a row fail, of each kind of commit, from each of them on: also those that
// put back what the commit had taken away. Another process that keeps next to nothing clears up then, before it is put
// back.
func TestFaultsInARow(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			ends := committed(t, k)
			for _, row := range []int{2, 4} {
				for n := 1; failInARow(t, k, ends, n, row); n++ {
				}
			}
		})
	}
}

func failInARow(t *testing.T, k kind, ends ends, n, row int) (failed bool) {
	t.Helper()
	seam := seam{lacks: k.lacks}
	dir := quickDir(t)
	defer os.RemoveAll(dir)
	s := openQuietly(t, dir, fs.Options{Before: seam.before, Durability: fs.None})
	if err := k.setup(s); err != nil {
		t.Fatal(err)
	}
	s.LeaveAway()
	var calls []string
	seam.arm(func(at int, c vfs.Call) error {
		if at < n || at >= n+row {
			return nil
		}
		calls = append(calls, c.String())
		return syscall.EMFILE
	})
	err := k.do(s)
	seam.arm(nil)
	report := func(format string, args ...any) {
		t.Helper()
		t.Errorf("calls %d to %d fail, %q, the commit with %v: "+format,
			append([]any{n, n + row - 1, calls, err}, args...)...)
	}
	if now := snapshot(t, s); now != ends.old && now != ends.new && !errors.Is(err, tree.ErrUnsure) {
		report("it does not say that something else is there now:\n%s", now)
	}

	other, failure := fs.Open(dir, fs.Options{History: true})
	if failure != nil {
		t.Fatal(failure)
	}
	smallest := history.Retention{Keep: time.Hour, Most: 1}
	if err := errors.Join(other.Expire(ctx, smallest), other.EmptyTrash(ctx), other.Recover(ctx)); err != nil {
		report("another process is in trouble: %v", err)
	}
	if s.PutBack() {
		report("something could not be put back")
	}
	now := snapshot(t, s)
	if now != ends.old && now != ends.new && now != ends.between || err == nil && now != ends.new {
		report("was\n%s\nis\n%s", ends.old, now)
	}
	if err := errors.Join(s.Close(), other.Close()); err != nil {
		report("Close: %v", err)
	}
	if left := litter(t, dir); left != nil {
		report("it leaves %q", left)
	}
	return len(calls) > 0
}

// failNth does one commit of a fresh tree and lets its n-th system call fail; and with goOn all that follow. It returns
// that call.
func failNth(t *testing.T, k kind, ends ends, n int, fault error, goOn bool) (failed vfs.Call) {
	t.Helper()
	seam := seam{lacks: k.lacks}
	dir := quickDir(t)
	s := openQuietly(t, dir, fs.Options{Before: seam.before})
	if err := k.setup(s); err != nil {
		t.Fatal(err)
	}
	old := ends.old

	seam.arm(func(at int, c vfs.Call) error {
		if at == n {
			failed = c
		}
		if at == n || goOn && at > n {
			return fault
		}
		return nil
	})
	err := k.do(s)
	if !goOn {
		seam.arm(nil)
	}
	report := func(format string, args ...any) {
		t.Helper()
		t.Errorf("call %d, %s, fails with %v, the commit with %v: "+format,
			append([]any{n, failed, fault, err}, args...)...)
	}
	if failed.Op != "" && err != nil {
		want := fault
		if fault == syscall.ENOSPC {
			want = tree.ErrNoSpace
		}
		if !errors.Is(err, want) {
			report("want it to be %v", want)
		}
	}
	if !goOn {
		now := snapshot(t, s)
		switch {
		case err == nil:
			if now != ends.new {
				report("it is not there")
			}
		case now != old && !mayFailAfter(failed):
			report("was\n%s\nis\n%s", old, now)
		}
		if err := put(s, "next", "succeeds", tree.Condition{}); err != nil {
			report("the next commit fails with %v", err)
		}
		if err := s.Close(); err != nil {
			report("Close: %v", err)
		}
		if left := litter(t, dir); left != nil && !isDisplacing(failed) {
			report("it leaves %q", left)
		}
	} else {
		s.Close() // as well as it can
	}

	// Whoever comes next finds the old version or the new one, and clears up.
	s = openQuietly(t, dir, fs.Options{})
	next := snapshot(t, s)
	if err := s.Remove(ctx, "next", tree.Condition{}); !goOn && err != nil {
		report("the next commit is gone: %v", err)
	}
	now := snapshot(t, s)
	s.Close()
	if now != old && now != ends.new && !(goOn && now == ends.between) {
		report("reopened:\n%s\nwant\n%s\nor\n%s", next, old, ends.new)
	} else if err == nil && now != ends.new {
		report("acknowledged, and reopened:\n%s\nwant\n%s", now, ends.new)
	}
	if left := litter(t, dir); left != nil {
		report("reopened, there is left %q", left)
	}
	return failed
}

// ends are the trees in which a commit can end: after one in which nothing fails, and its between.
type ends struct{ old, new, between string }

func committed(t *testing.T, k kind) ends {
	t.Helper()
	after := func(steps ...func(tree.Store) error) string {
		s := openQuietly(t, dirOf(t, k), fs.Options{})
		defer s.Close()
		for _, step := range steps {
			if err := step(s); err != nil {
				t.Fatal(err)
			}
		}
		return snapshot(t, s)
	}
	e := ends{old: after(k.setup), new: after(k.setup, k.do)}
	if k.between != nil {
		e.between = after(k.between)
	}
	return e
}

// mayFailAfter reports whether a call comes after the swap, so that its failure leaves the new version, unacknowledged:
// the sync of directories and of the notes of the history, and the end of locks of what is gone.
func mayFailAfter(c vfs.Call) bool {
	return c.Op == "syncDir" || c.Op == "open" || strings.HasPrefix(c.Name, ".ifmatch/locks") ||
		c.Op == "sync" && strings.HasPrefix(c.Name, ".ifmatch/history")
}

// isDisplacing reports whether a call is about a version that gave way. If it fails, that may stay until the next
// start.
func isDisplacing(c vfs.Call) bool {
	return displaced.MatchString(c.Name) || displaced.MatchString(c.To)
}

var displaced = regexp.MustCompile(`stage/[^/]+/d`)

// TestPutBackByItself: a move that could be neither finished nor undone is finished a moment later, and that is told.
func TestPutBackByItself(t *testing.T) {
	var seam seam
	told := make(chan string, 16)
	dir := quickDir(t)
	below, err := fs.Open(dir, fs.Options{Before: seam.before, History: true})
	s, _ := open(t, etagfs.Options{Report: func(err error) { told <- err.Error() }}, below, err)
	if err := lay("f=precious", "g=old")(s); err != nil {
		t.Fatal(err)
	}
	failing := false
	seam.arm(func(_ int, c vfs.Call) error {
		if failing {
			return syscall.EMFILE
		}
		failing = c.Op == "exchange"
		return nil
	})
	err = move("f", "g")(s)
	seam.arm(nil)
	if !errors.Is(err, tree.ErrUnsure) {
		t.Fatalf("got error %v", err)
	}
	for _, want := range []string{"could not be finished or undone", "is finished, or undone"} {
		select {
		case got := <-told:
			if !strings.Contains(got, want) || !strings.Contains(got, `"f"`) {
				t.Errorf("told %q, want something about f that %s", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("nothing is told that %s", want)
		}
	}
	if got, err := os.ReadFile(dir + "/g"); string(got) != "precious" {
		t.Errorf("g is %q, error %v", got, err)
	}
	if _, err := os.Stat(dir + "/f"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("f: %v", err)
	}
	if got := versionsOf(t, dir, "g"); !slices.Equal(got, []string{"old"}) {
		t.Errorf("the history has %q", got)
	}
}
