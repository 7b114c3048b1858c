//go:build clients

package web_test

import (
	"os"
	"os/exec"
	"testing"
)

// TestSitesInChromium compares a site that the program serves with the same one served by nginx, and publishes one each
// second while browsers walk it. It prints what each has found, as tables.
func TestSitesInChromium(t *testing.T) {
	if os.Getenv("PAGE_LONG") == "" {
		t.Skip("NOT RUN: takes minutes, and is run where PAGE_LONG is set")
	}
	program := programFor(t, "node", "npm", "chromium", "nginx")
	for _, name := range []string{"compare", "swaps"} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "node", "test/site/"+name+".mjs")
			cmd.Env = append(os.Environ(), "IFMATCH="+program)
			out, err := cmd.CombinedOutput()
			t.Logf("%s\n", out)
			if err != nil {
				t.Errorf("%s: %v", cmd, err)
			}
		})
	}
}
