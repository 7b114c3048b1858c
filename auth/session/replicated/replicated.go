// Package replicated keeps the sessions of users in the database, so that each replica knows a login at any other.
package replicated

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth/session"
	"r-seed-1f3a754f.example/ifmatch/pgstore/notes"
)

// Kind is that of the notes that are sessions.
const Kind = "session"

// sessions is a [session.Store] of notes.
type sessions struct{ notes *notes.Table }

// New returns the sessions in a table of notes, which all replicas share.
func New(table *notes.Table) session.Store { return sessions{table} }

// A record is a session in the database.
type record struct {
	session.Record
	Used time.Time `json:"used"`
}

func (s record) expires() time.Time {
	idle, all := s.Used.Add(session.Idle), s.Began.Add(session.Lasts)
	if all.Before(idle) {
		return all
	}
	return idle
}

// Put implements [session.Store].
func (s sessions) Put(ctx context.Context, key session.Key, r session.Record, used time.Time) error {
	one := record{r, used}
	value, err := json.Marshal(one)
	if err != nil {
		return err
	}
	return s.notes.Put(ctx, string(key), value, one.expires())
}

// Get implements [session.Store].
func (s sessions) Get(ctx context.Context, key session.Key) (session.Record, time.Time, error) {
	value, err := s.notes.Get(ctx, string(key))
	if errors.Is(err, notes.ErrNone) {
		err = session.ErrNone
	}
	var one record
	if err == nil {
		err = json.Unmarshal(value, &one)
	}
	return one.Record, one.Used, err
}

// Touch implements [session.Store].
func (s sessions) Touch(ctx context.Context, key session.Key, used time.Time) error {
	r, _, err := s.Get(ctx, key)
	if errors.Is(err, session.ErrNone) {
		return nil
	}
	one := record{r, used}
	value, failed := json.Marshal(one)
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	return s.notes.Change(ctx, string(key), value, one.expires())
}

// Remove implements [session.Store].
func (s sessions) Remove(ctx context.Context, keys ...session.Key) error {
	var all []string
	for _, key := range keys {
		all = append(all, string(key))
	}
	return s.notes.Remove(ctx, all...)
}

// List implements [session.Store].
func (s sessions) List(ctx context.Context, most int) (all []session.Used, err error) {
	values, err := s.notes.List(ctx, most)
	for key, value := range values {
		var one record
		if err := json.Unmarshal(value, &one); err != nil {
			return nil, err
		}
		all = append(all, session.Used{Key: session.Key(key), At: one.Used})
	}
	return all, err
}
