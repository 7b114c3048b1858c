//go:build clients

package web_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPageInChromium runs the tests of the page against the program, in the Chromium of the machine. Those of them that
// take long run if PAGE_LONG is set.
func TestPageInChromium(t *testing.T) {
	program := programFor(t, "node", "npm", "chromium")
	files, err := filepath.Glob("test/*.test.mjs")
	if err != nil || len(files) < 2 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".test.mjs")
		if name == "client" { // see TestClientLibrary
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each file has a server and a browser of its own
			cmd := exec.CommandContext(t.Context(), "node", "--test", file)
			cmd.Env = append(os.Environ(), "IFMATCH="+program)
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
