package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/links"
)

// A linkServer is a running server, whose user ann has an app token, and where ann may write.
type linkServer struct {
	t             *testing.T
	url           string // without a path
	at            string // the path of a collection
	users, secret string
	client        *http.Client
}

// tell runs a command, and returns the last line of what it prints.
func (s *linkServer) tell(args ...string) string {
	s.t.Helper()
	// A program of its own: the command line library has variables that all of a process share.
	out, err := exec.CommandContext(s.t.Context(), "ifmatch", args...).Output()
	if err != nil {
		s.t.Fatalf("%q: %v", args, err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

func (s *linkServer) do(method, path, body string, want int, header ...string) string {
	s.t.Helper()
	answer, text := servertest.Do(s.t, s.client, method, s.url+path, body, header...)
	if answer.StatusCode != want {
		s.t.Errorf("%s %s: %d, want %d\n%s", method, path, answer.StatusCode, want, text)
	}
	return text
}

// asAnn is do with the app token of ann.
func (s *linkServer) asAnn(method, path, body string, want int, header ...string) string {
	s.t.Helper()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:"+s.secret))
	return s.do(method, path, body, want, append(header, "Authorization", basic)...)
}

// TestEveryServerHasLinks: whatever stands between the handler and the directory, links read and drop, end at once, and
// are there after the server was killed.
func TestEveryServerHasLinks(t *testing.T) {
	const quota = "[[quota]]\npath = '/'\nsize = '100kB'\n"
	for _, tt := range []struct {
		name, at string
		args     []string
		shares   bool
	}{
		{name: "a directory", at: "/"},
		{name: "in memory", at: "/", args: []string{"--memory"}},
		{name: "shares with metrics, a quota and a prefix", at: "/dav/team/pics/", args: []string{"--admin", "127.0.0.1:0", "--prefix", "/dav"},
			shares: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &linkServer{t: t, at: tt.at, users: filepath.Join(t.TempDir(), "users"), client: servertest.Client(t)}
			if err := os.WriteFile(s.users, []byte("ann:*\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			s.secret = s.tell("user", "token", "add", "--users", s.users, "ann", "phone")
			config := quota
			if tt.shares {
				config += fmt.Sprintf("[[share]]\npath = '/team/pics'\ndir = '%s'\n", t.TempDir())
			}
			args := append([]string{"--users", s.users, "--config", writeConfig(t, config)}, tt.args...)
			if !tt.shares && len(tt.args) == 0 {
				args = append(args, t.TempDir())
			}
			s.tryLinks(args, !slices.Contains(tt.args, "--memory"))
		})
	}
}

func (s *linkServer) tryLinks(args []string, durable bool) {
	t := s.t
	to := func(server *servertest.Server) {
		base, _, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), "/")
		s.url = "http://" + base
	}
	kill := func() error { return nil } // Run stops the server
	if durable {
		server, err := servertest.Start(servertest.Command(args...))
		if err != nil {
			t.Fatal(err)
		}
		kill = sync.OnceValue(server.Kill)
		defer kill()
		to(server)
	} else {
		to(servertest.Run(t, servertest.Command(args...)))
	}
	s.asAnn("MKCOL", s.at+"d", "", 201)
	s.asAnn("PUT", s.at+"d/f", "one", 201)
	prefix := ""
	if strings.HasPrefix(s.at, "/dav/") {
		prefix = "/dav"
	}
	inTree := strings.TrimPrefix(s.at, prefix)
	make := func(path string, more ...string) string {
		t.Helper()
		return prefix + s.tell(append([]string{"link", "create", "ann", path, "--users", s.users}, more...)...)
	}
	read, drop := make(inTree+"d/"), make(inTree+"d", "--access", "drop", "--label", "x")
	var told links.Told
	made := s.asAnn("POST", prefix+"/.ifmatch/links", `{"path":"`+s.at+`d/f"}`, 201, "Content-Type", "application/json")
	if err := json.Unmarshal([]byte(made), &told); err != nil || told.Href == "" {
		t.Fatalf("%s, %v", made, err)
	}
	for _, file := range []string{read + "/f", told.Href} {
		if text := s.do("GET", file, "", 200); text != "one" {
			t.Errorf("%s is %q", file, text)
		}
	}
	s.do("PUT", drop+"/g", "two", 201)
	s.do("PUT", drop+"/g", "three", 412)
	s.do("PUT", drop+"/large", strings.Repeat("x", 200_000), 507)
	if list := s.do("GET", read, "", 200); !strings.Contains(list, ">g</a>") || strings.Contains(list, "large") {
		t.Errorf("the list is\n%s", list)
	}
	s.do("DELETE", read+"/f", "", 405)
	if durable {
		if err := kill(); err != nil {
			t.Fatal(err)
		}
		to(servertest.Run(t, servertest.Command(args...)))
		s.do("GET", told.Href, "", 200)
		s.do("PUT", drop+"/h", "three", 201)
	}
	s.tell("link", "revoke", told.ID, "--users", s.users)
	s.do("GET", told.Href, "", 404)
	if line := s.tell("link", "list", "--users", s.users); !strings.Contains(line, "drop") || !strings.HasSuffix(line, "x") {
		t.Errorf("the last link is %q", line)
	}
	s.asAnn("MOVE", s.at+"d", "", 201, "Destination", s.at+"e")
	s.do("GET", read+"/f", "", 404)
	s.do("PUT", drop+"/i", "four", 404)
	s.tell("user", "remove", "ann", "--users", s.users)
	if list, err := links.ReadList(s.users); err != nil || len(list.Of("")) != 0 {
		t.Errorf("%v links of a user who was removed, %v", list.Of(""), err)
	}
}
