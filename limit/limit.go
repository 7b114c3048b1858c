// Package limit bounds how much many clients may have at once, and divides it among them.
//
// A [Pool] has a number of slots. A client may hold at most as many slots as are free. So a single client gets half of
// all slots, and however many it asks for, as many are left for the next client. A client that asks for a slot when
// none is to be had waits for a moment. Meanwhile a slot gives way if its client does nothing with it. Examples are a
// connection without a request, a connection over which only a refused body comes, a client that does not send the body
// that it has announced, and a client that does not read the answer that it has asked for. If the wait is in vain, the
// client is refused with an [Error], which tells which bound it is.
//
// The caller decides who the client is. The client "" stands for many clients that cannot be told apart, and only the
// size of the pool bounds it.
package limit

import "fmt"

// An Error reports that a client was refused because too many of that kind go on already. Trying again later helps.
type Error struct {
	What string // the use of the slots, such as "uploads"
	Held int    // how many slots the client holds
	Size int    // how many slots the pool has

	// Shared: the pool has free slots, for other clients.
	Shared bool
	// PerClient is how many slots one client may have, if the client has as many already. Otherwise it is 0.
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
