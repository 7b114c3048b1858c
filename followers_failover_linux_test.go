package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	iofs "io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// A patientTransport sends each read to the next replica, until one of them answers it.
type patientTransport struct {
	f    *fleet
	base *http.Transport
}

func (p patientTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	for end := time.Now().Add(servertest.Patience); ; time.Sleep(20 * time.Millisecond) {
		answer, err := p.try(r)
		if err == nil && answer.StatusCode == http.StatusServiceUnavailable {
			answer.Body.Close()
			err = fmt.Errorf("%s", answer.Status)
		}
		if err == nil || time.Now().After(end) || r.Context().Err() != nil {
			return answer, err
		}
	}
}

// try asks the next replica. What is no stream of events has come as a whole when it returns.
func (p patientTransport) try(r *http.Request) (*http.Response, error) {
	at, err := url.Parse(p.f.url())
	if err != nil {
		return nil, err
	}
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.Host = at.Scheme, at.Host, ""
	if r.GetBody != nil {
		if out.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	answer, err := p.base.RoundTrip(out)
	if err != nil || strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") {
		return answer, err
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, err
}

// A syncing client has the members of a collection, and asks what has changed since.
type syncing struct {
	s     *followedServer
	path  string
	token string
	has   map[string]string
}

// ask asks once.
func (c *syncing) ask() {
	c.s.t.Helper()
	status, answer := c.s.ask("ann", "REPORT", c.path, `<sync-collection xmlns="DAV:"><sync-token>`+c.token+
		`</sync-token><sync-level>1</sync-level><prop><resourcetype/><getetag/></prop></sync-collection>`)
	var report struct {
		Token     string `xml:"sync-token"`
		Responses []struct {
			Href       string    `xml:"href"`
			Status     string    `xml:"status"`
			Collection *struct{} `xml:"propstat>prop>resourcetype>collection"`
			ETag       string    `xml:"propstat>prop>getetag"`
		} `xml:"response"`
	}
	if err := xml.Unmarshal([]byte(answer), &report); err != nil || status != http.StatusMultiStatus || report.Token == "" {
		c.s.t.Fatalf("REPORT %s: %d, %v\n%s", c.path, status, err, answer)
	}
	for _, r := range report.Responses {
		path := strings.TrimSuffix(r.Href, "/")
		switch {
		case strings.Contains(r.Status, " 404 "):
			delete(c.has, path)
		case r.Status != "": // 507: there is more
		case r.Collection != nil:
			c.has[path] = "collection"
		default:
			c.has[path] = r.ETag
		}
	}
	c.token = report.Token
}

// mirrored returns the tag of each file in a mirror, as a listing of the tree has it.
func mirrored(dir string) (map[string]string, error) {
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e iofs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, dir)
		switch {
		case err != nil || name == "":
			return err
		case e.Name() == ".ifmatch-export":
			return filepath.SkipDir
		case e.IsDir():
			found[name] = "collection"
			return nil
		}
		data, err := os.ReadFile(path)
		found[name] = contentTag(string(data))
		return err
	})
	return found, err
}

// startExport starts a mirror that follows the tree of a fleet, and returns once it has all that was there.
func (f *fleet) startExport(dir string) (*exec.Cmd, *servertest.Log) {
	f.t.Helper()
	follow := exec.Command("ifmatch", append([]string{"export", "--follow", dir}, f.args[:4]...)...)
	said := servertest.NewLog()
	follow.Stdout, follow.Stderr = said, said
	if err := follow.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = follow.Process.Kill() })
	if _, err := said.Await(regexp.MustCompile(`compared: `)); err != nil {
		f.t.Fatal(err)
	}
	return follow, said
}

// TestFollowersGoThroughAPromotion: who follows a tree by events or reports, and a mirror, have exactly the tree after the
// primary was killed and the standby promoted, while clients wrote.
func TestFollowersGoThroughAPromotion(t *testing.T) {
	if *fire == 0 {
		t.Skip("NOT RUN: -fire runs it")
	}
	f, pair := fleetOverPair(t)
	transport := patientTransport{f, &http.Transport{MaxIdleConnsPerHost: servertest.Idle}}
	t.Cleanup(transport.base.CloseIdleConnections)
	s := &followedServer{t: t, Server: &servertest.Server{URL: "http://cluster"}, client: &http.Client{Transport: transport}}
	l := f.load()
	l.goOn(50)
	mirror := filepath.Join(t.TempDir(), "mirror")
	export, said := f.startExport(mirror)
	events := &follower{s: s, path: "/", has: map[string]string{}}
	events.connect()
	reports := &syncing{s: s, path: l.dir + "/", has: map[string]string{}}
	stop, stopped := make(chan struct{}), make(chan struct{})
	broken := 0
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case event, ok := <-events.events:
				if ok {
					events.handle(event)
				} else {
					broken++
					events.connect()
				}
			}
		}
	}()
	reports.ask()
	l.goOn(200)
	reports.ask()
	if err := pair.Primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := pair.Standby.Promote(); err != nil {
		t.Fatal(err)
	}
	l.goOn(1)
	reports.ask()
	l.goOn(200)
	l.settle("the standby was promoted while followers followed")
	close(stop)
	<-stopped

	events.catchUp("after the promotion")
	want := s.list("ann", "/", "infinity")
	delete(want, "")
	members := s.list("ann", l.dir+"/", "1")
	delete(members, l.dir)
	var has map[string]string
	for end := time.Now().Add(servertest.Patience); ; time.Sleep(20 * time.Millisecond) {
		reports.ask()
		var err error
		has, err = mirrored(mirror)
		if err == nil && maps.Equal(has, want) && maps.Equal(reports.has, members) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the mirror has, error %v, %s\nthe reports have %s\n%s",
				err, differences(has, want), differences(reports.has, members), said)
		}
	}
	if err := export.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := export.Wait(); err != nil {
		t.Errorf("export: %v\n%s", err, said)
	}
	if events.again > 1 {
		t.Errorf("events have had the follower list everything %d times more, though all cursors hold", events.again-1)
	}
	t.Logf("%d resources; events told of %d changes, broke off %d times, listed all %d times\n%s",
		len(want), events.told, broken, events.again, said)
}
