package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/auth/session"
	"r-seed-1f3a754f.example/ifmatch/auth/session/replicated"
	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/links"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestCommandsOverADatabase takes a directory into a database, works there as in a directory, and takes it out again.
func TestCommandsOverADatabase(t *testing.T) {
	dsn := pgtest.Run(t).Database(t, nil)
	dir := t.TempDir()
	blobs, from, to := filepath.Join(dir, "blobs"), filepath.Join(dir, "from"), filepath.Join(dir, "to")
	large := strings.Repeat("large", 10_000)
	for name, content := range map[string]string{"d/large": large, "small": "one"} {
		path := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(want int, wantOut string, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		app := newApp(&out, &out)
		err := app.RunContext(t.Context(), flagsFirst(app.Commands, append([]string{"ifmatch"}, args...)))
		if got := exitCode(err); got != want || !strings.Contains(out.String(), wantOut) {
			t.Fatalf("%q has status %d, error %v, and says\n%s\nwant status %d, and %q", args, got, err, &out, want, wantOut)
		}
		return out.String()
	}
	place := []string{"--store", dsn, "--blobs", "dir://" + blobs}
	with := func(args ...string) []string { return append(args, place...) }

	run(0, "those of this release", with("cluster", "init")...)
	run(0, "compared: 2 files have the same ETag, 0 differ", with("import", from)...)
	run(1, "", with("import", from)...) // the tree is not empty any more
	run(0, "2 files were there already", with("import", from, "--into")...)
	tag := run(0, `"`, "etag", filepath.Join(from, "d/large"))
	if got := run(0, `"`, with("etag", "/d/large")...); got != tag {
		t.Errorf("the tag is %s in the database, and %s in the directory", got, tag)
	}

	store, err := pgstore.Open(t.Context(), dsn, pgstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	opts := tree.PutOptions{Length: -1}
	if _, _, err := store.Put(t.Context(), "small", strings.NewReader("two"), opts, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	run(0, "1 version, 3 B", with("history", "list", "small")...)
	if got := run(0, "", with("history", "show", "/small")...); got != "one" {
		t.Errorf("the version is %q", got)
	}
	run(0, "was restored over the current version", with("history", "restore", "small")...)
	request := tree.LockRequest{Root: "small", Timeout: time.Hour}
	if _, _, err := store.Lock(t.Context(), request, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	run(0, `"/small"`, with("locks", "list")...)
	run(0, "broken: ", with("locks", "break", "/small")...)
	logins := session.New(replicated.New(store.Notes(replicated.Kind)), nil)
	if _, err := logins.Begin(t.Context(), session.Record{User: "ann", Proof: "x", Began: time.Now()}); err != nil {
		t.Fatal(err)
	}
	run(0, " ann ", "sessions", "list", "--store", dsn)
	run(1, "", "sessions", "end", "bob", "--store", dsn)
	run(0, "ended: ", "sessions", "end", "ann", "--store", dsn)
	if left := run(0, "", with("sessions", "list")...); left != "" {
		t.Errorf("there are still sessions:\n%s", left)
	}
	run(2, "", "sessions", "end", "--store", dsn)

	at := time.Now().UTC().Format(time.RFC3339Nano)
	if _, _, err := store.Put(t.Context(), "small", strings.NewReader("three"), opts, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	if err := store.Remove(t.Context(), "d", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	run(0, "1 file would get its former content", with("history", "restore", "/", "--at", at, "--dry-run")...)
	said := run(0, "1 file has its former content again", with("history", "restore", "/", "--at", at)...)
	if want := "to take this back: ifmatch history restore / --store '" + dsn + "' --at 2"; !strings.Contains(said, want) {
		t.Errorf("it says\n%s\nwant %q", said, want)
	}
	run(0, "would be deleted: ", with("history", "prune", "d", "--dry-run")...)
	run(0, "deleted: 1 version, ", with("history", "prune", "d")...)
	run(1, "", with("history", "show", "d")...)

	t.Run("users", func(t *testing.T) {
		usersOverADatabase(t, dsn, filepath.Join(dir, "users"), func(args ...string) { run(0, "", args...) })
	})
	run(0, "compared: 2 files have the same ETag, 0 names differ", with("export", to)...)
	if got, err := os.ReadFile(filepath.Join(to, "small")); err != nil || string(got) != "one" {
		t.Errorf("the mirror has %q, error %v", got, err)
	}
	run(0, "history ", with("cluster", "status")...)
	run(0, "none runs", with("cluster", "status")...)
	run(1, "4 contents were read", with("doctor", "--verify")...) // the server of tests does not sync
	run(2, "", "import", from, "--store", "postgres://u:secret@h/d", "--blobs", "dir://"+blobs)
}

// usersOverADatabase: the share links in the database stay with a user who gets a new password, and end with the
// user. So do those of an earlier user of that name.
func usersOverADatabase(t *testing.T, dsn, users string, run func(args ...string)) {
	shelf, closed, err := openShelf(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer closed()
	const before, other = "$2a$04$4NPtG9SnUkkykmP0X2whze5iZbQ78XY/PGYEG/HvK35rDcWxp/5DG", "*"
	if err := os.WriteFile(users, []byte("ann:"+before+"\nbob:"+other+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("link", "create", "ann", "/d", "--users", users, "--store", dsn)
	run("link", "create", "bob", "/d", "--users", users, "--store", dsn)
	book := links.NewBook(func() string { return users }, shelf, time.Now)
	valid := func(name string) (valid, all int) {
		t.Helper()
		text, err := os.ReadFile(users)
		if err != nil {
			t.Fatal(err)
		}
		now, err := auth.ParseUsers(string(text), true)
		if err != nil {
			t.Fatal(err)
		}
		list, err := book.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range list.Of(name) {
			if all++; now.Holds(name, link.Account) {
				valid++
			}
		}
		return valid, all
	}
	want := func(about, name string, links, of int) {
		t.Helper()
		if got, all := valid(name); got != links || all != of {
			t.Errorf("%s: %s has %d links, of %d in the database, want %d of %d", about, name, got, all, links, of)
		}
	}
	want("at first", "ann", 1, 1)
	run("user", "passwd", "ann", "--no-password", "--users", users, "--store", dsn)
	want("with a new password", "ann", 1, 1)
	run("user", "remove", "ann", "--users", users)
	want("removed without --store", "ann", 0, 1)
	run("user", "add", "ann", "--no-password", "--users", users, "--store", dsn)
	want("another ann", "ann", 0, 0)
	run("user", "remove", "bob", "--users", users, "--store", dsn)
	want("removed", "bob", 0, 0)
}
