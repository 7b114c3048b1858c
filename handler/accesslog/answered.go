package accesslog

import (
	"net/http"
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

func (l Log) observe(r *http.Request, rec *Recorder, took time.Duration) {
	if l.Observe == nil {
		return
	}
	outcome := rec.Answered
	outcome.Method, outcome.Took = r.Method, took
	if !l.Known(r.Method) {
		outcome.Method = "other"
	}
	l.Observe(outcome)
}
