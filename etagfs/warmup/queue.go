package warmup

import (
	"context"
	"sync"
	"time"
)

// A queue holds the files to be hashed for which no request waits, the most urgent first.
type queue struct {
	wake chan struct{} // has room for one, and is full while there are new tasks
	scan chan struct{} // has room for one, and is full while the tree is to be searched

	asked   chan task // files of which a request wanted a hash, and did not wait for it
	changed chan task // files that have changed
	found   chan task // files that the search has found

	mu  sync.Mutex
	due map[string]later // files that have changed
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
	// maxAsked and maxDue bound the files that wait. If a file is dropped, the search finds it, or a request asks for
	// it again.
	maxAsked = 1 << 10
	maxDue   = 1 << 16
)

func newQueue() *queue {
	return &queue{
		wake:    make(chan struct{}, 1),
		scan:    make(chan struct{}, 1),
		asked:   make(chan task, maxAsked),
		changed: make(chan task, 64),
		found:   make(chan task),
		due:     map[string]later{},
	}
}

// ask puts a file before all others.
func (q *queue) ask(wanted task) {
	wanted.asked = true
	select {
	case q.asked <- wanted:
	default:
	}
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

// ripe hands the tasks that are due to the workers, as many as the workers take. It returns how long it is until more
// tasks are due (0: unknown).
func (q *queue) ripe(now time.Time) (wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, next := range q.due {
		left := next.at.Sub(now)
		if left <= 0 {
			select {
			case q.changed <- next.task:
				delete(q.due, name)
				continue
			default:
				left = busyPause
			}
		}
		if wait == 0 || left < wait {
			wait = left
		}
	}
	return wait
}

// busyPause is how long a task that is due waits before it is offered again, if all workers are busy.
const busyPause = 10 * time.Millisecond

// next returns the most urgent task. ok is false if ctx is done.
func (q *queue) next(ctx context.Context) (next task, ok bool) {
	// If several channels are ready, a select takes any of them. So ask the more urgent ones first.
	select {
	case next = <-q.asked:
		return next, true
	default:
	}
	select {
	case next = <-q.changed:
		return next, true
	default:
	}
	select {
	case next = <-q.asked:
	case next = <-q.changed:
	case next = <-q.found:
	case <-ctx.Done():
		return task{}, false
	}
	return next, true
}

// count returns how many files wait to be hashed.
func (q *queue) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.due) + len(q.asked) + len(q.changed)
}
