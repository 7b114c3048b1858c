package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	stdhash "hash"
	"log/slog"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"r-seed-1f3a754f.example/ifmatch/internal/pause"
)

// A LoginError says that a name and a password were not taken.
type LoginError struct {
	Reason Reason
	From   netip.Addr // the client
	Name   string     // as it was sent
	// RetryAfter is when to try again, for all reasons but WrongPassword.
	RetryAfter time.Duration
	// Last: it is WrongPassword, and the next ones are TooMany for a while.
	Last bool
}

// A Reason is why a password was not taken.
type Reason uint8

// The reasons.
const (
	WrongPassword Reason = iota // 401, for an unknown user too
	TooMany                     // 429: there were too many wrong ones
	Busy                        // 503: too many are being checked
	Uncounted                   // 503: a wrong one could not be counted now, so that none is checked
)

// Error implements error. It does not tell whether there is such a user.
func (e *LoginError) Error() string {
	switch e.Reason {
	case TooMany:
		return fmt.Sprintf("there were too many wrong passwords; try again in %v", e.RetryAfter.Round(time.Second))
	case Busy:
		return "too many passwords are being checked; try again"
	case Uncounted:
		return "wrong passwords cannot be counted now, because the database does not answer; try again"
	}
	return "the name or the password is wrong"
}

// LogTo writes the one line that programs such as fail2ban read: the address comes first, and the name is last and
// quoted in ASCII, so that no name can look like another address. With the other reasons no password was tried, and there
// is no line.
func (e *LoginError) LogTo(ctx context.Context, log *slog.Logger) {
	if e.Reason != WrongPassword {
		return
	}
	name := e.Name
	if len(name) > maxName {
		name = name[:maxName]
	}
	log.LogAttrs(ctx, slog.LevelWarn, "login failed", slog.String("client", AddressText(e.From)),
		slog.Bool("refused_now", e.Last), slog.String("user", strconv.QuoteToASCII(name)))
}

// AddressText is an address as logs have it: "unix" stands for a connection without one.
func AddressText(addr netip.Addr) string {
	if !addr.IsValid() {
		return "unix"
	}
	return addr.String()
}

// Bounds of checking passwords.
const (
	cacheFor     = 10 * time.Minute
	cacheSize    = 4096
	hashPatience = 5 * time.Second // how long a check waits for its turn
	maxSlowed    = 128             // answers that are kept back at once

	uncountedWait = 2 * time.Second // where wrong passwords cannot be counted, until a client may try again
)

// A guard is the state that stays when files are read anew: the sources of wrong passwords, and the number of
// passwords that are being checked.
type guard struct {
	now      func() time.Time
	macs     sync.Pool // of *mac, with the key of this process
	throttle *throttle
	hashing  *semaphore.Weighted
	slowed   *semaphore.Weighted
	sleep    func(context.Context, time.Duration) error
}

func newGuard(now func() time.Time) *guard {
	g := &guard{
		now: now, throttle: newThrottle(now),
		hashing: semaphore.NewWeighted(int64(max(1, runtime.GOMAXPROCS(0)/2))), // the other half serves
		slowed:  semaphore.NewWeighted(maxSlowed),
		sleep:   pause.For,
	}
	key := make([]byte, 32)
	rand.Read(key) // it never fails
	g.macs.New = func() any { return &mac{Hash: hmac.New(sha256.New, key)} }
	return g
}

// A mac makes one proof at a time.
type mac struct {
	stdhash.Hash
	text []byte
}

// logins checks passwords by one state of the files. When they are read anew there are other logins, and the proofs
// of these are gone.
type logins struct {
	guard   *guard
	users   *Users
	tokens  *Tokens
	read    [sha256.Size]byte            // SHA-256 of the files
	proved  *lru.Cache[proof, time.Time] // until when
	asking  singleflight.Group           // of one address, which it counts for
	hashing singleflight.Group           // of one password
}

// A proof stands for a name and a password: HMAC-SHA-256 with a key of this process. Only the proofs of right ones
// are kept.
type proof [sha256.Size]byte

func newLogins(g *guard, users *Users, tokens *Tokens) (*logins, error) {
	proved, err := lru.New[proof, time.Time](cacheSize)
	return &logins{guard: g, users: users, tokens: tokens, proved: proved}, err
}

// check returns the principal of a name and a password, or a *LoginError. ctx ends only the waiting for it. The name
// is in NFC.
func (l *logins) check(ctx context.Context, from netip.Addr, name, password string) (Principal, error) {
	g := l.guard
	// An app token cannot be guessed. It is taken where passwords are refused too, so that a machine with a wrong
	// password does not lock out the others of its network.
	if t, ok := l.tokens.find(name, password, g.now()); ok && l.users.Has(name) {
		return Principal{Name: name, Token: t.Name, Without: t.without}, nil
	}
	stored, known := l.users.hashOf(name)
	if err := l.checkHash(ctx, from, name, password, stored, known); err != nil {
		return Principal{}, err
	}
	return Principal{Name: name}, nil
}

// checkHash compares a password with the hash of the name that it is counted for, as check does.
func (l *logins) checkHash(ctx context.Context, from netip.Addr, name, password string, stored hash, known bool) error {
	g := l.guard
	src := sourceOf(from, name)
	if wait := g.throttle.refused(src); wait > 0 {
		return &LoginError{Reason: TooMany, From: from, Name: name, RetryAfter: wait}
	}
	p := l.prove(name, password)
	if until, ok := l.proved.Get(p); ok && g.now().Before(until) {
		return nil
	}
	key := string(p[:])
	answer := l.asking.DoChan(key+src.network.String(), func() (any, error) {
		return nil, l.ask(src, from, name, password, stored, known, p)
	})
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case result := <-answer:
		if result.Err != nil {
			return l.slow(ctx, from, result.Err)
		}
		return nil
	}
}

func (l *logins) prove(name, password string) (p proof) {
	m := l.guard.macs.Get().(*mac)
	defer l.guard.macs.Put(m)
	m.text = m.text[:0]
	for _, part := range [...]string{name, password} {
		m.text = binary.AppendUvarint(m.text, uint64(len(part)))
		m.text = append(m.text, part...)
	}
	m.Reset()
	m.Write(m.text)
	clear(m.text)
	m.Sum(p[:0])
	return p
}

// ask checks a password, for all who have sent it from one network at once.
func (l *logins) ask(src source, from netip.Addr, name, password string, stored hash, known bool, p proof) error {
	g := l.guard
	ctx := context.Background() // it is asked for several, and Counts bound their waits
	switch wait, err := g.throttle.begin(ctx, src); {
	case err != nil:
		return &LoginError{Reason: Uncounted, From: from, Name: name, RetryAfter: uncountedWait}
	case wait > 0:
		return &LoginError{Reason: TooMany, From: from, Name: name, RetryAfter: wait}
	}
	right, err, _ := l.hashing.Do(string(p[:]), func() (any, error) { return l.matches(stored, password) })
	switch {
	case err != nil:
		g.throttle.right(ctx, src) // it was not tried
		return &LoginError{Reason: Busy, From: from, Name: name, RetryAfter: time.Second}
	case right.(bool) && known:
		g.throttle.right(ctx, src)
		l.proved.Add(p, g.now().Add(cacheFor))
		return nil
	}
	slow, last := g.throttle.wrong(ctx, src)
	return &wrongPassword{LoginError{Reason: WrongPassword, From: from, Name: name, Last: last}, slow}
}

// matches runs the hash, when it is its turn.
func (l *logins) matches(stored hash, password string) (bool, error) {
	if len(password) > maxPassword {
		return false, nil // no user has it
	}
	ctx, cancel := context.WithTimeout(context.Background(), hashPatience)
	defer cancel()
	if err := l.guard.hashing.Acquire(ctx, 1); err != nil {
		return false, err
	}
	defer l.guard.hashing.Release(1)
	return stored.matches(password), nil
}

// A wrongPassword is the answer to a password, and how long it is to be kept back.
type wrongPassword struct {
	LoginError
	slow time.Duration
}

// slow keeps back the answer to a wrong password.
func (l *logins) slow(ctx context.Context, from netip.Addr, err error) error {
	wrong, ok := err.(*wrongPassword)
	if !ok {
		return err
	}
	answer := wrong.LoginError // others have the same
	answer.From = from
	if wrong.slow == 0 || !l.guard.slowed.TryAcquire(1) { // where too many wait, it is counted all the same
		return &answer
	}
	defer l.guard.slowed.Release(1)
	_ = l.guard.sleep(ctx, wrong.slow)
	return &answer
}
