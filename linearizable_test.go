package main

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Operations of many clients on a few names at once must look as if they happened one after the other. For every
// recorded history there must be an order of its operations, each at an instant between its request and its answer, in
// which a sequential tree would have given exactly these answers. A refusal has to be justified at such an instant as
// well as a success.
//
// The names are few, and so are the contents, so that equal bytes are everywhere. The model, like a tag, does not tell
// A from A after B. But of two guarded writers that make the same B of one A, it lets only one succeed.

const (
	places   = 3 // names that are fought for
	contents = 6 // that differ
	writers  = 10
	steps    = 25 // of each writer, in one history
)

// A content is the content of a name: 0 if nothing is there, unheardOf if no client has sent it, and untold in an answer that
// says nothing about the instant at which it was decided.
type content int

const (
	unheardOf content = -1
	untold    content = -2
)

func (c content) bytes() string { return fmt.Sprintf("content %d\n", c) }

func (c content) tag() string { return string(tree.TagOf(sha256.Sum256([]byte(c.bytes())))) }

// next is the content that guarded writers replace a content with: all use the same.
func (c content) next() content { return c%contents + 1 }

func contentOf(is func(content) bool) content {
	for c := content(1); c <= contents; c++ {
		if is(c) {
			return c
		}
	}
	return unheardOf
}

// tagged returns the content that has a tag: nothing has none.
func tagged(tag string) content {
	if tag == "" {
		return 0
	}
	return contentOf(func(c content) bool { return c.tag() == tag })
}

// An operation is one request about one or two names.
type operation struct {
	method      string
	name, to    int     // to: of COPY and MOVE
	body        content // of PUT
	match       content // the tag in If-Match, and in If-None-Match of a GET (0: none)
	byIf        bool    // the tag is not in If-Match but in If
	create      bool    // If-None-Match: *
	toMatch     content // the tag that If names for to (0: none)
	noOverwrite bool    // Overwrite: F
}

// An outcome is the result of an answer: its content is the body of a GET, and for other methods the content of the
// ETag. The zero value is that of an operation whose client was told nothing.
type outcome struct {
	status  int
	content content
}

// A world is the sequential tree.
type world [places]content

// do returns the world after an operation, and the answer. It is the whole specification.
func (w world) do(op operation) (world, outcome) {
	is, there := w[op.name], w[op.to]
	if is == 0 && op.method != "PUT" {
		return w, outcome{status: http.StatusNotFound}
	}
	switch op.method {
	case "GET":
		if op.match == is {
			return w, outcome{http.StatusNotModified, is}
		}
		return w, outcome{http.StatusOK, is}
	case "MOVE", "COPY":
		if op.match != 0 && is != op.match || op.toMatch != 0 && there != op.toMatch || op.noOverwrite && there != 0 {
			return w, outcome{status: http.StatusPreconditionFailed}
		}
		w[op.to] = is
		if op.method == "MOVE" {
			w[op.name] = 0
		}
		if there == 0 {
			return w, outcome{http.StatusCreated, is}
		}
		return w, outcome{http.StatusNoContent, is}
	}
	if op.match != 0 && is != op.match || op.create && is != 0 {
		return w, outcome{http.StatusPreconditionFailed, is}
	}
	w[op.name] = op.body // 0 of a DELETE
	if op.method == "PUT" && is == 0 {
		return w, outcome{http.StatusCreated, op.body}
	}
	return w, outcome{http.StatusNoContent, op.body}
}

var model = porcupine.Model{
	Init: func() any { return world{} },
	Step: func(state, input, output any) (bool, any) {
		after, answer := state.(world).do(input.(operation))
		told := output.(outcome)
		if told.content == untold {
			answer.content = untold
		}
		return told == outcome{} || answer == told, after
	},
	Hash: func(state any) (hash uint64) {
		for _, c := range state.(world) {
			hash = hash*(contents+1) + uint64(c)
		}
		return hash
	},
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%v → %d %d", input.(operation), output.(outcome).status, output.(outcome).content)
	},
}

func (op operation) String() string {
	text := fmt.Sprintf("%s %d", op.method, op.name)
	if op.method == "COPY" || op.method == "MOVE" {
		text += fmt.Sprintf(" to %d", op.to)
	}
	if op.method == "PUT" {
		text += fmt.Sprintf(" =%d", op.body)
	}
	for header, sent := range op.header("", dirs{}) {
		if header != "Destination" {
			text += " " + header + ":" + sent
		}
	}
	for c := content(1); c <= contents; c++ {
		text = strings.ReplaceAll(text, c.tag(), fmt.Sprint(int(c)))
	}
	return text
}

// dirs are the collections of the names, by name.
type dirs [places]string

func allIn(dir string) (in dirs) {
	for i := range in {
		in[i] = dir
	}
	return in
}

// header returns the header of an operation on the members of collections.
func (op operation) header(url string, in dirs) map[string]string {
	h := map[string]string{}
	switch {
	case op.match == 0:
	case op.method == "GET":
		h["If-None-Match"] = op.match.tag()
	case op.byIf:
		h["If"] = "([" + op.match.tag() + "])"
	default:
		h["If-Match"] = op.match.tag()
	}
	if op.create {
		h["If-None-Match"] = "*"
	}
	if op.method == "COPY" || op.method == "MOVE" {
		h["Destination"] = fmt.Sprintf("%s%s/%d", url, in[op.to], op.to)
	}
	if op.toMatch != 0 {
		h["If"] = fmt.Sprintf("<%s/%d> ([%s])", in[op.to], op.to, op.toMatch.tag())
	}
	if op.noOverwrite {
		h["Overwrite"] = "F"
	}
	return h
}

// ask sends an operation and reads the answer.
func (op operation) ask(t *testing.T, client *http.Client, url string, in dirs) outcome {
	var header []string
	for name, value := range op.header(url, in) {
		header = append(header, name, value)
	}
	body := ""
	if op.method == "PUT" {
		body = op.body.bytes()
	}
	status, tag, read := servertest.Send(t, client, op.method, fmt.Sprintf("%s%s/%d", url, in[op.name], op.name), body, header...)
	return op.outcome(t, status, tag, read)
}

// outcome returns the result of an answer, and judges what an answer alone can be wrong in.
func (op operation) outcome(t *testing.T, status int, tag, read string) outcome {
	answer := outcome{status, tagged(tag)}
	switch {
	case status == http.StatusForbidden: // no rule and no other program is there
		t.Errorf("%v: 403: %s", op, read)
	case status < 300 && op.method != "DELETE" && tag == "":
		t.Errorf("%v: %d without an ETag, and the body is %q", op, status, read) // no other program writes to these files
	case status == http.StatusOK && (answer.content == unheardOf || read != answer.content.bytes()):
		t.Errorf("%v: 200 with the ETag %s (of content %d) and the body %q", op, tag, answer.content, read)
	case status == http.StatusPreconditionFailed && (op.method == "COPY" || op.method == "MOVE"):
		answer.content = 0 // the tag is the source's, and may be looked up after the refusal was decided
	}
	return answer
}

// A writer is a client that remembers the last answer about each name.
type writer struct {
	heard world
	dice  *rand.Rand
}

// choose returns the next operation.
func (w *writer) choose() operation {
	name := w.dice.IntN(places)
	to := (name + 1 + w.dice.IntN(places-1)) % places
	heard := w.heard[name]
	look := operation{method: "GET", name: name}
	switch dice := w.dice.IntN(100); {
	case dice < 20:
		return look
	case dice < 25:
		look.match = heard
		return look
	case dice < 33:
		return operation{method: "PUT", name: name, body: content(1 + w.dice.IntN(contents))}
	case dice < 40 || heard == 0:
		return operation{method: "PUT", name: name, body: content(1 + w.dice.IntN(2)), create: true}
	case dice < 65:
		return operation{method: "PUT", name: name, body: heard.next(), match: heard, byIf: dice%2 == 0}
	case dice < 75:
		return operation{method: "DELETE", name: name, match: heard, byIf: dice%2 == 0}
	case dice < 83:
		return operation{method: "MOVE", name: name, to: to, match: heard, toMatch: w.heard[to], noOverwrite: w.heard[to] == 0}
	case dice < 90:
		return operation{method: "COPY", name: name, to: to, match: heard, toMatch: w.heard[to], noOverwrite: w.heard[to] == 0}
	case dice < 95:
		return operation{method: "MOVE", name: name, to: to}
	}
	return operation{method: "COPY", name: name, to: to}
}

// hear remembers an answer.
func (w *writer) hear(op operation, answer outcome) {
	switch {
	case answer.status == http.StatusNotFound:
		w.heard[op.name] = 0
	case answer.status == http.StatusPreconditionFailed && op.to != op.name && op.method != "PUT" && op.method != "DELETE":
		w.heard[op.name], w.heard[op.to] = 0, 0 // one of them: look again
	case op.method == "MOVE":
		w.heard[op.name], w.heard[op.to] = 0, answer.content
	case op.method == "COPY":
		w.heard[op.to] = answer.content
	default:
		w.heard[op.name] = answer.content
	}
}

// record has many writers fight for the names in a new collection, and returns all that was asked and answered. through is
// "", or a link to the root through which some of them read.
func record(t *testing.T, clients []*http.Client, url, dir, through string, seed uint64) []porcupine.Operation {
	if status, _, _ := servertest.Send(t, clients[0], "MKCOL", url+dir, ""); status != http.StatusCreated {
		t.Fatalf("MKCOL: %d", status)
	}
	return historyIn(t, clients, []string{url}, allIn(dir), allIn(through+dir), seed,
		func(op operation) operation { return op })
}

// linked is a link to the served directory, in the directory: each resource has a name through it too.
const linked = "/linked"

// linkTo makes a link that is served.
func linkTo(t *testing.T, target, dir, name string) {
	t.Helper()
	if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// historyIn has many writers fight for names, each at one of some servers. Every other writer reads through links, by the
// names in the collections through. adapt may make another operation of one that a writer has chosen.
func historyIn(
	t *testing.T, clients []*http.Client, urls []string, in, through dirs, seed uint64, adapt func(operation) operation,
) []porcupine.Operation {
	parts := make([][]porcupine.Operation, writers)
	start := time.Now()
	var group sync.WaitGroup
	for i := range parts {
		group.Go(func() {
			w := writer{dice: rand.New(rand.NewPCG(seed, uint64(i)))}
			for range steps {
				op, at := adapt(w.choose()), in
				if op.method == "GET" && i/2%2 == 1 {
					at = through
				}
				asked := time.Since(start)
				answer := op.ask(t, clients[i%len(clients)], urls[i%len(urls)], at)
				answered := time.Since(start)
				parts[i] = append(parts[i], porcupine.Operation{
					ClientId: i, Input: op, Call: int64(asked), Output: answer, Return: int64(answered)})
				w.hear(op, answer)
			}
		})
	}
	group.Wait()
	return slices.Concat(parts...)
}

// TestHistoriesAreLinearizable is about the server as the program puts it together, over real connections of HTTP/1.1
// and HTTP/2. It goes on for -contend, and does not wait for the disk in every other history, so that more happens at
// once.
func TestHistoriesAreLinearizable(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	for _, dir := range dirs {
		linkTo(t, ".", dir, linked)
	}
	full, client := serveConfig(t, Config{Dir: dirs[0], Durability: fs.Full})
	none, another := serveConfig(t, Config{Dir: dirs[1], Durability: fs.None})
	h2 := servertest.HTTP2Client(t)
	seed := rand.Uint64()
	statuses := map[string]int{}
	histories, slowest := 0, time.Duration(0)
	for end := time.Now().Add(*contend); histories < 2 || time.Now().Before(end); histories++ {
		url, clients := full, []*http.Client{client, h2}
		if histories%2 == 1 {
			url, clients = none, []*http.Client{another, h2}
		}
		recorded := record(t, clients, url, fmt.Sprint("/h", histories), linked, seed+uint64(histories))
		if t.Failed() {
			return
		}
		slowest = max(slowest, wantLinearizable(t, recorded, histories, seed))
		for _, op := range recorded {
			statuses[fmt.Sprint(op.Input.(operation).method, " ", op.Output.(outcome).status)]++
		}
	}
	t.Logf("%d histories of %d operations by %d clients on %d names are linearizable; the slowest took %v to check: %v",
		histories, writers*steps, writers, places, slowest, statuses)
}
