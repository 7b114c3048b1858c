package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// TestTreesInMotion: collections are moved and locked while clients write into them.
func TestTreesInMotion(t *testing.T) { treesInMotion(t, serveNew) }

// treesInMotion is TestTreesInMotion of servers. serve returns the URL of an empty collection.
func treesInMotion(t *testing.T, serve func(t *testing.T) (url string, client *http.Client)) {
	t.Run("MOVE of a collection against PUT into it", func(t *testing.T) {
		at, client := serve(t)
		moveAgainstPut(t, at, client)
	})
	t.Run("LOCK of a collection against PUT into it", func(t *testing.T) {
		at, client := serve(t)
		servertest.Want(t, client, http.StatusCreated, "MKCOL", at+"/d", "")
		lockAgainstPut(t, client, "/f", at)
	})
}

// moveAgainstPut has a collection change its name all the time. A file whose PUT was acknowledged is in it afterwards.
func moveAgainstPut(t *testing.T, at string, client *http.Client) {
	servertest.Want(t, client, http.StatusCreated, "MKCOL", at+"/a", "")
	var mu sync.Mutex
	var group sync.WaitGroup
	put, missed, moved := map[string]bool{}, 0, 0
	end := time.Now().Add(*contend)
	for i := range rivals {
		group.Go(func() {
			for n := 0; time.Now().Before(end) && !t.Failed(); n++ {
				name := fmt.Sprintf("%d-%d", i, n)
				status, _, _ := servertest.Send(t, client, "PUT", at+[]string{"/a/", "/b/"}[n%2]+name, name, "If-None-Match", "*")
				mu.Lock()
				switch status {
				case http.StatusCreated:
					put[name] = true
				case http.StatusConflict: // no such collection now
					missed++
				default:
					t.Errorf("PUT: %d", status)
				}
				mu.Unlock()
			}
		})
	}
	group.Go(func() {
		for from, to := "/a", "/b"; time.Now().Before(end) && !t.Failed(); from, to = to, from {
			servertest.Want(t, client, http.StatusCreated, "MOVE", at+from, "", "Destination", at+to)
			moved++
		}
	})
	group.Wait()
	last := at + []string{"/a/", "/b/"}[moved%2]
	_, listed := servertest.Want(t, client, http.StatusMultiStatus, "PROPFIND", last, "", "Depth", "1")
	if n := strings.Count(listed, "<D:response>") - 1; n != len(put) {
		t.Errorf("%d files are there, and %d were acknowledged", n, len(put))
	}
	for name := range put {
		if !strings.Contains(listed, "/"+name+"</D:href>") {
			t.Errorf("%s was acknowledged, and is lost", name)
		}
	}
	t.Logf("%d files in a collection that was moved %d times, %d found it gone", len(put), moved, missed)
}

var lockToken = regexp.MustCompile(`<(urn:uuid:[^>]*)>`)

// lockAgainstPut has clients lock the collection d all the time. From the answer to LOCK to UNLOCK, only the holder writes
// to a name in it. Each client is at one of some servers of one tree.
func lockAgainstPut(t *testing.T, client *http.Client, name string, servers ...string) {
	servertest.Want(t, client, http.StatusCreated, "PUT", servers[0]+"/d"+name, "0")
	var mu sync.Mutex
	var group sync.WaitGroup
	counts := map[string]int{}
	count := func(what string, status, done, locked int) bool {
		mu.Lock()
		defer mu.Unlock()
		if status != done && status != locked {
			t.Errorf("%s: %d", what, status)
		}
		counts[fmt.Sprint(what, " ", status)]++
		return status == done
	}
	end := time.Now().Add(*contend)
	for i := range rivals {
		group.Go(func() {
			d := servers[i%len(servers)] + "/d"
			for n := 0; (n == 0 || time.Now().Before(end)) && !t.Failed(); n++ {
				status, _, _ := servertest.Send(t, client, "PUT", d+name, fmt.Sprintf("%d-%d", i, n))
				count("PUT", status, http.StatusNoContent, http.StatusLocked)
			}
		})
	}
	for i := range rivals / 8 {
		group.Go(func() {
			d := servers[i%len(servers)] + "/d"
			for n := 0; (n == 0 || time.Now().Before(end)) && !t.Failed(); n++ {
				answer, _ := servertest.Do(t, client, "LOCK", d, servertest.LockExclusive, "Depth", "infinity")
				if !count("LOCK", answer.StatusCode, http.StatusOK, http.StatusLocked) {
					continue
				}
				token := lockToken.FindStringSubmatch(answer.Header.Get("Lock-Token"))[1]
				_, before, _ := servertest.Send(t, client, "GET", d+name, "")
				mine := fmt.Sprintf("lock %d-%d", i, n)
				_, between, _ := servertest.Send(t, client, "GET", d+name, "")
				servertest.Want(t, client, http.StatusNoContent, "PUT", d+name, mine, "If", "<"+d+"> (<"+token+">)")
				if _, _, after := servertest.Send(t, client, "GET", d+name, ""); before != between || after != mine {
					t.Errorf("under a lock, %s became %s, and %q was read as %q", before, between, mine, after)
				}
				servertest.Want(t, client, http.StatusNoContent, "UNLOCK", d, "", "Lock-Token", "<"+token+">")
			}
		})
	}
	group.Wait()
	if counts["LOCK 200"] == 0 || counts["PUT 423"]+counts["PUT 204"] == 0 {
		t.Errorf("nobody was in the way of another one: %v", counts)
	}
	t.Log(counts)
}
