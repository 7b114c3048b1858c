// Package logwriter lets a program log without waiting for the reader of its log.
package logwriter

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// A Writer writes lines from a goroutine of its own, so that a slow or closed log stops no request. It drops lines
// that do not fit into its buffer or cannot be written, and writes a line with their number in their place.
type Writer struct {
	out     io.Writer
	dropped func(to io.Writer, lines int)

	mu       sync.Mutex
	buffer   bytes.Buffer
	lost     int // dropped lines that no line in the buffer reports yet
	reported int // dropped lines that a line in the buffer reports
	failed   bool
	writing  bool
	idle     *sync.Cond  // with mu: the buffer is empty and nothing is being written
	timer    *time.Timer // writes lines that may come later (nil: none has come)
	armed    bool        // the timer runs
}

// bufferSize bounds the buffer: some thousand lines.
const bufferSize = 1 << 20

// Lines that may come later are written when the buffer has laterSize bytes, or after laterTime.
const (
	laterSize = 64 << 10
	laterTime = time.Second
)

// New returns a Writer to out. dropped writes the line that reports how many lines were dropped. It must not block,
// and may be nil.
func New(out io.Writer, dropped func(to io.Writer, lines int)) *Writer {
	if dropped == nil {
		dropped = func(io.Writer, int) {}
	}
	w := &Writer{out: out, dropped: dropped}
	w.idle = sync.NewCond(&w.mu)
	return w
}

// Write takes whole lines. It never blocks and never fails.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(p)
	w.begin()
	return len(p), nil
}

// Later returns a writer whose lines are written with the next line of w, when some have come together, or within a
// second. The order of all lines is that of the calls.
func (w *Writer) Later() io.Writer { return later{w} }

type later struct{ *Writer }

// Write is [Writer.Write].
func (l later) Write(p []byte) (int, error) {
	w := l.Writer
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(p)
	switch {
	case w.writing || w.armed && w.buffer.Len() < laterSize:
	case w.buffer.Len() >= laterSize:
		w.begin()
	case w.timer == nil:
		w.armed = true
		w.timer = time.AfterFunc(laterTime, w.expire)
	default:
		w.armed = true
		w.timer.Reset(laterTime)
	}
	return len(p), nil
}

// expire is called by the timer.
func (w *Writer) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	w.begin()
}

// add adds whole lines to the buffer, or counts them as lost. mu must be held.
func (w *Writer) add(p []byte) {
	if w.buffer.Len()+len(p) > bufferSize {
		w.lost += countLines(p)
	} else {
		if !w.failed {
			w.reportLost()
		}
		w.buffer.Write(p)
	}
}

// begin has the lines of the buffer be written. mu must be held.
func (w *Writer) begin() {
	if !w.writing && w.buffer.Len() > 0 {
		w.writing = true
		go w.drain()
	}
}

// reportLost adds the line about dropped lines to the buffer, if there are any. mu must be held.
func (w *Writer) reportLost() {
	if w.lost > 0 {
		w.dropped(&w.buffer, w.lost)
		w.reported += w.lost
		w.lost = 0
	}
}

// drain writes until the buffer is empty.
func (w *Writer) drain() {
	var batch []byte
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.buffer.Len() > 0 {
		batch = append(batch[:0], w.buffer.Next(batchSize(w.buffer.Bytes()))...)
		w.mu.Unlock()
		n, err := w.out.Write(batch)
		w.mu.Lock()
		if w.failed = err != nil; w.failed {
			w.lost += countLines(batch[max(n, 0):]) + w.reported
		}
		w.reported = 0
		if !w.failed && w.buffer.Len() == 0 {
			w.reportLost()
		}
	}
	w.writing = false
	w.idle.Broadcast()
}

func countLines(p []byte) int { return bytes.Count(p, []byte("\n")) }

// batchSize returns how many bytes of the buffer to write at once: whole lines of at most 64 KiB, or a longer line.
func batchSize(buffer []byte) int {
	const most = 64 << 10
	if end := bytes.LastIndexByte(buffer[:min(len(buffer), most)], '\n'); end >= 0 {
		return end + 1
	}
	return len(buffer)
}

// Flush writes every line now and waits until that is done, but no longer than timeout.
func (w *Writer) Flush(timeout time.Duration) {
	w.mu.Lock()
	w.begin()
	w.mu.Unlock()
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
	case <-time.After(timeout):
	}
}
