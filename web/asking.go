package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Members are resources of a collection. An error ends them.
type Members = iter.Seq2[tree.State, error]

// An Asking is a request about one resource, with the tree as its principal may see it.
type Asking interface {
	Context() context.Context
	Request() *http.Request
	Name() string
	// Href returns the path of a name as in a URL.
	Href(name string, collection bool) string
	// Effects returns the names of the rights of the principal at a name.
	Effects(name string) []string
	// MayRead reports whether the principal may read the content of a resource that Members has yielded.
	MayRead(s *tree.State) bool
	// Token returns the sync token of now, or "" if the store reports no changes.
	Token() (string, error)
	// Members yields the members that the principal may know of, without the resource itself. The depth is 1, or -1 for
	// all below. Tags are those that are known.
	Members(depth int) Members
	// Open opens a file, with the errors of [tree.Store].
	Open(name string) (tree.Content, tree.State, error)
	// Versions yields the versions in the history of the name and of all names below, as far as the principal may know it.
	Versions() iter.Seq2[tree.Version, error]
	// Latest returns the change that made the version that is there, if that is known and the principal may know of it.
	// The error is [tree.ErrNotExist] if not.
	Latest() (tree.Change, error)
	// OpenVersion opens one of these versions, if it is a file.
	OpenVersion(id string) (tree.Content, tree.Version, error)
	// Restore makes one of these versions the current one, under the condition of the request, and answers.
	Restore(id string) error
	// Begin sends the status 200 with a media type. Cut ends an answer that has begun, so that the client notices.
	Begin(media string) io.Writer
	Cut(err error)
}

// An Address is one of the program's own addresses, and the method whose rights it needs.
type Address struct {
	Method string // the method of the request
	As     string // the method, or verb, that needs the same rights
	Plain  bool   // the answer is not compressed
	Large  bool   // it holds more memory than a download, and for as long: few of them may go on at once
	Serve  func(Asking) error
}

// Addresses are the program's own addresses that the page needs, by the segment behind the path of these. The parameter
// path in the query is the path of the resource, as in a URL.
var Addresses = map[string]Address{
	"list":    {Method: http.MethodGet, As: "PROPFIND", Serve: list},
	"search":  {Method: http.MethodGet, As: "PROPFIND", Serve: search},
	"zip":     {Method: http.MethodGet, As: "PROPFIND", Plain: true, Large: true, Serve: archive},
	"latest":  {Method: http.MethodGet, As: "PROPFIND", Serve: latest},
	"history": {Method: http.MethodGet, As: "PROPFIND", Serve: history},
	"version": {Method: http.MethodGet, As: "PROPFIND", Plain: true, Serve: oldVersion},
	"restore": {Method: http.MethodPost, As: "restore", Plain: true, Serve: restore},
}

// A Member is a member in an answer. Its Href is its name, of any bytes. Name is for people.
type Member struct {
	Href       string    `json:"href"`
	Name       string    `json:"name"`
	Collection bool      `json:"collection,omitempty"`
	Size       int64     `json:"size"`              // in bytes
	Modified   time.Time `json:"modified,omitzero"` // of the content
	ETag       tree.ETag `json:"etag,omitempty"`    // if it is known, and may be
	Link       bool      `json:"link,omitempty"`
}

func memberOf(a Asking, s *tree.State, dir string) Member {
	m := Member{Href: a.Href(s.Name, s.Collection), Collection: s.Collection, Size: s.Size, Link: s.Link}
	m.Name = Shown(strings.TrimPrefix(strings.TrimPrefix(s.Name, dir), "/"))
	m.Modified = s.Modified.UTC()
	if s.Tag != "" && a.MayRead(s) {
		m.ETag = s.Tag
	}
	return m
}

// A stream is an answer of one JSON object whose last field is an array that is sent as it comes. It is whole only if the
// object ends.
type stream struct {
	a     Asking
	head  any    // the fields before the array
	array string // its name
	w     io.Writer
	begun bool
	first bool
}

// begin sends the fields before the array, once. An error that comes before can still be told by a status.
func (s *stream) begin() error {
	if s.begun {
		return nil
	}
	fields, err := json.Marshal(s.head)
	if err != nil {
		return err
	}
	s.w, s.begun, s.first = s.a.Begin("application/json"), true, true
	text := strings.TrimSuffix(string(fields), "}")
	if len(text) > 1 {
		text += ","
	}
	_, err = io.WriteString(s.w, text+`"`+s.array+`":[`)
	return err
}

func (s *stream) add(v any) error {
	if err := s.begin(); err != nil {
		return err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if !s.first {
		text = append([]byte(",\n"), text...)
	}
	s.first = false
	_, err = s.w.Write(text)
	return err
}

// end sends the fields behind the array, and returns the error that ended it. An answer that has begun is cut.
func (s *stream) end(err error, tail any) error {
	if err == nil {
		err = s.begin()
	}
	if err == nil {
		fields, failed := json.Marshal(tail)
		if err = failed; err == nil {
			text := "]"
			if rest := strings.TrimPrefix(string(fields), "{"); rest != "}" {
				text += ","
			}
			_, err = io.WriteString(s.w, text+strings.TrimPrefix(string(fields), "{"))
		}
	}
	if err != nil && s.begun {
		s.a.Cut(err)
	}
	return err
}

// list answers with the members of a collection. The token was read before them, so a change that comes meanwhile is
// one since that token.
func list(a Asking) error {
	token, err := a.Token()
	if err != nil {
		return err
	}
	s := stream{a: a, array: "members", head: struct {
		Path  string   `json:"path"`
		May   []string `json:"may"`
		Token string   `json:"token,omitempty"`
	}{a.Href(a.Name(), true), a.Effects(a.Name()), token}}
	for m, failed := range a.Members(1) {
		if failed != nil && m.Name != "" {
			continue // a member that cannot be read must not hide the others
		}
		if err = failed; err == nil {
			err = s.add(memberOf(a, &m, a.Name()))
		}
		if err != nil {
			break
		}
	}
	return s.end(err, struct{}{})
}

// The bounds of a search. Each of them ends it, and the answer says so.
const (
	maxFound   = 500
	maxVisited = 200_000
	maxSearch  = 10 * time.Second
	maxQuery   = 255 // in bytes
)

// search answers with the members below a collection whose name has a text, without regard to case. It ends at a bound.
func search(a Asking) error {
	wanted := folded(a.Request().URL.Query().Get("q"))
	if wanted == "" || len(wanted) > maxQuery {
		return &BadQueryError{"q is the text to look for, of up to 255 bytes"}
	}
	s := stream{a: a, array: "members", head: struct{}{}}
	var err error
	complete := true
	visited, found, end := 0, 0, time.Now().Add(maxSearch)
	for m, failed := range a.Members(-1) {
		if failed != nil && m.Name != "" {
			continue
		}
		if err = failed; err == nil {
			err = s.begin() // and not with the first that is found
		}
		if err != nil {
			break
		}
		if visited++; found == maxFound || visited > maxVisited || visited%100 == 0 && time.Now().After(end) {
			complete = false
			break
		}
		if _, base := tree.Split(m.Name); !strings.Contains(folded(base), wanted) {
			continue
		}
		found++
		if err = s.add(memberOf(a, &m, a.Name())); err != nil {
			break
		}
	}
	return s.end(err, struct {
		Complete bool `json:"complete"`
	}{complete})
}

// folded returns a text in the form in which names are compared with the text that is looked for.
func folded(s string) string {
	if !utf8.ValidString(s) {
		return strings.ToLower(s)
	}
	return strings.Map(unicode.ToLower, norm.NFC.String(s))
}

// A BadQueryError says that a query is not of the form that the address needs.
type BadQueryError struct{ Detail string }

func (e *BadQueryError) Error() string { return e.Detail }

// MaxVersions bounds the versions in a list. The latest are in it.
const MaxVersions = 1000

// Latest returns the latest versions of some that come the oldest first, the latest first. all is false if there are
// more than [MaxVersions]. With an error it returns those before it.
func Latest(versions iter.Seq2[tree.Version, error]) (latest []tree.Version, all bool, err error) {
	all = true
	for v, failed := range versions {
		if err = failed; err != nil {
			break
		}
		if latest = append(latest, v); len(latest) == 2*MaxVersions {
			latest, all = append(latest[:0], latest[MaxVersions:]...), false
		}
	}
	if len(latest) > MaxVersions {
		latest, all = latest[len(latest)-MaxVersions:], false
	}
	slices.Reverse(latest)
	return latest, all, err
}

// A kept is a version of the history in an answer.
type kept struct {
	ID string `json:"id"`
	Member
	Gone  time.Time `json:"gone"`
	Cause string    `json:"cause"`
	By    string    `json:"by,omitempty"`
}

// history answers with the versions in the history of a name and of the names below it, the latest first.
func history(a Asking) error {
	latest, complete, err := Latest(a.Versions())
	if err != nil && !errors.Is(err, tree.ErrNotExist) {
		return err
	}
	s := stream{a: a, array: "versions", head: struct{}{}}
	err = nil
	for i := 0; i < len(latest) && err == nil; i++ {
		v := &latest[i]
		err = s.add(kept{v.ID, memberOf(a, &v.State, a.Name()), v.Gone.UTC(), v.Cause, string(v.Principal)})
	}
	return s.end(err, struct {
		Complete bool `json:"complete"`
	}{complete})
}

// latest answers with the change that made the version that is there, and with an empty object if it is not known.
func latest(a Asking) error {
	c, err := a.Latest()
	if err != nil && !errors.Is(err, tree.ErrNotExist) && !errors.Is(err, tree.ErrUnsupported) {
		return err
	}
	var known struct {
		Cause string    `json:"cause,omitempty"`
		By    string    `json:"by,omitempty"`
		Time  time.Time `json:"time,omitzero"`
		ETag  tree.ETag `json:"etag,omitempty"` // of the version, if it was known
	}
	if err == nil {
		known.Cause, known.By, known.Time, known.ETag = c.Cause, string(c.Principal), c.Time.UTC(), c.State.Tag
	}
	return json.NewEncoder(a.Begin("application/json")).Encode(known)
}

// restore makes the version with the parameter id the current one.
func restore(a Asking) error { return a.Restore(a.Request().URL.Query().Get("id")) }

// oldVersion answers with the content of a version of the history, as a download: it was never meant to be shown as a
// page of this server.
func oldVersion(a Asking) error {
	content, v, err := a.OpenVersion(a.Request().URL.Query().Get("id"))
	if err != nil {
		return err
	}
	defer content.Close()
	w := a.Begin("application/octet-stream")
	if _, err := content.WriteRange(a.Context(), w, 0, v.Size); err != nil {
		a.Cut(err)
		return err
	}
	return nil
}
