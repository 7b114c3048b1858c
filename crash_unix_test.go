//go:build unix

package main

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

var (
	crashes   = flag.Int("crashes", 2, "how often a server is killed under load")
	crashSize = flag.Int("crash-size", 1<<20, "the largest upload meanwhile, in bytes")
	powerOff  = flag.String("power-off", "", "a shell command that takes the power from the disk, and with on, gives it back")
	place     = flag.String("place", "", "a directory on the file system to be tried, instead of a temporary one")
)

// A survivor is a client that changes files of its own, and knows their content.
type survivor struct {
	name    string
	random  *rand.Rand
	next    int
	have    map[string]string // the acknowledged content of each file, as its seed
	pending map[string]string // the content if the running request succeeds (nil: no request is running)
	gone    map[string]int    // how many versions of each were replaced or removed, and acknowledged
}

// grown makes the content of a seed: between 1 KiB and the largest, small ones more often.
func grown(seed string) []byte {
	sum := sha256.Sum256([]byte(seed))
	random := rand.New(rand.NewChaCha8(sum))
	size := 1 << 10
	for size < *crashSize && random.IntN(3) > 0 {
		size *= 2
	}
	return bytes.Repeat([]byte(fmt.Sprintf("%-63s\n", seed)), size/64)
}

func tagOfSeed(seed string) string { return string(tree.TagOf(sha256.Sum256(grown(seed)))) }

// work sends requests until one has no answer.
func (w *survivor) work(t *testing.T, client *http.Client, url string, isOff *atomic.Bool, acknowledged func()) {
	for {
		from, to := fmt.Sprintf("%s/f%d", w.name, w.random.IntN(4)), fmt.Sprintf("%s/f%d", w.name, w.random.IntN(4))
		after := maps.Clone(w.have)
		var request *http.Request
		var err error
		_, exists := w.have[from]
		replaces := ""
		if _, over := w.have[to]; over {
			replaces = to
		}
		switch kind := w.random.IntN(10); {
		case kind < 6 || !exists || from == to:
			w.next++
			seed := fmt.Sprintf("%s %d", w.name, w.next)
			request, err = http.NewRequest("PUT", url+to, bytes.NewReader(grown(seed)))
			if have, over := w.have[to]; err == nil && over && kind%2 == 0 {
				request.Header.Set("If-Match", tagOfSeed(have))
			} else if err == nil && !over {
				request.Header.Set("If-None-Match", "*")
			}
			after[to] = seed
		case kind == 6:
			request, err = http.NewRequest("DELETE", url+from, nil)
			delete(after, from)
			replaces = from
		default:
			method := []string{"COPY", "MOVE"}[kind%2]
			if request, err = http.NewRequest(method, url+from, nil); err == nil {
				request.Header.Set("Destination", url+to)
			}
			after[to] = w.have[from]
			if method == "MOVE" {
				delete(after, from)
			}
		}
		if err != nil {
			t.Error(err)
			return
		}
		w.pending = after
		answer, err := client.Do(request)
		if err != nil {
			return
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if isOff.Load() {
			return // no client would have had this answer
		}
		if answer.StatusCode/100 != 2 {
			t.Errorf("%s %s: %s %s", request.Method, request.URL.Path, answer.Status, body)
			return
		}
		w.have, w.pending = after, nil
		if replaces != "" {
			w.gone[replaces]++
		}
		acknowledged()
	}
}

// check looks at the files after a crash: every acknowledged write is there, and an unanswered one is there as a whole
// or not at all.
func (w *survivor) check(t *testing.T, client *http.Client, url string) {
	t.Helper()
	there := map[string]string{}
	for i := range 4 {
		name := fmt.Sprintf("%s/f%d", w.name, i)
		status, tag, body := servertest.Send(t, client, "GET", url+name, "")
		if status == http.StatusNotFound {
			continue
		}
		seed := strings.TrimRight(body[:min(len(body), 63)], " ")
		if status != http.StatusOK || body != string(grown(seed)) || tag != tagOfSeed(seed) {
			t.Errorf("%s: %d, %s, %d bytes that begin with %q: not a version", name, status, tag, len(body), seed)
		}
		there[name] = seed
	}
	switch {
	case maps.Equal(there, w.have):
	case w.pending != nil && maps.Equal(there, w.pending):
	default:
		t.Errorf("%s has %v; acknowledged %v, under way %v", w.name, there, w.have, w.pending)
	}
	w.have, w.pending = there, nil
}

// power runs the command of -power-off, if there is one.
func power(t *testing.T, arg string) {
	t.Helper()
	if *powerOff == "" {
		return
	}
	if out, err := exec.Command("sh", "-euc", *powerOff, "power", arg).CombinedOutput(); err != nil {
		t.Fatalf("power %s: %v: %s", arg, err, out)
	}
}

// placeToTry returns a new directory on the file system that is to be tried.
func placeToTry(t *testing.T) string {
	t.Helper()
	if *place == "" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(*place, "try-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestKill kills a server with SIGKILL while clients write, and looks at the files of the next one. With -power-off,
// the disk also loses unsynced data.
func TestKill(t *testing.T) {
	dir := placeToTry(t)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	var writers []*survivor
	for i := range 8 {
		writers = append(writers, &survivor{name: fmt.Sprintf("w%d", i), random: rand.New(rand.NewPCG(uint64(i), 1)),
			have: map[string]string{}, gone: map[string]int{}})
	}
	random := rand.New(rand.NewPCG(1, 2))
	for round := range *crashes + 1 {
		one, err := servertest.Start(servertest.Command("--history-size", "50%", dir))
		if err != nil {
			t.Fatal(err)
		}
		url := one.URL + "/"
		for _, w := range writers {
			if round == 0 {
				servertest.Send(t, client, "MKCOL", url+w.name, "")
			} else {
				w.check(t, client, url)
			}
		}
		if round == *crashes || t.Failed() {
			if err := one.Stop(false); err != nil {
				t.Errorf("the last one: %v", err)
			}
			break
		}
		var acknowledged atomic.Int64
		var isOff atomic.Bool
		var working sync.WaitGroup
		enough := make(chan struct{})
		signal := sync.OnceFunc(func() { close(enough) })
		target := 20 + random.Int64N(60)
		done := func() {
			if acknowledged.Add(1) == target {
				signal()
			}
		}
		for _, w := range writers {
			working.Go(func() { w.work(t, client, url, &isOff, done); signal() })
		}
		<-enough
		isOff.Store(*powerOff != "")
		power(t, "off")
		if err := one.Kill(); err != nil {
			t.Error(err)
		}
		working.Wait()
		power(t, "on")
		client.CloseIdleConnections()
	}

	below, err := fs.Open(dir, fs.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer below.Close()
	for _, w := range writers {
		for name, n := range w.gone {
			if kept, err := below.History(name); len(kept) < n || err != nil {
				t.Errorf("%d versions of %s were replaced or removed, and the history has %d, error %v", n, name, len(kept), err)
			}
		}
	}
	found, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if names := slices.DeleteFunc(found, func(e os.DirEntry) bool {
		return e.Name() == stateName || slices.ContainsFunc(writers, func(w *survivor) bool { return w.name == e.Name() })
	}); len(names) > 0 {
		t.Errorf("visible litter: %v", names)
	}
}
