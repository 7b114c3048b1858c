package handler

import (
	"bytes"
	"cmp"
	"html/template"
	"net/http"
	"slices"
	"strconv"

	"ifmatch/tree"
)

// indexPage is the plain listing of a collection for browsers. Links are absolute paths, so that they lead to the right
// place whether or not the request ended with a slash.
var indexPage = template.Must(template.New("index").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{.Path}}</title>
<style>body{font-family:sans-serif;margin:2em}td{padding:0 1em 0 0}td+td{text-align:right;color:#555}</style>
<h1>{{.Path}}</h1>
<table>
{{- with .Up}}
<tr><td><a href="{{.}}">..</a></td></tr>{{end}}
{{- range .Members}}
<tr><td><a href="{{.Href}}">{{.Name}}</a></td><td>{{.Size}}</td><td>{{.Modified}}</td></tr>{{end}}
</table>
`))

type indexMember struct {
	Href, Name, Size, Modified string
	collection                 bool
}

// getCollection answers GET and HEAD of a collection. It is never a 404 or a redirect: LibreOffice and Office ask for the
// folder before they save into it.
func (s *server) getCollection(w http.ResponseWriter, r *request) error {
	self, err := s.Store.Stat(r.Context(), r.name, 0)
	if err != nil {
		return err
	}
	if err := s.read(r, self); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", cacheControl)
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; "+s.framing())
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	page, err := s.index(r)
	if err != nil {
		return err
	}
	h.Set("Content-Length", strconv.Itoa(len(page)))
	w.WriteHeader(http.StatusOK)
	w.Write(page)
	return nil
}

func (s *server) index(r *request) ([]byte, error) {
	var members []indexMember
	for m, err := range s.Store.List(r.Context(), r.name, 0) {
		if err != nil && m.Name == "" {
			return nil, err
		}
		if err != nil {
			continue // one that cannot be read must not hide the others
		}
		_, base := tree.Split(m.Name)
		member := indexMember{Href: inPage(s.href(m.Name, m.Collection)), Name: base, collection: m.Collection}
		member.Modified, _ = httpDate(m.Modified)
		if m.Collection {
			member.Name += "/"
		} else {
			member.Size = strconv.FormatInt(m.Size, 10)
		}
		members = append(members, member)
	}
	slices.SortFunc(members, func(a, b indexMember) int {
		if a.collection != b.collection {
			if a.collection {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Name, b.Name)
	})
	data := struct {
		Path, Up string
		Members  []indexMember
	}{Path: "/" + r.name, Members: members}
	if r.name != "" {
		parent, _ := tree.Split(r.name)
		data.Up = inPage(s.href(parent, true))
	}
	var page bytes.Buffer
	err := indexPage.Execute(&page, data)
	return page.Bytes(), err
}
