package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// content returns bytes that no other call with another seed returns.
func content(seed uint64, size int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	body := make([]byte, size)
	rand.NewChaCha8(key).Read(body)
	return body
}

// pattern is repeated in large files. Its length is no multiple of a page's, so that pages that
// change places are seen.
var pattern = content(0, 1<<20-3)

func fileName(i int) string { return fmt.Sprintf("file-%05d", i) }

// fillFiles makes n files of a size.
func fillFiles(size, n int) func(s *site) error {
	return func(s *site) error {
		s.stored = map[string][]byte{}
		for i := range n {
			if err := s.putFile(fileName(i), content(uint64(i)+1, size)); err != nil {
				return err
			}
		}
		return nil
	}
}

// putFile makes a file in the served directory, beside the server.
func (s *site) putFile(name string, body []byte) error {
	s.stored[name] = body
	return writeOpen(filepath.Join(s.dir, name), body)
}

// writeOpen makes a file that all users may write to, as the server may be another one.
func writeOpen(name string, body []byte) error {
	if err := os.WriteFile(name, body, 0o666); err != nil {
		return err
	}
	return os.Chmod(name, 0o666)
}

// warm asks for each file once.
func warm(ctx context.Context, s *site) error {
	_, err := s.spread(ctx, readers, len(s.stored), s.get)
	return err
}

// warmUntilOld also waits until the files are old enough to be kept in memory, and asks for each twice more: a file
// that is read once need not be kept.
func warmUntilOld(ctx context.Context, s *site) error {
	if err := warm(ctx, s); err != nil {
		return err
	}
	if s.scale != quickScale {
		time.Sleep(3 * time.Second)
	}
	return errors.Join(warm(ctx, s), warm(ctx, s))
}

// get is a GET of one of the files, whose body is compared with that of the file.
func (s *site) get(c *conn, _, i int) (time.Duration, error) {
	name := fileName(i % len(s.stored))
	m := &message{method: "GET", path: "/" + name}
	a, err := c.do(m)
	if err == nil {
		err = a.wanted(m, http.StatusOK)
	}
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(a.body, s.stored[name]) {
		return 0, fmt.Errorf("GET %s: %d bytes that are not those of the file", m.path, len(a.body))
	}
	return a.took, nil
}

func getFiles(ctx context.Context, s *site, _ int) (sample, error) {
	return s.spread(ctx, readers, s.scale.gets, s.get)
}

// learnTags keeps the tag of each file.
func learnTags(_ context.Context, s *site) error {
	c := s.connections(1)[0]
	for i := range len(s.stored) {
		m := &message{method: "GET", path: "/" + fileName(i)}
		a, err := c.do(m)
		if err == nil {
			err = a.wanted(m, http.StatusOK)
		}
		if err != nil {
			return err
		}
		tag := a.header.Get("ETag")
		if tag == "" {
			return errors.New("it has no ETags")
		}
		s.tags = append(s.tags, tag)
	}
	return nil
}

func revalidate(ctx context.Context, s *site, _ int) (sample, error) {
	return s.spread(ctx, readers, s.scale.gets, func(c *conn, _, i int) (time.Duration, error) {
		i %= len(s.tags)
		m := &message{method: "GET", path: "/" + fileName(i), header: "If-None-Match: " + s.tags[i] + "\r\n"}
		a, err := c.do(m)
		if err == nil {
			err = a.wanted(m, http.StatusNotModified)
		}
		if err == nil && len(a.body) > 0 {
			err = errors.New("a 304 has a body")
		}
		if err != nil {
			return 0, err
		}
		return a.took, nil
	})
}

const bigName = "big"

func fillBig(s *site) error { return makeBig(filepath.Join(s.dir, bigName), s.scale.big) }

func makeBig(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Chmod(0o666); err != nil {
		return err
	}
	_, err = io.Copy(f, io.LimitReader(&repeated{}, size))
	return err
}

// A repeated reader reads the pattern again and again.
type repeated struct{ at int }

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, pattern[r.at:])
	r.at = (r.at + n) % len(pattern)
	return n, nil
}

// checkBig reads a large body and compares it: each byte, or 4 KiB of each 256, since a comparison of all would take
// about as long as the transfer.
func checkBig(body io.Reader, size, want int64, whole bool) error {
	if size >= 0 && size != want {
		return fmt.Errorf("%d bytes, not %d", size, want)
	}
	const piece = 256 << 10
	buf, at := make([]byte, piece), int64(0)
	for {
		n, err := io.ReadFull(body, buf)
		compared := min(n, 4<<10)
		if whole {
			compared = n
		}
		for from := 0; from < compared; {
			part := pattern[(at+int64(from))%int64(len(pattern)):]
			part = part[:min(len(part), compared-from)]
			if !bytes.Equal(part, buf[from:from+len(part)]) {
				return fmt.Errorf("wrong bytes at %d", at+int64(from))
			}
			from += len(part)
		}
		at += int64(n)
		switch {
		case err == nil:
		case (err == io.EOF || err == io.ErrUnexpectedEOF) && at == want:
			return nil
		default:
			return fmt.Errorf("%d bytes of %d: %w", at, want, err)
		}
	}
}

func (s *site) takeBig(c *conn, name string, whole bool) (*answer, error) {
	m := &message{method: "GET", path: "/" + name, take: func(body io.Reader, size int64) error {
		return checkBig(body, size, s.scale.big, whole)
	}}
	a, err := c.do(m)
	if err != nil {
		return nil, err
	}
	return a, a.wanted(m, http.StatusOK)
}

func getBigWhole(_ context.Context, s *site) error {
	_, err := s.takeBig(s.connections(1)[0], bigName, true)
	return err
}

func getBig(ctx context.Context, s *site, _ int) (sample, error) {
	one, err := s.spread(ctx, 1, s.scale.large, func(c *conn, _, _ int) (time.Duration, error) {
		a, err := s.takeBig(c, bigName, false)
		if err != nil {
			return 0, err
		}
		return a.took, nil
	})
	one.bytes = int64(one.requests) * s.scale.big
	return one, err
}

func unseenName(round int) string { return fmt.Sprintf("unseen-%d", round) }

func fillUnseenBig(s *site, round int) error {
	if round > 0 {
		if err := os.Remove(filepath.Join(s.dir, unseenName(round-1))); err != nil {
			return err
		}
	}
	return makeBig(filepath.Join(s.dir, unseenName(round)), s.scale.big)
}

// firstByte measures until the header of the answer is there. The content is compared all the same.
func firstByte(_ context.Context, s *site, round int) (sample, error) {
	began := time.Now()
	a, err := s.takeBig(s.connections(1)[0], unseenName(round), true)
	if err != nil {
		return sample{}, err
	}
	return sample{requests: 1, elapsed: time.Since(began), latencies: []time.Duration{a.first}}, nil
}

// startAgain measures from the start of the program to its first answer, on a directory that has nothing but the
// state of earlier starts.
func startAgain(ctx context.Context, s *site, _ int) (sample, error) {
	began := time.Now()
	if err := s.start(ctx); err != nil {
		return sample{}, err
	}
	took := time.Since(began)
	one := sample{requests: 1, elapsed: took, latencies: []time.Duration{took}}
	one.peak, one.cpu = s.process.memory().peak, s.process.cpu()
	return one, s.stop()
}
