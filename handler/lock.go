package handler

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/davxml"
	"r-seed-1f3a754f.example/ifmatch/handler/precondition"
	"r-seed-1f3a754f.example/ifmatch/handler/problem"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The timeout of a lock if the client does not say one, and the maximum. A client that works longer refreshes its
// lock. The lock of a client that is gone must not keep out others for longer.
const (
	lockDefault = 10 * time.Minute
	lockLongest = time.Hour
	// lockPause bounds the Retry-After that is sent to a client whose request conflicts with a lock.
	lockPause = 30 * time.Second
)

// lock answers LOCK (RFC 4918 §9.10): a new lock or, without a body, the refresh of a lock.
func (s *server) lock(w http.ResponseWriter, r *request) error {
	deep, err := depthOf(r.Header, depthZero, depthInfinity)
	if err != nil {
		return err
	}
	r.creates(r.name)
	// The body says whether the lock is shared. Until it is read, assume shared, which conflicts with fewer locks.
	lock := tree.Lock{Root: r.name, Infinite: deep != depthZero, Shared: true}
	shape := r.requireCreatable
	if r.slash { // LOCK would make an empty file, where the client means a collection
		shape = r.requirePresent
	}
	if r.ContentLength != 0 { // a new lock: refuse it before the body is read
		if r.slash {
			if err := s.Store.Try(r.Context(), r.condition(shape)); errors.Is(err, tree.ErrNotExist) {
				return s.notAllowed(r, "a name with a slash at the end is a collection, and LOCK creates an empty file; leave "+
					"the slash out, or create the collection first with MKCOL")
			}
		}
		check := r.check(shape, precondition.Locking(lock))
		if err := s.courtesy(r, r.beforeBody(check)); err != nil {
			return err
		}
	}
	info, err := davxml.ReadLockInfo(r.Body)
	if err != nil {
		return err
	}
	if info.Refresh {
		return s.refresh(w, r)
	}
	lock.Shared = info.Shared
	req := tree.LockRequest{
		Root: lock.Root, Infinite: lock.Infinite, Shared: lock.Shared, Owner: info.Owner, Timeout: timeout(r.Header),
	}
	check := r.check(shape, precondition.Locking(lock))
	lock, created, err := s.Store.Lock(r.Context(), req, check)
	if err != nil {
		return err
	}
	w.Header().Set("Lock-Token", "<"+lock.Token+">")
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return s.showLock(w, r, status, lock)
}

func (s *server) refresh(w http.ResponseWriter, r *request) error {
	tokens := r.cond.Tokens()
	if len(tokens) == 0 {
		return withStatus(http.StatusBadRequest,
			"LOCK without a body refreshes a lock, whose token must be in an If header (RFC 4918 §9.10.2)")
	}
	tokens, err := s.ownTokens(r, tokens)
	if err != nil {
		return err
	}
	status := http.StatusPreconditionFailed // RFC 4918 §9.10.6
	shape := r.requirePresent
	if r.Header["If"] == nil {
		status = http.StatusConflict // Lock-Token is no condition, so the status is not 412 (§12.1)
		shape = func(v tree.View) error {
			if err := r.requirePresent(v); err != nil {
				return err
			}
			return r.holds(v, tokens, r.ownsLock) // RFC 9110 §13.2.1: before the conditions
		}
	}
	lock, err := s.Store.Refresh(r.Context(), r.name, tokens, timeout(r.Header), r.check(shape))
	if errors.Is(err, tree.ErrNoLock) {
		return noSuchLock(status)
	}
	if err != nil {
		return err
	}
	return s.showLock(w, r, http.StatusOK, lock)
}

func noSuchLock(status int) error {
	return &statusError{status: status, condition: "lock-token-matches-request-uri", detail: "the resource has no such lock"}
}

// ownTokens returns the tokens that count when this principal sends them (RFC 4918 §6.4): those of the locks that it
// has taken.
func (s *server) ownTokens(r *request, tokens []string) (own []string, err error) {
	err = s.Store.Try(r.Context(), r.condition(func(v tree.View) error {
		own = nil
		locks, err := v.Covering(r.name)
		if err != nil {
			return nil // Refresh reports the error
		}
		foreign := map[string]bool{}
		for _, l := range locks {
			foreign[l.Token] = !r.ownsLock(l)
		}
		own = slices.DeleteFunc(slices.Clone(tokens), func(token string) bool { return foreign[token] })
		return nil
	}))
	return own, err
}

// ownsLock reports whether the token of a lock counts when this principal sends it.
func (r *request) ownsLock(l tree.Lock) bool { return r.who.Holds(string(l.Principal)) }

// endsLock reports whether the principal may end a lock, and see its token.
func (r *request) endsLock(l tree.Lock) bool {
	access := r.who.now()
	return access.MayUnlock(string(l.Principal), l.Root)
}

func (s *server) showLock(w http.ResponseWriter, r *request, status int, lock tree.Lock) error {
	href := s.rootHref
	if !r.may(lock.Root, auth.List) { // a lock on a collection above, which this principal may not list
		href = func(tree.Lock) string { return s.href(r.asked, r.slash) }
	}
	var b bytes.Buffer
	if err := davxml.WriteLock(&b, []tree.Lock{lock}, s.Now(), href); err != nil {
		return err
	}
	s.write(w, r, status, problem.XMLType, b.Bytes())
	return nil
}

// timeout returns the value of the Timeout header (RFC 4918 §10.7) within bounds: the first value that is understood.
func timeout(h http.Header) time.Duration {
	for value := range strings.SplitSeq(h.Get("Timeout"), ",") {
		value = strings.TrimSpace(value)
		if strings.EqualFold(value, "Infinite") {
			return lockLongest
		}
		if len(value) < 7 || !strings.EqualFold(value[:7], "Second-") {
			continue
		}
		seconds, err := strconv.ParseUint(value[7:], 10, 63)
		if errors.Is(err, strconv.ErrRange) || err == nil && seconds > uint64(lockLongest/time.Second) {
			return lockLongest
		}
		if err == nil && seconds > 0 {
			return time.Duration(seconds) * time.Second
		}
	}
	return lockDefault
}

// unlock answers UNLOCK (RFC 4918 §9.11).
func (s *server) unlock(w http.ResponseWriter, r *request) error {
	token := r.cond.LockToken()
	if token == "" {
		return withStatus(http.StatusBadRequest, "UNLOCK needs a Lock-Token header")
	}
	r.decides = r.condition(func(v tree.View) error {
		// RFC 9110 §13.2.1: without the lock the answer is 409, whatever the conditions say.
		if err := r.holds(v, []string{token}, r.endsLock); err != nil {
			return err
		}
		return r.cond.IfOnly(v)
	})
	err := s.Store.Unlock(r.Context(), r.name, token, r.decides)
	if err != nil && !r.may(r.name, auth.List) && !errors.As(err, new(*precondition.Failed)) {
		err = tree.ErrNoLock // which error it is depends on the resource, which must stay hidden
	}
	if errors.Is(err, tree.ErrNoLock) {
		if denied := r.lockless(); denied != nil {
			return denied
		}
		return noSuchLock(http.StatusConflict)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// lockless fails with a challenge where anonymous has named no lock of its own, and may take none, as some user may: a
// client that logs in only when asked would else leave its lock behind. Names and rules alone decide it.
func (r *request) lockless() error {
	access := r.who.now()
	for _, op := range r.operations(nil) {
		need := auth.Need{Name: op.Name, AnyOf: auth.Lock | auth.Unlock}
		if access.Decide(false, need) == auth.Challenge {
			return &deniedError{auth.Challenge}
		}
	}
	return nil
}

// holds fails with ErrNoLock unless one of the tokens belongs to a lock that covers the Request-URI, and counts.
func (r *request) holds(v tree.View, tokens []string, counts func(tree.Lock) bool) error {
	for _, token := range tokens {
		held, err := v.Holds(r.name, token)
		if err != nil {
			return err
		}
		if !held {
			continue
		}
		locks, err := v.Covering(r.name)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(locks, func(l tree.Lock) bool { return l.Token == token && counts(l) }) {
			return nil
		}
	}
	return tree.ErrNoLock
}

// visibleLocks returns the locks of a resource as the principal may see them. The owner of a lock, which may be long,
// is rendered once and not for each covered member.
func (t *propertyRenderer) visibleLocks(state *tree.State) []tree.Lock {
	locks := slices.DeleteFunc(slices.Clone(state.Locks), func(l tree.Lock) bool { return !t.r.may(l.Root, auth.List) })
	for i := range locks {
		if state.Name != t.r.name && locks[i].Root != state.Name {
			locks[i].Owner = ""
		}
		if !t.r.who.MayUnlock(string(locks[i].Principal), locks[i].Root) {
			locks[i].Token = ""
		}
	}
	return locks
}

func (s *server) rootHref(l tree.Lock) string { return s.href(l.Root, l.Collection) }
