package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// Stores that are wrong in a way that is easily made, each by one method.

// An earlyStore asks the conditions, and does not ask again inside the commit.
type earlyStore struct{ tree.Store }

func (s earlyStore) Put(ctx context.Context, name string, body io.Reader, opts tree.PutOptions, check tree.Condition) (tree.State, bool, error) {
	if err := s.Try(ctx, check); err != nil {
		return tree.State{}, false, err
	}
	return s.Store.Put(ctx, name, body, opts, tree.Condition{})
}

// An earlyMoveStore is the same for MOVE alone. It asks more than once, which takes longer and helps nothing.
type earlyMoveStore struct{ tree.Store }

func (s earlyMoveStore) Move(ctx context.Context, from, to string, opts tree.CopyOptions, check tree.Condition) (tree.State, bool, error) {
	for range 10 {
		if err := s.Try(ctx, check); err != nil {
			return tree.State{}, false, err
		}
	}
	return s.Store.Move(ctx, from, to, opts, tree.Condition{})
}

// A contentStore takes a PUT of what is there for done, whatever the condition says.
type contentStore struct{ tree.Store }

func (s contentStore) Put(ctx context.Context, name string, body io.Reader, opts tree.PutOptions, check tree.Condition) (tree.State, bool, error) {
	sent, err := io.ReadAll(body)
	if err != nil {
		return tree.State{}, false, err
	}
	state, created, err := s.Store.Put(ctx, name, bytes.NewReader(sent), opts, check)
	if err == nil {
		return state, created, nil
	}
	if is, failed := s.Stat(ctx, name, tree.ReadOptions{Want: tree.WantTag}); failed == nil && is.Tag == tree.TagOf(sha256.Sum256(sent)) {
		return is, false, nil
	}
	return state, created, err
}

// A twoStepStore moves in two steps.
type twoStepStore struct{ tree.Store }

func (s twoStepStore) Move(ctx context.Context, from, to string, opts tree.CopyOptions, check tree.Condition) (tree.State, bool, error) {
	state, created, err := s.Copy(ctx, from, to, opts, check)
	if err == nil {
		err = s.Remove(ctx, from, tree.Condition{})
	}
	if errors.Is(err, tree.ErrNotExist) && state.Exists {
		err = nil
	}
	return state, created, err
}

// A staleStore sometimes reads a version that was there before.
type staleStore struct {
	tree.Store
	mu     sync.Mutex
	states map[string]tree.State
	reads  int
}

func (s *staleStore) Open(ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition) (tree.Content, tree.State, error) {
	file, state, err := s.Store.Open(ctx, name, opts, cond)
	if err != nil || state.Tag == "" {
		return file, state, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	before, known := s.states[name]
	if !known || before.Tag == state.Tag || s.reads%5 != 0 {
		s.states[name] = state
		return file, state, nil
	}
	file.Close()
	return memory{strings.NewReader(tagged(string(before.Tag)).bytes())}, before, nil
}

type memory struct{ *strings.Reader }

func (m memory) WriteRange(_ context.Context, w io.Writer, offset, length int64) (int64, error) {
	return io.Copy(w, io.NewSectionReader(m, offset, length))
}

func (memory) Close() error { return nil }

// A moodyStore sometimes does not find what is there.
type moodyStore struct {
	tree.Store
	puts *atomic.Int64
}

func (s moodyStore) Put(ctx context.Context, name string, body io.Reader, opts tree.PutOptions, check tree.Condition) (tree.State, bool, error) {
	if s.puts.Add(1)%5 == 0 {
		if err := s.Try(ctx, treetest.If(func(v tree.View) error { return check.Ask(without{v, name}) })); err != nil {
			return tree.State{}, false, err
		}
	}
	return s.Store.Put(ctx, name, body, opts, check)
}

type without struct {
	tree.View
	name string
}

func (v without) State(name string) (tree.State, error) {
	if name == v.name {
		return tree.State{Name: name}, nil
	}
	return v.View.State(name)
}

// checkPatience bounds the check of one history of an unsound store. Another history may be quicker to refute.
const checkPatience = 30 * time.Second

// TestUnsoundStoresAreFoundOut shows that the test above can fail.
func TestUnsoundStoresAreFoundOut(t *testing.T) {
	for about, unsound := range map[string]func(tree.Store) tree.Store{
		"PUT asks its condition early only":  func(s tree.Store) tree.Store { return earlyStore{s} },
		"MOVE asks its condition early only": func(s tree.Store) tree.Store { return earlyMoveStore{s} },
		"two may write the same bytes":       func(s tree.Store) tree.Store { return contentStore{s} },
		"MOVE takes two steps":               func(s tree.Store) tree.Store { return twoStepStore{s} },
		"GET answers what was there before":  func(s tree.Store) tree.Store { return &staleStore{Store: s, states: map[string]tree.State{}} },
		"PUT is refused without a reason":    func(s tree.Store) tree.Store { return moodyStore{s, new(atomic.Int64)} },
	} {
		t.Run(about, func(t *testing.T) {
			url, client := serveConfig(t, Config{Dir: t.TempDir()}, unsound)
			for i, end := 0, time.Now().Add(4*servertest.Patience); time.Now().Before(end); i++ {
				recorded := record(t, []*http.Client{client}, url, fmt.Sprint("/h", i), "", rand.Uint64())
				if porcupine.CheckOperationsTimeout(model, recorded, checkPatience) == porcupine.Illegal {
					t.Logf("found out in history %d", i)
					return
				}
			}
			t.Error("all histories are linearizable")
		})
	}
}
