package room

import (
	"testing"
	"time"
)

// TestPace shows how much room is kept for an announced upload, by the times at which its bytes have come.
func TestPace(t *testing.T) {
	type at struct {
		time  time.Duration
		bytes int64
		busy  time.Duration // of the server with them
	}
	hour := func(rate int64) int64 { return rate * 3600 }
	for _, test := range []struct {
		name string
		came []at
		now  time.Duration
		want int64
	}{
		{"nothing yet", nil, 9 * time.Second, tooMuch},
		{"nothing", nil, 10 * time.Second, 0},
		{"a little, and it has just begun", []at{{5 * time.Second, 1, 0}}, 9 * time.Second, tooMuch},
		{"evenly", []at{{5 * time.Second, 5000, 0}, {10 * time.Second, 10_000, 0}, {15 * time.Second, 15_000, 0}},
			19 * time.Second, hour(1000)},
		{"all at once, and then nothing", []at{{time.Second, 1 << 30, 0}}, 11 * time.Second, 0},
		{"all at once, and then a trickle", []at{{time.Second, 1 << 30, 0}, {10 * time.Second, 1<<30 + 1, 0},
			{20 * time.Second, 1<<30 + 11, 0}}, 21 * time.Second, hour(1)},
		{"the server is busy", []at{{time.Second, 5000, time.Hour}, {time.Hour + 10*time.Second, 10_000, 0}},
			time.Hour + 11*time.Second, hour(1000)},
		{"the server is busy all the time", []at{{time.Second, 5000, time.Hour}}, time.Hour, tooMuch},
	} {
		begin := time.Unix(0, 0)
		var p pace
		p.begin(begin)
		p.waits(begin, 0)
		staged := int64(0)
		for _, came := range test.came {
			staged = came.bytes
			p.busy = begin.Add(came.time)
			if end := came.time + came.busy; end <= test.now && (came.busy == 0 || end < test.now) {
				p.waits(begin.Add(end), staged)
			}
		}
		if got := p.sends(begin.Add(test.now), staged); got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
	}
}
