package watcher

import (
	"slices"
	"sync"

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

// maxQueued bounds the queue, which then takes about 8 MB. More events are an overflow, as in the kernel.
const maxQueued = 1 << 16

// queue starts to receive the messages of n and hands them on in order. stop closes n and ends the goroutine.
//
// The queue has a goroutine of its own, because fsnotify must never wait for a caller of Add or Remove:
//
//   - If a directory was moved and then deleted, v1.10.1 sends an error while it holds the lock that Add and Remove
//     need (backend_inotify.go, handleEvent). On Windows both need the goroutine that sends the events
//     (https://github.com/fsnotify/fsnotify/issues/215). A goroutine that calls them and also receives would wait for
//     itself.
//   - inotify answers each removed watch with a message. While a large subtree is dropped, its queue would overflow.
func queue(n notifier) (signals <-chan signal, stop func()) {
	out, stopped := make(chan signal), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(out)
		forward(n, out, stopped)
	})
	return out, func() {
		n.Close()
		close(stopped)
		wg.Wait()
	}
}

// forward returns when it is stopped, or when a channel of n is closed.
func forward(n notifier, out chan<- signal, stopped <-chan struct{}) {
	var q []signal // the messages from head on are waiting
	head := 0
	push := func(s signal) {
		if len(q)-head >= maxQueued {
			q, head = nil, 0
			s = signal{err: fsnotify.ErrEventOverflow}
		}
		if head > 1024 && head > len(q)/2 {
			q, head = slices.Clone(q[head:]), 0
		}
		q = append(q, s)
	}
	for {
		var ready chan<- signal
		var next signal
		if head < len(q) {
			ready, next = out, q[head]
		}
		select {
		case <-stopped:
			return
		case ev, ok := <-n.Events():
			if !ok {
				return
			}
			push(signal{event: ev})
		case err, ok := <-n.Errors():
			if !ok {
				return
			}
			push(signal{err: err})
		case ready <- next:
			q[head] = signal{} // frees the memory of the name
			if head++; head == len(q) {
				q, head = q[:0], 0
			}
		}
	}
}
