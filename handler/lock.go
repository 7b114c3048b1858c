package handler

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ifmatch/auth"
	"ifmatch/handler/davxml"
	"ifmatch/handler/precondition"
	"ifmatch/handler/problem"
	"ifmatch/tree"
)

// How long a lock lives where the client does not say, and at the most. A client that works longer refreshes it; one that
// is gone must not keep others out for longer.
const (
	lockDefault = 10 * time.Minute
	lockLongest = time.Hour
	// lockPause is the longest that a client that found a lock in its way is asked to wait before it tries again.
	lockPause = 30 * time.Second
)

// lock answers LOCK (RFC 4918 §9.10): a new lock, or one that is refreshed where there is no body.
func (s *server) lock(w http.ResponseWriter, r *request) error {
	deep, err := depthOf(r.Header, depthZero, depthInfinity)
	if err != nil {
		return err
	}
	r.makes(r.name)
	// Of which kind it will be, the body says. A shared one is in conflict with no more than an exclusive one.
	lock := tree.Lock{Root: r.name, Infinite: deep != depthZero, Shared: true}
	if r.ContentLength != 0 { // there is a body, so it is a new lock: what is refused is refused before that is read
		if r.slash {
			// An empty file would be made where a collection is meant.
			if err := s.Store.Try(r.Context(), r.condition(r.present)); errors.Is(err, tree.ErrNotExist) {
				return s.notAllowed(r, "what ends with a slash is a collection, and LOCK makes an empty file: "+
					"leave the slash out, or MKCOL first")
			}
		}
		check := r.check(placeable(r.name), precondition.Locking(lock))
		if err := s.courtesy(r, r.early(check)); err != nil {
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
	req := tree.LockRequest{Root: lock.Root, Infinite: lock.Infinite, Shared: lock.Shared, Owner: info.Owner, Timeout: timeout(r.Header)}
	check := r.check(placeable(r.name), precondition.Locking(lock))
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
		return &statusError{status: http.StatusBadRequest, detail: "LOCK without a body refreshes a lock, whose token must be in an If header (RFC 4918 §9.10.2)"}
	}
	tokens, err := s.ownTokens(r, tokens)
	if err != nil {
		return err
	}
	status := http.StatusPreconditionFailed // RFC 4918 §9.10.6
	shape := r.present
	if r.Header["If"] == nil {
		status = http.StatusConflict // Lock-Token is no condition, and 412 is for those (§12.1)
		shape = func(v tree.View) error {
			if err := r.present(v); err != nil {
				return err
			}
			return r.holds(v, tokens, r.ownsLock) // RFC 9110 §13.2.1: whatever the conditions say
		}
	}
	lock, err := s.Store.Refresh(r.Context(), r.name, tokens, timeout(r.Header), r.check(shape))
	if errors.Is(err, tree.ErrNoLock) {
		return &statusError{status: status, condition: "lock-token-matches-request-uri", detail: "no such lock is on it"}
	}
	if err != nil {
		return err
	}
	return s.showLock(w, r, http.StatusOK, lock)
}

// ownTokens returns those of some tokens that count from the principal (RFC 4918 §6.4). A lock keeps its taker, so that
// they count as long as it lasts.
func (s *server) ownTokens(r *request, tokens []string) (own []string, err error) {
	err = s.Store.Try(r.Context(), r.condition(func(v tree.View) error {
		own = own[:0]
		locks, err := tree.Covering(v, r.name)
		if err != nil {
			return nil // the refresh itself says what is wrong
		}
		foreign := map[string]bool{}
		for _, l := range locks {
			foreign[l.Token] = !r.ownsLock(l)
		}
		for _, token := range tokens {
			if !foreign[token] {
				own = append(own, token)
			}
		}
		return nil
	}))
	return own, err
}

// ownsLock reports whether the token of a lock counts from the principal.
func (r *request) ownsLock(l tree.Lock) bool { return r.who.Holds(string(l.Principal)) }

// endsLock reports whether the principal may end a lock, and be shown its token.
func (r *request) endsLock(l tree.Lock) bool {
	access := r.who.now()
	return access.MayUnlock(string(l.Principal), l.Root)
}

func (s *server) showLock(w http.ResponseWriter, r *request, status int, lock tree.Lock) error {
	href := s.rootHref
	if !r.may(lock.Root, auth.List) { // of a lock on a collection above, or of a kind that is not to be told
		href = func(tree.Lock) string { return s.href(r.asked, r.slash) }
	}
	var b bytes.Buffer
	if err := davxml.WriteLock(&b, []tree.Lock{lock}, s.Now(), href); err != nil {
		return err
	}
	s.write(w, r, status, problem.XMLType, b.Bytes())
	return nil
}

// timeout returns what the Timeout header asks for (RFC 4918 §10.7), within bounds: the first value that is understood.
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
		return &statusError{status: http.StatusBadRequest, detail: "UNLOCK needs a Lock-Token header"}
	}
	r.decides = r.condition(func(v tree.View) error {
		// RFC 9110 §13.2.1: without its lock it would be 409, whatever the condition says.
		if err := r.holds(v, []string{token}, r.endsLock); err != nil {
			return err
		}
		return r.cond.IfOnly(v)
	})
	err := s.Store.Unlock(r.Context(), r.name, token, r.decides)
	if err != nil && !r.may(r.name, auth.List) && !errors.As(err, new(*precondition.Failed)) {
		err = tree.ErrNoLock // which other failure it is depends on what is there
	}
	if errors.Is(err, tree.ErrNoLock) {
		return &statusError{status: http.StatusConflict, condition: "lock-token-matches-request-uri", detail: "no such lock is on it"}
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// holds fails with ErrNoLock unless one of the tokens is of a lock that covers the Request-URI, and counts.
func (r *request) holds(v tree.View, tokens []string, counts func(tree.Lock) bool) error {
	for _, token := range tokens {
		held, err := tree.Holds(v, r.name, token)
		if err != nil {
			return err
		}
		if !held {
			continue
		}
		locks, err := tree.Covering(v, r.name)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(locks, func(l tree.Lock) bool { return l.Token == token && counts(l) }) {
			return nil
		}
	}
	return tree.ErrNoLock
}
