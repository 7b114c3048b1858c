// Package limit bounds how much many clients may have at once, and shares it out among them.
//
// A [Pool] has so many slots. A client may hold as many of them as are free: a single one gets half of all, and however
// many it asks for, as much is left for the next. Who asks for one that is not to be had waits for a moment. Meanwhile
// who holds a slot and does nothing with it gives way: a connection without a request, or over which nothing comes but a
// body that was refused; a client that neither sends what it has announced nor reads what it has asked for. What is asked for in vain is refused with an [Error] that says which
// bound it is.
//
// Who is a client is for the caller to say; "" stands for many that cannot be told apart, and is bounded by the size of the
// pool alone.
package limit

import "fmt"

// An Error reports that something was refused because there is too much of it already. Trying again later helps.
type Error struct {
	What string // of what: "uploads"
	Held int    // by the client that has asked
	Size int    // of the pool

	// Shared: the pool has some left, for others.
	Shared bool
	// PerClient is how many one client may have, if the client has as many already; else 0.
	PerClient int
}

func (e *Error) Error() string {
	if e.PerClient > 0 {
		return fmt.Sprintf("too many %s at once: this client has %d, and no client may have more", e.What, e.Held)
	}
	if e.Shared {
		return fmt.Sprintf("too many %s at once: this client has %d of %d, and the rest is for others", e.What, e.Held, e.Size)
	}
	return fmt.Sprintf("too many %s at once: all %d are taken", e.What, e.Size)
}
