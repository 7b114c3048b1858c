package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A fleet is some replicas over one database. Each request goes to the next one.
type fleet struct {
	t        *testing.T
	args     []string
	admins   []string // the addresses of their admin listeners, but of those that were replaced
	client   *http.Client
	requests atomic.Uint64

	mu       sync.Mutex
	replicas []*servertest.Server
}

func startFleet(t *testing.T, dsn string, count int, program ...string) *fleet {
	t.Helper()
	return startFleetWith(t, dsn, count, nil, program...)
}

// startFleetWith is startFleet with flags for each replica.
func startFleetWith(t *testing.T, dsn string, count int, flags []string, program ...string) *fleet {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: servertest.Idle}
	t.Cleanup(transport.CloseIdleConnections)
	f := &fleet{t: t, client: &http.Client{Transport: transport, Timeout: servertest.Patience}}
	f.args = []string{"--store", dsn, "--blobs", "dir://" + t.TempDir(), "--access-log", "off"}
	f.args = append(f.args, flags...)
	for range count {
		port, err := servertest.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		f.admins = append(f.admins, "http://127.0.0.1:"+port)
		cmd := servertest.Command(append(f.args, "--admin", "127.0.0.1:"+port)...)
		if len(program) > 0 {
			cmd = exec.Command(program[0], cmd.Args[1:]...)
		}
		s, err := servertest.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		f.replicas = append(f.replicas, s)
	}
	t.Cleanup(func() {
		for _, s := range f.replicas {
			if err := s.Kill(); err != nil {
				t.Error(err)
			}
			if t.Failed() && testing.Verbose() {
				t.Logf("%s", s.Log)
			}
		}
	})
	return f
}

// replace starts a replica of this program in place of one that has ended.
func (f *fleet) replace(i int) *servertest.Server {
	f.t.Helper()
	born, err := servertest.Start(servertest.Command(f.args...))
	if err != nil {
		f.t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replicas[i] = born
	return born
}

func (f *fleet) url() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.replicas[f.requests.Add(1)%uint64(len(f.replicas))].URL
}

// An answer is what a client has got: status 0 is no answer.
type answer struct {
	status   int
	tag      string
	modified string
	body     string
	retry    string
}

// isUnknown reports whether the client cannot know what has become of a write.
func (a answer) isUnknown() bool {
	return a.status == 0 || a.status == http.StatusServiceUnavailable && strings.Contains(a.body, "look before you try again")
}

// ask sends a request to the next replica, or to the one after it where nobody listens.
func (f *fleet) ask(method, name, body string, header ...string) (a answer) {
	for range 3 {
		var err error
		if a, err = f.try(method, name, body, header...); !errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
	}
	return a
}

func (f *fleet) try(method, name, body string, header ...string) (answer, error) {
	request, err := http.NewRequest(method, f.url()+name, strings.NewReader(body))
	if err != nil {
		f.t.Error(err)
		return answer{}, err
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	got, err := f.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer got.Body.Close()
	read, err := io.ReadAll(got.Body)
	if err != nil {
		return answer{}, err
	}
	h := got.Header
	return answer{got.StatusCode, h.Get("ETag"), h.Get("Last-Modified"), string(read), h.Get("Retry-After")}, nil
}

// ready returns what /readyz says.
func (f *fleet) ready() int {
	got, err := f.client.Get(f.admins[0] + "/readyz")
	if err != nil {
		f.t.Error(err)
		return 0
	}
	defer got.Body.Close()
	return got.StatusCode
}

// A load has clients write: some to a file of their own each, and some to a counter that they share. An acknowledged write
// is there, and an unknown one has happened as a whole or not at all.
type load struct {
	f       *fleet
	stop    chan struct{}
	all     sync.WaitGroup
	acked   atomic.Int64
	unknown atomic.Int64
	refused atomic.Int64 // 503, and nothing has happened
	begun   time.Time
	longest atomic.Int64 // the longest time between two acknowledged writes of a client whose file no other writes to
	dir     string
	filled  []string // the files that fill was told to have made
	// counters are the files in which clients count together.
	counters []*counter

	mu       sync.Mutex
	lives    map[string]*life // by content
	held     atomic.Int64     // locks under which nobody else has written
	recorded [][]porcupine.Operation
}

var loads atomic.Int64

const loadClients = 4

func (f *fleet) load() *load {
	l := &load{f: f, stop: make(chan struct{}), begun: time.Now(), dir: fmt.Sprint("/load", loads.Add(1))}
	if a := f.ask("MKCOL", l.dir, ""); a.status != http.StatusCreated {
		f.t.Fatalf("MKCOL: %+v", a)
	}
	l.counter(l.dir+"/counter", byTag, loadClients)
	for i := range loadClients {
		l.all.Go(func() { l.own(fmt.Sprint(l.dir, "/own", i)) })
	}
	l.all.Go(l.create)
	l.all.Go(l.fill)
	l.all.Go(l.move)
	return l
}

func (l *load) ended() bool {
	select {
	case <-l.stop:
		return true
	default:
		return l.f.t.Failed()
	}
}

// pace notes an acknowledged write of a client that waits for no rival.
func (l *load) pace(last *time.Time) {
	now := time.Now()
	took := int64(now.Sub(*last))
	for longest := l.longest.Load(); took > longest && !l.longest.CompareAndSwap(longest, took); longest = l.longest.Load() {
	}
	*last = now
	l.acked.Add(1)
}

func (l *load) judge(what string, a answer) {
	switch {
	case a.isUnknown():
		l.unknown.Add(1)
	case a.status == http.StatusServiceUnavailable && a.retry != "":
		l.refused.Add(1)
	default:
		l.f.t.Errorf("%s: %+v", what, a)
	}
}

func tagOfText(text string) string { return string(tree.TagOf(sha256.Sum256([]byte(text)))) }

// own writes to one file, which no other client writes to.
func (l *load) own(name string) {
	have, maybe := "", ""
	last := time.Now()
	for n := 1; !l.ended(); n++ {
		text := fmt.Sprint(name, " ", n, strings.Repeat(".", n%7*5000))
		header := []string{"If-None-Match", "*"}
		if have != "" {
			header = []string{"If-Match", tagOfText(have)}
		}
		switch a := l.f.ask("PUT", name, text, header...); {
		case a.status/100 == 2:
			have, maybe = text, ""
			l.pace(&last)
		case a.status == http.StatusPreconditionFailed && maybe != "" && a.tag == tagOfText(maybe):
			have, maybe = maybe, "" // the database has committed it after the GET: the replica had died in between
		default:
			l.judge("PUT "+name, a)
			if a.isUnknown() {
				maybe = text
			}
		}
		for !l.ended() {
			a := l.f.ask("GET", name, "")
			if a.status == http.StatusServiceUnavailable || a.status == 0 {
				continue
			}
			switch {
			case a.status == http.StatusOK && a.body == have, a.status == http.StatusNotFound && have == "":
			case a.status == http.StatusOK && maybe != "" && a.body == maybe:
				have = maybe
			default:
				l.f.t.Errorf("LOST: GET %s: %d %.40q, acknowledged was %.40q, perhaps %.40q", name, a.status, a.body, have, maybe)
			}
			break
		}
	}
}

// goOn waits until clients have had a number of further writes acknowledged (more).
func (l *load) goOn(more int64) {
	l.f.t.Helper()
	end := time.Now().Add(servertest.Patience)
	for want := l.acked.Load() + more; l.acked.Load() < want && !l.f.t.Failed(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			l.f.t.Fatal("no write is acknowledged any more")
		}
	}
}

// settle ends the load, and compares what is there with what was acknowledged.
func (l *load) settle(about string) {
	l.f.t.Helper()
	close(l.stop)
	l.all.Wait()
	for _, c := range l.counters {
		c.settle(l.f)
	}
	l.settleTree()
	l.settleLives()
	l.settleHistories()
	l.f.t.Logf("%s: in %v %d writes acknowledged, 0 lost; %d refused with 503, %d unknown; "+
		"longest pause of a client without rivals %v", about, time.Since(l.begun).Round(time.Millisecond), l.acked.Load(), l.refused.Load(), l.unknown.Load(),
		time.Duration(l.longest.Load()).Round(time.Millisecond))
}

// create has two clients create one name after another with equal bytes. One of them at most is told that it has.
func (l *load) create() {
	for n := 0; !l.ended(); n++ {
		var both sync.WaitGroup
		var created, maybe atomic.Int64
		for range 2 {
			both.Go(func() {
				switch a := l.f.ask("PUT", fmt.Sprint(l.dir, "/once", n), "equal", "If-None-Match", "*"); {
				case a.status == http.StatusCreated:
					created.Add(1)
				case a.status == http.StatusPreconditionFailed:
				default:
					l.judge("PUT If-None-Match", a)
					maybe.Add(1)
				}
			})
		}
		both.Wait()
		if n := created.Load(); n > 1 || n == 0 && maybe.Load() == 0 {
			l.f.t.Errorf("%d clients were told that they have created one name, and %d were not told", n, maybe.Load())
		}
	}
}

// trees are the names between which move moves a collection, while fill puts files into it.
func (l *load) trees() [2]string { return [2]string{l.dir + "/here", l.dir + "/there"} }

func (l *load) move() {
	for made := 0; made != http.StatusCreated && made != http.StatusMethodNotAllowed && !l.ended(); {
		made = l.f.ask("MKCOL", l.trees()[0], "").status
	}
	for n := 0; !l.ended(); n++ {
		from, to := l.trees()[n%2], l.trees()[1-n%2]
		switch a := l.f.ask("MOVE", from, "", "Destination", to, "Overwrite", "F"); a.status {
		case http.StatusCreated, http.StatusNotFound, http.StatusPreconditionFailed:
		default:
			l.judge("MOVE", a)
		}
	}
}

// fill notes what it was told to be in the collection.
func (l *load) fill() {
	for n := 0; !l.ended(); n++ {
		name := fmt.Sprint("/f", n)
		switch a := l.f.ask("PUT", l.trees()[n%2]+name, "into the tree"); a.status {
		case http.StatusCreated:
			l.filled = append(l.filled, name)
		case http.StatusConflict: // the collection is elsewhere
		default:
			l.judge("PUT into a tree", a)
		}
	}
}

// settleTree looks for the files that were put into the collection.
func (l *load) settleTree() {
	for _, name := range l.filled {
		found := 0
		for _, dir := range l.trees() {
			if a := l.f.ask("GET", dir+name, ""); a.status == http.StatusOK {
				found++
			}
		}
		if found != 1 {
			l.f.t.Errorf("LOST: %s was put into the tree, and is there %d times", name, found)
		}
	}
}
