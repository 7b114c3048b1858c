package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A rewriter is a local program that changes the content of a file over and over, each time to the same size and with
// the time of before.
type rewriter struct {
	name    string
	mapping bool // how it does that is not seen everywhere
	// open opens the file, and returns how it is rewritten.
	open func(path string, size int) (rewrite func(data []byte) error, end func() error, err error)
}

var noEnd = func() error { return nil }

func rewriteInPieces(f *os.File, data []byte) error {
	for at := 0; at < len(data); at += 64 << 10 {
		if _, err := f.WriteAt(data[at:min(at+64<<10, len(data))], int64(at)); err != nil {
			return err
		}
	}
	return nil
}

var rewriters = []rewriter{
	{"in place", false, func(path string, _ int) (func([]byte) error, func() error, error) {
		return func(data []byte) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			return errors.Join(rewriteInPieces(f, data), f.Close())
		}, noEnd, nil
	}},
	{"in place, and has it open", false, func(path string, _ int) (func([]byte) error, func() error, error) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		return func(data []byte) error { return rewriteInPieces(f, data) }, f.Close, err
	}},
	{"by rename", false, func(path string, _ int) (func([]byte) error, func() error, error) {
		return func(data []byte) error {
			return errors.Join(os.WriteFile(path+"~", data, 0o666), os.Rename(path+"~", path))
		}, noEnd, nil
	}},
	{"through a mapping", true, func(path string, size int) (func([]byte) error, func() error, error) {
		return func(data []byte) error {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			memory, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			f.Close()
			if err != nil {
				return err
			}
			copy(memory, data)
			return unix.Munmap(memory)
		}, noEnd, nil
	}},
	{"through a mapping that is kept", true, func(path string, size int) (func([]byte) error, func() error, error) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		memory, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		return func(data []byte) error { copy(memory, data); return nil }, func() error { return unix.Munmap(memory) }, err
	}},
}

// TestDownloadsHaveTheirTag has a local program rewrite two files while clients download them, all or a part, from two
// servers: a whole answer has the content of its ETag. The programs, one after the other, share the time of -contend,
// and each goes on until each client has got something whole.
func TestDownloadsHaveTheirTag(t *testing.T) {
	dir := placeToTry(t)
	able := abilitiesOf(t, dir)
	ways := []*way{
		{name: "sendfile", client: &http.Client{Transport: &http.Transport{}}},
		{name: "HTTP/2", client: servertest.HTTP2Client(t)},
		{name: "--no-sendfile", client: &http.Client{Transport: &http.Transport{}}},
		{name: "--no-sendfile, HTTP/2", client: servertest.HTTP2Client(t)},
	}
	for i, flags := range [][]string{nil, {"--no-sendfile"}} {
		s, err := servertest.Start(servertest.Command(append(flags, "--durability", "none", dir)...))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Stop(i == 1); err != nil { // with another server still there
				t.Error(err)
			}
		}()
		ways[2*i].url, ways[2*i+1].url = s.URL, s.URL
	}
	for _, program := range rewriters {
		if program.mapping && !able.Mappings {
			t.Logf("%s: what is written so is not seen here", program.name)
			continue
		}
		t.Run(program.name, func(t *testing.T) { newDownloads(t, dir).run(program, ways) })
	}
}

// A way is a kind of download, with its results.
type way struct {
	name   string
	client *http.Client
	url    string

	whole, cutOff, untagged, busy atomic.Int64
}

// downloads are clients and a local program at the same files.
type downloads struct {
	t        *testing.T
	dir      string
	sizes    map[string]int
	versions map[tree.ETag][]byte
	answered chan struct{}
	stop     chan struct{}
}

func newDownloads(t *testing.T, dir string) *downloads {
	large := 2 << 20
	if *contend >= 10*time.Second {
		large = 48 << 20 // so that the kernel sends some of it
	}
	d := &downloads{
		t: t, dir: dir, sizes: map[string]int{"small": 40 << 10, "large": large}, versions: map[tree.ETag][]byte{},
		answered: make(chan struct{}), stop: make(chan struct{}),
	}
	for name, size := range d.sizes {
		for n := range 3 { // so that earlier contents come back
			data := bytes.Repeat([]byte{byte('a' + n)}, size)
			d.versions[tree.TagOf(sha256.Sum256(data))] = data
		}
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func (d *downloads) run(program rewriter, ways []*way) {
	var running sync.WaitGroup
	for _, w := range ways {
		w.whole.Store(0)
		w.cutOff.Store(0)
		w.untagged.Store(0)
		w.busy.Store(0)
		running.Go(func() { d.download(w) })
	}
	for name, size := range d.sizes {
		rewrite, end, err := program.open(filepath.Join(d.dir, name), size)
		if err != nil {
			d.t.Fatal(err)
		}
		defer end()
		running.Go(func() { d.rewrite(name, size, rewrite) })
	}
	least := time.Now().Add(*contend / time.Duration(len(rewriters)))
	enough := func() bool {
		for _, w := range ways {
			if w.whole.Load() == 0 {
				return false
			}
		}
		return time.Now().After(least)
	}
	for deadline := least.Add(servertest.Patience); !enough() && time.Now().Before(deadline) && !d.t.Failed(); {
		<-time.After(time.Millisecond)
	}
	close(d.stop)
	running.Wait()
	for _, w := range ways {
		d.t.Logf("%s: %d whole, %d cut off, %d without a tag, %d to be asked again",
			w.name, w.whole.Load(), w.cutOff.Load(), w.untagged.Load(), w.busy.Load())
		if w.whole.Load() == 0 {
			d.t.Errorf("%s: nothing ever came whole", w.name)
		}
	}
}

// rewrite goes from one version to the next, each time after some answers.
func (d *downloads) rewrite(name string, size int, rewrite func(data []byte) error) {
	file := filepath.Join(d.dir, name)
	info, err := os.Stat(file)
	if err != nil {
		d.t.Error(err)
		return
	}
	var versions [][]byte
	for _, data := range d.versions {
		if len(data) == size {
			versions = append(versions, data)
		}
	}
	for n := 0; ; n++ {
		if err := errors.Join(rewrite(versions[n%len(versions)]), os.Chtimes(file, info.ModTime(), info.ModTime())); err != nil {
			d.t.Error(err)
			return
		}
		for range 4 {
			select {
			case <-d.answered:
			case <-d.stop:
				return
			}
		}
	}
}

// download gets a file after the other, every third time a part of it.
func (d *downloads) download(w *way) {
	for n := 0; ; n++ {
		select {
		case d.answered <- struct{}{}:
		case <-d.stop:
			return
		default:
		}
		name := []string{"small", "large"}[n%2]
		request, err := http.NewRequest("GET", w.url+"/"+name, nil)
		if err != nil {
			d.t.Error(err)
			return
		}
		if n%3 == 0 {
			request.Header.Set("Range", "bytes=1000-")
		}
		answer, err := w.client.Do(request)
		if err != nil {
			d.t.Error(err)
			return
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		tag := tree.ETag(answer.Header.Get("ETag"))
		version, known := d.versions[tag]
		if known && answer.StatusCode == http.StatusPartialContent {
			version = version[1000:]
		}
		switch {
		case answer.StatusCode == http.StatusServiceUnavailable:
			w.busy.Add(1)
		case answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusPartialContent:
			d.t.Errorf("GET %s: %s", name, answer.Status)
		case err != nil:
			w.cutOff.Add(1)
		case tag == "":
			w.untagged.Add(1)
		case known && bytes.Equal(body, version), answer.StatusCode == http.StatusOK && tree.TagOf(sha256.Sum256(body)) == tag:
			w.whole.Add(1)
		case !known && answer.StatusCode == http.StatusPartialContent:
			// Of a version that existed only while it was being written: the rest is unknown.
		default:
			d.t.Errorf("GET %s: %d bytes are not what the ETag %s is of", name, len(body), tag)
		}
	}
}

// A guarded write to a file that a program on the server has open for writing is answered 503 with the reason. A write
// with a false condition is answered 412 all the same, and a write without a condition is done.
func TestOpenForWritingIsTold(t *testing.T) {
	dir := t.TempDir()
	url, client := serveConfig(t, Config{Dir: dir})
	_, tag, _ := servertest.Send(t, client, "PUT", url+"/f", "seen")
	w, err := os.OpenFile(filepath.Join(dir, "f"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, method := range []string{"PUT", "DELETE"} {
		request, err := http.NewRequest(method, url+"/f", strings.NewReader("ours"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("If-Match", tag)
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" ||
			!strings.Contains(string(body), "a program on the server has it open for writing") {
			t.Errorf("%s: %s, %v, %s, error %v", method, answer.Status, answer.Header, body, err)
		}
		if status, _, _ := servertest.Send(t, client, method, url+"/f", "ours", "If-Match", `"another"`); status != http.StatusPreconditionFailed {
			t.Errorf("%s of another version: %d", method, status)
		}
	}
	if status, _, _ := servertest.Send(t, client, "PUT", url+"/f", "ours"); status != http.StatusNoContent {
		t.Errorf("PUT without a condition: %d", status)
	}
}
