package handler

import (
	"io"
	"net/http"
	"sync"
	"time"

	"ifmatch/limit"
	"ifmatch/tree"
	"ifmatch/wire"
)

// An exchange is one request and its answer, as far as their bytes go. It is around everything that answers, so that these
// hold for all of them, whatever they are and whoever gives them:
//
//   - A connection on which a body was not read to its end carries no further request: what is left of the body would be
//     read as one. Over HTTP/2 net/http resets the stream.
//   - The answer arrives all the same. It goes out at once, and the rest of the body is read and thrown away, within bounds:
//     many clients listen only after they have sent, and would see a broken pipe instead of the answer.
//   - Each wait for the client has an end ([wire.Limit]).
//   - A request of HTTP/1 that has come whole lives until its client is gone ([wire.Peer.Follow]).
type exchange struct {
	http.ResponseWriter
	s       *server
	r       *http.Request // as net/http has it
	peer    *wire.Peer
	control *http.ResponseController
	http1   bool
	body    *body      // nil: there is none
	pace    *wire.Pace // of the answer, over HTTP/2; those of HTTP/1 go at the pace of their connection

	status  int  // of the answer; 0: it has not begun
	content bool // some of the answer's content was written
	open    bool // only the end of the connection, or the last chunk, ends the answer
	closing bool // it says that it is the last one
	drained chan struct{}

	mu      sync.Mutex
	over    bool // nothing may be asked of net/http any more
	begun   bool // the answer has begun
	gaveWay bool // before that
	cut     bool // within it
}

// exchanged has a handler's requests be exchanges.
func (s *server) exchanged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{ResponseWriter: w, s: s, r: r, control: http.NewResponseController(w), http1: r.ProtoMajor < 2}
		defer x.leave()
		inner := r
		if x.peer = wire.PeerOf(r); x.peer != nil && x.http1 {
			ctx, life := x.peer.Follow(r.Context(), s.Abandoned)
			defer life.End()
			inner = r.WithContext(tree.WithHashContext(ctx, life.HashContext))
		}
		if !x.http1 {
			x.pace = wire.NewPace(s.Pace, nil, func() { x.interrupt(x.control.SetWriteDeadline) })
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

// giveWay ends what waits for the client. An answer that has not begun can still be one.
func (x *exchange) giveWay() {
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

// lastAnswer is how long a client may take to read what it is told when it has given way.
const lastAnswer = 5 * time.Second

// beginAnswer notes that the answer begins, and reports whether its client has given way before.
func (x *exchange) beginAnswer() (gaveWay bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.begun = true
	if x.gaveWay {
		x.control.SetWriteDeadline(time.Now().Add(lastAnswer))
	}
	return x.gaveWay
}

// isCut reports whether a client has given way, and its answer is cut off by that.
func (x *exchange) isCut() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.cut
}

// leave is the last thing that happens, also after a panic: then net/http, which looks for the end of the body, must not
// wait for it.
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
	}
	x.mu.Lock()
	x.over = true
	x.mu.Unlock()
}

// Unwrap serves http.ResponseController.
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
		// Beside the answer: where both are larger than what fits on the way, neither side would get on otherwise.
		x.drained = make(chan struct{})
		go func() { defer close(x.drained); x.body.drain() }()
	}
}

// isLast reports whether it is known already that no other request can follow on the connection.
func (x *exchange) isLast() bool {
	if x.r.ProtoMinor == 0 {
		// net/http takes its Transfer-Encoding for none, and what follows the header for the next request. RFC 9112 §6.1
		// has the connection be closed, but the field is not there any more to be seen.
		return true
	}
	return x.isUnclear() || x.body.broken() || x.body.remains() && (x.open || !x.drains() || x.body.rest() > x.s.DrainBytes)
}

// refuseCoded10 refuses a request over HTTP/1.0 that has a Transfer-Encoding, as far as that can be known. net/http has
// removed that field, and takes the request for one without a body, or its chunks for the body: a PUT would replace a file
// by either. RFC 9112 §6.1 has its framing be faulty.
func (r *request) refuseCoded10() error {
	if r.ProtoMajor != 1 || r.ProtoMinor != 0 {
		return nil
	}
	_, told := r.Header["Content-Length"]
	switch peer := wire.PeerOf(r.Request); {
	case peer != nil && peer.Tells():
		if !peer.Coded() {
			return nil
		}
	case told || r.Method != http.MethodPut: // it mostly has none, and a body that is missing harms only a PUT
		return nil
	}
	status := http.StatusLengthRequired
	if told {
		status = http.StatusBadRequest
	}
	return &statusError{status: status, detail: "HTTP/1.0 has no Transfer-Encoding; send a Content-Length alone; nothing has changed"}
}

func (x *exchange) isUnclear() bool { return x.http1 && x.peer != nil && x.peer.Unclear(x.r) }

// drains reports whether the rest of the body is read.
func (x *exchange) drains() bool { return x.s.DrainBytes > 0 && x.body.duplex && !x.body.unwanted }

func (x *exchange) begin() {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
}

// atOnce is what is written over HTTP/2 in one wait: what a client takes more slowly than that is seen to move.
const atOnce = 64 << 10

func (x *exchange) Write(p []byte) (sum int, err error) {
	x.begin()
	x.content = true
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

// ReadFrom is how net/http has the operating system send a file.
func (x *exchange) ReadFrom(src io.Reader) (int64, error) {
	x.begin()
	x.content = true
	if x.pace == nil {
		return io.Copy(x.ResponseWriter, src)
	}
	return io.Copy(struct{ io.Writer }{x}, src)
}

// FlushError serves http.ResponseController.
func (x *exchange) FlushError() error {
	x.begin()
	if x.pace != nil {
		x.pace.Begin()
		defer x.pace.End(0)
	}
	return x.control.Flush()
}

// Flush serves those who do not ask for an error.
func (x *exchange) Flush() { x.FlushError() }

// settle returns when nothing more is read of the body. The answer is out by then.
func (x *exchange) settle() {
	x.begin()
	if x.drained != nil {
		// The connection gives way: nothing is left but what the client still sends, and a small answer that it may not read.
		work := limit.Rest(x.r.Context())
		x.FlushError()
		<-x.drained
		work()
	}
}

// settle waits until the client has heard a refusal, as far as that can be known: it has sent all of its body.
func settle(w http.ResponseWriter) {
	if x, ok := wire.Inner[*exchange](w); ok {
		x.settle()
	}
}

// end ends an answer.
func (x *exchange) end() {
	if x.http1 && x.open && x.drained != nil {
		x.body.strike() // the client does not see the end of the answer before the connection's, and may wait for that
	}
	x.settle()
	switch {
	case !x.http1:
		if x.content && x.s.Pace.Pause > 0 {
			// What is still to be sent waits for the client, too.
			x.control.SetWriteDeadline(time.Now().Add(x.s.Pace.Pause))
		}
	case x.body.unread():
		x.hangUp()
	case !x.closing && x.isUnclear():
		x.hangUp() // it was not known when the answer began
	}
}

// hangUp ends an answer, and takes the connection from net/http, which would read the next request from it.
func (x *exchange) hangUp() {
	if x.body != nil && !x.body.duplex {
		return // this is no connection
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
