package handler

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/wire"
)

// TestUploadsAboveTheBound are refused by the length that is announced, or when more has come, and change nothing.
func TestUploadsAboveTheBound(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		length     int64
		header     string
		want       int
	}{
		{"as long as it may be", "12345", 5, "", 204},
		{"too long", "123456", 6, "", 413},
		{"in chunks", "12345", -1, "", 204},
		{"too long in chunks", "123456", -1, "", 413},
		{"much too long in chunks", strings.Repeat("x", 1<<20), -1, "", 413},
		{"too long as the Finder says", "12345", -1, "6", 413},
		{"empty", "", 0, "", 204},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newTestHandler(t, Config{Store: storeInMemory(t, "f=old"), MaxUpload: 5})
			r := httptest.NewRequestWithContext(t.Context(), "PUT", "http://localhost/f", struct{ *strings.Reader }{strings.NewReader(tt.body)})
			r.ContentLength = tt.length
			if tt.header != "" {
				r.Header.Set("X-Expected-Entity-Length", tt.header)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.want || w.Code == http.StatusRequestEntityTooLarge && !strings.Contains(w.Body.String(), "at most 5 bytes") {
				t.Errorf("%d, want %d: %s", w.Code, tt.want, w.Body)
			}
			want := tt.body
			if tt.want == 413 {
				want = "old"
			}
			if got := ask(t, h, "GET", "/f", "").Body.String(); got != want {
				t.Errorf("then it has %q, want %q", got, want)
			}
		})
	}
}

// TestTheBoundChanges: a request has the bound that counts when it begins.
func TestTheBoundChanges(t *testing.T) {
	most := int64(5)
	h := newTestHandler(t, Config{Store: storeInMemory(t, "f=old"), MaxUpload: 1, Current: func() (int64, wire.Limit) {
		return most, wire.DefaultLimit
	}})
	for _, tt := range []struct {
		most int64
		want int
	}{{5, 413}, {6, 204}, {0, 204}, {2, 413}} {
		most = tt.most
		if got := ask(t, h, "PUT", "/f", "123456"); got.Code != tt.want {
			t.Errorf("with at most %d bytes: %d, want %d: %s", tt.most, got.Code, tt.want, got.Body)
		}
	}
}
