package handler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/accesslog"
	"r-seed-1f3a754f.example/ifmatch/links"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

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
		status = cmp.Or(accesslog.Of(w).Status, status)
	}
	s.auditAs(r, status)
}

// auditAs writes the line of a change with the status of its answer, if there is an audit log.
func (s *server) auditAs(r *request, status int) {
	if s.Audit == nil {
		return
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

// linksAddress answers PREFIX/.ifmatch/links, where a user makes share links, lists them and revokes them. See package
// links.
func (s *server) linksAddress(w http.ResponseWriter, r *request, id string) error {
	allow := "GET, HEAD, OPTIONS, POST"
	if id != "" {
		allow = "DELETE, OPTIONS"
	}
	maker := r.who.Principal()
	if s.links.Users() == "" || strings.Contains(id, "/") {
		return tree.ErrNotExist
	}
	if done, err := takes(w, r, allow, "links take only "+allow); done {
		return err
	}
	switch {
	case maker.Anonymous():
		return &deniedError{auth.Challenge}
	case !s.makesLinks(r):
		return withStatus(http.StatusForbidden,
			"only a user of the users file has links: a link ends with its maker, and a proxy does not say when")
	}
	if err := s.takeTurn(w, r, s.Pools.Changes); err != nil {
		return err
	}
	if r.Method == http.MethodPost {
		return s.makeLink(w, r)
	}
	list, err := s.linksOf(r.who.rules, maker)
	switch {
	case err != nil:
		return err
	case r.Method == http.MethodDelete:
		if !slices.ContainsFunc(list, func(l links.Link) bool { return l.ID == id }) {
			return tree.ErrNotExist
		}
		gone, err := s.links.Revoke(r.Context(), maker.Name, id)
		if err == nil && len(gone) == 0 {
			err = tree.ErrNotExist
		}
		if err == nil {
			w.WriteHeader(http.StatusNoContent)
		}
		return err
	}
	return s.tellLinks(w, r, http.StatusOK, links.Answer(list, s.Now(), s.href))
}

// linksOf returns the links that a client may list and revoke: all of the user or, with an app token that has not all
// rights of the user, those that were made with it. Those of an earlier user of that name are none of them.
func (s *server) linksOf(rules *auth.Snapshot, who auth.Principal) ([]links.Link, error) {
	list, err := s.links.List()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Of(who.Name), func(l links.Link) bool {
		return !rules.Holds(l.Maker, l.Account) || who.Without != auth.None && l.Token != who.Token
	}), nil
}

// makesLinks reports whether the client of a request can make share links.
func (s *server) makesLinks(r *request) bool {
	return s.links.Users() != "" && r.who.rules.HasLogin(r.who.Principal().Name)
}

// makeLink answers a POST with the new link. Its token is in no other answer.
func (s *server) makeLink(w http.ResponseWriter, r *request) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return withStatus(http.StatusUnsupportedMediaType, "a new link is described in application/json")
	}
	asked, err := links.ReadAsked(r.Body, s.Now())
	if bad := new(links.BadError); errors.As(err, &bad) {
		return withStatus(http.StatusBadRequest, bad.Detail)
	}
	if err != nil {
		return &tree.BodyError{Err: err}
	}
	state, err := s.toLink(r, asked.Path, asked.Access)
	if err != nil {
		return err
	}
	maker := r.who.Principal()
	asked.Maker, asked.Token, asked.Name = maker.Name, maker.Token, state.Name
	asked.Account = r.who.rules.Account(maker.Name)
	link, token, err := links.New(asked.Wish, s.Now())
	if err != nil {
		return withStatus(http.StatusBadRequest, err.Error())
	}
	if err := s.links.Add(r.Context(), link); errors.Is(err, links.ErrTooMany) {
		return withStatus(http.StatusForbidden, err.Error())
	} else if err != nil {
		return err
	}
	r.name = ownDir + "/links/" + link.ID
	s.auditAs(r, http.StatusCreated)
	w.Header().Set("Location", s.href(r.name, false))
	told := links.Answer([]links.Link{link}, s.Now(), s.href).Links[0]
	told.Href = s.href(ownDir+"/"+linkAddress+"/"+token, state.Collection)
	return s.tellLinks(w, r, http.StatusCreated, told)
}

// toLink looks at what a link is to be about: a resource that the user may see, with the rights that the link needs, and to
// which no symbolic link leads.
func (s *server) toLink(r *request, path string, access links.Access) (tree.State, error) {
	made := r.Request
	defer func() { r.Request = made }()
	name, _, err := s.locateIn(path)
	if err == nil {
		err = s.means(r, "PROPFIND", name)
	}
	if err != nil {
		return tree.State{}, err
	}
	state, err := s.Store.Stat(r.Context(), r.name, r.reading(0))
	if err == nil {
		err = r.opens(&state)
	}
	switch {
	case err != nil:
		return tree.State{}, r.hidden(r.name, err)
	case state.Link || state.Through || state.Resolved != nil:
		return tree.State{}, withStatus(http.StatusForbidden, "a symbolic link is there: share what it leads to")
	case access == links.Drop && !state.Collection:
		return tree.State{}, withStatus(http.StatusConflict, "files are dropped into a folder, and this is a file")
	case access == links.Drop && s.ReadOnly:
		return tree.State{}, tree.ErrReadOnly
	case !r.may(r.name, access.Effects()):
		return tree.State{}, errForbidden
	}
	state.Name = r.name
	return state, nil
}

func (s *server) tellLinks(w http.ResponseWriter, r *request, status int, told any) error {
	body, err := json.Marshal(told)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	s.write(w, r, status, "application/json", body)
	return nil
}
