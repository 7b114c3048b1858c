package replicated

import (
	"errors"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth/session"
	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
)

// TestSessionsAreShared: a login at one replica is one at each other, and so is its end.
func TestSessionsAreShared(t *testing.T) {
	dsn := pgtest.Run(t).Database(t, nil)
	var tables []*session.Table
	now := time.Now()
	for range 2 {
		s, err := pgstore.Open(t.Context(), dsn, pgstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		tables = append(tables, session.New(New(s.Notes(Kind)), func() time.Time { return now }))
	}
	began := session.Record{User: "her", Proof: "proof", From: "192.0.2.1", Began: now}
	id, err := tables[0].Begin(t.Context(), began)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Duration{0, 11 * time.Hour, 22 * time.Hour} { // each use prolongs it
		now = began.Began.Add(at)
		found, err := tables[1].Find(t.Context(), id)
		if err != nil || found.User != "her" || found.Proof != "proof" {
			t.Fatalf("after %v the other replica finds %+v, error %v", at, found, err)
		}
	}
	if _, err := tables[1].Find(t.Context(), id+"x"); !errors.Is(err, session.ErrNone) {
		t.Errorf("another id: %v", err)
	}
	key, _ := session.KeyOf(id)
	if err := tables[1].End(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := tables[0].Find(t.Context(), id); !errors.Is(err, session.ErrNone) {
		t.Errorf("after its end at the other replica: %v", err)
	}
}
