//go:build unix

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/put"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

var (
	brokenUploads = flag.Int("broken-uploads", 8, "how many uploads are sent over lines that break")
	brokenSize    = flag.Int64("broken-size", 2<<20, "the size of each, in bytes. A line breaks after 1 to 20 % of it")
	brokenKills   = flag.Int("broken-kills", 2, "how often the server is killed meanwhile")
)

// uploadsAtOnce bounds the uploads that are sent at once.
const uploadsAtOnce = 8

// A cuttingProxy passes connections on to a server, and breaks each of them when a random number of bytes has come.
type cuttingProxy struct {
	net.Listener
	server   atomic.Pointer[string] // host and port
	accepted chan struct{}          // a value for each connection
	least    int64                  // of the bytes, and their range
	spread   int64
}

func (p *cuttingProxy) run(random *rand.Rand) {
	for {
		client, err := p.Accept()
		if err != nil {
			return
		}
		limit := p.least + random.Int64N(p.spread)
		go func() {
			defer client.Close()
			server, err := net.Dial("tcp", *p.server.Load())
			if err != nil {
				return // it is being killed
			}
			defer server.Close()
			go func() {
				_, _ = io.Copy(client, server)
				client.Close()
			}()
			_, _ = io.CopyN(server, client, limit)
		}()
		p.accepted <- struct{}{}
	}
}

// A brokenUpload is one that goes over lines that break.
type brokenUpload struct {
	number int
	flags  []string
	tag    string // of the content that is sent
	theirs string // the tag of the version that another client has put in its place meanwhile, or ""
	out    bytes.Buffer
	said   bytes.Buffer // to standard error
	err    error
}

func (u *brokenUpload) name() string { return fmt.Sprintf("f%d", u.number) }

// write makes the file that is sent, whose content no other upload has.
func (u *brokenUpload) write(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<16)
	line := fmt.Appendf(nil, "%15d\n", u.number)
	for range *brokenSize / int64(len(line)) {
		_, _ = w.Write(line) // an error comes back from Flush
	}
	if err := w.Flush(); err != nil {
		return err
	}
	u.tag = string(tree.TagOf([sha256.Size]byte(sum.Sum(nil))))
	return f.Close()
}

// run sends the file, and removes it.
func (u *brokenUpload) run(t *testing.T, sources, address string) {
	path := filepath.Join(sources, u.name())
	if u.err = u.write(path); u.err != nil {
		return
	}
	args := append(append([]string{"put"}, u.flags...), path, "http://"+address+"/"+u.name())
	cmd := exec.CommandContext(t.Context(), "ifmatch", args...)
	cmd.Stdout, cmd.Stderr = &u.out, &u.said
	u.err = cmd.Run()
	if err := os.Remove(path); err != nil {
		t.Error(err)
	}
}

// check asserts that the upload is whole under its condition, or was told of the version that is there.
func (u *brokenUpload) check(t *testing.T, dir string) {
	t.Helper()
	status, said, want := 0, &u.out, u.tag
	if u.theirs != "" {
		status, said, want = statusRefused, &u.said, u.theirs
	}
	got := 0
	if exit := new(exec.ExitError); errors.As(u.err, &exit) {
		got = exit.ExitCode()
	}
	if got != status || (u.err != nil) != (status != 0) {
		t.Errorf("upload %d ends with %d: %v: %s; want %d", u.number, got, u.err, &u.said, status)
	}
	if !strings.Contains(said.String(), want) {
		t.Errorf("upload %d says %q, want %s", u.number, said, want)
	}
	f, err := os.Open(filepath.Join(dir, u.name()))
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	sum := sha256.New()
	if n, err := io.Copy(sum, f); err != nil || string(tree.TagOf([sha256.Size]byte(sum.Sum(nil)))) != want {
		t.Errorf("upload %d: the file has %d bytes of another content (%v)", u.number, n, err)
	}
}

// A brokenLine is a server behind a proxy that breaks each connection, and is killed now and then.
type brokenLine struct {
	t      *testing.T
	dir    string
	proxy  *cuttingProxy
	server *servertest.Server
}

func (l *brokenLine) start() {
	l.t.Helper()
	server, err := servertest.Start(servertest.Command(l.dir))
	if err != nil {
		l.t.Fatal(err)
	}
	host := strings.TrimPrefix(server.URL, "http://")
	l.proxy.server.Store(&host)
	l.server = server
}

// overtake has another client replace the old version. If that succeeds, the upload must be refused.
func (l *brokenLine) overtake(u *brokenUpload) {
	l.t.Helper()
	url := l.server.URL + "/" + u.name()
	answer, _ := servertest.Do(l.t, http.DefaultClient, "PUT", url, "theirs", "If-Match", contentTag("old"))
	switch answer.StatusCode {
	case http.StatusNoContent:
		u.theirs = contentTag("theirs")
	case http.StatusPreconditionFailed: // the upload has come before
	default:
		l.t.Errorf("another client is answered %s", answer.Status)
	}
}

// prepare returns the uploads: some make a file, others replace a version, which another client has replaced before or
// replaces meanwhile for some of them.
func (l *brokenLine) prepare() (all, late []*brokenUpload) {
	l.t.Helper()
	for i := range *brokenUploads {
		u := &brokenUpload{number: i, flags: []string{"--create"}}
		if i%2 == 1 {
			_, _ = servertest.Do(l.t, http.DefaultClient, "PUT", l.server.URL+"/"+u.name(), "old")
			u.flags = []string{"--if-match", contentTag("old")}
		}
		switch i % 8 {
		case 3:
			l.overtake(u)
		case 5, 7:
			late = append(late, u)
		}
		all = append(all, u)
	}
	return all, late
}

// litter returns what is left in the state directory of a server that has stopped, beside the index, and records of at
// most 64 KiB. An upload without a byte is one whose client did not get the address, because the server was killed
// before the answer. It ends when it expires.
func litter(t *testing.T, state string) (left []string) {
	t.Helper()
	err := filepath.WalkDir(state, func(path string, d iofs.DirEntry, err error) error {
		name, _ := filepath.Rel(state, path)
		switch {
		case err == nil && d.IsDir() && name == "index":
			return iofs.SkipDir
		case err != nil || d.IsDir():
			return err
		}
		info, err := d.Info()
		if err == nil && (info.Size() > 64<<10 || d.Name() == "data" && info.Size() > 0) {
			left = append(left, fmt.Sprintf("%s of %d bytes", name, info.Size()))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return left
}

// TestUploadsSurviveBrokenLinesAndKills: over lines that all break, and with a server that is killed, each upload ends
// whole under its condition, or is told which version is there. Nothing else is left.
func TestUploadsSurviveBrokenLinesAndKills(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	line := &brokenLine{t: t, dir: t.TempDir(), proxy: &cuttingProxy{
		Listener: listener, accepted: make(chan struct{}), least: *brokenSize / 100, spread: *brokenSize * 19 / 100}}
	line.start()
	go line.proxy.run(rand.New(rand.NewPCG(1, 2)))
	defer listener.Close()
	all, late := line.prepare()
	sources, done := t.TempDir(), make(chan struct{})
	go func() {
		defer close(done)
		var running sync.WaitGroup
		slots := make(chan struct{}, uploadsAtOnce)
		for _, u := range all {
			slots <- struct{}{}
			running.Go(func() {
				u.run(t, sources, listener.Addr().String())
				<-slots
			})
		}
		running.Wait()
	}()
	// A line takes a tenth of an upload on average, so that the kills are spread over half of all.
	every := max(2, 5**brokenUploads/(*brokenKills+1))
	connections, killed := 0, 0
	for ended := false; !ended; {
		select {
		case <-line.proxy.accepted:
		case <-done:
			ended = true
			continue
		}
		connections++
		if connections%every == 0 && killed < *brokenKills {
			killed++
			if err := line.server.Kill(); err != nil {
				t.Error(err)
			}
			line.start()
		}
		if connections%10 == 0 && len(late) > 0 {
			line.overtake(late[0])
			late = late[1:]
		}
	}
	refused, left := 0, 0
	for _, u := range all {
		u.check(t, line.dir)
		if strings.Contains(u.said.String(), put.Left) { // the server was away for too long, and it has been said
			left++
		}
		if u.theirs != "" {
			refused++
		}
	}
	t.Logf("%d uploads of %d bytes over %d connections, %d kills: %d were refused",
		len(all), *brokenSize, connections, killed, refused)
	if killed < *brokenKills || refused == 0 || refused == len(all) {
		t.Errorf("there were %d kills, %d of %d uploads were refused", killed, refused, len(all))
	}
	if err := line.server.Stop(false); err != nil {
		t.Errorf("the last server: %v", err)
	}
	if found := litter(t, filepath.Join(line.dir, stateName)); len(found) > left {
		t.Errorf("it leaves %q; %d uploads were said to be left", found, left)
	}
}
