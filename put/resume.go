package put

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A record lets a later run of the same command go on with an upload, also after a reboot. It is a file in the cache
// directory of the user. Without one, put works all the same, and begins anew.
type record struct {
	Upload  string    `json:"upload"`  // its URL
	Size    int64     `json:"size"`    // of the file, in bytes
	Changed time.Time `json:"changed"` // the modification time of the file
	Expires time.Time `json:"expires"` // when the server forgets the upload
}

// recordOf returns the name of the record for a file, a target, a user and a condition, or "" if there is no place for
// it.
func (s *sender) recordOf(file string) string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	if file, err = filepath.Abs(file); err != nil {
		return ""
	}
	key, err := json.Marshal([]any{file, s.target.String(), s.user.Username(), s.header})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(key)
	return filepath.Join(dir, "ifmatch", "put", hex.EncodeToString(sum[:])+".json")
}

// resume takes up the upload that an earlier run has left, if it is of this version of the file. One of another version
// ends.
func (s *sender) resume(ctx context.Context) {
	var left record
	data, err := os.ReadFile(s.record)
	if s.record == "" || err != nil || json.Unmarshal(data, &left) != nil {
		return
	}
	at, err := url.Parse(left.Upload)
	if err != nil || at.Host != s.target.Host || at.Scheme != s.target.Scheme {
		return
	}
	s.upload = at
	if left.Size != s.before.Size() || !left.Changed.Equal(s.before.ModTime()) {
		s.end(ctx)
		s.upload = nil
		return
	}
	s.resumed = true
}

// remember writes the record, as of an answer of the server.
func (s *sender) remember(answer *http.Response) {
	expires, err := http.ParseTime(answer.Header.Get("Upload-Expires"))
	if s.record == "" || err != nil {
		return
	}
	data, err := json.Marshal(&record{s.upload.String(), s.before.Size(), s.before.ModTime(), expires})
	if err != nil {
		return
	}
	if os.MkdirAll(filepath.Dir(s.record), 0o700) != nil {
		return
	}
	// On a server without users, the URL is all that it takes to go on with the upload: the record is for the user alone.
	fresh, err := os.CreateTemp(filepath.Dir(s.record), "*.new")
	if err != nil {
		return
	}
	_, err = fresh.Write(data)
	err = errors.Join(err, fresh.Close())
	if err == nil {
		err = os.Rename(fresh.Name(), s.record)
	}
	if err != nil {
		_ = os.Remove(fresh.Name())
		return
	}
	s.remembered = true
}

// forget removes the record, and those of uploads that have expired.
func (s *sender) forget() {
	s.remembered = false
	if s.record == "" {
		return
	}
	_ = os.Remove(s.record)
	dir := filepath.Dir(s.record)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		name, info := filepath.Join(dir, e.Name()), record{}
		if data, err := os.ReadFile(name); err == nil && strings.HasSuffix(name, ".json") &&
			json.Unmarshal(data, &info) == nil && info.Expires.Before(time.Now()) {
			_ = os.Remove(name)
		}
	}
}

// leave ends the upload after a failure, unless the same command can go on with it.
func (s *sender) leave(ctx context.Context, err error) {
	if s.remembered && (ctx.Err() != nil || errors.As(err, new(passingError))) {
		s.meter.Printf("what has been sent stays on the server for a while: the same command goes on with it")
		return
	}
	s.end(ctx)
	s.forget()
}

// endPatience is how long the end of an upload that has failed is waited for: a server that still reads the last part
// from a broken line takes up to ten seconds to leave it, and one that starts again takes its time too.
const endPatience = 20 * time.Second

// Left is the message about an upload that could not be ended.
const Left = "the server could not be asked to end the upload: what has been sent stays there until it expires"

// end ends an upload that has failed, so that its bytes do not lie on the server until they expire.
func (s *sender) end(ctx context.Context) {
	if s.upload == nil {
		return
	}
	s.failed = nil // it is not about this
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(endPatience, s.patience))
	defer cancel()
	for ctx.Err() == nil {
		_, err := s.ask(ctx, http.MethodDelete, s.upload, nil, 0, nil)
		if passing := new(passingError); !errors.As(err, passing) {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(s.pause):
		}
	}
	s.meter.Printf(Left)
}

// hashTo reads the file up to an offset, as far as this run has not sent it.
func (s *sender) hashTo(ctx context.Context, offset int64) error {
	r := &reader{s: s, at: s.hashed}
	buffer := make([]byte, 256<<10)
	for r.at < offset {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buffer[:min(int64(len(buffer)), offset-r.at)])
		if err != nil && (err != io.EOF || n == 0) {
			return err
		}
	}
	return nil
}

// errChanged says that the file has changed while it was sent.
var errChanged = errors.New("the file has changed while it was sent; nothing was replaced on the server; send it again")

// unchanged compares the file with its state at the start.
func (s *sender) unchanged() error {
	now, err := s.file.Stat()
	if err == nil && (now.Size() != s.before.Size() || !now.ModTime().Equal(s.before.ModTime())) {
		err = errChanged
	}
	return err
}
