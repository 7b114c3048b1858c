package limit

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// What has rested long gives way to anybody, however few slots its client has: many clients together must not keep out the
// next. Who has many slots at work gets no more in that way than if what rests were free.
func TestWhatRestsLongGivesWayToAnybody(t *testing.T) {
	for _, tt := range []struct {
		about   string
		resting int // each of another client
		working int // of who asks
		rest    time.Duration
		want    bool
	}{
		{about: "the first of a client", resting: 8, rest: longRest, want: true},
		{about: "the third", resting: 6, working: 2, rest: longRest, want: true},
		{about: "the third, where all have begun to rest a moment ago", resting: 6, working: 2, rest: longRest - 1},
		{about: "as many as rest", resting: 4, working: 4, rest: longRest},
		{about: "more than rest", resting: 2, working: 6, rest: longRest},
	} {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := NewPool("cups", tt.resting+tt.working)
				closed := 0
				for i := range tt.resting {
					p.mu.Lock()
					slot := p.newSlot(p.shareOf(strconv.Itoa(i)), func() { closed++ })
					p.count(slot)
					p.mu.Unlock()
					slot.Rest()
				}
				for range tt.working {
					p.mu.Lock()
					p.count(p.newSlot(p.shareOf("busy"), nil))
					p.mu.Unlock()
				}
				time.Sleep(tt.rest)
				_, err := p.TryAcquire("busy", nil)
				if got := err == nil; got != tt.want || closed == 1 != tt.want {
					t.Errorf("%d gave way, error %v", closed, err)
				}
				if p.used != p.size {
					t.Errorf("%d are used of %d", p.used, p.size)
				}
			})
		})
	}
}

// Clients that come again as soon as they have given way do not keep all slots too young to give way to the next.
func TestWhoComesAgainAndAgainLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool("cups", 64)
		again := func() {
			for i := range 40 {
				for range 4 {
					if slot, err := p.TryAcquire(strconv.Itoa(i), nil); err == nil {
						slot.Rest()
					}
				}
			}
		}
		served := 0
		for range 600 {
			again()
			time.Sleep(100 * time.Millisecond)
			again()
			slot, err := p.TryAcquire("next", nil)
			if err == nil {
				served++
				slot.Release()
			}
		}
		// It asks for ten in a second, and others give way to it once in two seconds, besides what it finds free.
		if served < 30 {
			t.Errorf("another is served %d times of 600", served)
		}
		last := 0
		for range 20 {
			time.Sleep(takeEvery)
			again()
			if slot, err := p.TryAcquire("slowly", nil); err == nil {
				last++
				slot.Release()
			}
		}
		if last != 20 {
			t.Errorf("one that asks seldom is served %d times of 20", last)
		}
	})
}
