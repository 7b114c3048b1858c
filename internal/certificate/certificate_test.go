package certificate

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
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
