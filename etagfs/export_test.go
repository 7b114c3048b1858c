package etagfs

import (
	"os"
	"strings"
)

// Distrust forgets every tag, so that it is computed anew.
func (s *Store) Distrust() {
	s.index.memory.Purge()
	s.index.pages.Purge()
	if s.index.dir == nil {
		return
	}
	names, err := s.index.boots.names()
	for _, name := range names {
		if strings.Contains(name, pagePrefix) {
			err = s.index.dir.Remove(name)
		}
		if err != nil && !os.IsNotExist(err) {
			panic(err)
		}
	}
}

// WaitingToHash returns how many wait until a hash that is being computed is through.
func (s *Store) WaitingToHash() (n int) {
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	for _, one := range s.flights.next {
		n += one.waiting
	}
	return n
}

// Hashing returns how many files are being hashed, or are about to be.
func (s *Store) Hashing() int {
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	return len(s.flights.running)
}
