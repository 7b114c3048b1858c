package handler

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/davxml"
	"r-seed-1f3a754f.example/ifmatch/handler/precondition"
	"r-seed-1f3a754f.example/ifmatch/handler/versions"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/web"
)

// copyMove answers COPY and MOVE. The conditions are about the source, unless an If header also names the
// destination.
func (s *server) copyMove(w http.ResponseWriter, r *request) error {
	if err := s.destination(r); err != nil {
		return err
	}
	to := r.to
	r.creates(to)
	replace, err := overwrite(r.Header)
	if err != nil {
		return err
	}
	opts := tree.CopyOptions{NoOverwrite: !replace}
	if opts.Modified, err = ocModified(r.Header); err != nil {
		return err
	}
	transfer := s.Store.Copy
	var check tree.Condition
	taken := []string{to} // the names that have another resource afterwards
	if r.Method == "COPY" {
		deep, err := depthOf(r.Header, depthZero, depthInfinity)
		if err != nil {
			return err
		}
		opts.Shallow = deep == depthZero
		check = r.check(r.requirePresent, precondition.Mapping(to))
	} else {
		deep, err := depthOf(r.Header, depthZero, depthOne, depthInfinity)
		if err != nil {
			return err
		}
		transfer = s.Store.Move
		check = r.check(r.requireWhole(deep), precondition.Mapping(r.name), precondition.Mapping(to))
		taken = append(taken, r.name)
	}
	state, created, err := transfer(r.Context(), r.name, to, opts, s.requireCondition(r, check, taken...))
	if errors.Is(err, tree.ErrExist) && opts.NoOverwrite {
		err = s.exists(r, to)
	}
	if err != nil {
		return err
	}
	s.written(r, to)
	if created {
		w.Header().Set("Location", s.href(to, state.Collection))
	}
	acceptModified(w.Header(), opts.Modified, state)
	s.done(w, r, state, created)
	return nil
}

// exists returns the error of a COPY or MOVE with "Overwrite: F", which is a condition too (RFC 4918 §10.6).
func (s *server) exists(r *request, name string) error {
	if !r.may(name, auth.List) {
		return errTaken
	}
	have, err := s.Store.Stat(r.Context(), name, r.reading(tree.WantTag))
	if err != nil {
		have = tree.State{Name: name, Exists: true}
	}
	return &precondition.Failed{Header: "Overwrite", Want: "F", Name: name, Have: have}
}

// mkcol answers MKCOL. No media type of a body is known (RFC 4918 §9.3). An empty body counts as none.
func (s *server) mkcol(w http.ResponseWriter, r *request) error {
	n, err := 1, error(nil)
	if r.ContentLength <= 0 { // otherwise there is a body, which the client need not send
		n, err = r.Body.Read(make([]byte, 1))
	}
	if n > 0 {
		return withStatus(http.StatusUnsupportedMediaType, "MKCOL takes no body; send none")
	} else if err != nil && err != io.EOF {
		return &tree.BodyError{Err: err}
	}
	modified, err := ocModified(r.Header)
	if err != nil {
		return err
	}
	r.creates(r.name)
	check := r.check(r.requireAbsent, precondition.Resource(r.name))
	state, err := s.Store.Mkdir(r.Context(), r.name, tree.MkdirOptions{Modified: modified}, check)
	if errors.Is(err, tree.ErrExist) {
		if !r.may(r.name, auth.List) {
			return errTaken // which methods make sense there is not told
		}
		return s.notAllowed(r, "something is there already")
	}
	if err != nil {
		return err
	}
	acceptModified(w.Header(), modified, state)
	s.done(w, r, state, true)
	return nil
}

// versionsAddress answers a request for the address of an old version, or of the list of those of a name: see package
// versions. A GET and a PROPFIND need the effects history and read on the name that the version had, and on the name that
// is asked about. A COPY brings the version back, to the name that it had.
func (s *server) versionsAddress(w http.ResponseWriter, r *request, rest string) error {
	asked, ok := versions.Parse(rest, r.slash)
	if !ok {
		return tree.ErrNotExist
	}
	allow, method := "GET, HEAD, OPTIONS, PROPFIND", r.Method
	if asked.ID != "" {
		allow += ", COPY"
	}
	const detail = "an old version is read, and copied to the name that it had; a list of versions is read; nothing has " +
		"changed"
	if done, err := takes(w, r, allow, detail); done {
		return err
	}
	header, as, pool := http.Header{}, "PROPFIND", s.Pools.Listings
	switch {
	case method == "COPY":
		header, as, pool = http.Header{"If": r.Header["If"]}, string(auth.VerbRestore), s.Pools.Changes
		if err := s.checkCopyOfVersion(r, asked.Name); err != nil {
			return err
		}
	case asked.ID != "" && method != "PROPFIND":
		pool = s.Pools.Downloads
	}
	sent := r.Header
	if err := s.becomes(r, as, asked.Name, header); err != nil {
		return err
	}
	asked.Name = r.name
	if err := s.takeTurn(w, r, pool); err != nil {
		return err
	}
	a := &asking{s, r, w}
	switch {
	case method == "PROPFIND":
		return a.listVersions(asked, sent)
	case method == "COPY":
		return a.copyVersion(asked, sent)
	case asked.ID != "":
		return a.sendVersion(asked, sent)
	}
	latest, all, err := web.Latest(a.Versions())
	if err != nil {
		return err
	}
	to := a.Begin("application/json")
	if method == http.MethodHead {
		return nil
	}
	return versions.WriteJSON(to, latest, all, s.href)
}

// copyVersion copies an old version to the name that it had.
func (a *asking) copyVersion(asked versions.Asked, sent http.Header) error {
	v, _, err := a.version(asked)
	if err != nil {
		return err
	}
	replace, err := overwrite(sent)
	if err != nil {
		return err
	}
	err = a.restore(v, tree.RestoreOptions{NoOverwrite: !replace})
	if errors.As(err, new(*precondition.RequiredError)) {
		return errBlindCopy
	}
	return err
}

// checkCopyOfVersion refuses a COPY to another name, and one whose condition is not about the Destination: fields such
// as If-Match are about the Request-URI (RFC 9110 §13.1), a version that never changes.
func (s *server) checkCopyOfVersion(r *request, name string) error {
	to, err := s.askedDestination(r)
	if err != nil {
		return err
	}
	if to != name {
		return withStatus(http.StatusForbidden,
			"a version is copied to the name that it had; for another name, GET it and PUT it there; nothing has changed")
	}
	tagged := true // each list of If names a resource (RFC 4918 §10.4.2)
	for _, value := range r.Header["If"] {
		tagged = tagged && strings.HasPrefix(strings.TrimSpace(value), "<")
	}
	if len(aboutTarget(r.Header)) > 0 || !tagged {
		return withStatus(http.StatusBadRequest,
			"this condition would be about the version, which never changes: send If with the URL of the Destination, or "+
				"Overwrite: F; nothing has changed")
	}
	if replace, err := overwrite(r.Header); err != nil || replace && r.Header["If"] == nil {
		return cmp.Or(err, error(errBlindCopy))
	}
	return nil
}

// version finds a version. It reads files only where no known ETag is the one that is asked for. Then hashed is true,
// and the content may change while a local program has it open.
func (a *asking) version(asked versions.Asked) (v tree.Version, hashed bool, err error) {
	v, unknown, err := versions.Find(a.Versions(), asked)
	if errors.Is(err, tree.ErrNotExist) && unknown {
		hashed = true
		v, _, err = versions.Find(a.versionsWith(tree.VersionOptions{Want: tree.WantTag}), asked)
	}
	return v, hashed, err
}

// Latest returns the change that made the version that is there, under the rights that the versions before it need. A
// change that moved a collection above tells nothing of the makers of its members.
func (a *asking) Latest() (tree.Change, error) {
	if a.s.feed == nil {
		return tree.Change{}, tree.ErrUnsupported
	}
	if !a.r.may(a.r.name, auth.History|auth.Read) {
		return tree.Change{}, tree.ErrNotExist
	}
	c, err := a.s.feed.Latest(a.Context(), a.r.name)
	if err == nil && (c.Name != a.r.name || c.Again || !c.State.Exists || !a.mayHave(&tree.Version{State: c.State})) {
		err = tree.ErrNotExist
	}
	return c, err
}

// sendVersion answers with the content of a version, as a download: it was never meant to be shown as a page of this
// server. The ETag is that of the content that was opened, which fails if it changes while it is sent. So a version
// that had to be hashed is sent without one.
func (a *asking) sendVersion(asked versions.Asked, sent http.Header) error {
	v, hashed, err := a.version(asked)
	if err != nil {
		return err
	}
	content, opened, err := a.s.Store.OpenVersion(a.Context(), v.ID)
	if errors.Is(err, tree.ErrIsCollection) {
		return errFolderVersion
	}
	if err != nil {
		return err
	}
	defer content.Close()
	if opened.Tag != v.Tag && !hashed { // a local program has written to it since it was found
		return tree.ErrBusy
	}
	state := opened.State
	switch same, err := a.s.checkVersion(a.r, &state, sent); {
	case err != nil:
		return err
	case same:
		if state.Tag != "" { // else the condition is If-None-Match: *
			a.w.Header()["Etag"] = []string{string(state.Tag)}
		}
		a.w.Header().Set("Cache-Control", keptControl) // RFC 9110 §15.4.5: the same as in the 200
		a.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	parts, partial := partsOf(a.r.arrived.Method, sent, &state)
	h := a.w.Header()
	confineVersion(h, "application/octet-stream")
	h["Accept-Ranges"] = inBytes
	if state.Tag != "" {
		h["Etag"] = []string{string(state.Tag)}
	}
	a.r.Request = a.r.arrived
	return a.s.sendContent(a.Context(), a.w, a.r, content, state, parts, partial)
}

// checkVersion evaluates If-Match and If-None-Match of a GET or HEAD of a version (RFC 9110 §13.2). same is true if the
// client has it already. The conditions about a date are ignored, as the answer has none (§13.1.3, §13.1.4). So is If:
// its lists are about names of the tree.
func (s *server) checkVersion(r *request, state *tree.State, sent http.Header) (same bool, err error) {
	fields := http.Header{"If-Match": sent["If-Match"], "If-None-Match": sent["If-None-Match"]}
	cond, err := precondition.Parse(fields, s.Now(), state.Name, nil, s.matching(r.Request))
	if err != nil {
		return false, err
	}
	err = cond.Read(versions.View{Version: state})
	switch {
	case errors.As(err, new(*precondition.NotModified)):
		return true, nil
	case errors.As(err, new(*precondition.Failed)):
		return false, withStatus(http.StatusPreconditionFailed,
			"a condition is not true of this version; a version has one ETag, and never another one")
	}
	return false, err
}

// listVersions answers a PROPFIND of a version, or of the list of those of a name.
func (a *asking) listVersions(asked versions.Asked, sent http.Header) error {
	deep, err := depthOf(sent, depthZero, depthOne)
	if err == nil && deep == depthAbsent {
		err = tree.ErrTooMany
	}
	if err != nil {
		return err
	}
	wanted, err := davxml.ReadPropfind(a.r.Body)
	if err != nil {
		return err
	}
	var members []tree.Version
	if asked.ID != "" {
		v, _, err := a.version(asked)
		if err != nil {
			return err
		}
		members = append(members, v)
	} else {
		latest, _, err := web.Latest(a.Versions())
		if err != nil {
			return err
		}
		members = versions.Members(latest, asked.Name)
	}
	l := propfindResponse{propertyRenderer: newPropertyRenderer(a.s, a.r, wanted), w: a.w}
	l.begin()
	if asked.ID == "" {
		self := tree.State{Name: asked.Name, Exists: true, Collection: true}
		at := a.s.href(ownDir+"/"+tree.Join(versions.Address, asked.Name), true)
		if err := l.out.Response(at, l.render(self)...); err != nil {
			return err
		}
	}
	for i := range members {
		if asked.ID == "" && deep == depthZero {
			break
		}
		at := a.s.href(versions.NameOf(&members[i]), false) // with a slash, it would be a list
		if err := l.out.Response(at, l.render(versions.StateOf(&members[i]))...); err != nil {
			return err
		}
	}
	return l.close()
}

// Restore makes a version of the history that had the name of the request the current one again. The client says what
// it has seen there, by If-Match or If-None-Match.
func (a *asking) Restore(id string) error {
	if a.r.cond.IsUnconditional() {
		return withStatus(http.StatusPreconditionRequired,
			"send If-Match with the ETag that is there, or If-None-Match: *; nothing has changed")
	}
	v, err := a.kept(id)
	if err != nil {
		return err
	}
	return a.restore(v, tree.RestoreOptions{})
}

// restore makes a version that had the name of the request the current one, under the condition of the request.
func (a *asking) restore(v tree.Version, opts tree.RestoreOptions) error {
	s, r := a.s, a.r
	r.toCreate, r.noJunk = []string{r.name}, false // it was there already
	// It may replace a collection, so it changes the name as a COPY does.
	check := r.check(func(v2 tree.View) error { return r.mayRestore(v2, v.Collection) }, precondition.Mapping(r.name))
	if opts.NoOverwrite {
		check = s.requireCondition(r, check, r.name)
	} else {
		check = r.requireWhere(check, func(*auth.Access, string) bool { return true }, r.name)
	}
	state, created, err := s.Store.Restore(r.Context(), v.ID, r.name, opts, check)
	if errors.Is(err, tree.ErrExist) && opts.NoOverwrite {
		return s.exists(r, r.name)
	}
	if errors.Is(err, tree.ErrSame) {
		return withStatus(http.StatusConflict, "this version is there already; nothing has changed")
	}
	if err != nil {
		return err
	}
	s.written(r, r.name)
	s.done(a.w, r, state, created)
	return nil
}

// kept finds a version of the name of the request.
func (a *asking) kept(id string) (tree.Version, error) {
	for v, err := range a.Versions() {
		if err != nil || v.ID == id && v.Name == a.r.name {
			return v, err
		}
	}
	return tree.Version{}, tree.ErrNotExist
}
