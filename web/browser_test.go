//go:build clients

package web_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/internal/clustertest"
)

// TestPageInChromium runs the tests of the page against the program, in the Chromium of the machine. Those of them that
// take long run if PAGE_LONG is set.
func TestPageInChromium(t *testing.T) {
	inChromium(t, nil, "IFMATCH="+programFor(t, "node", "npm", "chromium"))
}

// TestPageOfClusterInChromium runs the same tests against three servers over a database, each request with the next of them.
func TestPageOfClusterInChromium(t *testing.T) {
	if os.Getenv("PAGE_LONG") == "" {
		t.Skip("NOT RUN: takes minutes, and is run where PAGE_LONG is set")
	}
	program := programFor(t, "node", "npm", "chromium")
	front := filepath.Join(t.TempDir(), "front")
	run(t, exec.CommandContext(t.Context(), "go", "build", "-o", front, "../internal/clustertest/front"))
	environment := clustertest.Environment(t, clustertest.Requests)
	// In one, a local program makes thousands of files, and the memory of one server is measured.
	notOnCluster := []string{"many"}
	inChromium(t, notOnCluster, append(environment, "IFMATCH="+front, clustertest.ProgramVar+"="+program)...)
}

// inChromium runs the files of tests but for some, with more variables in their environment.
func inChromium(t *testing.T, but []string, environment ...string) {
	t.Helper()
	files, err := filepath.Glob("test/*.test.mjs")
	if err != nil || len(files) < 2 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".test.mjs")
		if name == "client" || slices.Contains(but, name) { // see TestClientLibrary
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each file has a server and a browser of its own
			cmd := exec.CommandContext(t.Context(), "node", "--test", file)
			cmd.Env = slices.Concat(os.Environ(), environment)
			run(t, cmd)
		})
	}
}

// programFor builds the program, and installs what the tests in test/ import. The test is not run where a program that it
// needs is missing, and fails there in CI.
func programFor(t *testing.T, needed ...string) string {
	t.Helper()
	for _, name := range needed {
		if _, err := exec.LookPath(name); err != nil && os.Getenv("CI") == "" {
			t.Skipf("NOT RUN: there is no %s", name)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(t.TempDir(), "ifmatch")
	run(t, exec.CommandContext(t.Context(), "go", "build", "-o", program, ".."))
	install := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
	install.Dir = "test"
	run(t, install)
	return program
}

func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}
