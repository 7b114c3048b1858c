package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// Clients count up a few numbers, each by a GET and a PUT of the version that it has read. An acknowledged PUT that the
// number does not show in the end is a lost update.
const (
	racers = 16
	raced  = 4
)

// A tally is of all rounds.
type tally struct {
	acknowledged [raced]atomic.Int64
	torn         atomic.Int64 // GETs that had no number
}

func counterName(i int) string { return fmt.Sprintf("counter-%d", i) }

func fillCounters(s *site) error {
	for i := range raced {
		if err := writeOpen(filepath.Join(s.dir, counterName(i)), counterBody(0, "nobody")); err != nil {
			return err
		}
	}
	return nil
}

// counterBody tells its writer besides, so that two writers of the same number are not the same version.
func counterBody(n int64, writer string) []byte { return fmt.Appendf(nil, "%010d by %s\n", n, writer) }

func race(ctx context.Context, s *site, round int) (sample, error) {
	return s.during(ctx, racers, s.period(), func(c *conn, client, i int) (time.Duration, error) {
		began, at := time.Now(), (client+i/racers)%raced
		for try := 0; time.Since(began) < patience; try++ {
			done, err := s.countUp(c, at, fmt.Sprintf("%d-%d-%d-%d", client, round, i, try))
			if err != nil {
				return 0, err
			}
			if done {
				return time.Since(began), nil
			}
		}
		return 0, errors.New("a client is refused again and again")
	})
}

// countUp tries once. It reports whether the server has acknowledged the write.
func (s *site) countUp(c *conn, at int, writer string) (bool, error) {
	get := &message{method: "GET", path: "/" + counterName(at)}
	a, err := c.do(get)
	if errors.Is(err, io.ErrUnexpectedEOF) && !s.server.ours {
		s.tally.torn.Add(1) // the file was shorter than it was when the answer began
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if a.status != http.StatusOK {
		// A server that has a gap between two versions answers so.
		return false, a.wanted(get, http.StatusNotFound, http.StatusLocked)
	}
	n, err := counterOf(a.body)
	if err != nil {
		s.tally.torn.Add(1)
		if s.server.ours {
			return false, err
		}
		return false, nil
	}
	tag := a.header.Get("ETag")
	if tag == "" {
		return false, errors.New("it has no ETags")
	}
	put := &message{method: "PUT", path: get.path, header: "If-Match: " + tag + "\r\n", body: counterBody(n+1, writer)}
	if a, err = c.do(put); err != nil {
		return false, err
	}
	if a.status/100 == 2 {
		s.tally.acknowledged[at].Add(1)
		return true, nil
	}
	return false, a.wanted(put, http.StatusPreconditionFailed, http.StatusConflict, http.StatusLocked,
		http.StatusNotFound, http.StatusServiceUnavailable)
}

func counterOf(body []byte) (n int64, err error) {
	number, _, ok := strings.Cut(string(body), " by ")
	if !ok || len(number) != 10 || !strings.HasSuffix(string(body), "\n") {
		return 0, fmt.Errorf("a version that was never written: %q", body)
	}
	_, err = fmt.Sscanf(number, "%d", &n)
	return n, err
}

// verifyRace counts the lost updates.
func verifyRace(_ context.Context, s *site) error {
	var lost int64
	for i := range raced {
		body, err := os.ReadFile(filepath.Join(s.dir, counterName(i)))
		if err != nil {
			return err
		}
		n, err := counterOf(body)
		if err != nil {
			return err
		}
		lost += s.tally.acknowledged[i].Load() - n
	}
	s.result.Lost = &lost
	s.result.Remark = fmt.Sprintf("%d lost", lost)
	if torn := s.tally.torn.Load(); torn > 0 {
		s.result.Remark += fmt.Sprintf(", %d torn", torn)
	}
	if lost != 0 && s.server.ours {
		return fmt.Errorf("%d updates were lost", lost)
	}
	return nil
}
