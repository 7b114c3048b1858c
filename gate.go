package main

import (
	"net/http"
	"sync"
)

// A gate counts running requests. Once it is closed, it lets no request in.
type gate struct {
	mu      sync.Mutex
	running int
	closed  bool
	empty   chan struct{} // closed once the gate is closed and no request is running
}

func newGate() *gate { return &gate{empty: make(chan struct{})} }

func (g *gate) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.enter() {
			panic(http.ErrAbortHandler) // its connection is being closed
		}
		defer g.leave()
		next.ServeHTTP(w, r)
	})
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.running++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	g.check()
}

// check closes empty when the last request has left a closed gate. mu must be held.
func (g *gate) check() {
	if g.closed && g.running == 0 {
		close(g.empty)
	}
}

// close closes the gate and returns a channel that is closed once no request is running.
func (g *gate) close() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.check()
	return g.empty
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running
}
