package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ifmatch/internal/servertest"
)

// doctor returns what ifmatch doctor says, and whether it found something wrong.
func doctor(t *testing.T, args ...string) (string, bool) {
	t.Helper()
	out, err := runProgram(t, append([]string{"doctor"}, args...)...)
	if err != nil && exitCode(err) != statusChanged {
		t.Fatal(err)
	}
	return out, err != nil
}

// A directory is looked at without a trace, whether it is served or not.
func TestDoctorLooksAtADirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, about := range []string{"before it is served", "while it is served"} {
		out, wrong := doctor(t, dir)
		for _, want := range []string{"time of this machine", "may read the files", "open at once", "the disk has"} {
			if wrong || !strings.Contains(out, want) {
				t.Errorf("%s: nothing of %q in\n%s", about, want, out)
			}
		}
		if members, err := os.ReadDir(dir); err != nil || len(members) > 2 || about[0] == 'b' && len(members) != 1 {
			t.Errorf("%s: it has left %v, %v", about, members, err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, stateName, ".doctor-*")); len(left) > 0 {
			t.Errorf("%s: it has left %q", about, left)
		}
		if about[0] == 'b' {
			servertest.Run(t, servertest.Command(dir))
		}
	}
	if out, wrong := doctor(t, filepath.Join(dir, "none")); !wrong || !strings.Contains(out, "does not exist") {
		t.Errorf("of a directory that is not there: %s", out)
	}
	if out, wrong := doctor(t, filepath.Join(dir, "f")); !wrong || !strings.Contains(out, "is not a directory") {
		t.Errorf("of a file: %s", out)
	}
}

// proxyTo is a proxy that does something to requests and answers.
func proxyTo(t *testing.T, to string, request func(*http.Request), answer func(*http.Response)) string {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target); request(r.Out) },
		ModifyResponse: func(r *http.Response) error { answer(r); return nil },
	})
	t.Cleanup(proxy.Close)
	return proxy.URL + "/"
}

// What a proxy does on the way, and what a server believes that it must not, is found.
func TestDoctorLooksAtTheWay(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	plain := servertest.Run(t, servertest.Command("--read-only", dir)).URL
	withUsers := servertest.Run(t, servertest.Command("--read-only", "--users", users,
		"--user-header", "X-Remote-User", "--user-header-from", "127.0.0.1", "--user-header-new", "staff", dir)).URL
	asIs, pass := func(*http.Request) {}, func(*http.Response) {}
	for _, tt := range []struct {
		about, at, want string
		wrong           bool
	}{
		{"the server itself", plain + "/", "ETags come through", false},
		{"a proxy that does nothing", proxyTo(t, plain, asIs, pass), "conditions come through", false},
		{"a proxy that weakens tags", proxyTo(t, plain, asIs, func(r *http.Response) {
			r.Header.Set("ETag", "W/"+r.Header.Get("ETag"))
		}), "is not that of the content", true},
		{"a proxy that compresses", proxyTo(t, plain, asIs, func(r *http.Response) {
			if r.Request.Method == "GET" {
				r.Header.Set("Content-Encoding", "gzip")
			}
		}), "compresses files", true},
		{"a proxy that takes conditions away", proxyTo(t, plain, func(r *http.Request) { r.Header.Del("If-Match") }, pass),
			"takes conditions away", true},
		{"a proxy that takes WebDAV away", proxyTo(t, plain, asIs, func(r *http.Response) { r.Header.Del("DAV") }),
			"without DAV", true},
		{"a header that the proxy passes on", proxyTo(t, withUsers, asIs, pass), "X-Remote-User is believed", true},
		{"a header that the proxy clears", proxyTo(t, withUsers, func(r *http.Request) {
			r.Header.Del("X-Remote-User")
		}, pass), "gains nothing", false},
		{"nobody", "http://127.0.0.1:1/", "connection refused", true},
		{"no URL", "http://", "this is no URL", true},
	} {
		if out, wrong := doctor(t, tt.at); wrong != tt.wrong || !strings.Contains(out, tt.want) {
			t.Errorf("%s: wrong: %v, and nothing of %q in\n%s", tt.about, wrong, tt.want, out)
		}
	}
}

func TestDoctorLooksAtTheCertificate(t *testing.T) {
	at := t.TempDir()
	cert, key := filepath.Join(at, "cert.pem"), filepath.Join(at, "key.pem")
	if err := servertest.WriteCertificate(cert, key); err != nil {
		t.Fatal(err)
	}
	s := servertest.Run(t, servertest.Command("--tls-cert", cert, "--tls-key", key, t.TempDir()))
	out, wrong := doctor(t, s.URL+"/")
	if !wrong || !strings.Contains(out, "certificate is not good") || !strings.Contains(out, "see that it is renewed") {
		t.Errorf("a certificate of nobody, which ends in an hour: %s", out)
	}
}
