package journal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A fakeTurn is the turn of a process, among others with the same last.
type fakeTurn struct {
	id     int
	last   *int // the id of the process that took the last turn
	unsure bool
	call   func() error // nil: Take does not fail
}

func (f *fakeTurn) IsClaimed() bool { return *f.last == f.id && !f.unsure }

func (f *fakeTurn) Claim() error {
	if *f.last == f.id {
		return nil
	}
	if f.call != nil {
		if err := f.call(); err != nil {
			return err
		}
	}
	*f.last = f.id
	return nil
}

func TestSystemCallsOfAChange(t *testing.T) {
	for _, tt := range []struct {
		what string
		turn func(last *int) Turn
		want int
	}{
		{"the only process opens, writes and closes", func(last *int) Turn { return &fakeTurn{id: 1, last: last} }, 3},
		{"one that can be another's next looks too", func(last *int) Turn { return &fakeTurn{1, last, true, nil} }, 4},
		{"so does one that cannot tell", func(*int) Turn { return nil }, 4},
	} {
		calls, last := 0, 0
		j := openJournal(t, counted{Files: InMemory(), calls: &calls}, Options{Turn: tt.turn(&last)})
		do(t, j, "first")
		j.Rest()
		calls = 0
		do(t, j, "a")
		if j.Rest(); calls != tt.want {
			t.Errorf("%s: there are %d system calls, want %d", tt.what, calls, tt.want)
		}
	}
}

// Two processes write by turns, in any order, over the ends of files, and one of them takes changes back. Each call of
// the one fails in turn. Neither misses a change of the other, or is told to list again.
func TestNoGapBetweenTurns(t *testing.T) {
	for order := range 64 { // the bits say who writes
		for fail := range 40 {
			files, calls, last := InMemory(), 0, 0
			opts := Options{Segment: 400, Turn: &fakeTurn{id: 1, last: &last}}
			a := openJournal(t, files, opts)
			begin, want := now(t, a), []string(nil)
			failing := counted{files, &calls, fail, false}
			b := New(failing,
				Options{Segment: 400, Boot: boot, Turn: &fakeTurn{id: 2, last: &last, call: failing.call}})
			_ = b.Load()
			b.Rest()
			for i := range 12 {
				j := a
				if order>>(i%6)&1 == 1 {
					j = b
				}
				name := fmt.Sprint("f", i)
				err := j.Append(put(name))
				switch {
				case err == nil && i%4 == 2:
					j.TakeBack()
				case err == nil:
					j.Show()
					want = append(want, name)
				case j == a && !errors.Is(err, syscall.ENOSPC):
					t.Fatalf("order %b, call %d: %v", order, fail, err)
				}
				j.Rest()
			}
			calls = 1 << 20 // nothing fails any more
			for who, j := range map[string]*Journal{"the one": a, "the failing one": b,
				"another": openJournal(t, files, Options{Segment: 400})} {
				if err := j.Adopt(); err != nil {
					t.Errorf("order %b, call %d: %s: %v", order, fail, who, err)
				}
				got, err := follow(j, begin)
				if err == nil && fail == 0 && !slices.Equal(got, want) {
					t.Errorf("order %b: %s has got %q, want %q", order, who, got, want)
				}
				wantAll(t, fmt.Sprintf("order %b, call %d: %s", order, fail, who), j, begin, want)
			}
		}
	}
}

// A process that can neither take its turn nor write the journal leaves no file that another one would continue.
func TestJournalIsBegunAnewAfterATurnThatFailed(t *testing.T) {
	files, last := InMemory(), 0
	a := openJournal(t, files, Options{Turn: &fakeTurn{id: 1, last: &last}})
	c := openJournal(t, files, Options{Turn: &fakeTurn{id: 3, last: &last}})
	do(t, a, "a")
	a.Rest()
	before := now(t, a)
	if err := c.Adopt(); err != nil {
		t.Fatal(err)
	}
	c.Rest()
	if err := a.Adopt(); err != nil { // it takes its turn
		t.Fatal(err)
	}
	a.Rest()
	fails := func() error { return syscall.EPERM }
	b := openJournal(t, files, Options{})
	b.opts.Turn = &fakeTurn{id: 2, last: &last, call: fails}
	if err := b.Append(put("b")); err != nil {
		t.Fatalf("a change must not fail for that: %v", err)
	}
	b.Show()
	b.Rest()
	if !a.Grown() || !c.Grown() {
		t.Error("the other processes do not notice that")
	}
	// A file of this one line has the length of the file that c knows.
	long := put(strings.Repeat("c", int(c.size)-len(appendChange(nil, put("")))))
	if err := a.Append(long); err != nil {
		t.Fatal(err)
	}
	a.Show()
	a.Rest()
	wantForgotten(t, "the gap", a, before)
	if err := c.Adopt(); err != nil {
		t.Fatal(err)
	}
	wantForgotten(t, "the gap", c, before)
}

func TestEmptiedJournalIsNoticed(t *testing.T) {
	files, calls := InMemory(), 0
	a := openJournal(t, files, Options{})
	b := New(counted{Files: files, calls: &calls, fail: 6}, Options{Boot: boot})
	if err := b.Load(); err != nil {
		t.Fatal(err)
	}
	b.Rest()
	before := now(t, a)
	for calls = 3; calls < 6; { // until its write fails
		if err := b.Append(put("b")); err != nil {
			t.Fatal(err)
		}
		b.Show()
		b.Rest()
	}
	if !a.Grown() {
		t.Error("nothing has changed")
	}
	if err := a.Adopt(); err != nil {
		t.Fatal(err)
	}
	wantForgotten(t, "the gap", a, before)
}

// A process that has taken its turn, and could not look at the journal then, looks at it the next time.
func TestTurnWithoutALookCountsForNothing(t *testing.T) {
	files, last := &noDescriptors{Files: InMemory()}, 0
	a := openJournal(t, files, Options{Turn: &fakeTurn{id: 1, last: &last}})
	b := openJournal(t, files, Options{Turn: &fakeTurn{id: 2, last: &last}})
	begin := now(t, a)
	do(t, b, "b")
	b.Rest()
	files.now = true
	if err := a.Append(put("refused")); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("error %v", err)
	}
	files.now = false
	do(t, a, "a")
	a.Rest()
	wantFollowed(t, "the one", a, begin, "b", "a")
	if err := b.Adopt(); err != nil {
		t.Fatal(err)
	}
	wantFollowed(t, "the other", b, begin, "b", "a")
}

// noDescriptors fails to open files for now.
type noDescriptors struct {
	Files
	now bool
}

func (f *noDescriptors) Append(name string, begin bool) (File, error) {
	if f.now && !begin {
		return nil, syscall.EMFILE
	}
	return f.Files.Append(name, begin)
}
