package handler

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/wire"
)

// A lateStore tells whether the body of a Put had come when its condition was tried.
type lateStore struct {
	tree.Store
	told chan bool
}

func (s *lateStore) Try(ctx context.Context, cond tree.Condition) error {
	err := s.Store.Try(ctx, cond)
	if cond.Late != nil {
		come := cond.Late()
		if come {
			come = cond.Late() // it may be asked again
		}
		s.told <- come
	}
	return err
}

// TestBodiesThatHaveCome: a store is told that a body has come if it has, so that a look before it would be in vain.
// That takes nothing from the body, and waits for no client.
func TestBodiesThatHaveCome(t *testing.T) {
	store := &lateStore{storeInMemory(t), make(chan bool, 1)}
	h := newTestHandler(t, Config{Store: store})
	server := served(t, h)
	encrypted := httptest.NewUnstartedServer(h)
	encrypted.Listener = wire.Listen(encrypted.Listener, func() wire.Limit { return wire.DefaultLimit })
	encrypted.Config.ConnContext = wire.Context
	encrypted.StartTLS()
	defer encrypted.Close()
	body := strings.Repeat("0123456789", 100)
	long := strings.Repeat("0123456789", 2<<10)
	for _, test := range []struct {
		about, header   string
		first, then     string // of the body: first comes with the header
		encrypted, late bool
	}{
		{about: "with the header", first: body, late: true},
		{about: "nothing", late: true},
		{about: "one byte", first: "x", late: true},
		{about: "behind the header", then: body},
		{about: "the beginning with the header", first: body[:10], then: body[10:]},
		{about: "all but the last byte", first: body[:len(body)-1], then: body[len(body)-1:]},
		{about: "asked for", header: "Expect: 100-continue\r\n", first: body},
		{about: "encrypted", first: body, encrypted: true},
		{about: "more than is late", first: long},
	} {
		t.Run(test.about, func(t *testing.T) {
			var conn net.Conn
			var err error
			if conn, err = net.Dial("tcp", server.Listener.Addr().String()); test.encrypted {
				conn, err = tls.Dial("tcp", encrypted.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			answers := bufio.NewReader(conn)
			// The next request comes with the end of this one. The first PUT makes the file, and the second one replaces it.
			const next = "GET /f HTTP/1.1\r\nHost: localhost\r\n\r\n"
			for _, status := range []int{http.StatusCreated, http.StatusNoContent} {
				whole := test.first + test.then
				first := fmt.Sprintf("PUT /f HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s",
					test.header, len(whole), test.first)
				then := test.then + next
				if test.then == "" {
					first, then = first+next, ""
				}
				io.WriteString(conn, first)
				if late := <-store.told; late != test.late {
					t.Errorf("it is late: %v", late)
				}
				io.WriteString(conn, then)
				answer, err := http.ReadResponse(answers, nil)
				if err == nil && answer.StatusCode == http.StatusContinue {
					answer, err = http.ReadResponse(answers, nil)
				}
				if err != nil || answer.StatusCode != status {
					t.Fatalf("PUT: %v, %v", answer, err)
				}
				answer, err = http.ReadResponse(answers, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(answer.Body); string(got) != whole {
					t.Errorf("the file has %q, %v", got, err)
				}
			}
			if w := ask(t, h, "DELETE", "/f", ""); w.Code != http.StatusNoContent {
				t.Errorf("DELETE: %d", w.Code)
			}
		})
	}
}

// TestRefusalOfABodyThatHasCome: a PUT that is refused when its body has come is told whether the same content is
// there, and the connection carries the next request.
func TestRefusalOfABodyThatHasCome(t *testing.T) {
	store := &lateStore{storeInMemory(t), make(chan bool, 1)}
	server := served(t, newTestHandler(t, Config{Store: store}))
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for _, condition := range []string{"X: y", `If-Match: "other"`, `If-Match: "other"`} {
		fmt.Fprintf(conn, "PUT /f HTTP/1.1\r\nHost: localhost\r\n%s\r\nContent-Length: 4\r\n\r\nbody", condition)
		if !<-store.told {
			t.Error("the body has not come")
		}
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(answer.Body)
		refused := strings.HasPrefix(condition, "If-Match")
		if err != nil || refused != (answer.StatusCode == http.StatusPreconditionFailed) ||
			refused && !strings.Contains(string(got), `"sameContent":true`) {
			t.Errorf("%s: %d %s, %v", condition, answer.StatusCode, got, err)
		}
	}
}
