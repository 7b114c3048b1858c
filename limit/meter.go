package limit

import (
	"sync/atomic"
	"time"
)

// A Meter measures how fast a client sends or reads, while it is waited for. The time in which the server is busy with
// something else does not count. One goroutine at a time begins and ends; others may look.
type Meter struct {
	start atomic.Int64 // of what is being waited for, in nanoseconds since the epoch below; 0: nothing
	spent atomic.Int64 // on what was waited for before, in nanoseconds
	moved atomic.Int64 // bytes
}

// epoch makes of times numbers that do not follow the wall clock.
var epoch = time.Now()

func now() int64 { return int64(time.Since(epoch)) + 1 }

// Begin tells that the client is being waited for.
func (m *Meter) Begin() { m.start.Store(now()) }

// End tells that it has moved so many bytes.
func (m *Meter) End(bytes int64) {
	m.moved.Add(bytes)
	if start := m.start.Swap(0); start != 0 {
		m.spent.Add(now() - start)
	}
}

// reading is what a meter has shown at a time.
type reading struct{ spent, moved int64 }

func (m *Meter) read(at int64) reading {
	r := reading{m.spent.Load(), m.moved.Load()}
	if start := m.start.Load(); start != 0 {
		r.spent += max(at-start, 0)
	}
	return r
}

// waits reports whether the client is being waited for now.
func (m *Meter) waits() bool { return m.start.Load() != 0 }

// A client is slow that has been waited for so long and has moved less than so many bytes in each second of that.
const (
	slowTime = 10 * time.Second
	slowRate = 1 << 10
)

// slow reports whether a client has been slow since a reading, which it moves on where it was not.
func (m *Meter) slow(since *reading, at int64) bool {
	r := m.read(at)
	spent := r.spent - since.spent
	if spent < int64(slowTime) {
		return false
	}
	if r.moved-since.moved >= spent/int64(time.Second)*slowRate {
		*since = r
		return false
	}
	return m.waits()
}
