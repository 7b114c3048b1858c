package wire

import (
	"math"
	"sync"
	"time"
)

// A Limit says how slow the other side of a connection may be.
//
// Each wait for the other side uses up patience. The bytes that the other side moves bring patience back: a second for
// each Rate bytes, up to Pause. So the other side may stop for as long as Pause. The whole transfer may take any time,
// as long as it goes on at Rate.
type Limit struct {
	Pause time.Duration // 0: no limit at all
	Rate  int64         // in bytes per second. 0: a single byte brings back all of the patience
}

// DefaultLimit lets a mounted client, a player with a full buffer, or a phone in a tunnel pause at least as long as
// nearly all servers do (nginx and Apache wait for 60 seconds). It lets a modem of 1990 transfer files of any size.
var DefaultLimit = Limit{Pause: 2 * time.Minute, Rate: 1000}

// A Pace counts the patience with the other side of a connection, in one direction. The time between two waits, in
// which the server itself works, such as for hashing, costs no patience.
type Pace struct {
	limit  Limit
	moved  func() (int64, bool)
	strike func()

	mu      sync.Mutex
	waiting int           // how many waits go on
	since   time.Time     // when the wait began, or was last charged for
	left    time.Duration // of the patience
	known   int64         // the last result of moved
	timer   *time.Timer
	armed   bool // the timer runs
	struck  bool
}

// NewPace returns a Pace that calls strike, at most once, when its patience is at an end. strike has to end the wait.
// It is called during a wait, and must neither wait itself nor call the Pace.
//
// The Pace learns from End how many bytes have moved in a wait. If moved is not nil and returns true, it tells during a
// wait how many bytes have moved since the connection began. Then the numbers given to End do not count.
func NewPace(limit Limit, moved func() (int64, bool), strike func()) *Pace {
	return &Pace{limit: limit, moved: moved, strike: strike, left: limit.Pause}
}

// looks is how often in each Pause the Pace asks how many bytes have moved.
const looks = 8

// Begin says that a wait begins.
func (p *Pace) Begin() {
	if p.limit.Pause <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting++
	if p.waiting > 1 || p.struck {
		return
	}
	p.since = time.Now()
	if p.armed {
		return // the timer ends in time, and most waits are over at once
	}
	p.armed = true
	if p.timer == nil {
		p.timer = time.AfterFunc(p.step(), p.look)
	} else {
		p.timer.Reset(p.step())
	}
}

// End says that a wait is over, and that n bytes have moved.
func (p *Pace) End(n int64) {
	if p.limit.Pause <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.charge()
	if p.moved == nil {
		p.credit(n)
	} else if p.left < p.limit.Pause-p.limit.Pause/looks && !p.ask() {
		p.credit(n)
	}
	p.waiting--
}

// Stop says that no wait will begin any more.
func (p *Pace) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
}

// look is called by the timer.
func (p *Pace) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = false
	if p.waiting == 0 || p.struck {
		return
	}
	p.charge()
	if p.moved != nil {
		p.ask()
	}
	if p.left <= 0 {
		p.struck = true
		p.strike()
		return
	}
	p.armed = true
	p.timer.Reset(p.step())
}

// step returns how long a wait may go on without a look. mu must be held.
func (p *Pace) step() time.Duration { return max(min(p.left, p.limit.Pause/looks), 0) }

// charge subtracts the cost of the wait until now from the patience. mu must be held.
func (p *Pace) charge() {
	now := time.Now()
	p.left -= now.Sub(p.since)
	p.since = now
}

// credit brings patience back. mu must be held.
func (p *Pace) credit(n int64) {
	if n <= 0 {
		return
	}
	p.left = max(p.left, 0)
	more := float64(math.MaxInt64)
	if p.limit.Rate > 0 {
		more = float64(n) / float64(p.limit.Rate) * float64(time.Second)
	}
	if more >= float64(p.limit.Pause-p.left) {
		p.left = p.limit.Pause
	} else {
		p.left += time.Duration(more)
	}
}

// ask brings back patience for the bytes that the other side has taken, and reports whether their number is known. mu
// must be held.
func (p *Pace) ask() bool {
	now, ok := p.moved()
	if ok {
		p.credit(now - p.known)
		p.known = now
	}
	return ok
}
