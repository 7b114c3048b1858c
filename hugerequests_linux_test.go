//go:build !race

package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// The requests of TestWorkOfOneRequestIsBounded: paths, headers and bodies as large as they can be, in every grammar
// that one of them has. Methods and fields are those that are found in the source, so that a new one is tried too.

// The room for a path or a header in a request, and for a body.
const (
	headerRoom = maxHeader - 10<<10
	bodyRoom   = 1 << 20
)

// filled concatenates the results of each, as long as there is room.
func filled(room int, each func(i int) string) string {
	var b strings.Builder
	for i := 0; ; i++ {
		s := each(i)
		if b.Len()+len(s) > room {
			return b.String()
		}
		b.WriteString(s)
	}
}

func same(s string) func(int) string { return func(int) string { return s } }

// few concatenates a number of parts, and replaces the ~ in each so that they fill the room.
func few(parts, room int, each func(i int) string) string {
	short := filled(room, func(i int) string {
		if i < parts {
			return each(i)
		}
		return strings.Repeat(" ", room)
	})
	long := strings.Repeat("a", max(0, (room-len(short))/parts))
	return strings.ReplaceAll(short, "~", long)
}

// word returns another word for each number, short ones first.
func word(i int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	s := ""
	for {
		s += string(letters[i%len(letters)])
		if i /= len(letters); i == 0 {
			return s
		}
	}
}

// escaped escapes the characters that a request line does not allow.
func escaped(path string) string { return (&url.URL{Path: path}).EscapedPath() }

// respelled puts a segment in the place of each like it.
func respelled(path string, pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace(path)
}

// Bodies that are asked with, by method.
var (
	goodBody = map[string][]byte{
		"LOCK":      []byte(servertest.LockExclusive),
		"PROPPATCH": []byte(`<propertyupdate xmlns="DAV:"><set><prop><a xmlns="">1</a></prop></set></propertyupdate>`),
		"PUT":       []byte("1"),
		"PROPFIND":  []byte(`<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>`),
	}
	badBody = map[string][]byte{"PUT": []byte("1"), "PROPPATCH": []byte("<a/>"), "LOCK": []byte("<a/>")}
)

// longestPath is the longest path of a system call, with the NUL at its end, and without the slash at its beginning
// here.
const longestPath = 4096

// pathsThere makes deep directories, and returns their paths.
func (m *measured) pathsThere() map[string]string {
	const composed, decomposed, u, o = "/\u00e4", "/o\u0308", "/\u00fc", "/o\u0308"
	if err := os.Symlink("a", filepath.Join(m.dir, "link")); err != nil {
		m.t.Fatal(err)
	}
	return map[string]string{
		"a deep one":           m.deep(filled(longestPath, same("/a"))),
		"many like ~1":         m.deep(filled(longestPath, same("/if~"))),
		"deep, composed":       m.deep(filled(longestPath, same(composed))),
		"deep, decomposed":     m.deep(filled(longestPath, same(decomposed))),
		"deep, in both forms":  m.deep(filled(longestPath*3/4, func(i int) string { return []string{u, o}[i%2] })),
		"one of 1 level":       m.deep("/d"),
		"deep, through a link": "/link" + filled(longestPath-len("/link"), same("/a")),
	}
}

// paths are requests with a long or deep path, wherever a path can stand.
func (m *measured) paths(yield func(raw) bool) {
	const aFileInIt = ", and a file in it"
	there := m.pathsThere()
	both, missing := there["deep, in both forms"], filled(longestPath, same("/%C3%B6"))
	paths := map[string]string{
		"long":                      filled(headerRoom, same("/a")),
		"long, of many":             filled(headerRoom, func(i int) string { return "/" + word(i) }),
		"long, like ~1":             filled(headerRoom, same("/if~")),
		"long, not ASCII":           filled(headerRoom, same("/%C3%A4")),
		"long, decomposed":          filled(headerRoom, same("/a%CC%88")),
		"long, escaped":             filled(headerRoom, same("/%61")),
		"long, of dots":             filled(headerRoom, same("/.")),
		"long, up and down":         filled(headerRoom, same("/a/..")),
		"long, empty":               filled(headerRoom, same("/")),
		"a query":                   "/f?" + filled(headerRoom, same("a=%61&")),
		"one segment":               "/" + filled(headerRoom, same("a")),
		"one segment, escaped":      "/" + filled(headerRoom, same("%C3%A4")),
		"one that nothing has":      filled(longestPath, same("/b")),
		"one like ~1":               filled(longestPath, same("/ifx~")),
		"one composed":              filled(longestPath*7/3, same("/%C3%A9")),
		"one decomposed":            filled(longestPath*2, same("/e%CC%81")),
		"composed for decomposed":   escaped(respelled(there["deep, decomposed"], "o\u0308", "\u00f6")),
		"decomposed for composed":   escaped(respelled(there["deep, composed"][:longestPath/4*3], "\u00e4", "a\u0308")),
		"composed for both":         escaped(respelled(both, "o\u0308", "\u00f6")),
		"each in the other form":    escaped(respelled(both, "o\u0308", "\u00f6", "\u00fc", "u\u0308")),
		"where half is":             there["a deep one"][:longestPath/2] + filled(longestPath/2, same("/b")),
		"where half is, composed":   escaped(there["deep, composed"][:600*len("/ä")]) + missing,
		"where half is, both forms": escaped(respelled(both[:200*len("/ü/o\u0308")], "o\u0308", "\u00f6")) + missing,
	}
	for what, path := range there {
		paths[what] = escaped(path)
		if len(path)+len("/new") > longestPath {
			path = path[:strings.LastIndexByte(path[:longestPath-len("/new")+1], '/')]
		}
		paths[what+aFileInIt] = escaped(path + "/new")
	}
	for _, what := range slices.Sorted(maps.Keys(paths)) {
		path := paths[what]
		send := func(place, method, target string, header ...string) bool {
			r := requestOf(place+": "+what, method, target, header, goodBody[method])
			r.deep = there[strings.TrimSuffix(what, aFileInIt)]
			return yield(r)
		}
		for _, method := range methodsOf(m.t) {
			header := "Depth: 0"
			if method == "COPY" || method == "MOVE" {
				header = "Destination: /to"
			}
			if !send("a path", method, path, header) {
				return
			}
		}
		for _, method := range []string{"COPY", "MOVE"} {
			if !send("a Destination", method, "/f", "Destination: "+path, "Overwrite: F") {
				return
			}
		}
		begin := path[:min(len(path), headerRoom/2)]
		many := filled(headerRoom, func(i int) string { return fmt.Sprintf(`<%s/%s> (["x"])`, begin, word(i)) })
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			if !send("If about a path", method, "/f", "If: <"+path+`> (["x"] <urn:x>)`) ||
				!send("If about many", method, "/f", "If: "+many) {
				return
			}
		}
	}
}

// methodsOf returns the methods that the handler knows.
func methodsOf(t *testing.T) (all []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "handler/handler.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "methods" {
			return true
		}
		for _, entry := range spec.Values[0].(*ast.CompositeLit).Elts {
			method, err := strconv.Unquote(entry.(*ast.KeyValueExpr).Key.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, method)
		}
		return false
	})
	if !slices.Contains(all, "PUT") || !slices.Contains(all, "PROPPATCH") {
		t.Fatalf("the methods are not found in handler.go: %q", all)
	}
	return all
}

var fieldName = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*(-[A-Za-z0-9]+)*$`)

// fieldsOf returns the fields of a header that the handler reads: all that has the form of a name, and is handed to a
// function, is in a list, or is looked up. A string that is no field does no harm.
func fieldsOf(t *testing.T) []string {
	t.Helper()
	found := map[string]bool{}
	for _, name := range []string{"If", "User-Agent", "Cookie", "Content-Type", "Expect", "Trailer", "TE", "Accept-Encoding"} {
		found[name] = true
	}
	note := func(all ...ast.Expr) {
		for _, e := range all {
			lit, ok := e.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				continue
			}
			if name, err := strconv.Unquote(lit.Value); err == nil && fieldName.MatchString(name) && name != strings.ToUpper(name) {
				found[name] = true
			}
		}
	}
	for _, pattern := range []string{"handler/*.go", "handler/*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					if !isWritten(n) {
						note(n.Args...)
					}
				case *ast.IndexExpr:
					note(n.Index)
				case *ast.CompositeLit:
					note(n.Elts...)
				case *ast.KeyValueExpr:
					key, ok := n.Key.(*ast.Ident)
					return !ok || key.Name != "ExposedHeaders" // they are in answers
				}
				return true
			})
		}
	}
	for _, name := range []string{"Destination", "If-Match", "X-OC-Mtime", "Repr-Digest", "Forwarded", "Overwrite", "Timeout",
		"Want-Content-Digest", "Lock-Token", "OC-Checksum", "Prefer", "Range", "If-Range", "Depth", "X-Forwarded-Host"} {
		if !found[name] {
			t.Fatalf("the field %s is not found in the source: %q", name, slices.Sorted(maps.Keys(found)))
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// isWritten reports whether a call sets a field of an answer.
func isWritten(call *ast.CallExpr) bool {
	f, ok := call.Fun.(*ast.SelectorExpr)
	return ok && (f.Sel.Name == "Set" || f.Sel.Name == "Add" || f.Sel.Name == "Del")
}

// fieldValues are those of a field, in every grammar that one has.
func fieldValues(room int) map[string]string {
	tagged := min(room, 30<<10)
	return map[string]string{
		"one word":             filled(room, same("a")),
		"a list":               filled(room, same("a,")),
		"a list of many":       filled(room, func(i int) string { return word(i) + "," }),
		"commas":               filled(room, same(",")),
		"spaces":               "a" + filled(room, same(" ")) + "a",
		"one quoted":           `"` + filled(room, same("a")) + `"`,
		"tags":                 filled(room, same(`"",`)),
		"many tags":            filled(room, func(i int) string { return `"` + word(i) + `", ` }),
		"weak tags":            filled(room, same(`W/"a",`)),
		"parameters":           "a" + filled(room, same(";a=b")),
		"many parameters":      "a" + filled(room, func(i int) string { return ";" + word(i) + "=b" }),
		"a dictionary":         filled(room, func(i int) string { return word(i) + "=1, " }),
		"one key, many values": filled(room, same("sha-256=1, ")),
		"digests":              filled(room, same("md5=:AAAAAAAAAAAAAAAAAAAAAA==:, ")),
		"checksums":            filled(room, same("MD5:00000000000000000000000000000000 ")),
		"media types":          filled(room, func(i int) string { return word(i) + "/" + word(i) + ";q=0.5," }),
		"stations":             filled(room, same("for=127.0.0.1;host=a,")),
		"addresses":            filled(room, same("127.0.0.1,")),
		"many hosts":           filled(room, func(i int) string { return word(i) + ".example," }),
		"ranges":               "bytes=" + filled(room, same("0-0,")),
		"lists of tokens":      filled(room, func(i int) string { return "(<a:" + word(i) + ">)" }),
		"one list of tokens":   "(" + filled(room, func(i int) string { return "<a:" + word(i) + ">" }) + ")",
		"lists of tags":        filled(room, func(i int) string { return `(["` + word(i) + `"])` }),
		"one list of tags":     "(" + filled(room, func(i int) string { return `["` + word(i) + `"]` }) + ")",
		"one list of Not":      "(" + filled(room, same("Not<a:b>")) + ")",
		"resources":            filled(room, func(i int) string { return "</" + word(i) + ">(<a:b>)" }),
		"few lists of tokens":  few(990, room, func(i int) string { return "(<a:" + word(i) + "~>)" }),
		"few lists of tags":    few(990, room, func(i int) string { return `(["` + word(i) + `~"])` }),
		"few lists of a few":   few(990, room, func(i int) string { return `(["` + word(i) + `~"]<a:` + word(i) + `>Not<a:b>)` }),
		"a list of a few":      "(" + few(3900, room, func(i int) string { return `["` + word(i) + `~"]` }) + ")",
		"few resources":        few(99, tagged, func(i int) string { return "</" + word(i) + "~>(<a:b>)" }),
		"few URLs":             few(99, tagged, func(i int) string { return "<http://127.0.0.1/" + word(i) + "~>(<a:b>)" }),
		"one URL, many times":  few(990, room, func(i int) string { return `<http://127.0.0.1/a>(["` + word(i) + `~"])` }),
		"parentheses":          filled(room, same("(")),
		"open ones":            filled(room, same("<")),
		"numbers":              filled(room, same("1")),
		"seconds":              filled(room, same("Second-a,")),
		"not ASCII":            filled(room, same("\xe4")),
		"backslashes":          `a="` + filled(room, same(`\\`)) + `"`,
		"percents":             "/" + filled(room, same("%25")),
	}
}

// thin selects one value of three. Without -thorough, only these are tried as values for a PUT, and as pairs.
const thin = 3

// headers are requests of which one field takes all the room.
func (m *measured) headers(yield func(raw) bool) {
	const parts = 24 // without -thorough, each value is tried with one method of 24
	shapes := fieldValues(headerRoom)
	for _, field := range fieldsOf(m.t) {
		lines := strings.Fields(filled(headerRoom, same(field+":a ")))
		for i, method := range methodsOf(m.t) {
			for j, what := range slices.Sorted(maps.Keys(shapes)) {
				every := parts
				switch {
				case field == "If" || *thorough:
					every = 1
				case method == "PUT":
					every = thin
				}
				if (i+j)%every != 0 {
					continue
				}
				if !yield(requestOf(field+" of "+what, method, "/f", []string{field + ": " + shapes[what]}, badBody[method])) {
					return
				}
			}
			if !yield(requestOf(field+" in many lines", method, "/f", lines, badBody[method])) {
				return
			}
		}
		for j, what := range slices.Sorted(maps.Keys(shapes)) { // of the fields that are read before a refusal
			if !*thorough && j%thin != 0 {
				continue
			}
			header := []string{field + ": " + shapes[what]}
			if !yield(requestOf(field+" of "+what+", and nothing is there", "GET", "/no", header, nil)) {
				return
			}
		}
	}
	for _, what := range slices.Sorted(maps.Keys(shapes)) {
		header := []string{"Origin: https://app.example", "Access-Control-Request-Method: PUT",
			"Access-Control-Request-Headers: " + shapes[what]}
		if !yield(requestOf("a preflight of "+what, "OPTIONS", "/f", header, nil)) {
			return
		}
	}
}

// pairs are requests of which two fields share the room, as the work for each part of the one may grow with the other.
func (m *measured) pairs(yield func(raw) bool) {
	const room = headerRoom / 2
	shapes := fieldValues(room)
	first := []string{
		"If: " + shapes["few URLs"],
		"If: " + shapes["one URL, many times"],
		"If-Match: " + shapes["many tags"],
		`If-Match: "x"`,
		"User-Agent: " + shapes["one word"],
		"Destination: http://127.0.0.1/" + filled(4000, same("a/")) + "a",
	}
	second := []string{"a list of many", "many hosts", "stations", "many tags", "few resources", "lists of tokens",
		"addresses", "a dictionary"}
	for i, field := range fieldsOf(m.t) {
		for j, line := range first {
			if with, _, _ := strings.Cut(line, ":"); with == field {
				continue
			}
			for k, what := range second {
				if !*thorough && (i+j+k/2)%thin != 0 {
					continue
				}
				method, header := "PUT", []string{line, field + ": " + shapes[what]}
				if (i+j+k)%2 == 0 {
					method = "MOVE"
					if field != "Destination" && !strings.HasPrefix(line, "Destination:") {
						header = append(header, "Destination: /to")
					}
				}
				if !yield(requestOf(fmt.Sprintf("%.40s… and %s of %s", line, field, what), method, "/f", header, badBody[method])) {
					return
				}
			}
		}
	}
}
