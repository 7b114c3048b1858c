package hold

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// A tested lock is one in memory.
type tested struct {
	order uint64
	full  chan struct{}
}

func newTested(order uint64) *tested { return &tested{order, make(chan struct{}, 1)} }

func (l *tested) Order() uint64 { return l.order }
func (l *tested) Release()      { <-l.full }

func (l *tested) Take(ctx context.Context, patience time.Duration) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case l.full <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return vfs.ErrBusy
	}
}

func (l *tested) isHeld() bool { return len(l.full) > 0 }

const within = 10 * time.Second

func take(t *testing.T, locks ...Lock) *Held {
	t.Helper()
	h, err := Take(t.Context(), locks, within)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// wantHeld asserts which of the locks are held.
func wantHeld(t *testing.T, locks []*tested, want ...bool) {
	t.Helper()
	synctest.Wait()
	for i, l := range locks {
		if l.isHeld() != want[i] {
			t.Errorf("lock %d is held: %v, want %v", i, l.isHeld(), want[i])
		}
	}
}

// TestLocksOfAHolderThatHangs lets the holder of two locks hang for a while, at each stage of its work.
func TestLocksOfAHolderThatHangs(t *testing.T) {
	for _, tt := range []struct {
		name    string
		hang    func(t *testing.T, h *Held, stalled *int)
		want    [2]bool // which locks are held after that
		stands  bool
		keeps   error // of a Keep of the first lock after that
		stalled int   // 1: stall was called
	}{
		{"not at all", func(t *testing.T, h *Held, _ *int) { time.Sleep(Patience / 2) }, [2]bool{true, true}, true, nil,
			0},
		{"before a change", func(t *testing.T, h *Held, _ *int) { time.Sleep(2 * Patience) }, [2]bool{}, false,
			ErrLetGo, 0},
		{"in a change of the first", func(t *testing.T, h *Held, stalled *int) {
			keep(t, h, stalled, 1)
			time.Sleep(2 * Patience)
		}, [2]bool{true, false}, true, nil, 1},
		{"in a change of the second", func(t *testing.T, h *Held, stalled *int) {
			keep(t, h, stalled, 2)
			time.Sleep(2 * Patience)
		}, [2]bool{false, true}, true, ErrLetGo, 1},
		{"in a change of both", func(t *testing.T, h *Held, stalled *int) {
			keep(t, h, stalled, 1, 2)
			time.Sleep(2 * Patience)
		}, [2]bool{true, true}, true, nil, 0},
		{"where it needs the lock for a moment", func(t *testing.T, h *Held, _ *int) {
			if !h.Pin(1) {
				t.Fatal("it is not held")
			}
			time.Sleep(3 * Patience)
			if !h.Has(1) || !h.Has(2) {
				t.Error("it was let go while it was pinned")
			}
			h.Unpin()
			time.Sleep(2 * Patience)
		}, [2]bool{}, false, ErrLetGo, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				locks := []*tested{newTested(1), newTested(2)}
				h := take(t, locks[1], locks[0], locks[1])
				stalled := 0
				tt.hang(t, h, &stalled)
				wantHeld(t, locks, tt.want[:]...)
				if h.Stands() != tt.stands || stalled != tt.stalled {
					t.Errorf("Stands: %v, stalled: %d; want %v, %d", h.Stands(), stalled, tt.stands, tt.stalled)
				}
				if h.Has(1) != tt.want[0] || h.Has(2) != tt.want[1] {
					t.Errorf("Has: %v, %v; want %v", h.Has(1), h.Has(2), tt.want)
				}
				if err := h.Keep([]uint64{1}, nil); !errors.Is(err, tt.keeps) {
					t.Errorf("Keep: %v, want %v", err, tt.keeps)
				}
				if ok := h.Pin(2); ok != tt.want[1] {
					t.Errorf("Pin: %v, want %v", ok, tt.want[1])
				}
				h.Release()
				h.Release()
				wantHeld(t, locks, false, false)
				if stalled != 0 {
					t.Error("the stall has no end")
				}
				take(t, locks[0], locks[1]).Release()
			})
		})
	}
}

func keep(t *testing.T, h *Held, stalled *int, orders ...uint64) {
	t.Helper()
	err := h.Keep(orders, func() (end func()) {
		*stalled++
		return func() { *stalled-- }
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestOneLockIsNeverLetGo: nobody elsewhere waits for the holder of one lock.
func TestOneLockIsNeverLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTested(1)
		h := take(t, l)
		time.Sleep(time.Hour)
		if err := h.Keep([]uint64{1}, nil); err != nil || !l.isHeld() || !h.Stands() {
			t.Errorf("Keep: %v, held: %v, stands: %v", err, l.isHeld(), h.Stands())
		}
		h.Release()
		wantHeld(t, []*tested{l}, false)
	})
}

// TestWaitHoldsNothingForLong has the second of two locks held for a long time: the first is free while a caller waits.
func TestWaitHoldsNothingForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locks := []*tested{newTested(1), newTested(2)}
		hung := take(t, locks[1])
		done := make(chan error, 1)
		var got *Held
		go func() {
			var err error
			got, err = Take(t.Context(), []Lock{locks[0], locks[1]}, within)
			done <- err
		}()
		wantHeld(t, locks, true, true)
		time.Sleep(Patience + time.Millisecond)
		wantHeld(t, locks, false, true)
		time.Sleep(5 * Patience)
		wantHeld(t, locks, false, true)
		hung.Release()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		wantHeld(t, locks, true, true)
		got.Release()
		wantHeld(t, locks, false, false)
	})
}

// TestWaitEnds has one of two locks held for good.
func TestWaitEnds(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		held int
		want error
		took time.Duration
	}{
		{"the first", context.Background(), 0, vfs.ErrBusy, within},
		{"the second", context.Background(), 1, vfs.ErrBusy, within},
		{"the client has gone", canceled, 0, context.Canceled, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				locks := []*tested{newTested(1), newTested(2)}
				defer take(t, locks[tt.held]).Release()
				begun := time.Now()
				_, err := Take(tt.ctx, []Lock{locks[0], locks[1]}, within)
				if took := time.Since(begun); !errors.Is(err, tt.want) || took != tt.took {
					t.Errorf("error %v after %v, want %v after %v", err, took, tt.want, tt.took)
				}
				if locks[1-tt.held].isHeld() {
					t.Error("the other lock is still held")
				}
			})
		})
	}
}

// TestCallersNeverWaitForEachOther has many callers take the same locks, named in different orders.
func TestCallersNeverWaitForEachOther(t *testing.T) {
	a, b, c := newTested(1), newTested(2), newTested(3)
	counts := [4]int{}
	var all sync.WaitGroup
	for _, locks := range [][]Lock{{a, b}, {b, a}, {c, a}, {b, c, a}, {c}, {c, b}} {
		all.Go(func() {
			for range 500 {
				h, err := Take(t.Context(), locks, time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				for _, l := range locks {
					counts[l.Order()]++ // the race detector says if two are here
				}
				h.Release()
			}
		})
	}
	all.Wait()
	if want := [4]int{0, 2000, 2000, 2000}; counts != want {
		t.Errorf("counted %v, want %v", counts, want)
	}
}
