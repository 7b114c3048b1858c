package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// An everyStore is a running server, and the path of a collection to which clients may write.
type everyStore struct {
	*servertest.Server
	t      *testing.T
	at     string // the path of the collection
	prefix string
	client *http.Client
}

func (s *everyStore) do(method, path, body string, want int, header ...string) http.Header {
	s.t.Helper()
	base, _, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), "/")
	answer, text := servertest.Do(s.t, s.client, method, "http://"+base+path, body, header...)
	if answer.StatusCode != want {
		s.t.Errorf("%s %s: %d, want %d\n%s", method, path, answer.StatusCode, want, text)
	}
	return answer.Header
}

// follow returns the events of the collection.
func (s *everyStore) follow() <-chan [3]string {
	s.t.Helper()
	base, _, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), "/")
	address := "http://" + base + s.prefix + "/.ifmatch/events?path=" + url.QueryEscape(s.at)
	ctx, cancel := context.WithCancel(s.t.Context())
	s.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, "GET", address, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := s.client.Do(request)
	if err != nil || answer.StatusCode != http.StatusOK {
		s.t.Fatalf("events: %v, %v", answer, err)
	}
	all := make(chan [3]string, 100)
	go readEvents(answer.Body, all)
	return all
}

// nextEvent waits for an event. It reports whether one has come.
func nextEvent(all <-chan [3]string) (event [3]string, ok bool) {
	select {
	case event, ok = <-all:
	case <-time.After(servertest.Patience):
	}
	return event, ok
}

// upload sends a file in two parts, and returns the answer to the last one.
func (s *everyStore) upload(name, content string, header ...string) http.Header {
	s.t.Helper()
	part := []string{"Tus-Resumable", "1.0.0", "Content-Type", "application/offset+octet-stream", "Upload-Offset"}
	header = append(header, "Tus-Resumable", "1.0.0", "Upload-Length", fmt.Sprint(len(content)))
	made := s.do("POST", s.at+name, "", 201, header...)
	at, err := url.Parse(made.Get("Location"))
	if err != nil || !strings.HasPrefix(at.Path, s.prefix+"/.ifmatch/uploads/") {
		s.t.Fatalf("the upload has the address %q, %v", made.Get("Location"), err)
	}
	half := len(content) / 2
	s.do("PATCH", at.Path, content[:half], 204, append(part, "0")...)
	return s.do("PATCH", at.Path, content[half:], 204, append(part, fmt.Sprint(half))...)
}

// TestEveryServerHasEveryFeature: whatever stands between the handler and the directory, uploads in parts, events and
// synced collections are there, and each write is told in its order with the tag of its version.
func TestEveryServerHasEveryFeature(t *testing.T) {
	const quota = "[[quota]]\npath = '/'\nsize = '1MB'\n"
	share := func(t *testing.T) string {
		const table = "[[share]]\npath = '%s'\ndir = '%s'\n"
		return fmt.Sprintf(table+table, "/docs", t.TempDir(), "/team/pics", t.TempDir())
	}
	for _, tt := range []struct {
		name   string
		at     string
		args   []string
		config func(t *testing.T) string
	}{
		{name: "a directory", at: "/"},
		{name: "under a prefix", at: "/dav/", args: []string{"--prefix", "/dav"}},
		{name: "with metrics", at: "/", args: []string{"--admin", "127.0.0.1:0"}},
		{name: "with a quota", at: "/", config: func(*testing.T) string { return quota }},
		{name: "in memory", at: "/", args: []string{"--memory"}},
		{name: "shares", at: "/team/pics/", config: share},
		{name: "shares with metrics, a quota and a prefix", at: "/dav/docs/",
			args:   []string{"--admin", "127.0.0.1:0", "--prefix", "/dav"},
			config: func(t *testing.T) string { return quota + share(t) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := tt.args
			if tt.config != nil {
				args = append(args, "--config", writeConfig(t, tt.config(t)))
			}
			if !strings.Contains(tt.name, "shares") && !slices.Contains(args, "--memory") {
				args = append(args, t.TempDir())
			}
			s := &everyStore{t: t, at: tt.at, client: servertest.Client(t)}
			s.Server = servertest.Run(t, servertest.Command(args...))
			if i := slices.Index(args, "--prefix"); i >= 0 {
				s.prefix = args[i+1]
			}
			s.tryAll()
		})
	}
}

// TestEveryReplicaHasEveryFeature: each request goes to the next of three replicas, parts of one upload too. Each of them
// counts those that it has had, and no others.
func TestEveryReplicaHasEveryFeature(t *testing.T) {
	server := pgtest.Run(t)
	if err := server.SQL("create database ifmatch"); err != nil {
		t.Fatal(err)
	}
	f := startFleet(t, server.DSN("ifmatch"), 3)
	transport := patientTransport{f, &http.Transport{MaxIdleConnsPerHost: servertest.Idle}}
	t.Cleanup(transport.base.CloseIdleConnections)
	s := &everyStore{t: t, at: "/", client: &http.Client{Transport: transport}, Server: &servertest.Server{URL: "http://cluster"}}
	s.tryAll()
	// The stream of events has not ended, and is counted then. An answer is counted after it was sent.
	sent, end := int(f.requests.Load())-1, time.Now().Add(servertest.Patience)
	for {
		counted := f.counted()
		if all := counted[0] + counted[1] + counted[2]; all == sent && slices.Min(counted) > 2 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d requests were counted, and %d sent", counted, sent)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var requestsTotal = regexp.MustCompile(`(?m)^ifmatch_requests_total\{.*\} (\d+)$`)

// counted returns how many requests each replica says that it has had.
func (f *fleet) counted() (counted []int) {
	f.t.Helper()
	for _, admin := range f.admins {
		_, text := servertest.Want(f.t, f.client, http.StatusOK, "GET", admin+"/metrics", "")
		own := 0
		for _, found := range requestsTotal.FindAllStringSubmatch(text, -1) {
			n, err := strconv.Atoi(found[1])
			if err != nil {
				f.t.Fatal(err)
			}
			own += n
		}
		counted = append(counted, own)
	}
	return counted
}

func (s *everyStore) tryAll() {
	t := s.t
	t.Helper()
	s.do("OPTIONS", s.prefix+"/.ifmatch/uploads", "", 204)
	all := s.follow()
	if ready, _ := nextEvent(all); ready[0] != "ready" {
		t.Fatalf("the first event is %q", ready)
	}
	const sync = `<sync-collection xmlns="DAV:"><sync-token/><sync-level>1</sync-level><prop/></sync-collection>`
	s.do("REPORT", s.at, sync, 207)
	if tag := s.upload("new", "hello world").Get("ETag"); tag != contentTag("hello world") {
		t.Errorf("the upload has the tag %s", tag)
	}
	s.do("PUT", s.at+"f", "one", 201)
	s.upload("f", "two, in parts", "If-Match", contentTag("one"))
	s.do("MKCOL", s.at+"d", "", 201)
	s.do("COPY", s.at+"f", "", 201, "Destination", s.at+"d/g")
	s.do("MOVE", s.at+"d/g", "", 201, "Destination", s.at+"g")
	s.do("DELETE", s.at+"new", "", 204)
	s.do("PUT", s.at+"last", "", 201)
	two := contentTag("two, in parts")
	want := []string{"PUT new " + contentTag("hello world"), "PUT f " + contentTag("one"), "PUT f " + two, "MKCOL d/",
		"COPY d/g " + two, "MOVE g " + two, "DELETE new gone", "PUT last " + contentTag("")}
	var got []string
	for len(got) < len(want) {
		event, ok := nextEvent(all)
		if !ok {
			break
		}
		var told struct {
			Path, ETag, Cause string
			Exists            bool
		}
		if err := json.Unmarshal([]byte(event[2]), &told); err != nil {
			t.Fatalf("%q: %v", event, err)
		}
		line := told.Cause + " " + strings.TrimPrefix(told.Path, s.at) + " " + told.ETag
		if event[0] == "change" && !told.Exists {
			line += "gone"
		}
		if event[0] == "list" || told.Cause == "disk" { // a new collection is listed, and a change may be told twice
			continue
		}
		got = append(got, strings.TrimSpace(line))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the events are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
