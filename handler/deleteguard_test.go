package handler

import (
	"crypto/sha256"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/handler/deleteguard"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

func TestDeleteAfterAFailedPut(t *testing.T) {
	const (
		rclone = "User-Agent: rclone/v1.60.1-DEV"
		other  = "User-Agent: curl/7.88.1"
	)
	type step struct {
		method, target string
		header         []string
		wait           time.Duration // before it
		want           int
	}
	put := func(want int, header ...string) step { return step{"PUT", "/f", header, 0, want} }
	stale := put(412, rclone, `If-Match: "stale"`)
	del := func(want int, header ...string) step { return step{"DELETE", "/f", header, 0, want} }
	for _, tt := range []struct {
		about string
		steps []step
	}{
		{"one is refused, and the next is meant", []step{stale, del(412, rclone), del(204, rclone)}},
		{"each PUT that fails is followed by one", []step{stale, stale, del(412, rclone), stale, del(412, rclone)}},
		{"a PUT that must create", []step{put(412, rclone, "If-None-Match: *"), del(412, rclone)}},
		{"a malformed If", []step{put(400, rclone, "If: nonsense"), del(412, rclone)}},
		{"a part of a file", []step{put(400, rclone, "Content-Range: bytes 0-1/3"), del(412, rclone)}},
		{"an encoded one", []step{put(415, rclone, "Content-Encoding: gzip"), del(412, rclone)}},
		{"the client says what it deletes", []step{stale, del(204, rclone, "If-Match: *")}},
		{"the client says a stale version", []step{stale, del(412, rclone, `If-Match: "stale"`), del(412, rclone), del(204, rclone)}},
		{"a condition that is malformed is none", []step{stale, del(412, rclone, "If-None-Match: JoplinIgnore-1")}},
		{"another name", []step{stale, {"DELETE", "/g", []string{rclone}, 0, 204}, del(412, rclone)}},
		{"another spelling of the name, of what may be the same file", []step{stale, {"COPY", "/f", []string{other, "Destination: /F"}, 0, 201},
			{"DELETE", "/F", []string{rclone}, 0, 412}}},
		{"another spelling of the name, of another file", []step{stale, {"PUT", "/F", []string{other, "X-OC-Mtime: 1"}, 0, 201},
			{"DELETE", "/F", []string{rclone}, 0, 204}, del(412, rclone)}},
		{"another agent", []step{stale, del(204, other)}},
		{"another version of the same agent", []step{stale, del(204, "User-Agent: rclone/v1.76.0")}},
		{"an agent that is not watched", []step{put(412, other, `If-Match: "stale"`), del(204, other)}},
		{"within the time", []step{stale, {"DELETE", "/f", []string{rclone}, deleteguard.Time - time.Millisecond, 412}}},
		{"after the time", []step{stale, {"DELETE", "/f", []string{rclone}, deleteguard.Time, 204}}},
		{"the client has written it since", []step{stale, put(204, rclone), del(204, rclone)}},
		{"it has been written since, by another", []step{stale, put(204, other, "Content-Length: 0"), del(204, rclone)}},
		{"the client has moved something there since", []step{stale, {"MOVE", "/g", []string{rclone, "Destination: /f"}, 0, 204}, del(204, rclone)}},
		{"nothing is there any more", []step{stale, del(204, other), del(404, rclone)}},
		{"nothing was there", []step{{"PUT", "/new", []string{rclone, "If-Match: *"}, 0, 412}, {"DELETE", "/new", []string{rclone}, 0, 404}}},
		{"a DELETE that would fail anyway is not the one", []step{stale, {"DELETE", "/f/", []string{rclone}, 0, 404}, del(412, rclone)}},
		{"a collection is not guarded", []step{{"PUT", "/d", []string{rclone}, 0, 405}, {"DELETE", "/d", []string{rclone}, 0, 204}}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			now := time.Now()
			h := inMemory(t, Config{Now: func() time.Time { return now }, DeleteGuard: []string{"rclone/*"}})
			ask(t, h, "PUT", "/f", "old", other)
			ask(t, h, "PUT", "/g", "other", other)
			ask(t, h, "MKCOL", "/d", "", other)
			for i, s := range tt.steps {
				now = now.Add(s.wait)
				body := ""
				if s.method == "PUT" {
					body = "new"
				}
				w := ask(t, h, s.method, s.target, body, s.header...)
				if w.Code != s.want {
					t.Fatalf("step %d, %s %s %q: %d, want %d: %s", i, s.method, s.target, s.header, w.Code, s.want, w.Body)
				}
				if s.method == "DELETE" && w.Code == 412 {
					if got := ask(t, h, "GET", s.target, ""); got.Body.String() != "old" {
						t.Fatalf("step %d: the file is %d %q", i, got.Code, got.Body)
					}
				}
			}
		})
	}
}

// The refusal tells the client how to delete on purpose.
func TestDeleteGuardSaysHowToDelete(t *testing.T) {
	h := inMemory(t, Config{DeleteGuard: []string{"*"}})
	ask(t, h, "PUT", "/f", "old")
	ask(t, h, "PUT", "/f", "new", `If-Match: "stale"`)
	w := ask(t, h, "DELETE", "/f", "")
	if w.Code != 412 || w.Header().Get("ETag") != string(tree.TagOf(sha256.Sum256([]byte("old")))) {
		t.Fatalf("%d, ETag %s", w.Code, w.Header().Get("ETag"))
	}
	for _, want := range []string{`"condition":"delete-guard"`, "If-Match", "on purpose"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the body does not say %s: %s", want, w.Body)
		}
	}
	if w := ask(t, h, "DELETE", "/f", "", "If-Match: "+w.Header().Get("ETag")); w.Code != 204 {
		t.Errorf("DELETE with If-Match: %d", w.Code)
	}
}

// A PUT whose body breaks off has failed. Its client is gone by then.
func TestDeleteAfterABrokenPut(t *testing.T) {
	h := inMemory(t, Config{DeleteGuard: []string{"*"}})
	ask(t, h, "PUT", "/f", "old")
	r := httptest.NewRequestWithContext(t.Context(), "PUT", "http://localhost/f", brokenBody{})
	h.ServeHTTP(httptest.NewRecorder(), r)
	if w := ask(t, h, "DELETE", "/f", ""); w.Code != 412 {
		t.Errorf("DELETE: %d", w.Code)
	}
	if w := ask(t, h, "GET", "/f", ""); w.Body.String() != "old" {
		t.Errorf("the file is %d %q", w.Code, w.Body)
	}
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, fmt.Errorf("the line is dead") }
