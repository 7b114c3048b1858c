package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

var adminAddr = regexp.MustCompile(`the admin listener is open" addr=(\S+)`)

// adminOf returns how to ask the admin listener of a server: a path, and the status and body of the answer.
func adminOf(t *testing.T, s *servertest.Server) func(path string) (int, string) {
	t.Helper()
	found, err := s.Log.Await(adminAddr)
	if err != nil {
		t.Fatal(err)
	}
	client, url := http.DefaultClient, "http://"+found[1]
	if strings.HasPrefix(found[1], "/") {
		client = &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", found[1])
			},
		}}
		url = "http://admin"
		t.Cleanup(client.CloseIdleConnections)
	}
	return func(path string) (int, string) {
		answer, err := client.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
}

// readyz returns what /readyz says of a server that is ready, through a client that leads to its admin listener. Where it is
// late, as on a slow machine, it says that for a moment.
func readyz(t *testing.T, client *http.Client) string {
	t.Helper()
	for end := time.Now().Add(servertest.Patience); ; {
		answer, text := servertest.Do(t, client, http.MethodGet, "http://admin/readyz", "")
		if answer.StatusCode == http.StatusOK {
			return text
		}
		if time.Now().After(end) {
			t.Fatalf("/readyz: %s, %s", answer.Status, text)
		}
	}
}

// A server tells what it has done, and no name of a file with it. Each metric is in docs/metrics.md.
func TestServersTellWhatTheyDo(t *testing.T) {
	s := servertest.Run(t, servertest.Command("--admin", "127.0.0.1:0", t.TempDir()))
	ask := adminOf(t, s)
	for _, r := range []struct {
		method, path, body string
		header             []string
		want               int
	}{
		{"PUT", "/secret-name", "hello", nil, 201},
		{"PUT", "/secret-name", "other", []string{"If-Match", `"x"`}, 412},
		{"PUT", "/secret-name", "third", nil, 204},
		{"GET", "/secret-name", "", nil, 200},
		{"MKCOL", "/c", "", nil, 201},
		{"MOVE", "/secret-name", "", []string{"Destination", "/c/f"}, 201},
		{"COPY", "/c/f", "", []string{"Destination", "/c/g"}, 201},
		{"DELETE", "/c/f", "", nil, 204},
		{"X-SECRET-METHOD", "/c/g", "", nil, 405},
	} {
		got, _, body := servertest.Send(t, http.DefaultClient, r.method, s.URL+r.path, r.body, r.header...)
		if got != r.want {
			t.Fatalf("%s %s: %d %s", r.method, r.path, got, body)
		}
	}
	_, text := ask("/metrics")
	for _, want := range []string{
		`ifmatch_requests_total{method="PUT",status="201"} 1`,
		`ifmatch_requests_total{method="PUT",status="412"} 1`,
		`ifmatch_requests_total{method="other",status="405"} 1`,
		`ifmatch_preconditions_failed_total{condition="If-Match"} 1`,
		`ifmatch_commit_duration_seconds_count{operation="put"} 2`,
		`ifmatch_commit_duration_seconds_count{operation="mkdir"} 1`,
		`ifmatch_commit_duration_seconds_count{operation="move"} 1`,
		`ifmatch_commit_duration_seconds_count{operation="copy"} 1`,
		`ifmatch_commit_duration_seconds_count{operation="remove"} 1`,
		`ifmatch_slots_waiting{of="uploads"} 0`,
		`ifmatch_locks 0`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	for _, counted := range []string{"ifmatch_commit_lock_seconds_count ", "ifmatch_history_bytes ", `ifmatch_index_lookups_total{found="memory"} `} {
		if found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(counted) + `(\d+)$`).FindStringSubmatch(text); found == nil ||
			found[1] == "0" {
			t.Errorf("%s is %q", counted, found)
		}
	}
	if lower := strings.ToLower(text); strings.Contains(lower, "secret") {
		t.Errorf("a name is told: %s", text)
	}
	page := readPage(t, "docs/metrics.md")
	names := regexp.MustCompile(`(?m)^# TYPE (ifmatch_\w+)`).FindAllStringSubmatch(text, -1)
	for _, name := range names {
		if !strings.Contains(page, "`"+name[1]+"`") {
			t.Errorf("docs/metrics.md does not have %s", name[1])
		}
	}
	for _, name := range regexp.MustCompile("`(ifmatch_\\w+)`").FindAllStringSubmatch(page, -1) {
		// A metric with labels is told once there is something to tell, and those of a database elsewhere.
		later := []string{"ifmatch_busy_total", "ifmatch_logins_refused_total", "ifmatch_replicas_differ",
			"ifmatch_clock_ahead_seconds"}
		if !strings.Contains(text, "# TYPE "+name[1]+" ") && !slices.Contains(later, name[1]) &&
			!ofDatabases.MatchString(name[1]) {
			t.Errorf("docs/metrics.md has %s, and the server has not", name[1])
		}
	}
}

func TestReadinessFollowsTheDirectory(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("NOT RUN: a directory that is open cannot be moved there")
	}
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	testReadiness(t, dir, "is not there", dir)
}

// Of several directories all must be there, and the answer says which one is not.
func TestReadinessFollowsShares(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("NOT RUN: a directory that is open cannot be moved there")
	}
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := writeConfig(t, "[[share]]\npath = '/docs'\ndir = '"+t.TempDir()+"'\n[[share]]\npath = '/team/pics'\ndir = '"+dir+"'\n")
	testReadiness(t, dir, "the share /team/pics: what is served is not there", "--config", file)
}

// testReadiness starts a server, and moves a directory of it away and back.
func testReadiness(t *testing.T, dir, why string, args ...string) {
	t.Helper()
	args = append([]string{"--admin", "unix:" + filepath.Join(t.TempDir(), "admin.sock")}, args...)
	s := servertest.Run(t, servertest.Command(args...))
	ask := adminOf(t, s)
	await := func(want int, text string) {
		t.Helper()
		var code int
		var body string
		// An answer is told for a second again, and a disk that is slow to take a byte makes it another one.
		for end := time.Now().Add(servertest.Patience); time.Now().Before(end); {
			if code, body = ask("/readyz"); code == want && strings.Contains(body, text) {
				return
			}
		}
		t.Errorf("got %d %s, want %d", code, body, want)
	}
	await(200, "ok")
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	await(503, why)
	if code, _ := ask("/healthz"); code != 200 {
		t.Errorf("/healthz is %d", code)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	await(200, "ok")
	if _, text := ask("/metrics"); !strings.Contains(text, "\nifmatch_locks 0\n") {
		t.Errorf("the locks are not counted: %s", text)
	}
}

// Credentials that are not taken are counted by the reason, and not by the name.
func TestRefusedLoginsAreCounted(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	if _, err := runProgram(t, "user", "add", "--no-password", "--users", users, "ann"); err != nil {
		t.Fatal(err)
	}
	s := servertest.Run(t, servertest.Command("--admin", "127.0.0.1:0", "--users", users, t.TempDir()))
	ask := adminOf(t, s)
	const basic = "Basic Ym9iOnNlY3JldA==" // bob:secret
	if got, _, _ := servertest.Send(t, http.DefaultClient, "GET", s.URL+"/", "", "Authorization", basic); got != 401 {
		t.Fatalf("answered %d", got)
	}
	_, text := ask("/metrics")
	if !strings.Contains(text, "\nifmatch_logins_refused_total{reason=\"wrong_password\"} 1\n") || strings.Contains(text, "bob") {
		t.Errorf("told:\n%s", text)
	}
}

// Directories are counted as they are watched.
func TestWatchesAreCounted(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a/b", "c"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := servertest.Run(t, servertest.Command("--admin", "127.0.0.1:0", dir))
	ask := adminOf(t, s)
	await := func(want string) {
		t.Helper()
		var text string
		for end := time.Now().Add(servertest.Patience); time.Now().Before(end); {
			if _, text = ask("/metrics"); strings.Contains(text, "\n"+want+"\n") {
				return
			}
		}
		t.Errorf("no line %s in %s", want, text)
	}
	await("ifmatch_watches 4")
	if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	await("ifmatch_watches 2")
}
