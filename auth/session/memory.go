package session

import (
	"context"
	"sync"
	"time"
)

// Memory returns a store that ends with the process.
func Memory() Store { return &memory{sessions: map[Key]remembered{}} }

type memory struct {
	mu       sync.Mutex
	sessions map[Key]remembered // under mu
}

type remembered struct {
	Record
	used time.Time
}

func (m *memory) Put(_ context.Context, key Key, r Record, used time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions[key] = remembered{r, used}
	return nil
}

func (m *memory) Get(_ context.Context, key Key) (Record, time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[key]
	if !ok {
		return Record{}, time.Time{}, ErrNone
	}
	return s.Record, s.used, nil
}

func (m *memory) Touch(_ context.Context, key Key, used time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.sessions[key]; ok {
		s.used = used
		m.sessions[key] = s
	}
	return nil
}

func (m *memory) Remove(_ context.Context, keys ...Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		delete(m.sessions, key)
	}
	return nil
}

func (m *memory) List(_ context.Context, most int) ([]Used, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Used, 0, min(most, len(m.sessions)))
	for key, s := range m.sessions {
		if len(all) == most {
			break
		}
		all = append(all, Used{key, s.used})
	}
	return all, nil
}
