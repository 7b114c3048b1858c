//go:build unix

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
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

// passing is a command that serves on the sockets of a test, as systemd passes them.
func passing(names string, sockets []*os.File, args ...string) *exec.Cmd {
	env := "LISTEN_PID=$$ LISTEN_FDS=" + string(rune('0'+len(sockets))) + " LISTEN_FDNAMES=" + names
	cmd := exec.Command("sh", append([]string{"-c", env + ` exec ifmatch serve "$@"`, "sh"}, args...)...)
	cmd.ExtraFiles = sockets
	return cmd
}

// openSocket is a socket that listens on a free port, and its URL.
func openSocket(t *testing.T) (socket *os.File, url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // of this copy; the socket listens on
	if socket, err = l.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket, "http://" + l.Addr().String()
}

// An upload is under way until it is finished.
type upload struct {
	body   *io.PipeWriter
	answer chan error
}

func beginUpload(t *testing.T, url string) *upload {
	t.Helper()
	read, write := io.Pipe()
	u := &upload{write, make(chan error, 1)}
	go func() {
		r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), "PUT", url, read)
		if err == nil {
			var answer *http.Response
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			if answer, err = client.Do(r); err == nil {
				answer.Body.Close()
				if answer.StatusCode/100 != 2 {
					err = errors.New(answer.Status)
				}
			}
		}
		u.answer <- err
	}()
	if _, err := io.WriteString(write, "the first half "); err != nil {
		t.Fatal(err)
	}
	return u
}

// A server that is restarted loses no request that comes to the socket which outlives it: an upload that ends within
// the grace is answered, one that does not is cut and changes nothing, and is taken when it is sent again.
func TestSocketOutlivesTheServer(t *testing.T) {
	socket, url := openSocket(t)
	dir := t.TempDir()
	start := func(grace string) *servertest.Server {
		t.Helper()
		cmd := passing("ifmatch.socket", []*os.File{socket}, "--grace", grace, "--admin", "127.0.0.1:0", dir)
		s, err := servertest.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if s.URL != url {
			t.Fatalf("it serves at %s, and the socket that was passed is %s", s.URL, url)
		}
		return s
	}
	stop := func(s *servertest.Server) {
		t.Helper()
		if err := s.Stop(false); err != nil {
			t.Fatalf("%v\n%s", err, s.Log)
		}
	}
	first := start("10m")
	u := beginUpload(t, url+"/within")
	awaitUpload(t, first)
	if err := first.Ask(); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Log.Await(regexp.MustCompile("msg=stopping running=1")); err != nil {
		t.Fatal(err)
	}
	io.WriteString(u.body, "and the second")
	u.body.Close()
	if err := <-u.answer; err != nil {
		t.Errorf("an upload that ended within the grace: %v", err)
	}
	stop(first)

	waits := beginUpload(t, url+"/waits") // no server accepts it now
	second := start("0s")
	waits.body.Close()
	if err := <-waits.answer; err != nil {
		t.Errorf("an upload that waited for the next server: %v", err)
	}
	cut := beginUpload(t, url+"/cut")
	awaitUpload(t, second)
	stop(second)
	cut.body.Close() // the client of net/http waits for it
	if err := <-cut.answer; err == nil {
		t.Error("an upload that was cut was acknowledged")
	}

	third := start("10s")
	defer stop(third)
	for name, want := range map[string]int{"/within": 200, "/waits": 200, "/cut": 404} {
		if got, _, body := servertest.Send(t, http.DefaultClient, "GET", url+name, ""); got != want {
			t.Errorf("%s: %d %s", name, got, body)
		}
	}
	if got, _, _ := servertest.Send(t, http.DefaultClient, "PUT", url+"/cut", "again"); got != 201 {
		t.Errorf("the upload that was cut is sent again, and answered %d", got)
	}
	http.DefaultClient.CloseIdleConnections()
}

// awaitUpload waits until a server receives one.
func awaitUpload(t *testing.T, s *servertest.Server) {
	t.Helper()
	ask := adminOf(t, s)
	for end := time.Now().Add(servertest.Patience); time.Now().Before(end); {
		if _, text := ask("/metrics"); strings.Contains(text, "\nifmatch_slots_used{of=\"uploads\"} 1\n") {
			return
		}
	}
	t.Fatal("no upload is running")
}

func TestPassedSocketsThatCannotBeMeant(t *testing.T) {
	one, _ := openSocket(t)
	two, _ := openSocket(t)
	unix, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	third, err := unix.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, tt := range []struct {
		about, names, want string
		sockets            []*os.File
	}{
		{"two", "a:b", "passed two sockets", []*os.File{one, two}},
		{"two for the admin listener", "admin:admin", "passed two sockets", []*os.File{one, two}},
		{"a Unix socket", "a", "only TCP is served", []*os.File{third}},
		{"a file", "a", "none to listen on", []*os.File{file}},
	} {
		out, err := passing(tt.names, tt.sockets, "--memory").CombinedOutput()
		if exited := new(exec.ExitError); !errors.As(err, &exited) || !strings.Contains(string(out), tt.want) {
			t.Errorf("%s: %v, %s", tt.about, err, out)
		}
	}
}

func TestAdminSocketIsPassedByName(t *testing.T) {
	main, url := openSocket(t)
	admin, adminURL := openSocket(t)
	s := servertest.Run(t, passing("admin:web", []*os.File{admin, main}, t.TempDir()))
	if s.URL != url {
		t.Errorf("it serves at %s, not %s", s.URL, url)
	}
	if got, _, body := servertest.Send(t, http.DefaultClient, "GET", adminURL+"/healthz", ""); got != 200 {
		t.Errorf("/healthz: %d %s", got, body)
	}
}

// A manager stands in for systemd: what it is told.
type manager struct {
	path string
	told chan string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{filepath.Join(t.TempDir(), "notify"), make(chan string, 1024)}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		for buffer := make([]byte, 4096); ; {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			m.told <- string(buffer[:n])
		}
	}()
	return m
}

// await returns what comes before a message.
func (m *manager) await(t *testing.T, want string) (before []string) {
	t.Helper()
	return m.awaitMatch(t, regexp.MustCompile("^"+regexp.QuoteMeta(want)+"$"))
}

func (m *manager) awaitMatch(t *testing.T, want *regexp.Regexp) (before []string) {
	t.Helper()
	late := time.After(servertest.Patience)
	for {
		select {
		case got := <-m.told:
			if want.MatchString(got) {
				return before
			}
			before = append(before, got)
		case <-late:
			t.Fatalf("%s was not told, only %q", want, before)
		}
	}
}

// systemd is told when requests are answered, that the server is alive, and that it stops.
func TestSystemdIsTold(t *testing.T) {
	m := newManager(t)
	cmd := servertest.Command(t.TempDir())
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=100000")
	s := servertest.Run(t, cmd)
	if before := m.await(t, "READY=1"); len(before) > 0 {
		t.Errorf("before the server was ready, %q was told", before)
	}
	m.await(t, "WATCHDOG=1")
	m.await(t, "WATCHDOG=1")
	if err := s.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	m.awaitMatch(t, regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=\d+\n$`))
	m.await(t, "READY=1")
	if err := s.Ask(); err != nil {
		t.Fatal(err)
	}
	m.await(t, "STOPPING=1")
}

// Without a watchdog, and where the manager is gone, the server serves.
func TestSystemdNeedNotListen(t *testing.T) {
	for _, variable := range []string{"NOTIFY_SOCKET=" + filepath.Join(t.TempDir(), "none"), "WATCHDOG_USEC=soon"} {
		cmd := servertest.Command(t.TempDir())
		cmd.Env = append(os.Environ(), variable)
		s := servertest.Run(t, cmd)
		if got, _, body := servertest.Send(t, http.DefaultClient, "GET", s.URL+"/", ""); got != 200 {
			t.Errorf("%s: %d %s", variable, got, body)
		}
	}
}

// The tool of systemd that stands in for a socket unit starts the server at the first connection, which is answered.
func TestSocketActivation(t *testing.T) {
	activate := tool(t, "systemd-socket-activate")
	port, err := servertest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", port)
	answered := make(chan error, 1)
	go func() {
		var err error
		for end := time.Now().Add(servertest.Patience); time.Now().Before(end); {
			var answer *http.Response
			if answer, err = http.Get("http://" + addr + "/"); err == nil {
				answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					err = errors.New(answer.Status)
				}
				break
			}
		}
		answered <- err
	}()
	s := servertest.Run(t, exec.Command(activate, "--listen="+addr, "ifmatch", "serve", t.TempDir()))
	if err := <-answered; err != nil || s.Addr != addr {
		t.Errorf("the server is at %s, and the socket at %s: %v", s.Addr, addr, err)
	}
}
