package reload

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"ifmatch/auth"
	"ifmatch/internal/certificate"
	"ifmatch/internal/servertest"
	"ifmatch/settings"
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
			r.look(forced)
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

// A changed table of flags counts at the next start only, and SIGHUP says so.
func TestReloadTellsOfSettings(t *testing.T) {
	flags := []cli.Flag{&cli.StringFlag{Name: "history"}, &cli.BoolFlag{Name: "no-locks"}}
	for _, tt := range []struct{ about, then, want string }{
		{"as it was", "[serve]\nhistory = '7d'\n", ""},
		{"rules besides", "[serve]\nhistory = '7d'\n[groups]\n", ""},
		{"another value", "[serve]\nhistory = '8d'\n", "restart the server"},
		{"another key", "[serve]\nhistory = '7d'\nno-locks = true\n", "restart the server"},
		{"another directory", "[serve]\nhistory = '7d'\ndir = '/x'\n", "restart the server"},
		{"no file that can be meant", "[serve]\nhistory = 7\n", "the next start will fail"},
	} {
		file := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(file, []byte("[serve]\nhistory = '7d'\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		before, err := settings.Read(file, flags)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(tt.then), 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		(&Reload{Settings: before, Flags: flags, Log: slog.New(slog.NewTextHandler(&log, nil))}).compareSettings()
		if got := log.String(); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.about, got, tt.want)
		}
	}
}
