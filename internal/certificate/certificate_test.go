package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// A look finds renewed files once, and a connection gets them once they are taken over. Files that make no pair are an
// error once, and change nothing.
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
	c, err := Load(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		t.Helper()
		pair, err := c.Config().GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.String()
	}
	look := func(forced bool, want string) *Renewal {
		t.Helper()
		r, err := c.Look(forced)
		got := "nothing"
		switch {
		case err != nil:
			got = "an error"
		case r != nil:
			got = "a pair"
		}
		if got != want {
			t.Errorf("the look finds %s (%v), want %s", got, err, want)
		}
		return r
	}
	first := serial()
	look(false, "nothing")
	renew(cert, key)
	renewal := look(false, "a pair")
	look(false, "nothing")
	if serial() != first {
		t.Error("a pair is used that was not taken over")
	}
	renewal.Take()
	second := serial()
	if second == first || !renewal.Expires().After(time.Now()) {
		t.Error("the new pair is not used")
	}

	// In the middle of a renewal the two files make no pair, and for a moment one may be missing.
	renew(cert, other)
	look(false, "an error")
	look(false, "nothing")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	look(false, "an error")
	look(true, "an error")
	if serial() != second {
		t.Error("without a key, the previous pair is not kept")
	}
	if err := os.Rename(other, key); err != nil {
		t.Fatal(err)
	}
	look(false, "a pair").Take()
	if serial() == second {
		t.Error("the new pair is not used")
	}
	look(true, "a pair")
}

// Over TLS 1.2, nothing is offered but suites that authenticate what they encrypt in one.
func TestSuitesOfTLS12(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := servertest.WriteCertificate(cert, key); err != nil {
		t.Fatal(err)
	}
	c, err := Load(cert, key)
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
