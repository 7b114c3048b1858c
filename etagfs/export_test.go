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
