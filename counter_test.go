package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

const clients = servertest.Idle

// TestIncrement has many clients count together in one file, half of them by If-Match and half by If. An acknowledged
// increment counts: two that both replaced "5" by the same "6" would show here as one increment for two
// acknowledgements.
func TestIncrement(t *testing.T) {
	url, client := serveNew(t)
	increment(t, []string{url + "/counter"}, client)
}

// increment has clients count in one file, which they know by these URLs. It returns how far they have come.
func increment(t *testing.T, urls []string, client *http.Client) int64 {
	t.Helper()
	if status, _, _ := servertest.Send(t, client, "PUT", urls[0], "0"); status != http.StatusCreated {
		t.Fatalf("PUT: %d", status)
	}
	var acknowledged, refused atomic.Int64
	var group sync.WaitGroup
	end := time.Now().Add(*contend)
	for i := range clients {
		url := urls[i/2%len(urls)]
		group.Go(func() {
			for first := true; (first || time.Now().Before(end)) && !t.Failed(); first = false {
				status, tag, content := servertest.Send(t, client, "GET", url, "")
				n, err := strconv.Atoi(content)
				if status != http.StatusOK || tag == "" || err != nil {
					t.Errorf("GET: %d %s %q", status, tag, content)
					return
				}
				condition := []string{"If-Match", tag}
				if i%2 == 1 {
					condition = []string{"If", "([" + tag + "])"}
				}
				switch status, have, _ := servertest.Send(t, client, "PUT", url, strconv.Itoa(n+1), condition...); status {
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
	_, _, content := servertest.Send(t, client, "GET", urls[0], "")
	if want := fmt.Sprint(acknowledged.Load()); content != want || want == "0" {
		t.Errorf("the counter is %s after %s acknowledged increments", content, want)
	}
	t.Logf("%d acknowledged, %d refused", acknowledged.Load(), refused.Load())
	return acknowledged.Load()
}

// TestCreateOnce has many clients create one name with equal bodies: exactly one of them did.
func TestCreateOnce(t *testing.T) {
	url, client := serveNew(t)
	createOnce(t, url, client)
}

// createOnce is TestCreateOnce of a server at a URL.
func createOnce(t *testing.T, url string, client *http.Client) {
	t.Helper()
	end := time.Now().Add(*contend)
	for round := 0; round == 0 || time.Now().Before(end); round++ {
		name := fmt.Sprintf("%s/f%d", url, round)
		var created, refused atomic.Int64
		var group sync.WaitGroup
		for range clients {
			group.Go(func() {
				switch status, tag, _ := servertest.Send(t, client, "PUT", name, "equal", "If-None-Match", "*"); {
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

// TestLastWins has many clients replace one file without a condition. Each succeeds, and the file ends up with the
// whole content of one of them. Without a LOCK no client ever gets 423.
func TestLastWins(t *testing.T) {
	url, client := serveNew(t)
	url += "/f"
	content := func(i int) string { return strings.Repeat(fmt.Sprintf("%08d", i), 4096) }
	var created atomic.Int64
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			switch status, _, _ := servertest.Send(t, client, "PUT", url, content(i)); status {
			case http.StatusCreated:
				created.Add(1)
			case http.StatusNoContent:
			default:
				t.Errorf("PUT: %d", status)
			}
			if _, _, got := servertest.Send(t, client, "GET", url, ""); !whole(got, content) {
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
