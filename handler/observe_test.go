package handler

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/handler/accesslog"
	"r-seed-1f3a754f.example/ifmatch/limit"
)

// Who counts is told of each request once, with texts of the server's own alone.
func TestAnswersAreObserved(t *testing.T) {
	var told []accesslog.Answered
	pools := limit.Bounds{Connections: 1, Streams: 1, Uploads: 1, Downloads: 1, Listings: 1, Changes: 1, Hashes: 1}.Pools()
	h, err := New(Config{
		Store: storeInMemory(t, "f=old"), Log: newLogLines().logger(), Pools: pools,
		Observe: func(a accesslog.Answered) { a.Took = 0; told = append(told, a) },
	})
	if err != nil {
		t.Fatal(err)
	}
	send := func(method, target, body string, header ...string) {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), method, "http://localhost"+target, strings.NewReader(body))
		if body == "" {
			r.Body = http.NoBody
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	for _, tt := range []struct {
		method, target, body string
		header               []string
		want                 accesslog.Answered
	}{
		{"PUT", "/f", "hello", nil, accesslog.Answered{Method: "PUT", Status: 204, Received: 5}},
		{"GET", "/f", "", nil, accesslog.Answered{Method: "GET", Status: 200, Sent: 5}},
		{"DELETE", "/f", "", []string{"If-Match", `"secret"`}, accesslog.Answered{Method: "DELETE", Status: 412, Condition: "If-Match"}},
		{"DELETE", "/f", "", []string{"If", `(["secret"])`}, accesslog.Answered{Method: "DELETE", Status: 412, Condition: "If"}},
		{"X-SECRET", "/f", "", nil, accesslog.Answered{Method: "other", Status: 405}},
	} {
		told = nil
		send(tt.method, tt.target, tt.body, tt.header...)
		if len(told) == 1 && tt.want.Sent == 0 {
			told[0].Sent = 0 // how long a refusal is does not matter
		}
		if len(told) != 1 || told[0] != tt.want {
			t.Errorf("%s %s: told %+v, want %+v", tt.method, tt.target, told, tt.want)
		}
	}

	slot, err := pools.Downloads.TryAcquire("another", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Release()
	if f := pools.Downloads.Figures(); f != (limit.Figures{Size: 1, Used: 1}) {
		t.Errorf("the figures of a pool that is full: %+v", f)
	}
}
