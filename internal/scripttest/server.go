package scripttest

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// servers are the running servers of a script. Commands without a server are about the last one.
type servers struct {
	t         testscript.T
	variables []string // environment variables that servers see
	all       []*servertest.Server
}

type serversKey struct{}

func last(ts *testscript.TestScript) *servertest.Server {
	s := ts.Value(serversKey{}).(*servers)
	if len(s.all) == 0 {
		ts.Fatalf("no server is running")
	}
	return s.all[len(s.all)-1]
}

func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg, "serve [FLAG]... [DIR]")
	if !slices.Contains(args, "--addr") && ts.Getenv("IFMATCH_ADDR") == "" {
		args = append([]string{"--addr", "127.0.0.1:0"}, args...)
	}
	command := append([]string{"ifmatch", "serve"}, args...)
	if n := ts.Getenv("WATCHES"); n != "" {
		command = withWatches(n, command)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = environment(ts)
	s, err := servertest.Start(cmd)
	ts.Check(err)
	all := ts.Value(serversKey{}).(*servers)
	all.all = append(all.all, s)
	ts.Setenv("ADDR", s.Addr)
	ts.Setenv("URL", s.URL)
}

// environment returns the variables of the script that a server sees: enough to start, and those that stand for flags.
func environment(ts *testscript.TestScript) []string {
	names := append([]string{"PATH", "HOME", "TMPDIR", "TMP", "SystemRoot", "GORACE", "GOCOVERDIR"},
		ts.Value(serversKey{}).(*servers).variables...)
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
	_, err = last(ts).Log.Await(want)
	ts.Check(err)
}

// cmdLogged waits until the log matches a number of times. It fails if the log then matches more often.
func cmdLogged(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "logged TIMES REGEXP")
	times, err := strconv.Atoi(args[0])
	ts.Check(err)
	once, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	_, err = last(ts).Log.Await(regexp.MustCompile(fmt.Sprintf("(?:(?m:%s)(?s:.*?)){%d}", args[1], times)))
	ts.Check(err)
	if found := once.FindAllString(last(ts).Log.String(), -1); len(found) != times {
		ts.Fatalf("%d lines match, and not %d: %q", len(found), times, found)
	}
}

func cmdAsk(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "ask")
	ts.Check(last(ts).Ask())
}

func cmdShutdown(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 0, "shutdown")
	s := forget(ts)
	err := s.Stop(ts.Value(serversKey{}).(*servers).serves(s.Dir))
	if neg && err != nil {
		return
	}
	ts.Check(err)
	if neg {
		ts.Fatalf("the server exited with 0")
	}
}

func cmdHangup(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "hangup")
	ts.Check(last(ts).Signal(syscall.SIGHUP))
}

func cmdCrash(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "crash")
	s := forget(ts)
	ts.Check(s.Kill())
}

// forget removes the last server from those of the script.
func forget(ts *testscript.TestScript) *servertest.Server {
	s := last(ts)
	all := ts.Value(serversKey{}).(*servers)
	ts.Logf("[server]\n%s", s.Log)
	all.all = all.all[:len(all.all)-1]
	return s
}

// serves reports whether one of the servers serves a directory.
func (s *servers) serves(dir string) bool {
	return slices.ContainsFunc(s.all, func(one *servertest.Server) bool { return one.Dir == dir })
}

// stopAll stops the servers that are still running at the end of a script.
func (s *servers) stopAll() {
	for len(s.all) > 0 {
		one := s.all[len(s.all)-1]
		s.all = s.all[:len(s.all)-1]
		err := one.Stop(s.serves(one.Dir))
		s.t.Log("[server]\n" + one.Log.String())
		if err != nil {
			s.t.Log(err)
			defer s.t.FailNow()
		}
	}
}
