package warmup

import (
	"context"
	"sync"
	"time"
)

// A queue holds the files to be hashed for which no request waits, the most urgent first.
type queue struct {
	wake  chan struct{} // has room for one, and is full while a worker is to look for tasks
	scan  chan struct{} // has room for one, and is full while the tree is to be searched
	found chan task     // files that the search has found, the least urgent ones

	mu      sync.Mutex
	asked   []task           // files of which a request wanted a hash, and did not wait for it
	ready   []task           // files that have changed, and are due
	due     map[string]later // files that have changed
	soonest time.Time        // none of due is due before
}

// A task is a file to be hashed.
type task struct {
	name  string
	sums  bool // compute all sums that there are, see [tree.Sums]
	found bool // the search has found it
	asked bool // a request has asked for it
	tries int  // how many have failed
}

// A later is a task with the time when it is due.
type later struct {
	task
	at   time.Time
	firm bool // not before that time, even if the file is queued again
}

const (
	// maxAsked, maxReady and maxDue bound the files that wait. If a file is dropped, the search finds it, or a request
	// asks for it again.
	maxAsked = 1 << 10
	maxReady = 64
	maxDue   = 1 << 16
)

// ask puts a file before all others.
func (q *queue) ask(wanted task) {
	q.mu.Lock()
	if len(q.asked) < maxAsked {
		q.asked = append(q.asked, wanted)
	}
	q.mu.Unlock()
	poke(q.wake)
}

// hash queues a file to be hashed when it is due. It reports whether there was room for it.
func (q *queue) hash(next later) bool {
	q.mu.Lock()
	before, waits := q.due[next.name]
	if waits {
		if before.firm && before.at.After(next.at) {
			next.at, next.firm, next.tries = before.at, true, before.tries
		}
		next.asked = next.asked || before.asked
	}
	room := waits || len(q.due) < maxDue
	if room {
		if len(q.due) == 0 || next.at.Before(q.soonest) {
			q.soonest = next.at
		}
		q.due[next.name] = next
	}
	q.mu.Unlock()
	poke(q.wake)
	return room
}

// isPutOff reports whether a file waits for another try, after a hash of it has failed.
func (q *queue) isPutOff(name string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.due[name].tries > 0
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// next waits for the most urgent task. ok is false if ctx is done.
func (q *queue) next(ctx context.Context, now func() time.Time) (next task, ok bool) {
	for {
		next, wait := q.take(now())
		if wait == 0 {
			return next, true
		}
		select {
		case <-q.wake:
		case <-time.After(wait):
		case next = <-q.found:
			return next, true
		case <-ctx.Done():
			return task{}, false
		}
	}
}

// take removes the most urgent task, and returns no wait. If there is none, it returns how long it is until one is due.
func (q *queue) take(now time.Time) (next task, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ready) == 0 && len(q.due) > 0 && !now.Before(q.soonest) {
		q.ripen(now)
	}
	switch {
	case len(q.asked) > 0:
		next, q.asked = q.asked[0], q.asked[1:]
	case len(q.ready) > 0:
		next, q.ready = q.ready[0], q.ready[1:]
	case len(q.due) > 0:
		return task{}, max(q.soonest.Sub(now), 1)
	default:
		return task{}, time.Hour
	}
	if len(q.asked)+len(q.ready) > 0 {
		poke(q.wake) // for another worker
	}
	return next, 0
}

// ripen makes some tasks ready that are due. The others stay where each file is once. mu must be held.
func (q *queue) ripen(now time.Time) {
	q.soonest = now.Add(time.Hour)
	for name, next := range q.due {
		if len(q.ready) == maxReady {
			q.soonest = now
			return
		}
		if !next.at.After(now) {
			q.ready = append(q.ready, next.task)
			delete(q.due, name)
		} else if next.at.Before(q.soonest) {
			q.soonest = next.at
		}
	}
}

// count returns how many files wait to be hashed.
func (q *queue) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.due) + len(q.asked) + len(q.ready)
}
