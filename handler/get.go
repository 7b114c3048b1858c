package handler

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"ifmatch/handler/precondition"
	"ifmatch/tree"
)

// readAgain is how often a file is read anew that has changed before any of it was sent.
const readAgain = 3

// get answers GET and HEAD. The tag, the conditions and the bytes are all of the one version that was opened.
func (s *server) get(w http.ResponseWriter, r *request) error {
	for range readAgain {
		if err := s.getOnce(r.Context(), w, r); !errors.Is(err, tree.ErrChanged) {
			return err
		}
	}
	return s.getOnce(tree.WithTagsBy(r.Context(), time.Time{}), w, r) // as it comes, without a tag
}

// getOnce fails with ErrChanged where nothing has been sent, and what was to be sent is another version now.
func (s *server) getOnce(ctx context.Context, w http.ResponseWriter, r *request) error {
	content, state, err := s.Store.Open(ctx, r.name)
	if errors.Is(err, tree.ErrIsCollection) {
		return s.getCollection(w, r)
	}
	if err != nil {
		return err
	}
	defer content.Close()
	if r.slash {
		return tree.ErrNotExist // a file is no collection, and only those end with a slash
	}
	if err := s.read(r, state); err != nil {
		return err
	}
	parts, partial := ranges(r.Header, state.Size)
	if !partial || r.Method != http.MethodGet || !precondition.RangeApplies(r.Header, state) {
		parts, partial = []part{{0, state.Size}}, false
	}
	if partial && len(parts) > 0 {
		apart, err := sentApart(ctx, content, parts)
		if err != nil {
			return err
		}
		if !apart { // RFC 9110 §14.2: "A server MAY ignore the Range header field"
			parts, partial = []part{{0, state.Size}}, false
		}
	}
	if len(parts) == 0 {
		w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(state.Size, 10)) // RFC 9110 §15.5.17
		return &statusError{status: http.StatusRequestedRangeNotSatisfiable, detail: "the file ends before the Range begins"}
	}
	h := http.Header{}
	s.present(h, state)
	h.Set("Accept-Ranges", "bytes")
	s.describeContent(ctx, h, r, content, state, parts)
	return s.sendContent(ctx, w, r, h, content, state, parts, partial)
}

// sentApart reports whether parts of a content are to be sent, and not all of it.
func sentApart(ctx context.Context, content tree.Content, parts []part) (bool, error) {
	parted, ok := content.(tree.PartedContent)
	if !ok {
		return true, nil
	}
	told := make([]tree.Part, len(parts))
	for i, p := range parts {
		told[i] = tree.Part{Offset: p.from, Length: p.length}
	}
	return parted.Parts(ctx, told)
}

// present sets the headers that go with the content of a version.
func (s *server) present(h http.Header, state tree.State) {
	s.describe(h, state)
	h.Set("Content-Type", contentType(state.Name))
	if !s.ReadOnly && active(contentType(state.Name)) {
		h.Set("Content-Security-Policy", sandbox)
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", cacheControl)
}

// cacheControl: what is in between must not compress, which would change the tag. A cache may keep it, and must ask.
const cacheControl = "private, no-cache, no-transform"

// read asks the conditions of a GET about the version that was opened.
func (s *server) read(r *request, opened tree.State) error {
	return s.Store.Try(r.Context(), func(v tree.View) error {
		view := openedView{v, opened}
		err := r.cond.Read(view)
		if errors.Is(err, tree.ErrTagUnknown) && opened.Tag == "" {
			err = r.cond.Guard(view) // it keeps changing: better the whole content than no answer
		}
		return err
	})
}

// An openedView shows one name as it was opened, and the rest as it is.
type openedView struct {
	tree.View
	opened tree.State
}

func (v openedView) State(name string) (tree.State, error) {
	if name == v.opened.Name {
		return v.opened, nil
	}
	return v.View.State(name)
}

// Covering and Holds implement [tree.TokenView].
func (v openedView) Covering(name string) ([]tree.Lock, error) { return tree.Covering(v.View, name) }
func (v openedView) Holds(name, token string) (bool, error)    { return tree.Holds(v.View, name, token) }

// describe sets the validators of what is there.
func (s *server) describe(h http.Header, state tree.State) {
	if !state.Exists {
		return
	}
	if state.Tag != "" {
		h.Set("ETag", string(state.Tag))
	}
	if !state.Modified.IsZero() {
		h.Set("Last-Modified", lastModified(state))
	}
}

func lastModified(state tree.State) string { return state.Modified.UTC().Format(http.TimeFormat) }

// sandbox takes from a page that is served its origin, which is ours: its scripts run, and may not write into the files
// beside it, or even read them. Who publishes pages that must, serves them with --read-only.
const sandbox = "sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads"

// active reports whether browsers run scripts in content of this type.
func active(contentType string) bool {
	media, _, _ := mime.ParseMediaType(contentType)
	return media == "text/html" || strings.HasSuffix(media, "xml")
}

// contentType is told by the name alone, so that GET, HEAD and PROPFIND agree and no file is opened for it.
func contentType(name string) string {
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}
