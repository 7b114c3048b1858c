package accesslog

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// Answered is the outcome of one request, for counters. Each text is one of a few that the server itself chooses.
type Answered struct {
	Method         string        // one that the server knows, or "other"
	Status         int           // 0: the connection was cut
	Took           time.Duration // until the answer was written
	Received, Sent int64         // bytes of the bodies
	Condition      string        // of a 412: the header field with the condition, or a word for the condition
	Busy           string        // of a 503: the pool that was full
	Login          string        // why the credentials were refused
}

// observe hands over the outcome of a request.
func (l Log) observe(r *http.Request, rec *Recorder, received *countedBody, took time.Duration) {
	if l.Observe == nil {
		return
	}
	outcome := rec.Answered
	outcome.Method, outcome.Took = r.Method, took
	if !l.Known(r.Method) {
		outcome.Method = "other"
	}
	if received != nil {
		outcome.Received = received.bytes.Load()
	}
	l.Observe(outcome)
}

// A countedBody counts the bytes that are read of a body. Reading may go on after the answer.
type countedBody struct {
	io.ReadCloser
	bytes atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes.Add(int64(n))
	return n, err
}

// countBody counts the body of a request, if it has one and its bytes are observed.
func (l Log) countBody(r *http.Request) *countedBody {
	if l.Observe == nil || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	body := &countedBody{ReadCloser: r.Body}
	r.Body = body
	return body
}
