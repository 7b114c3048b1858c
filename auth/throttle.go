package auth

import (
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// A throttle counts wrong passwords by where they come from and for which user, and refuses more of them for a while.
// No user is ever refused for all addresses: each client could do that to each user.
type throttle struct {
	now func() time.Time

	mu     sync.Mutex
	counts *simplelru.LRU[source, *count] // mu
}

// A source is where passwords come from. A machine has the 64 bits below the prefix of an IPv6 network to itself.
type source struct {
	network netip.Prefix
	user    uint64 // a keyed hash of the name, or 0 for all names together
}

// A count is how many passwords were wrong, or are being checked.
type count struct {
	n     float64 // it falls by one each forgiveness.every
	at    time.Time
	until time.Time // all are refused
}

// An allowance is how many wrong passwords there may be.
type allowance struct {
	most    float64
	every   time.Duration // one of them is forgotten after this time
	refused time.Duration // where there are more
}

var (
	perUser    = allowance{most: 10, every: time.Minute, refused: 5 * time.Minute}
	perNetwork = allowance{most: 100, every: 10 * time.Second, refused: 5 * time.Minute}
)

// maxSources bounds the sources that are remembered: some 10 MB. One network cannot push others out, since it is
// refused before it has used so many names.
const maxSources = 1 << 16

func newThrottle(now func() time.Time) *throttle {
	counts, err := simplelru.NewLRU[source, *count](maxSources, nil)
	if err != nil {
		panic(err) // of a size below one
	}
	return &throttle{now: now, counts: counts}
}

func networkOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	network, _ := addr.Prefix(bits) // that of the zero Addr is the zero Prefix
	return network
}

// refused returns for how long passwords from a network for a user are refused still, or 0 if they are not.
func (t *throttle) refused(s source) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.counts.Get(s); ok {
		return max(0, c.until.Sub(t.now()))
	}
	return 0
}

// begin counts a password that is to be checked, as if it were wrong: else any number could be checked at once. If it
// returns a time, the password is refused for that time, and is not counted.
func (t *throttle) begin(s source) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	user, network := t.count(s, now, perUser), t.count(source{network: s.network}, now, perNetwork)
	for _, c := range []*count{user, network} {
		if now.Before(c.until) {
			return c.until.Sub(now)
		}
	}
	if user.full(perUser) || network.full(perNetwork) {
		return time.Second // those that are being checked are as many as may be wrong
	}
	user.n++
	network.n++
	return 0
}

// right takes back the count of begin.
func (t *throttle) right(s source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for _, c := range []*count{t.count(s, now, perUser), t.count(source{network: s.network}, now, perNetwork)} {
		c.n = max(0, c.n-1)
	}
}

// wrong confirms the count of begin. It returns for how long the answer is to be kept back, and whether this was the
// last one that is checked for now.
func (t *throttle) wrong(s source) (slow time.Duration, last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	user, network := t.count(s, now, perUser), t.count(source{network: s.network}, now, perNetwork)
	last = user.refuse(now, perUser)
	last = network.refuse(now, perNetwork) || last
	return slowness(user.n), last
}

// full: one more would be more than there may be.
func (c *count) full(a allowance) bool { return c.n > a.most-1 }

// refuse begins to refuse where there were as many as there may be.
func (c *count) refuse(now time.Time, a allowance) bool {
	if !c.full(a) || now.Before(c.until) {
		return false
	}
	c.until = now.Add(a.refused)
	return true
}

// slowness is how long the answer to the n-th wrong password in a row is kept back: not for slips, then up to 4
// seconds.
func slowness(n float64) time.Duration {
	if n < 3 {
		return 0
	}
	return min(4*time.Second, 250*time.Millisecond<<int(min(n-3, 10)))
}

// count returns the count of a source, as it is now. mu must be held.
func (t *throttle) count(s source, now time.Time, a allowance) *count {
	c, ok := t.counts.Get(s)
	if !ok {
		c = &count{at: now}
		t.counts.Add(s, c)
	}
	if passed := now.Sub(c.at); passed > 0 {
		c.n = max(0, c.n-float64(passed)/float64(a.every))
	}
	c.at = now
	return c
}
