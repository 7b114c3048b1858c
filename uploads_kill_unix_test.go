//go:build unix

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
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

	"ifmatch/internal/servertest"
	"ifmatch/tree"
)

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

// TestUploadsSurviveBrokenLinesAndKills: over lines that all break, and with a server that is killed, each upload ends
// whole under its condition, or is told which version is there. Nothing else is left.
func TestUploadsSurviveBrokenLinesAndKills(t *testing.T) {
	const uploads, size, kills = 8, 2 << 20, 2
	dir, sources := t.TempDir(), t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy := &cuttingProxy{Listener: listener, accepted: make(chan struct{}), least: 100 << 10, spread: 400 << 10}
	start := func() *servertest.Server {
		t.Helper()
		server, err := servertest.Start(servertest.Command(dir))
		if err != nil {
			t.Fatal(err)
		}
		host := strings.TrimPrefix(server.URL, "http://")
		proxy.server.Store(&host)
		return server
	}
	server := start()
	go proxy.run(rand.New(rand.NewPCG(1, 2)))
	defer listener.Close()

	contents, tags := make([][]byte, uploads), make([]string, uploads)
	flags := make([][]string, uploads)
	for i := range uploads {
		contents[i] = bytes.Repeat(fmt.Appendf(nil, "%15d\n", i), size/16)
		tags[i] = string(tree.TagOf(sha256.Sum256(contents[i])))
		flags[i] = []string{"--create"}
		if i%2 == 1 { // over a version, which another client replaces in some cases
			_, _ = servertest.Do(t, http.DefaultClient, "PUT", fmt.Sprintf("%s/f%d", server.URL, i), "old")
			flags[i] = []string{"--if-match", contentTag("old")}
		}
		if i%4 == 3 {
			_, _ = servertest.Do(t, http.DefaultClient, "PUT", fmt.Sprintf("%s/f%d", server.URL, i), "theirs")
			tags[i] = contentTag("theirs")
		}
		if err := os.WriteFile(filepath.Join(sources, fmt.Sprint(i)), contents[i], 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var running sync.WaitGroup
	outs, said, errs := make([]bytes.Buffer, uploads), make([]bytes.Buffer, uploads), make([]error, uploads)
	for i := range uploads {
		running.Go(func() {
			args := append([]string{"put"}, flags[i]...)
			args = append(args, filepath.Join(sources, fmt.Sprint(i)), fmt.Sprintf("http://%s/f%d", listener.Addr(), i))
			cmd := exec.CommandContext(t.Context(), "ifmatch", args...)
			cmd.Stdout, cmd.Stderr = &outs[i], &said[i]
			errs[i] = cmd.Run()
		})
	}
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	for connections, killed := 0, 0; ; {
		select {
		case <-proxy.accepted:
			if connections++; connections%10 == 0 && killed < kills {
				killed++
				if err := server.Kill(); err != nil {
					t.Error(err)
				}
				server = start()
			}
			continue
		case <-done:
		}
		if connections < 10*kills {
			t.Errorf("there were %d connections", connections)
		}
		break
	}
	for i := range uploads {
		refused := i%4 == 3
		status := 0
		if exit := new(exec.ExitError); errors.As(errs[i], &exit) {
			status = exit.ExitCode()
		}
		if refused != (status == statusRefused) || refused != (errs[i] != nil) {
			t.Errorf("upload %d ends with %d: %v: %s", i, status, errs[i], &said[i])
		}
		told := &outs[i]
		if refused {
			told = &said[i]
		}
		if !strings.Contains(told.String(), tags[i]) {
			t.Errorf("upload %d says %q, want %s", i, told, tags[i])
		}
		found, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("f%d", i)))
		if err != nil || contentTag(string(found)) != tags[i] {
			t.Errorf("upload %d: the file has %d bytes (%v)", i, len(found), err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, stateName, "uploads/*/data")); left != nil {
		t.Errorf("it leaves %q", left)
	}
	if err := server.Stop(false); err != nil {
		t.Errorf("the last server: %v", err)
	}
}
