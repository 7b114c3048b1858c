package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A gated writer takes something only where it is let.
type gated struct {
	mu   sync.Mutex
	got  bytes.Buffer
	pass chan error // what each Write returns
}

func (g *gated) Write(p []byte) (int, error) {
	if err := <-g.pass; err != nil {
		return 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got.Write(p)
}

// Nobody waits for who reads the log. What did not fit meanwhile is counted, and the rest comes whole, and in order.
func TestLogThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &gated{pass: make(chan error)}
		w := newLogWriter(out)
		w.dropped = func(to io.Writer, lines int) { fmt.Fprintf(to, "%d dropped\n", lines) }
		line := strings.Repeat("x", 1023) + "\n"
		began := time.Now()
		for i := range 3000 {
			fmt.Fprintf(w, "%04d%s", i, line[4:])
		}
		w.flush(lastWords)
		if took := time.Since(began); took != lastWords {
			t.Errorf("waited for %v", took)
		}
		synctest.Wait()
		close(out.pass)
		w.flush(lastWords)
		fmt.Fprintln(w, "and on")
		w.flush(lastWords)
		lines := strings.Split(strings.TrimSuffix(out.got.String(), "\n"), "\n")
		kept := len(lines) - 2
		if kept < 1000 || kept > 1100 || lines[kept] != fmt.Sprintf("%d dropped", 3000-kept) || lines[kept+1] != "and on" {
			t.Errorf("%d lines are there, and then %q", kept, lines[kept:])
		}
		for i, text := range lines[:kept] {
			if !strings.HasPrefix(text, fmt.Sprintf("%04d", i)) {
				t.Fatalf("line %d is %.10s", i, text)
			}
		}
	})
}

// What could not be written is counted, too, and said as soon as something can be.
func TestLogThatFails(t *testing.T) {
	out := &gated{pass: make(chan error, 10)}
	w := newLogWriter(out)
	w.dropped = func(to io.Writer, lines int) { fmt.Fprintf(to, "%d dropped\n", lines) }
	for _, err := range []error{errors.New("no room"), errors.New("no room"), nil} {
		out.pass <- err
		if err == nil {
			out.pass <- nil // for the line about those that were lost
		}
		io.WriteString(w, "a line\n")
		w.flush(patience)
	}
	if got := out.got.String(); got != "a line\n2 dropped\n" {
		t.Errorf("got %q", got)
	}
}

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

// The program goes on where nobody reads its standard error, and where that is closed.
func TestProgramWithoutAReaderOfItsLog(t *testing.T) {
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
			m := serving.FindStringSubmatch(first)
			if m == nil {
				t.Fatalf("it says %q", first)
			}
			if closed {
				r.Close()
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for i := range 1500 { // more than fits into a pipe
				request, err := http.NewRequestWithContext(ctx, "GET", "http://"+m[3]+"/nothing", nil)
				if err != nil {
					t.Fatal(err)
				}
				answer, err := http.DefaultClient.Do(request)
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
			case <-time.After(patience):
				t.Error("it does not end")
			}
		})
	}
}
