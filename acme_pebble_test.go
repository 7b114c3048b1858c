//go:build pebble

package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// An authority is Pebble, a small ACME server for tests (github.com/letsencrypt/pebble), with a DNS server in which
// each name leads to this machine.
type authority struct {
	url, root, ca string // of the directory; of the certificate that it issues by; a file
}

// freePort returns a port that is free.
func freePort(t *testing.T) int {
	t.Helper()
	port, err := servertest.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// startAuthority starts an authority that looks for challenges at two ports, and issues certificates that are valid for
// some seconds.
func startAuthority(t *testing.T, httpPort, tlsPort, seconds int) authority {
	t.Helper()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := servertest.WriteCertificate(cert, key); err != nil {
		t.Fatal(err)
	}
	port, management, dns := freePort(t), freePort(t), freePort(t)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": fmt.Sprint("127.0.0.1:", port), "managementListenAddress": fmt.Sprint("127.0.0.1:", management),
		"certificate": cert, "privateKey": key, "httpPort": httpPort, "tlsPort": tlsPort,
		"profiles": map[string]any{"default": map[string]any{"description": "the only one", "validityPeriod": seconds}},
	}})
	file := filepath.Join(dir, "config.json")
	if err != nil || os.WriteFile(file, config, 0o600) != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"pebble-challtestsrv", "-dnsserver", fmt.Sprint("127.0.0.1:", dns), "-http01", "", "-https01", "", "-tlsalpn01", "",
			"-doh", "", "-management", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""},
		{"pebble", "-strict", "-config", file, "-dnsserver", fmt.Sprint("127.0.0.1:", dns)},
	} {
		cmd := exec.Command(tool(t, args[0]), args[1:]...)
		cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
		cmd.Stdout = t.Output()
		cmd.Stderr = t.Output()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	}
	a := authority{
		url:  fmt.Sprintf("https://127.0.0.1:%d/dir", port),
		root: fmt.Sprintf("https://127.0.0.1:%d/roots/0", management),
		ca:   cert,
	}
	a.roots(t) // it answers
	return a
}

// roots returns the root certificate of those that the authority issues.
func (a authority) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	client := insecure(t, "")
	for end := time.Now().Add(servertest.Patience); ; {
		answer, err := client.Get(a.root)
		if err == nil {
			data, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			pool := x509.NewCertPool()
			if !pool.AppendCertsFromPEM(data) {
				t.Fatalf("the authority has no root: %s", data)
			}
			return pool
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// A certificate is got by each of the two challenges, and it is one of the authority's.
func TestCertificatesComeFromAnAuthority(t *testing.T) {
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		t.Run(challenge, func(t *testing.T) {
			at, plain, nowhere := freePort(t), freePort(t), freePort(t)
			httpPort, tlsPort := nowhere, at
			if challenge == "http-01" {
				httpPort, tlsPort = plain, nowhere
			}
			a := startAuthority(t, httpPort, tlsPort, 90*24*3600)
			state := t.TempDir()
			args := []string{"--addr", fmt.Sprint("127.0.0.1:", at), "--acme", "files.example", "--acme-directory", a.url,
				"--acme-ca", a.ca, "--acme-email", "admin@files.example", "--state-dir", state,
				"--redirect", fmt.Sprint("127.0.0.1:", plain), t.TempDir()}
			s := servertest.Run(t, servertest.Command(args...))
			if _, err := s.Log.Await(regexp.MustCompile(`there is a certificate" name=files.example`)); err != nil {
				t.Fatal(err)
			}
			conn, err := tls.Dial("tcp", s.Addr, &tls.Config{ServerName: "files.example", RootCAs: a.roots(t)})
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			if kept, err := os.ReadDir(filepath.Join(state, "acme")); err != nil || len(kept) < 2 {
				t.Errorf("the account and the certificate are not kept: %v, %v", kept, err)
			}
		})
	}
}

// Certificates that are about to end are renewed without a lost request.
func TestCertificatesAreRenewed(t *testing.T) {
	at, plain := freePort(t), freePort(t)
	a := startAuthority(t, plain, at, 60)
	s := servertest.Run(t, servertest.Command("--addr", fmt.Sprint("127.0.0.1:", at), "--acme", "files.example",
		"--acme-directory", a.url, "--acme-ca", a.ca, "--state-dir", t.TempDir(),
		"--redirect", fmt.Sprint("127.0.0.1:", plain), "--log-level", "warn", t.TempDir()))
	roots := a.roots(t)
	seen := map[string]bool{}
	sent := 0
	for end := time.Now().Add(4 * servertest.Patience); time.Now().Before(end) && len(seen) < 2; sent++ {
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{ServerName: "files.example", RootCAs: roots}, DisableKeepAlives: true,
		}
		request, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = "files.example"
		answer, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			t.Fatalf("request %d: %v", sent, err)
		}
		answer.Body.Close()
		seen[answer.TLS.PeerCertificates[0].SerialNumber.String()] = true
	}
	if len(seen) < 2 {
		t.Errorf("%d requests have seen one certificate", sent)
	}
	t.Logf("%d requests, none was lost", sent)
}
