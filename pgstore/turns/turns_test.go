package turns

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const patience = time.Minute

// TestOrder: writers of one name have their turns in the order in which they have come, and those of another name wait
// for none of them.
func TestOrder(t *testing.T) { synctest.Test(t, testOrder) }

func testOrder(t *testing.T) {
	turns := New(2)
	take := func(name string, again func() error) func(bool) {
		leave, err := turns.Wait(t.Context(), name, patience, again)
		if err != nil {
			t.Error(err)
		}
		return leave
	}
	first, second := take("a", nil), take("a", nil)
	var mu sync.Mutex
	var order []int
	var wait sync.WaitGroup
	for i := range 5 {
		wait.Go(func() {
			leave := take("a", nil)
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
			leave(true)
		})
		synctest.Wait()
	}
	take("b", nil)(false)
	if len(order) != 0 {
		t.Errorf("%v have had their turns beside two others", order)
	}
	first(false)
	wait.Wait()
	second(false)
	if !slices.IsSorted(order) || len(order) != 5 {
		t.Errorf("the order is %v", order)
	}
	if len(turns.lines) != 0 {
		t.Errorf("%d lines are left", len(turns.lines))
	}
}

// TestEndOfAWait: a writer that gives up leaves its place to the next one, also when its turn has just come. It asks again
// when the version is replaced, and only then.
func TestEndOfAWait(t *testing.T) {
	refused := errors.New("refused")
	for _, test := range []struct {
		name     string
		want     error
		replaced bool
		patience time.Duration
		cancel   bool
	}{
		{name: "replaced", want: refused, replaced: true, patience: patience},
		{name: "not replaced", patience: patience},
		{name: "too late", want: ErrLate, patience: time.Nanosecond},
		{name: "the client is gone", want: context.Canceled, patience: patience, cancel: true},
	} {
		bubble(t, test.name, func(t *testing.T) {
			turns := New(1)
			leave, err := turns.Wait(t.Context(), "a", patience, nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			asked, decide, done := make(chan struct{}), make(chan struct{}), make(chan error)
			go func() {
				leave, err := turns.Wait(ctx, "a", test.patience, func() error {
					close(asked)
					<-decide // its turn comes meanwhile
					return refused
				})
				if err == nil {
					leave(false)
				}
				done <- err
			}()
			next := make(chan error)
			synctest.Wait()
			if test.cancel {
				cancel()
			}
			if test.replaced || test.want == nil {
				leave(test.replaced)
			}
			if test.replaced {
				// It may have had its turn first: then it has not asked.
				select {
				case <-asked:
				case err := <-done:
					if err != nil {
						t.Errorf("it has its turn: %v", err)
					}
					return
				}
			}
			close(decide)
			if err := <-done; err != test.want {
				t.Errorf("it ends with %v, want %v", err, test.want)
			}
			if !test.replaced && test.want != nil {
				leave(false)
			}
			go func() {
				leave, err := turns.Wait(t.Context(), "a", patience, nil)
				if err == nil {
					leave(false)
				}
				next <- err
			}()
			if err := <-next; err != nil {
				t.Errorf("the next one: %v", err)
			}
			if len(turns.lines) != 0 {
				t.Errorf("%d lines are left", len(turns.lines))
			}
		})
	}
}

// TestCount: a writer is counted from its beginning to its end, by its name.
func TestCount(t *testing.T) {
	turns := New(1)
	if turns.Any([]string{"a"}) {
		t.Error("a writer is counted that has not begun")
	}
	end := turns.Count("a")
	if !turns.Any([]string{"b", "a"}) || turns.Any([]string{"b"}) {
		t.Error("writers are counted by their names")
	}
	if end(); turns.Any([]string{"a"}) || len(turns.lines) != 0 {
		t.Error("a writer is counted that has ended")
	}
}

// TestReplacedVersionIsAskedOf: a writer that waits behind others is refused as soon as its version was replaced.
func TestReplacedVersionIsAskedOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, refused, end := New(1), errors.New("refused"), make(chan struct{})
		first, err := turns.Wait(t.Context(), "a", patience, nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			next, err := turns.Wait(t.Context(), "a", patience, nil)
			if err != nil {
				t.Error(err)
				return
			}
			<-end
			next(false)
		}()
		synctest.Wait()
		began := time.Now()
		var ended error
		go func() { _, ended = turns.Wait(t.Context(), "a", patience, func() error { return refused }) }()
		synctest.Wait()
		first(true)
		synctest.Wait()
		if ended != refused || time.Since(began) != 0 {
			t.Errorf("it ends with %v after %v", ended, time.Since(began))
		}
		close(end)
		synctest.Wait()
		if len(turns.lines) != 0 {
			t.Errorf("%d lines are left", len(turns.lines))
		}
	})
}

// bubble runs a subtest in a bubble of its own.
func bubble(t *testing.T, name string, run func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, run) })
}

// TestPanicInAWait: a writer whose question panics leaves its place to the next one.
func TestPanicInAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := New(1)
		leave, err := turns.Wait(t.Context(), "a", patience, nil)
		if err != nil {
			t.Fatal(err)
		}
		second, err := make(chan func(bool)), error(nil)
		var wait sync.WaitGroup
		wait.Go(func() {
			defer func() {
				if recover() != "asked" {
					t.Error("the panic is lost")
				}
			}()
			_, _ = turns.Wait(t.Context(), "a", patience, func() error { panic("asked") })
		})
		synctest.Wait()
		go func() {
			var leave func(bool)
			leave, err = turns.Wait(t.Context(), "a", patience, nil)
			second <- leave
		}()
		synctest.Wait()
		turns.mu.Lock()
		close(turns.lines["a"].replaced) // as leave does, but no turn has come yet
		turns.lines["a"].replaced = make(chan struct{})
		turns.mu.Unlock()
		wait.Wait()
		leave(true)
		if leave = <-second; err != nil {
			t.Fatal(err)
		}
		leave(false)
		if len(turns.lines) != 0 {
			t.Errorf("%d lines are left", len(turns.lines))
		}
	})
}
