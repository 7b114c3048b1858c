package watcher

import (
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A question is one that waits for its answer, see [Options.Ask].
type question struct {
	number int
	answer chan<- bool
}

// asking knows how far the events of the operating system have been handled. To find out, it makes a file in a
// directory of its own: when the event of that file comes, those of all changes before it have come. They come in
// order, because one queue of the kernel has them all.
type asking struct {
	dir     string // absolute, or "" if it cannot be watched
	last    int    // the number of the last question
	waiting []question
	reached int // the number of the last question whose event has come
}

// watchAsks begins to watch the directory for questions.
func (w *watch) watchAsks() {
	if w.opts.AskDir == "" {
		return
	}
	dir, err := filepath.Abs(w.opts.AskDir)
	if err == nil {
		err = w.os.Add(dir)
	}
	if err == nil {
		w.asks.dir = dir
	}
}

// maxQuestions bounds the questions that wait.
const maxQuestions = 1 << 10

// ask takes a question.
func (w *watch) ask(answer chan<- bool) {
	if w.asks.dir == "" || w.lost || len(w.asks.waiting) == maxQuestions {
		answer <- false
		return
	}
	w.asks.last++
	file := filepath.Join(w.asks.dir, strconv.Itoa(w.asks.last))
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		answer <- false
		return
	}
	_ = os.Remove(file)
	w.signals.wake()
	w.asks.waiting = append(w.asks.waiting, question{w.asks.last, answer})
}

// isAsk reports whether an event is that of a question, and notes it.
func (w *watch) isAsk(ev fsnotify.Event) bool {
	if w.asks.dir == "" || filepath.Dir(ev.Name) != w.asks.dir && ev.Name != w.asks.dir {
		return false
	}
	if n, err := strconv.Atoi(filepath.Base(ev.Name)); err == nil && n <= w.asks.last {
		w.asks.reached = max(w.asks.reached, n)
	}
	return true
}

// answer answers the questions whose events have come, after it has handed on all events that wait. It waits until new
// directories are listed, because their members are news too.
func (w *watch) answer() {
	if len(w.asks.waiting) == 0 || w.asks.waiting[0].number > w.asks.reached || w.scanning() {
		return
	}
	if batch := w.pending.take(time.Now().Add(time.Hour)); len(batch) > 0 {
		w.notify(batch)
	}
	for len(w.asks.waiting) > 0 && w.asks.waiting[0].number <= w.asks.reached {
		w.asks.waiting[0].answer <- true
		w.asks.waiting = w.asks.waiting[1:]
	}
}

// endAsks answers all questions that wait when nothing is watched any more.
func (w *watch) endAsks() {
	for _, q := range w.asks.waiting {
		q.answer <- false
	}
	w.asks.waiting = nil
}
