package davxml

import (
	"io"
	"math"
	"strconv"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// SupportedLock is the inner XML of DAV:supportedlock (RFC 4918 §15.10) on a server with write locks of both scopes.
const SupportedLock = "<D:lockentry><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>" +
	"<D:lockentry><D:lockscope><D:shared/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"

// WriteLock writes the body of the answer to a LOCK (RFC 4918 §9.10.1): DAV:prop with DAV:lockdiscovery.
func WriteLock(w io.Writer, locks []tree.Lock, now time.Time, href func(tree.Lock) string) error {
	b := []byte(declaration + `<D:prop xmlns:D="DAV:"><D:lockdiscovery>`)
	b = AppendLocks(b, locks, now, href)
	b = append(b, "</D:lockdiscovery></D:prop>"...)
	_, err := w.Write(b)
	return err
}

// AppendLocks appends the inner XML of DAV:lockdiscovery (RFC 4918 §15.8): an activelock for each lock (§14.1). href
// returns the percent-encoded URL of a lock's root. A lock whose token must stay secret comes without it, because §14.1
// makes it optional.
func AppendLocks(b []byte, locks []tree.Lock, now time.Time, href func(tree.Lock) string) []byte {
	for _, l := range locks {
		b = append(b, "<D:activelock><D:locktype><D:write/></D:locktype>"...)
		if l.Shared {
			b = append(b, "<D:lockscope><D:shared/></D:lockscope>"...)
		} else {
			b = append(b, "<D:lockscope><D:exclusive/></D:lockscope>"...)
		}
		if l.Infinite {
			b = append(b, "<D:depth>infinity</D:depth>"...)
		} else {
			b = append(b, "<D:depth>0</D:depth>"...)
		}
		if l.Owner != "" {
			b = append(b, "<D:owner>"...)
			b = append(b, l.Owner...)
			b = append(b, "</D:owner>"...)
		}
		b = append(b, "<D:timeout>Second-"...)
		b = strconv.AppendInt(b, secondsLeft(l, now), 10)
		b = append(b, "</D:timeout>"...)
		if l.Token != "" {
			b = append(b, "<D:locktoken>"...)
			b = appendHref(b, l.Token)
			b = append(b, "</D:locktoken>"...)
		}
		b = append(b, "<D:lockroot>"...)
		b = appendHref(b, href(l))
		b = append(b, "</D:lockroot></D:activelock>"...)
	}
	return b
}

// secondsLeft returns the timeout of a lock, rounded down, so that a client refreshes the lock in time. RFC 4918
// §10.7 permits at most 2^32-1. Git takes 0 and "Infinite" for an error.
func secondsLeft(l tree.Lock, now time.Time) int64 {
	return min(max(int64(l.Expires.Sub(now)/time.Second), 1), math.MaxUint32)
}
