package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A file that the server may not read is listed with what can be told of it, and breaks nothing.
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
	command := []string{"ifmatch", "serve", "--addr", "127.0.0.1:0", dir}
	if os.Geteuid() == 0 { // who may read everything, unless he gives that up
		command = append([]string{"setpriv", "--bounding-set=-dac_override,-dac_read_search"}, command...)
	}
	s, err := startServer(exec.Command(command[0], command[1:]...))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.stop(false); err != nil {
			t.Error(err)
		}
	}()
	const props = `<propfind xmlns="DAV:"><prop><getcontentlength/><getetag/><x xmlns="urn:x"/></prop></propfind>`
	for _, tt := range []struct{ about, target, depth, body string }{
		{"allprop", "/", "1", ""},
		{"allprop, by itself", "/closed", "0", ""},
		{"allprop, deep", "/", "infinity", ""},
		{"by name", "/", "1", props},
		{"by name, by itself", "/closed", "0", props},
	} {
		t.Run(tt.about, func(t *testing.T) {
			status, _, body := send(t, http.DefaultClient, "PROPFIND", s.url+tt.target, tt.body, "Depth", tt.depth)
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
	if status, _, _ := send(t, http.DefaultClient, "GET", s.url+"/closed", ""); status != http.StatusForbidden {
		t.Errorf("GET: %d", status)
	}
}
