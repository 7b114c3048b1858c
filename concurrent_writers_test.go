package main

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

const rivals = 16

// An edition is a content that is written once, and can be told from all others. 0 is nothing.
type edition int64

// bytes are of many sizes, and tell which edition they are whole of.
func (v edition) bytes() string {
	size := 10 + int(v*7919%5000)
	if v%50 == 0 {
		size = 1 << 20
	}
	return strings.Repeat(fmt.Sprintf("%d;", v), size/4)
}

func (v edition) tag() string { return string(tree.TagOf(sha256.Sum256([]byte(v.bytes())))) }

// A ledger records the acknowledged requests. Each edition is written once, and ends at most once: replaced or deleted
// by one who was told so. An edition that has not ended is there.
type ledger struct {
	t      *testing.T
	url    string
	client *http.Client
	last   atomic.Int64 // edition
	done   atomic.Int64
	lost   atomic.Int64 // refused

	mu      sync.Mutex
	born    map[edition]bool
	ended   map[edition]int
	unnamed int // editions that were ended by those who did not say which
}

// look returns the edition at a name.
func (l *ledger) look(name string) edition {
	status, tag, content := servertest.Send(l.t, l.client, "GET", l.url+name, "")
	if status == http.StatusNotFound {
		return 0
	}
	var v edition
	fmt.Sscanf(content, "%d;", &v)
	if status != http.StatusOK || content != v.bytes() || tag != v.tag() {
		l.t.Errorf("GET %s: %d %s, %d bytes that are not edition %d", name, status, tag, len(content), v)
	}
	return v
}

// tell sends a request that writes the edition made and ends the edition seen, or an unknown edition if none was seen
// and the answer is 204. It may be refused if it has a condition, and find nothing.
func (l *ledger) tell(method, name string, made, seen edition, header ...string) {
	body := ""
	if made != 0 {
		body = made.bytes()
	}
	sent := header
	if len(body) > 512<<10 {
		// nginx closes a connection, and does not say so, if the body was refused before it has come.
		sent = append(slices.Clone(header), "Connection", "close")
	}
	switch status, tag, _ := servertest.Send(l.t, l.client, method, l.url+name, body, sent...); {
	case status == http.StatusCreated && method != "DELETE", status == http.StatusNoContent:
		l.done.Add(1)
		l.mu.Lock()
		defer l.mu.Unlock()
		if made != 0 {
			l.born[made] = true
		}
		if seen != 0 {
			l.ended[seen]++
		} else if status == http.StatusNoContent {
			l.unnamed++
		}
	case status == http.StatusPreconditionFailed && len(header) > 0:
		l.lost.Add(1)
		if method != "MOVE" && seen != 0 && tag == seen.tag() {
			l.t.Errorf("%s %s %q: refused, but %s is there", method, name, header, tag)
		}
	case status == http.StatusNotFound && method != "PUT":
		l.lost.Add(1)
	default:
		l.t.Errorf("%s %s %q: %d", method, name, header, status)
	}
}

// The things a rival does, to names it has looked at or not.
func (l *ledger) put(name string) {
	l.tell("PUT", name, edition(l.last.Add(1)), 0)
}

func (l *ledger) putIf(field func(edition) []string) func(name string) {
	return func(name string) {
		seen := l.look(name)
		header := []string{"If-None-Match", "*"}
		if seen != 0 {
			header = field(seen)
		}
		l.tell("PUT", name, edition(l.last.Add(1)), seen, header...)
	}
}

func (l *ledger) delete(name string) { l.tell("DELETE", name, 0, 0) }

func (l *ledger) deleteIfMatch(name string) {
	if seen := l.look(name); seen != 0 {
		l.tell("DELETE", name, 0, seen, ifMatch(seen)...)
	}
}

func (l *ledger) move(name, to string) { l.tell("MOVE", name, 0, 0, "Destination", l.url+to) }

// moveIfMatch guards both ends.
func (l *ledger) moveIfMatch(name, to string) {
	from, over := l.look(name), l.look(to)
	if from == 0 {
		return
	}
	header := append(ifMatch(from), "Destination", l.url+to)
	if over == 0 {
		header = append(header, "Overwrite", "F")
	} else {
		header = append(header, "If", fmt.Sprintf("<%s> ([%s])", to, over.tag()))
	}
	l.tell("MOVE", name, 0, over, header...)
}

func ifMatch(v edition) []string { return []string{"If-Match", v.tag()} }

func ifTag(v edition) []string { return []string{"If", "([" + v.tag() + "])"} }

// settle compares the files with the ledger.
func (l *ledger) settle(names []string) {
	there := 0
	for _, name := range names {
		v := l.look(name)
		if v == 0 {
			continue
		}
		there++
		if !l.born[v] {
			l.t.Errorf("%s is edition %d, of which nobody was told that it was written", name, v)
		}
		if l.ended[v] > 0 {
			l.t.Errorf("%s is edition %d, of which %d were told that they have ended it", name, v, l.ended[v])
		}
	}
	named := 0
	for v, times := range l.ended {
		named += times
		if times > 1 || !l.born[v] {
			l.t.Errorf("edition %d (written: %v) was ended %d times", v, l.born[v], times)
		}
	}
	if missing := len(l.born) - named - l.unnamed - there; missing != 0 {
		l.t.Errorf("%d written, %d and %d ended, %d there: %d are missing", len(l.born), named, l.unnamed, there, missing)
	}
	if l.done.Load() == 0 {
		l.t.Error("nothing was done")
	}
	l.t.Logf("%d written, %d ended; %d requests done, %d refused", len(l.born), named+l.unnamed, l.done.Load(), l.lost.Load())
}

// TestRivals has clients write, delete and move the same few names at once. Nothing is lost, torn, or refused with
// anything but a condition that is not true.
func TestRivals(t *testing.T) { fight(t, serveNew) }

// fight is TestRivals of servers. serve returns the URL of an empty collection.
func fight(t *testing.T, serve func(t *testing.T) (url string, client *http.Client)) {
	for _, tt := range []struct {
		about string
		names int
		// do does one thing. A rival has a name of its own besides.
		do func(l *ledger, dice *rand.Rand, own, name, other string)
	}{
		{"PUT by If-Match", 1, func(l *ledger, _ *rand.Rand, _, name, _ string) { l.putIf(ifMatch)(name) }},
		{"PUT by If", 1, func(l *ledger, _ *rand.Rand, _, name, _ string) { l.putIf(ifTag)(name) }},
		{"PUT and PUT by If-Match", 1, func(l *ledger, dice *rand.Rand, _, name, _ string) {
			if dice.IntN(4) == 0 {
				l.put(name)
			} else {
				l.putIf(ifMatch)(name)
			}
		}},
		{"DELETE against PUT", 1, func(l *ledger, dice *rand.Rand, _, name, _ string) {
			switch dice.IntN(4) {
			case 0:
				l.delete(name)
			case 1:
				l.deleteIfMatch(name)
			default:
				l.putIf(ifMatch)(name)
			}
		}},
		{"MOVE against PUT", 3, func(l *ledger, dice *rand.Rand, _, name, other string) {
			switch dice.IntN(4) {
			case 0:
				l.move(name, other)
			case 1:
				l.moveIfMatch(name, other)
			default:
				l.putIf(ifMatch)(name)
			}
		}},
		{"MOVE to one place", 1, func(l *ledger, dice *rand.Rand, own, name, _ string) {
			l.putIf(ifMatch)(own)
			if dice.IntN(2) == 0 {
				l.move(own, name)
			} else {
				l.moveIfMatch(own, name)
			}
		}},
		{"all at once", 4, func(l *ledger, dice *rand.Rand, own, name, other string) {
			switch dice.IntN(8) {
			case 0:
				l.put(name)
			case 1:
				l.delete(name)
			case 2:
				l.deleteIfMatch(name)
			case 3:
				l.move(name, other)
			case 4:
				l.moveIfMatch(name, own)
			case 5:
				l.moveIfMatch(own, name)
			case 6:
				l.putIf(ifTag)(name)
			default:
				l.moveIfMatch(name, other)
			}
		}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			url, client := serve(t)
			l := &ledger{t: t, url: url, client: client, born: map[edition]bool{}, ended: map[edition]int{}}
			var names []string
			for i := range tt.names {
				names = append(names, fmt.Sprint("/n", i))
			}
			var own []string
			for i := range rivals {
				own = append(own, fmt.Sprint("/own", i))
			}
			end := time.Now().Add(*contend)
			var group sync.WaitGroup
			for i := range rivals {
				group.Go(func() {
					dice := rand.New(rand.NewPCG(rand.Uint64(), 0))
					for first := true; (first || time.Now().Before(end)) && !t.Failed(); first = false {
						n := dice.IntN(tt.names)
						other := (n + 1 + dice.IntN(max(1, tt.names-1))) % tt.names
						tt.do(l, dice, own[i], names[n], names[other])
					}
				})
			}
			group.Wait()
			l.settle(append(names, own...))
		})
	}
}
