package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// runDoctor returns what ifmatch doctor says, and whether it found something wrong.
func runDoctor(t *testing.T, args ...string) (string, bool) {
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
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for about, at := range map[string]string{"": dir, " by a link": link} {
		if out, wrong := runDoctor(t, at); wrong || !strings.Contains(out, "of which 2 were looked at") {
			t.Errorf("it has not looked at the file%s:\n%s", about, out)
		}
	}
	for _, about := range []string{"before it is served", "while it is served"} {
		out, wrong := runDoctor(t, dir)
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
	if out, wrong := runDoctor(t, filepath.Join(dir, "none")); !wrong || !strings.Contains(out, "does not exist") {
		t.Errorf("of a directory that is not there: %s", out)
	}
	if out, wrong := runDoctor(t, filepath.Join(dir, "f")); !wrong || !strings.Contains(out, "is not a directory") {
		t.Errorf("of a file: %s", out)
	}
}

// Whether users can make links is said by the doctor, and by a start.
func TestLinksThatCannotBeKept(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	dir := t.TempDir()
	if err := os.WriteFile(users, []byte("ann:*\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func(args ...string) string {
		server, err := servertest.Start(servertest.Command(append(append([]string{"--users", users}, args...), dir)...))
		if err == nil {
			err = server.Stop(false)
		}
		if err != nil {
			t.Fatal(err)
		}
		return server.Log.String()
	}
	if out, wrong := runDoctor(t, "--users", users, dir); wrong || !strings.Contains(out, "good   share links can be kept") {
		t.Errorf("%s", out)
	}
	if err := os.Mkdir(users+".links", 0o700); err != nil { // also root cannot write that
		t.Fatal(err)
	}
	if out, wrong := runDoctor(t, "--users", users, dir); wrong || !strings.Contains(out, "note   users can make and revoke no share links") {
		t.Errorf("%s", out)
	}
	if out := start(); !strings.Contains(out, "users can make and revoke no share links") {
		t.Errorf("the start says\n%s", out)
	}
	if out := start("--no-links"); strings.Contains(out, "share links") {
		t.Errorf("without links the start says\n%s", out)
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
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host; request(r.Out) },
		ModifyResponse: func(r *http.Response) error { answer(r); return nil },
	})
	t.Cleanup(proxy.Close)
	return proxy.URL + "/"
}

// What a proxy does on the way, and what a server believes that it must not, is found.
func TestDoctorLooksAtTheWay(t *testing.T) {
	files := func() string {
		dir := t.TempDir()
		for name, content := range map[string]string{"f": "hello", "long.txt": strings.Repeat("long ", 1000)} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	dir := files()
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	plain := servertest.Run(t, servertest.Command(files())).URL
	readOnly := servertest.Run(t, servertest.Command("--read-only", dir)).URL
	withUsers := servertest.Run(t, servertest.Command("--read-only", "--users", users,
		"--user-header", "X-Remote-User", "--user-header-from", "127.0.0.1", "--user-header-new", "staff", dir)).URL
	hidden := servertest.Run(t, servertest.Command("--read-only", "--users", users, "--anonymous", "none",
		"--user-header", "X-Webauth-User", "--user-header-from", "127.0.0.1", dir)).URL
	asIs, pass := func(*http.Request) {}, func(*http.Response) {}
	without := func(header string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(header) } }
	answers := func(method string, status int) string {
		return proxyTo(t, plain, asIs, func(r *http.Response) {
			if r.Request.Method == method {
				r.StatusCode, r.Status = status, http.StatusText(status)
			}
		})
	}
	withPassword := func(at string) string { return strings.Replace(at, "://", "://ann:wrong@", 1) + "/" }
	for _, tt := range []struct {
		about, at, want string
		wrong           bool
	}{
		{"the server itself", plain + "/", "ETags come through", false},
		{"a server that takes no changes", readOnly + "/", "may not write (this server is read-only), so COPY was not", false},
		{"a proxy that does nothing", proxyTo(t, plain, asIs, pass), "conditions come through", false},
		{"a proxy that does nothing, and COPY", proxyTo(t, plain, asIs, pass), "good   COPY and its Destination", false},
		{"a proxy that weakens tags", proxyTo(t, plain, asIs, func(r *http.Response) {
			r.Header.Set("ETag", "W/"+r.Header.Get("ETag"))
		}), "weakens ETags", true},
		{"a proxy that changes tags", proxyTo(t, plain, asIs, func(r *http.Response) { r.Header.Set("ETag", `"x"`) }),
			"is not that of the content", true},
		{"a proxy that takes tags away", proxyTo(t, plain, asIs, func(r *http.Response) { r.Header.Del("ETag") }),
			"files have no ETag", true},
		{"a proxy that compresses texts", proxyTo(t, plain, asIs, func(r *http.Response) {
			if strings.HasSuffix(r.Request.URL.Path, "/long.txt") {
				r.Header.Set("Content-Encoding", "gzip")
				r.Header.Set("ETag", "W/"+r.Header.Get("ETag"))
			}
		}), "compresses files (gzip)", true},
		{"a proxy that takes If-Match away", proxyTo(t, plain, without("If-Match"), pass), "GET with If-Match is answered 200", true},
		{"a proxy that takes If away", proxyTo(t, plain, without("If"), pass), "GET with If is answered 200", true},
		{"a proxy that takes If-None-Match away", proxyTo(t, plain, without("If-None-Match"), pass),
			"GET with If-None-Match is answered 200", true},
		{"a proxy that takes dates away", proxyTo(t, plain, without("If-Unmodified-Since"), pass),
			"GET with If-Unmodified-Since is answered 200", true},
		{"a proxy that takes Depth away", proxyTo(t, plain, without("Depth"), pass), "takes Depth away", true},
		{"a proxy that takes Destination away", proxyTo(t, plain, without("Destination"), pass), "takes Destination away", true},
		{"a proxy that changes Destination", proxyTo(t, plain, func(r *http.Request) {
			if r.Header.Get("Destination") != "" {
				r.Header.Set("Destination", "https://other.example/f")
			}
		}, pass), "start the server with --public-url", true},
		{"a proxy that tells another Host", proxyTo(t, plain, func(r *http.Request) { r.Host = strings.TrimPrefix(plain, "http://") },
			pass), "COPY and MOVE are answered 502", true},
		{"a proxy that refuses PROPFIND", answers("PROPFIND", 405), "PROPFIND is answered 405", true},
		{"a proxy that refuses COPY", answers("COPY", 405), "refuses this method", true},
		{"a proxy that leads elsewhere", answers("OPTIONS", 301), "where clients of WebDAV do not follow", true},
		{"a proxy that takes WebDAV away", proxyTo(t, plain, asIs, func(r *http.Response) { r.Header.Del("DAV") }),
			"without DAV", true},
		{"a proxy that changes listings", proxyTo(t, plain, asIs, func(r *http.Response) {
			if r.Request.Method == "PROPFIND" {
				r.Body = io.NopCloser(strings.NewReader("<html>"))
				r.ContentLength = -1
				r.Header.Del("Content-Length")
			}
		}), "is no XML", true},
		{"a clock that is off", proxyTo(t, plain, asIs, func(r *http.Response) {
			r.Header.Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		}), "the clock of the server is", false},
		{"a wrong password", withPassword(withUsers), "this password is refused", true},
		{"a header that the proxy passes on", proxyTo(t, withUsers, asIs, pass), "X-Remote-User is believed", true},
		{"a header of another name", proxyTo(t, hidden, asIs, pass), "X-WebAuth-User is believed", true},
		{"a header that the proxy clears", proxyTo(t, withUsers, without("X-Remote-User"), pass), "gains nothing", false},
		{"nobody", "http://127.0.0.1:1/", "refused: start it, or correct the name and the port in the URL", true},
		{"a folder that is not there", strings.TrimSuffix(plain, "/") + "/nothing/", "name a collection that is there", false},
		{"no URL", "http://", "this is no URL", true},
	} {
		if out, wrong := runDoctor(t, tt.at); wrong != tt.wrong || !strings.Contains(out, tt.want) {
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
	out, wrong := runDoctor(t, s.URL+"/")
	if !wrong || !strings.Contains(out, "certificate is not good") || !strings.Contains(out, "see that it is renewed") {
		t.Errorf("a certificate of nobody, which ends in an hour: %s", out)
	}
}
