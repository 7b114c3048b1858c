package handler

import (
	"errors"
	"math"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"ifmatch/handler/precondition"
	"ifmatch/tree"
)

// get answers GET and HEAD. The tag, the conditions and the bytes are all of the one version that was opened.
func (s *server) get(w http.ResponseWriter, r *request) error {
	content, state, err := s.Store.Open(r.Context(), r.name)
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
	h := w.Header()
	s.present(h, state)
	h.Set("Accept-Ranges", "bytes")
	// ServeContent serves the bytes; the conditions are decided, and it sees none.
	plain := r.Request.Clone(r.Context())
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range"} {
		plain.Header.Del(name)
	}
	sent := []part{{0, state.Size}}
	if wanted := ranges(r.Header, state.Size); wanted != "" && r.Method == http.MethodGet && precondition.RangeApplies(r.Header, state) {
		plain.Header.Set("Range", wanted)
		sent = parts(wanted, state.Size)
	}
	if len(sent) > 0 { // what a 416 carries is no part of the file
		describeContent(h, r, content, state, sent)
	}
	http.ServeContent(w, plain, "", time.Time{}, content)
	return nil
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

// maxRanges bounds the parts of one answer.
const maxRanges = 64

// ranges returns the Range header as ServeContent understands it, or "" where it is to be ignored: an unknown unit, one
// that is malformed (RFC 9110 §14.2), or any of nothing.
func ranges(h http.Header, size int64) string {
	values := h.Values("Range")
	if len(values) != 1 || size == 0 {
		return ""
	}
	unit, set, ok := strings.Cut(values[0], "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return ""
	}
	var specs []string
	count := 0
	for spec := range strings.SplitSeq(set, ",") {
		if spec = strings.Trim(spec, " \t"); spec == "" {
			continue // RFC 9110 §5.6.1: empty list elements are ignored
		}
		first, last, ok := strings.Cut(spec, "-")
		from, okFrom := position(first)
		to, okTo := position(last)
		if !ok || !okFrom || !okTo || first == "" && last == "" || first != "" && last != "" && from > to {
			return ""
		}
		if count++; first == "" && to == 0 {
			continue // RFC 9110 §14.1.2: the last 0 bytes cannot be satisfied, and ServeContent sends them
		}
		if first != "" {
			first = strconv.FormatInt(from, 10)
		}
		if last != "" {
			last = strconv.FormatInt(to, 10)
		}
		specs = append(specs, first+"-"+last)
	}
	if count == 0 || count > maxRanges {
		return ""
	}
	if len(specs) == 0 {
		specs = []string{strconv.FormatInt(size, 10) + "-"} // beyond the end: 416
	}
	return "bytes=" + strings.Join(specs, ",")
}

// A part is some of the bytes of a content.
type part struct{ from, length int64 }

// parts returns what of a content a Range asks for that [ranges] has passed; nothing where it is beyond the end.
func parts(wanted string, size int64) (all []part) {
	for spec := range strings.SplitSeq(strings.TrimPrefix(wanted, "bytes="), ",") {
		first, last, _ := strings.Cut(spec, "-")
		from, _ := position(first)
		to, _ := position(last)
		switch {
		case first == "":
			from, to = max(size-to, 0), size-1
		case last == "":
			to = size - 1
		}
		if from < size {
			all = append(all, part{from, min(to, size-1) - from + 1})
		}
	}
	return all
}

// position reads digits; "" is fine, and what is larger than any file is as large as one can be.
func position(digits string) (int64, bool) {
	if strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		n = math.MaxInt64
	}
	return n, true
}
