//go:build unix

package main

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// TestTwoProcesses has two servers on one directory, as in a rolling restart. Half of the clients that count in one
// file use the other one. Meanwhile locks, properties and slow uploads go from one to the other, a third server, which
// keeps no history, starts and stops all the time, and so do the commands that work beside a server.
func TestTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	start := func(flags ...string) *servertest.Server {
		t.Helper()
		s, err := servertest.Start(servertest.Command(append(flags, dir)...))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var both [2]*servertest.Server
	for i := range both {
		both[i] = start("--history-size", "90%")
		defer func() {
			if err := both[i].Stop(i > 0); err != nil { // the first one is stopped last
				t.Errorf("%v\n%s", err, both[i].Log)
			}
		}()
	}
	client := servertest.Client(t)
	b := &beside{t: t, dir: dir, client: client, urls: [2]string{both[0].URL, both[1].URL}, another: make(chan struct{})}
	for _, name := range []string{"/locked", "/described", "/restored"} {
		b.want(http.StatusCreated, "PUT", b.urls[0]+name, "0")
		b.want(http.StatusNoContent, "PUT", b.urls[1]+name, "1")
	}

	// repeat does something again and again, each way round at least, until something is done.
	repeat := func(do func(round int), done *atomic.Bool) func() {
		return func() {
			for round := 0; round < 2 || !done.Load(); round++ {
				do(round)
				if t.Failed() {
					return
				}
			}
		}
	}
	var beside, third sync.WaitGroup
	var counted, rested atomic.Bool
	for _, do := range []func(round int){b.lock, b.describe, b.upload, b.restore, b.command} {
		beside.Go(repeat(do, &counted))
	}
	third.Go(func() {
		defer close(b.another)
		repeat(b.restart, &rested)() // the loops above wait for it
		b.restart(0)                 // which clears up after one that was killed
	})
	increments := increment(t, []string{b.urls[0] + "/counter", b.urls[1] + "/counter"}, client)
	counted.Store(true)
	beside.Wait()
	rested.Store(true)
	third.Wait()
	t.Logf("%d other servers came and went, %d slow uploads, %d locks, %d properties, %d restored",
		b.servers.Load(), b.uploads.Load(), b.locks.Load(), b.properties.Load(), b.restores.Load())

	// Each increment has replaced one version, and all of them are in the history, whichever server did it.
	listed := strings.Count(b.run("history", "list", "--dir", dir, "counter"), " counter\n")
	if int64(listed) != increments {
		t.Errorf("the history has %d versions of the counter after %d increments", listed, increments)
	}
}

// beside is the work that goes on beside the counting. Its methods are called again and again, each by one goroutine.
type beside struct {
	t      *testing.T
	dir    string
	client *http.Client
	urls   [2]string

	another chan struct{} // receives whenever a third server has come and gone, and is closed after the last one

	servers, uploads, locks, properties, restores atomic.Int64
}

func (b *beside) want(status int, method, url, body string, header ...string) (*http.Response, string) {
	b.t.Helper()
	return servertest.Want(b.t, b.client, status, method, url, body, header...)
}

// run runs a command of the program, and returns its output.
func (b *beside) run(args ...string) string {
	b.t.Helper()
	cmd := exec.Command("ifmatch", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		b.t.Errorf("ifmatch %q: %v: %s", args, err, stderr.String())
	}
	return string(out)
}

// restart starts a third server, which writes something, and stops it or kills it.
func (b *beside) restart(round int) {
	third, err := servertest.Start(servertest.Command("--history", "0", b.dir))
	if err != nil {
		b.t.Error(err)
		return
	}
	if answer, content := servertest.Do(b.t, b.client, "PUT", third.URL+"/third", fmt.Sprint(round)); answer.StatusCode/100 != 2 {
		b.t.Errorf("PUT at the third server: %s %s", answer.Status, content)
	}
	if round%3 == 2 {
		err = third.Kill()
	} else {
		err = third.Stop(true)
	}
	if err != nil {
		b.t.Errorf("the third server: %v\n%s", err, third.Log)
	}
	b.servers.Add(1)
	select {
	case b.another <- struct{}{}:
	default:
	}
}

// lock takes a lock at one server, which the other one must know.
func (b *beside) lock(round int) {
	here, there := b.urls[round%2]+"/locked", b.urls[1-round%2]+"/locked"
	answer, _ := b.want(http.StatusOK, "LOCK", here, servertest.LockExclusive, "Depth", "0", "Timeout", "Second-600")
	token := answer.Header.Get("Lock-Token")
	b.want(http.StatusLocked, "PUT", there, "by nobody")
	b.want(http.StatusLocked, "DELETE", there, "")
	b.want(http.StatusLocked, "LOCK", there, servertest.LockExclusive)
	if list := b.run("locks", "list", b.dir); !strings.Contains(list, strings.Trim(token, "<>")) {
		b.t.Errorf("the list of locks has no %s:\n%s", token, list)
	}
	b.want(http.StatusNoContent, "PUT", there, fmt.Sprint("by its owner ", round), "If", "("+token+")")
	b.want(http.StatusOK, "LOCK", there, "", "If", "("+token+")", "Timeout", "Second-500")
	b.want(http.StatusNoContent, "UNLOCK", there, "", "Lock-Token", token)
	b.want(http.StatusNoContent, "PUT", here, fmt.Sprint("by anybody ", round))
	b.locks.Add(1)
}

// describe sets a property at one server. The other one returns it, and keeps it when it replaces the file.
func (b *beside) describe(round int) {
	here, there := b.urls[round%2]+"/described", b.urls[1-round%2]+"/described"
	value := fmt.Sprint("round ", round)
	b.want(http.StatusMultiStatus, "PROPPATCH", here,
		`<propertyupdate xmlns="DAV:"><set><prop><p xmlns="urn:x">`+value+`</p></prop></set></propertyupdate>`)
	told := func(url string) {
		_, body := b.want(http.StatusMultiStatus, "PROPFIND", url, `<propfind xmlns="DAV:"><prop><p xmlns="urn:x"/></prop></propfind>`, "Depth", "0")
		if !strings.Contains(body, ">"+value+"<") {
			b.t.Errorf("%s does not tell %q: %s", url, value, body)
		}
	}
	told(there)
	b.want(http.StatusNoContent, "PUT", there, "content of "+value)
	told(here)
	b.properties.Add(1)
}

// upload sends a body of which the rest comes only when another server has come and gone twice.
func (b *beside) upload(round int) {
	const half = 256 << 10
	first, second := strings.Repeat("a", half), strings.Repeat(fmt.Sprint(round%10), half)
	body, w := io.Pipe()
	go func() {
		_, err := io.WriteString(w, first)
		for range 2 {
			select {
			case <-b.another:
			case <-time.After(servertest.Patience):
				err = fmt.Errorf("no third server comes and goes")
			}
		}
		if err == nil {
			_, err = io.WriteString(w, second)
		}
		w.CloseWithError(err)
	}()
	url := b.urls[round%2] + "/slow"
	request, err := http.NewRequest("PUT", url, body)
	if err != nil {
		b.t.Error(err)
		return
	}
	answer, err := b.client.Do(request)
	if err != nil {
		b.t.Errorf("a slow upload: %v", err)
		return
	}
	refusal, _ := io.ReadAll(answer.Body) // only for the message
	answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		b.t.Errorf("a slow upload: %s %s", answer.Status, refusal)
	}
	if _, content := b.want(http.StatusOK, "GET", b.urls[1-round%2]+"/slow", ""); content != first+second {
		b.t.Errorf("a slow upload has become %d bytes", len(content))
	}
	b.uploads.Add(1)
}

// restore restores from the command line a file that one server has removed.
func (b *beside) restore(round int) {
	here, there := b.urls[round%2]+"/restored", b.urls[1-round%2]+"/restored"
	content := fmt.Sprint("version ", round)
	b.want(http.StatusNoContent, "PUT", here, content)
	b.want(http.StatusNoContent, "DELETE", there, "")
	b.want(http.StatusNotFound, "GET", here, "")
	b.run("history", "restore", "--dir", b.dir, "restored")
	if _, got := b.want(http.StatusOK, "GET", there, ""); got != content {
		b.t.Errorf("%q is restored as %q", content, got)
	}
	b.restores.Add(1)
}

// command runs commands that read the files of the servers.
func (b *beside) command(int) {
	b.run("history", "list", "--dir", b.dir)
	b.run("index", "status", b.dir)
	b.run("index", "warm", b.dir)
}
