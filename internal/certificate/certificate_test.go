package certificate

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ifmatch/internal/servertest"
)

// The next connection gets a renewed certificate. Files that make no pair are reported once, and change nothing.
func TestCertificateIsRenewed(t *testing.T) {
	dir := t.TempDir()
	cert, key, other := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "other.pem")
	renew := func(cert, key string) {
		t.Helper()
		if err := servertest.WriteCertificate(cert, key); err != nil {
			t.Fatal(err)
		}
	}
	renew(cert, key)
	var log bytes.Buffer
	c, err := Load(cert, key, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c.now = func() time.Time { return now }
	serial := func() string {
		t.Helper()
		pair, err := c.Config().GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.String()
	}
	said := func(text string, times int) {
		t.Helper()
		if got := strings.Count(log.String(), text); got != times {
			t.Errorf("%q is said %d times, want %d:\n%s", text, got, times, &log)
		}
	}
	first := serial()
	renew(cert, key)
	if serial() != first {
		t.Error("the files were read again within a second")
	}
	now = now.Add(time.Second)
	second := serial()
	if second == first {
		t.Error("the renewal was not noticed")
	}
	said("was read again", 1)

	for range 3 {
		now = now.Add(time.Second)
		serial()
	}
	said("was read again", 1)

	// In the middle of a renewal the two files make no pair, and for a moment one may be missing.
	renew(cert, other)
	for range 3 {
		now = now.Add(time.Second)
		if serial() != second {
			t.Error("files that make no pair were used")
		}
	}
	said("cannot read the renewed", 1)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	if serial() != second {
		t.Error("without a key, the previous pair is not kept")
	}
	said("cannot read the renewed", 2)
	c.Renew()
	said("cannot read the renewed", 3)
	if err := os.Rename(other, key); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	if serial() == second {
		t.Error("the new pair was not noticed")
	}
	said("was read again", 2)
	c.Renew()
	said("was read again", 3)
}

// Over TLS 1.2, nothing is offered but suites that authenticate what they encrypt in one.
func TestSuitesOfTLS12(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := servertest.WriteCertificate(cert, key); err != nil {
		t.Fatal(err)
	}
	c, err := Load(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ecdsa := c.pair.Load().Leaf.PublicKeyAlgorithm == x509.ECDSA
	taken := 0
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if !slices.Contains(suite.SupportedVersions, tls.VersionTLS12) || ecdsa != strings.Contains(suite.Name, "_ECDSA_") {
			continue
		}
		ours, theirs := net.Pipe()
		go func() {
			tls.Server(ours, c.Config()).Handshake()
			ours.Close()
		}()
		client := tls.Client(theirs, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}})
		err := client.Handshake()
		theirs.Close()
		want := strings.Contains(suite.Name, "_ECDHE_") && (strings.Contains(suite.Name, "GCM") || strings.Contains(suite.Name, "POLY1305"))
		if (err == nil) != want {
			t.Errorf("%s: %v", suite.Name, err)
		}
		if err == nil {
			taken++
		}
	}
	if taken != 3 {
		t.Errorf("%d suites are taken, want 3", taken)
	}
}
