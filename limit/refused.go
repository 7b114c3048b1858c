package limit

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Refused remembers for a while which clients were refused before the server could see which kind of request they had.
type Refused struct{ at *lru.Cache[string, time.Time] }

// refusedKept bounds how many clients are remembered.
const refusedKept = 4096

// NewRefused returns a Refused that remembers no client.
func NewRefused() *Refused {
	at, _ := lru.New[string, time.Time](refusedKept) // fails for a size below one
	return &Refused{at}
}

// Note notes a client.
func (r *Refused) Note(client string) { r.at.Add(client, time.Now()) }

// Lately reports whether a client was noted within a time.
func (r *Refused) Lately(client string, within time.Duration) bool {
	at, ok := r.at.Get(client)
	return ok && time.Since(at) < within
}
