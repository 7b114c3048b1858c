package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sharedCounts are [Counts] in memory, which can fail before or after a change.
type sharedCounts struct {
	mu     sync.Mutex
	texts  map[string][]byte
	before error
	after  error
}

func (c *sharedCounts) Update(
	_ context.Context, keys []string, _ time.Duration, change func(now time.Time, texts [][]byte) error,
) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.before != nil {
		return c.before
	}
	texts := make([][]byte, len(keys))
	for i, key := range keys {
		texts[i] = c.texts[key]
	}
	if err := change(time.Now(), texts); err != nil {
		return err
	}
	for i, key := range keys {
		c.texts[key] = texts[i]
	}
	return c.after
}

// together makes the logins of some servers that count together.
func together(t *testing.T, n int, names ...string) (servers []*logins, hashed func() int64, shared *sharedCounts) {
	t.Helper()
	shared = &sharedCounts{texts: map[string][]byte{}}
	var each []func() int64
	for range n {
		l, hashes := counted(t, names...)
		l.guard.throttle.shared = shared
		servers, each = append(servers, l), append(each, hashes.Load)
	}
	return servers, func() (all int64) {
		for _, one := range each {
			all += one()
		}
		return all
	}, shared
}

// TestServersCountWrongPasswordsTogether: asked in turn, they try as many passwords as one of them alone would.
func TestServersCountWrongPasswordsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers, hashed, _ := together(t, 3, "alice", "bob")
		for i := range 60 {
			servers[i%3].check(t.Context(), here, "alice", fmt.Sprint(i))
		}
		if n := hashed(); n != 10 {
			t.Errorf("%d passwords were tried, want 10", n)
		}
		ask := func(server int, name, want string) {
			t.Helper()
			if _, err := servers[server].check(t.Context(), here, name, name); reasonOf(err) != want {
				t.Errorf("%s at server %d: %v, want %s", name, server, err, want)
			}
		}
		for i := range servers {
			ask(i, "alice", "too many")
		}
		ask(0, "bob", "right")
		time.Sleep(perUser.refused)
		ask(1, "alice", "right")
	})
}

// TestManyAtOnceAtSeveralServers: those that are being checked count before the first of them is answered.
func TestManyAtOnceAtSeveralServers(t *testing.T) {
	servers, hashed, _ := together(t, 3, "alice")
	var all sync.WaitGroup
	for i := range 150 {
		all.Go(func() { servers[i%3].check(t.Context(), here, "alice", fmt.Sprint(i)) })
	}
	all.Wait()
	if n := hashed(); n > 10 {
		t.Errorf("%d passwords were tried", n)
	}
}

// TestARememberedPasswordIsRefusedWithTheOthers: a server that has learned that a client is refused elsewhere refuses the
// right password too, though it has proved that before.
func TestARememberedPasswordIsRefusedWithTheOthers(t *testing.T) {
	servers, _, _ := together(t, 2, "alice")
	if _, err := servers[1].check(t.Context(), here, "alice", "alice"); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		servers[0].check(t.Context(), here, "alice", fmt.Sprint(i))
	}
	for _, password := range []string{"wrong", "alice"} {
		if _, err := servers[1].check(t.Context(), here, "alice", password); reasonOf(err) != "too many" {
			t.Errorf("%s: %v", password, err)
		}
	}
}

// TestALateAnswerEndsNoRefusal: an answer of the counts from before a refusal may come after that of the refusal.
func TestALateAnswerEndsNoRefusal(t *testing.T) {
	shared := &sharedCounts{texts: map[string][]byte{}}
	throttle, alice := newThrottle(time.Now), sourceOf(here, "alice")
	throttle.shared = lateCounts{shared, func() {
		throttle.shared = shared
		for range 10 {
			throttle.begin(t.Context(), alice)
		}
		throttle.wrong(t.Context(), alice)
	}}
	throttle.right(t.Context(), alice)
	if wait := throttle.refused(alice); wait <= 0 {
		t.Errorf("refused for %v", wait)
	}
}

// lateCounts have something happen between a change and its answer.
type lateCounts struct {
	*sharedCounts
	meanwhile func()
}

func (c lateCounts) Update(
	ctx context.Context, keys []string, lasts time.Duration, change func(now time.Time, texts [][]byte) error,
) error {
	defer c.meanwhile()
	return c.sharedCounts.Update(ctx, keys, lasts, change)
}

// TestNoPasswordIsTriedUncounted: while the counts are away, no password is compared, and those that were proved before
// are taken. When they are back, so are the logins.
func TestNoPasswordIsTriedUncounted(t *testing.T) {
	servers, hashed, shared := together(t, 1, "alice", "bob")
	l := servers[0]
	ask := func(name, password, want string) {
		t.Helper()
		if _, err := l.check(t.Context(), here, name, password); reasonOf(err) != want {
			t.Errorf("%s with %s: %v, want %s", name, password, err, want)
		}
	}
	ask("alice", "alice", "right")
	away := errors.New("the database is away")
	tried := hashed()
	for _, lost := range []*error{&shared.before, &shared.after} { // also where only the answer is lost
		*lost = away
		ask("alice", "alice", "right")
		ask("bob", "bob", "uncounted")
		ask("alice", "wrong", "uncounted")
		if hashed() != tried {
			t.Error("a password was tried, and could not be counted")
		}
		*lost = nil
	}
	ask("bob", "bob", "right")
	ask("alice", "wrong", "wrong")
}
