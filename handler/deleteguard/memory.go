package deleteguard

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// memory is the [Store] of one process. It forgets the oldest of too many texts.
type memory struct {
	now func() time.Time

	mu   sync.Mutex
	kept *simplelru.LRU[string, kept] // mu
}

type kept struct {
	text    []byte
	expires time.Time
}

func newMemory(now func() time.Time) *memory {
	all, err := simplelru.NewLRU[string, kept](maxEntries, nil)
	if err != nil {
		panic(err) // of a size below one
	}
	return &memory{now: now, kept: all}
}

func (m *memory) Keep(_ context.Context, key string, text []byte, lasts time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept.Add(key, kept{text, m.now().Add(lasts)})
	return nil
}

// first keeps a text and reports true, unless there is one already.
func (m *memory) first(key string, lasts time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if one, ok := m.kept.Get(key); ok && m.now().Before(one.expires) {
		return false
	}
	m.kept.Add(key, kept{nil, m.now().Add(lasts)})
	return true
}

func (m *memory) Prolong(_ context.Context, key string, lasts time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if one, ok := m.kept.Get(key); ok {
		m.kept.Add(key, kept{one.text, m.now().Add(lasts)})
	}
	return nil
}

func (m *memory) Take(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	one, ok := m.kept.Get(key)
	m.kept.Remove(key)
	if !ok || !m.now().Before(one.expires) {
		return nil, nil
	}
	return one.text, nil
}
