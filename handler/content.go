package handler

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"ifmatch/handler/accesslog"
	"ifmatch/handler/byterange"
	"ifmatch/tree"
)

// sendContent answers with the content of a file, or parts of it. The header has all fields of [server.describeContent].
// If sendContent fails before the first byte, the caller can still send another answer: none of these fields is left. If
// it fails later, the answer is cut off, so that no client takes the received bytes for the whole.
func (s *server) sendContent(
	ctx context.Context, w http.ResponseWriter, r *request, content tree.Content, state tree.State,
	parts []tree.Part, partial bool,
) error {
	h := w.Header()
	answer := &lateAnswer{ResponseWriter: w, status: http.StatusOK}
	to := sink(r, answer)
	send := func(p tree.Part) error {
		_, err := content.WriteRange(ctx, to, p.Offset, p.Length)
		return err
	}
	length, sendAll := parts[0].Length, func() error { return send(parts[0]) }
	if partial {
		answer.status = http.StatusPartialContent
		h.Set("Content-Range", byterange.ContentRange(parts[0], state.Size))
	}
	if len(parts) > 1 {
		body := byterange.NewMultipart(parts, state.Size, h.Get("Content-Type"))
		length, sendAll = body.Length(), func() error { return body.Write(to, send) }
		h.Set("Content-Type", body.ContentType())
		h.Del("Content-Range")
	}
	h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	if r.Method != http.MethodHead {
		if err := sendAll(); err != nil && answer.begun {
			cutOff(w, err)
		} else if err != nil {
			withoutContent(h)
			return err
		}
	}
	answer.begin() // an empty content has no first byte
	return nil
}

// cutOff ends an answer so that the client notices that it is incomplete: it resets the connection, or the stream of
// HTTP/2.
func cutOff(w http.ResponseWriter, cause error) {
	status, _ := statusOf(cause)
	if errors.Is(cause, tree.ErrChanged) {
		status = http.StatusServiceUnavailable // a local program has written to the file
	}
	accesslog.ExplainCut(w, status, cause)
	panic(http.ErrAbortHandler)
}

// sink returns the writer for a content. Over plain HTTP/1.1 it is an [io.ReaderFrom], so that the operating system
// can send the file.
func sink(r *request, answer io.Writer) io.Writer {
	if r.TLS != nil || r.ProtoMajor > 1 {
		return struct{ io.Writer }{answer}
	}
	return answer
}

// A lateAnswer sends its header with the first byte. Until then, another answer can be sent.
type lateAnswer struct {
	http.ResponseWriter
	status int
	begun  bool
}

func (a *lateAnswer) begin() {
	if !a.begun {
		a.begun = true
		a.WriteHeader(a.status)
	}
}

func (a *lateAnswer) Write(p []byte) (int, error) {
	a.begin()
	return a.ResponseWriter.Write(p)
}

// ReadFrom forwards to net/http, which lets the operating system send a file.
func (a *lateAnswer) ReadFrom(src io.Reader) (int64, error) {
	a.begin()
	return io.Copy(a.ResponseWriter, src)
}

// AwaitRead implements [tree.Drain].
func (a *lateAnswer) AwaitRead(most int64, patience time.Duration) (unread int64, ok bool) {
	drain, ok := a.ResponseWriter.(tree.Drain)
	if !ok {
		return 0, false
	}
	return drain.AwaitRead(most, patience)
}

// write answers with a body in memory.
func (s *server) write(w http.ResponseWriter, r *request, status int, contentType string, body []byte) {
	s.send(w, r, status, contentType, int64(len(body)), func(w io.Writer) error {
		_, err := w.Write(body)
		return err
	})
}

// send answers with a body of a size, in bytes, which the function body writes.
func (s *server) send(
	w http.ResponseWriter, r *request, status int, contentType string, size int64, body func(io.Writer) error,
) {
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
