package wire

import (
	"math"
	"sync"
	"time"
)

// A Limit says how slow the other side of a connection may be.
//
// Each wait for it uses up patience, and what it moves in the meantime brings some back: a second for each Rate bytes, up
// to Pause. So it may stop for as long as Pause, and however long it takes in all, as long as it goes on at Rate.
type Limit struct {
	Pause time.Duration // 0: no limit at all
	Rate  int64         // in bytes a second; 0: a single byte brings back all of the patience
}

// DefaultLimit lets a mounted client, a player that is filled up, or a phone in a tunnel pause as long as nearly all
// servers do (nginx and Apache wait for 60 seconds), and a modem of 1990 transfer what it likes.
var DefaultLimit = Limit{Pause: 2 * time.Minute, Rate: 1000}

// A Pace counts the patience with the other side of a connection, for one direction. What the server itself does between
// two waits, such as hashing, costs none.
type Pace struct {
	limit  Limit
	moved  func() (int64, bool)
	strike func()

	mu      sync.Mutex
	waiting int           // how many wait
	since   time.Time     // when the wait began, or was last charged for
	left    time.Duration // of the patience
	known   int64         // what moved has said last
	timer   *time.Timer
	armed   bool // the timer runs
	struck  bool
}

// NewPace returns a Pace that calls strike, at most once, when its patience is at an end. The strike has to end the wait; it
// is called while a wait is under way, and must neither wait itself nor ask the Pace.
//
// What moves during a wait is seen at its end. Where moved is not nil, and knows, it says also before how many bytes have
// moved since the connection began, and what the ends of waits say counts for nothing.
func NewPace(limit Limit, moved func() (int64, bool), strike func()) *Pace {
	return &Pace{limit: limit, moved: moved, strike: strike, left: limit.Pause}
}

// looks is how often during a Pause it is seen what has moved.
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
		return // it comes in time, and most waits are over at once
	}
	p.armed = true
	if p.timer == nil {
		p.timer = time.AfterFunc(p.step(), p.look)
	} else {
		p.timer.Reset(p.step())
	}
}

// End says that a wait is over, and so many bytes have moved.
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

// Struck reports whether the patience came to its end.
func (p *Pace) Struck() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.struck
}

// look is what the timer does.
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

// charge takes away what the wait has cost. mu must be held.
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

// ask credits what the other side has taken, and reports whether that is known. mu must be held.
func (p *Pace) ask() bool {
	now, ok := p.moved()
	if ok {
		p.credit(now - p.known)
		p.known = now
	}
	return ok
}
