package limit

import (
	"sync/atomic"
	"time"
)

// A Meter measures how fast a client sends or reads, while the server waits for it. The time in which the server is
// busy with other work does not count. One goroutine at a time calls Begin and End. Others may look. A nil Meter measures
// nothing.
type Meter struct {
	start atomic.Int64 // when the current wait began, in nanoseconds since the epoch below. 0: there is none
	spent atomic.Int64 // the length of all earlier waits, in nanoseconds
	moved atomic.Int64 // bytes
}

// epoch is the zero of the times here, which are numbers that do not follow the wall clock.
var epoch = time.Now()

func now() int64 { return int64(time.Since(epoch)) + 1 }

// Begin says that the server begins to wait for the client.
func (m *Meter) Begin() {
	if m != nil {
		m.start.Store(now())
	}
}

// End says that the wait is over, and that the client has moved a number of bytes.
func (m *Meter) End(bytes int64) {
	if m == nil {
		return
	}
	m.moved.Add(bytes)
	if start := m.start.Swap(0); start != 0 {
		m.spent.Add(now() - start)
	}
}

// A reading is the state of a meter at one time.
type reading struct{ spent, moved int64 }

func (m *Meter) read(at int64) reading {
	r := reading{m.spent.Load(), m.moved.Load()}
	if start := m.start.Load(); start != 0 {
		r.spent += max(at-start, 0)
	}
	return r
}

// waits reports whether the server is waiting for the client now.
func (m *Meter) waits() bool { return m.start.Load() != 0 }

// A client is slow if the server has waited for it for slowTime, and if it has moved less than slowRate bytes per
// second of that time.
const (
	slowTime = 10 * time.Second
	slowRate = 1 << 10
)

// slow reports whether a client has been slow since a reading. If it has not, slow sets the reading to the present one.
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
