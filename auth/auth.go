// Package auth identifies principals and decides about their rights. It knows users, passwords, app tokens, proxies
// and rules. It reads nothing of a request but its credentials, and asks no store.
//
// # Principals
//
// An [Authority] reads the users file, the tokens file and the configuration, and reads them anew together or not at
// all ([Authority.Look], which is to be called every second or so, and at SIGHUP). A request takes one [Snapshot]
// of it:
//
//	s := authority.Now()
//	who, dropped, err := s.Identify(ctx, &auth.Visit{Peer: …, Client: …, Secure: …, Header: r.Header})
//	if dropped != nil { log.Warn("…", "header", dropped.Header, "from", dropped.From, …) }
//	switch {
//	case errors.As(err, &refused):	// *RequestError: refused.Status (400 or 403), refused.Detail
//	case errors.As(err, &login):	// *LoginError: login.LogTo(ctx, log), then by login.Reason
//					// WrongPassword: 401, TooMany: 429, Busy and Uncounted: 503; with Retry-After: login.RetryAfter
//	}
//	access := s.Access(who)
//
// A [Principal] is kept in the context for the store, which writes [Principal.Name] into locks and versions. Logs
// have [Principal.String].
//
// # Rights
//
// The handler names its request as an [Operation]. Before it asks the store anything, also how a name is spelled:
//
//	switch access.Decide(op.Verb.Reads(), op.Before()...) {	// PROPFIND: access.See(name)
//	case auth.Challenge:	// 401 with ChallengeHeader; where s.CanAsk(visit) is an error, that 403 in its place
//	case auth.NotFound:	// 404
//	case auth.Forbidden:	// 403
//	}
//
// All three have one text each, which says nothing of the name. Inside the commit, where nothing moves any more, it
// asks again with the rules that are in force then, since a body may have taken an hour:
//
//	access := authority.Now().Access(who)
//	access.Decide(…, op.Before()...)	// on the names as asked, and on those that the disk resolves them to
//	access.Within(op, found)		// Denied: 403; Taken: 412 without validators
//
// Where a name is another spelling, or leads through a link, the handler asks twice: with the name as asked, and with
// the name of the resource that is there. The same Access filters the content of answers:
//
//	Seen(name)		members of listings, hrefs of locks, names in If: else there is nothing
//	Effects(name)&Read	tags, digests, dead properties, sameContent, Prefer: return=representation; a condition with a
//				tag or a date, else 403 before it is evaluated
//	Requires(name, subtree)	428 without a condition; of a name that is not seen, whether or not something is there
//	Holds(taker)		a lock token counts; MayUnlock(taker, root): UNLOCK, and the token is shown
//	Methods(name)		Allow; Privileges(Effects(name)): current-user-privilege-set
//
// # Rules
//
// The rules with the longest path that matches a name decide, even if none of them names the asker. Of these, the
// effects of all that name the asker are added ([Rules]). An effect on a subtree is granted where the rules that
// decide at its top grant it, and the rules of every path that can match below ([Access.Subtree]). So there is no
// walk, and no answer depends on the members.
//
// # Limits
//
// Rules are about names, compared byte by byte in NFC. Hard links and bind mounts give one file several names, which
// cannot be told apart. On a disk that folds case a rule is about the spelling that the disk has.
//
// How many wrong passwords there were is known to this process, or to all servers that count together
// ([Authority.CountWith]). One of these learns at the next wrong password from a network that the others refuse it. Until
// then it takes a right one that it has proved before.
package auth
