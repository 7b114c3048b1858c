package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/clustertest"
	"r-seed-1f3a754f.example/ifmatch/internal/folding"
	"r-seed-1f3a754f.example/ifmatch/internal/scripttest"
)

// TestMain makes the test binary stand in for the program: a script that runs ifmatch runs main in a process of its
// own, with the race detector if the tests have it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ifmatch": func() {
		if clustertest.IsFront() {
			clustertest.Main()
			return
		}
		main()
	}, "foldingd": folding.Main})
}

// TestScript runs the conversations in testdata/script. Package scripttest documents their commands.
func TestScript(t *testing.T) {
	testscript.Run(t, scripttest.Params("testdata/script", flagVariables()))
}

// TestRecordedClients replays the conversations of clients that cannot run here. Each script names its source.
func TestRecordedClients(t *testing.T) {
	testscript.Run(t, scripttest.Params("testdata/script/clients", flagVariables()))
}

// flagVariables returns the environment variables of all flags of serve.
func flagVariables() (all []string) {
	for _, flag := range serveFlags() {
		all = append(all, flag.(cli.DocGenerationFlag).GetEnvVars()...)
	}
	return all
}

// TestExitCode distinguishes wrong command lines (2) and failures (1).
func TestExitCode(t *testing.T) {
	tests := []struct {
		args string
		want int
	}{
		{"version", 0},
		{"--help", 0},
		{"serve --help", 0},
		{"bogus", 2},
		{"serve --bogus", 2},
		{"serve a b", 2},
		{"serve --addr nonsense", 2},
		{"serve --addr :0 --memory", 2},
		{"etag", 2},
		{"serve --addr 127.0.0.1:0 testdata/nowhere", 1},
		{"etag testdata/nowhere", 1},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			err := newApp(&stdout, &stderr).RunContext(t.Context(), append([]string{"ifmatch"}, strings.Fields(test.args)...))
			if got := exitCode(err); got != test.want {
				t.Errorf("exit code %d (%v), want %d", got, err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("the message has more than one line: %v", err)
			}
			if stderr.Len() > 0 {
				t.Errorf("the app wrote its errors itself: %s", &stderr)
			}
		})
	}
}
