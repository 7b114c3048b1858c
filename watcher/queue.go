package watcher

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A notifier is the part of fsnotify that is used here. Tests replace it, to lose events and to run out of watches.
type notifier interface {
	Add(path string) error
	Remove(path string) error
	Events() <-chan fsnotify.Event
	Errors() <-chan error
	Close() error
}

type osNotifier struct{ *fsnotify.Watcher }

func (n osNotifier) Events() <-chan fsnotify.Event { return n.Watcher.Events }
func (n osNotifier) Errors() <-chan error          { return n.Watcher.Errors }

// A signal is one message of a notifier: an event, or an error.
type signal struct {
	event fsnotify.Event
	err   error
}

const (
	// maxQueued bounds the queue, which then takes about 8 MB. More events are an overflow, as in the kernel.
	maxQueued = 1 << 16
	// atOnce is how many messages are handed on at once. More than these within one rest are a flood.
	atOnce = 512
	// rest is how long the kernel collects events before they are read. Each write of this server makes an event or
	// two, and each wakes a goroutine where it is read alone. All names rest for longer than this, see [Options.Quiet].
	rest = 5 * time.Millisecond
	// yields is how often the goroutine of fsnotify gets the processor before its next event counts as not there.
	yields = 3
)

// A queue receives the messages of a notifier, and hands them on in order, several at once.
//
// It has a goroutine of its own, because fsnotify must not wait for a caller of Add or Remove:
//
//   - If a directory was moved and then deleted, v1.10.1 sends an error while it holds the lock that Add and Remove
//     need (backend_inotify.go, handleEvent). On Windows both need the goroutine that sends the events
//     (https://github.com/fsnotify/fsnotify/issues/215). A goroutine that calls them and also receives would wait for
//     itself.
//   - inotify answers each removed watch with a message. While a large subtree is dropped, its queue would overflow.
type queue struct {
	from    notifier
	rest    time.Duration
	signals chan []signal // closed with the channels of the notifier
	hurry   chan struct{} // ends a rest
	stopped chan struct{}
	running sync.WaitGroup
	waiting []signal
}

// receive starts to receive the messages of n, with a rest after those that have come together.
func receive(n notifier, rest time.Duration) *queue {
	q := &queue{
		from: n, rest: rest, signals: make(chan []signal), hurry: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	q.running.Go(func() {
		defer close(q.signals)
		q.forward()
	})
	return q
}

// stop closes the notifier and ends the goroutine.
func (q *queue) stop() {
	q.from.Close()
	close(q.stopped)
	q.running.Wait()
}

// wake ends a rest, if there is one.
func (q *queue) wake() {
	select {
	case q.hurry <- struct{}{}:
	default:
	}
}

// forward returns when it is stopped, or when a channel of the notifier is closed.
func (q *queue) forward() {
	events := q.from.Events()
	rested := time.NewTimer(q.rest)
	defer rested.Stop()
	for {
		var ready chan<- []signal
		next := q.waiting[:min(len(q.waiting), atOnce)]
		if len(next) > 0 {
			ready = q.signals
		}
		select {
		case <-q.stopped:
			return
		case ev, ok := <-events:
			if !ok {
				return
			}
			q.push(signal{event: ev})
			if q.drain() < atOnce {
				events = nil
				rested.Reset(q.rest)
			}
		case <-rested.C:
			events = q.from.Events()
		case <-q.hurry:
			events = q.from.Events()
		case err, ok := <-q.from.Errors():
			if !ok {
				return
			}
			q.push(signal{err: err})
		case ready <- slices.Clip(next):
			if q.waiting = q.waiting[len(next):]; len(q.waiting) == 0 {
				q.waiting = nil // the receiver has the array
			}
		}
	}
}

// drain receives the events that are there, and returns their number, atOnce at the most.
func (q *queue) drain() (n int) {
	for none := 0; none < yields && n < atOnce; {
		select {
		case ev, ok := <-q.from.Events():
			if !ok {
				return n // forward finds the channel closed
			}
			q.push(signal{event: ev})
			n, none = n+1, 0
		default:
			runtime.Gosched()
			none++
		}
	}
	return n
}

func (q *queue) push(s signal) {
	if len(q.waiting) >= maxQueued {
		q.waiting, s = nil, signal{err: fsnotify.ErrEventOverflow}
	}
	q.waiting = append(q.waiting, s)
}
