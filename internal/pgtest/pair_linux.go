package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// A Pair is a primary, and a synchronous standby of it. Both listen on loopback.
type Pair struct{ Primary, Standby *Server }

// RunPair starts two servers that end with the test.
func RunPair(t testing.TB) *Pair {
	t.Helper()
	p, err := startPair(t)
	if errors.Is(err, errMissing) && os.Getenv("CI") == "" {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func startPair(t testing.TB) (*Pair, error) {
	t.Helper()
	ports := [2]string{}
	for i := range ports { // a server that is started again must find its port free
		var err error
		if ports[i], err = servertest.FreePort(); err != nil {
			return nil, err
		}
	}
	primary, err := newServer(ports[0])
	if err != nil {
		return nil, err
	}
	t.Cleanup(primary.remove)
	out, err := primary.command("initdb", "--pgdata", primary.data(), "--username=ifmatch", "--auth=trust", "--no-sync",
		"--encoding=UTF8", "--locale=C", "--no-instructions").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	primary.settings = []string{"synchronous_commit=on", "max_connections=100"}
	if err := primary.Start(); err != nil {
		return nil, err
	}
	standby, err := newServer(ports[1])
	if err != nil {
		return nil, err
	}
	t.Cleanup(standby.remove)
	out, err = standby.command("pg_basebackup", "-D", standby.data(), "-h", "127.0.0.1", "-p", ports[0], "-U", "ifmatch",
		"--checkpoint=fast", "--no-sync", "-R").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("pg_basebackup: %w: %s", err, out)
	}
	// With the default of 5s, a standby may sleep that long after the primary is gone, before it is promoted or follows again.
	standby.settings = []string{"synchronous_commit=on", "max_connections=100", "wal_receiver_status_interval=1s",
		"wal_retrieve_retry_interval=200ms",
		"primary_conninfo=host=127.0.0.1 port=" + ports[0] + " user=ifmatch application_name=standby"}
	if err := standby.Start(); err != nil {
		return nil, err
	}
	p := &Pair{primary, standby}
	return p, p.synchronize()
}

// remove ends a server that may have ended already.
func (s *Server) remove() {
	if s.guard != nil {
		s.End()
	}
	_ = os.RemoveAll(s.dir)
}

// synchronize has commits wait for the standby, and waits until it is there.
func (p *Pair) synchronize() error {
	if err := p.Primary.SQL("alter system set synchronous_standby_names = 'standby'"); err != nil {
		return err
	}
	if err := p.Primary.SQL("select pg_reload_conf()"); err != nil {
		return err
	}
	return p.Primary.Await("select exists(select from pg_stat_replication where sync_state = 'sync')")
}

// SQL runs a statement.
func (s *Server) SQL(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), servertest.Patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// Await waits until a question has the answer true.
func (s *Server) Await(question string) error {
	ctx, cancel := context.WithTimeout(context.Background(), servertest.Patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for {
		var is bool
		if err := conn.QueryRow(ctx, question).Scan(&is); err != nil || is {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", question, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// DSN returns the address of a database on whichever server takes writes.
func (p *Pair) DSN(database string) string {
	return fmt.Sprintf("postgres://ifmatch@/%s?host=127.0.0.1,127.0.0.1&port=%s,%s&sslmode=disable"+
		"&target_session_attrs=read-write", database, p.Primary.port, p.Standby.port)
}

// Promote makes a standby a primary that waits for nobody.
func (s *Server) Promote() error {
	if err := s.SQL("select pg_promote(false)"); err != nil {
		return err
	}
	return s.Await("select not pg_is_in_recovery()")
}

// pids returns the processes of a server, the first of all first.
func (s *Server) pids() (all []int, err error) {
	line, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(string(line), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return nil, err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, err
	}
	all = []int{pid}
	for _, field := range strings.Fields(string(children)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		all = append(all, child)
	}
	return all, nil
}

// Signal sends a signal to all processes of a server.
func (s *Server) Signal(signal syscall.Signal) error {
	all, err := s.pids()
	for _, pid := range all {
		_ = syscall.Kill(pid, signal) // a session may have ended
	}
	return err
}

// Kill ends a server as the loss of its machine does, but for what the disk has.
func (s *Server) Kill() error {
	err := s.stopForking()
	err = errors.Join(err, s.Signal(syscall.SIGKILL))
	s.End()
	return err
}

// stopForking stops the first process. A session that it begins after the others were named would outlive it, and the next
// server would not start beside that.
func (s *Server) stopForking() error {
	all, err := s.pids()
	if err != nil {
		return err
	}
	if err := syscall.Kill(all[0], syscall.SIGSTOP); err != nil {
		return err
	}
	for end := time.Now().Add(servertest.Patience); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", all[0]))
		if err != nil {
			return err
		}
		if _, state, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(state, "T") {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the process %d does not stop: %s", all[0], stat)
		}
	}
}

// Own gives a directory to the user of the server.
func (s *Server) Own(dir string) error {
	_, err := unprivileged(dir)
	return err
}
