package handler

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs"

	"golang.org/x/net/webdav"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

const lockBody = `<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>`

// A LOCK of a version and a PUT that race are ordered by their commits: the lock keeps the write out, or the write makes the
// version another one. Neither is there a write under a lock, nor do both fail.
func TestLockAndPutAreOrderedByTheCommit(t *testing.T) {
	h := inMemoryWith(t, fs.Options{}, Config{}, "f=old")
	old := ask(t, h, "HEAD", "/f", "").Header().Get("ETag")
	locked := 0
	for range 100 {
		if got := ask(t, h, "PUT", "/f", "old").Code; got != http.StatusNoContent {
			t.Fatalf("PUT: %d", got)
		}
		var lock, put int
		var token string
		var both sync.WaitGroup
		both.Go(func() {
			w := ask(t, h, "LOCK", "/f", lockBody, "If-Match:"+old)
			lock, token = w.Code, w.Header().Get("Lock-Token")
		})
		both.Go(func() { put = ask(t, h, "PUT", "/f", "new").Code })
		both.Wait()
		now := ask(t, h, "GET", "/f", "").Body.String()
		switch {
		case lock == http.StatusOK && put == webdav.StatusLocked && now == "old":
			locked++
			if got := ask(t, h, "UNLOCK", "/f", "", "Lock-Token:"+token).Code; got != http.StatusNoContent {
				t.Fatalf("UNLOCK: %d", got)
			}
		case lock == http.StatusPreconditionFailed && put == http.StatusNoContent && now == "new":
		default:
			t.Fatalf("LOCK %d and PUT %d leave %q", lock, put, now)
		}
	}
	t.Logf("the lock was first %d times of 100", locked)
}

// The memory that clients can use is limited.
func TestLocksAreBounded(t *testing.T) {
	h := inMemoryWith(t, fs.Options{}, Config{}, "f=1")
	owner := make([]byte, 9<<10)
	for i := range owner {
		owner[i] = 'x'
	}
	body := `<lockinfo xmlns="DAV:"><lockscope><shared/></lockscope><locktype><write/></locktype><owner>` + string(owner) + `</owner></lockinfo>`
	if got := ask(t, h, "LOCK", "/f", body).Code; got != http.StatusInsufficientStorage {
		t.Errorf("an owner of 9 KiB: %d, want 507", got)
	}
	if got := ask(t, h, "LOCK", "/new", body).Code; got != http.StatusInsufficientStorage {
		t.Errorf("the same on nothing: %d, want 507", got)
	}
	if got := ask(t, h, "GET", "/new", "").Code; got != http.StatusNotFound {
		t.Errorf("then: %d, want 404", got)
	}
}

// One client cannot take all locks, and the refusal names the limit.
func TestLocksAreSharedOutAmongClients(t *testing.T) {
	h := inMemoryWith(t, fs.Options{}, Config{}, "f=1")
	taken := 0
	for ; taken < 4096; taken++ {
		w := askFrom(t, h, "192.0.2.1", "LOCK", fmt.Sprintf("/n%d", taken), lockBody)
		if w.Code == http.StatusInsufficientStorage {
			if want := fmt.Sprintf("this client has %d locks, and the rest is for others", taken); !strings.Contains(w.Body.String(), want) {
				t.Errorf("it does not say %q: %s", want, w.Body)
			}
			break
		}
		if w.Code != http.StatusCreated {
			t.Fatalf("LOCK: %d", w.Code)
		}
	}
	if taken < 1000 || taken > 4000 {
		t.Errorf("a client took %d locks", taken)
	}
	if got := ask(t, h, "GET", fmt.Sprintf("/n%d", taken), "").Code; got != http.StatusNotFound {
		t.Errorf("what was refused is there: %d", got)
	}
	if got := askFrom(t, h, "192.0.2.2", "LOCK", "/f", lockBody).Code; got != http.StatusOK {
		t.Errorf("another client: %d", got)
	}
}

// TestUnlockAsksForTheLogin: a client that sends its password only when asked ends its lock, too. The answer is the
// same for each token and each name, but for an anonymous lock that is older than the rules.
func TestUnlockAsksForTheLogin(t *testing.T) {
	authority, _ := openAuthority(t, servertest.Rules(
		"/ ann list,read,lock,create", "/ anonymous list,read", "/hidden ann all",
		"/closed authenticated list,read", "/open anonymous,ann list,read,lock,create",
	))
	layout := []string{"f=f", "hidden/", "hidden/f=f", "closed/", "closed/f=f", "open/", "open/f=f"}
	h := newTestHandler(t, Config{Store: storeInMemory(t, layout...), Auth: authority})
	const unknown = "<urn:uuid:11111111-1111-1111-1111-111111111111>"
	for _, tt := range []struct {
		user, target string
		locked       bool // by ann, whose token is sent
		want         int
	}{
		{"", "/f", true, 401},
		{"", "/f", false, 401},
		{"", "/no-file", false, 401},
		{"", "/hidden/f", true, 401},
		{"", "/hidden/f", false, 401},
		{"", "/hidden/no-file", false, 401},
		{"", "/closed/f", false, 409}, // no user may lock there
		{"", "/open/f", true, 409},    // anonymous may lock there: to log in would not help against a wrong token
		{"", "/open/f", false, 409},
		{"bob", "/f", true, 409},
		{"bob", "/f", false, 409},
		{"ann", "/f", false, 409},
		{"ann", "/f", true, 204},
	} {
		token := unknown
		if tt.locked {
			locked := askAs(t, h, "ann", "LOCK", tt.target, bodyOf("LOCK"))
			if token = locked.Header().Get("Lock-Token"); token == "" {
				t.Fatalf("LOCK %s: %d %s", tt.target, locked.Code, locked.Body)
			}
		}
		got := askAs(t, h, tt.user, "UNLOCK", tt.target, "", "Lock-Token:"+token)
		if got.Code != tt.want || (got.Header().Get("WWW-Authenticate") != "") != (tt.want == 401) {
			t.Errorf("UNLOCK %s by %q, locked: %v: %d %v, want %d: %s", tt.target, tt.user, tt.locked, got.Code,
				got.Header(), tt.want, got.Body)
		}
		if tt.locked && tt.want != 204 {
			if got := askAs(t, h, "ann", "UNLOCK", tt.target, "", "Lock-Token:"+token); got.Code != 204 {
				t.Fatalf("UNLOCK %s by its taker: %d: %s", tt.target, got.Code, got.Body)
			}
		}
	}
}

// goesBeforeLock is a store of which another client removes what is to be locked, right before the lock is taken.
type goesBeforeLock struct{ tree.Store }

func (s goesBeforeLock) Lock(ctx context.Context, lock tree.LockRequest, cond tree.Condition) (tree.Lock, bool, error) {
	if err := s.Remove(ctx, lock.Root, tree.Condition{}); err != nil {
		return tree.Lock{}, false, err
	}
	return s.Store.Lock(ctx, lock, cond)
}

// A LOCK of a name with a slash is about a collection, also in the commit: it makes no empty file where that has gone.
func TestLockOfACollectionThatGoesMakesNoFile(t *testing.T) {
	for target, want := range map[string]int{"/d/": 404, "/d": 201} {
		h := newTestHandler(t, Config{Store: goesBeforeLock{storeInMemory(t, "d/")}})
		if w := ask(t, h, "LOCK", target, lockBody); w.Code != want {
			t.Errorf("LOCK %s: %d, want %d: %s", target, w.Code, want, w.Body)
		}
		if w := ask(t, h, "GET", "/d", ""); (w.Code == 404) != (want == 404) {
			t.Errorf("after LOCK %s: GET /d: %d", target, w.Code)
		}
	}
}
