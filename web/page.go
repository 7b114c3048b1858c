package web

import (
	"bufio"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Rows is how many members the page has without scripts. A link leads to those behind them.
const Rows = 1000

// A View has the parts of a page.
type View struct {
	Own    string // the path of the program's own addresses, with a slash at the end
	Member func(s *tree.State) string
	Crumbs []Crumb // the collections on the way, the last is the one that is shown
	Links  bool    // the reader can make share links
	After  string  // the rows begin behind this member: its last segment, with a slash if it is a collection
	Login  Login
}

// A Login is the part of the page about its reader. The zero value is a server without users.
type Login struct {
	User    string // or "" for one who has not logged in
	In, Out bool   // whether the reader can log in or out by the page
}

// A Crumb is a collection on the way to another one.
type Crumb struct{ Name, Href string }

// A row is a member as the template writes it.
type row struct {
	Href, Name, Size, Bytes, When string
	Collection                    bool
}

// WritePage writes the page of a collection. members yields its members in any order, and is read to its end before
// anything is written. Memory is bounded by [Rows], for any number of members.
func WritePage(w io.Writer, v View, members Members) error {
	after := tree.State{Name: strings.TrimSuffix(v.After, "/"), Collection: strings.HasSuffix(v.After, "/")}
	var rows []tree.State
	total, before := 0, 0
	for m, err := range members {
		if err != nil && m.Name != "" {
			continue // a member that cannot be read must not hide the others
		}
		if err != nil {
			return err
		}
		total++
		if v.After != "" && order(m, after) <= 0 {
			before++
			continue
		}
		m.Name = strings.Clone(m.Name)
		if rows = append(rows, m); len(rows) == 2*Rows {
			rows = first(rows)
		}
	}
	rows = first(rows)
	next := ""
	if len(rows) > Rows {
		rows = rows[:Rows]
		_, next = tree.Split(rows[Rows-1].Name)
		if rows[Rows-1].Collection {
			next += "/"
		}
		next = "?after=" + template.URLQueryEscaper(next)
	}
	b := bufio.NewWriterSize(w, 32<<10)
	err := page().Execute(b, struct {
		View
		Assets, Here, Next         string
		Rows                       []row
		Total, First, Last, Before int
	}{v, v.Own + AssetDir(), v.Crumbs[len(v.Crumbs)-1].Href, next, rowsOf(v, rows),
		total, before + 1, before + len(rows), before})
	if err != nil {
		return err
	}
	return b.Flush()
}

func rowsOf(v View, states []tree.State) []row {
	rows := make([]row, len(states))
	for i := range states {
		s := &states[i]
		_, base := tree.Split(s.Name)
		r := row{Href: v.Member(s), Name: Shown(base), Collection: s.Collection}
		if s.Collection {
			r.Name += "/"
		} else {
			r.Bytes, r.Size = strconv.FormatInt(s.Size, 10), bytesText(s.Size)
		}
		if !s.Modified.IsZero() {
			r.When = s.Modified.UTC().Format("2006-01-02 15:04Z") // a valid global date and time string of HTML
		}
		rows[i] = r
	}
	return rows
}

// Shown returns a name as people see it. A name is any bytes. Characters that show nothing, or change the order of
// those around them, have a sign in their place, so that no name looks like another thing than it is.
func Shown(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ':
			return 0x2400 + r // the picture of the control character
		case r == 0x7f:
			return 0x2421
		case r == 0x200c, r == 0x200d: // words of some languages need them, and they turn nothing around
			return r
		case r == utf8.RuneError, unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cf, r), r == 0x2028, r == 0x2029:
			return utf8.RuneError
		}
		return r
	}, name)
}

func bytesText(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	f, i := float64(n)/1000, 0
	for ; f >= 999.5 && i < len(units)-1; i++ {
		f /= 1000
	}
	precision := 1
	if f >= 9.95 {
		precision = 0
	}
	return strconv.FormatFloat(f, 'f', precision, 64) + " " + units[i:i+1] + "B"
}

// first returns the members that come first, in their order: those of [Rows], and one more if there are more.
func first(members []tree.State) []tree.State {
	slices.SortFunc(members, order)
	return members[:min(len(members), Rows+1)]
}

// order is [Order] of two members. A link to the next rows names the last one.
func order(a, b tree.State) int {
	_, base := tree.Split(a.Name)
	_, other := tree.Split(b.Name)
	return Order(a.Collection, b.Collection, base, other)
}

// Order compares two members of a collection by whether each is one itself, and by the last segments of their names:
// collections come first, and then the bytes of the segments decide.
func Order(collection, otherCollection bool, base, otherBase string) int {
	switch {
	case collection == otherCollection:
		return strings.Compare(base, otherBase)
	case collection:
		return -1
	}
	return 1
}

var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(Funcs).Parse(`<!doctype html>
<html lang="{{t "lang"}}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{(index .Crumbs (len (slice .Crumbs 1))).Name}}</title>
<link rel="stylesheet" href="{{.Assets}}style.css">
<link rel="stylesheet" href="{{.Assets}}panes.css">
<link rel="icon" href="{{.Assets}}icon.svg">
{{- range $module := .Modules}}
<link rel="modulepreload" href="{{$.Assets}}{{$module}}">
{{- end}}
<script type="module" src="{{.Assets}}page.js"></script>
</head>
<body data-own="{{.Own}}" data-assets="{{.Assets}}" data-path="{{.Here}}" {{if .Links}}data-links="true" {{end}}data-total="{{.Total}}" data-before="{{.Before}}">
<header>
<nav aria-label="{{t "path"}}"><ol class="crumbs">
{{- range $i, $c := .Crumbs}}<li><a href="{{$c.Href}}"><bdi>{{$c.Name}}</bdi></a></li>{{end -}}
</ol></nav>
{{- with .Login}}
{{- if .User}}
<form class="who" method="post" action="{{$.Own}}logout"><bdi title="{{t "login.as"}}">{{.User}}</bdi>
{{- if .Out}}<input type="hidden" name="to" value="{{$.Here}}"><button>{{t "logout"}}</button>{{end}}</form>
{{- else if .In}}
<p class="who"><a class="button" href="{{$.Own}}login?to={{$.Here}}">{{t "login"}}</a></p>
{{- end}}
{{- end}}
<div id="status"></div>
</header>
<main>
<h1 class="hidden">{{(index .Crumbs (len (slice .Crumbs 1))).Name}}</h1>
<div id="tools"></div>
<table id="files">
<thead><tr><th scope="col">{{t "name"}}</th><th scope="col">{{t "size"}}</th><th scope="col">{{t "changed"}}</th></tr></thead>
<tbody>
{{range .Rows}}<tr><td><a href="{{.Href}}"{{if .Collection}} class="dir"{{end}}><bdi>{{.Name}}</bdi></a></td>
{{- ""}}<td{{if .Bytes}} data-n="{{.Bytes}}"{{end}}>{{.Size}}</td><td>{{with .When}}<time>{{.}}</time>{{end}}</td></tr>
{{end}}</tbody>
</table>
<p id="more">
{{- if not .Rows}}{{t "empty"}}
{{- else if .Next}}{{t "page.rows" .First .Last .Total}} <a href="{{.Next}}" rel="next">{{t "page.next"}}</a>
{{- else if .Before}}{{t "page.rows" .First .Last .Total}} <a href="{{.Here}}">{{t "page.first"}}</a>{{end}}</p>
</main>
</body>
</html>
`))
})

// Modules are the scripts that the page needs at once, so that the browser asks for all of them at once.
func (v View) Modules() []string {
	all := []string{"dom.js", "strings.js", "english.js", "requests.js", "client.js", "table.js", "actions.js", "dialog.js", "turns.js"}
	if v.Login.User != "" || v.Login.In {
		all = append(all, "login.js")
	}
	return all
}
