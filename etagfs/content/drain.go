package content

import (
	"context"
	"fmt"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A tail decides how much of a content the kernel sends. A client gets references to the pages that the kernel sends,
// so a program can change those bytes until the client has read them. When the last look at the file is taken, it must
// have read them all, and a program that passes them on by reference (splice) must have sent them. So the bytes behind
// them are copied, and the last chunk is held back until then:
//
//   - As many bytes are copied as can be on the way (inFlight). Nothing needs to be known of the client.
//   - If it is known what the client has read, fewer bytes are copied (relayed and slack), as long as it reads at the
//     pace of the server. Before the last chunk it must have read some of those: as many as can be on the way behind
//     it.
type tail struct {
	drain    tree.Drain // nil: it is not known what the client has read
	inFlight int64
	relayed  int64
	sent     int64 // the offset behind the last byte that the kernel has sent. 0: it has sent none
	copies   bool  // the client has not kept pace
}

// slack is how many of the written bytes a client need not have read before the last chunk.
const slack = 1 << 20

// keepingPace is how long a client may take to read what is more than relayed. A client that takes longer is slow, and
// what is sent to it may as well be copied.
const keepingPace = 100 * time.Millisecond

// byKernel returns how many of the bytes that are left the kernel may send now.
func (t *tail) byKernel(left int64) int64 {
	if n := left - ChunkSize - t.inFlight; n > 0 {
		return n
	}
	n := left - ChunkSize - slack - t.relayed
	if n <= 0 || t.drain == nil || t.copies {
		return 0
	}
	if unread, ok := t.drain.AwaitRead(t.relayed, keepingPace); !ok || unread > t.relayed {
		t.copies = true
		return 0
	}
	return n
}

// Before the last chunk, a client may take lastPatience to read enough, and a second more for each lastRate bytes.
const (
	lastPause    = 100 * time.Millisecond
	lastPatience = 10 * time.Minute
	lastRate     = 1000
)

// beforeLast waits until the client has read enough, when all bytes before an offset have been written and only the
// last chunk is to come.
func (t *tail) beforeLast(ctx context.Context, offset int64) error {
	copied := offset - t.sent
	if t.sent == 0 || copied >= t.inFlight {
		return nil
	}
	most := copied - t.relayed
	var waited, patience time.Duration
	for begun, first := time.Now(), int64(-1); waited <= patience; waited = time.Since(begun) {
		unread, ok := t.drain.AwaitRead(most, lastPause)
		if ok && unread <= most {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !ok { // the client has closed its socket, or the kernel could not be asked
			time.Sleep(lastPause)
			unread = max(first, 0)
		}
		first = max(first, unread)
		patience = lastPatience + time.Duration((first-unread)/lastRate)*time.Second
	}
	return fmt.Errorf("the client has stopped reading: %w", context.Canceled)
}
