//go:build unix

package reload

import (
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestAuditWaitsForNoPipe: a pipe that no program reads, in the place of the audit log, would keep a reload waiting
// forever. The old file is written on.
func TestAuditWaitsForNoPipe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit")
	a, err := OpenAudit(name, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer a.f.Close()
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Skip("NOT RUN: this disk has no pipes:", err)
	}
	if err := a.reopen(); err == nil {
		t.Error("a pipe was opened")
	}
	if _, err := a.Write([]byte("line\n")); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(name + ".1"); err != nil || string(text) != "line\n" {
		t.Errorf("the old file has %q, %v", text, err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := a.reopen(); err != nil {
		t.Error(err)
	}
}
