package handler

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
)

// logged writes one line about each request.
func (s *server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w}
		start := s.Now()
		defer func() {
			attrs := append([]slog.Attr{
				slog.String("method", r.Method),
				slog.String("path", r.URL.EscapedPath()),
				slog.Int("status", rec.status),
				slog.Int64("bytes", rec.bytes),
				slog.Duration("duration", s.Now().Sub(start)),
				slog.String("client", s.client(r).String()),
			}, rec.why...)
			s.Log.LogAttrs(context.Background(), rec.level(), "request", attrs...)
		}()
		next.ServeHTTP(rec, r)
	})
}

// A recorder remembers what was answered, and why it was refused. It forwards ReadFrom, so that sendfile is kept.
type recorder struct {
	http.ResponseWriter
	status int // 0: none, the connection was cut
	bytes  int64
	why    []slog.Attr
}

func (w *recorder) level() slog.Level {
	if w.status == http.StatusInternalServerError {
		return slog.LevelError
	}
	return slog.LevelInfo
}

func (w *recorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	w.status = cmp.Or(w.status, http.StatusOK)
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

func (w *recorder) ReadFrom(src io.Reader) (int64, error) {
	w.status = cmp.Or(w.status, http.StatusOK)
	n, err := io.Copy(w.ResponseWriter, src)
	w.bytes += n
	return n, err
}

// Unwrap serves http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// explain adds to the log line of a request.
func explain(w http.ResponseWriter, attrs ...slog.Attr) {
	if rec, ok := below[*recorder](w); ok {
		rec.why = append(rec.why, attrs...)
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
