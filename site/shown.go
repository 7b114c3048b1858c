package site

import (
	"net/http"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Shown is a file as a site shows it. Nil is a file as it is, on a path that is in no site.
type Shown struct {
	Variant
	Site   *Site
	Below  string // the name of the file below the path of the site, without the suffix of a compressed sibling
	Media  string // the media type of that file
	Status int    // of the answer: 200 or 404
}

// StatusOf returns the status of the answer with the whole content.
func (s *Shown) StatusOf() int {
	if s == nil {
		return http.StatusOK
	}
	return s.Status
}

// IsWhole reports whether the answer is the whole content though the request has a Range, and has no digests.
func (s *Shown) IsWhole() bool { return s != nil && (s.Squeezed || s.Status != http.StatusOK) }

// View returns a view for the conditions of a GET, which compare the tag of the representation.
func (s *Shown) View(v tree.View) tree.View {
	if s == nil || !s.Squeezed {
		return v
	}
	return squeezedView{v, s.File.Name}
}

type squeezedView struct {
	tree.View
	name string
}

func (v squeezedView) State(name string) (tree.State, error) {
	state, err := v.View.State(name)
	if name == v.name {
		state.Tag = squeezedTag(state.Tag)
	}
	return state, err
}

// The other methods that package tree looks for in a View are those of the view below.

func (v squeezedView) Committing() bool           { return tree.Committing(v.View) }
func (v squeezedView) Spelled(name string) string { return tree.Spelled(v.View, name) }
func (v squeezedView) SameName(a, b string) bool  { return tree.SameName(v.View, a, b) }

func (v squeezedView) Since(name string, since tree.Cursor, hidden func(string) bool) (bool, error) {
	if below, ok := v.View.(tree.FeedView); ok {
		return below.Since(name, since, hidden)
	}
	return false, tree.ErrUnsupported
}

// SetFields sets the header fields of the answer, besides the validators, which it only changes. private is as in
// [Site.CacheControl].
func (s *Shown) SetFields(h http.Header, private bool) {
	h.Set("Cache-Control", s.Site.CacheControl(s.Below, Plain(s.Media), private))
	if s.Status != http.StatusOK { // it is no representation of the path
		h.Set("Cache-Control", revalidate)
		h.Del("Etag")
		h.Del("Last-Modified")
	}
	if tag := h.Get("Etag"); s.Squeezed && tag != "" {
		h["Etag"] = []string{"W/" + string(squeezedTag(tree.ETag(tag)))}
	}
	h.Set("Content-Type", s.Media)
	h.Set("X-Content-Type-Options", "nosniff")
	if s.Coding != "" {
		h.Set("Content-Encoding", s.Coding)
	}
	if s.Varies {
		Vary(h, "Accept-Encoding")
	}
	if s.Site.CSP != "" {
		h.Set("Content-Security-Policy", s.Site.CSP)
	}
}

// Vary adds request fields on which an answer depends, once.
func Vary(h http.Header, fields string) {
	if !slices.Contains(h["Vary"], fields) {
		h.Add("Vary", fields)
	}
}
