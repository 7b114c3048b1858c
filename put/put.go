// Package put is the command ifmatch put: it sends a file to a server by tus, so that a broken line costs only the bytes
// that were on the way.
//
// The server compares nothing with the file of the client, so put does: while it sends, it computes the SHA-256 of the
// bytes that it has read, which is the ETag of a server like ours.
package put

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/excerpt"
	"r-seed-1f3a754f.example/ifmatch/internal/progress"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
)

// A Refused says that a condition was not true. Nothing has changed on the server.
type Refused struct {
	ETag   string // of the version that is there, or "" if nothing is, or it is not told
	Detail string
}

func (e *Refused) Error() string {
	there := "the server does not tell which version is there"
	if e.ETag != "" {
		there = "the version that is there has the ETag " + e.ETag
	}
	return "not sent: " + e.Detail + "; " + there
}

// passwordVariable is the variable of the environment with the password.
const passwordVariable = "IFMATCH_PASSWORD"

// Command returns the command.
func Command(misused cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name:      "put",
		Usage:     "send a file to a server, and go on after a broken line",
		ArgsUsage: "FILE URL",
		Description: "URL is that of the file, such as https://files.example/docs/report.pdf. The file is replaced, or made, only " +
			"when all bytes have come, and the ETag of the new version is printed. Exit status 3: the condition is not true; " +
			"nothing has changed, and the ETag of the version that is there is printed. After an interruption, also one of this " +
			"machine, the same command goes on where the server is. The server must take uploads in parts " +
			"(tus), as ifmatch does.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "if-match", Usage: "replace the version with the ETag `TAG` alone, with or without its quotation marks; * for any version"},
			&cli.BoolFlag{Name: "create", Usage: "send it only if nothing is there"},
			&cli.StringFlag{Name: "user", Usage: "log in as `NAME`, with the password in the variable " + passwordVariable},
			&cli.DurationFlag{Name: "patience", Value: 10 * time.Minute, Usage: "give up when no byte has come through for a `TIME`"},
		},
		OnUsageError: misused,
		Action: func(c *cli.Context) error {
			s, err := senderOf(c)
			if err != nil {
				return err
			}
			defer s.file.Close()
			tag, err := s.send(c.Context)
			if err != nil {
				s.leave(c.Context, err)
				return err
			}
			s.forget()
			fmt.Fprintln(c.App.Writer, tag)
			return nil
		},
	}
}

func senderOf(c *cli.Context) (*sender, error) {
	if c.NArg() != 2 {
		return nil, usage.Errorf("write ifmatch put FILE URL")
	}
	target, err := url.Parse(c.Args().Get(1))
	switch {
	case err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "":
		return nil, usage.Errorf("%q is no URL: write the whole URL of the file, such as https://files.example/report.pdf",
			c.Args().Get(1))
	case target.Path == "" || strings.HasSuffix(target.Path, "/") || target.RawQuery != "" || target.Fragment != "":
		return nil, usage.Errorf("%s is not the URL of a file: write its name behind that of the collection, and ? as %%3F", target.Redacted())
	case c.Bool("create") && c.IsSet("if-match"):
		return nil, usage.Errorf("--create and --if-match exclude each other: leave out one of them")
	case c.Duration("patience") <= 0:
		return nil, usage.Errorf("--patience must be a time such as 10m")
	}
	s := &sender{target: target, header: http.Header{}, patience: c.Duration("patience"), pause: 200 * time.Millisecond, sum: sha256.New()}
	if c.Bool("create") {
		s.header.Set("If-None-Match", "*")
	}
	if tag := c.String("if-match"); c.IsSet("if-match") {
		if tag != "*" && !strings.Contains(tag, `"`) {
			tag = `"` + tag + `"`
		}
		s.header.Set("If-Match", tag)
	}
	if user := c.String("user"); user != "" {
		target.User = url.UserPassword(user, os.Getenv(passwordVariable))
	}
	s.user, target.User = target.User, nil
	s.record = s.recordOf(c.Args().First())
	if s.file, err = os.Open(c.Args().First()); err != nil {
		return nil, err
	}
	s.before, err = s.file.Stat()
	if err == nil && !s.before.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", c.Args().First())
	}
	if err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	s.meter = progress.New(c.App.ErrWriter, 1, s.before.Size())
	return s, nil
}

// A sender sends one file.
type sender struct {
	target   *url.URL
	user     *url.Userinfo
	header   http.Header // the condition
	patience time.Duration
	pause    time.Duration // after the first failure, doubled after each further one
	file     *os.File
	before   os.FileInfo
	meter    *progress.Meter

	record     string // see recordOf
	resumed    bool   // an earlier run has created the upload
	remembered bool   // the record is of this upload
	looked     bool   // for the record

	upload *url.URL // nil: not created yet
	sum    hash.Hash
	hashed int64 // how many bytes of the file are in sum
	failed error // of the file
}

// A passing error may be gone when the request is sent again.
type passingError struct{ error }

func (e passingError) Unwrap() error { return e.error }

// An endedError says that the server does not know the upload any more.
type endedError struct{ error }

func (e endedError) Unwrap() error { return e.error }

// longest is the longest pause between two tries.
const longest = 30 * time.Second

// send sends the file, and returns the ETag of the new version.
func (s *sender) send(ctx context.Context) (tag string, err error) {
	defer s.meter.End()
	moved, best, pause := time.Now(), int64(-1), s.pause
	for {
		offset, done, err := s.step(ctx)
		if err == nil && done != "" {
			return done, s.verify(done)
		}
		moves := offset > best
		if moves {
			moved, best, pause = time.Now(), offset, s.pause
		}
		if err == nil && moves {
			continue
		}
		if err == nil {
			err = passingError{errors.New("the server says that it has taken what was sent, and the upload is no further")}
		}
		passing := new(passingError)
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case !errors.As(err, passing):
			return "", err
		case time.Since(moved) > s.patience:
			return "", fmt.Errorf("no byte has come through for %v: %w", s.patience, err)
		}
		s.meter.Printf("%v; trying again in %v", err, pause)
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, longest)
	}
}

// step creates the upload or, if there is one, asks how far it is and sends the rest. It returns how far that is, and the
// ETag of the new version if the file has come.
func (s *sender) step(ctx context.Context) (offset int64, tag string, err error) {
	if !s.looked {
		s.looked = true
		s.resume(ctx)
	}
	if s.upload == nil {
		answer, err := s.ask(ctx, http.MethodPost, s.target, nil, 0, http.Header{"Upload-Length": {strconv.FormatInt(s.before.Size(), 10)}})
		if err != nil {
			return -1, "", err
		}
		location, err := s.target.Parse(answer.Header.Get("Location"))
		if err != nil || answer.Header.Get("Location") == "" || location.Host != s.target.Host {
			return -1, "", fmt.Errorf("the server names no upload on the same host: %q", answer.Header.Get("Location"))
		}
		location.Scheme = s.target.Scheme // a proxy may not tell it to the server
		s.upload = location
		s.remember(answer)
		if s.before.Size() == 0 {
			return 0, answer.Header.Get("ETag"), nil
		}
	}
	answer, err := s.ask(ctx, http.MethodHead, s.upload, nil, 0, nil)
	if s.resumed && errors.As(err, new(endedError)) {
		s.upload, s.resumed = nil, false // it has expired since
		s.forget()
		return s.step(ctx)
	}
	if err != nil {
		return -1, "", err
	}
	s.remember(answer)
	if offset, err = offsetOf(answer, s.before.Size()); err != nil {
		return -1, "", err
	}
	if offset == s.before.Size() { // the answer to the last part was lost
		tag := answer.Header.Get("ETag")
		if tag == "" {
			s.upload = nil // it has come, and is not to be ended
			err = errors.New("the whole file was sent, and the server tells no ETag of it; look there for what it is now")
		}
		return offset, tag, err
	}
	if err := s.hashTo(ctx, offset); err != nil {
		return -1, "", err
	}
	body := &reader{s: s, at: offset}
	answer, err = s.ask(ctx, http.MethodPatch, s.upload, body, s.before.Size()-offset, http.Header{
		"Upload-Offset": {strconv.FormatInt(offset, 10)}, "Content-Type": {"application/offset+octet-stream"},
	})
	if err != nil {
		return offset, "", err
	}
	if offset, err = offsetOf(answer, s.before.Size()); err != nil || offset < s.before.Size() {
		return offset, "", err
	}
	return offset, answer.Header.Get("ETag"), nil
}

func offsetOf(answer *http.Response, size int64) (int64, error) {
	offset, err := strconv.ParseInt(answer.Header.Get("Upload-Offset"), 10, 64)
	if err != nil || offset < 0 || offset > size {
		return 0, fmt.Errorf("the server does not say how far the upload is: Upload-Offset is %q", answer.Header.Get("Upload-Offset"))
	}
	return offset, nil
}

// A reader reads the rest of the file, and counts and hashes the bytes that were not read before.
type reader struct {
	s  *sender
	at int64
}

func (r *reader) Read(p []byte) (int, error) {
	s := r.s
	if left := s.before.Size() - r.at; int64(len(p)) > left {
		p = p[:left]
	}
	if len(p) == 0 {
		return 0, io.EOF
	}
	n, err := s.file.ReadAt(p, r.at)
	if err == io.EOF && r.at+int64(n) < s.before.Size() {
		err = errChanged
	} else if err == nil && r.at+int64(n) == s.before.Size() {
		err = s.unchanged() // the last bytes commit the file
	}
	if err != nil && err != io.EOF {
		s.failed = err
		return 0, err
	}
	if fresh := r.at + int64(n) - s.hashed; fresh > 0 {
		s.sum.Write(p[int64(n)-fresh : n])
		s.hashed += fresh
		s.meter.Part(fresh)
	}
	r.at += int64(n)
	return n, err
}

// verify compares the bytes that were sent with those that the server has.
func (s *sender) verify(tag string) error {
	if err := s.unchanged(); err != nil && err != errChanged {
		return err
	} else if err != nil {
		return fmt.Errorf("sent, and the file has changed meanwhile: the server has a mixture, with the ETag %s; send it again", tag)
	}
	if err := s.hashTo(context.Background(), s.before.Size()); err != nil {
		return err
	}
	sum, err := base64.RawURLEncoding.DecodeString(strings.Trim(tag, `"`))
	if s.hashed == s.before.Size() && err == nil && len(sum) == sha256.Size && string(sum) != string(s.sum.Sum(nil)) {
		return fmt.Errorf("the server has other bytes than were sent, with the ETag %s; send it again", tag)
	}
	return nil
}

// ask sends a request, and returns the answer of a success. Its body has been read.
func (s *sender) ask(ctx context.Context, method string, at *url.URL, body io.Reader, length int64, header http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, at.String(), body)
	if err != nil {
		return nil, err
	}
	if length > 0 {
		r.ContentLength = length
	}
	for _, fields := range []http.Header{s.header, header} {
		for name, values := range fields {
			r.Header[name] = values
		}
	}
	r.Header.Set("Tus-Resumable", "1.0.0")
	r.Header.Set("User-Agent", "ifmatch-put")
	if s.user != nil {
		password, _ := s.user.Password()
		r.SetBasicAuth(s.user.Username(), password)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if s.failed != nil {
		if err == nil {
			answer.Body.Close()
		}
		return nil, s.failed
	}
	if err != nil {
		if failed := new(url.Error); errors.As(err, &failed) {
			err = failed.Err // it tells the URL, which has the secret of the upload
		}
		return nil, passingError{fmt.Errorf("the line is broken: %w", err)}
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil && answer.StatusCode/100 == 2 {
		return nil, passingError{fmt.Errorf("the line is broken: %w", err)}
	}
	return answer, s.judge(answer, string(text))
}

// judge returns the error of an answer, or nil for a success.
func (s *sender) judge(answer *http.Response, text string) error {
	status := answer.StatusCode
	why, told := reason(text)
	err := fmt.Errorf("the server answers %s: %s", answer.Status, excerpt.Of(why))
	switch {
	case status/100 == 2:
		return nil
	case status == http.StatusPreconditionFailed && answer.Header.Get("Tus-Version") == "":
		return &Refused{ETag: answer.Header.Get("ETag"), Detail: "the condition is not true"}
	case status == http.StatusNotFound && s.upload != nil, status == http.StatusGone:
		return endedError{fmt.Errorf("the upload has ended on the server: %w", err)}
	case status == http.StatusConflict && s.upload != nil, status == http.StatusLocked && s.upload != nil,
		status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status == http.StatusBadRequest && s.upload != nil,
		status >= 500 && status != http.StatusInsufficientStorage && status != http.StatusNotImplemented:
		return passingError{err}
	case status == http.StatusMethodNotAllowed && s.upload == nil && !told:
		return fmt.Errorf("%w (does it take uploads in parts?)", err)
	}
	return err
}

// reason returns the part of a refusal that is for people (RFC 9457), and reports whether there is one. Otherwise it
// returns the text.
func reason(text string) (why string, told bool) {
	var problem struct{ Detail string }
	if json.Unmarshal([]byte(text), &problem) == nil && problem.Detail != "" {
		return problem.Detail, true
	}
	return strings.TrimSpace(text), false
}
