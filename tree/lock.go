package tree

import "time"

// A Lock is a write lock (RFC 4918 §6 and §7). Locks exist only for the clients that ask for them: no write needs one,
// and a store takes none of its own.
type Lock struct {
	Token string // a URI, RFC 4918 §6.5
	Root  string // the name that was locked
	// Collection: Root is one. The store fills it in.
	Collection bool
	Infinite   bool // Depth infinity: covers everything below Root too
	Shared     bool
	Owner      string    // the inner XML of DAV:owner, as the client sent it; namespaces declared inside
	Holder     string    // the client that has taken it, see [WithClient]: so that one does not take all there can be
	Principal  Principal `json:",omitempty"` // for whom it was taken, see [WithPrincipal]
	Expires    time.Time // when the lock ends by itself, by the clock of the store
}

// A LockRequest asks for a lock. The token, the holder and the principal are the store's to fill in.
type LockRequest struct {
	Root     string // the name to lock
	Infinite bool   // as in [Lock]
	Shared   bool
	Owner    string
	Timeout  time.Duration // after which the lock ends by itself
}

// Covers reports whether a write to name needs the token of this lock, apart from what is said of its collection:
// a Depth 0 lock on a collection also covers which members it has (RFC 4918 §7.4), which is asked of the collection.
func (l Lock) Covers(name string) bool {
	return l.Root == name || l.Infinite && Below(name, l.Root)
}

// Conflicts reports whether two locks cannot be held at once (RFC 4918 §6.2): one of them is exclusive, and there is a
// name that both cover.
func (l Lock) Conflicts(other Lock) bool {
	return (!l.Shared || !other.Shared) && (l.Covers(other.Root) || other.Covers(l.Root))
}
