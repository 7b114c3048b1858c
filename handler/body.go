package handler

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"ifmatch/handler/accesslog"
	"ifmatch/wire"
)

// A body is that of a request. It knows whether it was read to its end, and waits for the client within bounds.
type body struct {
	io.ReadCloser // as net/http has it
	x             *exchange
	inner         *http.Request // as its handler has it
	duplex        bool          // it can be read beside the answer
	unwanted      bool          // what is left of it is not read: there are too many requests
	announced     int64         // how long it is; negative where that is not known
	latest        time.Duration // how long it may take in all, from when it is first read; 0: that is not bounded
	pace          *wire.Pace

	begun, taken atomic.Bool  // somebody has begun to read it; only drain goes on with it
	read         atomic.Int64 // how much was
	late         atomic.Bool  // it did not come in time
	state        atomic.Int32 // one of the following
	blamed       atomic.Bool  // it is broken, and was wanted

	reader chan struct{} // has room for whoever reads; the rest is his
	err    error         // what reading has ended with
	timer  *time.Timer   // for latest
}

const (
	bodyRemains int32 = iota // there may be more
	bodyWhole                // it was read to its end
	bodyBroken               // it cannot be read to its end
)

// What is said of a body that is not there is true of one that was read.

func (b *body) remains() bool { return b != nil && b.state.Load() == bodyRemains }
func (b *body) broken() bool  { return b != nil && b.state.Load() == bodyBroken }
func (b *body) unread() bool  { return b.remains() || b.broken() }

func (x *exchange) newBody() *body {
	b := &body{ReadCloser: x.r.Body, x: x, duplex: true, announced: x.r.ContentLength, reader: make(chan struct{}, 1)}
	if x.http1 {
		// Otherwise net/http reads 256 KiB of what is left before it answers, and waits for them for as long as it takes.
		b.duplex = x.control.EnableFullDuplex() == nil
	}
	if x.r.Method != http.MethodPut {
		b.latest = x.s.ShortBody
	}
	b.pace = b.newPace(x.s.Pace)
	return b
}

func (b *body) newPace(limit wire.Limit) *wire.Pace {
	if b.x.http1 && b.x.peer != nil {
		return wire.NewPace(limit, b.x.peer.Received, b.strike) // net/http fills a buffer from a chunk, however long that takes
	}
	return wire.NewPace(limit, nil, b.strike)
}

// strike ends the wait for more.
func (b *body) strike() {
	b.late.Store(true)
	b.x.interrupt(b.x.control.SetReadDeadline)
}

// A lateError says that a body did not come in time.
type lateError struct{ reason string }

func (e *lateError) Error() string { return e.reason }

// tooLate returns why the wait for a body was ended.
func (b *body) tooLate() error {
	if b.latest > 0 {
		return &lateError{fmt.Sprintf("the client has not sent the body within %v", b.latest)}
	}
	pace := b.x.s.Pace
	return &lateError{fmt.Sprintf("the client has sent nothing for %v, or less than %d bytes a second", pace.Pause, pace.Rate)}
}

func (b *body) Read(p []byte) (int, error) {
	b.reader <- struct{}{}
	defer func() { <-b.reader }()
	if b.taken.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if !b.begun.Swap(true) && b.latest > 0 {
		b.timer = time.AfterFunc(b.latest, b.strike)
	}
	n, err := b.more(p, b.pace)
	if err != nil && b.timer != nil {
		b.timer.Stop()
	}
	switch {
	case err == io.EOF:
		b.inner.Trailer = b.x.r.Trailer // net/http has it in the request that it has made, and the handler has a copy of that
	case err != nil:
		b.blamed.Store(true)
	}
	return n, err
}

// more reads more at a pace.
func (b *body) more(p []byte, pace *wire.Pace) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	pace.Begin()
	n, err := b.ReadCloser.Read(p)
	pace.End(int64(n))
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
	return n, err
}

// rest returns how much is still to come; it is negative where that is not known.
func (b *body) rest() int64 { return b.announced - b.read.Load() }

// Close does nothing: net/http closes its own.
func (b *body) Close() error { return nil }

// drain reads and throws away what is still to come, within bounds.
func (b *body) drain() {
	s := b.x.s
	b.taken.Store(true)
	end := time.AfterFunc(s.DrainTime, b.strike)
	defer end.Stop()
	pace := b.pace
	if !b.x.http1 || b.x.r.Header.Get("Expect") != "" && !b.begun.Load() {
		pace = b.newPace(wire.Limit{Pause: s.silence})
		// Somebody may still be reading, see glance.
		soon := time.AfterFunc(s.silence, b.strike)
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
	for left := s.DrainBytes; left > 0; {
		n, err := b.more(buffer[:min(left, int64(len(buffer)))], pace)
		if err != nil {
			return
		}
		left -= int64(n)
	}
}

// defaultSilence is how long a client may pause that sends a refused body and need not.
//
// One that has waited to be asked for it (RFC 9110 §10.1.1) mostly does not send it now. It is not asked either: once the
// answer has begun, net/http sends no 100. But it may have become impatient before that came, and would not hear it if
// the connection were reset.
//
// Over HTTP/2 some stop when they are refused and wait for the end of the answer, which here is not told before the body
// is through or given up: net/http. Others go on, and fail if the stream is reset under them, although RFC 9113 §8.1 has
// them take the answer: curl.
const defaultSilence = time.Second

// report adds to the log how much has come of a body that the client did not send to its end.
func (b *body) report() {
	gone := b.x.status == 0 && b.begun.Load() && b.unread() // and that was noticed before the body broke off
	if !b.blamed.Load() && !gone {
		return
	}
	attrs := []slog.Attr{slog.Int64("received", b.read.Load())}
	if b.announced >= 0 {
		attrs = append(attrs, slog.Int64("announced", b.announced))
	}
	accesslog.Explain(b.x.ResponseWriter, attrs...)
}
