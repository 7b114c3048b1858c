// Package servertest starts servers for tests, and speaks HTTP with them. The program ifmatch must be in PATH:
// testscript.Main puts the test binary there.
package servertest

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// Patience is how long a test waits for an event that must come. A working program never uses it up, not on a slow
// machine beside other work either.
const Patience = 2 * time.Minute

// StateName is the name of the directory with the state of a server.
const StateName = ".ifmatch"

// A Server is a running ifmatch.
type Server struct {
	Dir  string // the served directory; "" in memory
	Addr string
	URL  string // without a slash at the end
	Log  *Log   // its standard error

	cmd    *exec.Cmd
	asked  bool
	exited chan error
}

// Banner matches the first line that a server prints: its directory, scheme, address and path.
var Banner = regexp.MustCompile(`(?m)^ifmatch: serving (.*) at (https?)://([^/]*)(.*)/$`)

// Command returns the command that serves on a free port.
func Command(args ...string) *exec.Cmd {
	return exec.Command("ifmatch", append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...)
}

// Run starts a command that serves. At the end of the test it stops the server, which must exit with 0 and leave no
// staged files.
func Run(t testing.TB, cmd *exec.Cmd) *Server {
	t.Helper()
	s, err := Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(false); err != nil {
			t.Errorf("%v\n%s", err, s.Log)
		}
	})
	return s
}

// Start starts a command that serves, and returns once it serves.
func Start(cmd *exec.Cmd) (*Server, error) {
	s := &Server{cmd: cmd, Log: NewLog(), exited: make(chan error, 1)}
	cmd.Stderr = s.Log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.exited <- cmd.Wait(); s.Log.end() }()
	m, err := s.Log.Await(Banner)
	if err != nil {
		return nil, errors.Join(err, s.Kill())
	}
	if m[1] != "memory" {
		s.Dir = m[1]
	}
	s.Addr, s.URL = m[3], m[2]+"://"+m[3]+m[4]
	return s, nil
}

// Signal sends a signal to the server.
func (s *Server) Signal(signal os.Signal) error { return s.cmd.Process.Signal(signal) }

// Kill ends a server with SIGKILL, unless it has ended already.
func (s *Server) Kill() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return s.wait(func(error) error { return nil })
}

// Ask sends SIGTERM.
func (s *Server) Ask() error {
	s.asked = true
	return s.Signal(syscall.SIGTERM)
}

// Stop sends SIGTERM, unless Ask did, and waits for the end. The server must exit with 0, and leave no staged files
// unless another server shares its directory, which may be staging files.
func (s *Server) Stop(shared bool) error {
	if !s.asked {
		if err := s.Ask(); err != nil {
			return err
		}
	}
	return s.wait(func(err error) error {
		if err != nil {
			return fmt.Errorf("the server did not stop well: %w", err)
		}
		if shared {
			return nil
		}
		return s.litter()
	})
}

func (s *Server) wait(judge func(error) error) error {
	select {
	case err := <-s.exited:
		return judge(err)
	case <-time.After(Patience):
		return errors.Join(errors.New("the server did not stop"), s.cmd.Process.Kill())
	}
}

// litter returns an error if a server has left staged or removed files.
func (s *Server) litter() error {
	if s.Dir == "" {
		return nil
	}
	var errs []error
	for _, dir := range []string{"stage", "trash"} {
		members, err := os.ReadDir(filepath.Join(s.Dir, StateName, dir))
		if err != nil && !errors.Is(err, iofs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, member := range members {
			errs = append(errs, fmt.Errorf("left behind: %s/%s", dir, member.Name()))
		}
	}
	return errors.Join(errs...)
}
