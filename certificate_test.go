package main

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
)

// Over TLS 1.2, nothing is offered but suites that authenticate what they encrypt in one.
func TestSuitesOfTLS12(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := makeCertificate(cert, key); err != nil {
		t.Fatal(err)
	}
	c, err := loadCertificate(Config{TLSCert: cert, TLSKey: key}, slog.New(slog.DiscardHandler))
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
			tls.Server(ours, c.config()).Handshake()
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

// A certificate that is renewed is seen with the next connection; what makes no pair is said once, and changes nothing.
func TestCertificateIsRenewed(t *testing.T) {
	dir := t.TempDir()
	cert, key, other := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "other.pem")
	renew := func(cert, key string) {
		t.Helper()
		if err := makeCertificate(cert, key); err != nil {
			t.Fatal(err)
		}
	}
	renew(cert, key)
	var log bytes.Buffer
	c, err := loadCertificate(Config{TLSCert: cert, TLSKey: key}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c.now = func() time.Time { return now }
	serial := func() string {
		t.Helper()
		pair, err := c.config().GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.String()
	}
	said := func(what string, times int) {
		t.Helper()
		if got := strings.Count(log.String(), what); got != times {
			t.Errorf("%q is said %d times, want %d:\n%s", what, got, times, &log)
		}
	}
	first := serial()
	renew(cert, key)
	if serial() != first {
		t.Error("the files are looked at again within the second")
	}
	now = now.Add(time.Second)
	second := serial()
	if second == first {
		t.Error("it was renewed, and that is not seen")
	}
	said("was read anew", 1)

	for range 3 {
		now = now.Add(time.Second)
		serial()
	}
	said("was read anew", 1)

	// In the middle of a renewal the two are no pair, and for a moment there may be none.
	renew(cert, other)
	for range 3 {
		now = now.Add(time.Second)
		if serial() != second {
			t.Error("what is no pair is used")
		}
	}
	said("cannot be renewed", 1)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	if serial() != second {
		t.Error("without a key, the last pair is not kept")
	}
	said("cannot be renewed", 2)
	c.renew()
	said("cannot be renewed", 3)
	if err := os.Rename(other, key); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	if serial() == second {
		t.Error("when there is a pair again, that is not seen")
	}
	said("was read anew", 2)
	c.renew()
	said("was read anew", 3)

	if none, err := loadCertificate(Config{}, nil); none != nil || err != nil || none.config() != nil {
		t.Errorf("without --tls-cert there is %v, error %v", none, err)
	}
}
