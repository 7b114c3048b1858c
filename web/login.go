package web

import (
	"html/template"
	"io"
	"sync"
)

// A LoginView has the parts of the page of the login.
type LoginView struct {
	Own     string // the path of the program's own addresses, with a slash at the end
	To      string // the path to go to after the login
	Name    string // that was sent before
	Problem string // why it was not taken, or ""
	// NoForm says why there is no form. Then there is none.
	NoForm string
	// Again has the browser ask once more at once, in place of a form.
	Again bool
}

// Assets is the path of the assets.
func (v LoginView) Assets() string { return v.Own + AssetDir() }

// WriteLogin writes the page with the form by which a person logs in. It needs no script.
func WriteLogin(w io.Writer, v LoginView) error { return loginPage().Execute(w, v) }

var loginPage = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("login").Funcs(Funcs).Parse(`<!doctype html>
<html lang="{{t "lang"}}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
{{- if .Again}}
<meta http-equiv="refresh" content="0">{{end}}
<title>{{t "login"}}</title>
<link rel="stylesheet" href="{{.Assets}}style.css">
<link rel="stylesheet" href="{{.Assets}}login.css">
<link rel="icon" href="{{.Assets}}icon.svg">
{{- if not (or .Again .NoForm)}}
<script type="module" src="{{.Assets}}fragment.js"></script>{{end}}
</head>
<body class="login">
<main>
{{- if .Again}}
<p><a href="{{.To}}">{{t "login.go"}}</a></p>
{{- else if .NoForm}}
<h1>{{t "login.none"}}</h1>
<p>{{.NoForm}}</p>
{{- else}}
<h1>{{t "login"}}</h1>
<form method="post" action="{{.Own}}login">
<input type="hidden" name="to" value="{{.To}}">
<label for="name">{{t "name"}}</label>
<input id="name" name="name" value="{{.Name}}" autocomplete="username" autocapitalize="none" spellcheck="false" required
{{- if not .Name}} autofocus{{end}}>
<label for="password">{{t "password"}}</label>
<input id="password" name="password" type="password" autocomplete="current-password" required
{{- if .Name}} autofocus{{end}}>
{{- with .Problem}}
<p class="problem" role="alert">{{.}}</p>{{end}}
<button class="main">{{t "login"}}</button>
</form>
{{- end}}
</main>
</body>
</html>
`))
})
