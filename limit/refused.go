package limit

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Refused remembers for a while which clients something was refused of before anybody could see what it was.
type Refused struct{ at *lru.Cache[string, time.Time] }

// refusedKept bounds the clients that are remembered.
const refusedKept = 4096

// NewRefused returns one that remembers nobody.
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
