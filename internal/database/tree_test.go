package database

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
)

// TestCommandsMakeNothingAmongObjects: another user than that of the servers may run a command, and what it made in their
// directory would be in their way. So would a directory at a name that was mistyped.
func TestCommandsMakeNothingAmongObjects(t *testing.T) {
	dir := t.TempDir()
	place := Place{Store: pgtest.Run(t).DSN("postgres"), Blobs: "dir://" + filepath.Join(dir, "blobs")}
	names := func() (all []string) {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			all = append(all, path)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if _, err := place.Tree(t.Context()); err == nil || len(names()) > 1 {
		t.Errorf("a tree that is not there is opened with the error %v, and %q is made", err, names()[1:])
	}
	server, err := place.Open(t.Context(), pgstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	before := names()
	for range 3 { // a probe has a random name
		command, err := place.Tree(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		command.Close()
	}
	place.Blobs += "-mistyped"
	if _, err := place.Tree(t.Context()); err == nil {
		t.Error("a place that is not there is taken")
	}
	if after := names(); !slices.Equal(after, before) {
		t.Errorf("the commands have made %q of %q", after, before)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	place.Blobs = "dir://" + filepath.Join(dir, "file")
	if _, err := place.Tree(t.Context()); err == nil {
		t.Error("a file is taken for a directory")
	}
}
