package compare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// siteOf is a site of a handler, on an empty directory.
func siteOf(t *testing.T, h http.HandlerFunc) *site {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	s := &site{
		comparison: &comparison{scale: quickScale, log: io.Discard}, server: &peerServer, workload: &workload{}, result: &result{},
		dir: t.TempDir(), addr: strings.TrimPrefix(server.URL, "http://"),
	}
	s.scale.seconds = 0.01
	t.Cleanup(func() {
		for _, c := range s.conns {
			c.close()
		}
	})
	return s
}

var peerServer = server{name: "peer"}

func TestMedianAndPercentile(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 100}, 3}} {
		if got := median(test.values); got != test.want {
			t.Errorf("the median of %v is %v, not %v", test.values, got, test.want)
		}
	}
	var times []time.Duration
	for i := range 200 {
		times = append(times, time.Duration(i+1)*time.Millisecond)
	}
	for percent, want := range map[int]float64{50: 100, 99: 198, 100: 200} {
		if got := percentile(times, percent); got != want {
			t.Errorf("%d %% are within %v ms, not %v", percent, got, want)
		}
	}
	if got := percentile(times[:1], 50); got != 1 {
		t.Errorf("half of one are within %v ms", got)
	}
}

// TestRatiosAreOfTheSameRound has a machine that is slower in each round: the ratio of medians would be another one.
func TestRatiosAreOfTheSameRound(t *testing.T) {
	of, to := &result{Values: []float64{2, 4, 100}}, &result{Values: []float64{1, 1, 50}}
	if got := ratio(of, to); got != 2 {
		t.Errorf("the ratio is %v, not 2", got)
	}
	if got := ratio(nil, to); got != 0 {
		t.Errorf("without figures of ours the ratio is %v", got)
	}
	if got := ratio(of, &result{Values: []float64{1, 0, 1}}); got != 0 {
		t.Errorf("to a figure of nothing the ratio is %v", got)
	}
}

func listing(hrefs ...string) []byte {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">`)
	for _, href := range hrefs {
		fmt.Fprintf(&b, `<D:response><D:href>%s</D:href><D:propstat><D:prop><D:getcontentlength>1024</D:getcontentlength>`+
			`<D:getlastmodified>x</D:getlastmodified><D:resourcetype/><D:getetag>"t"</D:getetag></D:prop>`+
			`<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>`, href)
	}
	b.WriteString(`</D:multistatus>`)
	return []byte(b.String())
}

func TestListingsAreReadInFull(t *testing.T) {
	whole := listing("/d/", "/d/file-00000", "/d/file-00001")
	for _, test := range []struct {
		name   string
		body   []byte
		tags   int
		refuse string
	}{
		{name: "whole", body: whole, tags: 2},
		{name: "absolute", body: listing("http://h:1/d", "http://h:1/d/file-00000", "/d/file-00001"), tags: 2},
		{name: "without tags", body: bytes.ReplaceAll(whole, []byte(`<D:getetag>"t"</D:getetag>`), nil)},
		{name: "one is missing", body: listing("/d/", "/d/file-00000"), refuse: "missing"},
		{name: "one twice", body: listing("/d/", "/d/file-00000", "/d/file-00001", "/d/file-00001"), refuse: "twice"},
		{name: "one more", body: listing("/d/", "/d/file-00000", "/d/file-00001", "/d/more"), refuse: "not made"},
		{name: "another directory", body: listing("/e/file-00000"), refuse: "not in"},
		{name: "another size", body: bytes.Replace(whole, []byte("1024"), []byte("1025"), 2), refuse: "lacks"},
		{name: "a status that is none", body: bytes.Replace(whole, []byte("200 OK"), []byte("404 No"), 2), refuse: "lacks"},
		{name: "cut off", body: whole[:len(whole)-9], refuse: "multistatus"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tags, err := checkListing(test.body, "/d/", 2)
			if test.refuse == "" && (err != nil || tags != test.tags) {
				t.Errorf("%d tags, %v", tags, err)
			}
			if test.refuse != "" && (err == nil || !strings.Contains(err.Error(), test.refuse)) {
				t.Errorf("the error is %v, without %q", err, test.refuse)
			}
		})
	}
}

func TestLargeBodiesAreCompared(t *testing.T) {
	const size = 3 << 20
	right, err := io.ReadAll(io.LimitReader(&repeated{}, size))
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at int) []byte {
		b := bytes.Clone(right)
		b[at]++
		return b
	}
	for _, test := range []struct {
		name  string
		body  []byte
		whole bool
		ok    bool
	}{
		{"right", right, true, true},
		{"right, in part", right, false, true},
		{"the last byte", changed(size - 1), true, false},
		{"the first byte of a piece", changed(256 << 10), false, false},
		{"short", right[:size-1], true, false},
		{"long", append(bytes.Clone(right), 0), false, false},
		{"moved by a page", append(bytes.Clone(right[4096:]), right[:4096]...), false, false},
	} {
		if err := checkBig(bytes.NewReader(test.body), -1, size, test.whole); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestLostUpdatesAreCounted has a server that acknowledges each write, and keeps the first one only.
func TestLostUpdatesAreCounted(t *testing.T) {
	s := siteOf(t, nil)
	if err := fillCounters(s); err != nil {
		t.Fatal(err)
	}
	var acknowledged atomic.Int64
	served := siteOf(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"always"`)
		if r.Method == http.MethodGet {
			w.Write(counterBody(0, "nobody"))
			return
		}
		if r.Header.Get("If-Match") != `"always"` {
			t.Errorf("a PUT without the version that it replaces")
		}
		acknowledged.Add(1)
		w.WriteHeader(http.StatusNoContent)
	})
	s.addr = served.addr
	if _, err := race(t.Context(), s, 0); err != nil {
		t.Fatal(err)
	}
	if err := verifyRace(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if *s.result.Lost != acknowledged.Load() || *s.result.Lost == 0 {
		t.Errorf("%d updates were lost, and %d were counted", acknowledged.Load(), *s.result.Lost)
	}
	s.server = &server{name: ours, ours: true}
	if err := verifyRace(t.Context(), s); err == nil {
		t.Error("a lost update of ours is no error")
	}
}

func TestAcknowledgedWritesAreLookedFor(t *testing.T) {
	for _, test := range []struct {
		name string
		keep func(dir, name string, body []byte) error
		ok   bool
	}{
		{"stored", func(dir, name string, body []byte) error { return os.WriteFile(filepath.Join(dir, name), body, 0o666) }, true},
		{"not stored", func(string, string, []byte) error { return nil }, false},
		{"other content", func(dir, name string, body []byte) error {
			return os.WriteFile(filepath.Join(dir, name), body[1:], 0o666)
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s *site
			s = siteOf(t, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err == nil {
					err = test.keep(s.dir, r.URL.Path, body)
				}
				if err != nil {
					t.Error(err)
				}
				w.WriteHeader(http.StatusCreated)
			})
			if _, err := putNew(t.Context(), s, 0); err != nil {
				t.Fatal(err)
			}
			if err := verifyStored(t.Context(), s); (err == nil) != test.ok {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestWrongAnswersAreErrors(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		batch  func(s *site) error
	}{
		{"another body", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("other")) },
			func(s *site) error { _, err := getFiles(t.Context(), s, 0); return err }},
		{"another status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) },
			func(s *site) error { _, err := getFiles(t.Context(), s, 0); return err }},
		{"200 for 304", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("body")) },
			func(s *site) error { s.tags = []string{`"t"`}; _, err := revalidate(t.Context(), s, 0); return err }},
		{"a refused PUT", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusLocked) },
			func(s *site) error { _, err := putNew(t.Context(), s, 0); return err }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := siteOf(t, test.answer)
			if err := fillFiles(8, 2)(s); err != nil {
				t.Fatal(err)
			}
			if err := test.batch(s); err == nil {
				t.Error("there is no error")
			}
		})
	}
}

// TestClientComesAgain has a server that closes each connection after its first answer without a word, as servers do with
// idle ones.
func TestClientComesAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var connections atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			c.Read(make([]byte, 1000))
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			c.Close()
		}
	}()
	c := newConn(l.Addr().String())
	defer c.close()
	for range 3 {
		a, err := c.do(&message{method: "GET", path: "/"})
		if err != nil || string(a.body) != "ok" {
			t.Fatalf("%v, %v", a, err)
		}
	}
	if n := connections.Load(); n != 3 {
		t.Errorf("there were %d connections", n)
	}
}

// TestClientTrustsNoHalfAnswer has a server that breaks off: the request must not be sent again.
func TestClientTrustsNoHalfAnswer(t *testing.T) {
	var requests atomic.Int64
	s := siteOf(t, func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) == 2 {
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("half"))
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		w.Write([]byte("ok"))
	})
	c := s.connections(1)[0]
	if _, err := c.do(&message{method: "GET", path: "/"}); err != nil {
		t.Fatal(err)
	}
	if a, err := c.do(&message{method: "GET", path: "/"}); err == nil {
		t.Errorf("half an answer is taken for %q", a.body)
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestPageKeepsWhatIsAroundTheTables(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("before\n"+pageBegins+"old\n"+pageEnds+"\nafter\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for range 2 { // again, as with the next run
		if err := replaceBetween(page, "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if want := "before\n" + pageBegins + "\nnew\n\n" + pageEnds + "\nafter\n"; string(text) != want {
		t.Errorf("the page is %q", text)
	}
	if err := os.WriteFile(page, []byte("no marks"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := replaceBetween(page, "new"); err == nil {
		t.Error("a page without marks is written to")
	}
}

func TestReportTellsWhatIsMissing(t *testing.T) {
	c := &comparison{rounds: 1, servers: []*server{{name: ours}, {name: "peer"}, {name: "other"}}, scale: fullScale}
	w := &workload{name: "w", title: "A workload", unit: cpuEach}
	r := newReport(c)
	our, peer := &result{Server: ours}, &result{Server: "peer", Remark: "a remark"}
	our.note(w, sample{requests: 2, cpu: 8 * time.Millisecond, elapsed: time.Second, latencies: []time.Duration{time.Millisecond}})
	peer.note(w, sample{requests: 2, cpu: 2 * time.Millisecond, elapsed: time.Second, latencies: []time.Duration{time.Millisecond}})
	r.add(w, []*result{our, peer, {Server: "other", Failed: "it has no ETags\nand more"}})
	var out strings.Builder
	r.print(&out)
	for _, want := range []string{
		"| A workload | ms CPU | 4.00 | 1.00 (a remark) | – |", "| A workload | ms CPU | 1 | 4.00 | – |", "- A workload, other: it has no ETags\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %q in\n%s", want, out.String())
		}
	}
	text, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(text), `"ratio":4`) {
		t.Errorf("%v: %s", err, text)
	}
	if svg := string(r.plot()); strings.Count(svg, "<title>") != 2 || !strings.Contains(svg, "peer: 1.00 times the best") {
		t.Errorf("the plot is %s", svg)
	}
}

// TestReportIsReadAgain prints the figures of a file that a run has written. A server that has lost updates is no best one.
func TestReportIsReadAgain(t *testing.T) {
	w, lost := &workload{name: "race", title: "A race", unit: rate}, int64(3)
	r := newReport(&comparison{rounds: 1, servers: []*server{{name: ours}, {name: "peer"}}, scale: fullScale})
	our, peer := &result{Server: ours}, &result{Server: "peer", Lost: &lost}
	one := sample{requests: 10, elapsed: time.Second, latencies: []time.Duration{time.Millisecond}}
	our.note(w, one)
	one.requests = 40
	peer.note(w, one)
	r.add(w, []*result{our, peer})
	dir := t.TempDir()
	out := outputs{json: filepath.Join(dir, "json"), svg: filepath.Join(dir, "svg")}
	var first, again strings.Builder
	if err := out.write(r, &first); err != nil {
		t.Fatal(err)
	}
	if err := Main(t.Context(), []string{"-from", out.json, "-svg", out.svg}, &again, io.Discard); err != nil {
		t.Fatal(err)
	}
	if first.String() != again.String() || !strings.Contains(again.String(), "| A race | /s | 10.0 | 40.0 |") {
		t.Errorf("it is\n%s\nand then\n%s", first.String(), again.String())
	}
	svg, err := os.ReadFile(out.svg)
	if err != nil || !strings.Contains(string(svg), "ifmatch: 1.00 times") || !strings.Contains(string(svg), `fill-opacity="0"`) {
		t.Errorf("%v: %s", err, svg)
	}
}
