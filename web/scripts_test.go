package web_test

import (
	"os"
	"os/exec"
	"testing"

	"log/slog"
	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/handler"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/web"
)

// TestClientLibrary runs the tests of client.js in Node, against a server with a directory.
func TestClientLibrary(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("NOT RUN: there is no Node")
	} else if err != nil {
		t.Fatal(err)
	}
	dir, err := fs.Open(t.TempDir(), fs.Options{History: true})
	if err != nil {
		t.Fatal(err)
	}
	store, err := etagfs.New(dir, etagfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	h, err := handler.New(handler.Config{Store: store, Page: web.Full, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	url, _ := servertest.Serve(t, h)
	cmd := exec.CommandContext(t.Context(), node, "--test", "test/client.test.mjs")
	cmd.Env = append(os.Environ(), "PAGE_URL="+url)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
