package handler

import (
	"bufio"
	"cmp"
	"fmt"
	"html"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ifmatch/auth"
	"ifmatch/tree"
)

// The page is the plain listing of a collection for browsers: its beginning, which says the path twice, a row for each
// member, and its end. Links are absolute paths, so that they lead to the right place whether or not the request ended
// with a slash.
const (
	pageBegin = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>%[1]s</title>
<style>body{font-family:sans-serif;margin:2em}td{padding:0 1em 0 0}td+td{text-align:right;color:#555}</style>
<h1>%[1]s</h1>
<table>
`
	pageUp  = `<tr><td><a href="%s">..</a></td></tr>` + "\n"
	pageRow = `<tr><td><a href="%s">%s</a></td><td>%s</td><td>%s</td></tr>` + "\n"
	pageEnd = "</table>\n"
)

// maxSorted is how many members of a page are sorted, which takes memory for as long as its client reads it. Of more, the
// page tells in the order of the store, and as they come.
const maxSorted = 10_000

// shortPage bounds the pages, in bytes, that wait until they are whole.
const shortPage = 32 << 10

// An indexMember is what a page tells of a member. It does not keep the path of the collection, which may be long.
type indexMember struct {
	base       string
	collection bool
	size       int64
	modified   time.Time
}

// getCollection answers GET and HEAD of a collection. It is never a 404 or a redirect: LibreOffice and Office ask for the
// folder before they save into it.
func (s *server) getCollection(w http.ResponseWriter, r *request) error {
	var err error
	for _, err = range s.Store.List(r.Context(), r.name, tree.ListOptions{}, r.condition(r.mayRead)) {
	}
	if err != nil {
		return r.hidden(r.name, err)
	}
	if r.Method == http.MethodHead {
		s.beginPage(w)
		return nil
	}
	if w, err = s.takeTurn(w, r, s.Pools.Listings); err != nil {
		return err
	}
	next, stop := iter.Pull2(s.indexMembers(r))
	defer stop()
	var first []indexMember
	all := false
	for !all && len(first) <= maxSorted {
		m, err, ok := next()
		if err != nil {
			return err // nothing is sent yet: the answer can have the status
		}
		if all = !ok; ok {
			first = append(first, m)
		}
	}
	if all {
		slices.SortFunc(first, collectionsFirst)
	}
	begun := false
	page := bufio.NewWriterSize(writerFunc(func(p []byte) (int, error) {
		if !begun {
			begun = true
			s.beginPage(w)
		}
		return w.Write(p)
	}), shortPage)
	if err = s.writePage(page, r, first, next); err == nil {
		if !begun {
			w.Header().Set("Content-Length", strconv.Itoa(page.Buffered()))
		}
		err = page.Flush() // its first error is that of all it has written
	}
	if err != nil && begun {
		cutOff(w, err)
	}
	return err
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (s *server) beginPage(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", cacheControl)
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; "+s.origin.Frames())
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
}

// indexMembers yields what a page tells of. An error ends it.
func (s *server) indexMembers(r *request) iter.Seq2[indexMember, error] {
	return func(yield func(indexMember, error) bool) {
		var way via
		opts := tree.ListOptions{Depth: 1, Show: r.showsMember()}
		for m, err := range s.Store.List(r.Context(), r.name, opts, tree.Condition{}) {
			if err != nil && m.Name == "" {
				yield(indexMember{}, err)
				return
			}
			shown := way.shows(r, &m)
			if err == nil && m.Name == r.name {
				if err := r.opens(&m); err != nil {
					yield(indexMember{}, err)
					return
				}
				continue
			}
			if err != nil || !shown {
				continue // one that cannot be read must not hide the others
			}
			_, base := tree.Split(m.Name)
			if !r.may(m.Name, auth.List) { // on the way to others
				m.Modified = time.Time{}
			}
			if !yield(indexMember{strings.Clone(base), m.Collection, m.Size, m.Modified}, nil) {
				return
			}
		}
	}
}

// collectionsFirst has collections come before files, each by name.
func collectionsFirst(a, b indexMember) int {
	if a.collection != b.collection {
		if a.collection {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.base, b.base)
}

// writePage writes the first members of a page, and then the next.
func (s *server) writePage(page *bufio.Writer, r *request, first []indexMember, next func() (indexMember, error, bool)) error {
	fmt.Fprintf(page, pageBegin, html.EscapeString("/"+r.name))
	if r.name != "" {
		parent, _ := tree.Split(r.name)
		fmt.Fprintf(page, pageUp, html.EscapeString(inPage(s.href(parent, true))))
	}
	for _, m := range first {
		if err := s.writeRow(page, r, m); err != nil {
			return err
		}
	}
	for {
		m, err, ok := next()
		if err == nil && !ok {
			break
		}
		if err == nil {
			err = s.writeRow(page, r, m)
		}
		if err != nil {
			return err
		}
	}
	_, err := page.WriteString(pageEnd)
	return err
}

func (s *server) writeRow(page *bufio.Writer, r *request, m indexMember) error {
	name, size := m.base, ""
	if m.collection {
		name += "/"
	} else {
		size = strconv.FormatInt(m.size, 10)
	}
	modified, _ := httpDate(m.modified)
	href := inPage(s.href(tree.Join(r.name, m.base), m.collection))
	_, err := fmt.Fprintf(page, pageRow, html.EscapeString(href), html.EscapeString(name), size, modified)
	return err
}
