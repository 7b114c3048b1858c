package limit

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fill takes slots for a client until none is to be had, and returns them.
func fill(p *Pool, client string) (held []*Slot) {
	for {
		slot, err := p.TryAcquire(client, nil)
		if err != nil {
			return held
		}
		held = append(held, slot)
	}
}

func TestOneClientLeavesHalfForOthers(t *testing.T) {
	p := NewPool("cups", 64)
	for i, want := range []int{32, 16, 8, 4, 2, 1, 1, 0} {
		if got := len(fill(p, strconv.Itoa(i))); got != want {
			t.Errorf("client %d holds %d of 64, want %d", i, got, want)
		}
	}
}

func TestOneClientHasNoMoreThanItMay(t *testing.T) {
	pools := Bounds{Connections: 64, Uploads: 64, ClientConnections: 3, ClientRequests: 2}.Pools()
	for _, tt := range []struct {
		pool   *Pool
		client string
		want   int
	}{
		{pools.Connections, "a", 3}, {pools.Connections, "b", 3}, {pools.Connections, "", 58},
		{pools.Uploads, "a", 2}, {pools.Uploads, "b", 2}, {pools.Hashes, "a", 1},
	} {
		if got := len(fill(tt.pool, tt.client)); got != tt.want {
			t.Errorf("%q holds %d %s, want %d", tt.client, got, tt.pool.what, tt.want)
		}
	}
	_, err := pools.Connections.TryAcquire("a", nil)
	if want := "too many connections at once: this client has 3, and no client may have more"; err == nil || err.Error() != want {
		t.Errorf("the refusal is %v, want %s", err, want)
	}
}

// TestRestingSlotsDoNotGoBeyondTheBound: what rests gives way to its own client, and not to one that has all it may have.
func TestRestingSlotsDoNotGoBeyondTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool("cups", 8)
		p.perClient = 2
		for _, slot := range fill(p, "b") {
			slot.Rest()
		}
		own := fill(p, "a")
		time.Sleep(time.Hour) // of the bubble
		if _, err := p.TryAcquire("a", nil); err == nil {
			t.Error("a slot of another client gave way to a client that has all it may have")
		}
		own[0].Rest()
		time.Sleep(time.Hour)
		if _, err := p.TryAcquire("a", nil); err != nil {
			t.Errorf("its own slot did not give way: %v", err)
		}
		if held := p.clients["a"].held; held != 2 {
			t.Errorf("it holds %d", held)
		}
	})
}

func TestThoseWhoCannotBeToldApartShareAll(t *testing.T) {
	p := NewPool("cups", 8)
	if got := len(fill(p, "")); got != 8 {
		t.Errorf("they hold %d of 8", got)
	}
}

func TestASlotIsThereAgainWhenItIsReleased(t *testing.T) {
	p := NewPool("cups", 4)
	for _, slot := range append(fill(p, "a"), fill(p, "b")...) {
		slot.Release()
		slot.Release()
	}
	if p.used != 0 || len(p.clients) != 0 {
		t.Errorf("%d are used, by %d clients", p.used, len(p.clients))
	}
	if got := len(fill(p, "a")); got != 2 {
		t.Errorf("then there are %d, want 2", got)
	}
}

func TestARefusalSaysWhichBoundItIs(t *testing.T) {
	p := NewPool("cups", 2)
	fill(p, "a")
	for _, tt := range []struct{ client, want string }{
		{"a", "too many cups at once: this client has 1 of 2, and the rest is for others"},
		{"b", ""},
		{"c", "too many cups at once: all 2 are taken"},
	} {
		_, err := p.TryAcquire(tt.client, nil)
		full := new(Error)
		if (err == nil) != (tt.want == "") || err != nil && (!errors.As(err, &full) || err.Error() != tt.want) {
			t.Errorf("%s: got %v, want %q", tt.client, err, tt.want)
		}
	}
}

func TestWhoWaitsIsServedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool("cups", 2)
		held := append(fill(p, "a"), fill(p, "b")...)
		served := make(chan string, 3)
		for _, client := range []string{"a", "c"} {
			go func() {
				slot, err := p.Acquire(t.Context(), client, time.Minute, nil)
				if err != nil {
					t.Error(err)
					return
				}
				served <- client
				slot.Release()
			}()
			synctest.Wait()
		}
		held[0].Release() // of a
		if first, second := <-served, <-served; first != "a" || second != "c" {
			t.Errorf("served were %s, %s", first, second)
		}
	})
}

func TestAWaitHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool("cups", 1)
		fill(p, "a")
		start := time.Now()
		_, err := p.Acquire(t.Context(), "b", 5*time.Second, nil)
		if full := new(Error); !errors.As(err, &full) || time.Since(start) != 5*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := p.Acquire(ctx, "b", 5*time.Second, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("one that was given up got %v", err)
		}
		if p.waiting != 0 || len(p.clients) != 1 {
			t.Errorf("%d wait, of %d clients", p.waiting, len(p.clients))
		}
	})
}

func TestWhoWaitsIsBoundedAsWhoHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool("cups", 8)
		held := append(fill(p, "a"), fill(p, "b")...)
		held = append(held, fill(p, "c")...)
		refused := make(chan error, 2*leastWaiting)
		for range leastWaiting + 10 {
			go func() {
				_, err := p.Acquire(t.Context(), "a", time.Minute, nil)
				refused <- err
			}()
		}
		synctest.Wait()
		if p.waiting != leastWaiting/2 || len(refused) != leastWaiting/2+10 {
			t.Errorf("%d wait, %d were refused at once", p.waiting, len(refused))
		}
		for _, slot := range held {
			slot.Release()
		}
	})
}

func TestWhatRestsGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool("cups", 4)
		var closed []string
		take := func(client, name string) *Slot {
			t.Helper()
			slot, err := p.TryAcquire(client, func() { closed = append(closed, name) })
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			slot.Rest()
			return slot
		}
		take("a", "a1")
		take("a", "a2").Work()
		take("b", "b1")
		if _, err := p.TryAcquire("a", nil); err == nil {
			t.Error("what began to rest a moment ago gives way")
		}
		time.Sleep(restTime)
		last := take("a", "a3") // a has its share, so it is one of a's that gives way
		take("c", "c1")
		time.Sleep(restTime)
		take("d", "none")
		if len(closed) != 2 || closed[0] != "a1" || closed[1] != "b1" {
			t.Errorf("closed were %q, want a1, which is of the one who asks, and b1, which rests longest", closed)
		}
		if !last.Work() {
			t.Error("a3 is not held any more")
		}
		if p.used != 4 {
			t.Errorf("%d are used of 4", p.used)
		}
	})
}

func TestWhoIsSlowGivesWayToWhoWaits(t *testing.T) {
	for _, tt := range []struct {
		about  string
		does   func(m *Meter, until time.Time) // with its slot
		giveUp bool
	}{
		{"it sends nothing", func(m *Meter, until time.Time) {
			m.Begin()
			time.Sleep(time.Until(until))
		}, true},
		{"it sends a byte a second", func(m *Meter, until time.Time) {
			for time.Now().Before(until) {
				m.Begin()
				time.Sleep(time.Second)
				m.End(1)
			}
			m.Begin()
		}, true},
		{"it has sent much, and stops", func(m *Meter, until time.Time) {
			m.Begin()
			time.Sleep(time.Second)
			m.End(1 << 12)
			m.Begin()
			time.Sleep(time.Until(until))
		}, true},
		{"it is on a slow line", func(m *Meter, until time.Time) {
			for time.Now().Before(until) {
				m.Begin()
				time.Sleep(time.Second)
				m.End(2 << 10)
			}
		}, false},
		{"it waits for the server", func(m *Meter, until time.Time) {
			m.Begin()
			m.End(0)
			time.Sleep(time.Until(until))
		}, false},
	} {
		for _, direction := range []string{"in", "out"} {
			t.Run(tt.about+", "+direction, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := NewPool("cups", 1)
					told := false
					done := make(chan struct{})
					slot, err := p.Acquire(t.Context(), "a", 0, func() { told = true; close(done) })
					if err != nil {
						t.Fatal(err)
					}
					meter := &slot.In
					if direction == "out" {
						meter = &slot.Out
					}
					go tt.does(meter, time.Now().Add(3*slowTime))
					go func() {
						select {
						case <-done:
						case <-time.After(4 * slowTime):
						}
						slot.Release()
					}()
					time.Sleep(slowTime / 2)
					if _, err := p.Acquire(t.Context(), "b", slowTime/4, nil); err == nil || told {
						t.Errorf("it gives way at once: %v", err)
					}
					_, err = p.Acquire(t.Context(), "b", 2*slowTime, nil)
					if told != tt.giveUp || (err == nil) != tt.giveUp {
						t.Errorf("it gave way: %v; the other got %v", told, err)
					}
					time.Sleep(4 * slowTime)
				})
			})
		}
	}
}

func TestWhoHasTheMostGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool("cups", 3)
		var told []string
		for _, client := range []string{"a", "a", "b"} {
			var slot *Slot
			slot, err := p.Acquire(t.Context(), client, 0, func() { told = append(told, client); go slot.Release() })
			if err != nil {
				t.Fatal(err)
			}
			slot.In.Begin()
		}
		time.Sleep(2 * slowTime)
		if _, err := p.Acquire(t.Context(), "c", slowTime, nil); err != nil {
			t.Error(err)
		}
		if len(told) != 1 || told[0] != "a" {
			t.Errorf("told to give way were %q", told)
		}
	})
}

// A slot must not be told to give way when it was released: what it was for has ended.
func TestWhoHasReleasedIsNotTold(t *testing.T) {
	p := NewPool("cups", 1)
	slot, _ := p.TryAcquire("a", func() { t.Error("told") })
	slot.Release()
	slot.end(true)
}

func TestBoundsLeaveDescriptors(t *testing.T) {
	for _, n := range []int{256, 1024, 4096, 20_000, 1 << 20} {
		b := Resources{Descriptors: n, Memory: 64 << 40, CPUs: 2}.Bounds()
		used := b.Connections + uploadFiles*b.Uploads + downloadFiles*b.Downloads + listingFiles*b.Listings + changeFiles*b.Changes
		if left := n - used; left < min(n/5, 64) {
			t.Errorf("of %d descriptors %d are left: %+v", n, left, b)
		}
	}
	for _, n := range []int64{64 << 20, 256 << 20, 8 << 30} {
		b := Resources{Descriptors: 1 << 20, Memory: n, CPUs: 2}.Bounds()
		used := int64(b.Connections)*connectionBytes + int64(b.Uploads)*uploadBytes + int64(b.Downloads+b.Changes)*downloadBytes +
			int64(b.Listings)*listingBytes
		if used > n*3/4 {
			t.Errorf("of %d bytes %d are used: %+v", n, used, b)
		}
	}
}

// Whatever clients do at the same time, no more is held than there is, and nothing in the end.
func TestPoolUnderLoad(t *testing.T) {
	p := NewPool("cups", 5)
	var holding, most atomic.Int64
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			client := strconv.Itoa(i % 7)
			for n := range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n%3)*time.Millisecond)
				slot, err := p.Acquire(ctx, client, time.Duration(n%5)*time.Millisecond, nil)
				cancel()
				if err != nil {
					continue
				}
				if now := holding.Add(1); now > most.Load() {
					most.Store(now)
				}
				if n%2 == 0 {
					slot.Rest()
					slot.Work()
				}
				runtime.Gosched()
				holding.Add(-1)
				slot.Release()
			}
		})
	}
	all.Wait()
	if most.Load() > 5 || p.used != 0 || len(p.clients) != 0 || p.waiting != 0 || p.queues.Len() != 0 || p.resting.Len() != 0 {
		t.Errorf("at most %d were held; in the end %d, by %d clients, and %d wait", most.Load(), p.used, len(p.clients), p.waiting)
	}
}

// Slots that are held stay held when a pool gets smaller, and waiters get the slots by which it gets larger.
func TestAPoolIsResized(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool("cups", 8)
		held := fill(p, "a")
		p.Resize(2, 1)
		if slot, err := p.TryAcquire("b", nil); err == nil || slot != nil || p.Size() != 2 {
			t.Errorf("of a pool with %d of %d slots: %v, %v", len(held), p.Size(), slot, err)
		}
		waits := make(chan error, 1)
		go func() {
			slot, err := p.Acquire(t.Context(), "b", time.Hour, nil)
			if err == nil {
				slot.Release()
			}
			waits <- err
		}()
		synctest.Wait()
		for _, slot := range held[2:] {
			slot.Release()
		}
		synctest.Wait()
		select {
		case err := <-waits:
			t.Errorf("a slot of a full pool: %v", err)
		default:
		}
		p.Resize(16, 0)
		if err := <-waits; err != nil {
			t.Error(err)
		}
		for _, slot := range held[:2] {
			slot.Release()
		}
		p.Resize(0, 0)
		if got := p.Figures(); got.Size != 1 || got.Used != 0 {
			t.Errorf("at the end: %+v", got)
		}
	})
}
