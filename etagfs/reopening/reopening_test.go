package reopening_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/etagfs/reopening"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A write that began before its directory went away is not committed to it: its client would be told of a success that
// nobody else sees.
func TestWritesUnderWayWhenTheDirectoryGoesAwayAreRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		then func(dir string) error // when it was moved away
	}{
		{"it is gone", func(string) error { return nil }},
		{"another one is in its place", func(dir string) error { return os.Mkdir(dir, 0o777) }},
		{"it is a file", func(dir string) error { return os.WriteFile(dir, nil, 0o666) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "served")
			if err := os.Mkdir(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			r := reopenTest(t, dir)
			body := io.MultiReader(strings.NewReader("one"), readerFunc(func([]byte) (int, error) {
				return 0, errors.Join(io.EOF, os.Rename(dir, dir+".away"), test.then(dir))
			}))
			_, _, err := r.Put(t.Context(), "f", eof{body}, tree.PutOptions{Length: -1}, tree.Condition{})
			if !errors.Is(err, tree.ErrUnavailable) {
				t.Errorf("got error %v", err)
			}
			if _, err := os.Stat(filepath.Join(dir+".away", "f")); err == nil {
				t.Error("it was committed")
			}
		})
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// eof makes io.EOF of an error that is one among others.
type eof struct{ io.Reader }

func (r eof) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.EOF
	}
	return n, err
}

func put(s tree.Store, name, content string) error {
	opts := tree.PutOptions{Length: int64(len(content))}
	_, _, err := s.Put(context.Background(), name, strings.NewReader(content), opts, tree.Condition{})
	return err
}

var patch = tree.Patch{Properties: []webdav.Proppatch{{Props: []webdav.Property{{
	XMLName: xml.Name{Space: "urn:test", Local: "p"}, InnerXML: []byte("1"),
}}}}}

// A write finds in its transaction that the directory, or the server's own state in it, was replaced. It is done in
// what is there now; the body of a PUT that was not begun is read there.
func TestWritesAreDoneInTheDirectoryThatTookItsPlace(t *testing.T) {
	writes := []struct {
		name string
		do   func(s tree.Store) error
	}{
		{"PUT", func(s tree.Store) error { return put(s, "g", "new") }},
		{"PUT over", func(s tree.Store) error { return put(s, "f", "new") }},
		{"MKCOL", func(s tree.Store) error {
			_, err := s.Mkdir(t.Context(), "c", tree.MkdirOptions{}, tree.Condition{})
			return err
		}},
		{"DELETE", func(s tree.Store) error { return s.Remove(t.Context(), "f", tree.Condition{}) }},
		{"MOVE", func(s tree.Store) error {
			_, _, err := s.Move(t.Context(), "f", "g", tree.CopyOptions{}, tree.Condition{})
			return err
		}},
		{"COPY", func(s tree.Store) error {
			_, _, err := s.Copy(t.Context(), "f", "g", tree.CopyOptions{}, tree.Condition{})
			return err
		}},
		{"LOCK", func(s tree.Store) error {
			_, _, err := s.Lock(t.Context(), tree.LockRequest{Root: "f", Timeout: time.Hour}, tree.Condition{})
			return err
		}},
		{"PROPPATCH", func(s tree.Store) error {
			return s.PatchProperties(t.Context(), "f", patch, tree.Condition{})
		}},
	}
	for _, test := range []struct {
		name string
		then func(dir string) error
		read bool // the body of a PUT is read before it is found out
	}{
		{"the state was removed", func(dir string) error { return os.RemoveAll(filepath.Join(dir, ".ifmatch")) },
			false},
		{"the state was replaced", func(dir string) error {
			state := filepath.Join(dir, ".ifmatch")
			return errors.Join(os.RemoveAll(state), os.Mkdir(state, 0o700))
		}, false},
		{"another directory is in its place", func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".away"), os.Mkdir(dir, 0o777),
				os.WriteFile(filepath.Join(dir, "f"), []byte("other"), 0o666))
		}, true},
	} {
		for _, w := range writes {
			t.Run(test.name+", "+w.name, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "served")
				if err := os.Mkdir(dir, 0o777); err != nil {
					t.Fatal(err)
				}
				r := reopenTest(t, dir)
				if err := errors.Join(put(r, "f", "old"), test.then(dir)); err != nil {
					t.Fatal(err)
				}
				err := w.do(r)
				if strings.HasPrefix(w.name, "PUT") && test.read {
					if !errors.Is(err, tree.ErrUnavailable) {
						t.Errorf("got error %v", err)
					}
					err = w.do(r) // as the client does
				}
				if err != nil {
					t.Errorf("got error %v", err)
				}
				if _, err := os.Stat(filepath.Join(dir, ".ifmatch", "lock")); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// reopenTest serves a directory until the test ends.
func reopenTest(t *testing.T, dir string) *reopening.Store {
	t.Helper()
	r, err := reopening.Open(reopening.Options{
		Dir: dir, State: ".ifmatch", Log: slog.New(slog.DiscardHandler),
		Open: func() (*etagfs.Store, error) {
			below, err := fs.Open(dir, fs.Options{})
			if err != nil {
				return nil, err
			}
			return etagfs.New(below, etagfs.Options{Report: func(error) {}})
		},
		Start: func(*etagfs.Store) func() { return func() {} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}
