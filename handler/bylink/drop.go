package bylink

import (
	"html/template"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"

	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/web"
)

// A Dropped is the result for one file that was sent by the form.
type Dropped struct {
	Name string
	Why  string // the file was not stored ("": it was)
}

// A DropPage is the page of a link for dropping files. It tells nothing of the collection but the name that its maker
// has given to the link.
type DropPage struct {
	Label string
	Here  string // the path of the page
	Files []Dropped
}

// Policy is the Content-Security-Policy of pages of the server, without the directive about frames.
const Policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"

// Write writes the page.
func (p *DropPage) Write(w io.Writer) error { return dropPage().Execute(w, p) }

var dropPage = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("drop").Funcs(web.Funcs).Parse(`<!doctype html>
<html lang="{{t "lang"}}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{with .Label}}{{.}}{{else}}{{t "drop.title"}}{{end}}</title>
<style>body{font-family:sans-serif;margin:2em;max-width:40em}input,button{font:inherit;margin:.5em 0}li{margin:.3em 0}</style>
<main>
<h1>{{with .Label}}{{.}}{{else}}{{t "drop.title"}}{{end}}</h1>
{{with .Files}}<ul>
{{range .}}<li><bdi>{{.Name}}</bdi>: {{with .Why}}<strong>{{t "drop.refused"}}</strong>: {{.}}{{else}}{{t "drop.stored"}}{{end}}</li>
{{end}}</ul>
{{end}}<form method="post" enctype="multipart/form-data" action="{{.Here}}">
<p><label>{{t "drop.files"}}<br><input type="file" name="file" multiple required></label></p>
<p><button>{{t "drop.send"}}</button></p>
</form>
<p>{{t "drop.text"}}</p>
</main>
</html>
`))
})

// maxDropped bounds the files of one form.
const maxDropped = 100

// Receive stores the files of a form as they come, and notes the result for each. store stores one: it returns the
// status that a PUT of it has, and why it was not stored, or an error that ends the form. The status is that of the
// last file that was not stored, else 201.
func (p *DropPage) Receive(
	form *multipart.Reader, store func(base string, content io.Reader) (status int, why string, err error),
) (status int, err error) {
	status = http.StatusCreated
	for {
		part, err := form.NextPart()
		switch {
		case err == io.EOF:
			return status, nil
		case err != nil:
			return 0, &tree.BodyError{Err: err}
		case len(p.Files) == maxDropped:
			return http.StatusRequestEntityTooLarge, nil
		}
		base := part.FileName()
		base = base[strings.LastIndexByte(base, '\\')+1:] // the whole path, as some clients send it
		if base == "" {
			continue // another field, or no file was chosen
		}
		one, why, err := store(base, part)
		if err != nil {
			return 0, err
		}
		if why != "" {
			status = one
		}
		p.Files = append(p.Files, Dropped{Name: web.Shown(base), Why: why})
	}
}
