package handler

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"ifmatch/tree"
)

// identity gives a request its id where there is an audit log.
func (s *server) identity(w http.ResponseWriter, r *request) {
	if rec, ok := below[*recorder](w); ok && s.Audit != nil {
		r.id = rec.id
	}
}

// noteBefore notes inside the commit which version a write replaces or removes. A store may ask several times: the last
// answer is that of the commit.
func (r *request) noteBefore(v tree.View) {
	if r.id == "" {
		return
	}
	name := r.name
	if r.Method == "COPY" || r.Method == "MOVE" {
		name = r.to
	}
	r.before = ""
	if s, err := v.State(name); err == nil {
		r.before = s.Tag
	}
}

// audit writes the line of a change that was made: also of one that may not last.
func (s *server) audit(w http.ResponseWriter, r *request, err error) {
	if s.Audit == nil || !methods[r.Method].writes || err != nil && !errors.Is(err, tree.ErrUnsure) {
		return
	}
	status := http.StatusInternalServerError
	if rec, ok := below[*recorder](w); ok && err == nil {
		status = rec.status
	}
	if r.Method == "PROPPATCH" {
		r.after = r.before
	}
	who := r.who.Principal()
	attrs := []slog.Attr{
		slog.String("user", who.String()), slog.String("method", r.Method), slog.String("name", "/"+r.name),
	}
	if r.to != "" {
		attrs = append(attrs, slog.String("to", "/"+r.to))
	}
	attrs = append(attrs, slog.String("old", string(r.before)), slog.String("new", string(r.after)),
		slog.Int("status", status), slog.String("client", s.client(r.Request).String()), slog.String("request", r.id))
	s.Audit.LogAttrs(context.WithoutCancel(r.Context()), slog.LevelInfo, "change", attrs...)
}
