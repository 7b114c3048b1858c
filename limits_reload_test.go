package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/reload"
	"r-seed-1f3a754f.example/ifmatch/settings"
)

// startedWith returns the Config of a server that has started with a configuration file, whose limits can be reloaded.
func startedWith(t *testing.T, file string, logger *slog.Logger) Config {
	t.Helper()
	started, err := settings.Read(file, serveFlags())
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{settings: started}
	if cfg.Limits, err = limitsOf(nil, started); err != nil {
		t.Fatal(err)
	}
	bounds := cfg.Limits.bounds(limit.System())
	cfg.Live = newLiveLimits(cfg.Limits, bounds.Pools(), logger)
	return cfg
}

// filesOfServer returns functions for a directory of files that a server reads: at returns the path of a file, and put
// writes one.
func filesOfServer(t *testing.T) (at func(name string) string, put func(name, text string)) {
	dir := t.TempDir()
	at = func(name string) string { return filepath.Join(dir, name) }
	return at, func(name, text string) {
		t.Helper()
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRulesWaitForShares: rules in a file whose shares cannot be served are not taken over. Other shares are a warning.
func TestRulesWaitForShares(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config")
	put := func(effects, share string) {
		t.Helper()
		text := "[[rule]]\npath = '/'\nwho = ['anonymous']\neffects = ['" + effects + "']\n" +
			"[[share]]\npath = '/a'\ndir = '.'\n" + share
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("list", "")
	authority, err := auth.Open(auth.Options{Config: file})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	cfg := startedWith(t, file, logger)
	r := reload.Reload{Authority: authority, Table: reloadedTable(cfg), Log: logger}
	effects := func() string {
		access := authority.Now().Access(auth.Principal{})
		return access.Effects("").String()
	}
	for _, step := range []struct{ effects, share, want, told string }{
		{"read", "[[share]]\npath = '/b'\ndir = '.'\n", "list", "the same directory, or one is in the other"},
		{"read", "[[share]]\npath = '/b'\n", "list", "line 8: share: write both"},
		{"create", "[[share]]\npath = '/b'\ndir = " + strconv.Quote(t.TempDir()) + "\n", "create", "keys=share"},
	} {
		log.Reset()
		put(step.effects, step.share)
		r.Look(true)
		if got := effects(); got != step.want || !strings.Contains(log.String(), step.told) {
			t.Errorf("%s: the effects are %s, want %s, and it is told:\n%s", step.share, got, step.want, &log)
		}
	}
	log.Reset()
	put("replace", "")
	r.Look(true)
	if got := effects(); got != "replace" || strings.Contains(log.String(), "keys=") {
		t.Errorf("with the shares that are served: the effects are %s, and it is told:\n%s", got, &log)
	}
}

// TestUsersChangeWhileAShareIsAway: who is removed from the users while the disk of a share is away is not let in.
func TestUsersChangeWhileAShareIsAway(t *testing.T) {
	at, put := filesOfServer(t)
	if err := os.Mkdir(at("share"), 0o700); err != nil {
		t.Fatal(err)
	}
	put("users", "ann:*\nbob:*\n")
	put("config", "users = 'users'\n[[share]]\npath = '/a'\ndir = 'share'\n")
	authority, err := auth.Open(auth.Options{Config: at("config")})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	cfg := startedWith(t, at("config"), logger)
	r := reload.Reload{Authority: authority, Table: reloadedTable(cfg), Log: logger}
	if err := os.Remove(at("share")); err != nil {
		t.Fatal(err)
	}
	put("users", "ann:*\n")
	r.Look(true)
	if n := authority.Now().CountUsers(); n != 1 {
		t.Errorf("a removed user is still one of %d; it is told:\n%s", n, &log)
	}
}

// TestReloadServesNoUsersFile: a users file in a served directory is refused as at the start, and users stay as they
// were.
func TestReloadServesNoUsersFile(t *testing.T) {
	at, put := filesOfServer(t)
	if err := os.Mkdir(at("share"), 0o700); err != nil {
		t.Fatal(err)
	}
	put("users", "ann:*\n")
	put("others", "ann:*\nbob:*\n")
	put("share/users", "ann:*\nbob:*\n")
	config := func(users string) string { return "users = '" + users + "'\n[[share]]\npath = '/a'\ndir = 'share'\n" }
	put("config", config("users"))
	authority, err := auth.Open(auth.Options{Config: at("config")})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	cfg := startedWith(t, at("config"), logger)
	cfg.Shares = cfg.settings.Shares
	r := reload.Reload{Authority: authority, Table: reloadedTable(cfg), Log: logger}
	for _, step := range []struct {
		users string
		want  int
		told  string
	}{
		{"share/users", 1, "is in the directory that is served"},
		{"others", 2, "users and rules were read again"},
		{"users", 1, "users and rules were read again"},
	} {
		log.Reset()
		put("config", config(step.users))
		r.Look(true)
		if n := authority.Now().CountUsers(); n != step.want || !strings.Contains(log.String(), step.told) {
			t.Errorf("with the file %s: there are %d users, want %d, and it is told:\n%s", step.users, n, step.want, &log)
		}
	}
}

// TestLimitsAreTakenOver: changed limits are taken over with the rules of the same file, or neither is. Limits of the
// command line stay, and settings that cannot change are named.
func TestLimitsAreTakenOver(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rules := func(effects string) string {
		return "[[rule]]\npath = '/'\nwho = ['anonymous']\neffects = ['" + effects + "']\n"
	}
	put(rules("list") + "[serve]\nmax-uploads = 7\nmax-upload = '1kB'\naddr = '127.0.0.1:0'\n")
	started, err := settings.Read(file, serveFlags())
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{settings: started, fixedLimits: map[string]string{"max-requests": "11"}}
	if cfg.Limits, err = limitsOf(cfg.fixedLimits, started); err != nil {
		t.Fatal(err)
	}
	authority, err := auth.Open(auth.Options{Config: file})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	bounds := cfg.Limits.bounds(limit.System())
	live := newLiveLimits(cfg.Limits, bounds.Pools(), logger)
	cfg.Live = live
	r := reload.Reload{Authority: authority, Table: reloadedTable(cfg), Log: logger}
	for _, tt := range []struct {
		what, config string
		forced       bool
		want, logs   string
	}{
		{"without a change", "", true, "list 7 11 1000 120 {1000 0}", "users and rules were read again"},
		{"changed", rules("read") + "[serve]\nmax-uploads = 9\nmax-requests = 99\nmax-upload = '2kB'\nmax-pause = '1d'\nunfinished-uploads = 3\nunfinished-size = '5kB'\n", false,
			"read 9 11 2000 86400 {3 5000}", "keys=addr"},
		{"with a limit that cannot be used", rules("create") + "[serve]\nmax-uploads = -1\n", false, "read 9 11 2000 86400 {3 5000}",
			"max-uploads -1 is negative"},
		{"with a key that is not known", rules("create") + "[serve]\nmax-upload = '5kB'\nmax-uplaod = '1kB'\n", true, "read 9 11 2000 86400 {3 5000}",
			"max-uplaod"},
		{"with rules that cannot be used", "[[rule]]\npath = 1\n[serve]\nmax-uploads = 5\n", false, "read 9 11 2000 86400 {3 5000}",
			"users and rules cannot be used"},
		{"with settings that wait for a start", rules("create") + "[serve]\nidle-timeout = '9m'\nmax-uploads = 5\nno-locks = true\n", false,
			"create 5 11 0 120 {1000 0}", "keys=\"addr, no-locks\""},
		{"back", rules("list") + "[serve]\naddr = '127.0.0.1:0'\nmax-uploads = 1\n", false, "list 1 11 0 120 {1000 0}", ""},
	} {
		log.Reset()
		if tt.config != "" {
			put(tt.config)
		}
		for range 3 { // changed files are read when they have settled
			r.Look(tt.forced)
		}
		access := authority.Now().Access(auth.Principal{})
		upload, pace := live.current()()
		got := fmt.Sprint(access.Effects(""), live.pools.Uploads.Size(), live.pools.Listings.Size(), upload, pace.Pause.Seconds(),
			cfg.unfinished())
		if got != tt.want || !strings.Contains(log.String(), tt.logs) {
			t.Errorf("%s: %s, want %s; the log says:\n%s", tt.what, got, tt.want, &log)
		}
		if warns := strings.Contains(log.String(), "idle-timeout"); warns != strings.Contains(tt.config, "idle-timeout") {
			t.Errorf("%s: the log says:\n%s", tt.what, &log)
		}
	}
	put("")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r.Look(true)
	if upload, _ := live.current()(); upload != 0 || live.pools.Uploads.Size() != 1 || !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("without the file: %d uploads; the log says:\n%s", live.pools.Uploads.Size(), &log)
	}
}
