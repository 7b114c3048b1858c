package tree

import "time"

// A Lock is a write lock (RFC 4918 §6 and §7). Locks exist only for the clients that ask for them: no write needs one,
// and a store takes none of its own.
type Lock struct {
	Token string // a URI, RFC 4918 §6.5
	Root  string // the name that was locked
	// Collection says that Root is a collection. The store fills it in.
	Collection bool
	Infinite   bool // Depth infinity: covers everything below Root too
	Shared     bool
	Owner      string    // the inner XML of DAV:owner, as the client sent it, with its namespaces declared inside
	Holder     string    // the client that took it, see [WithClient]: the locks of one client are limited
	Principal  Principal `json:",omitempty"` // the user for whom it was taken, see [WithPrincipal]
	Expires    time.Time // when the lock ends by itself, by the clock of the store
}

// A LockRequest asks for a lock. The store fills in the token, the holder and the principal.
type LockRequest struct {
	Root     string // the name to lock
	Infinite bool   // as in [Lock]
	Shared   bool
	Owner    string
	Timeout  time.Duration // after which the lock ends by itself
}

// Covers reports whether a write to name needs the token of this lock. A lock with Depth 0 on a collection also
// protects which members the collection has (RFC 4918 §7.4). To check that, ask whether the lock covers the
// collection.
func (l Lock) Covers(name string) bool {
	return l.Root == name || l.Infinite && Below(name, l.Root)
}

// Conflicts reports whether two locks exclude each other (RFC 4918 §6.2): one of them is exclusive, and both cover
// some name.
func (l Lock) Conflicts(other Lock) bool {
	return (!l.Shared || !other.Shared) && (l.Covers(other.Root) || other.Covers(l.Root))
}
