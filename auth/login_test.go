package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// counted makes logins with users whose password is their name, and counts how often one is hashed.
func counted(t *testing.T, names ...string) (*logins, *atomic.Int64) {
	t.Helper()
	g := newGuard(time.Now)
	g.sleep = func(context.Context, time.Duration) error { return nil }
	hashes := &atomic.Int64{}
	users, err := ParseUsers("", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		users.names, users.hashed = append(users.names, name), append(users.hashed, name)
		users.hashes[name] = hash{text: "hash of " + name, matches: func(password string) bool {
			hashes.Add(1)
			return password == name
		}}
	}
	l, err := newLogins(g, users, &Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	return l, hashes
}

var here = netip.MustParseAddr("192.0.2.1")

func reasonOf(err error) string {
	login := new(LoginError)
	switch {
	case err == nil:
		return "right"
	case errors.As(err, &login):
		return [...]string{"wrong", "too many", "busy", "uncounted"}[login.Reason]
	}
	return err.Error()
}

func TestAPasswordIsHashedOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, hashes := counted(t, "alice")
		ask := func(want int64) {
			t.Helper()
			who, err := l.check(t.Context(), here, "alice", "alice")
			if err != nil || who.Name != "alice" || hashes.Load() != want {
				t.Errorf("%+v, %v after %d hashes, want %d", who, err, hashes.Load(), want)
			}
		}
		ask(1)
		time.Sleep(cacheFor - time.Second)
		ask(1)
		time.Sleep(time.Second) // it is not made longer by being used
		ask(2)
		again, err := newLogins(l.guard, l.users, l.tokens) // the file has changed
		if err != nil {
			t.Fatal(err)
		}
		l = again
		ask(3)
	})
}

func TestOnlyRightPasswordsAreRemembered(t *testing.T) {
	l, hashes := counted(t, "alice")
	for i := range 3 {
		if _, err := l.check(t.Context(), here, "alice", "x"); reasonOf(err) != "wrong" || hashes.Load() != int64(i+1) {
			t.Errorf("%v after %d hashes", err, hashes.Load())
		}
	}
	if l.proved.Len() != 0 {
		t.Error("a wrong password is remembered")
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	var names []string
	for i := range cacheSize + 10 {
		names = append(names, fmt.Sprint("user", i))
	}
	l, _ := counted(t, names...)
	for _, name := range names {
		if _, err := l.check(t.Context(), here, name, name); err != nil {
			t.Fatal(err)
		}
	}
	if l.proved.Len() != cacheSize {
		t.Error(l.proved.Len())
	}
}

// TestOnePasswordAtOnceIsHashedOnce also from several addresses, and where who asked first is gone.
func TestOnePasswordAtOnceIsHashedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, hashes := counted(t, "alice")
		release := make(chan struct{})
		l.users.hashes["alice"] = hash{text: "slow", matches: func(password string) bool {
			hashes.Add(1)
			<-release
			return password == "alice"
		}}
		gone, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := l.check(gone, here, "alice", "alice"); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		for i := range 20 {
			from := netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 4)})
			all.Go(func() {
				if _, err := l.check(t.Context(), from, "alice", "alice"); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		close(release)
		all.Wait()
		if n := hashes.Load(); n != 1 {
			t.Errorf("%d hashes", n)
		}
	})
}

func TestHashesAtOnceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := counted(t, "alice")
		var now, most atomic.Int64
		release := make(chan struct{})
		l.users.hashes["alice"] = hash{text: "slow", matches: func(string) bool {
			most.Store(max(most.Load(), now.Add(1)))
			<-release
			now.Add(-1)
			return false
		}}
		var reasons sync.Map
		var all sync.WaitGroup
		for i := range 50 {
			from := netip.AddrFrom4([4]byte{192, 0, byte(i), 1})
			all.Go(func() {
				_, err := l.check(t.Context(), from, "alice", fmt.Sprint(i))
				reasons.Store(i, reasonOf(err))
			})
		}
		time.Sleep(hashPatience)
		synctest.Wait()
		busy := 0
		for _, reason := range reasons.Range {
			if reason == "busy" {
				busy++
			}
		}
		running := int(now.Load())
		close(release)
		all.Wait()
		if busy+running != 50 || busy == 0 || most.Load() != int64(running) {
			t.Errorf("%d were told to come again, %d ran, at most %d at once", busy, running, most.Load())
		}
	})
}

func TestWrongPasswordsAreSlowedAndThenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, hashes := counted(t, "alice", "bob")
		var slept []time.Duration
		l.guard.sleep = func(_ context.Context, d time.Duration) error { slept = append(slept, d); return nil }
		for i := range 10 {
			_, err := l.check(t.Context(), here, "alice", fmt.Sprint(i))
			login := new(LoginError)
			if !errors.As(err, &login) || login.Reason != WrongPassword || login.Last != (i == 9) {
				t.Fatalf("%d: %+v", i, err)
			}
		}
		if got := fmt.Sprint(slept); got != "[250ms 500ms 1s 2s 4s 4s 4s 4s]" {
			t.Error(got)
		}
		ask := func(from, name, password, want string) {
			t.Helper()
			if _, err := l.check(t.Context(), netip.MustParseAddr(from), name, password); reasonOf(err) != want {
				t.Errorf("%s from %s: %v, want %s", name, from, err, want)
			}
		}
		before := hashes.Load()
		ask("192.0.2.1", "alice", "alice", "too many") // the right one too: else it could be guessed on
		if hashes.Load() != before {
			t.Error("what is refused is hashed")
		}
		ask("192.0.2.1", "bob", "bob", "right")
		ask("192.0.2.2", "alice", "alice", "right") // no client can shut a user out everywhere
		ask("192.0.2.1", "alice", "alice", "too many")
		time.Sleep(perUser.refused)
		ask("192.0.2.1", "alice", "alice", "right")
	})
}

// TestTheRightPasswordIsNoOracle: a remembered password must not be answered faster, or at all, while its client is
// refused.
func TestTheRightPasswordIsNoOracle(t *testing.T) {
	l, _ := counted(t, "alice")
	if _, err := l.check(t.Context(), here, "alice", "alice"); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		l.check(t.Context(), here, "alice", fmt.Sprint(i))
	}
	if _, err := l.check(t.Context(), here, "alice", "alice"); reasonOf(err) != "too many" {
		t.Error(err)
	}
}

func TestPasswordsForManyUsersAreCountedByNetwork(t *testing.T) {
	l, hashes := counted(t, "alice")
	var last error
	for i := range 300 { // of one IPv6 network, from ever other addresses
		from := netip.MustParseAddr(fmt.Sprintf("2001:db8:1:2::%x", i+1))
		_, last = l.check(t.Context(), from, fmt.Sprint("user", i), "x")
	}
	if n := hashes.Load(); n != 100 || reasonOf(last) != "too many" {
		t.Errorf("%d hashes, then %v", n, last)
	}
	if _, err := l.check(t.Context(), netip.MustParseAddr("2001:db8:1:3::1"), "user1", "x"); reasonOf(err) != "wrong" {
		t.Errorf("another network: %v", err)
	}
}

func TestAtOnceNoMoreAreTriedThanMayBeWrong(t *testing.T) {
	l, hashes := counted(t, "alice")
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() { l.check(t.Context(), here, "alice", fmt.Sprint(i)) })
	}
	all.Wait()
	if n := hashes.Load(); n > 10 {
		t.Errorf("%d hashes", n)
	}
}

func TestSourcesAreBounded(t *testing.T) {
	th := newThrottle(time.Now)
	for i := range maxSources + 1000 {
		th.begin(t.Context(), source{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32), [16]byte{1}})
	}
	if th.counts.Len() != maxSources {
		t.Error(th.counts.Len())
	}
}

func TestUnknownUsersAndLongPasswordsAreWrong(t *testing.T) {
	l, hashes := counted(t, "alice")
	if _, err := l.check(t.Context(), here, "carol", "alice"); reasonOf(err) != "wrong" || hashes.Load() != 1 {
		t.Errorf("%v after %d hashes", err, hashes.Load())
	}
	if _, err := l.check(t.Context(), here, "alice", strings.Repeat("x",
		maxPassword+1)); reasonOf(err) != "wrong" || hashes.Load() != 1 {
		t.Errorf("%v after %d hashes", err, hashes.Load())
	}
}

func TestAppTokensLogIn(t *testing.T) {
	l, hashes := counted(t, "alice")
	now := time.Now()
	secret, token, err := NewToken("alice", "phone", now, now.Add(time.Hour), []string{"list"})
	other, gone, err2 := NewToken("carol", "phone", now, now.Add(time.Hour), nil)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if l.tokens, err = ParseTokens((&Tokens{list: []Token{token, gone}}).String()); err != nil {
		t.Fatal(err)
	}
	who, err := l.check(t.Context(), here, "alice", secret)
	if err != nil || who.String() != "alice/phone" || who.Without != All&^List || hashes.Load() != 0 {
		t.Errorf("%+v, %v", who, err)
	}
	l.users.hashes["alice"], l.users.hashed = hash{text: NoPassword}, nil // an app token does without one
	if _, err := l.check(t.Context(), here, "alice", secret); err != nil {
		t.Error(err)
	}
	if _, err := l.check(t.Context(), here, "carol", other); reasonOf(err) != "wrong" {
		t.Errorf("the token of a user who is gone: %v", err)
	}
	if _, err := l.check(t.Context(), here, "alice", other); reasonOf(err) != "wrong" {
		t.Errorf("the token of another user: %v", err)
	}
}

func TestLinesOfFailedLogins(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	for name, want := range map[string]string{
		"alice":                    `level=WARN msg="login failed" client=192.0.2.1 refused_now=false user="\"alice\""` + "\n",
		"a\" client=203.0.113.9\n": `level=WARN msg="login failed" client=192.0.2.1 refused_now=false user="\"a\\\" client=203.0.113.9\\n\""` + "\n",
	} {
		b.Reset()
		(&LoginError{From: here, Name: name}).LogTo(t.Context(), log)
		if b.String() != want {
			t.Errorf("%s\nwant %s", b.String(), want)
		}
	}
	b.Reset()
	(&LoginError{Reason: TooMany, From: here, Name: "alice"}).LogTo(t.Context(), log)
	if b.Len() != 0 {
		t.Errorf("%s", b.String())
	}
}

// BenchmarkRememberedPassword is the cost of a user over anonymous.
func BenchmarkRememberedPassword(b *testing.B) {
	users, err := ParseUsers("alice:"+bcryptOf(b, "secret"), false)
	if err != nil {
		b.Fatal(err)
	}
	g := newGuard(time.Now)
	l, err := newLogins(g, users, &Tokens{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.check(b.Context(), here, "alice", "secret"); err != nil {
			b.Fatal(err)
		}
	}
}
