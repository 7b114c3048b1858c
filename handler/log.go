package handler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"log/slog"
	"net/http"
	"syscall"
	"time"
	"unicode/utf8"

	"ifmatch/tree"
)

// logged writes one line about each request.
func (s *server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w}
		start := s.Now()
		defer func() { s.logRequest(rec, r, s.Now().Sub(start)) }()
		next.ServeHTTP(rec, r)
	})
}

func (s *server) logRequest(rec *recorder, r *http.Request, took time.Duration) {
	log, level := s.AccessLog, rec.level()
	if level > slog.LevelInfo {
		log = s.Log
	}
	if !log.Enabled(context.Background(), level) {
		return
	}
	attrs := append([]slog.Attr{
		slog.String("method", Brief(r.Method)),
		slog.String("path", Brief(r.URL.EscapedPath())),
		slog.Int("status", rec.status),
		slog.Int64("bytes", rec.bytes),
		slog.Duration("duration", took),
		slog.String("client", s.client(r).String()),
	}, rec.told()...)
	log.LogAttrs(context.Background(), level, "request", attrs...)
}

// briefly is how many bytes of a text of a client's are quoted, in the log and in answers.
const briefly = 1 << 10

// Brief cuts a text that may be as long as a client likes.
func Brief(s string) string { return cutTo(briefly, s) }

func cutTo(most int, s string) string {
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > most-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:cut], len(s))
}

// A recorder remembers what was answered, and why it was refused. It forwards ReadFrom, so that sendfile is kept.
type recorder struct {
	http.ResponseWriter
	status int // 0: none, the connection was cut
	bytes  int64
	why    []slog.Attr
	// principal is who has sent the request; "" where there are no users, or it is not known.
	principal string
	id        string // of the request, where there is an audit log
	broken    bool   // writing has failed: the client does not listen
	failed    int    // the status of what has failed within an answer, or has ended it
}

// told returns what else the log line says.
func (w *recorder) told() []slog.Attr {
	var attrs []slog.Attr
	if w.principal != "" {
		attrs = append(attrs, slog.String("user", w.principal))
	}
	if w.id != "" {
		attrs = append(attrs, slog.String("request", w.id))
	}
	return append(attrs, w.why...)
}

// level: what the client is told of as a fault of the server's, or would be, is one for whoever runs it.
func (w *recorder) level() slog.Level {
	switch status := max(w.status, w.failed); {
	case status == http.StatusInternalServerError:
		return slog.LevelError
	case status > http.StatusInternalServerError:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// cut notes that an answer breaks off, and whose fault it is.
func (w *recorder) cut(cause error) {
	switch {
	case w.broken, errors.Is(cause, context.Canceled): // the client does not listen
	case errors.Is(cause, tree.ErrChanged):
		w.failed = http.StatusServiceUnavailable // a local program has written to it
	default:
		w.failed, _ = statusOf(cause)
	}
}

// failedWithin adds to the log line of a request what has failed of it, where its answer has another status.
func failedWithin(w http.ResponseWriter, status int, cause error, more ...slog.Attr) {
	explain(w, append(more, slog.String("cause", cause.Error()))...)
	if rec, ok := below[*recorder](w); ok {
		rec.failed = max(rec.failed, status)
	}
}

func (w *recorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	w.status = cmp.Or(w.status, http.StatusOK)
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	w.broken = w.broken || ofClient(err)
	return n, err
}

func (w *recorder) ReadFrom(src io.Reader) (int64, error) {
	w.status = cmp.Or(w.status, http.StatusOK)
	n, err := io.Copy(w.ResponseWriter, src)
	w.bytes += n
	w.broken = w.broken || ofClient(err)
	return n, err
}

// ofClient reports whether it is the client that an answer cannot be sent to. The operating system, which reads a file and
// sends it at once, says of a file that cannot be read only that it failed.
func ofClient(err error) bool {
	if err == nil {
		return false
	}
	_, ofFile := errors.AsType[*iofs.PathError](err)
	return !ofFile && !errors.Is(err, syscall.EIO)
}

// Unwrap serves http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// explain adds to the log line of a request.
func explain(w http.ResponseWriter, attrs ...slog.Attr) {
	rec, ok := below[*recorder](w)
	if !ok {
		return
	}
	for _, attr := range attrs {
		if attr.Value.Kind() == slog.KindString {
			attr.Value = slog.StringValue(Brief(attr.Value.String()))
		}
		rec.why = append(rec.why, attr)
	}
}

// below finds what a writer writes to, around which there are others.
func below[W http.ResponseWriter](w http.ResponseWriter) (found W, ok bool) {
	for {
		if found, ok = w.(W); ok {
			return found, true
		}
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return found, false
		}
		w = wrapper.Unwrap()
	}
}
