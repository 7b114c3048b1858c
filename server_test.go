package main

import (
	"bytes"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/urfave/cli/v2"
)

// servers are those that a script has started; the last one is the one it talks about.
type servers struct {
	t   testscript.T
	all []*server
}

type serversKey struct{}

// A server is a running ifmatch.
type server struct {
	cmd    *exec.Cmd
	dir    string // what it serves; "" for memory
	addr   string
	url    string // where it serves, with no slash at the end
	stderr *transcript
	asked  bool
	exited chan error
}

func last(ts *testscript.TestScript) *server {
	s := ts.Value(serversKey{}).(*servers)
	if len(s.all) == 0 {
		ts.Fatalf("no server is running")
	}
	return s.all[len(s.all)-1]
}

var serving = regexp.MustCompile(`(?m)^ifmatch: serving (.*) at (https?)://([^/]*)(.*)/$`)

func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg, "serve [FLAG]... [DIR]")
	given := func(flag string) bool { return slices.Contains(args, flag) || ts.Getenv(env(flag[2:])[0]) != "" }
	if !given("--addr") {
		args = append([]string{"--addr", "127.0.0.1:0"}, args...)
	}
	command := append([]string{"ifmatch", "serve"}, args...)
	if n := ts.Getenv("WATCHES"); n != "" {
		command = withWatches(n, command)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = environment(ts)
	s, err := startServer(cmd)
	ts.Check(err)
	all := ts.Value(serversKey{}).(*servers)
	all.all = append(all.all, s)
	ts.Setenv("ADDR", s.addr)
	ts.Setenv("URL", s.url)
}

// startServer runs a command that serves, and returns when it does.
func startServer(cmd *exec.Cmd) (*server, error) {
	s := &server{cmd: cmd, stderr: newTranscript(), exited: make(chan error, 1)}
	cmd.Stderr = s.stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.exited <- cmd.Wait(); s.stderr.end() }()
	m, err := s.stderr.await(serving)
	if err != nil {
		return nil, errors.Join(err, s.kill())
	}
	if m[1] != "memory" {
		s.dir = m[1]
	}
	s.addr, s.url = m[3], m[2]+"://"+m[3]+m[4]
	return s, nil
}

// environment is what a server gets to see of the script's: enough to start, and the variables that stand for flags.
func environment(ts *testscript.TestScript) []string {
	names := []string{"PATH", "HOME", "TMPDIR", "TMP", "SystemRoot", "GORACE", "GOCOVERDIR"}
	for _, flag := range serveFlags() {
		names = append(names, flag.(cli.DocGenerationFlag).GetEnvVars()...)
	}
	var vars []string
	for _, name := range names {
		if value := ts.Getenv(name); value != "" {
			vars = append(vars, name+"="+value)
		}
	}
	return vars
}

func cmdLog(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "log REGEXP")
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	_, err = last(ts).stderr.await(want)
	ts.Check(err)
}

// cmdLogged waits until something was said so many times, and fails where it was said more often by then.
func cmdLogged(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "logged TIMES REGEXP")
	times, err := strconv.Atoi(args[0])
	ts.Check(err)
	once, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	_, err = last(ts).stderr.await(regexp.MustCompile(fmt.Sprintf("(?:(?m:%s)(?s:.*?)){%d}", args[1], times)))
	ts.Check(err)
	if found := once.FindAllString(last(ts).stderr.String(), -1); len(found) != times {
		ts.Fatalf("said %d times, and not %d: %q", len(found), times, found)
	}
}

func cmdAsk(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "ask")
	ts.Check(last(ts).ask())
}

func cmdShutdown(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 0, "shutdown")
	s := last(ts)
	s.remove(ts)
	err := s.stop(ts.Value(serversKey{}).(*servers).serves(s.dir))
	if neg && err != nil {
		return
	}
	ts.Check(err)
	if neg {
		ts.Fatalf("the server stopped well")
	}
}

func cmdHangup(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "hangup")
	ts.Check(last(ts).cmd.Process.Signal(syscall.SIGHUP))
}

func cmdCrash(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "crash")
	s := last(ts)
	s.remove(ts)
	ts.Check(s.kill())
}

// kill ends a server with SIGKILL, unless it has ended by itself.
func (s *server) kill() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return s.wait(func(error) error { return nil })
}

func (s *server) remove(ts *testscript.TestScript) {
	all := ts.Value(serversKey{}).(*servers)
	ts.Logf("[server]\n%s", s.stderr)
	all.all = all.all[:len(all.all)-1]
}

func (s *server) ask() error {
	s.asked = true
	return s.cmd.Process.Signal(syscall.SIGTERM)
}

// stop asks a server to stop and waits for it. As long as it shares its directory, what is in there may be of another.
func (s *server) stop(shared bool) error {
	if !s.asked {
		if err := s.ask(); err != nil {
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

func (s *server) wait(judge func(error) error) error {
	select {
	case err := <-s.exited:
		return judge(err)
	case <-time.After(patience):
		return errors.Join(errors.New("the server did not stop"), s.cmd.Process.Kill())
	}
}

// litter returns an error where a server has left staged or removed content behind.
func (s *server) litter() error {
	if s.dir == "" {
		return nil
	}
	var errs []error
	for _, place := range []string{"stage", "trash"} {
		members, err := os.ReadDir(filepath.Join(s.dir, stateName, place))
		if err != nil && !errors.Is(err, iofs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, member := range members {
			errs = append(errs, fmt.Errorf("left behind: %s/%s", place, member.Name()))
		}
	}
	return errors.Join(errs...)
}

// serves reports whether one of them serves a directory.
func (s *servers) serves(dir string) bool {
	return slices.ContainsFunc(s.all, func(one *server) bool { return one.dir == dir })
}

// stopAll ends the servers that a script has left running.
func (s *servers) stopAll() {
	for len(s.all) > 0 {
		one := s.all[len(s.all)-1]
		s.all = s.all[:len(s.all)-1]
		err := one.stop(s.serves(one.dir))
		s.t.Log("[server]\n" + one.stderr.String())
		if err != nil {
			s.t.Log(err)
			defer s.t.FailNow()
		}
	}
}

// A transcript keeps what is written, for those who wait for it.
type transcript struct {
	mu      sync.Mutex
	text    bytes.Buffer
	ended   bool
	changed chan struct{} // closed, and made anew, whenever there is more
}

func newTranscript() *transcript { return &transcript{changed: make(chan struct{})} }

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.Write(p)
	t.wake()
	return len(p), nil
}

func (t *transcript) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.wake()
}

// wake tells everyone who waits to look again. mu must be held.
func (t *transcript) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// await waits for a whole line that matches, and returns the match.
func (t *transcript) await(want *regexp.Regexp) ([]string, error) {
	deadline := time.After(patience)
	for {
		t.mu.Lock()
		text, ended, changed := t.text.String(), t.ended, t.changed
		t.mu.Unlock()
		whole := text[:strings.LastIndexByte(text, '\n')+1]
		if m := want.FindStringSubmatch(whole); m != nil {
			return m, nil
		}
		if ended {
			return nil, fmt.Errorf("the server ended and has not said %q, but:\n%s", want, text)
		}
		select {
		case <-changed:
		case <-deadline:
			return nil, fmt.Errorf("the server does not say %q, but:\n%s", want, text)
		}
	}
}
