// Package accesslog writes one line to the log about each request.
//
// A handler answers through a [Recorder], which is found again through other writers around it: see [Of].
package accesslog

import (
	"cmp"
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/excerpt"
	"r-seed-1f3a754f.example/ifmatch/wire"
)

// A Log says where the lines go, and what they say. Only Date and Observe may be nil.
type Log struct {
	Logger *slog.Logger // of requests that have not failed for a fault of the server
	Faults *slog.Logger // of the other requests
	Now    func() time.Time
	// Date is the clock of the Date of answers (nil: that of the machine).
	Date    func() time.Time
	Client  func(*http.Request) string // the client as the line names it
	Trusted func(*http.Request) bool   // whether the id that a request brings is kept
	Known   func(method string) bool   // whether the server knows a method
	// Observe gets the outcome of each request. It must not wait.
	Observe func(Answered)
}

// Wrap returns a handler that writes one line about each request that next has answered.
func (l Log) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &Recorder{ResponseWriter: w, ID: l.requestID(r), date: l.Date}
		rec.told[0] = rec.ID
		w.Header()["X-Request-Id"] = rec.told[:]
		start := l.Now()
		defer func() {
			took := l.Now().Sub(start)
			l.observe(r, rec, took)
			l.write(r, rec, took)
		}()
		next.ServeHTTP(rec, r)
	})
}

func (l Log) write(r *http.Request, rec *Recorder, took time.Duration) {
	log, level := l.Logger, rec.level()
	if level > slog.LevelInfo {
		log = l.Faults
	}
	if !log.Enabled(context.Background(), level) {
		return
	}
	attrs := append(make([]slog.Attr, 0, 9+len(rec.details)),
		slog.String("method", excerpt.Of(r.Method)),
		slog.String("path", excerpt.Of(pathOf(r.URL))),
		slog.Int("status", rec.Status),
		slog.Int64("bytes", rec.Sent),
		slog.Duration("duration", took),
		slog.String("client", l.Client(r)))
	if rec.User != "" {
		attrs = append(attrs, slog.String("user", rec.User))
	}
	attrs = append(attrs, slog.String("request", rec.ID))
	if trace := traceOf(r.Header); trace != "" {
		attrs = append(attrs, slog.String("traceparent", trace))
	}
	log.LogAttrs(context.Background(), level, "request", append(attrs, rec.details...)...)
}

// pathOf returns the path of a URL as it was sent. Where the token of a share link is in it, the path is escaped anew, so
// that the token is known as one however the client has escaped it.
func pathOf(u *url.URL) string {
	if strings.Contains(u.Path, excerpt.LinkToken) {
		return (&url.URL{Path: u.Path}).EscapedPath()
	}
	return u.EscapedPath()
}

// A Recorder remembers the answer and why it was refused. It forwards ReadFrom, so that sendfile is kept.
type Recorder struct {
	http.ResponseWriter
	Answered        // but for the method, and the time that it took
	User     string // the name of the principal ("": there are no users, or the user is not known)
	ID       string // of the request

	date    func() time.Time
	details []slog.Attr
	told    [1]string // the ID as a field of the answer
	broken  bool      // a write has failed, because the client does not read
	failed  int       // the status of an error within an answer of another status (0: none)
}

// Of returns the recorder of an answer, in which its user and the texts of [Answered] are noted. Where nothing records
// the answer, it is an empty one.
func Of(w http.ResponseWriter) *Recorder {
	if rec, ok := wire.Inner[*Recorder](w); ok {
		return rec
	}
	return new(Recorder)
}

// level returns the level of the line: an error is for the operator where the server is at fault.
func (w *Recorder) level() slog.Level {
	switch status := max(w.Status, w.failed); {
	case status == http.StatusInternalServerError:
		return slog.LevelError
	case status > http.StatusInternalServerError:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func (w *Recorder) WriteHeader(status int) {
	w.begin(status)
	w.ResponseWriter.WriteHeader(status)
}

// begin notes the status of an answer, and dates it as it begins: an upload takes long, and its Last-Modified is of its end.
func (w *Recorder) begin(status int) {
	if w.date != nil && w.Status < http.StatusOK && status >= http.StatusOK {
		w.Header()["Date"] = []string{w.date().UTC().Format(http.TimeFormat)}
	}
	w.Status = status
}

func (w *Recorder) Write(p []byte) (int, error) {
	w.begin(cmp.Or(w.Status, http.StatusOK))
	n, err := w.ResponseWriter.Write(p)
	w.Sent += int64(n)
	w.broken = w.broken || ofClient(err)
	return n, err
}

func (w *Recorder) ReadFrom(src io.Reader) (int64, error) {
	w.begin(cmp.Or(w.Status, http.StatusOK))
	n, err := io.Copy(w.ResponseWriter, src)
	w.Sent += n
	w.broken = w.broken || ofClient(err)
	return n, err
}

// ofClient reports whether a write failed because of the client. With sendfile, the operating system reports a file
// that cannot be read as EIO of the same call.
func ofClient(err error) bool {
	if err == nil {
		return false
	}
	_, ofFile := errors.AsType[*iofs.PathError](err)
	return !ofFile && !errors.Is(err, syscall.EIO)
}

// Unwrap serves http.ResponseController.
func (w *Recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Explain adds attributes to the line of a request. Long texts are shortened.
func Explain(w http.ResponseWriter, attrs ...slog.Attr) {
	rec := Of(w)
	for _, attr := range attrs {
		if attr.Value.Kind() == slog.KindString {
			attr.Value = slog.StringValue(excerpt.Of(attr.Value.String()))
		}
		rec.details = append(rec.details, attr)
	}
}

// ExplainFailure adds to the line an error, with its status, of which the answer itself has another status. It raises
// the level of the line.
func ExplainFailure(w http.ResponseWriter, status int, cause error, more ...slog.Attr) {
	Explain(w, append(more, slog.String("cause", cause.Error()))...)
	rec := Of(w)
	rec.failed = max(rec.failed, status)
}

// ExplainCut adds to the line that the answer was cut off. The status is that of the cause. It counts for the level unless
// the cause is that the client does not read.
func ExplainCut(w http.ResponseWriter, status int, cause error) {
	Explain(w, slog.String("cause", "cut off: "+cause.Error()))
	if rec := Of(w); !rec.broken && !errors.Is(cause, context.Canceled) {
		rec.failed = status
	}
}
