package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// freePorts returns the first of some ports in a row that are free.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	first, err := servertest.FreePorts(n)
	if err != nil {
		t.Fatal(err)
	}
	return first
}

// clusterScript returns deploy/cluster/local.sh, and the directory that it is to use. It ends at the end of its context.
func clusterScript(ctx context.Context, t *testing.T, port int, env ...string) (script *exec.Cmd, dir string) {
	t.Helper()
	for _, program := range []string{"nginx", "initdb"} {
		found, err := filepath.Glob("/usr/*bin/" + program)
		installed, failed := filepath.Glob("/usr/lib/postgresql/*/bin/" + program)
		if err != nil || failed != nil || len(found)+len(installed) > 0 {
			continue
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed", program)
		}
		t.Skipf("NOT RUN: %s is not installed: install the packages nginx and postgresql", program)
	}
	// The user of the database must be able to enter it, and t.TempDir is for one user alone.
	dir, err := os.MkdirTemp("", "ifmatch-cluster")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	script = exec.CommandContext(ctx, "deploy/cluster/local.sh", dir)
	script.Env = append(append(os.Environ(), fmt.Sprint("PORT=", port)), env...)
	script.Cancel = func() error { return script.Process.Signal(syscall.SIGTERM) }
	script.WaitDelay = servertest.Patience
	return script, dir
}

// serveCluster runs that script: PostgreSQL, three servers, and a proxy that sends each request to the next one. It returns
// the URL of the proxy and the directory of the cluster.
func serveCluster(t *testing.T) (url, dir string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	script, dir := clusterScript(ctx, t, freePorts(t, 4))
	script.Stderr = os.Stderr
	out, err := script.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := script.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = script.Wait()
		for _, name := range []string{"server-1", "server-2", "server-3"} {
			log, err := os.ReadFile(filepath.Join(dir, "log", name))
			log = toldOfIt.ReplaceAll(log, nil)
			if err != nil || strings.Contains(string(log), "level=WARN") || strings.Contains(string(log), "level=ERROR") {
				t.Errorf("%s: %v\n%s", name, err, regexp.MustCompile(`(?m)^.*level=INFO.*\n`).ReplaceAll(log, nil))
			}
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	at := regexp.MustCompile(`http://\S*\d`).FindString(line)
	if err != nil || at == "" {
		t.Fatalf("the cluster says %q, error %v", line, err)
	}
	return at, dir
}

// tooSlow is what a server says where others hold a name for as long as a write waits, which is seconds: a few writers do
// where the disk of the database is slow to sync. Or where the database takes as long to connect or to answer. Nothing has
// changed then, and a client tries again.
const tooSlow = "(another write holds the name for long|the database does not answer)"

var (
	toldToTryAgain = regexp.MustCompile(`"` + tooSlow + `; try again"`)
	// toldOfIt is the line of the log about that.
	toldOfIt = regexp.MustCompile(`(?m)^.*level=WARN msg=request .* status=503 .*cause="[^"]*` + tooSlow + `.*\n`)
)

// tryingAgain sends a request again that was refused for that, and for nothing else.
type tryingAgain struct{ base http.RoundTripper }

func (c tryingAgain) RoundTrip(r *http.Request) (*http.Response, error) {
	for end := time.Now().Add(servertest.Patience); ; {
		out := r.Clone(r.Context())
		if r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			out.Body = body
		}
		answer, err := c.base.RoundTrip(out)
		if err != nil || answer.StatusCode != http.StatusServiceUnavailable || time.Now().After(end) {
			return answer, err
		}
		told, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		answer.Body = io.NopCloser(bytes.NewReader(told))
		if err != nil || !toldToTryAgain.Match(told) || answer.Header.Get("Retry-After") == "" {
			return answer, err
		}
	}
}

// TestLocalClusterSaysWhetherItServes: it waits for programs that start, and for no others. Paths are from here.
func TestLocalClusterSaysWhetherItServes(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	err := os.WriteFile(users, []byte("ann:$2y$04$"+strings.Repeat("a", 53)+"\n"), 0o600)
	here, failed := os.Getwd()
	program, missing := exec.LookPath("ifmatch")
	for _, path := range []*string{&users, &program} {
		below, strange := filepath.Rel(here, *path)
		*path, err = below, errors.Join(err, strange)
	}
	if err := errors.Join(err, failed, missing); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		flags    string
		taken    int // by another program: a port, counted from that of the cluster
		out, err string
	}{
		"users":               {"--users " + users, -1, "the cluster of 1 servers listens at ", ""},
		"a wrong flag":        {"--absent", -1, "", "server 1 does not start: see "},
		"the port of a proxy": {"", 0, "", "nginx does not start: see "},
		"that of a server":    {"", 1, "", "server 1 does not start: see "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each makes a database
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			port := freePorts(t, 2)
			script, _ := clusterScript(ctx, t, port, "REPLICAS=1", "IFMATCH="+program, "FLAGS="+test.flags)
			if test.taken >= 0 {
				other, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port+test.taken))
				if err != nil {
					t.Fatal(err)
				}
				defer other.Close()
			}
			var said strings.Builder
			script.Stderr = &said
			out, err := script.StdoutPipe()
			if err == nil {
				err = script.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			line, _ := bufio.NewReader(out).ReadString('\n')
			cancel()
			_ = script.Wait()
			if !strings.HasPrefix(line, test.out) || (line == "") != (test.out == "") || !strings.Contains(said.String(), test.err) {
				t.Errorf("it says %q and %q", line, &said)
			}
		})
	}
}

// TestCluster: three servers over one database promise to clients, whom a proxy sends to any of them, what one server does.
func TestCluster(t *testing.T) {
	url, dir := serveCluster(t)
	client := &http.Client{Transport: tryingAgain{&http.Transport{MaxIdleConnsPerHost: 64}}}
	collection := func(t *testing.T) (string, *http.Client) {
		t.Helper()
		at := url + "/" + strings.ReplaceAll(strings.TrimPrefix(t.Name(), "TestCluster/"), "/", ".")
		if status, _, _ := servertest.Send(t, client, "MKCOL", strings.ReplaceAll(at, " ", "_"), ""); status != http.StatusCreated {
			t.Fatalf("MKCOL: %d", status)
		}
		return strings.ReplaceAll(at, " ", "_"), client
	}
	t.Run("counter", func(t *testing.T) {
		at, client := collection(t)
		increment(t, []string{at + "/counter"}, client)
	})
	t.Run("create once", func(t *testing.T) {
		at, client := collection(t)
		createOnce(t, at, client)
	})
	t.Run("rivals", func(t *testing.T) { fight(t, collection) })
	t.Run("trees", func(t *testing.T) { treesInMotion(t, collection) })
	t.Run("histories", func(t *testing.T) {
		seed := rand.Uint64()
		for i := range 2 {
			recorded := record(t, []*http.Client{client}, url, fmt.Sprint("/h", i), "", seed+uint64(i))
			if t.Failed() {
				return
			}
			t.Logf("checked in %v", wantLinearizable(t, recorded, i, seed))
		}
	})
	t.Run("all servers were asked", func(t *testing.T) {
		var asked [3]int
		all := 0
		for i := range asked {
			log, err := os.ReadFile(filepath.Join(dir, "log", fmt.Sprint("server-", i+1)))
			if err != nil {
				t.Fatal(err)
			}
			asked[i] = strings.Count(string(log), "msg=request method=PUT")
			all += asked[i]
		}
		if 6*slices.Min(asked[:]) < all || all == 0 { // in turn, each gets a third
			t.Errorf("the servers have had %d PUTs", asked)
		}
	})
}
