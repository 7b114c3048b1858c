package handler

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	iofs "io/fs"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// told reads a multistatus: the status of each href, and of those told by propstat that of the first.
func told(t testing.TB, body []byte) (hrefs []string, statuses map[string]string) {
	t.Helper()
	var m struct {
		Responses []struct {
			Href     string   `xml:"href"`
			Status   string   `xml:"status"`
			Propstat []string `xml:"propstat>status"`
		} `xml:"response"`
	}
	if err := xml.Unmarshal(body, &m); err != nil {
		t.Fatalf("%v in\n%s", err, body)
	}
	statuses = map[string]string{}
	for _, r := range m.Responses {
		status := append(r.Propstat, r.Status)[0]
		hrefs, statuses[r.Href] = append(hrefs, r.Href), strings.TrimPrefix(status, "HTTP/1.1 ")
	}
	return hrefs, statuses
}

// A member that cannot be read has its own status, however the listing comes to it, and all other members are listed.
func TestUnreadableMemberDoesNotBreakTheListing(t *testing.T) {
	var closed atomic.Bool
	before := func(c vfs.Call) error {
		if c.Op == "open" && c.Name == "d/closed" && closed.Load() {
			return iofs.ErrPermission
		}
		return nil
	}
	layout := []string{"d/", "d/a=1", "d/closed/", "d/closed/x=1", "d/e/", "d/e/secret=1", "d/z=1"}
	h := inMemoryWith(t, fs.Options{Before: before}, Config{}, layout...)
	closed.Store(true)
	const ok, no = "200 OK", "403 Forbidden"
	for _, tt := range []struct {
		about, depth, target string
		want                 map[string]string
	}{
		{"its properties are told where its members are not", "1", "/d/",
			map[string]string{"/d/": ok, "/d/a": ok, "/d/closed/": ok, "/d/e/": ok, "/d/z": ok}},
		{"a collection below", "infinity", "/d/",
			map[string]string{"/d/": ok, "/d/a": ok, "/d/closed/": no, "/d/e/": ok, "/d/e/secret": ok, "/d/z": ok}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			w := ask(t, h, "PROPFIND", tt.target, "", "Depth: "+tt.depth)
			if w.Code != webdav.StatusMulti {
				t.Fatalf("got %d: %s", w.Code, w.Body)
			}
			if _, got := told(t, w.Body.Bytes()); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	for _, depth := range []string{"1", "infinity"} {
		if w := ask(t, h, "PROPFIND", "/d/closed/", "", "Depth: "+depth); w.Code != http.StatusForbidden {
			t.Errorf("a collection that cannot be listed, Depth %s: got %d, want 403", depth, w.Code)
		}
	}
}

// A store that has nothing but one large collection, and watches how much of the answer is out when the next member is
// asked for.
type largeStore struct {
	tree.Store
	members int
	lag     func(told int)
}

var largeTime = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)

func (s largeStore) Try(_ context.Context, check tree.Condition) error { return check.Ask(largeView{}) }

type largeView struct{}

func (largeView) State(name string) (tree.State, error) {
	return tree.State{Name: name, Exists: true, Collection: true, Modified: largeTime}, nil
}
func (largeView) Locks(string) ([]tree.Lock, error)    { return nil, nil }
func (largeView) Covering(string) ([]tree.Lock, error) { return nil, nil }
func (largeView) Holds(string, string) (bool, error)   { return false, nil }

func (s largeStore) Stat(context.Context, string, tree.ReadOptions) (tree.State, error) {
	return largeView{}.State("")
}

func (s largeStore) List(_ context.Context, dir string, opts tree.ListOptions, cond tree.Condition) iter.Seq2[tree.State, error] {
	tag := tree.TagOf([32]byte{1})
	return func(yield func(tree.State, error) bool) {
		self, _ := largeView{}.State(dir)
		if err := cond.Ask(largeView{}); err != nil || !yield(self, err) || opts.Depth == 0 {
			return
		}
		for i := range s.members {
			s.lag(i)
			state := tree.State{Name: fmt.Sprintf("file %06d.txt", i), Exists: true, Tag: tag, Size: 4096, Modified: largeTime, Created: largeTime}
			if !yield(state, nil) {
				return
			}
		}
	}
}

// counter is a client that takes everything.
type counter struct {
	header http.Header
	status int
	bytes  int
}

func (c *counter) Header() http.Header         { return c.header }
func (c *counter) WriteHeader(status int)      { c.status = status }
func (c *counter) Write(p []byte) (int, error) { c.bytes += len(p); return len(p), nil }

// The answer is sent while the collection is read, so that memory does not grow with its length. halfListed is a
// store whose disk fails after the first member.
type halfListed struct{ tree.Store }

func (s halfListed) List(ctx context.Context, dir string, opts tree.ListOptions, cond tree.Condition) iter.Seq2[tree.State, error] {
	return func(yield func(tree.State, error) bool) {
		for m, err := range s.Store.List(ctx, dir, opts, cond) {
			_ = yield(m, err) && yield(tree.State{}, tree.ErrFailed)
			return
		}
	}
}

// An answer that has begun and cannot be ended is cut off, and the log says why.
func TestListingThatBreaksOffSaysWhy(t *testing.T) {
	for _, coding := range []string{"identity", "gzip"} {
		var log bytes.Buffer
		h, err := New(Config{Store: halfListed{storeInMemory(t, "a=", "b=")}, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if got := recover(); got != http.ErrAbortHandler {
					t.Errorf("%s: recovered %v, want http.ErrAbortHandler", coding, got)
				}
			}()
			ask(t, h, "PROPFIND", "/", "", "Depth: 1", "Accept-Encoding: "+coding)
		}()
		if want := "cut off: " + tree.ErrFailed.Error(); !strings.Contains(log.String(), want) {
			t.Errorf("%s: the log does not say %q: %s", coding, want, &log)
		}
	}
}

func TestListingStreams(t *testing.T) {
	const members, least, held = 100_000, 300, 64 << 10
	c := &counter{header: http.Header{}}
	store := largeStore{members: members, lag: func(told int) {
		if waiting := told*least - c.bytes; waiting > held {
			t.Fatalf("%d bytes wait when member %d is asked for", waiting, told)
		}
	}}
	newTestHandler(t, Config{Store: store}).ServeHTTP(c, depthOneRequest("/"))
	if c.status != webdav.StatusMulti || c.bytes < members*least {
		t.Fatalf("got %d with %d bytes", c.status, c.bytes)
	}
}

func depthOneRequest(target string) *http.Request {
	r := httptest.NewRequest("PROPFIND", "http://localhost"+target, nil)
	r.Header.Set("Depth", "1")
	return r
}

func TestListingIsCompressedForThoseWhoAcceptIt(t *testing.T) {
	layout := []string{"d/"}
	for i := range 50 {
		layout = append(layout, fmt.Sprintf("d/%d=x", i))
	}
	h := inMemory(t, Config{}, layout...)
	plain := ask(t, h, "PROPFIND", "/d/", "", "Depth: 1").Body.String()
	for _, tt := range []struct {
		about, accept string
		gzip          bool
	}{
		{"not asked for", "", false},
		{"gzip", "gzip", true},
		{"one of several", "br, gzip;q=0.5", true},
		{"refused", "gzip;q=0", false},
		{"another one", "br", false},
		{"as it is preferred", "identity, gzip;q=0.001", true},
	} {
		t.Run(tt.about, func(t *testing.T) {
			var accept []string
			if tt.accept != "" {
				accept = []string{"Accept-Encoding: " + tt.accept}
			}
			w := ask(t, h, "PROPFIND", "/d/", "", append(accept, "Depth: 1")...)
			if got := w.Header().Get("Content-Encoding") == "gzip"; got != tt.gzip {
				t.Fatalf("compressed: %v, want %v", got, tt.gzip)
			}
			if got := w.Header().Get("Vary"); got != "Accept-Encoding" {
				t.Errorf("Vary: %q", got)
			}
			body := io.Reader(w.Body)
			if tt.gzip {
				var err error
				if body, err = gzip.NewReader(body); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := io.ReadAll(body); string(got) != plain || err != nil {
				t.Errorf("got %d bytes, error %v, want what comes uncompressed", len(got), err)
			}
		})
	}
	if w := ask(t, h, "GET", "/d/0", "", "Accept-Encoding: gzip"); w.Header().Get("Content-Encoding") != "" || w.Header().Get("Vary") != "" {
		t.Errorf("content is compressed: %v", w.Header())
	}
	if w := ask(t, h, "GET", "/d/", "", "Accept-Encoding: gzip"); w.Header().Get("Content-Encoding") != "" {
		t.Errorf("a page is compressed: %v", w.Header())
	}
}

// Each collection comes before its members, and each resource once, however deep the tree is.
func TestDeepListingIsInOrder(t *testing.T) {
	layout := []string{"d/"}
	for name := "d"; len(layout) < 150; {
		layout = append(layout, name+"/f=1", name+"/e/", name+"/e/x=2", name+"/n/")
		name += "/n"
	}
	w := ask(t, newTestHandler(t, Config{Store: storeInMemory(t, layout...)}), "PROPFIND", "/d/", "", "Depth: infinity")
	hrefs, _ := told(t, w.Body.Bytes())
	if w.Code != webdav.StatusMulti || len(hrefs) != len(layout) {
		t.Errorf("got %d with %d resources, want %d", w.Code, len(hrefs), len(layout))
	}
	seen := map[string]bool{"/": true}
	for _, href := range hrefs {
		parent := href[:strings.LastIndex(strings.TrimSuffix(href, "/"), "/")+1]
		if !seen[parent] || seen[href] {
			t.Errorf("%s is told before its collection, or twice", href)
		}
		seen[href] = true
	}
}

// A small request that names many missing properties does not have a huge answer. Existing properties are sent for
// each member.
func TestWhatIsMissingIsToldWithinBounds(t *testing.T) {
	const members, least = 50_000, 300
	var names strings.Builder
	for i := range 1200 {
		fmt.Fprintf(&names, "<p%d/>", i)
	}
	for _, tt := range []struct {
		about, body string
		most        int // bytes
		missing     int // members of which all that is missing is told, at least
	}{
		{"many names", propfindOf(names.String() + "<getetag/>"), missingFree + 4*members*least, 10},
		{"many names beside all", `<propfind xmlns="DAV:"><allprop/><include>` + names.String() + `</include></propfind>`,
			missingFree + 4*members*1000, 10},
		{"some names, as clients ask", propfindOf("<getetag/><displayname/><getcontentlength/><quota-used-bytes/><x/><y/>"), members * 1000, members},
	} {
		t.Run(tt.about, func(t *testing.T) {
			c := &parts{counter: counter{header: http.Header{}}}
			r := depthOneRequest("/")
			r.Body = io.NopCloser(strings.NewReader(tt.body))
			newTestHandler(t, Config{Store: largeStore{members: members, lag: func(int) {}}}).ServeHTTP(c, r)
			if c.bytes > tt.most {
				t.Errorf("the answer has %d bytes, want %d at the most", c.bytes, tt.most)
			}
			if c.tags < members || c.missing < tt.missing {
				t.Errorf("%d members have their tag, and of %d it is told what is missing; want %d and %d", c.tags, c.missing, members, tt.missing)
			}
		})
	}
}

// parts counts some elements of an answer.
type parts struct {
	counter
	rest          []byte
	tags, missing int
}

func (c *parts) Write(p []byte) (int, error) {
	c.rest = append(c.rest, p...)
	end := bytes.LastIndex(c.rest, []byte("</D:response>"))
	if end >= 0 {
		c.tags += bytes.Count(c.rest[:end], []byte("</D:getetag>"))
		c.missing += bytes.Count(c.rest[:end], []byte("404 Not Found"))
		c.rest = append([]byte(nil), c.rest[end:]...)
	}
	return c.counter.Write(p)
}

// The owner of a lock is sent once, and not for each member that the lock covers.
func TestOwnerOfALockIsToldOnce(t *testing.T) {
	h := inMemory(t, Config{}, "d/", "d/a=1", "d/b=2", "d/e/", "d/e/c=3")
	owner := strings.Repeat("o", 1000)
	lock := `<lockinfo xmlns="DAV:"><lockscope><shared/></lockscope><locktype><write/></locktype><owner>` + owner + `</owner></lockinfo>`
	for _, target := range []string{"/d/", "/d/a"} {
		if w := ask(t, h, "LOCK", target, lock, "Depth: infinity"); w.Code != http.StatusOK {
			t.Fatalf("LOCK: %d", w.Code)
		}
	}
	for _, tt := range []struct {
		target, depth string
		owners, locks int
	}{{"/d/", "1", 2, 5}, {"/d/", "infinity", 2, 6}, {"/d/a", "0", 2, 2}, {"/d/e/", "1", 1, 2}} {
		body := ask(t, h, "PROPFIND", tt.target, propfindOf("<lockdiscovery/>"), "Depth: "+tt.depth).Body.String()
		if owners, locks := strings.Count(body, owner), strings.Count(body, "<D:activelock>"); owners != tt.owners || locks != tt.locks {
			t.Errorf("%s with Depth %s tells of %d owners and %d locks, want %d and %d", tt.target, tt.depth, owners, locks, tt.owners, tt.locks)
		}
	}
}
