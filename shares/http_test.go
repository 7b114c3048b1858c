package shares_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/handler"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A web is a server of shares, and the tokens of the locks that a test takes.
type web struct {
	*fixture
	h      http.Handler
	tokens map[string]string
}

func serve(t *testing.T, f *fixture) *web {
	t.Helper()
	h, err := handler.New(handler.Config{Store: f.Store, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	// The tokens of memtree are numbers. Those of each share must be others, as they are in a directory.
	for i, spy := range []*spy{f.a, f.b, f.c} {
		for range i * 100 {
			lock, _, err := spy.Lock(t.Context(), tree.LockRequest{Timeout: time.Hour}, tree.Condition{})
			if err == nil {
				err = spy.Unlock(t.Context(), "", lock.Token, tree.Condition{})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return &web{f, h, map[string]string{}}
}

// send sends a request: a method, a path, and headers. In a header, {name} is the token of a lock on that name, and
// [content] the tag of that content.
func (w *web) send(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		value = regexp.MustCompile(`\{[^}]*\}`).ReplaceAllStringFunc(value, func(s string) string { return w.tokens[s[1:len(s)-1]] })
		value = regexp.MustCompile(`\[\w*\]`).ReplaceAllStringFunc(value, func(s string) string {
			return string(treetest.TagOf(s[1 : len(s)-1]))
		})
		r.Header.Add(name, value)
	}
	answer := httptest.NewRecorder()
	w.h.ServeHTTP(answer, r)
	return answer
}

// lock takes a lock with Depth infinity.
func (w *web) lock(name string) {
	w.t.Helper()
	answer := w.send("LOCK", "/"+name, `<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>`)
	if answer.Code/100 != 2 {
		w.t.Fatalf("LOCK of %q: %d %s", name, answer.Code, answer.Body)
	}
	w.tokens[name] = answer.Header().Get("Lock-Token")
}

// TestConditionsOfMovesToAnotherShare sends every condition with a MOVE and a COPY. Where it fails nothing has changed.
func TestConditionsOfMovesToAnotherShare(t *testing.T) {
	for _, test := range []struct {
		name    string
		locks   []string
		headers []string
		move    int // the status of the MOVE
		copy    int // and that of the COPY
	}{
		{"none", nil, nil, 204, 204},
		{"If-Match of the source", nil, []string{"If-Match: [1]"}, 204, 204},
		{"If-Match of another version", nil, []string{"If-Match: [2]"}, 412, 412},
		{"If-Match of any", nil, []string{"If-Match: *"}, 204, 204},
		{"If-None-Match of the source", nil, []string{"If-None-Match: [1]"}, 412, 412},
		{"If-None-Match of another version", nil, []string{"If-None-Match: [x]"}, 204, 204},
		{"Overwrite", nil, []string{"Overwrite: F"}, 412, 412},
		{"an old date", nil, []string{"If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT"}, 412, 412},
		{"If of the source", nil, []string{"If: ([[1]])"}, 204, 204},
		{"If of both", nil, []string{"If: </b/g> ([[2]]) </a/f> ([[x]])"}, 204, 204},
		{"If of another version of the destination", nil, []string{"If: </b/g> ([[x]])"}, 412, 412},
		{"If of a third share", nil, []string{"If: </c/h> ([[3]])"}, 204, 204},
		{"If of another version in a third share", nil, []string{"If: </c/h> ([[x]])"}, 412, 412},
		{"If not of another version in a third share", nil, []string{"If: </c/h> (Not [[x]])"}, 204, 204},
		{"If of a share", nil, []string{"If: </c> ([[x]])"}, 412, 412},
		{"If of a collection above", nil, []string{"If: </> ([[x]])"}, 412, 412},
		{"If of no share", nil, []string{"If: </none> ([[x]])"}, 412, 412},
		{"a lock on the source", []string{"a/f"}, nil, 423, 204},
		{"a lock on the source, with its token", []string{"a/f"}, []string{"If: ({a/f})"}, 204, 204},
		{"a lock on the destination", []string{"b/g"}, nil, 423, 423},
		{"a lock on the destination, with its token", []string{"b/g"}, []string{"If: </b/g> ({b/g})"}, 204, 204},
		{"a lock on the share of the source", []string{"a"}, nil, 423, 204},
		{"a lock on the share of the destination", []string{"b"}, nil, 423, 423},
		{"locks on both, with one token", []string{"a/f", "b/g"}, []string{"If: </b/g> ({b/g})"}, 423, 204},
		{"locks on both, with both tokens", []string{"a", "b/g"}, []string{"If: </b/g> ({b/g}) </a> ({a})"}, 204, 204},
		{"the token of a third share", []string{"c/h"}, []string{"If: </c/h> ({c/h})"}, 204, 204},
		{"the token of a third share for the source", []string{"c/h"}, []string{"If: ({c/h})"}, 412, 412},
	} {
		for _, method := range []string{"MOVE", "COPY"} {
			t.Run(method+", "+test.name, func(t *testing.T) {
				w := serve(t, open(t, backends["memory"], "a/f=1", "b/g=2", "c/h=3"))
				for _, name := range test.locks {
					w.lock(name)
				}
				headers := []string{"Destination: http://localhost/b/g"}
				headers = append(headers, test.headers...)
				before := treetest.Snapshot(t, w.Store)
				want := test.move
				if method == "COPY" {
					want = test.copy
				}
				answer := w.send(method, "/a/f", "", headers...)
				if answer.Code != want {
					t.Errorf("got %d, want %d: %s", answer.Code, want, answer.Body)
				}
				after := treetest.Snapshot(t, w.Store)
				switch {
				case want >= 300 && !slices.Equal(before, after):
					t.Errorf("it has changed\n  %q\nto\n  %q", before, after)
				case want < 300 && method == "MOVE":
					w.wantTree("b/g=1", "c/h=3")
				case want < 300:
					w.wantTree("a/f=1", "b/g=1", "c/h=3")
				}
			})
		}
	}
}

// TestLocksStayAfterMovesToAnotherShare: that of the destination covers the moved file, and that of the source ends
// (RFC 4918 §7.6, §9.9).
func TestLocksStayAfterMovesToAnotherShare(t *testing.T) {
	w := serve(t, open(t, backends["memory"], "a/f=1", "b/g=2"))
	w.lock("a/f")
	w.lock("b/g")
	answer := w.send("MOVE", "/a/f", "", "Destination: /b/g", "If: </b/g> ({b/g}) </a/f> ({a/f})")
	if answer.Code != 204 {
		t.Fatalf("got %d: %s", answer.Code, answer.Body)
	}
	s, err := w.Stat(t.Context(), "b/g", tree.ReadOptions{Want: tree.WantLocks})
	if err != nil || len(s.Locks) != 1 || s.Locks[0].Root != "b/g" {
		t.Errorf("got %+v, error %v", s, err)
	}
	if _, err := w.put("a/f", "new"); err != nil {
		t.Error(err)
	}
	if s, err := w.Stat(t.Context(), "a/f", tree.ReadOptions{Want: tree.WantLocks}); err != nil || len(s.Locks) != 0 {
		t.Errorf("got %+v, error %v", s, err)
	}
}

// TestTargetsInShares: the path is read before it is decided whose it is.
func TestTargetsInShares(t *testing.T) {
	for _, test := range []struct {
		path string
		want int
	}{
		{"/a/f", 200}, {"/%61/f", 200}, {"//a//f", 200}, {"/a/./f", 200}, {"/b/../a/f", 200}, {"/b/%2e%2e/a/f", 200},
		{"/a%2Ff", 400}, {"/a/../../x", 400}, {"/A/f", 404}, {"/a/f/", 404}, {"/a", 200}, {"/a/", 200}, {"/", 200}, {"/aa", 404},
		{"/a/..", 200}, {"/a/.ifmatch-copy-x/", 404}, {"/a/%2eifmatch-Copy-X", 404}, {"/a/x/../.ifmatch-copy-x", 404},
		{"/a/d/.ifmatch-copy-x", 200}, {"/a%00", 400},
	} {
		w := serve(t, open(t, backends["memory"], "a/f=1", "a/d/", "a/d/.ifmatch-copy-x=1", "b/g=2"))
		if answer := w.send("GET", test.path, ""); answer.Code != test.want {
			t.Errorf("GET %s: got %d, want %d", test.path, answer.Code, test.want)
		}
		answer := w.send("COPY", "/b/g", "", "Destination: "+test.path, "Overwrite: T")
		if answer.Code < 300 && (test.want != 200 && test.path != "/a/f/") {
			t.Errorf("COPY to %s: got %d", test.path, answer.Code)
		}
	}
}

// TestMoveThatLeavesBothSaysSo: the answer is no success, and tells the remedy.
func TestMoveThatLeavesBothSaysSo(t *testing.T) {
	for _, source := range []string{"a/f", "a/d"} {
		w := serve(t, open(t, backends["memory"], "a/f=1", "a/d/", "a/d/f=1"))
		w.a.on = once("Remove", 1, func() {
			w.a.on = nil
			name := strings.Replace(source, "a/d", "a/d/f", 1)
			if _, err := w.put(name, "edited"); err != nil {
				t.Error(err)
			}
		})
		answer := w.send("MOVE", "/"+source, "", "Destination: /b/g")
		if answer.Code != 500 || !strings.Contains(answer.Body.String(), "the copy is at the destination, and the source was left") {
			t.Errorf("%s: got %d %s", source, answer.Code, answer.Body)
		}
	}
}

// A MOVE by a client that is gone once the copy is there is carried on: it would leave the resource at both names.
func TestMoveGoesOnWithoutItsClient(t *testing.T) {
	for _, source := range []string{"a/f", "a/d"} {
		t.Run(source, func(t *testing.T) {
			f := open(t, backends["memory"], "a/f=1", "a/d/", "a/d/f=1")
			ctx, cancel := context.WithCancel(t.Context())
			f.a.on = func(method, name string) error {
				if method == "Remove" || method == "Versions" {
					cancel()
				}
				return nil
			}
			if _, _, err := f.Move(ctx, source, "b/g", tree.CopyOptions{}, tree.Condition{}); err != nil {
				t.Error(err)
			}
			if _, err := f.Stat(t.Context(), source, tree.ReadOptions{}); err == nil {
				t.Error("the source is still there")
			}
			if ctx.Err() == nil {
				t.Error("it was not cancelled")
			}
		})
	}
}
