package handler

import (
	"cmp"
	"context"
	"errors"
	"ifmatch/auth"
	"log/slog"
	"net/http"

	"ifmatch/handler/accesslog"
	"ifmatch/tree"
)

// identity notes the id of a request if there is an audit log.
func (s *server) identity(w http.ResponseWriter, r *request) {
	if s.Audit != nil {
		r.id = accesslog.ID(w)
	}
}

// noteBefore notes the version that a write replaces or removes. It runs inside a Check, which the store may call
// several times. The last call is that of the commit.
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

// audit writes the line of a change, also of a change that may not be durable.
func (s *server) audit(w http.ResponseWriter, r *request, err error) {
	writes := methods[r.Method].writes || r.Method == string(auth.VerbRestore)
	if s.Audit == nil || !writes || err != nil && !errors.Is(err, tree.ErrUnsure) {
		return
	}
	status := http.StatusInternalServerError
	if err == nil {
		status = cmp.Or(accesslog.Status(w), status)
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
		slog.Int("status", status), slog.String("client", s.clientText(r.Request)), slog.String("request", r.id))
	s.Audit.LogAttrs(context.WithoutCancel(r.Context()), slog.LevelInfo, "change", attrs...)
}
