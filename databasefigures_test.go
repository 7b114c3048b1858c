package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/internal/database"
	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/monitor"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// ofDatabases are the metrics that a server over a database alone has.
var ofDatabases = regexp.MustCompile("^ifmatch_(database|objects|contents|feed)_")

// TestDatabaseIsMeasured: /metrics tells of its connections, its feed, and objects that fail or are lost.
func TestDatabaseIsMeasured(t *testing.T) {
	server, root := pgtest.Run(t), filepath.Join(t.TempDir(), "place")
	store, err := database.Place{Store: server.DSN("postgres"), Blobs: "dir://" + root}.Open(t.Context(), pgstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	put := func() error {
		body := strings.NewReader(strings.Repeat("x", 100_000))
		_, _, err := store.Put(t.Context(), "large", body, tree.PutOptions{Length: -1}, tree.Condition{})
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "admin.sock")
	m, stop, err := monitor.Start(t.Context(), monitor.Options{Addr: "unix:" + socket}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	databaseFigures(m, store)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	want := func(lines ...string) string {
		t.Helper()
		_, text := servertest.Do(t, client, http.MethodGet, "http://admin/metrics", "")
		for _, line := range lines {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("there is no %s in\n%s", line, text)
			}
		}
		return text
	}
	text := want(`ifmatch_database_connections{state="most"} 16`, `ifmatch_database_connections{state="used"} 0`,
		"ifmatch_feed_lag_seconds 0", "ifmatch_database_looks_total 1", "ifmatch_database_commits_total 1",
		"ifmatch_objects_failed_total 0", "ifmatch_contents_damaged_total 0")
	page := readPage(t, "docs/metrics.md")
	for _, name := range regexp.MustCompile(`(?m)^# TYPE (ifmatch_\w+)`).FindAllStringSubmatch(text, -1) {
		if ofDatabases.MatchString(name[1]) && !strings.Contains(page, "`"+name[1]+"`") {
			t.Errorf("docs/metrics.md does not have %s", name[1])
		}
	}
	for _, name := range regexp.MustCompile("`(ifmatch_\\w+)`").FindAllStringSubmatch(page, -1) {
		if ofDatabases.MatchString(name[1]) && !strings.Contains(text, "# TYPE "+name[1]+" ") {
			t.Errorf("docs/metrics.md has %s, and the server has not", name[1])
		}
	}
	if err := os.Rename(root, root+"-away"); err != nil {
		t.Fatal(err)
	}
	if err := put(); err == nil {
		t.Error("an object is stored nowhere")
	}
	want("ifmatch_objects_failed_total 1", "ifmatch_contents_damaged_total 0")
	server.End()
	want("ifmatch_feed_lag_seconds NaN")
}
