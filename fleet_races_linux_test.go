package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// A counter is a file in which clients count together, each by replacing the version that it has read.
type counter struct {
	path      string
	condition func(read answer) []string
	counted   atomic.Int64 // acknowledged increments
	maybe     atomic.Int64 // increments whose outcome the client does not know
}

func byTag(read answer) []string  { return []string{"If-Match", read.tag} }
func byIf(read answer) []string   { return []string{"If", "([" + read.tag + "])"} }
func byDate(read answer) []string { return []string{"If-Unmodified-Since", read.modified} }

// counter starts clients that count in a file.
func (l *load) counter(path string, condition func(answer) []string, clients int) {
	c := &counter{path: path, condition: condition}
	if a := l.f.ask("PUT", path, "0"); a.status/100 != 2 {
		l.f.t.Fatalf("PUT %s: %+v", path, a)
	}
	l.counters = append(l.counters, c)
	for range clients {
		l.all.Go(func() { l.count(c) })
	}
}

func (l *load) count(c *counter) {
	for !l.ended() {
		a := l.f.ask("GET", c.path, "")
		n, err := strconv.Atoi(a.body)
		if a.status != http.StatusOK {
			continue
		}
		if err != nil {
			l.f.t.Errorf("GET %s: %+v", c.path, a)
		}
		if slices.Contains(c.condition(a), "") { // the date of this version has not come yet
			time.Sleep(10 * time.Millisecond)
			continue
		}
		switch a := l.f.ask("PUT", c.path, strconv.Itoa(n+1), c.condition(a)...); {
		case a.status == http.StatusNoContent:
			c.counted.Add(1)
			l.acked.Add(1)
		case a.status == http.StatusPreconditionFailed:
		default:
			l.judge("PUT "+c.path, a)
			if a.isUnknown() {
				c.maybe.Add(1)
			}
		}
	}
}

// settle compares what is in the file with what was acknowledged.
func (c *counter) settle(f *fleet) {
	a := f.ask("GET", c.path, "")
	n, err := strconv.ParseInt(a.body, 10, 64)
	counted, maybe := c.counted.Load(), c.maybe.Load()
	if err != nil || counted == 0 || n < counted || n > counted+maybe {
		f.t.Errorf("LOST: %s is %q after %d acknowledged increments and %d unknown ones", c.path, a.body, counted, maybe)
	}
	f.t.Logf("%s is %d after %d acknowledged increments and %d unknown ones", c.path, n, counted, maybe)
}

// races has clients fight for more names: by dates and If, for one that is deleted and made again, under locks, and for
// those of histories that are checked when the load has settled.
func (l *load) races() {
	l.counter(l.dir+"/counter-by-if", byIf, 2)
	l.counter(l.dir+"/counter-by-date", byDate, 3)
	l.lives = map[string]*life{}
	for i := range 3 {
		l.all.Go(func() { l.recreate(i) })
	}
	if a := l.f.ask("PUT", l.dir+"/locked", "0"); a.status != http.StatusCreated {
		l.f.t.Fatalf("PUT: %+v", a)
	}
	for i := range 2 {
		l.all.Go(func() { l.hold(i) })
		l.all.Go(func() { l.disturb(i) })
	}
	l.all.Go(l.histories)
}

// A life is one of the contents of a name that is deleted and made again: each is made once.
type life struct {
	made       bool // acknowledged
	ended      int  // acknowledged
	maybeEnded bool
}

// lived notes something about a content.
func (l *load) lived(content string, note func(*life)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lives[content] == nil {
		l.lives[content] = new(life)
	}
	note(l.lives[content])
}

// recreate deletes what is at a name, by its tag, or makes it again where nothing is.
func (l *load) recreate(client int) {
	path := l.dir + "/again"
	for n := 0; !l.ended(); n++ {
		switch read := l.f.ask("GET", path, ""); read.status {
		case http.StatusNotFound:
			text := fmt.Sprint(client, " ", n)
			switch a := l.f.ask("PUT", path, text, "If-None-Match", "*"); {
			case a.status == http.StatusCreated:
				l.lived(text, func(is *life) { is.made = true })
			case a.status == http.StatusPreconditionFailed:
			default:
				l.judge("PUT "+path, a)
			}
		case http.StatusOK:
			switch a := l.f.ask("DELETE", path, "", "If-Match", read.tag); {
			case a.status == http.StatusNoContent:
				l.lived(read.body, func(is *life) { is.ended++ })
			case a.status == http.StatusPreconditionFailed, a.status == http.StatusNotFound:
			default:
				l.judge("DELETE "+path, a)
				if a.isUnknown() {
					l.lived(read.body, func(is *life) { is.maybeEnded = true })
				}
			}
		}
	}
}

// settleLives: each content that was made is there, or one client has deleted it.
func (l *load) settleLives() {
	if l.lives == nil {
		return
	}
	now, made := l.f.ask("GET", l.dir+"/again", ""), 0
	for content, is := range l.lives {
		there := now.status == http.StatusOK && now.body == content
		if is.ended > 1 || there && is.ended > 0 || is.made && !there && is.ended == 0 && !is.maybeEnded {
			l.f.t.Errorf("LOST: %q was deleted and made again: %+v, and now it is there: %t", content, *is, there)
		}
		if is.made {
			made++
		}
	}
	if made == 0 {
		l.f.t.Error("nothing was made again")
	}
	l.f.t.Logf("a name was made %d times anew", made)
}

// lockLasts is how long a lock lasts whose client was not told of it.
const lockLasts = 6 * time.Second

var tokenInBody = regexp.MustCompile(`urn:uuid:[-0-9a-f]+`)

// hold locks a file, looks at it, replaces it, looks again, and unlocks it. Nobody else has written meanwhile.
func (l *load) hold(client int) {
	path := l.dir + "/locked"
	for n := 0; !l.ended(); n++ {
		begun := time.Now()
		a := l.f.ask("LOCK", path, servertest.LockExclusive, "Timeout", fmt.Sprintf("Second-%.0f", lockLasts.Seconds()))
		if a.status != http.StatusOK {
			if a.status != http.StatusLocked {
				l.judge("LOCK", a)
			}
			continue
		}
		token := tokenInBody.FindString(a.body)
		if token == "" {
			l.f.t.Errorf("LOCK: %+v", a)
			return
		}
		before, mine := l.read(path), fmt.Sprint("lock ", client, " ", n)
		put := l.f.ask("PUT", path, mine, "If", "(<"+token+">)")
		after := l.read(path)
		inTime := time.Since(begun) < lockLasts-time.Second
		switch {
		case put.status == http.StatusNoContent:
			before = mine
		case !inTime && (put.status == http.StatusPreconditionFailed || put.status == http.StatusLocked):
		default:
			l.judge("PUT with a lock", put)
		}
		if inTime && after != before && !(put.isUnknown() && after == mine) && !l.ended() {
			l.f.t.Errorf("LOST: under a lock, %q was read after %q (%d)", after, before, put.status)
		}
		if inTime {
			l.held.Add(1)
		}
		a = l.f.ask("UNLOCK", path, "", "Lock-Token", "<"+token+">")
		if a.status != http.StatusNoContent && time.Since(begun) < lockLasts-time.Second {
			l.judge("UNLOCK", a)
		}
	}
}

// read returns the content of a file once it can be read, or "" at the end of the load.
func (l *load) read(path string) string {
	for !l.ended() {
		if a := l.f.ask("GET", path, ""); a.status == http.StatusOK {
			return a.body
		}
	}
	return ""
}

// disturb replaces the file that others lock.
func (l *load) disturb(client int) {
	for n := 0; !l.ended(); n++ {
		a := l.f.ask("PUT", l.dir+"/locked", fmt.Sprint("no lock ", client, " ", n))
		if a.status != http.StatusNoContent && a.status != http.StatusLocked {
			l.judge("PUT without a lock", a)
		}
	}
}

// histories has writers fight for a few names, and records what they have asked and heard.
func (l *load) histories() {
	seed := rand.Uint64()
	for n := 0; !l.ended(); n++ {
		in := allIn(fmt.Sprint(l.dir, "/h", n))
		for made := 0; made != http.StatusCreated && made != http.StatusMethodNotAllowed && !l.ended(); {
			made = l.f.ask("MKCOL", in[0], "").status
		}
		var group sync.WaitGroup
		var all []porcupine.Operation
		start := time.Now()
		for i := range historyWriters {
			group.Go(func() {
				for op := range l.history(in, seed, n, i, start) {
					l.mu.Lock()
					all = append(all, op)
					l.mu.Unlock()
				}
			})
		}
		group.Wait()
		l.recorded = append(l.recorded, all)
	}
}

const (
	historyWriters = 4
	historySteps   = 15 // of each
)

// history yields what one writer has asked and heard. A write whose outcome is not known has no end: it may happen at any
// time after it was sent, or never, which looks as if it came after all others.
func (l *load) history(in dirs, seed uint64, n, client int, start time.Time) func(func(porcupine.Operation) bool) {
	w := writer{dice: rand.New(rand.NewPCG(seed+uint64(n), uint64(client)))}
	return func(yield func(porcupine.Operation) bool) {
		for done := 0; done < historySteps && !l.ended(); {
			op := w.choose()
			var header []string
			for name, value := range op.header("", in) {
				header = append(header, name, value)
			}
			body := ""
			if op.method == "PUT" {
				body = op.body.bytes()
			}
			recorded := porcupine.Operation{ClientId: client, Input: op, Call: int64(time.Since(start))}
			a := l.f.ask(op.method, fmt.Sprintf("%s/%d", in[op.name], op.name), body, header...)
			recorded.Return = int64(time.Since(start))
			switch {
			case a.isUnknown() && op.method == "GET":
				continue
			case a.isUnknown():
				l.unknown.Add(1)
				recorded.Output, recorded.Return = outcome{}, math.MaxInt64
				w.heard[op.name], w.heard[op.to] = 0, 0
			case a.status == http.StatusServiceUnavailable:
				l.judge(op.method, a)
				continue
			default:
				answer := op.outcome(l.f.t, a.status, a.tag, a.body)
				recorded.Output = answer
				w.hear(op, answer)
			}
			done++
			if !yield(recorded) {
				return
			}
		}
	}
}

// settleHistories checks that there is an order of the operations of each history that explains all answers.
func (l *load) settleHistories() {
	operations, slowest := 0, time.Duration(0)
	for n, recorded := range l.recorded {
		slowest = max(slowest, wantLinearizable(l.f.t, recorded, n, 0))
		operations += len(recorded)
	}
	if len(l.recorded) > 0 {
		l.f.t.Logf("%d histories of %d operations are linearizable; the slowest took %v to check", len(l.recorded), operations, slowest)
	}
}
