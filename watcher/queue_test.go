package watcher

import (
	"fmt"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// TestEventsAreReadTogether: after the first event, the others stay in the kernel for the time of a rest, unless it is
// ended. None is lost, and they come in order.
func TestEventsAreReadTogether(t *testing.T) {
	f := newFake()
	f.events = make(chan fsnotify.Event)
	q := receive(f, time.Hour)
	defer q.stop()
	event := func(i int) fsnotify.Event { return fsnotify.Event{Name: fmt.Sprint(i), Op: fsnotify.Create} }
	next := 0
	await := func(upTo int) {
		t.Helper()
		for next < upTo {
			select {
			case several := <-q.signals:
				for _, s := range several {
					if s.err != nil || s.event.Name != fmt.Sprint(next) {
						t.Fatalf("got %v, %v, want %d", s.event, s.err, next)
					}
					next++
				}
			case <-time.After(deadline):
				t.Fatalf("event %d has not come", next)
			}
		}
	}
	f.events <- event(0)
	await(1)
	select {
	case f.events <- event(1):
		t.Error("an event was read during the rest")
	default:
	}
	const many = 2*atOnce + 10
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := 1; i < many; i++ {
			select {
			case f.events <- event(i):
			case <-time.After(100 * time.Millisecond):
				q.wake() // the rest began in between, since this goroutine did not get the processor
				f.events <- event(i)
			}
		}
	}()
	q.wake()
	await(many)
	<-sent
}
