// Package autoindex writes the HTML page that lists a collection for browsers.
package autoindex

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/web"
)

// The parts of a page. Its links are absolute paths, so that they are right whether or not the URL of the page ends
// with a slash.
const (
	pageBegin = `<!doctype html>
<html lang="%[2]s">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>%[1]s</title>
<style>body{font-family:sans-serif;margin:2em;background:Canvas;color:CanvasText}
td{padding:0 1em 0 0}td+td{text-align:right;opacity:.75}</style>
<main>
<h1>%[1]s</h1>
<table>
`
	pageUp  = `<tr><td><a href="%s">..</a></td></tr>` + "\n"
	pageRow = `<tr><td><a href="%s">%s</a></td><td>%s</td><td>%s</td></tr>` + "\n"
	pageEnd = "</table>\n"
	pageZip = `<p><a href="%s">%s</a></p>` + "\n"
)

// MaxSorted bounds the members of a page that is sorted, because they stay in memory as long as the client reads. A
// page with more members has them in the order of the store, and is sent as they come.
const MaxSorted = 10_000

// maxBuffered bounds the pages, in bytes, that are sent only when they are complete.
const maxBuffered = 32 << 10

// A Member is a row of a page.
type Member struct {
	Base       string // the last segment of the name, so that the path of the collection is not kept for each member
	Collection bool
	Size       int64 // in bytes
	Modified   time.Time
}

// A Page is the listing of one collection. All fields but Up and Archive are needed.
type Page struct {
	Title string
	Up    string // the path of the parent collection as in a URL ("": there is none)
	// Archive is the URL reference of the collection as an archive ("": there is none).
	Archive string
	Href    func(m *Member) string // returns the path of a member as in a URL
	Date    func(time.Time) string
	// Begin is called before the first byte is written, with the length of the page in bytes, or -1 if it is not known.
	Begin func(length int)
}

// Write writes the page. An error of a member ends it. If Begin was not called by then, nothing has been written.
func (p *Page) Write(w io.Writer, members iter.Seq2[Member, error]) error {
	next, stop := iter.Pull2(members)
	defer stop()
	var first []Member
	all := false
	for !all && len(first) <= MaxSorted {
		m, err, ok := next()
		if err != nil {
			return err
		}
		if all = !ok; ok {
			first = append(first, m)
		}
	}
	if all {
		slices.SortFunc(first, func(a, b Member) int { return web.Order(a.Collection, b.Collection, a.Base, b.Base) })
	}
	begun := false
	buffered := bufio.NewWriterSize(writerFunc(func(b []byte) (int, error) {
		if !begun {
			begun = true
			p.Begin(-1)
		}
		return w.Write(b)
	}), maxBuffered)
	if err := p.write(buffered, first, next); err != nil {
		return err
	}
	if !begun {
		begun = true
		p.Begin(buffered.Buffered())
	}
	return buffered.Flush() // its error is the first one of all writes
}

// write writes the first members, and then the rest.
func (p *Page) write(w *bufio.Writer, first []Member, next func() (Member, error, bool)) error {
	fmt.Fprintf(w, pageBegin, html.EscapeString(p.Title), web.Text("lang"))
	if p.Up != "" {
		fmt.Fprintf(w, pageUp, html.EscapeString(inPage(p.Up)))
	}
	for _, m := range first {
		if err := p.row(w, &m); err != nil {
			return err
		}
	}
	m, err, ok := next()
	for ; err == nil && ok; m, err, ok = next() {
		if err := p.row(w, &m); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	_, err = w.WriteString(pageEnd)
	if p.Archive != "" && err == nil {
		_, err = fmt.Fprintf(w, pageZip, html.EscapeString(p.Archive), html.EscapeString(web.Text("list.zip")))
	}
	return err
}

func (p *Page) row(w *bufio.Writer, m *Member) error {
	name, size := m.Base, ""
	if m.Collection {
		name += "/"
	} else {
		size = strconv.FormatInt(m.Size, 10)
	}
	href := html.EscapeString(inPage(p.Href(m)))
	_, err := fmt.Fprintf(w, pageRow, href, html.EscapeString(name), size, p.Date(m.Modified))
	return err
}

// inPage escapes the characters of a path that HTML would write as character references, because many programs look for
// links without reading HTML. Of the characters that [url.PathEscape] leaves, these are all but the unreserved ones.
func inPage(href string) string { return pageEscapes.Replace(href) }

var pageEscapes = strings.NewReplacer("&", "%26", "+", "%2B", "=", "%3D", "@", "%40", "$", "%24")

// A writerFunc is a function as an [io.Writer].
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
