package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// smallBody is the size of the files that are written, but for the large one.
const smallBody = 1 << 10

// perWriter is how many names each client writes over.
const perWriter = 4

// body returns a new body: the same one twice would be no new version.
func (s *site) body() []byte { return content(1<<32+s.bodies.Add(1), smallBody) }

func writtenName(client, i int) string { return fmt.Sprintf("written-%02d-%06d", client, i) }

// A ledger has the content of each name that was acknowledged last. Each name is written by one client, in order.
type ledger struct {
	mu   sync.Mutex
	last map[string][]byte
}

func (l *ledger) note(name string, body []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = map[string][]byte{}
	}
	l.last[name] = body
}

// put sends a body and notes it when it is acknowledged. header is more of the request's.
func (s *site) put(c *conn, name, header string) (time.Duration, error) {
	body := s.body()
	m := &message{method: "PUT", path: "/" + name, header: header, body: body}
	a, err := c.do(m)
	if err == nil {
		err = a.wanted(m, http.StatusCreated, http.StatusNoContent, http.StatusOK)
	}
	if err != nil {
		return 0, err
	}
	s.written.note(name, body)
	return a.took, nil
}

func putNew(ctx context.Context, s *site, round int) (sample, error) {
	return s.spread(ctx, writers, s.scale.puts, func(c *conn, client, i int) (time.Duration, error) {
		return s.put(c, writtenName(client, round*s.scale.puts+i), "")
	})
}

// putFirst makes the files that are written over.
func putFirst(ctx context.Context, s *site) error {
	_, err := s.spread(ctx, writers, writers*perWriter, s.putOver)
	return err
}

// putOver is a PUT of one of the client's own names.
func (s *site) putOver(c *conn, client, i int) (time.Duration, error) {
	return s.put(c, writtenName(client, i/writers%perWriter), "")
}

func putOver(ctx context.Context, s *site, _ int) (sample, error) {
	return s.spread(ctx, writers, s.scale.puts, s.putOver)
}

// putGuarded is a HEAD and a PUT of the version that it tells.
func (s *site) putGuarded(c *conn, client, i int) (time.Duration, error) {
	name := writtenName(client, i/writers%perWriter)
	m := &message{method: "HEAD", path: "/" + name}
	a, err := c.do(m)
	if err == nil {
		err = a.wanted(m, http.StatusOK)
	}
	if err != nil {
		return 0, err
	}
	tag := a.header.Get("ETag")
	if tag == "" {
		return 0, errors.New("it has no ETags")
	}
	took, err := s.put(c, name, "If-Match: "+tag+"\r\n")
	return a.took + took, err
}

// putGuardedBatch notes a server that takes a write whose condition is false.
func putGuardedBatch(s *site, batch func() (sample, error)) (sample, error) {
	name := writtenName(0, 0)
	m := &message{method: "PUT", path: "/" + name, header: "If-Match: \"no such version\"\r\n", body: s.body()}
	a, err := s.connections(1)[0].do(m)
	if err != nil {
		return sample{}, err
	}
	if a.status != http.StatusPreconditionFailed {
		s.result.Remark = ignoresCondition
		s.written.note(name, m.body)
		if s.server.ours {
			return sample{}, fmt.Errorf("a false condition is answered %d", a.status)
		}
	}
	return batch()
}

func putGuarded(ctx context.Context, s *site, _ int) (sample, error) {
	return putGuardedBatch(s, func() (sample, error) { return s.spread(ctx, writers, s.scale.puts, s.putGuarded) })
}

func (s *site) period() time.Duration { return time.Duration(s.scale.seconds * float64(time.Second)) }

func putOverFor(ctx context.Context, s *site, _ int) (sample, error) {
	return s.during(ctx, writers, s.period(), s.putOver)
}

func putGuardedFor(ctx context.Context, s *site, _ int) (sample, error) {
	return putGuardedBatch(s, func() (sample, error) { return s.during(ctx, writers, s.period(), s.putGuarded) })
}

// verifyStored compares the files in the directory with the content that was acknowledged.
func verifyStored(_ context.Context, s *site) error {
	for name, body := range s.written.last {
		stored, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			return fmt.Errorf("an acknowledged write is not there: %w", err)
		}
		if !bytes.Equal(stored, body) {
			return fmt.Errorf("%s has not the content that was acknowledged last", name)
		}
	}
	return nil
}

func putBig(_ context.Context, s *site, round int) (sample, error) {
	c, name := s.connections(1)[0], fmt.Sprintf("large-%d", round)
	m := &message{method: "PUT", path: "/" + name, large: s.scale.big}
	began := time.Now()
	a, err := c.do(m)
	if err == nil {
		err = a.wanted(m, http.StatusCreated, http.StatusNoContent, http.StatusOK)
	}
	if err != nil {
		return sample{}, err
	}
	one := sample{requests: 1, elapsed: time.Since(began), latencies: []time.Duration{a.took}, bytes: s.scale.big}
	file := filepath.Join(s.dir, name)
	f, err := os.Open(file)
	if err != nil {
		return sample{}, err
	}
	defer f.Close()
	if err := checkBig(f, -1, s.scale.big, true); err != nil {
		return sample{}, fmt.Errorf("what was stored: %w", err)
	}
	return one, os.Remove(file)
}
