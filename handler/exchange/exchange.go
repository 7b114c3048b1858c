// Package exchange handles the bytes of a request and of its answer on the connection.
//
// [Limits.Wrap] is around everything that answers, so that this holds for all answers:
//
//   - A connection on which a body was not read to its end carries no further request, because the rest of the body would
//     be taken for one. Over HTTP/2, net/http resets the stream.
//   - The answer arrives nevertheless. It is sent at once, and the rest of the body is read and thrown away, within limits:
//     many clients read only after they have sent everything, and would see a broken pipe instead of the answer.
//   - Each wait for the client ends ([wire.Limit]).
//   - A request over HTTP/1 that has arrived whole lives until its client is gone ([wire.Peer.Follow]).
package exchange

import (
	"cmp"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/handler/accesslog"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/wire"
)

// Limits bound how much is read of bodies, and how long clients are waited for.
type Limits struct {
	// Pace says how slow a client may be that sends a body, or reads an answer over HTTP/2 (zero:
	// [wire.DefaultLimit]). Over HTTP/1, answers go at the pace of their connection, see [wire.Listen].
	Pace wire.Limit
	// PaceNow returns the Pace of a request that begins (nil: Pace).
	PaceNow func() wire.Limit
	// ShortBody bounds the time that the whole body of any method but PUT may take, unless it becomes a file too (0: 30
	// seconds; negative: no bound). At a megabyte, the most that is read of such a body, the default is a rate of 35 KB/s.
	ShortBody time.Duration
	// Abandoned is how long a request over HTTP/1 goes on to hash after its client has closed its sending side, if no
	// other request needs the hash (0: 10 seconds). A client that still listens is then told to try again.
	Abandoned time.Duration
	// DrainBytes and DrainTime bound how much of a refused body is read after the refusal was sent, so that a client
	// that sends before it reads still gets the refusal (0: 1 GB, 1 minute; negative: nothing).
	DrainBytes int64
	DrainTime  time.Duration
	// Silence is how long a client may pause that sends a refused body which it need not send (0: [DefaultSilence]).
	Silence time.Duration
	// PeekTime bounds the time of [Limits.Peek] (0: [DefaultPeek]).
	PeekTime time.Duration
}

// WithDefaults returns the limits with the defaults in place of zeros.
func (l Limits) WithDefaults() Limits {
	l.Pace = cmp.Or(l.Pace, wire.DefaultLimit)
	l.ShortBody = cmp.Or(l.ShortBody, 30*time.Second)
	l.Abandoned = cmp.Or(l.Abandoned, 10*time.Second)
	l.DrainBytes = cmp.Or(l.DrainBytes, 1e9)
	l.DrainTime = cmp.Or(l.DrainTime, time.Minute)
	l.Silence = cmp.Or(l.Silence, DefaultSilence)
	l.PeekTime = cmp.Or(l.PeekTime, DefaultPeek)
	return l
}

// An exchange is one request and its answer, as far as their bytes go.
type exchange struct {
	http.ResponseWriter
	limits  *Limits
	r       *http.Request // as made by net/http
	peer    *wire.Peer
	life    *wire.Life // nil: the context of the request is that of net/http
	control http.ResponseController
	http1   bool
	body    *Body      // nil: the request has no body
	pace    *wire.Pace // of the answer over HTTP/2 (over HTTP/1 the pace of the connection counts)

	in, out *limit.Meter  // see Measure
	status  int           // of the answer (0: it has not begun)
	content bool          // some of the answer's content was written
	open    bool          // the answer ends only with the last chunk, or with the connection
	closing bool          // the answer says "Connection: close"
	drained chan struct{} // closed when the rest of the body was read (nil: it is not read)

	mu      sync.Mutex
	over    bool // the exchange has ended, and net/http must not be called any more
	begun   bool // the answer has begun
	gaveWay bool // the exchange gave way before the answer began
	cut     bool // the exchange gave way after the answer began
}

// Wrap returns a handler whose requests are exchanges within these limits, which must have their defaults. It must be
// around all handlers that answer.
func (l Limits) Wrap(next http.Handler) http.Handler {
	var latest atomic.Pointer[Limits] // shared by requests, and made anew only if the Pace has changed
	latest.Store(&l)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l := latest.Load()
		if l.PaceNow != nil {
			if pace := l.PaceNow(); pace != l.Pace {
				now := *l
				now.Pace = pace
				l = &now
				latest.Store(l)
			}
		}
		x := &exchange{ResponseWriter: w, limits: l, r: r, control: *http.NewResponseController(w), http1: r.ProtoMajor < 2}
		defer x.leave()
		inner := r
		if x.peer = wire.PeerOf(r); x.peer != nil && x.http1 {
			ctx, life := x.peer.Follow(r.Context(), l.Abandoned)
			defer life.End()
			x.life, inner = life, r.WithContext(tree.WithHashContext(ctx, life.HashContext))
		}
		if !x.http1 {
			x.pace = wire.NewPace(l.Pace, nil, func() { x.interrupt(x.control.SetWriteDeadline) })
		}
		if r.Body != nil && r.Body != http.NoBody {
			x.body = x.newBody()
			if inner == r {
				inner = new(http.Request)
				*inner = *r
			}
			inner.Body, x.body.inner = x.body, inner
		}
		next.ServeHTTP(x, inner)
		x.end()
	})
}

// interrupt ends a wait with one of the two deadlines.
func (x *exchange) interrupt(setDeadline func(time.Time) error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.over {
		setDeadline(time.Unix(1, 0))
	}
}

// Measure has two meters measure from now on how fast the client of an exchange sends its body, and reads the answer. Of a
// writer that belongs to no exchange it does nothing.
func Measure(w http.ResponseWriter, in, out *limit.Meter) {
	if x, ok := wire.Inner[*exchange](w); ok {
		x.in, x.out = in, out
	}
}

// LifeOf returns what ends the context of a request whose answer goes to w. nil: nothing does.
func LifeOf(w http.ResponseWriter) *wire.Life {
	if x, ok := wire.Inner[*exchange](w); ok {
		return x.life
	}
	return nil
}

// GiveWay ends the waits of an exchange for its client, to make room for others. If the answer has not begun, a
// refusal can still be sent. Of a writer that belongs to no exchange it does nothing.
func GiveWay(w http.ResponseWriter) {
	x, ok := wire.Inner[*exchange](w)
	if !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return
	}
	x.control.SetReadDeadline(time.Unix(1, 0))
	if x.gaveWay = !x.begun; x.gaveWay {
		return
	}
	x.cut = true
	x.control.SetWriteDeadline(time.Unix(1, 0))
}

// lastAnswer is how long a client may take to read the answer after its exchange has given way.
const lastAnswer = 5 * time.Second

// beginAnswer notes that the answer begins, and reports whether the exchange gave way before.
func (x *exchange) beginAnswer() (gaveWay bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.begun = true
	if x.gaveWay {
		x.control.SetWriteDeadline(time.Now().Add(lastAnswer))
	}
	return x.gaveWay
}

// IsCut reports whether an exchange gave way after its answer had begun, so that the answer is cut off.
func IsCut(w http.ResponseWriter) bool {
	x, ok := wire.Inner[*exchange](w)
	if !ok {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.cut
}

// leave runs last, also after a panic. After it, net/http looks for the end of the body, and must not wait for it.
func (x *exchange) leave() {
	if x.pace != nil {
		x.pace.Stop()
	}
	if x.body != nil {
		x.body.pace.Stop()
		x.body.taken.Store(true)
		if x.body.unread() {
			x.interrupt(x.control.SetReadDeadline)
		}
		if x.drained != nil {
			<-x.drained
		}
		x.body.report()
		accesslog.Of(x.ResponseWriter).Received = x.body.read.Load()
	}
	x.mu.Lock()
	x.over = true
	x.mu.Unlock()
}

func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (x *exchange) WriteHeader(status int) {
	if status < 200 || x.status != 0 {
		x.ResponseWriter.WriteHeader(status)
		return
	}
	x.status = status
	h := x.Header()
	bodyless := x.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
	x.open = !bodyless && h.Get("Content-Length") == ""
	gaveWay := x.beginAnswer()
	if gaveWay && x.body != nil {
		x.body.unwanted = true
	}
	if x.http1 && (gaveWay || x.isLast()) {
		x.closing = true
		h.Set("Connection", "close")
	}
	x.ResponseWriter.WriteHeader(status)
	if x.body.remains() && x.drains() {
		// This runs beside the answer: if both sides send more than the buffers between them hold, and neither reads,
		// both would wait for ever.
		x.drained = make(chan struct{})
		go func() { defer close(x.drained); x.body.drain() }()
	}
}

// isLast reports whether it is known when the answer begins that no other request can follow on the connection.
func (x *exchange) isLast() bool {
	if x.r.ProtoMinor == 0 {
		// net/http ignores the Transfer-Encoding of HTTP/1.0, and takes the body for the next request. RFC 9112 §6.1
		// wants the connection to be closed, but net/http has removed the field.
		return true
	}
	return x.isUnclear() || x.body.Broken() || x.body.remains() && (x.open || !x.drains() || x.body.rest() > x.limits.DrainBytes)
}

// isUnclear reports whether the request is framed so that other programs may see its end elsewhere.
func (x *exchange) isUnclear() bool { return x.http1 && x.peer != nil && x.peer.Unclear(x.r) }

// drains reports whether the rest of the body is read.
func (x *exchange) drains() bool { return x.limits.DrainBytes > 0 && x.body.duplex && !x.body.unwanted }

func (x *exchange) begin() {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
}

// atOnce is how many bytes of an answer over HTTP/2 are written in one wait. The pace sees progress after each.
const atOnce = 64 << 10

func (x *exchange) Write(p []byte) (sum int, err error) {
	x.begin()
	x.content = true
	x.out.Begin()
	defer func() { x.out.End(int64(sum)) }()
	if x.pace == nil {
		return x.ResponseWriter.Write(p)
	}
	for first := true; err == nil && (len(p) > 0 || first); first = false {
		var n int
		x.pace.Begin()
		n, err = x.ResponseWriter.Write(p[:min(len(p), atOnce)])
		x.pace.End(int64(n))
		sum, p = sum+n, p[n:]
	}
	return sum, err
}

// ReadFrom forwards to net/http, which lets the operating system send a file.
func (x *exchange) ReadFrom(src io.Reader) (n int64, err error) {
	x.begin()
	x.content = true
	if x.pace != nil {
		return io.Copy(struct{ io.Writer }{x}, src)
	}
	x.out.Begin()
	defer func() { x.out.End(n) }()
	return io.Copy(x.ResponseWriter, src)
}

// AwaitRead is [tree.Drain.AwaitRead] for the writer of an exchange, and for those that wrap it.
func AwaitRead(w http.ResponseWriter, most int64, patience time.Duration) (unread int64, ok bool) {
	x, ok := wire.Inner[*exchange](w)
	if !ok || !x.http1 || x.peer == nil {
		return 0, false
	}
	x.out.Begin()
	defer x.out.End(0)
	if x.status != 0 && x.FlushError() != nil {
		return 0, false
	}
	return x.peer.AwaitRead(most, patience)
}

func (x *exchange) FlushError() error {
	x.begin()
	if x.pace != nil {
		x.pace.Begin()
		defer x.pace.End(0)
	}
	return x.control.Flush()
}

func (x *exchange) Flush() { x.FlushError() }

// settle sends the answer, and returns when the rest of the body has been read or given up.
func (x *exchange) settle() {
	x.begin()
	if x.drained != nil {
		// From here on the connection may be closed to make room: only the rest of a refused body is still to come,
		// and a small answer that the client may not read.
		work := limit.Rest(x.r.Context())
		x.FlushError()
		<-x.drained
		work()
	}
}

// Settle waits until the client has probably read a refusal: until it has sent all of its body.
func Settle(w http.ResponseWriter) {
	if x, ok := wire.Inner[*exchange](w); ok {
		x.settle()
	}
}

// end completes the answer.
func (x *exchange) end() {
	if x.http1 && x.open && x.drained != nil {
		x.body.strike() // the answer ends with the connection, and the client may wait for that end
	}
	x.settle()
	switch {
	case !x.http1:
		if x.content && x.limits.Pace.Pause > 0 {
			// The bytes in the buffers of net/http wait for the client, too.
			x.control.SetWriteDeadline(time.Now().Add(x.limits.Pace.Pause))
		}
	case x.body.unread(), !x.closing && x.isUnclear(): // the second was not known yet when the answer began
		x.hangUp()
	}
}

// hangUp ends the answer and closes the connection. It takes the connection from net/http, which would read another
// request from it.
func (x *exchange) hangUp() {
	if x.body != nil && !x.body.duplex {
		return // a test: there is no connection
	}
	x.FlushError()
	conn, out, err := x.control.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if x.open && x.r.ProtoMinor > 0 {
		out.WriteString("0\r\n\r\n") // the last chunk
	}
	out.Flush()
	wire.HangUp(conn)
}
