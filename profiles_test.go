package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/internal/profiles"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// TestProfilesHaveTheirOwnListener asks both listeners of a server for a profile. Only the one for profiles has it.
func TestProfilesHaveTheirOwnListener(t *testing.T) {
	s := servertest.Run(t, servertest.Command("--pprof", "127.0.0.1:0", "--memory"))
	found, err := s.Log.Await(regexp.MustCompile(`profiles are served" url=(http://\S+)/debug/pprof/\n`))
	if err != nil {
		t.Fatal(err)
	}
	client := servertest.Client(t)
	for _, test := range []struct {
		name, url string
		host      string
		header    []string
		status    int
	}{
		{name: "the index", url: found[1] + "/debug/pprof/", status: http.StatusOK},
		{name: "the heap", url: found[1] + "/debug/pprof/heap", status: http.StatusOK},
		{name: "of a little time", url: found[1] + "/debug/pprof/trace?seconds=0.01", status: http.StatusOK},
		{name: "localhost", url: found[1] + "/debug/pprof/", host: "localhost:1", status: http.StatusOK},
		{name: "nothing else", url: found[1] + "/", status: http.StatusNotFound},
		{name: "not on the other listener", url: s.URL + "/debug/pprof/", status: http.StatusNotFound},
		{name: "by a name of a stranger", url: found[1] + "/debug/pprof/", host: "rebound.example:80",
			status: http.StatusForbidden},
		{name: "by an address that is not ours", url: found[1] + "/debug/pprof/", host: "192.0.2.1",
			status: http.StatusForbidden},
		{name: "embedded in a page of another site", url: found[1] + "/debug/pprof/profile?seconds=1",
			header: []string{"Sec-Fetch-Site", "cross-site"}, status: http.StatusForbidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := http.NewRequest(http.MethodGet, test.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if r.Host = test.host; len(test.header) > 0 {
				r.Header.Set(test.header[0], test.header[1])
			}
			answer, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if err != nil || answer.StatusCode != test.status {
				t.Errorf("%d, %v: %.100q", answer.StatusCode, err, body)
			}
		})
	}
}

// TestProfilesEndWithTheServer stops a server while a profile of an hour is being taken.
func TestProfilesEndWithTheServer(t *testing.T) {
	s, err := servertest.Start(servertest.Command("--pprof", "127.0.0.1:0", "--memory"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.Log.Await(regexp.MustCompile(`profiles are served" url=http://(\S+)/debug/pprof/\n`))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", found[1])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const get = "GET /debug/pprof/profile?seconds=3600 HTTP/1.1\r\nHost: localhost\r\n\r\n"
	if _, err := io.WriteString(conn, get); err != nil {
		t.Fatal(err)
	}
	client, stacks := servertest.Client(t), ""
	for !strings.Contains(stacks, "pprof.Profile(") { // it has not begun yet
		_, stacks = servertest.Do(t, client, http.MethodGet, "http://"+found[1]+"/debug/pprof/goroutine?debug=2", "")
	}
	if err := s.Stop(false); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", found[1]); err == nil {
		t.Error("the listener is still there")
	}
}

func TestProfilesAreForLoopbackOnly(t *testing.T) {
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:6060", "6060", "127.0.0.1:x"} {
		_, err := profiles.Address(t.Context(), addr)
		if usage := new(usageError); !errors.As(err, &usage) || !strings.Contains(err.Error(), "--pprof") {
			t.Errorf("--pprof %q: %v, not a usage error", addr, err)
		}
	}
	stop, err := profiles.Serve(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	stop()
}

// A Unix socket is of this machine, too.
func TestProfilesAreServedOnASocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "pprof")
	s := servertest.Run(t, servertest.Command("--pprof", "unix:"+socket, t.TempDir()))
	if _, err := s.Log.Await(regexp.MustCompile(`profiles are served" socket=`)); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	servertest.Want(t, client, http.StatusOK, "GET", "http://localhost/debug/pprof/cmdline", "")
}
