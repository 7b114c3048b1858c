package quota

import (
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/quota/limits"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A ledger has the sums of all collections of a tree, and the changes of them by operations that are under way. It
// decides from memory alone, and asks no store.
//
// An operation is decided inside its commit, before the change, and reserves the room that it needs. It is counted
// inside the commit too, when the change is made. So operations are counted in the order in which they happen, a name
// always means the collection that the commit has found there, and sum and reservations together are never less than
// the bytes that are there.
type ledger struct {
	mu       sync.Mutex
	limits   *limits.Set
	root     *node
	history  aged
	listings map[*node]struct{} // that are being listed
	clock    uint64             // counts decisions and moves
	own      ownChanges
	now      func() time.Time
	listed   mark // the collection that is being listed (zero: none)
	dirty    *dirt
	learned  chan struct{} // closed when more is known, and replaced
	// limitsChanged has a value when there are other limits.
	limitsChanged chan struct{}
	refused       uint64 // operations, because of a limit
}

func newLedger(set *limits.Set, now func() time.Time) *ledger {
	root := &node{unknown: true, unknowns: 1}
	return &ledger{
		limits: set, root: root, history: aged{kept: map[string]int64{}}, listings: map[*node]struct{}{}, now: now,
		dirty: newDirt(), learned: make(chan struct{}), limitsChanged: make(chan struct{}, 1),
	}
}

// setLimits puts other limits in force. Sums stay as they are. Operations that were decided stay decided.
func (l *ledger) setLimits(set *limits.Set) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits = set
	l.history.known = false
	clear(l.history.kept)
	select {
	case l.limitsChanged <- struct{}{}:
	default:
	}
}

// errFull is the refusal of a limit. It tells no number: the asker may not be allowed to list the files that the limit
// counts.
var errFull = &tree.StorageError{Kind: tree.ErrNoSpace,
	Hint: "the quota of this path has no room for it; nothing has changed; " +
		"remove something there, or ask for a larger quota"}

// countingRetry is when a client shall try again that has come before the sums are known.
const countingRetry = 5 * time.Second

// errCounting says that a write has to wait until the sums are known.
var errCounting = &tree.StorageError{Kind: tree.ErrBusy, RetryAfter: countingRetry,
	Hint: "the server still counts what is there, because this path has a quota; nothing has changed; try again"}

// A hold is a reservation on one node.
type hold struct {
	on    *node
	bytes int64
}

// A holds is the reservations of one operation. A reservation is on each node of a path, so that a limit on any of them
// finds it, whatever limits there are by then.
type holds []hold

func (h *holds) take(n *node, bytes int64) {
	if bytes > 0 {
		n.reserved += bytes
		*h = append(*h, hold{n, bytes})
	}
}

// drop ends all reservations.
func (h *holds) drop() {
	for _, one := range *h {
		one.on.reserved -= one.bytes
	}
	for _, one := range *h {
		one.on.prune()
	}
	*h = nil
}

// used returns the bytes that count for a limit, without reservations. The node is nil if there is none.
func (l *ledger) used(a limits.Applied) (bytes int64, n *node) {
	if n = l.root.find(a.Name); n != nil {
		bytes = n.total
	}
	if a.History {
		bytes += l.history.kept[a.Name]
	}
	return bytes, n
}

// isKnown reports whether all that counts for a limit is known.
func (l *ledger) isKnown(a limits.Applied) bool {
	return l.root.isKnown(a.Name) && (!a.History || l.history.known)
}

// allKnown reports whether that is so for all limits of a name.
func (l *ledger) allKnown(name string) bool {
	for _, a := range l.limits.Of(name) {
		if !l.isKnown(a) {
			return false
		}
	}
	return true
}

// reserve has an operation hold bytes for a name before they come, or fails with errFull or errCounting.
func (l *ledger) reserve(h *holds, name string, bytes int64) error {
	err := l.tryReserve(h, name, bytes)
	if err == error(errFull) {
		l.refused++
	}
	return err
}

// tryReserve is [ledger.reserve] for a caller that can do with less. The limits of the name itself, if it has some, are
// about all that it will be.
func (l *ledger) tryReserve(h *holds, name string, bytes int64) error {
	if bytes <= 0 {
		return nil
	}
	all := l.limits.Of(name)
	if len(all) == 0 {
		return nil
	}
	for _, a := range all {
		if !l.isKnown(a) {
			return errCounting
		}
		used, n := l.used(a)
		switch {
		case a.Name == name && a.History:
			used = l.history.kept[a.Name]
		case a.Name == name:
			used = 0 // the file takes the place of all that is there
		case n != nil:
			used += n.reserved
		}
		if bytes > a.Max-used {
			return errFull
		}
	}
	at := all[len(all)-1].Name
	if at == name {
		at, _ = tree.Split(name)
	}
	for _, n := range l.root.ensure(at).chain(nil) {
		h.take(n, bytes)
	}
	return nil
}

// learnedMore wakes those that wait for sums.
func (l *ledger) learnedMore() {
	close(l.learned)
	l.learned = make(chan struct{})
}

// allowances returns the room that limits leave for a name, the innermost first, as far as the sums are known.
func (l *ledger) allowances(name string) (all []tree.Allowance) {
	l.mu.Lock()
	defer l.mu.Unlock()
	applied := l.limits.Of(name)
	for i := len(applied) - 1; i >= 0; i-- {
		a := applied[i]
		if !l.isKnown(a) {
			continue
		}
		used, n := l.used(a)
		left := a.Max - used
		if n != nil {
			left -= n.reserved
		}
		all = append(all, tree.Allowance{Name: a.Name, Used: used, Available: max(left, 0)})
	}
	return all
}
