//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// While clients write and read, on connections that stay and on new ones, the certificate is renewed and the server is
// asked to read its files again, many times. Each request is answered, and each acknowledged write is there.
func TestNoRequestIsLostAtAReload(t *testing.T) {
	const renewals, clients = 12, 6
	at := t.TempDir()
	cert, key, users := filepath.Join(at, "cert.pem"), filepath.Join(at, "key.pem"), filepath.Join(at, "users")
	renew := func() {
		t.Helper()
		if err := servertest.WriteCertificate(cert, key); err != nil {
			t.Fatal(err)
		}
	}
	renew()
	if err := os.WriteFile(users, []byte("ann:*\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := servertest.Run(t, servertest.Command("--tls-cert", cert, "--tls-key", key, "--users", users, "--anonymous", "write",
		"--access-log", "off", t.TempDir()))
	ctx, done := context.WithCancel(t.Context())
	defer done()
	var sent atomic.Int64
	answered := make(chan struct{}, 1)
	var running sync.WaitGroup
	began := time.Now()
	for id := range clients {
		running.Go(func() {
			keepAsking(t, ctx, s.URL, id, id%2 == 0, func() {
				select {
				case answered <- struct{}{}:
				default: // one waits to be received
				}
				sent.Add(1)
			})
		})
	}
	for n := range renewals {
		renew()
		if n > 0 { // the first one is noticed without a signal
			if err := s.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Log.Await(regexp.MustCompile(fmt.Sprintf("(?s)(the certificate was read again.*){%d}", n+1))); err != nil {
			t.Fatal(err)
		}
		late := time.After(servertest.Patience)
		for range 2 * clients { // some are answered in between
			select {
			case <-answered:
			case <-late:
				t.Fatal("the clients stand still")
			}
		}
	}
	done()
	running.Wait()
	took := time.Since(began)
	t.Logf("%d requests beside %d reloads, %.0f in a second", sent.Load(), renewals, float64(sent.Load())/took.Seconds())
}

// keepAsking puts and gets a file of its own until ctx is done. It tells of each answer.
func keepAsking(t *testing.T, ctx context.Context, url string, id int, stays bool, tell func()) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: !stays}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: servertest.Patience}
	for n := 0; ctx.Err() == nil; n++ {
		content := fmt.Sprintf("%d of %d", n, id)
		for _, method := range []string{"PUT", "GET"} {
			r, err := http.NewRequest(method, fmt.Sprintf("%s/%d", url, id), strings.NewReader(content))
			if err != nil {
				t.Error(err)
				return
			}
			answer, err := client.Do(r)
			if err != nil {
				t.Errorf("%s after %d rounds: %v", method, n, err)
				return
			}
			got, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil || answer.StatusCode/100 != 2 || method == "GET" && string(got) != content {
				t.Errorf("%s is answered %s, %q, %v; want %q", method, answer.Status, got, err, content)
				return
			}
			tell()
		}
	}
}
