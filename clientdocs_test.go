package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestClientsAreDocumented holds docs/clients.md and the scripts together: what it links to is there, and no client
// that is tested is left out.
func TestClientsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	linked := make(map[string]bool)
	for _, m := range regexp.MustCompile(`\]\(([^)]*)\)`).FindAllStringSubmatch(string(page), -1) {
		name, _, _ := strings.Cut(m[1], "#")
		name = filepath.Join("docs", name)
		linked[name] = true
		if _, err := os.Stat(name); err != nil {
			t.Errorf("docs/clients.md links to what is not there: %v", err)
		}
	}
	for _, pattern := range []string{"testdata/clients/*.txtar", "testdata/clients/long/*.txtar", "testdata/script/clients/*.txtar"} {
		scripts, err := filepath.Glob(pattern)
		if err != nil || len(scripts) == 0 {
			t.Fatalf("%s: %d scripts, %v", pattern, len(scripts), err)
		}
		for _, script := range scripts {
			if !linked[script] {
				t.Errorf("docs/clients.md does not name %s", script)
			}
		}
	}
}
