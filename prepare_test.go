package main

import (
	"bytes"
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/handler"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/site"
)

// A file with which a server does not start is refused with the same words, and nothing is made.
func TestConfigCheckAnswersAsAServer(t *testing.T) {
	at := t.TempDir()
	in := func(name string) string { return filepath.Join(at, name) }
	for _, dir := range []string{"data", "state"} {
		if err := os.Mkdir(in(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"file": "", "data/users": "ann:*\n", "data/key.pem": "", "users": "ann:*\n"} {
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := servertest.WriteCertificate(in("cert.pem"), in("key.pem")); err != nil {
		t.Fatal(err)
	}
	if err := servertest.WriteCertificate(in("cert.pem"), in("other.pem")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ about, settings, want string }{
		{"an address without a port", `addr = "127.0.0.1"`, "write HOST:PORT"},
		{"an address that is not of this machine", "read-only = true\naddr = '192.0.2.1:0'", "cannot listen on 192.0.2.1:0"},
		{"a name that cannot be resolved", `addr = "none.invalid:0"`, "cannot be resolved"},
		{"all addresses and no users", `addr = ":0"`, "there are no users"},
		{"a socket where a file is", `addr = "unix:file"` + "\n" + `dir = "data"`, "is no socket"},
		{"a certificate that is not there", "tls-cert = 'none.pem'\ntls-key = 'key.pem'", "no such file"},
		{"a key of another certificate", "tls-cert = 'cert.pem'\ntls-key = 'key.pem'", "does not match"},
		{"a key in the directory", "tls-cert = 'cert.pem'\ntls-key = 'data/key.pem'", "in the directory that is served"},
		{"users in the directory", "users = 'data/users'", "in the directory that is served"},
		{"users that are not there", "users = 'none'", "no such file"},
		{"a directory that is not there", "dir = 'none'", "does not exist"},
		{"a file for a directory", "dir = 'file'", "is not a directory"},
		{"the whole system", "dir = '/'", "is the whole machine"},
		{"state in the directory", "state-dir = 'data/state'", "is inside the served directory"},
		{"an admin listener for all", "admin = ':0'", "refusing to open the admin listener"},
		{"a name for no admin listener", "admin-host = 'm.example'", "a listener that there is not"},
		{"profiles for all", "pprof = ':0'", "profiles tell too much"},
		{"profiles at no address", "pprof = 'x'", "write HOST:PORT"},
		{"a redirection without https", "redirect = ':0'", "speaks plain HTTP"},
		{"a redirection of a socket", "tls-cert = 'cert.pem'\ntls-key = 'other.pem'\nredirect = 'unix:s'", "which no browser reaches"},
		{"https on a socket", "acme = 'a.example'\nstate-dir = 'state'\naddr = 'unix:s'", "over which proxies speak plain HTTP"},
		{"an authority without roots", "acme = 'a.example'\nstate-dir = 'state'\nacme-ca = 'file'", "has no certificate in it"},
		{"an audit log in no directory", "audit-log = 'none/log'", "--audit-log cannot be written"},
		{"an audit log that is a directory", "audit-log = 'state'", "--audit-log cannot be written"},
	} {
		settings := tt.settings
		if !strings.Contains(settings, "addr =") {
			settings += "\naddr = '127.0.0.1:0'"
		}
		if !strings.Contains(settings, "dir = ") || strings.Contains(settings, "state-dir") {
			settings += "\ndir = 'data'"
		}
		file := in("config.toml")
		if err := os.WriteFile(file, []byte("[serve]\n"+settings+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, checked := runProgram(t, "config", "check", file)
		if checked == nil || !strings.Contains(checked.Error(), tt.want) {
			t.Errorf("%s: config check says %v, want %q", tt.about, checked, tt.want)
			continue
		}
		if _, err := os.Stat(in("data/" + stateName)); err == nil {
			t.Fatalf("%s: config check has made the state", tt.about)
		}
		served := tryServe(t, "serve", "--config", file)
		if served == nil || !strings.HasSuffix(checked.Error(), served.Error()) {
			t.Errorf("%s: config check says %v, and serve %v", tt.about, checked, served)
		}
		if err := os.RemoveAll(in("data/" + stateName)); err != nil { // of a server that came further
			t.Fatal(err)
		}
	}
}

// tryServe returns the error with which a server does not start.
func tryServe(t *testing.T, args ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
	defer cancel()
	var out bytes.Buffer
	app := newApp(&out, &out)
	err := app.RunContext(ctx, flagsFirst(app.Commands, append([]string{"ifmatch"}, args...)))
	if err == nil {
		t.Errorf("a server has started with %q:\n%s", args, &out)
	}
	return err
}

// A running server has its addresses and its state, and its file can be checked all the same. Nothing is left.
func TestConfigCheckBesideAServer(t *testing.T) {
	at := t.TempDir()
	dir := filepath.Join(at, "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	file := writeConfig(t, "[serve]\naddr = '"+busy.Addr().String()+"'\nadmin = 'unix:"+at+"/none/admin'\n"+
		"audit-log = '"+at+"/audit'\n")
	check := func(about string, members int) {
		t.Helper()
		out, err := runProgram(t, "config", "check", file, dir)
		if err != nil || !strings.Contains(out, "can be used") ||
			!strings.Contains(out, "note: "+at+"/none must be there when the server starts") {
			t.Errorf("%s: %v, %s", about, err, out)
		}
		if found, err := os.ReadDir(dir); err != nil || len(found) != members {
			t.Errorf("%s: the directory has %v, %v", about, found, err)
		}
		if _, err := os.Stat(at + "/audit"); err == nil {
			t.Errorf("%s: the audit log was made", about)
		}
	}
	check("before the first start", 0)
	servertest.Run(t, servertest.Command(dir))
	check("while a server runs", 1)
	if left, _ := filepath.Glob(filepath.Join(dir, stateName, ".check-*")); len(left) > 0 {
		t.Errorf("it has left %q", left)
	}
}

// TestSiteURLs: the redirect and the banner lead to the host of a site as clients reach the server itself.
func TestSiteURLs(t *testing.T) {
	public := func(s string) []*url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return []*url.URL{u}
	}
	hosted, own := site.Defaults("www"), site.Defaults("own")
	hosted.Host = "www.example"
	for _, test := range []struct {
		about string
		cfg   Config
		port  int
		want  string
	}{
		{"plain", Config{}, 8080, "http://www.example:8080/"},
		{"plain, on the usual port", Config{}, 80, "http://www.example/"},
		{"with a certificate", Config{TLSCert: "cert.pem"}, 443, "https://www.example/"},
		{"behind a proxy", Config{Config: handler.Config{PublicURLs: public("https://files.example")}}, 8080, "https://www.example/"},
		{"behind a proxy on a port", Config{Config: handler.Config{PublicURLs: public("https://files.example:8443")}}, 8080, "https://www.example:8443/"},
	} {
		test.cfg.Sites = []site.Site{own, hosted}
		all := test.cfg.siteURLs(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: test.port})
		if len(all) != 1 || all[0].String() != test.want {
			t.Errorf("%s: got %v, want %s", test.about, all, test.want)
		}
	}
}
