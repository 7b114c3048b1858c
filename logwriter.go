package main

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// A logWriter writes what it is given from a goroutine of its own, so that nobody waits for who reads it: a server whose log
// nobody reads goes on, and so does one whose log is closed. What does not fit into its buffer meanwhile, or cannot be
// written, is dropped, and counted in a line that stands where it would have been.
type logWriter struct {
	out io.Writer
	// dropped writes such a line.
	dropped func(to io.Writer, lines int)

	mu      sync.Mutex
	waiting bytes.Buffer
	lost    int // lines of which nothing was said yet
	told    int // lines of which something was said in what waits
	failed  bool
	writing bool
	idle    *sync.Cond // with mu: nothing is waiting, or being written
}

// logBuffer bounds what waits to be written: some thousand lines.
const logBuffer = 1 << 20

func newLogWriter(out io.Writer) *logWriter {
	w := &logWriter{out: out, dropped: func(io.Writer, int) {}}
	w.idle = sync.NewCond(&w.mu)
	return w
}

// Write takes whole lines. It does not wait, and does not fail.
func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting.Len()+len(p) > logBuffer {
		w.lost += countLines(p)
	} else {
		if !w.failed {
			w.tell()
		}
		w.waiting.Write(p)
	}
	if !w.writing {
		w.writing = true
		go w.write()
	}
	return len(p), nil
}

// tell says what was lost, if something was. mu must be held.
func (w *logWriter) tell() {
	if w.lost > 0 {
		w.dropped(&w.waiting, w.lost)
		w.told += w.lost
		w.lost = 0
	}
}

// write writes until nothing is waiting.
func (w *logWriter) write() {
	var batch []byte
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.waiting.Len() > 0 {
		batch = append(batch[:0], w.waiting.Next(wholeLines(w.waiting.Bytes()))...)
		w.mu.Unlock()
		n, err := w.out.Write(batch)
		w.mu.Lock()
		if w.failed = err != nil; w.failed {
			w.lost += countLines(batch[max(n, 0):]) + w.told
		}
		w.told = 0
		if !w.failed && w.waiting.Len() == 0 {
			w.tell()
		}
	}
	w.writing = false
	w.idle.Broadcast()
}

func countLines(p []byte) int { return bytes.Count(p, []byte("\n")) }

// wholeLines returns how much of what waits is written at once.
func wholeLines(waiting []byte) int {
	const atOnce = 64 << 10
	if end := bytes.LastIndexByte(waiting[:min(len(waiting), atOnce)], '\n'); end >= 0 {
		return end + 1
	}
	return len(waiting)
}

// flush waits until all is written, within bounds.
func (w *logWriter) flush(patience time.Duration) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		w.mu.Lock()
		defer w.mu.Unlock()
		for w.writing {
			w.idle.Wait()
		}
	}()
	select {
	case <-written:
	case <-time.After(patience):
	}
}
