package exchange

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/handler/accesslog"
	"r-seed-1f3a754f.example/ifmatch/wire"
)

// A Body is the body of a request. It knows whether it was read to its end, and waits for the client within limits.
type Body struct {
	io.ReadCloser // of net/http
	x             *exchange
	inner         *http.Request // the request that the handler has
	duplex        bool          // the body can be read beside the answer
	unwanted      bool          // the rest is not read, because there are too many requests
	announced     int64         // the length in bytes (negative: not known)
	latest        time.Duration // bounds the time from the first read to the end (0: no bound)
	pace          *wire.Pace

	begun  atomic.Bool  // reading has begun
	taken  atomic.Bool  // only drain may still read
	read   atomic.Int64 // bytes
	late   atomic.Bool  // the client was too slow
	state  atomic.Int32 // one of the following
	blamed atomic.Bool  // the body broke off while the handler read it

	reader chan struct{} // a lock, held while reading: it guards the following
	came   []byte        // was read by HasCome, and is to be read by Read
	err    error         // with which reading has ended
	timer  *time.Timer   // for latest
}

const (
	bodyRemains int32 = iota // there may be more to read
	bodyWhole                // the body was read to its end
	bodyBroken               // the body cannot be read to its end
)

// A nil Body, of a request that has none, counts as read to its end.

func (b *Body) remains() bool { return b != nil && b.state.Load() == bodyRemains }
func (b *Body) unread() bool  { return b.remains() || b.Broken() }

// Broken reports whether the body cannot be read to its end.
func (b *Body) Broken() bool { return b != nil && b.state.Load() == bodyBroken }

// BodyOf returns the body of a request as [Limits.Wrap] hands it on, or nil if it has none.
func BodyOf(r *http.Request) *Body {
	b, _ := r.Body.(*Body)
	return b
}

// Refuse makes the rest of the body not be read after the answer. A nil Body has no rest.
func (b *Body) Refuse() {
	if b != nil {
		b.unwanted = true
	}
}

// BecomesFile says, before the body is read, that it becomes the content of a file: it may take as long as it moves, as
// that of a PUT, and not only the time of [Limits].ShortBody. A nil Body is none.
func (b *Body) BecomesFile() {
	if b != nil {
		b.latest = 0
	}
}

func (x *exchange) newBody() *Body {
	b := &Body{ReadCloser: x.r.Body, x: x, duplex: true, announced: x.r.ContentLength, reader: make(chan struct{}, 1)}
	if x.http1 {
		// Otherwise net/http reads up to 256 KiB of the rest before it answers, and waits for them without a bound.
		b.duplex = x.control.EnableFullDuplex() == nil
	}
	if x.r.Method != http.MethodPut {
		b.latest = x.limits.ShortBody
	}
	b.pace = b.newPace(x.limits.Pace)
	return b
}

func (b *Body) newPace(limit wire.Limit) *wire.Pace {
	if b.x.http1 && b.x.peer != nil {
		// A read of net/http may wait until a buffer is full of one chunk, so the bytes on the connection count.
		return wire.NewPace(limit, b.x.peer.Received, b.strike)
	}
	return wire.NewPace(limit, nil, b.strike)
}

// strike ends the wait for the client.
func (b *Body) strike() {
	b.late.Store(true)
	b.x.interrupt(b.x.control.SetReadDeadline)
}

// A LateError says that a body was not sent in time.
type LateError struct{ reason string }

func (e *LateError) Error() string { return e.reason }

// tooLate returns why the wait for the body was ended.
func (b *Body) tooLate() error {
	if b.latest > 0 {
		return &LateError{fmt.Sprintf("the client has not sent the body within %v", b.latest)}
	}
	pace := b.x.limits.Pace
	return &LateError{fmt.Sprintf("the client has sent nothing for %v, or less than %d bytes a "+
		"second", pace.Pause, pace.Rate)}
}

func (b *Body) Read(p []byte) (n int, err error) {
	b.x.in.Begin()
	defer func() { b.x.in.End(int64(n)) }()
	b.reader <- struct{}{}
	defer func() { <-b.reader }()
	if b.taken.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if !b.begun.Swap(true) && b.latest > 0 {
		b.timer = time.AfterFunc(b.latest, b.strike)
	}
	if len(b.came) > 0 {
		n = copy(p, b.came)
		b.came = b.came[n:]
		return n, nil
	}
	n, err = b.more(p, b.pace)
	if err != nil && b.timer != nil {
		b.timer.Stop()
	}
	switch {
	case err == io.EOF:
		b.inner.Trailer = b.x.r.Trailer // net/http sets it in its own request, and the handler has a copy
	case err != nil:
		b.blamed.Store(true)
	}
	return n, err
}

// HasCome reports whether the whole body has come, if it has at most that many bytes (most) and its length was announced. It
// does not wait for the client, and does not ask for the body either (Expect). A nil Body has come.
func (b *Body) HasCome(most int64) bool {
	if b == nil {
		return true
	}
	if b.announced < 0 || b.announced > most || !b.x.http1 || b.x.peer == nil || b.x.r.Header.Get("Expect") != "" {
		return false
	}
	b.reader <- struct{}{}
	defer func() { <-b.reader }()
	if b.begun.Load() || b.came != nil {
		return b.rest() == 0
	}
	b.x.peer.WithoutWaiting(func() {
		b.came = make([]byte, 0, b.announced)
		for b.err == nil && b.rest() > 0 {
			n, err := b.ReadCloser.Read(b.came[len(b.came):b.announced])
			b.came = b.came[:len(b.came)+n]
			if errors.Is(err, wire.ErrWouldWait) {
				b.read.Add(int64(n))
				return
			}
			b.ended(n, err)
		}
	})
	return b.rest() == 0
}

func (b *Body) more(p []byte, pace *wire.Pace) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	pace.Begin()
	n, err := b.ReadCloser.Read(p)
	pace.End(int64(n))
	return n, b.ended(n, err)
}

// ended notes how a read has ended.
func (b *Body) ended(n int, err error) error {
	b.read.Add(int64(n))
	switch {
	case err == io.EOF:
		b.state.Store(bodyWhole)
	case err != nil:
		if b.late.Load() {
			err = b.tooLate()
		}
		b.state.Store(bodyBroken)
	}
	b.err = err
	return err
}

// rest returns how many bytes are still to come (negative: not known).
func (b *Body) rest() int64 { return b.announced - b.read.Load() }

// Close does nothing, because net/http closes the body itself.
func (b *Body) Close() error { return nil }

// drain reads the rest and throws it away, within limits.
func (b *Body) drain() {
	limits := b.x.limits
	b.taken.Store(true)
	end := time.AfterFunc(limits.DrainTime, b.strike)
	defer end.Stop()
	pace := b.pace
	if !b.x.http1 || b.x.r.Header.Get("Expect") != "" && !b.begun.Load() {
		pace = b.newPace(wire.Limit{Pause: limits.Silence})
		// A Peek may still be reading.
		soon := time.AfterFunc(limits.Silence, b.strike)
		b.reader <- struct{}{}
		soon.Stop()
	} else {
		b.reader <- struct{}{}
	}
	defer func() { <-b.reader }()
	if b.timer != nil {
		b.timer.Stop()
	}
	buffer := make([]byte, 32<<10)
	for left := limits.DrainBytes; left > 0; {
		n, err := b.more(buffer[:min(left, int64(len(buffer)))], pace)
		if err != nil {
			return
		}
		left -= int64(n)
	}
}

// DefaultSilence is how long a client may pause that sends a refused body which it need not send.
//
// A client that has sent "Expect: 100-continue" (RFC 9110 §10.1.1) mostly does not send the body after a refusal, and
// net/http does not ask for it once the answer has begun. But the client may have begun to send before the refusal
// came, and would not read the refusal if the connection were reset.
//
// Over HTTP/2 some clients stop sending when they are refused, and wait for the end of the answer. That end is sent
// only after the body was read or given up (net/http). Other clients, such as curl, go on sending, and fail if the
// stream is reset, although RFC 9113 §8.1 wants them to read the answer.
const DefaultSilence = time.Second

// report adds to the access log how much of a body arrived, if the client did not send it to its end.
func (b *Body) report() {
	// The client may be gone before the read of its body fails.
	gone := b.x.status == 0 && b.begun.Load() && b.unread()
	if !b.blamed.Load() && !gone {
		return
	}
	attrs := []slog.Attr{slog.Int64("received", b.read.Load())}
	if b.announced >= 0 {
		attrs = append(attrs, slog.Int64("announced", b.announced))
	}
	accesslog.Explain(b.x.ResponseWriter, attrs...)
}
