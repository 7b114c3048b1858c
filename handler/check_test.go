package handler

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/afero"
	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A busyStore gets no turn to ask a Check inside a commit: another process holds the tree, or a program a file.
type busyStore struct {
	tree.Store
	err error
}

func (s busyStore) Put(context.Context, string, io.Reader, tree.PutOptions, tree.Condition) (tree.State, bool, error) {
	return tree.State{}, false, s.err
}
func (s busyStore) Remove(context.Context, string, tree.Condition) error { return s.err }
func (s busyStore) Move(context.Context, string, string, tree.CopyOptions, tree.Condition) (tree.State, bool, error) {
	return tree.State{}, false, s.err
}

// A false condition is reported rather than a busy store. A true condition, or none, is not.
func TestFalseConditionBeforeBusy(t *testing.T) {
	below, err := fs.OpenAfero(afero.NewMemMapFs(), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	store, err := etagfs.New(below, etagfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	state, _, err := store.Put(t.Context(), "f", strings.NewReader("hello"), tree.PutOptions{Length: -1}, tree.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	lock := tree.LockRequest{Root: "locked", Timeout: time.Hour}
	if _, _, err := store.Lock(t.Context(), lock, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	for busy, why := range map[error]string{
		tree.ErrBusy: "the resource keeps changing",
		&tree.StorageError{Kind: tree.ErrBusy, Hint: "a program has it open", RetryAfter: time.Second}: "a program has it open",
	} {
		h, err := New(Config{Store: busyStore{store, busy}, RequireConditions: true, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			header string
			want   int
		}{
			{`If-Match: "stale"`, http.StatusPreconditionFailed},
			{`If-None-Match: *`, http.StatusPreconditionFailed},
			{`If: (["stale"])`, http.StatusPreconditionFailed},
			{"If-Match: " + string(state.Tag), http.StatusServiceUnavailable},
			{`If-Match: *`, http.StatusServiceUnavailable},
		} {
			for _, method := range []string{"PUT", "DELETE", "MOVE"} {
				w := ask(t, h, method, "/f", "", tt.header, "Destination: /g")
				if w.Code != tt.want {
					t.Errorf("%s with %s and %v: %d, want %d", method, tt.header, busy, w.Code, tt.want)
				}
				if tt.want == http.StatusServiceUnavailable && !strings.Contains(w.Body.String(), `"detail":"`+why) {
					t.Errorf("%s with %s and %v: %s", method, tt.header, busy, w.Body)
				}
				if (w.Header().Get("Retry-After") != "") != (tt.want == http.StatusServiceUnavailable) {
					t.Errorf("%s with %s: Retry-After is %q", method, tt.header, w.Header().Get("Retry-After"))
				}
			}
		}
		if w := ask(t, h, "DELETE", "/f", ""); w.Code != http.StatusPreconditionRequired {
			t.Errorf("DELETE without a condition, which is required: %d", w.Code)
		}
		if w := ask(t, h, "DELETE", "/locked", "", "If-Match: *"); w.Code != http.StatusLocked {
			t.Errorf("DELETE of what a client has locked: %d", w.Code)
		}
	}
}

// A counting store says how many names its Checks look at.
type countingStore struct {
	tree.Store
	looks *int
}

func (s countingStore) Try(ctx context.Context, check tree.Condition) error {
	counted := check
	counted.Check = func(v tree.View) error { return check.Ask(countingView{v, s.looks}) }
	return s.Store.Try(ctx, counted)
}

type countingView struct {
	tree.View
	looks *int
}

func (v countingView) State(name string) (tree.State, error) {
	*v.looks++
	return v.View.State(name)
}

// However deep a name is, it takes the same few looks to find out whether something can be written to it.
func TestEarlyCheckTakesFewLooks(t *testing.T) {
	looks := 0
	h := newTestHandler(t, Config{Store: countingStore{storeInMemory(t), &looks}})
	for method, body := range map[string]string{"PUT": "1", "LOCK": lockBody, "PROPPATCH": patchOf("<x>1</x>")} {
		var took []int
		for _, target := range []string{"/a/b", strings.Repeat("/a", 1000)} {
			looks = 0
			if got := ask(t, h, method, target, body).Code; got != http.StatusConflict && got != http.StatusNotFound {
				t.Errorf("%s: %d", method, got)
			}
			took = append(took, looks)
		}
		if took[0] != took[1] || took[0] == 0 {
			t.Errorf("%s of a name with 2 segments takes %d looks, and with 1,000 %d", method, took[0], took[1])
		}
	}
}

// A slowStore hashes without end in a Check, unless the body of the request has been read.
type slowStore struct {
	tree.Store
	read  *bool
	tries int
}

func (s *slowStore) Try(ctx context.Context, check tree.Condition) error {
	s.tries++
	if *s.read {
		return s.Store.Try(ctx, check)
	}
	<-ctx.Done()
	return ctx.Err()
}

type endOf struct {
	io.Reader
	reached *bool
}

func (r endOf) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	*r.reached = *r.reached || err == io.EOF
	return n, err
}

// The check before the body is read ends, because until then the server does not know whether the client is still
// there.
func TestCourtesyHasAnEnd(t *testing.T) {
	for _, tt := range []struct {
		method, body string
		wait         time.Duration // --tag-wait
		took         time.Duration
		status       int
	}{
		{"PUT", "new", 3 * time.Second, 3 * time.Second, http.StatusNoContent},
		{"PUT", "new", 0, courtesyTime, http.StatusNoContent},
		{"LOCK", lockBody, time.Second, time.Second, http.StatusOK},
		{"PROPPATCH", patchOf("<x>1</x>"), time.Second, time.Second, webdav.StatusMulti},
		{"PROPFIND", propfindOf("<getetag/>"), time.Second, time.Second, webdav.StatusMulti},
	} {
		t.Run(fmt.Sprint(tt.method, tt.wait), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				read := false
				h := newTestHandler(t, Config{Store: &slowStore{Store: storeInMemory(t, "f=1"), read: &read}, TagWait: tt.wait})
				start := time.Now()
				r := httptest.NewRequestWithContext(t.Context(), tt.method, "http://localhost/f", endOf{strings.NewReader(tt.body), &read})
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != tt.status || time.Since(start) != tt.took {
					t.Errorf("got %d after %v, want %d after %v: %s", w.Code, time.Since(start), tt.status, tt.took, w.Body)
				}
			})
		})
	}
}
