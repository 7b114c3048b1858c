package watcher

import (
	"slices"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// A notifier is the part of fsnotify that is used here. Tests put a fake behind it, to lose events and to run
// out of watches.
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

// What may wait in the queue, about 8 MB of it. More is an overflow, as in the kernel.
const maxQueued = 1 << 16

// queue starts to take what n has to say and hands it on in order. stop closes n and ends it.
//
// It has a goroutine of its own, because fsnotify must never have to wait for a caller of Add or Remove:
//
//   - When a directory was moved and then deleted, v1.10.1 sends an error while it holds the lock that both of
//     them need (backend_inotify.go, handleEvent). On Windows both need the goroutine that sends the events
//     (https://github.com/fsnotify/fsnotify/issues/215). Who calls and receives would wait for itself.
//   - inotify answers each removed watch with a message. While a large subtree is dropped, its queue would
//     overflow.
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
	var q []signal // waiting from head on
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
			q[head] = signal{} // lets go of its name
			if head++; head == len(q) {
				q, head = q[:0], 0
			}
		}
	}
}
