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
	for _, needed := range []string{"node", "npm", "chromium"} {
		if _, err := exec.LookPath(needed); err != nil && os.Getenv("CI") == "" {
			t.Skipf("NOT RUN: there is no %s", needed)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(t.TempDir(), "ifmatch")
	run(t, exec.CommandContext(t.Context(), "go", "build", "-o", program, ".."))
	install := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
	install.Dir = "test"
	run(t, install)
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

func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}
