package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

var (
	swaps     = flag.Int("swaps", 6, "how often a site is published, in TestReadersOfASiteThatIsPublished")
	swapEvery = flag.Duration("swap-every", 0, "the pause between two publications, in the same test")
)

// A readSite is a site that is published while it is read.
type readSite struct {
	*testing.T
	server *servertest.Server
	client *http.Client
	walks  atomic.Int64
	old    atomic.Int64 // scripts of a build that was displaced before they were asked for
}

func (s *readSite) get(path string) (status int, body string, header http.Header) {
	request, err := http.NewRequest("GET", s.server.URL+path, nil)
	if err != nil {
		s.Error(err)
		return 0, "", nil
	}
	request.Host = "www.example"
	answer, err := s.client.Do(request)
	if err != nil {
		s.Error(err)
		return 0, "", nil
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		s.Error(err)
	}
	return answer.StatusCode, string(data), answer.Header
}

// publish sends a build beside the site, and moves it over the site.
func (s *readSite) publish(build int) {
	s.Helper()
	put := func(name, content string) {
		servertest.Want(s.T, s.client, 201, "PUT", s.server.URL+"/next/"+name, content)
	}
	servertest.Want(s.T, s.client, 201, "MKCOL", s.server.URL+"/next", "")
	put("index.html", fmt.Sprintf("<p>build %d<script src=app.%08xaa11.js></script>", build, build))
	put(fmt.Sprintf("app.%08xaa11.js", build), fmt.Sprintf("build %d", build))
	status, _, _ := servertest.Send(s.T, s.client, "MOVE", s.server.URL+"/next", "", "Destination", s.server.URL+"/www")
	if status != 201 && status != 204 {
		s.Fatalf("build %d: %d", build, status)
	}
}

var pageOfBuild = regexp.MustCompile(`<p>(build \d+)<script src=(app\.[0-9a-f]+\.js)>`)

// walk reads the page, and returns what reads its script, which must be of the same build.
func (s *readSite) walk() (script func()) {
	status, page, _ := s.get("/")
	found := pageOfBuild.FindStringSubmatch(page)
	if status != 200 || found == nil {
		s.Errorf("the page: %d %q", status, page)
		return func() {}
	}
	return func() {
		status, script, header := s.get("/" + found[2])
		if status != 200 || script != found[1] {
			s.Errorf("the script of %s: %d %q", found[1], status, script)
		}
		if !strings.Contains(header.Get("Cache-Control"), "immutable") {
			s.old.Add(1)
		}
		s.walks.Add(1)
	}
}

// A reader whose page was loaded before a publication, or before several, finds its scripts for the time of grace, and
// no page has parts of two builds.
func TestReadersOfASiteThatIsPublished(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "www"), 0o777); err != nil {
		t.Fatal(err)
	}
	server, err := servertest.Start(servertest.Command("--site", "www.example=/www", "--publish-grace", "1h",
		"--durability", "none", dir))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop(false)
	s := &readSite{T: t, server: server, client: servertest.Client(t)}
	s.publish(0)
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				s.walk()()
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	var later []func() // the scripts of pages that were loaded one or two publications ago
	for build := 1; build <= *swaps; build++ {
		later = append(later, s.walk())
		s.publish(build)
		time.Sleep(*swapEvery) // 0 but in .ci/long: a pace, and no wait for anything
		for len(later) > 1 || build == *swaps && len(later) > 0 {
			later[0]()
			later = later[1:]
		}
	}
	close(done)
	readers.Wait()
	if n := s.old.Load(); n < int64(*swaps) {
		t.Errorf("%d scripts of displaced builds were read, want %d at least", n, *swaps)
	}
	t.Logf("%d publications, %d pages with their scripts, %d scripts of displaced builds",
		*swaps, s.walks.Load(), s.old.Load())
}
