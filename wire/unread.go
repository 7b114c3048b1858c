package wire

import "time"

// The pauses between two looks at what the other side has read.
const (
	firstPause = 100 * time.Microsecond
	longPause  = 20 * time.Millisecond
)

// AwaitRead waits until the program at the other side has read all that was written but most bytes, or until patience
// is over. It returns how many bytes that program has not read by then. ok is false, at once, if that cannot be known:
// it is known on Linux, without TLS, of a program in the same network namespace. The buffers of net/http must have been
// flushed.
func (p *Peer) AwaitRead(most int64, patience time.Duration) (unread int64, ok bool) {
	if !p.clear {
		return 0, false
	}
	until := time.Now().Add(patience)
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		unread, ok = p.conn.unread()
		left := time.Until(until)
		if !ok || unread <= most || left <= 0 {
			return unread, ok
		}
		time.Sleep(min(pause, left))
	}
}
