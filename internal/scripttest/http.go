package scripttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// A client holds the connections of a script and the last answer.
type client struct {
	last  *http.Response
	conns map[string]*servertest.Conversation
}

type clientKey struct{}

func clientOf(ts *testscript.TestScript) *client { return ts.Value(clientKey{}).(*client) }

func (c *client) closeAll() {
	for _, conn := range c.conns {
		conn.Close()
	}
}

// A request is a request of a script.
type request struct {
	servertest.Request
	output string // the file for the body of the answer
	http2  bool
}

func cmdHTTP(ts *testscript.TestScript, neg bool, args []string) {
	r, ok := parseRequest(ts, args)
	usage(ts, ok, "http METHOD TARGET [-h2] [Header:value]... [<FILE | =TEXT] [>FILE]")
	send := r.Send
	if r.http2 {
		send = r.SendHTTP2
	}
	answer, body, err := send()
	if neg {
		if err == nil {
			ts.Fatalf("there is an answer: %s", answer.Status)
		}
		return
	}
	ts.Check(err)
	clientOf(ts).last = answer
	if r.output != "" {
		ts.Check(os.WriteFile(ts.MkAbs(r.output), body, 0o666))
		body = nil
	}
	printAnswer(ts.Stdout(), answer, body)
}

func parseRequest(ts *testscript.TestScript, args []string) (r request, ok bool) {
	if len(args) < 2 {
		return r, false
	}
	r.Method, r.Target = args[0], args[1]
	r.Base = ts.Getenv("URL")
	if strings.HasPrefix(r.Target, "http") {
		r.Base, r.Target = r.Target, ""
	}
	scheme, rest, _ := strings.Cut(r.Base, "://")
	authority, path, _ := strings.Cut(rest, "/")
	r.Base = scheme + "://" + authority
	if r.Target == "" {
		r.Target = "/" + path
	}
	for _, arg := range args[2:] {
		switch {
		case arg == "-h2":
			r.http2 = true
		case arg[0] == '=':
			r.Body, r.HasBody = []byte(arg[1:]), true
		case arg[0] == '<':
			r.Body, r.HasBody = []byte(ts.ReadFile(arg[1:])), true
		case arg[0] == '>':
			r.output = arg[1:]
		case strings.Contains(arg, ":"):
			r.Header = append(r.Header, arg)
		default:
			return r, false
		}
	}
	return r, true
}

// printAnswer prints an answer for the patterns of a script. The random id of the request is not in it: some of its digits
// may be those that a script says do not come.
func printAnswer(to io.Writer, answer *http.Response, body []byte) {
	w := new(strings.Builder)
	fmt.Fprintf(w, "%s\n", answer.Status)
	for _, name := range slices.Sorted(maps.Keys(answer.Header)) {
		for _, value := range answer.Header[name] {
			fmt.Fprintf(w, "%s: %s\n", name, value)
		}
	}
	// net/http removes this field from the header.
	if answer.ContentLength >= 0 && answer.Header.Get("Content-Length") == "" {
		fmt.Fprintf(w, "Content-Length: %d\n", answer.ContentLength)
	}
	fmt.Fprintf(w, "\n%s", body)
	text := w.String()
	if id := answer.Header.Get("X-Request-Id"); id != "" {
		text = strings.ReplaceAll(text, id, "REQUEST")
	}
	_, _ = io.WriteString(to, text) // standard output of the script, in memory
}

func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "capture NAME Header")
	answer := clientOf(ts).last
	if answer == nil {
		ts.Fatalf("no request was sent yet")
	}
	value := answer.Header.Get(args[1])
	if value == "" {
		ts.Fatalf("the last answer has no %s", args[1])
	}
	ts.Setenv(args[0], value)
}

func cmdCertificate(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "certificate CERT KEY")
	ts.Check(servertest.WriteCertificate(ts.MkAbs(args[0]), ts.MkAbs(args[1])))
}

func cmdConn(ts *testscript.TestScript, neg bool, args []string) {
	const text = "conn NAME open FILE | send =TEXT | send <FILE | end | answer | close"
	usage(ts, len(args) >= 2 && (!neg || args[1] == "answer"), text)
	name, verb, rest := args[0], args[1], args[2:]
	c := clientOf(ts)
	if verb == "open" {
		usage(ts, len(rest) == 1, text)
		if c.conns[name] == nil {
			conn, err := servertest.Dial(ts.Getenv("URL"))
			ts.Check(err)
			c.conns[name] = conn
		}
		ts.Check(c.conns[name].Open([]byte(ts.ReadFile(rest[0]))))
		return
	}
	conn := c.conns[name]
	if conn == nil {
		ts.Fatalf("there is no connection %q", name)
	}
	switch {
	case verb == "send" && len(rest) == 1 && rest[0][0] == '=':
		_, err := io.WriteString(conn, rest[0][1:])
		ts.Check(err)
	case verb == "send" && len(rest) == 1 && rest[0][0] == '<':
		_, err := io.WriteString(conn, ts.ReadFile(rest[0][1:]))
		ts.Check(err)
	case verb == "end":
		half, ok := conn.Conn.(interface{ CloseWrite() error })
		usage(ts, ok, text)
		ts.Check(half.CloseWrite())
	case verb == "answer":
		printNext(ts, conn, neg)
	case verb == "close":
		delete(c.conns, name)
		ts.Check(conn.Close())
	default:
		usage(ts, false, text)
	}
}

func printNext(ts *testscript.TestScript, conn *servertest.Conversation, neg bool) {
	answer, body, err := conn.Answer()
	if neg {
		if err == nil {
			ts.Fatalf("there is an answer: %s", answer.Status)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			ts.Fatalf("the connection hangs")
		}
		return
	}
	ts.Check(err)
	clientOf(ts).last = answer
	printAnswer(ts.Stdout(), answer, body)
}

func cmdRaw(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 1, "raw FILE")
	conn, err := servertest.Dial(ts.Getenv("URL"))
	ts.Check(err)
	defer conn.Close()
	ts.Check(conn.Open([]byte(ts.ReadFile(args[0]))))
	printNext(ts, conn, neg)
}

func cmdFill(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "fill PATH SIZE")
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	r, _ := parseRequest(ts, []string{"PUT", args[0]})
	r.HasBody = true
	for n := 1; ; n++ {
		r.Target = args[0] + strconv.Itoa(n)
		r.Body = bytes.Repeat([]byte{byte(n)}, size)
		answer, body, err := r.Send()
		ts.Check(err)
		if answer.StatusCode/100 != 2 {
			ts.Logf("after %d files", n-1)
			printAnswer(ts.Stdout(), answer, body)
			return
		}
	}
}
