package compare

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Each of the raw loops makes the system calls that a workload takes at the least, without a server and without HTTP: a
// floor that no server can be below.

// rawList reads the names of a directory and looks at each member, as often as a listing is asked for.
func rawList(_ context.Context, s *site, _ int) (sample, error) {
	return alone(s.scale.large, func() error { return s.lookAt(".", s.scale.members) })
}

// rawWalk does the same with each directory of the walk.
func rawWalk(_ context.Context, s *site, _ int) (sample, error) {
	return alone(1, func() error {
		for i := range s.scale.walked {
			if err := s.lookAt(walkedName(i), inDirectory); err != nil {
				return err
			}
		}
		return s.lookAt(".", s.scale.walked)
	})
}

func (s *site) lookAt(name string, members int) error {
	dir, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err == nil && len(names) != members {
		err = fmt.Errorf("%s has %d members, and not %d", name, len(names), members)
	}
	for _, member := range names {
		if err != nil {
			return err
		}
		err = look(dir, member)
	}
	return err
}

// rawUnseen looks at each member of a directory that no server has seen, takes a lease on it, reads and hashes it.
func rawUnseen(_ context.Context, s *site, round int) (sample, error) {
	return alone(1, func() error {
		dir, err := os.Open(filepath.Join(s.dir, unseenName(round)))
		if err != nil {
			return err
		}
		defer dir.Close()
		names, err := dir.Readdirnames(-1)
		if err == nil && len(names) != s.scale.members {
			err = fmt.Errorf("%d members, and not %d", len(names), s.scale.members)
		}
		buffer := make([]byte, memberSize)
		for _, name := range names {
			if err == nil {
				err = look(dir, name)
			}
			if err == nil {
				err = readLeased(dir, name, buffer)
			}
			if err != nil {
				return err
			}
			_ = sha256.Sum256(buffer)
		}
		return err
	})
}

// rawUnseenBig reads and hashes a large file.
func rawUnseenBig(_ context.Context, s *site, round int) (sample, error) {
	return alone(1, func() error {
		f, err := os.Open(filepath.Join(s.dir, unseenName(round)))
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(sha256.New(), f)
		return err
	})
}

// alone does something n times, and measures the time and the CPU time of this process.
func alone(n int, do func() error) (one sample, err error) {
	began, cpu := time.Now(), ownCPU()
	for range n {
		each := time.Now()
		if err := do(); err != nil {
			return one, err
		}
		one.latencies = append(one.latencies, time.Since(each))
	}
	one.requests, one.elapsed, one.cpu = n, time.Since(began), ownCPU()-cpu
	return one, nil
}

// rawReplace makes the system calls that a durable write takes at the least, without a server: write a new file, fdatasync
// it, rename it, fsync the directory. "raw3" makes one more fdatasync, of a file that grows as a log does.
func rawReplace(ctx context.Context, s *site, _ int) (sample, error) {
	var logs [writers]*os.File
	for i := range logs {
		name := filepath.Join(s.state, fmt.Sprintf("log-%d", i))
		f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
		if err != nil {
			return sample{}, err
		}
		defer f.Close()
		logs[i] = f
	}
	return s.during(ctx, writers, s.period(), func(_ *conn, client, i int) (time.Duration, error) {
		body, began := s.body(), time.Now()
		if s.server.name == "raw3" {
			if _, err := logs[client].Write(body[:64]); err != nil {
				return 0, err
			}
			if err := syncData(logs[client]); err != nil {
				return 0, err
			}
		}
		err := s.replace(writtenName(client, i/writers%perWriter), body)
		return time.Since(began), err
	})
}

func (s *site) replace(name string, body []byte) error {
	staged := filepath.Join(s.state, name)
	f, err := os.Create(staged)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(body); err != nil {
		return err
	}
	if err := syncData(f); err != nil {
		return err
	}
	if err := os.Rename(staged, filepath.Join(s.dir, name)); err != nil {
		return err
	}
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return err
	}
	s.written.note(name, body)
	return nil
}
