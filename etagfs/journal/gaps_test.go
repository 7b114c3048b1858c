package journal

import (
	"fmt"
	"slices"
	"syscall"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// counted counts the calls, and fails one of them.
type counted struct {
	Files
	calls *int
	fail  int // the number of the call that fails
	every bool
}

func (c counted) call() error {
	if *c.calls++; *c.calls == c.fail || c.every && *c.calls > c.fail && c.fail > 0 {
		return syscall.ENOSPC
	}
	return nil
}

func (c counted) List() ([]string, error) {
	if err := c.call(); err != nil {
		return nil, err
	}
	return c.Files.List()
}

func (c counted) Append(name string, begin bool) (File, error) {
	if err := c.call(); err != nil {
		return nil, err
	}
	f, err := c.Files.Append(name, begin)
	return countedFile{f, c}, err
}

func (c counted) Remove(name string) error {
	if err := c.call(); err != nil {
		return err
	}
	return c.Files.Remove(name)
}

type countedFile struct {
	File
	c counted
}

func (f countedFile) Write(p []byte) (int, error) {
	if err := f.c.call(); err != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f countedFile) Size() (int64, int64, error) {
	if err := f.c.call(); err != nil {
		return 0, 0, err
	}
	return f.File.Size()
}

func (f countedFile) Truncate(size int64) error {
	if err := f.c.call(); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f countedFile) Close() error {
	*f.c.calls++
	return f.File.Close()
}

// TestNoGapIsUntold lets each call fail in turn, alone and with all that follow. Each follower gets each change that
// has happened, or is told to list again. So does one that comes after a restart.
func TestNoGapIsUntold(t *testing.T) {
	for _, every := range []bool{false, true} {
		for fail := 1; ; fail++ {
			files, calls, last := InMemory(), 0, 0
			first := openJournal(t, files, Options{Segment: 500, Turn: &fakeTurn{id: 1, last: &last}})
			begin := now(t, first)
			failing := counted{files, &calls, fail, every}
			turn := &fakeTurn{id: 2, last: &last, call: failing.call}
			j := New(failing, Options{Segment: 500, Boot: boot, Turn: turn})
			err := j.Load()
			var want []string
			for i := range 20 {
				name := fmt.Sprint("f", i)
				if j.Append(put(name)) != nil {
					continue // it must not happen, and does not
				}
				if i%4 == 3 {
					j.TakeBack()
					continue
				}
				j.Show()
				if i%3 == 0 {
					j.Rest()
				}
				want = append(want, name)
			}
			what := fmt.Sprintf("call %d fails, and the following: %v (open: %v)", fail, every, err)
			wantAll(t, what, j, begin, want)
			wantAll(t, what+", reopened", openJournal(t, files, Options{Segment: 500}), begin, want)
			if adopted := first.Adopt(); adopted != nil {
				t.Errorf("%s: another process fails with %v", what, adopted)
			}
			wantAll(t, what+", another process", first, begin, want)
			if calls < fail {
				break
			}
		}
	}
}

// wantAll accepts more changes than have happened, and any error.
func wantAll(t *testing.T, what string, j *Journal, begin tree.Cursor, want []string) {
	t.Helper()
	got, err := follow(j, begin)
	if err != nil {
		return
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%s: %q is not told, only %q, error %v", what, name, got, err)
			return
		}
	}
}
