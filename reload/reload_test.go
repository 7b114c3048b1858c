package reload

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/internal/certificate"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// TestChangesAreTakenOverTogether: users, rules and the certificate that have changed at one time are taken over
// together, or none of them is.
func TestChangesAreTakenOverTogether(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair := func(cert, key string) {
		t.Helper()
		if err := servertest.WriteCertificate(file(cert), file(key)); err != nil {
			t.Fatal(err)
		}
	}
	rules := func(effects string) string {
		return "[[rule]]\npath = '/'\nwho = ['authenticated']\neffects = ['" + effects + "']\n"
	}
	put("users", "ann:*\n")
	put("config", rules("list"))
	pair("cert", "key")
	authority, err := auth.Open(auth.Options{Users: file("users"), Config: file("config")})
	if err != nil {
		t.Fatal(err)
	}
	c, err := certificate.Load(file("cert"), file("key"))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r := Reload{Authority: authority, Certificate: c, CertFile: file("cert"), Log: slog.New(slog.NewTextHandler(&log, nil))}
	state := func() string {
		t.Helper()
		access := authority.Now().Access(auth.Principal{Name: "ann"})
		pair, err := c.Config().GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return access.Effects("").String() + " " + pair.Leaf.SerialNumber.String()
	}
	looks := func(forced bool) {
		for range 3 { // changed files are read when they have settled
			r.Look(forced)
		}
	}
	serial := func() string { _, serial, _ := strings.Cut(state(), " "); return serial }

	first := serial()
	looks(false)
	if got := state(); got != "list "+first {
		t.Errorf("without a change: %s", got)
	}
	put("config", "broken\n")
	pair("cert", "key")
	looks(true)
	if got := state(); got != "list "+first {
		t.Errorf("with broken rules, at SIGHUP: %s", got)
	}
	put("config", rules("read"))
	looks(false)
	second := serial()
	if got := state(); got != "read "+second || second == first {
		t.Errorf("with the rules repaired: %s", got)
	}
	put("users", "ann:*\nbob:*\n")
	put("config", rules("create"))
	pair("cert", "other")
	looks(true)
	if got := state(); got != "read "+second || authority.Now().Knows("bob") {
		t.Errorf("with a certificate that has another key, at SIGHUP: %s", got)
	}
	pair("cert", "key")
	looks(false)
	if got := state(); got != "create "+serial() || serial() == second || !authority.Now().Knows("bob") {
		t.Errorf("with the certificate repaired: %s", got)
	}
	// A certificate that is renewed later does not wait for rules that are broken for long.
	third := serial()
	put("config", "broken\n")
	looks(false)
	pair("cert", "key")
	looks(false)
	if got := state(); got != "create "+serial() || serial() == third {
		t.Errorf("with broken rules and a new certificate: %s", got)
	}
	if n := strings.Count(log.String(), "level=ERROR"); n < 4 {
		t.Errorf("%d errors are logged:\n%s", n, &log)
	}
}
