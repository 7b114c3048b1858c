package handler

import (
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/handler/proxy"
)

// The id of a request is in the answer, in the body of a refusal, and in the log. A proxy that is trusted chooses it.
func TestRequestsHaveIDs(t *testing.T) {
	made := regexp.MustCompile(`^[0-9a-f]{16}$`)
	for _, tt := range []struct {
		about, from, sent string
		kept              bool
	}{
		{"none was sent", "192.0.2.1:1", "", false},
		{"a client has sent one", "192.0.2.1:1", "abc", false},
		{"a proxy has sent one", "10.0.0.1:1", "0af7651916cd43dd:8448eb/2_x.y+z=@", true},
		{"a proxy has sent one of 64 bytes", "10.0.0.1:1", strings.Repeat("a", 64), true},
		{"a proxy has sent one that is too long", "10.0.0.1:1", strings.Repeat("a", 65), false},
		{"a proxy has sent one with a space", "10.0.0.1:1", "a status=200", false},
		{"a proxy has sent one with a quotation mark", "10.0.0.1:1", `a"b`, false},
		{"a proxy has sent one that is not ASCII", "10.0.0.1:1", "ä", false},
	} {
		log := newLogLines()
		h, err := New(Config{
			Store: storeInMemory(t), Log: log.logger(), TrustedProxies: proxy.Trusted{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"localhost", "no%host"} { // the latter is refused before anything else
			w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/none", nil)
			r.RemoteAddr, r.Host = tt.from, host
			if tt.sent != "" {
				r.Header.Set("X-Request-Id", tt.sent)
			}
			h.ServeHTTP(w, r)
			id := w.Header().Get("X-Request-Id")
			if kept := id == tt.sent; kept != tt.kept || !kept && !made.MatchString(id) {
				t.Errorf("%s: the id is %q", tt.about, id)
			}
			var body struct {
				RequestID string `json:"requestId"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.RequestID != id {
				t.Errorf("%s: the id is %q, and the refusal for %s is %s (%v)", tt.about, id, host, w.Body, err)
			}
			if text := log.String(); !strings.Contains(text, "request="+id) && !strings.Contains(text, `request="`+id+`"`) {
				t.Errorf("%s: the id is %q, and the log says %s", tt.about, id, text)
			}
		}
	}
}

func TestNewRequestsHaveNewIDs(t *testing.T) {
	log, seen := newLogLines(), map[string]bool{}
	h, err := New(Config{Store: storeInMemory(t), Log: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		id := ask(t, h, "OPTIONS", "/", "").Header().Get("X-Request-Id")
		if seen[id] {
			t.Fatalf("%q came twice", id)
		}
		seen[id] = true
	}
}

// The log names the trace that a request belongs to, where that can be one (W3C Trace Context §3.2).
func TestTheLogHasTheTrace(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, tt := range []struct {
		sent []string
		want bool
	}{
		{nil, false},
		{[]string{good}, true},
		{[]string{good, good}, false},
		{[]string{"01" + good[2:]}, false},
		{[]string{strings.ToUpper(good)}, false},
		{[]string{good + "-x"}, false},
		{[]string{good[:len(good)-1]}, false},
		{[]string{strings.Replace(good, "a", "g", 1)}, false},
		{[]string{strings.Replace(good, "c-b", "-cb", 1)}, false},
		{[]string{strings.Repeat("0", len(good))}, false},
	} {
		log := newLogLines()
		h, err := New(Config{Store: storeInMemory(t), Log: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequestWithContext(t.Context(), "GET", "http://localhost/", nil)
		r.Header["Traceparent"] = tt.sent
		h.ServeHTTP(httptest.NewRecorder(), r)
		text := log.String()
		if strings.Contains(text, "traceparent="+good) != tt.want || strings.Contains(text, "traceparent=") != tt.want {
			t.Errorf("%q: the log says %s", tt.sent, text)
		}
	}
}
