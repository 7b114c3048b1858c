package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

func TestLogIsBrief(t *testing.T) {
	for _, json := range []bool{false, true} {
		var out bytes.Buffer
		log := newLog(Config{LogJSON: json}, &out)
		long := strings.Repeat("\xff", 100_000)
		log.Info("x", "path", long, "error", errors.New(long), "took", 178234*time.Nanosecond)
		if out.Len() > 20_000 {
			t.Errorf("JSON %v: a line of %d bytes", json, out.Len())
		}
		if got := out.String(); !regexp.MustCompile(`took("?[:=]"?)178\.234µs`).MatchString(got) || strings.Count(got, "(100000 bytes)") != 2 {
			t.Errorf("JSON %v: %s", json, got)
		}
	}
}

// The program goes on when its standard error is not read, and when it is closed.
func TestProgramServesWithoutAReaderOfItsLog(t *testing.T) {
	for _, closed := range []bool{false, true} {
		t.Run(fmt.Sprintf("closed: %v", closed), func(t *testing.T) {
			t.Parallel()
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			cmd := exec.Command("ifmatch", "serve", "--addr", "127.0.0.1:0", t.TempDir())
			cmd.Stderr = w
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			w.Close()
			// The first line, and no more.
			first, b := "", make([]byte, 1)
			for !strings.HasSuffix(first, "\n") {
				if _, err := r.Read(b); err != nil {
					t.Fatal(err)
				}
				first += string(b)
			}
			m := servertest.Banner.FindStringSubmatch(first)
			if m == nil {
				t.Fatalf("it says %q", first)
			}
			if closed {
				r.Close()
			}
			client := servertest.Client(t)
			client.Timeout = servertest.Patience // of each
			for i := range 1500 {                // more than fits into a pipe
				answer, err := client.Get("http://" + m[3] + "/nothing")
				if err != nil {
					t.Fatalf("request %d: %v", i, err)
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
			}
			cmd.Process.Signal(syscall.SIGTERM)
			exited := make(chan error, 1)
			go func() { exited <- cmd.Wait() }()
			select {
			case err := <-exited:
				if err != nil {
					t.Errorf("it ends with %v", err)
				}
			case <-time.After(servertest.Patience):
				t.Error("it does not end")
			}
		})
	}
}

// TestAccessLog asks a server for a file and stops it at once: the line of the request is in its log, unless that is off.
func TestAccessLog(t *testing.T) {
	for _, test := range []struct {
		flags []string
		lines int
	}{{nil, 1}, {[]string{"--access-log", "on"}, 1}, {[]string{"--access-log", "off"}, 0}} {
		s, err := servertest.Start(servertest.Command(append(test.flags, "--memory")...))
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := servertest.Do(t, servertest.Client(t), http.MethodGet, s.URL+"/", "")
		if err := s.Stop(false); err != nil || answer.StatusCode != http.StatusOK {
			t.Fatal(answer.Status, err)
		}
		if n := strings.Count(s.Log.String(), "msg=request "); n != test.lines {
			t.Errorf("%q: there are %d lines of requests: %s", test.flags, n, s.Log)
		}
	}
}
