package main

import (
	"bufio"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

var (
	followOps  = flag.Int("follow-ops", 10_000, "how many random operations followers of a tree are tried with")
	followSeed = flag.Uint64("follow-seed", 1, "of these operations")
)

// A followed server is started again now and then. Its users are named by a header.
type followedServer struct {
	*servertest.Server
	t      *testing.T
	dir    string
	config string
	client *http.Client
	random *rand.Rand
	rules  int
	marks  int
}

// followerRules are two sets of rules, between which the test changes. bob may not list all.
var followerRules = [2]string{
	servertest.Rules(
		"/ ann all", "/ bob list,read", "/x/a/b ann all", "/x/a/b/c ann all", "/x/a/b/c bob list,read",
		"/x/c/* ann all", "/x/c/* bob list", "/x/b/*/b ann all",
	), servertest.Rules("/ ann all", "/ bob list,read", "/x/b ann all", "/x/*/a ann all")}

func (s *followedServer) start() {
	s.t.Helper()
	cmd := servertest.Command("--durability", "none", "--history", "0", "--config", s.config, "--user-header", "X-Remote-User",
		"--user-header-from", "127.0.0.1", s.dir)
	server, err := servertest.Start(cmd)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Server = server
}

// ask sends a request of a user. The path is not escaped.
func (s *followedServer) ask(user, method, path, body string, header ...string) (status int, answer string) {
	s.t.Helper()
	response, answer := servertest.Do(s.t, s.client, method, s.URL+path, body, append(header, "X-Remote-User", user)...)
	return response.StatusCode, answer
}

// list returns what a user sees at a path and below.
func (s *followedServer) list(user, path, depth string) map[string]string {
	s.t.Helper()
	status, answer := s.ask(user, "PROPFIND", path,
		`<propfind xmlns="DAV:"><prop><resourcetype/><getetag/></prop></propfind>`, "Depth", depth)
	if status == http.StatusNotFound {
		return nil
	}
	var listing struct {
		Responses []struct {
			Href       string    `xml:"href"`
			Collection *struct{} `xml:"propstat>prop>resourcetype>collection"`
			ETag       string    `xml:"propstat>prop>getetag"`
		} `xml:"response"`
	}
	if err := xml.Unmarshal([]byte(answer), &listing); err != nil || status != http.StatusMultiStatus {
		s.t.Fatalf("PROPFIND %s by %s: %d, %v\n%s", path, user, status, err, answer)
	}
	found := map[string]string{}
	for _, r := range listing.Responses {
		what := r.ETag
		if r.Collection != nil {
			what = "collection"
		}
		found[strings.TrimSuffix(r.Href, "/")] = what
	}
	return found
}

// A follower has what a user sees at a collection and below, and follows its events.
type follower struct {
	s      *followedServer
	user   string
	path   string
	has    map[string]string
	id     string
	events chan [3]string // name, id, data
	again  int            // how often it had to list all
	told   int
}

// connect begins to read events, after those that the follower has had.
func (f *follower) connect() {
	f.s.t.Helper()
	request, err := http.NewRequestWithContext(f.s.t.Context(), "GET", f.s.URL+"/.ifmatch/events?path="+url.QueryEscape(f.path), nil)
	if err != nil {
		f.s.t.Fatal(err)
	}
	request.Header.Set("X-Remote-User", f.user)
	if f.id != "" {
		request.Header.Set("Last-Event-ID", f.id)
	}
	answer, err := f.s.client.Do(request)
	if err != nil {
		f.s.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		f.s.t.Fatalf("events of %s: %s", f.path, answer.Status)
	}
	f.events = make(chan [3]string, 1000)
	go readEvents(answer.Body, f.events)
}

// readEvents parses a stream as browsers do.
func readEvents(from io.ReadCloser, to chan<- [3]string) {
	defer close(to)
	defer from.Close()
	var event [3]string
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			event[0] = value
		case "id":
			event[1] = value
		case "data":
			event[2] = value
		case "":
			if lines.Text() == "" && event != [3]string{} {
				to <- event
				event = [3]string{}
			}
		}
	}
}

// handle takes over an event.
func (f *follower) handle(event [3]string) {
	var data struct {
		Path, From, ETag   string
		Exists, Collection bool
	}
	if event[2] != "" {
		if err := json.Unmarshal([]byte(event[2]), &data); err != nil {
			f.s.t.Fatal(err)
		}
	}
	path, from := strings.TrimSuffix(data.Path, "/"), strings.TrimSuffix(data.From, "/")
	switch event[0] {
	case "ready", "list":
		if data.Path == f.path {
			f.again++
		}
		f.forget(path)
		maps.Copy(f.has, f.s.list(f.user, data.Path, "infinity"))
	case "change":
		f.told++
		if from != "" {
			f.forget(from)
		}
		if !data.Collection {
			f.forget(path)
		}
		switch {
		case !data.Exists:
		case data.Collection:
			f.has[path] = "collection"
		case data.ETag != "":
			f.has[path] = data.ETag
		default:
			maps.Copy(f.has, f.s.list(f.user, data.Path, "0"))
		}
	}
	f.id = event[1]
}

// forget drops a path and what is below it.
func (f *follower) forget(path string) {
	maps.DeleteFunc(f.has, func(p, _ string) bool { return p == path || strings.HasPrefix(p, path+"/") })
}

// catchUp follows until the follower has what a listing has. Nothing is changed meanwhile.
func (f *follower) catchUp(what string) {
	f.s.t.Helper()
	deadline := time.After(servertest.Patience)
	mark := fmt.Sprintf("/x/mark%d", f.s.marks%2)
	for {
		want := f.s.list(f.user, f.path, "infinity")
		if f.has[mark] == want[mark] && maps.Equal(f.has, want) {
			return
		}
		select {
		case event, ok := <-f.events:
			if !ok {
				f.connect()
				continue
			}
			f.handle(event)
			for len(f.events) > 0 {
				f.handle(<-f.events)
			}
		case <-deadline:
			f.s.t.Fatalf("%s: %s, following %s, has %s", what, f.user, f.path, differences(f.has, want))
		}
	}
}

func differences(has, want map[string]string) string {
	var all []string
	for path, is := range want {
		if has[path] != is {
			all = append(all, fmt.Sprintf("%s: %q, want %q", path, has[path], is))
		}
	}
	for path := range has {
		if _, ok := want[path]; !ok {
			all = append(all, path+", which is gone")
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func (s *followedServer) name() string {
	name := "/x"
	for range 1 + s.random.IntN(4) {
		name += "/" + string("abc"[s.random.IntN(3)])
	}
	return name
}

// change makes a random change by HTTP.
func (s *followedServer) change(i int) {
	switch name, body := s.name(), fmt.Sprint("by a client ", i); s.random.IntN(12) {
	case 0, 1, 2, 3:
		s.ask("ann", "PUT", name, body)
	case 4, 5, 6:
		s.ask("ann", "MKCOL", name, "")
	case 7:
		s.ask("ann", "DELETE", name, "")
	case 8:
		s.ask("ann", "MOVE", name, "", "Destination", s.URL+s.name())
	case 9:
		s.ask("ann", "COPY", name, "", "Destination", s.URL+s.name())
	case 10:
		s.ask("ann", "COPY", name, "", "Destination", s.URL+s.name(), "Depth", "0")
	case 11:
		s.ask("ann", "PROPPATCH", name, `<propertyupdate xmlns="DAV:"><set><prop><x xmlns="y:">1</x></prop></set></propertyupdate>`)
	}
}

// changeDisk makes a random change as another program.
func (s *followedServer) changeDisk(i int) {
	at, content := filepath.Join(s.dir, s.name()), fmt.Append(nil, "by a program ", i)
	switch s.random.IntN(9) {
	case 0, 1:
		_ = os.WriteFile(at, content, 0o666)
	case 2: // as editors save
		if os.WriteFile(at+"~", content, 0o666) == nil && os.Rename(at+"~", at) != nil {
			_ = os.Remove(at + "~")
		}
	case 3, 4:
		_ = os.MkdirAll(at, 0o777)
	case 5:
		_ = os.Remove(at)
	case 6:
		_ = os.RemoveAll(at)
	case 7:
		_ = os.Rename(at, filepath.Join(s.dir, s.name()))
	case 8:
		_ = os.MkdirAll(at, 0o777)
		_ = os.WriteFile(filepath.Join(at, "b"), content, 0o666)
	}
}

// overflow makes more changes than the kernel queues, while the server cannot read.
func (s *followedServer) overflow(i int) {
	s.t.Helper()
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	for range 5 {
		s.changeDisk(i)
	}
	from, to := filepath.Join(s.dir, "from"), filepath.Join(s.dir, "to")
	_ = os.WriteFile(from, nil, 0o666)
	for range 9000 { // two events each
		_ = os.Rename(from, to)
		_ = os.Rename(to, from)
	}
	for range 5 {
		s.changeDisk(i)
	}
	if err := s.Signal(syscall.SIGCONT); err != nil {
		s.t.Fatal(err)
	}
}

// restart ends the server, and starts it after some changes on the disk.
func (s *followedServer) restart(i int) {
	s.t.Helper()
	var err error
	if s.random.IntN(2) == 0 {
		err = s.Kill()
	} else {
		err = s.Stop(false)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	for range s.random.IntN(4) {
		s.changeDisk(i)
	}
	s.start()
}

// changeRules puts the other rules into force.
func (s *followedServer) changeRules() {
	s.t.Helper()
	s.rules = 1 - s.rules
	s.writeRules()
	if err := s.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(servertest.Patience); ; { // /x/c is listed by the first rules alone
		if status, _ := s.ask("bob", "GET", "/x/c/none", ""); (status == http.StatusForbidden) == (s.rules == 0) {
			return
		}
		if time.Now().After(end) {
			s.t.Fatal("the rules do not change")
		}
	}
}

func (s *followedServer) writeRules() {
	s.t.Helper()
	users := filepath.Join(filepath.Dir(s.config), "users")
	text := fmt.Sprintf("users = %q\n%s", users, followerRules[s.rules])
	err := os.WriteFile(users, []byte("ann:*\nbob:*\n"), 0o600)
	if err == nil {
		err = os.WriteFile(s.config, []byte(text), 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestFollowersHaveWhatTheySee: clients and local programs change a tree, the server is stopped, killed and started with
// changes meanwhile, loses events of the kernel, and gets other rules. Each follower ends with exactly what it may list.
func TestFollowersHaveWhatTheySee(t *testing.T) {
	s := &followedServer{t: t, dir: t.TempDir(), config: filepath.Join(t.TempDir(), "config.toml"),
		client: servertest.Client(t), random: rand.New(rand.NewPCG(*followSeed, 2))}
	s.writeRules()
	s.start()
	t.Cleanup(func() {
		if err := s.Stop(false); err != nil {
			t.Errorf("%v\n%s", err, s.Log)
		}
	})
	s.ask("ann", "MKCOL", "/x", "")
	var all []*follower
	for _, user := range []string{"ann", "bob"} {
		for _, path := range []string{"/", "/x/"} {
			f := &follower{s: s, user: user, path: path, has: map[string]string{}}
			f.connect()
			all = append(all, f)
		}
	}
	steps := *followOps / 50
	for step := range steps {
		what := "changes"
		for i := range 50 {
			if s.random.IntN(2) == 0 {
				s.changeDisk(step*100 + i)
			} else {
				s.change(step*100 + i)
			}
		}
		switch {
		case step%(steps/8+1) == 3:
			what = "a restart"
			s.restart(step)
		case step%(steps/3+1) == 5:
			what = "an overflow"
			s.overflow(step)
		case step%(steps/5+1) == 7:
			what = "other rules"
			s.changeRules()
		}
		s.marks++
		s.ask("ann", "PUT", fmt.Sprintf("/x/mark%d", s.marks%2), fmt.Sprint(step))
		for _, f := range all {
			f.catchUp(fmt.Sprintf("step %d, after %s", step, what))
		}
		if step%4 == 0 {
			s.ask("ann", "DELETE", "/x/"+string("abc"[step/4%3]), "") // else the tree grows
		}
	}
	for _, f := range all {
		t.Logf("%s, following %s, was told of %d changes, and has listed all %d times", f.user, f.path, f.told, f.again)
	}
}
