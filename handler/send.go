package handler

import (
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// write answers with a small body.
func (s *server) write(w http.ResponseWriter, r *request, status int, contentType string, body []byte) {
	s.send(w, r, status, contentType, int64(len(body)), func(w io.Writer) error {
		_, err := w.Write(body)
		return err
	})
}

// send answers with a body of so many bytes, which body writes. If the client is still sending, the answer goes out at once
// and the rest of its body is read and thrown away, within bounds: many clients listen only after they have sent, and would
// see a broken pipe instead of the answer.
func (s *server) send(w http.ResponseWriter, r *request, status int, contentType string, size int64, body func(io.Writer) error) {
	sending := r.ContentLength != 0 && s.DrainBytes > 0 && !r.turnedAway
	control := http.NewResponseController(w)
	if sending {
		sending = control.EnableFullDuplex() == nil
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	w.WriteHeader(status)
	var drained sync.WaitGroup
	if sending {
		// Beside the answer: where both are larger than what fits on the way, neither side would get on otherwise.
		drained.Go(func() { s.drain(control, r) })
	}
	var err error
	if r.Method != http.MethodHead {
		err = body(s.sink(r, w))
	}
	if sending && err == nil {
		control.Flush()
		r.leave() // what is drained holds nothing
		drained.Wait()
	}
	if err != nil {
		control.SetReadDeadline(time.Unix(1, 0))
		drained.Wait()
		cutOff(w, err)
	}
}

// drain reads what is still to come of a request's body.
func (s *server) drain(control *http.ResponseController, r *request) {
	end := time.Now().Add(s.DrainTime)
	control.SetReadDeadline(end)
	if r.glanced != nil {
		if r.ProtoMajor > 1 {
			control.SetReadDeadline(earlier(end, time.Now().Add(s.silence)))
		}
		<-r.glanced
	}
	rest := io.Reader(r.Body)
	if r.ProtoMajor > 1 || r.Header.Get("Expect") != "" && !r.begun {
		rest = beforeRead{rest, func() { control.SetReadDeadline(earlier(end, time.Now().Add(s.silence))) }}
	}
	if _, err := io.CopyN(io.Discard, rest, s.DrainBytes); err == io.EOF {
		control.SetReadDeadline(time.Time{}) // the connection can go on
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

// beforeRead does something before each Read.
type beforeRead struct {
	io.Reader
	do func()
}

func (r beforeRead) Read(p []byte) (int, error) {
	r.do()
	return r.Reader.Read(p)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
