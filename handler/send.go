package handler

import (
	"io"
	"net/http"
	"strconv"
)

// write answers with a small body.
func (s *server) write(w http.ResponseWriter, r *request, status int, contentType string, body []byte) {
	s.send(w, r, status, contentType, int64(len(body)), func(w io.Writer) error {
		_, err := w.Write(body)
		return err
	})
}

// send answers with a body of so many bytes, which body writes.
func (s *server) send(w http.ResponseWriter, r *request, status int, contentType string, size int64, body func(io.Writer) error) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if err := body(sink(r, w)); err != nil {
		cutOff(w, err)
	}
}
