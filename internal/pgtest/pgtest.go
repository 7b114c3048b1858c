// Package pgtest runs a PostgreSQL server for the tests of a process. It listens on a Unix socket in a temporary
// directory, and runs as an unprivileged user, since PostgreSQL refuses root. It forgets all in a power failure.
package pgtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// packageName is Debian's package with the server.
const packageName = "postgresql"

var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Main runs the tests of a package, and ends the server that they have used.
func Main(m *testing.M) {
	result := m.Run()
	if shared.server != nil {
		shared.server.Stop()
	}
	os.Exit(result)
}

// Shared returns the server of this process, which the first call starts. Without PostgreSQL, the test is skipped by
// hand, and fails where CI is set.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = start() })
	switch err := shared.err; {
	case errors.Is(err, errMissing) && os.Getenv("CI") == "":
		t.Skipf("NOT RUN: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	return shared.server
}

// Run starts a server that ends with the test, for packages whose tests do not end in [Main].
func Run(t testing.TB) *Server {
	t.Helper()
	s, err := start()
	if errors.Is(err, errMissing) && os.Getenv("CI") == "" {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// A Server is a running PostgreSQL.
type Server struct {
	dir      string
	bin      string // with the programs of PostgreSQL
	port     string // of 127.0.0.1, or ""
	as       *syscall.SysProcAttr
	settings []string // besides those of all servers
	process  *exec.Cmd
	guard    io.Closer // the server ends when this end of the pipe is closed, also by the death of this process

	mu        sync.Mutex
	databases int
	idle      []string // databases that no test uses
}

// Start starts a server for another program than a test, with more settings such as "fsync=on". The caller must stop it.
func Start(more ...string) (*Server, error) { return start(more...) }

// Pid returns the id of the process that has started all others of the server.
func (s *Server) Pid() int { return s.process.Process.Pid }

var errMissing = fmt.Errorf("PostgreSQL is not installed: install the package %s", packageName)

// binaries returns the directory with initdb and postgres, of the latest version.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		path, err = filepath.EvalSymlinks(path) // the other programs are beside the real one
		return filepath.Dir(path), err
	}
	var found []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/initdb", "/usr/pgsql-*/bin/initdb"} {
		some, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		found = append(found, some...)
	}
	if len(found) == 0 {
		return "", errMissing
	}
	return filepath.Dir(slices.Max(found)), nil
}

// settings are those of a server that may lose all in a power failure, and has many idle connections.
var settings = []string{
	"listen_addresses=", "fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=64MB",
	"max_connections=300", "jit=off", "max_wal_size=512MB", "checkpoint_timeout=30min", "log_min_messages=error",
}

// guardScript runs a server as long as its standard input is open.
const guardScript = `"$@" & server=$!; read -r _; kill -QUIT $server; wait $server`

func start(more ...string) (*Server, error) {
	s, err := newServer("")
	if err != nil {
		return nil, err
	}
	out, err := s.command("initdb", "--pgdata", s.data(), "--username=ifmatch", "--auth=trust",
		"--no-sync", "--encoding=UTF8", "--locale=C", "--no-instructions").CombinedOutput()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w: %s", err, out), os.RemoveAll(s.dir))
	}
	s.settings = more
	return s, s.Start()
}

// newServer makes the directory of a server, which listens on a port of 127.0.0.1 besides, if there is one.
func newServer(port string) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, port: port}
	if s.as, err = unprivileged(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// command returns a command of PostgreSQL that runs as the user of the server.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir, cmd.SysProcAttr = s.dir, s.as
	return cmd
}

// Start starts a server that does not run.
func (s *Server) Start() error {
	args := []string{"-c", guardScript, "guard", filepath.Join(s.bin, "postgres"), "-D", s.data(), "-k", s.dir}
	for _, setting := range slices.Concat(settings, s.settings) {
		args = append(args, "-c", setting)
	}
	if s.port != "" {
		args = append(args, "-c", "listen_addresses=127.0.0.1", "-p", s.port)
	}
	s.process = exec.Command("/bin/sh", args...)
	s.process.Dir, s.process.SysProcAttr = s.dir, s.as
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.process.Stdout, s.process.Stderr = log, log
	if s.guard, err = s.process.StdinPipe(); err != nil {
		return err
	}
	if err := s.process.Start(); err != nil {
		return err
	}
	if err := s.await(); err != nil {
		said, _ := os.ReadFile(log.Name())
		s.Stop()
		return fmt.Errorf("the server does not start: %w: %s", err, said)
	}
	return nil
}

// await waits until the server accepts connections.
func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), servertest.Patience)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.DSN("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends the server, and removes all that it has stored.
func (s *Server) Stop() {
	s.End()
	_ = os.RemoveAll(s.dir)
}

// End ends the server as pg_ctl stop -m immediate does. Start starts it again.
func (s *Server) End() {
	_ = s.guard.Close()
	_ = s.process.Wait()
}

// Socket returns the path of the socket.
func (s *Server) Socket() string { return filepath.Join(s.dir, ".s.PGSQL."+cmp.Or(s.port, "5432")) }

// Tool returns the path of a program that belongs to the server, such as pg_dump.
func (s *Server) Tool(name string) string {
	bin := s.bin
	if initdb, err := filepath.EvalSymlinks(filepath.Join(bin, "initdb")); err == nil {
		bin = filepath.Dir(initdb) // the others need not be linked
	}
	return filepath.Join(bin, name)
}

// DSN returns the address of a database. A machine under load may take long to connect to it.
func (s *Server) DSN(database string) string {
	address := fmt.Sprintf("postgres://ifmatch@/%s?host=%s&sslmode=disable&connect_timeout=60", database, s.dir)
	if s.port != "" {
		address += "&port=" + s.port
	}
	return address
}

// Database returns the address of a database for one test. It is new, or an earlier test has used it: then clean makes
// it as good as new. Without clean (nil) it is new.
func (s *Server) Database(t testing.TB, clean func(dsn string) error) string {
	t.Helper()
	s.mu.Lock()
	name := ""
	if n := len(s.idle); n > 0 && clean != nil {
		name, s.idle = s.idle[n-1], s.idle[:n-1]
	} else {
		s.databases++
	}
	number := s.databases
	s.mu.Unlock()
	if name != "" {
		if err := clean(s.DSN(name)); err != nil {
			t.Fatal(err)
		}
	} else {
		name = fmt.Sprint("test", number)
		s.create(t, name)
	}
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.idle = append(s.idle, name)
	})
	return s.DSN(name)
}

// create makes a database. Only one at a time can be made of a template.
func (s *Server) create(t testing.TB, name string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "create database "+strings.ToLower(name)); err != nil {
		t.Fatal(err)
	}
}
