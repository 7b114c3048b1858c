// Package quota bounds how many bytes clients may keep below a path (RFC 4331).
//
// A [Store] wraps the store of the whole tree. It knows the sum of each collection that has bytes in it: by listing the
// tree once, then by its own writes, exactly, and by the changes of other programs, of which the feed tells. A write
// reserves room before its body comes, and is decided inside the commit by a [tree.Check], as conditions and rules are.
// So writes through the store never take a sum above its limit, however many there are at once. Another program can,
// and then no write may add to the sum until it is below the limit again.
//
// The ledger (ledger.go, operation.go, copied.go, node.go) decides from memory. The counter (counter.go, scan.go,
// history.go) keeps it true to the store. Reservations are in memory alone, so a crash leaves none.
//
// A file counts by its size under each of its names. Collections, links and dead properties count nothing.
package quota

import (
	"cmp"
	"context"
	"io"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/admin"
	"r-seed-1f3a754f.example/ifmatch/quota/limits"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Inner is the store that is wrapped.
type Inner interface {
	tree.Store
	tree.Speller
	tree.Quotas
	tree.Feed
	tree.Uploads
	tree.Undoer
	Start()
	Close() error
}

// Options are those of a [Store].
type Options struct {
	// Patience is how long a write waits until the sums are known, for instance after the start. Then it is refused with
	// [tree.ErrBusy]. Zero: five seconds.
	Patience time.Duration
	// Gather is the time from a change of another program until its collection is listed: more may come. Zero: 200 ms.
	Gather time.Duration
	// NoHistory says that the store keeps no history, so that nothing of it counts.
	NoHistory bool
	// Apart reports whether a MOVE from one name to the other is a copy, whose end the store does not decide in one commit
	// (nil: none is).
	Apart  func(from, to string) bool
	Report func(error)      // about collections that cannot be listed now (nil: nowhere)
	Counts *admin.Metrics   // may be nil
	Now    func() time.Time // nil: time.Now
}

// A Store is the store of a tree with limits.
type Store struct {
	Inner
	opts Options

	changing sync.Mutex // held by Limit, Start and Close
	started  bool
	set      *limits.Set

	mu  sync.RWMutex
	now *counter // nil: there is no limit

	uploads reservations
}

var (
	_ tree.Limited = (*Store)(nil)
	_ Inner        = (*Store)(nil)
)

// New returns a store with limits. It counts from Start on.
func New(store Inner, set *limits.Set, opts Options) *Store {
	opts.Patience = cmp.Or(opts.Patience, 5*time.Second)
	opts.Gather = cmp.Or(opts.Gather, 200*time.Millisecond)
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Report == nil {
		opts.Report = func(error) {}
	}
	if opts.Apart == nil {
		opts.Apart = func(string, string) bool { return false }
	}
	s := &Store{Inner: store, opts: opts, set: set}
	s.registerMetrics()
	return s
}

// Start begins to watch the tree, and to count it.
func (s *Store) Start() {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.Inner.Start()
	s.started = true
	s.change()
}

// Limit puts other limits in force. Operations that were decided stay decided.
func (s *Store) Limit(set *limits.Set) {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.set = set
	s.change()
}

// change starts or stops the counter, as the limits want it.
func (s *Store) change() {
	was := s.counter()
	switch {
	case !s.started:
	case s.set.Empty() && was != nil:
		s.use(nil)
		was.end()
	case s.set.Empty():
	case was != nil:
		was.setLimits(s.set)
	default:
		s.use(startCounter(s.Inner, s.set, &s.opts))
	}
}

func (s *Store) counter() *counter {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now
}

func (s *Store) use(c *counter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = c
}

// Close stops the counting and closes the store.
func (s *Store) Close() error {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.started = false
	s.uploads.end()
	if c := s.counter(); c != nil {
		s.use(nil)
		c.end()
	}
	return s.Inner.Close()
}

// Allowances implements [tree.Limited].
func (s *Store) Allowances(name string) []tree.Allowance {
	if c := s.counter(); c != nil {
		return c.allowances(name)
	}
	return nil
}

// A reservation is that of [Store.Reserve].
type reservation struct {
	c    *counter
	held holds // under the mutex of the ledger
}

// End implements [tree.Reservation].
func (r *reservation) End() {
	if r.c == nil {
		return
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.held.drop()
}

// Reserve implements [tree.Limited].
func (s *Store) Reserve(ctx context.Context, name string, bytes int64) (tree.Reservation, error) {
	c := s.counter()
	r := &reservation{c: c}
	if c == nil {
		return r, nil
	}
	if err := c.awaitKnown(ctx, name); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.reserve(&r.held, name, bytes); err != nil {
		return nil, err
	}
	return r, nil
}

// registerMetrics has the metrics tell of the quotas.
func (s *Store) registerMetrics() {
	of := func(read func(c *counter) float64) func() float64 {
		return func() float64 {
			c := s.counter()
			if c == nil {
				return 0
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			return read(c)
		}
	}
	s.opts.Counts.Counter("ifmatch_quota_refused_total", "Writes refused (507) because of a quota.", nil,
		of(func(c *counter) float64 { return float64(c.refused) }))
	s.opts.Counts.Gauge("ifmatch_quota_counting", "Collections that are to be listed for quotas.", nil,
		of(func(c *counter) float64 { return float64(len(c.dirty.order) + c.root.unknowns) }))
	s.opts.Counts.Gauge("ifmatch_quota_reserved_bytes", "Bytes that running writes and uploads in parts reserve.", nil,
		of(func(c *counter) float64 { return float64(c.root.reserved) }))
}

// A countedBody counts a body while it comes, and reserves room for bytes that were not announced.
type countedBody struct {
	io.Reader
	c     *counter
	o     *operation
	free  int64 // bytes that need no reservation: of the file that is replaced, or reserved
	n     int64
	ended bool
	err   error
}

// stepBytes is how much room is reserved at once for a body of unknown length.
const stepBytes = 1 << 20

func (b *countedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.Reader.Read(p)
	b.n += int64(n)
	if b.n > b.free {
		if b.err = b.reserve(); b.err != nil {
			return 0, b.err
		}
	}
	b.ended = b.ended || err == io.EOF
	return n, err
}

// reserve reserves room for the bytes that have come, and for more if there is room.
func (b *countedBody) reserve() error {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	more := b.n - b.free
	err := b.c.tryReserve(&b.o.held, b.o.name, more+stepBytes)
	if err == nil {
		b.free += more + stepBytes
		return nil
	}
	if err = b.c.reserve(&b.o.held, b.o.name, more); err == nil {
		b.free += more
	}
	return err
}
