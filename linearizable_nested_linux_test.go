package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// TestHistoriesAcrossVolumesAreLinearizable has some of the names on another file system than the rest. A condition of
// one request is about both, and a copy goes from one to the other. It goes on for -contend.
func TestHistoriesAcrossVolumesAreLinearizable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: root can mount a small file system, and others cannot")
	}
	for _, tt := range []struct {
		name    string
		servers int
		in      [places]string // the volume of each name
		// moves reports whether a MOVE is one commit, and seen in one step: one to another volume is a copy and a
		// removal, and readers at another server see the two renames of one over something.
		moves func(op operation) bool
	}{
		{"two names on one of two volumes", 1, [places]string{"/m", "/m", ""}, func(op operation) bool {
			return op.name < 2 && op.to < 2
		}},
		{"each name on another volume", 1, [places]string{"/m", "/n", ""}, func(operation) bool { return false }},
		{"two servers", 2, [places]string{"/m", "/n", ""}, func(operation) bool { return false }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			linkTo(t, ".", dir, linked)
			for _, at := range []string{"m", "n"} {
				mountSmall(t, filepath.Join(dir, at))
			}
			var urls []string
			clients := []*http.Client{servertest.HTTP2Client(t)}
			for range tt.servers {
				url, client := serveConfig(t, Config{Dir: dir, Durability: fs.None})
				urls, clients = append(urls, url), append(clients, client)
			}
			adapt := func(op operation) operation {
				if op.method == "MOVE" && !tt.moves(op) {
					op.method = "COPY"
				}
				return op
			}
			seed, n := rand.Uint64(), 0
			for end := time.Now().Add(*contend); n < 2 || time.Now().Before(end); n++ {
				var in, through dirs
				for i := range in {
					in[i] = fmt.Sprintf("%s/h%d-%d", tt.in[i], n, i)
					through[i] = linked + in[i]
					if status, _, _ := servertest.Send(t, clients[0], "MKCOL", urls[0]+in[i], ""); status != http.StatusCreated {
						t.Fatalf("MKCOL: %d", status)
					}
				}
				recorded := historyIn(t, clients, urls, in, through, seed+uint64(n), adapt)
				if t.Failed() {
					return
				}
				for i, op := range recorded {
					// A server looks up the tag of what another one has written after it has refused to replace it.
					if answer := op.Output.(outcome); tt.servers > 1 && op.Input.(operation).create &&
						answer.status == http.StatusPreconditionFailed {
						recorded[i].Output = outcome{answer.status, untold}
					}
				}
				wantLinearizable(t, recorded, n, seed)
			}
			t.Logf("%d histories of %d operations are linearizable", n, writers*steps)
		})
	}
}

// TestLocksBindBelowAMount: a lock of a collection keeps writers from a file system that is mounted in it, also those at
// another server.
func TestLocksBindBelowAMount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: root can mount a small file system, and others cannot")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o777); err != nil {
		t.Fatal(err)
	}
	mountSmall(t, filepath.Join(dir, "d", "m"))
	var urls []string
	for range 2 {
		url, _ := serveConfig(t, Config{Dir: dir, Durability: fs.None})
		urls = append(urls, url)
	}
	lockAgainstPut(t, servertest.Client(t), "/m/f", urls...)
}

// mountSmall mounts a small file system on a new directory.
func mountSmall(t *testing.T, dir string) {
	t.Helper()
	err := os.Mkdir(dir, 0o777)
	if err == nil {
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64m")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}
