package servertest

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A Log collects the output of a server.
type Log struct {
	mu      sync.Mutex
	text    bytes.Buffer
	ended   bool
	changed chan struct{} // closed and replaced when there is more
}

// NewLog returns an empty log.
func NewLog() *Log { return &Log{changed: make(chan struct{})} }

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	l.wake()
	return len(p), nil
}

func (l *Log) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.wake()
}

// wake wakes every waiting goroutine. mu must be held.
func (l *Log) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Await waits for whole lines that match, and returns the match.
func (l *Log) Await(want *regexp.Regexp) ([]string, error) {
	deadline := time.After(Patience)
	for {
		l.mu.Lock()
		text, ended, changed := l.text.String(), l.ended, l.changed
		l.mu.Unlock()
		whole := text[:strings.LastIndexByte(text, '\n')+1]
		if m := want.FindStringSubmatch(whole); m != nil {
			return m, nil
		}
		if ended {
			return nil, fmt.Errorf("the server ended without the line %q, and said:\n%s", want, text)
		}
		select {
		case <-changed:
		case <-deadline:
			return nil, fmt.Errorf("the server did not print %q, but:\n%s", want, text)
		}
	}
}
