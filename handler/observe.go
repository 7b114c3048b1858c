package handler

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"ifmatch/auth"
)

// Answered is the result of a request, for metrics. Each text is one of a few that the server itself chooses.
type Answered struct {
	Method         string        // one that the server knows, or "other"
	Status         int           // 0: the connection was cut
	Took           time.Duration // until the answer was written
	Received, Sent int64         // bytes of the bodies
	Condition      string        // of a 412: the name of the condition, which is a header field for most
	Busy           string        // of a 503: the pool that was full, such as "uploads"
	Login          string        // why credentials were not taken
}

// observe reports a request that has been answered.
func (s *server) observe(r *http.Request, rec *recorder, received *countedBody, took time.Duration) {
	if s.Observe == nil {
		return
	}
	method := r.Method
	if _, known := methods[method]; !known {
		method = "other"
	}
	told := Answered{
		Method: method, Status: rec.status, Took: took, Sent: rec.bytes,
		Condition: rec.condition, Busy: rec.busy, Login: rec.login,
	}
	if received != nil {
		told.Received = received.bytes.Load()
	}
	s.Observe(told)
}

// A countedBody counts the bytes that are read of a body, also after the answer.
type countedBody struct {
	io.ReadCloser
	bytes atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes.Add(int64(n))
	return n, err
}

// countBody counts the bytes of the body of a request, if there is one and Observe is set.
func (s *server) countBody(r *http.Request) *countedBody {
	if s.Observe == nil || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	body := &countedBody{ReadCloser: r.Body}
	r.Body = body
	return body
}

// reasonOf names the reason of a refused login, for metrics.
func reasonOf(e *auth.LoginError) string {
	switch e.Reason {
	case auth.TooMany:
		return "too_many"
	case auth.Busy:
		return "busy"
	}
	return "wrong_password"
}
