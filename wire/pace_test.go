package wire

import (
	"testing"
	"testing/synctest"
	"time"
)

// A wait is a step of a script: it lasts a time, unless it is ended before, and a number of bytes have moved at its end.
type wait struct {
	lasts time.Duration
	moved int64
}

func repeat(n int, w ...wait) (all []wait) {
	for range n {
		all = append(all, w...)
	}
	return all
}

func TestPace(t *testing.T) {
	const s = time.Second
	limit := Limit{Pause: 120 * s, Rate: 1000}
	for _, tt := range []struct {
		about  string
		limit  Limit
		waits  []wait
		struck time.Duration // when, of the time that is waited; 0: never
	}{
		{"nothing comes", limit, repeat(1, wait{time.Hour, 0}), 120 * s},
		{"nothing comes any more", limit, []wait{{s, 1e6}, {time.Hour, 0}}, 121 * s},
		{"a pause", limit, []wait{{s, 1e6}, {119 * s, 1}, {s, 1e6}, {119 * s, 1}, {s, 1e6}}, 0},
		{"a day at the least rate", limit, repeat(24*3600, wait{s, 1000}), 0},
		{"a day in drops", limit, repeat(24*60, wait{60 * s, 60_000}), 0},
		{"a little too slow", limit, repeat(3600, wait{s, 900}), 1200 * s},
		{"a byte a second", limit, repeat(3600, wait{s, 1}), 121 * s},
		{"a byte at the last moment, again and again", limit, repeat(100, wait{119 * s, 1}), 120 * s},
		{"fast, and then a byte a second", limit, append([]wait{{s, 1e9}}, repeat(3600, wait{s, 1})...), 122 * s},
		{"a byte a second, without a rate", Limit{Pause: 120 * s}, repeat(3600, wait{s, 1}), 0},
		{"nothing comes, without a rate", Limit{Pause: 120 * s}, repeat(1, wait{time.Hour, 0}), 120 * s},
		{"without a limit", Limit{}, repeat(1, wait{time.Hour, 0}), 0},
	} {
		for _, known := range []bool{false, true} {
			t.Run(tt.about, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					// What moves within a wait does so steadily. Where that is not seen, only its end tells.
					var total, now int64
					var began time.Time
					var current wait
					moved := func() (int64, bool) {
						if current.lasts > 0 {
							now = total + int64(float64(current.moved)*min(1, float64(time.Since(began))/float64(current.lasts)))
						}
						return now, true
					}
					if !known {
						moved = nil
					}
					end := make(chan struct{})
					p := NewPace(tt.limit, moved, func() { close(end) })
					var waited time.Duration
					for _, current = range tt.waits {
						began = time.Now()
						p.Begin()
						select {
						case <-time.After(current.lasts):
							p.End(current.moved)
							total += current.moved
						case <-end:
							waited += time.Since(began)
							p.End(0)
							// Nobody looks all the time.
							if d := waited - tt.struck; tt.struck == 0 || d.Abs() > tt.struck/100+limit.Pause/looks+2*s {
								t.Errorf("what moves is known: %v: struck after %v, want %v", known, waited, tt.struck)
							}
							return
						}
						waited += current.lasts
						time.Sleep(time.Hour) // what we do ourselves
					}
					if tt.struck != 0 || p.Struck() {
						t.Errorf("what moves is known: %v: never struck, want after %v", known, tt.struck)
					}
				})
			})
		}
	}
}

// Two may wait at the same time, as net/http's HTTP/2 writes beside a Close.
func TestPaceOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(Limit{Pause: time.Minute}, nil, func() {})
		p.Begin()
		p.Begin()
		time.Sleep(50 * time.Second)
		p.End(0)
		time.Sleep(9 * time.Second)
		if p.Struck() {
			t.Error("struck before the time")
		}
		time.Sleep(2 * time.Second)
		if !p.Struck() {
			t.Error("not struck while one of them waits")
		}
		p.End(0)
	})
}

// Struck reports whether the patience came to its end.
func (p *Pace) Struck() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.struck
}
