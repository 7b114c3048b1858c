package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler"
	"r-seed-1f3a754f.example/ifmatch/internal/database"
	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/monitor"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/replicas"
)

// serveReplicas serves a tree in a database by some servers, each with a users file of its own.
func serveReplicas(t *testing.T, n int, users string) (urls []string, client *http.Client) {
	t.Helper()
	dsn, objects := pgtest.Run(t).Database(t, nil), t.TempDir()
	for range n {
		var url string
		url, client, _ = serveReplica(t, dsn, objects, users, "")
		urls = append(urls, url)
	}
	return urls, client
}

// serveReplica serves a tree by one server with users and app tokens.
func serveReplica(t *testing.T, dsn, dir, users, tokens string) (url string, client *http.Client, cfg Config) {
	t.Helper()
	// The tables are there where the server goes by another clock, see shiftedClock.
	store, err := database.Place{Store: dsn, Blobs: "dir://" + dir}.Open(t.Context(),
		pgstore.Options{NoMigrate: strings.Contains(dsn, "search_path")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	file := filepath.Join(t.TempDir(), "users")
	err = errors.Join(os.WriteFile(file, []byte(users), 0o600), os.WriteFile(auth.TokensFile(file), []byte(tokens), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	cfg = Config{Config: handler.Config{DeleteGuard: []string{"rclone/*"}, UploadExpiry: time.Hour}, Database: dsn}
	if cfg.Auth, err = auth.Open(auth.Options{Users: file, InsecureBasic: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cfg.share(t.Context(), store, slog.New(slog.DiscardHandler)))
	h, err := newHandler(cfg, store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	url, client = servertest.Serve(t, h)
	return url, client, cfg
}

// TestReplicasShare links, failed PUTs and wrong passwords: each request of a client comes to another one.
func TestReplicasShare(t *testing.T) {
	const hash = "$2a$04$4NPtG9SnUkkykmP0X2whze5iZbQ78XY/PGYEG/HvK35rDcWxp/5DG" // of secret
	urls, client := serveReplicas(t, 2, "ann:"+hash+"\nbob:"+hash+"\n")
	basic := func(name, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
	}
	send := func(replica int, method, path, body, password string, want int, header ...string) string {
		t.Helper()
		if password != "" {
			header = append(header, "Authorization", basic("ann", password))
		}
		answer, text := servertest.Do(t, client, method, urls[replica]+path, body, header...)
		if answer.StatusCode != want {
			t.Errorf("%s %s at %d: %d, want %d: %s", method, path, replica, answer.StatusCode, want, text)
		}
		return text
	}
	t.Run("share links", func(t *testing.T) {
		send(0, http.MethodPut, "/f", "content", "secret", http.StatusCreated)
		var made struct{ ID, Href string }
		told := send(0, http.MethodPost, "/.ifmatch/links", `{"path": "/f"}`, "secret", http.StatusCreated,
			"Content-Type", "application/json")
		if err := json.Unmarshal([]byte(told), &made); err != nil {
			t.Fatal(err)
		}
		for i := range urls {
			if got := send(i, http.MethodGet, made.Href, "", "", http.StatusOK); got != "content" {
				t.Errorf("at %d: %q", i, got)
			}
		}
		send(1, http.MethodDelete, "/.ifmatch/links/"+made.ID, "", "secret", http.StatusNoContent)
		for i := range urls {
			send(i, http.MethodGet, made.Href, "", "", http.StatusNotFound)
		}
	})
	t.Run("the guard for DELETE", func(t *testing.T) {
		const rclone = "rclone/v1.60"
		send(0, http.MethodPut, "/guarded", "hers", "secret", http.StatusCreated)
		send(0, http.MethodPut, "/guarded", "mine", "secret", http.StatusPreconditionFailed, "If-None-Match", "*", "User-Agent", rclone)
		send(1, http.MethodDelete, "/guarded", "", "secret", http.StatusPreconditionFailed, "User-Agent", rclone)
		if got := send(0, http.MethodGet, "/guarded", "", "secret", http.StatusOK); got != "hers" {
			t.Errorf("it is %q", got)
		}
		send(0, http.MethodDelete, "/guarded", "", "secret", http.StatusNoContent, "User-Agent", rclone) // the user means it
	})
	t.Run("wrong passwords", func(t *testing.T) {
		var wrong atomic.Int32
		var all sync.WaitGroup
		begun := time.Now()
		for i := range 14 {
			all.Go(func() { // one after another would take long, because answers are kept back
				answer, _ := servertest.Do(t, client, http.MethodGet, urls[i%2]+"/", "",
					"Authorization", basic("bob", fmt.Sprint("wrong", i)))
				switch answer.StatusCode {
				case http.StatusUnauthorized:
					wrong.Add(1)
				case http.StatusTooManyRequests:
				default:
					t.Errorf("wrong password %d: %d", i, answer.StatusCode)
				}
			})
		}
		all.Wait()
		if n := int(wrong.Load()); !isAllowance(n, begun) {
			t.Errorf("%d wrong passwords were tried, want 10 at both together", n)
		}
	})
}

// isAllowance reports whether as many wrong passwords were tried since a time as a client may try for one user: ten at once,
// and one more a minute.
func isAllowance(tried int, since time.Time) bool {
	return tried >= 10 && tried <= 10+int(time.Since(since)/time.Minute)
}

// TestReplicasThatDiffer tell so in /readyz and by a metric, until they have the same users again.
func TestReplicasThatDiffer(t *testing.T) {
	dsn := pgtest.Run(t).Database(t, nil)
	const hash = "$2a$04$4NPtG9SnUkkykmP0X2whze5iZbQ78XY/PGYEG/HvK35rDcWxp/5DG"
	var tellers []*replicas.Teller
	files := []string{filepath.Join(t.TempDir(), "users"), filepath.Join(t.TempDir(), "users")}
	var authorities []*auth.Authority
	socket := filepath.Join(t.TempDir(), "admin.sock")
	for i, file := range files {
		store, err := pgstore.Open(t.Context(), dsn, pgstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		if err := os.WriteFile(file, []byte(fmt.Sprintf("user%d:%s\n", i, hash)), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := Config{Database: dsn}
		if cfg.Auth, err = auth.Open(auth.Options{Users: file, InsecureBasic: true}); err != nil {
			t.Fatal(err)
		}
		log := slog.New(slog.DiscardHandler)
		if i == 0 {
			var stop func()
			if cfg.Monitor, stop, err = monitor.Start(t.Context(), monitor.Options{Addr: "unix:" + socket}, log); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
			cfg.Monitor.Serves(store, nil, false, nil)
		}
		authorities = append(authorities, cfg.Auth)
		tellers = append(tellers, cfg.teller(store, log))
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	want := func(note, figure string) {
		t.Helper()
		for range 4 { // a difference is told that lasts for three looks of each
			for _, teller := range tellers {
				if err := teller.Tell(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		text := readyz(t, client)
		if !strings.HasPrefix(text, "ok\n"+note) || note == "" && text != "ok\n" {
			t.Errorf("/readyz says %q, want %q", text, note)
		}
		_, text = servertest.Do(t, client, http.MethodGet, "http://admin/metrics", "")
		if !strings.Contains(text, "\nifmatch_replicas_differ "+figure+"\n") {
			t.Errorf("there is no ifmatch_replicas_differ %s in\n%s", figure, text)
		}
	}
	want("1 other replicas have other users, app tokens or rules, the first of them at ", "1")
	same, err := os.ReadFile(files[0])
	if err == nil {
		err = os.WriteFile(files[1], same, 0o600)
	}
	if err == nil {
		err = authorities[1].Reload()
	}
	if err != nil {
		t.Fatal(err)
	}
	want("", "0")
}
