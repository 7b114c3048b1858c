package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// A file that the server may not read is listed with its known properties, and breaks nothing.
func TestUnreadableFileIsListed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "closed", "z"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("content"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "closed"), 0); err != nil {
		t.Fatal(err)
	}
	s := serveUnprivileged(t, dir)
	const props = `<propfind xmlns="DAV:"><prop><getcontentlength/><getetag/><x xmlns="urn:x"/></prop></propfind>`
	for _, tt := range []struct{ about, target, depth, body string }{
		{"allprop", "/", "1", ""},
		{"allprop, by itself", "/closed", "0", ""},
		{"allprop, deep", "/", "infinity", ""},
		{"by name", "/", "1", props},
		{"by name, by itself", "/closed", "0", props},
	} {
		t.Run(tt.about, func(t *testing.T) {
			status, _, body := servertest.Send(t, http.DefaultClient, "PROPFIND", s.URL+tt.target, tt.body, "Depth", tt.depth)
			if status != http.StatusMultiStatus {
				t.Fatalf("got %d: %s", status, body)
			}
			for response := range strings.SplitSeq(body, "<D:response>") {
				file := !strings.Contains(response, "<D:href>/</D:href>")
				if !strings.Contains(response, "<D:href>") || !file {
					continue
				}
				found, missing, _ := strings.Cut(response, "200 OK")
				closed := strings.Contains(response, "/closed<")
				if !strings.Contains(found, "getcontentlength>7<") || strings.Contains(found, "getetag") == closed {
					t.Errorf("found: %s", found)
				}
				if named := tt.body != ""; strings.Contains(missing, "getetag") != (closed && named) {
					t.Errorf("missing: %s", missing)
				}
			}
			if want := map[bool]int{true: 4, false: 1}[tt.target == "/"]; strings.Count(body, "<D:response>") != want {
				t.Errorf("it is not %d resources: %s", want, body)
			}
		})
	}
	if status, _, _ := servertest.Send(t, http.DefaultClient, "GET", s.URL+"/closed", ""); status != http.StatusForbidden {
		t.Errorf("GET: %d", status)
	}
}

// serveUnprivileged starts a server that may read no more than the modes say.
func serveUnprivileged(t *testing.T, dir string) *servertest.Server {
	t.Helper()
	command := []string{"ifmatch", "serve", "--addr", "127.0.0.1:0", dir}
	if os.Geteuid() == 0 { // root may read everything, unless it gives up that right
		command = append([]string{"setpriv", "--bounding-set=-dac_override,-dac_read_search"}, command...)
	}
	return servertest.Run(t, exec.Command(command[0], command[1:]...))
}

// RFC 4918 §9.8.3: where a member cannot be copied, the answer names it with its own status, and nothing is half
// copied.
func TestCopyOfWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"file/a", "file/b/closed", "dir/a", "dir/closed/f", "closed/f"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("content"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	closed := []string{"file/b/closed", "dir/closed", "closed"}
	for _, name := range closed {
		if err := os.Chmod(filepath.Join(dir, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	s := serveUnprivileged(t, dir)
	for _, tt := range []struct {
		source, depth string
		status        int
		says          string
	}{
		{"/file/", "infinity", 207, "<D:response><D:href>/file/b/closed</D:href><D:status>HTTP/1.1 403 Forbidden</D:status><D:responsedescription>"},
		{"/dir", "infinity", 207, "<D:response><D:href>/dir/closed/</D:href><D:status>HTTP/1.1 403 Forbidden</D:status>"},
		{"/closed", "infinity", 403, "the user of the server has no right to do that on its disk"},
		{"/file/b/closed", "infinity", 403, "the user of the server has no right to do that on its disk"},
		{"/file", "0", 201, ""},
	} {
		status, _, body := servertest.Send(t, http.DefaultClient, "COPY", s.URL+tt.source, "", "Destination", "/copy", "Depth", tt.depth)
		if status != tt.status || !strings.Contains(body, tt.says) || strings.Count(body, "<D:response>") > 1 || strings.Contains(body, " 424 ") {
			t.Errorf("COPY %s: %d %s, want %d %s", tt.source, status, body, tt.status, tt.says)
		}
		_, err := os.Stat(filepath.Join(dir, "copy"))
		if copied := err == nil; copied != (tt.status == 201) {
			t.Errorf("COPY %s has made a copy: %v", tt.source, copied)
		}
	}
	for _, name := range closed {
		if err := os.Chmod(filepath.Join(dir, name), 0o700); err != nil {
			t.Error(err)
		}
	}
}
