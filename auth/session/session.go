// Package session remembers who has logged in by a form, until that ends.
//
// A client gets a [Table.Begin] of 256 random bits, in a cookie, and shows it again with each request ([Table.Find]).
// The table keeps its SHA-256 alone, so that a copy of the table is no login. A session ends with [Idle], with
// [Lasts], by [Table.End], and when its Proof is no longer that of its user, which its caller decides.
//
// # Limits
//
// There are at most [PerUser] sessions of a user and [Most] in all: one more ends those that were not used for the
// longest time. The last use is kept with an accuracy of some minutes. Several processes may share a [Store]. The
// bounds may then be passed by a few sessions for an instant.
package session

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"
)

// Bounds of sessions.
const (
	Idle    = 12 * time.Hour      // without a request
	Lasts   = 30 * 24 * time.Hour // in all
	PerUser = 50
	Most    = 10_000
)

// accuracy is how old the last use that is kept may be. Each request of a page would write to the disk otherwise.
const accuracy = 5 * time.Minute

// ErrNone says that there is no such session, or that it has ended.
var ErrNone = errors.New("there is no such session")

// A Record is the part of a session that is kept.
type Record struct {
	User  string    `json:"user"`
	Token string    `json:"token,omitzero"` // the name of the app token that was sent in place of the password
	Proof string    `json:"proof"`          // of the password or the app token: the session ends when it changes
	From  string    `json:"from,omitzero"`  // the address that has logged in
	Began time.Time `json:"began"`
}

// A Key names a session, and does not tell its id: 16 hex digits that its user's name has for a hash, a hyphen, and
// 64 of the SHA-256 of the id.
type Key string

// userDigits is the number of hex digits for the user in a [Key].
const userDigits = 16

// Short returns the part of the key by which people name a session.
func (k Key) Short() string {
	if len(k) < 2*userDigits {
		return string(k)
	}
	return string(k[userDigits+1 : 2*userDigits+1])
}

func (k Key) user() string { user, _, _ := strings.Cut(string(k), "-"); return user }

// A Used tells when a session was used last.
type Used struct {
	Key Key
	At  time.Time
}

// A Store keeps sessions. It is used by several goroutines at once, and by several processes if it is on a disk.
type Store interface {
	// Put keeps a new session. It outlasts a power failure when Put returns, unless the store is in memory.
	Put(ctx context.Context, key Key, r Record, used time.Time) error
	// Get returns a session and when it was used last, or [ErrNone].
	Get(ctx context.Context, key Key) (Record, time.Time, error)
	// Touch sets when a session was used last. It does nothing if there is no such session.
	Touch(ctx context.Context, key Key, used time.Time) error
	// Remove removes sessions, for good when it returns. Those that are not there are no error.
	Remove(ctx context.Context, keys ...Key) error
	// List returns some of all sessions, up to a number.
	List(ctx context.Context, most int) ([]Used, error)
}

// A Session is one that has not ended.
type Session struct {
	Record
	Key  Key
	Used time.Time // its last use, as it is kept
}

// Ends returns when the session ends if it is used no more.
func (s *Session) Ends() time.Time {
	idle, all := s.Used.Add(Idle), s.Began.Add(Lasts)
	if all.Before(idle) {
		return all
	}
	return idle
}

// A Table begins, finds and ends sessions. It may be used by several goroutines at once.
type Table struct {
	store Store
	now   func() time.Time
}

// New returns the table of the sessions in a store. now is the clock (nil: time.Now).
func New(store Store, now func() time.Time) *Table {
	if now == nil {
		now = time.Now
	}
	return &Table{store, now}
}

// Sizes of an id, in bytes: the hash of the user, by which sessions of one user can be counted, and the random ones.
const (
	userBytes   = userDigits / 2
	randomBytes = 32
)

// Begin keeps a new session, and returns its id. Began is set.
func (t *Table) Begin(ctx context.Context, r Record) (id string, err error) {
	var secret [userBytes + randomBytes]byte
	sum := sha256.Sum256([]byte(r.User))
	copy(secret[:], sum[:userBytes])
	rand.Read(secret[userBytes:]) // it never fails
	now := t.now()
	r.Began = now.UTC().Truncate(time.Second)
	key := keyOf(secret[:])
	if err := t.store.Put(ctx, key, r, now); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(secret[:]), t.makeRoom(ctx, key)
}

func keyOf(secret []byte) Key {
	sum := sha256.Sum256(secret)
	return Key(hex.EncodeToString(secret[:userBytes]) + "-" + hex.EncodeToString(sum[:]))
}

// KeyOf returns the key of an id. ok is false for a text that can be none.
func KeyOf(id string) (key Key, ok bool) {
	if len(id) != base64.RawURLEncoding.EncodedLen(userBytes+randomBytes) {
		return "", false
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil {
		return "", false
	}
	return keyOf(secret), true
}

// makeRoom ends sessions that have idled, and then those that were not used for the longest time where there are too
// many. The one that has just begun stays.
func (t *Table) makeRoom(ctx context.Context, begun Key) error {
	all, err := t.store.List(ctx, 2*Most)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b Used) int { return b.At.Compare(a.At) }) // the last used one first
	now, user := t.now(), begun.user()
	ofUser, inAll := 1, 1
	var gone []Key
	for _, u := range all {
		if u.Key == begun {
			continue
		}
		mine := u.Key.user() == user
		if now.Sub(u.At) >= Idle || inAll >= Most || mine && ofUser >= PerUser {
			gone = append(gone, u.Key)
			continue
		}
		inAll++
		if mine {
			ofUser++
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return t.store.Remove(ctx, gone...)
}

// Find returns the session of an id, and notes that it is used. The error is [ErrNone], or one of the store.
func (t *Table) Find(ctx context.Context, id string) (Session, error) {
	key, ok := KeyOf(id)
	if !ok {
		return Session{}, ErrNone
	}
	s, err := t.Look(ctx, key)
	if err != nil {
		return s, err
	}
	if now := t.now(); now.Sub(s.Used) >= accuracy || s.Used.After(now) {
		// A disk that takes no change now only lets the session idle from its last use that is known.
		_ = t.store.Touch(ctx, key, now)
	}
	return s, nil
}

// Look returns the session of a key, and does not count as a use of it. The error is that of [Table.Find].
func (t *Table) Look(ctx context.Context, key Key) (Session, error) {
	r, used, err := t.store.Get(ctx, key)
	if err != nil {
		return Session{}, err
	}
	sum := sha256.Sum256([]byte(r.User))
	if hex.EncodeToString(sum[:userBytes]) != key.user() {
		return Session{}, ErrNone // it was put there by other means
	}
	now := t.now()
	s := Session{Record: r, Key: key, Used: used}
	if !now.Before(r.Began.Add(Lasts)) || now.Sub(used) >= Idle {
		_ = t.store.Remove(ctx, key) // or the next login does it
		return Session{}, ErrNone
	}
	return s, nil
}

// All returns the sessions that have not ended, those of a user together, the oldest first.
func (t *Table) All(ctx context.Context) ([]Session, error) {
	listed, err := t.store.List(ctx, 2*Most)
	if err != nil {
		return nil, err
	}
	var all []Session
	for _, u := range listed {
		s, err := t.Look(ctx, u.Key)
		if errors.Is(err, ErrNone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Session) int {
		return cmp.Or(strings.Compare(a.User, b.User), a.Began.Compare(b.Began), cmp.Compare(a.Key, b.Key))
	})
	return all, nil
}

// End ends sessions, for good when it returns.
func (t *Table) End(ctx context.Context, keys ...Key) error { return t.store.Remove(ctx, keys...) }
