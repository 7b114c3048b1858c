package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// stateName is where the server keeps its own state, at the top of the served directory.
const stateName = ".ifmatch"

// A server is a running ifmatch that has answered once.
type server struct {
	cmd         *exec.Cmd
	url         string
	began       time.Time
	firstAnswer time.Duration
	firstCPU    time.Duration // of the server, until the first answer

	serving  chan string   // the URL of the server
	searched chan search   // the result of the first search of the tree for files to hash
	watched  chan struct{} // all directories are watched
	ended    chan struct{} // the log of the server has ended
}

// A search is the log entry of the server after it has looked at all files and hashed those that it did not know.
type search struct {
	Files, Hashed int64
	took          time.Duration // since the server was started
}

var serving = regexp.MustCompile(`^ifmatch: serving .* at (http://.*)/\n$`)

// start runs the program and asks it for one file, as soon as it logs its URL.
func (b *bench) start(ctx context.Context, flags ...string) (*server, error) {
	args := []string{"serve", "--addr", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug"}
	args = append(append(args, flags...), b.root)
	s := &server{
		cmd:      exec.CommandContext(ctx, b.binary, args...),
		serving:  make(chan string, 1),
		searched: make(chan search, 1),
		watched:  make(chan struct{}, 1),
		ended:    make(chan struct{}),
	}
	log, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	s.began = time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go s.follow(bufio.NewReader(log))
	select {
	case s.url = <-s.serving:
	case <-s.ended:
		return nil, errors.Join(errors.New("the server did not start"), s.cmd.Wait())
	}
	if err := s.ask(ctx, http.MethodHead, b.tree.hot[0]); err != nil {
		return nil, errors.Join(err, s.kill())
	}
	s.firstAnswer, s.firstCPU = time.Since(s.began), cpuOf(s.cmd.Process.Pid)
	return s, nil
}

// follow reads the log to its end.
func (s *server) follow(lines *bufio.Reader) {
	defer close(s.ended)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		if m := serving.FindSubmatch(line); m != nil {
			s.serving <- string(m[1])
			continue
		}
		var entry struct {
			Level, Msg, Error string
			search
		}
		if json.Unmarshal(line, &entry) != nil {
			if !bytes.HasPrefix(line, []byte("  ")) { // lines with an indent are the rest of the welcome
				fmt.Fprintf(os.Stderr, "\nbench: the server says: %s", line)
			}
			continue
		}
		switch {
		case entry.Msg == "the ETags of all files are known":
			entry.took = time.Since(s.began)
			offer(s.searched, entry.search)
		case strings.HasPrefix(entry.Msg, "the tree is watched"): // it can say "again", after watches had run out
			offer(s.watched, struct{}{})
		case entry.Level == "WARN", entry.Level == "ERROR":
			fmt.Fprintf(os.Stderr, "\nbench: the server says: %s", line)
		}
	}
}

// offer sends a value, and drops it if the channel has the first one already. Only the first one is needed.
func offer[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

// settled waits until the server has looked at all files, hashed those it did not know, and watches all directories.
func (s *server) settled(ctx context.Context) (found search, err error) {
	for range 2 {
		select {
		case found = <-s.searched:
		case <-s.watched:
		case <-s.ended:
			return found, errors.New("the server ended")
		case <-ctx.Done():
			return found, ctx.Err()
		}
	}
	return found, nil
}

// ask requests a file. It fails if the answer has no tag.
func (s *server) ask(ctx context.Context, method, name string) error {
	r, err := http.NewRequestWithContext(ctx, method, s.url+"/"+name, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK || answer.Header.Get("ETag") == "" {
		return fmt.Errorf("%s %s: %s, ETag %q", method, name, answer.Status, answer.Header.Get("ETag"))
	}
	return nil
}

// How a hot set of files is asked for.
const (
	hotRounds  = 20
	hotClients = 8
)

func (s *server) askFor(ctx context.Context, names []string) error {
	for range hotRounds {
		asking, ctx := errgroup.WithContext(ctx)
		asking.SetLimit(hotClients)
		for _, name := range names {
			asking.Go(func() error { return s.ask(ctx, http.MethodGet, name) })
		}
		if err := asking.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) usage() (usage, error) { return usageOf(s.cmd.Process.Pid) }

// stop asks the server to end and waits for its end. If err is not nil, it returns err.
func (s *server) stop(err error) error {
	http.DefaultClient.CloseIdleConnections()
	return errors.Join(err, s.cmd.Process.Signal(os.Interrupt), s.wait())
}

// kill ends the server at once.
func (s *server) kill() error {
	err := s.cmd.Process.Kill()
	var ended *exec.ExitError
	if waited := s.wait(); !errors.As(waited, &ended) {
		err = errors.Join(err, waited)
	}
	return err
}

func (s *server) wait() error {
	<-s.ended // Wait closes the log, so all of it must be read before
	return s.cmd.Wait()
}
