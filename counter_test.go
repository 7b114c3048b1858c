package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ifmatch/tree"
)

const clients = 64

// contend is for .ci/run and .ci/long, which have more time.
var contend = flag.Duration("contend", 500*time.Millisecond, "how long each test of many clients at once goes on")

// serveTest serves a new directory, put together as the program does it, over real connections.
func serveTest(t *testing.T) (url string, client *http.Client) {
	t.Helper()
	return serveAs(t, Config{Dir: t.TempDir()})
}

// serveAs is serveTest of a server that is configured. A test may put something between the handler and the store.
func serveAs(t *testing.T, cfg Config, between ...func(tree.Store) tree.Store) (url string, client *http.Client) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store, _, err := openStore(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	var below tree.Store = store
	for _, wrap := range between {
		below = wrap(below)
	}
	handler, err := newHandler(cfg, below, log)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(watch(cfg.Dir, store, log))
	client = server.Client()
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = clients
	return server.URL, client
}

// overHTTP2 returns a client that speaks HTTP/2 to the server of serveTest.
func overHTTP2(t *testing.T) *http.Client {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// send makes a request and returns its status, its tag and its body.
func send(t *testing.T, client *http.Client, method, url, body string, header ...string) (status int, tag, content string) {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, "", ""
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Error(err)
		return 0, "", ""
	}
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return answer.StatusCode, answer.Header.Get("ETag"), string(read)
}

// TestIncrement has many clients count together in one file, half of them by If-Match and half by If. Whoever was told
// that it counted, counted: two that both replaced "5" by the same "6" would show here as one increment for two
// acknowledgements.
func TestIncrement(t *testing.T) {
	url, client := serveTest(t)
	increment(t, []string{url + "/counter"}, client)
}

// increment has clients count in one file, which they know by these URLs. It returns how far they have come.
func increment(t *testing.T, urls []string, client *http.Client) int64 {
	t.Helper()
	if status, _, _ := send(t, client, "PUT", urls[0], "0"); status != http.StatusCreated {
		t.Fatalf("PUT: %d", status)
	}
	var acknowledged, refused atomic.Int64
	var group sync.WaitGroup
	end := time.Now().Add(*contend)
	for i := range clients {
		url := urls[i/2%len(urls)]
		group.Go(func() {
			for time.Now().Before(end) && !t.Failed() {
				status, tag, content := send(t, client, "GET", url, "")
				n, err := strconv.Atoi(content)
				if status != http.StatusOK || tag == "" || err != nil {
					t.Errorf("GET: %d %s %q", status, tag, content)
					return
				}
				condition := []string{"If-Match", tag}
				if i%2 == 1 {
					condition = []string{"If", "([" + tag + "])"}
				}
				switch status, have, _ := send(t, client, "PUT", url, strconv.Itoa(n+1), condition...); status {
				case http.StatusNoContent:
					acknowledged.Add(1)
				case http.StatusPreconditionFailed:
					refused.Add(1)
					if have == "" || have == tag {
						t.Errorf("412 with the tag %q to one who expected %s", have, tag)
					}
				default:
					t.Errorf("PUT: %d", status)
					return
				}
			}
		})
	}
	group.Wait()
	_, _, content := send(t, client, "GET", urls[0], "")
	if want := fmt.Sprint(acknowledged.Load()); content != want || want == "0" {
		t.Errorf("the counter is %s after %s acknowledged increments", content, want)
	}
	t.Logf("%d acknowledged, %d refused", acknowledged.Load(), refused.Load())
	return acknowledged.Load()
}

// TestCreateOnce has many clients create one name with equal bodies: exactly one of them did.
func TestCreateOnce(t *testing.T) {
	url, client := serveTest(t)
	end := time.Now().Add(*contend)
	for round := 0; round == 0 || time.Now().Before(end); round++ {
		name := fmt.Sprintf("%s/f%d", url, round)
		var created, refused atomic.Int64
		var group sync.WaitGroup
		for range clients {
			group.Go(func() {
				switch status, tag, _ := send(t, client, "PUT", name, "equal", "If-None-Match", "*"); {
				case status == http.StatusCreated && tag != "":
					created.Add(1)
				case status == http.StatusPreconditionFailed && tag != "":
					refused.Add(1)
				default:
					t.Errorf("PUT: %d %s", status, tag)
				}
			})
		}
		group.Wait()
		if created.Load() != 1 || refused.Load() != clients-1 {
			t.Errorf("%d created it, %d were refused", created.Load(), refused.Load())
		}
	}
}

// TestLastWins has many clients replace one file without a condition. Each succeeds, and what is there in the end is one
// of their contents, whole: without a client's LOCK nobody is ever refused with 423.
func TestLastWins(t *testing.T) {
	url, client := serveTest(t)
	url += "/f"
	content := func(i int) string { return strings.Repeat(fmt.Sprintf("%08d", i), 4096) }
	var created atomic.Int64
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			switch status, _, _ := send(t, client, "PUT", url, content(i)); status {
			case http.StatusCreated:
				created.Add(1)
			case http.StatusNoContent:
			default:
				t.Errorf("PUT: %d", status)
			}
			if _, _, got := send(t, client, "GET", url, ""); !whole(got, content) {
				t.Errorf("GET: %d bytes that nobody has sent: %.20q", len(got), got)
			}
		})
	}
	group.Wait()
	if created.Load() != 1 {
		t.Errorf("%d clients created it", created.Load())
	}
}

func whole(got string, content func(int) string) bool {
	if len(got) < 8 {
		return false
	}
	i, err := strconv.Atoi(got[:8])
	return err == nil && got == content(i)
}
