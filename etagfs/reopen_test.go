package etagfs_test

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ifmatch/etagfs"
	"ifmatch/fs"
	"ifmatch/tree"
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
			r, err := etagfs.Reopen(etagfs.ReopenOptions{
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
			defer r.Close()
			body := io.MultiReader(strings.NewReader("one"), readerFunc(func([]byte) (int, error) {
				return 0, errors.Join(io.EOF, os.Rename(dir, dir+".away"), test.then(dir))
			}))
			_, _, err = r.Put(ctx, "f", eof{body}, tree.PutOptions{Length: -1}, tree.Condition{})
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
