package handler

import (
	"bufio"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/handler/precondition"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// RFC 9110 §12.5.1: the types that a client accepts, and the one that it prefers.
func TestRefusalType(t *testing.T) {
	const (
		inJSON = "application/problem+json"
		inXML  = "application/xml; charset=utf-8"
		inText = "text/xml; charset=utf-8"
	)
	for _, tt := range []struct {
		about  string
		accept []string
		want   string
	}{
		{"nothing is said", nil, inJSON},
		{"anything", []string{"*/*"}, inJSON},
		{"anything of application", []string{"application/*"}, inJSON},
		{"empty", []string{""}, inJSON},
		{"XML", []string{"application/xml"}, inXML},
		{"XML, with what we would say", []string{"application/xml;charset=utf-8"}, inXML},
		{"XML as text", []string{"text/xml"}, inText},
		{"any text", []string{"text/*"}, inText},
		{"in any case", []string{"Application/XML"}, inXML},
		{"XML rather than the rest", []string{"application/xml, */*;q=0.1"}, inXML},
		{"as a browser says it", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, inXML},
		{"XML by weight", []string{"application/json;q=0.5, application/xml;q=0.6"}, inXML},
		{"JSON by weight", []string{"application/json;q=0.6, application/xml;q=0.5"}, inJSON},
		{"problem+json by weight", []string{"application/xml;q=0.5, application/problem+json;q=0.6"}, inJSON},
		{"anything but XML", []string{"application/xml;q=0, */*;q=0.1"}, inJSON},
		{"on several lines", []string{"text/plain", "application/xml"}, inXML},
		{"empty elements are ignored", []string{",application/xml,,"}, inXML},
		{"neither", []string{"text/plain"}, inJSON},
		{"malformed", []string{"application/xml;q=high"}, inJSON},
	} {
		w := ask(t, inMemory(t, Config{}), "GET", "/nothing", "", acceptLines(tt.accept)...)
		if got := w.Header().Get("Content-Type"); got != tt.want || w.Code != 404 {
			t.Errorf("%s: %q gives %d %q, want %q", tt.about, tt.accept, w.Code, got, tt.want)
		}
		if w.Header().Get("Vary") != "Accept" {
			t.Errorf("%s: Vary is %q", tt.about, w.Header().Values("Vary"))
		}
	}
}

func acceptLines(values []string) (lines []string) {
	for _, value := range values {
		lines = append(lines, "Accept: "+value)
	}
	return lines
}

// The XML has the same content as the JSON, in a DAV:error.
func TestRefusalInXML(t *testing.T) {
	w := ask(t, inMemory(t, Config{}, "f=hello"), "PUT", "/f", "x", "Accept: application/xml", "If-Match: \"<&>\xff\"")
	var got struct {
		XMLName xml.Name
		Problem struct {
			Title     string `xml:"title"`
			Status    int    `xml:"status"`
			Detail    string `xml:"detail"`
			Condition string `xml:"condition"`
			Want      string `xml:"want"`
			Resource  string `xml:"resource"`
			Exists    bool   `xml:"exists"`
			ETag      string `xml:"etag"`
			Size      int    `xml:"size"`
			Modified  string `xml:"modified"`
		} `xml:"urn:ietf:rfc:7807 problem"`
	}
	if err := xml.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	p := got.Problem
	if got.XMLName != (xml.Name{Space: "DAV:", Local: "error"}) || p.Title != "Precondition Failed" || p.Status != 412 || p.Detail == "" ||
		p.Condition != "If-Match" || p.Want != "\"<&>\uFFFD\"" || p.Resource != "/f" || !p.Exists || p.ETag != w.Header().Get("ETag") ||
		p.ETag == "" || p.Size != 5 || p.Modified != w.Header().Get("Last-Modified") {
		t.Errorf("got %s", w.Body)
	}
	if !strings.Contains(w.Body.String(), `<D:error xmlns:D="DAV:">`) {
		t.Errorf("the prefix that clients look for is not there: %s", w.Body)
	}

	w = ask(t, inMemory(t, Config{}, "f=hello"), "HEAD", "/f", "", "Accept: application/xml", `If-Match: "x"`)
	if w.Code != 412 || w.Body.Len() > 0 || w.Header().Get("ETag") == "" {
		t.Errorf("HEAD: %d %v %s", w.Code, w.Header(), w.Body)
	}
}

// RFC 7240 §2, as far as a dictionary goes.
func TestPreferred(t *testing.T) {
	for _, tt := range []struct {
		prefer []string
		want   string
	}{
		{nil, ""},
		{[]string{"return=representation"}, "representation"},
		{[]string{"return=minimal"}, "minimal"},
		{[]string{`return="representation"`}, "representation"},
		{[]string{"return=representation; foo=bar"}, "representation"},
		{[]string{"respond-async, wait=10, return=representation"}, "representation"},
		{[]string{"respond-async", "return=representation"}, "representation"},
		{[]string{"return"}, ""},
		{[]string{"return=()"}, ""},
		{[]string{"depth-noroot"}, ""},
		{[]string{"return=;"}, ""},
		{[]string{"return representation"}, ""},
	} {
		if got := preferred(http.Header{"Prefer": tt.prefer}, "return"); got != tt.want {
			t.Errorf("%q gives %q, want %q", tt.prefer, got, tt.want)
		}
	}
}

// A refusal as large as a file, to a client that sends as much and does not listen before it has: both get through.
func TestRepresentationToWhoIsStillSending(t *testing.T) {
	const size = 8 << 20 // more than all buffers on the way hold
	content := strings.Repeat("x", size)
	server := httptest.NewServer(inMemory(t, Config{}, "f="+content))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "PUT /f HTTP/1.1\r\nHost: localhost\r\nIf-Match: \"x\"\r\nPrefer: return=representation\r\nContent-Length: %d\r\n\r\n", size)
	if _, err := io.WriteString(conn, strings.Repeat("y", size)); err != nil {
		t.Fatalf("sending: %v", err)
	}
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if answer.StatusCode != 412 || string(body) != content || err != nil {
		t.Errorf("got %s and %d bytes: %v", answer.Status, len(body), err)
	}

	// The connection goes on.
	io.WriteString(conn, "HEAD /f HTTP/1.1\r\nHost: localhost\r\n\r\n")
	answer, err = http.ReadResponse(r, &http.Request{Method: "HEAD"})
	if err != nil || answer.StatusCode != 200 {
		t.Errorf("after it: %v, %v", answer, err)
	}
}

// TestRefusalsAreTrue: the sentence of a refusal is about what is there.
func TestRefusalsAreTrue(t *testing.T) {
	h := newTestHandler(t, Config{Store: storeInMemory(t, "f=f", "d/")})
	for _, tt := range []struct {
		method, target, header, want string
		status                       int
	}{
		{"MKCOL", "/f/x", "", "a file has its name", 409},
		{"PUT", "/f/x", "", "a file has its name", 409},
		{"PUT", "/none/x", "", "does not exist", 409},
		{"DELETE", "/", "", "the root of what is served cannot be removed", 403},
		{"PUT", "/f", "If:(<urn:x-ifmatch:sync:0.1.2:x>)", "something has changed there since the sync token in If", 412},
		{"PUT", "/new", "If:(<urn:uuid:0>)", "the locks are not those in If", 412},
		{"PUT", "/f", "If:(<urn:uuid:0>)", "the locks are not those in If", 412},
		{"PUT", "/new", `If:(["x"])`, "nothing is there, and If expects a version", 412},
	} {
		got := ask(t, h, tt.method, tt.target, bodyOf(tt.method), strings.Fields(tt.header)...)
		if got.Code != tt.status || !strings.Contains(got.Body.String(), tt.want) {
			t.Errorf("%s %s with %s: %d, want %d with %q: %s", tt.method, tt.target, tt.header, got.Code, tt.status, tt.want, got.Body)
		}
	}
}

// A goingStore knows no tags for decisions, and a file goes when a condition about it was false.
type goingStore struct{ tree.Store }

func (s goingStore) Try(ctx context.Context, cond tree.Condition) error {
	err := s.Store.Try(ctx, cond)
	var failed *precondition.Failed
	if errors.As(err, &failed) {
		failed.Have.Tag = ""
		err = errors.Join(err, s.Store.Remove(ctx, failed.Name, tree.Condition{}))
	}
	return err
}

// TestRefusalOfAFileThatIsGone: the tag of a refusal may be looked up after the decision, when the file is not there any
// more.
func TestRefusalOfAFileThatIsGone(t *testing.T) {
	for _, tt := range []struct{ header, want string }{
		{"If-None-Match: *", "something was there, and has gone since; nothing has changed; send it again"},
		{"If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT", "nothing is there, and If-Unmodified-Since expects a version"},
	} {
		h := newTestHandler(t, Config{Store: goingStore{storeInMemory(t, "f=f")}})
		got := ask(t, h, "PUT", "/f", "new", tt.header)
		if got.Code != 412 || got.Header().Get("ETag") != "" || !strings.Contains(got.Body.String(), tt.want) {
			t.Errorf("%s: %d %q, want %q: %s", tt.header, got.Code, got.Header().Get("ETag"), tt.want, got.Body)
		}
	}
}

// TestEachErrorOfTheContractHasAStatus: only what a disk has done to a change is a fault of the server (500).
func TestEachErrorOfTheContractHasAStatus(t *testing.T) {
	source, err := os.ReadFile("../tree/errors.go")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]error{
		"ErrNotExist": tree.ErrNotExist, "ErrExist": tree.ErrExist, "ErrPermission": tree.ErrPermission, "ErrLink": tree.ErrLink,
		"ErrNoParent": tree.ErrNoParent, "ErrIsCollection": tree.ErrIsCollection, "ErrSame": tree.ErrSame, "ErrNested": tree.ErrNested,
		"ErrReserved": tree.ErrReserved, "ErrBadName": tree.ErrBadName, "ErrNameTooLong": tree.ErrNameTooLong, "ErrNoLock": tree.ErrNoLock,
		"ErrBusy": tree.ErrBusy, "ErrChanged": tree.ErrChanged, "ErrSegmentLong": tree.ErrSegmentLong, "ErrNoSpace": tree.ErrNoSpace,
		"ErrReadOnly": tree.ErrReadOnly, "ErrTime": tree.ErrTime, "ErrUnsupported": tree.ErrUnsupported, "ErrNotServed": tree.ErrNotServed,
		"ErrTooLarge": tree.ErrTooLarge, "ErrUnavailable": tree.ErrUnavailable,
		"ErrUnsure": nil, "ErrFailed": nil, // of the disk
		"ErrTagUnknown": nil, "ErrTooMany": nil, // told by others than statusOf, if at all
	}
	names := regexp.MustCompile(`(?m)^\t(Err\w+) +=`).FindAllStringSubmatch(string(source), -1)
	if len(names) != len(known) {
		t.Errorf("there are %d errors, and %d are known here", len(names), len(known))
	}
	for _, name := range names {
		err, ok := known[name[1]]
		if !ok {
			t.Errorf("%s is not known here", name[1])
		} else if status, _ := statusOf(err); err != nil && status == 500 {
			t.Errorf("%s is answered 500", name[1])
		}
	}
}
