package main

import (
	"bytes"
	"context"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/database"
	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A killable is a command that is killed and started again.
type killable struct {
	t    *testing.T
	args []string
	out  bytes.Buffer // of the last run
}

// kill runs the command until something is so, kills it then, and reports whether it was still running.
func (k *killable) kill(isSo func() bool) bool {
	k.t.Helper()
	cmd := exec.Command("ifmatch", k.args...)
	k.out.Reset()
	cmd.Stdout, cmd.Stderr = &k.out, &k.out
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for end := time.Now().Add(servertest.Patience); !isSo(); time.Sleep(time.Millisecond) {
		select {
		case err := <-ended:
			k.t.Logf("%s ended before it was killed: %v\n%s", k.args[0], err, &k.out)
			return false
		default:
		}
		if time.Now().After(end) {
			k.t.Fatalf("%s does not come so far", k.args[0])
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		k.t.Fatal(err)
	}
	return (<-ended).(*exec.ExitError).ExitCode() == -1
}

// finish runs the command to its end, and returns what it says.
func (k *killable) finish() string {
	k.t.Helper()
	out, err := exec.Command("ifmatch", k.args...).CombinedOutput()
	if err != nil {
		k.t.Fatalf("%s: %v\n%s", k.args[0], err, out)
	}
	return string(out)
}

// fillDir makes files and directories: every seventh file is large.
func fillDir(t *testing.T, dir string, count int) {
	t.Helper()
	for i := range count {
		path := filepath.Join(dir, fmt.Sprint("d", i%10), fmt.Sprint("e", i%3), fmt.Sprint("f", i))
		content, mode := fmt.Sprint("file ", i), os.FileMode(0o644)
		if i%7 == 0 {
			content += strings.Repeat("large", 20_000)
		}
		if i%5 == 0 {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
}

// TestImportAndExportAreKilled: an import and an export that are killed at several points, and started again each time, end
// with the same tree. Nothing was made twice, and nothing is left over.
func TestImportAndExportAreKilled(t *testing.T) {
	const files = 200
	points := []int{1, 120}
	if *outages > 1 {
		points = []int{1, 20, 21, 90, 180}
	}
	dsn := pgtest.Run(t).Database(t, nil)
	dir := t.TempDir()
	from, to, objects := filepath.Join(dir, "from"), filepath.Join(dir, "to"), filepath.Join(dir, "blobs")
	fillDir(t, from, files)
	want := filesOf(t, from)
	place := []string{"--store", dsn, "--blobs", "dir://" + objects}
	(&killable{t: t, args: append([]string{"cluster", "init"}, place...)}).finish()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	count := func(what string) (n int) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), "select count(*) from ifmatch."+what).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}

	killed := 0
	importing := &killable{t: t, args: append([]string{"import", from}, place...)}
	for _, point := range points {
		if importing.kill(func() bool { return count("node") >= point }) {
			killed++
		}
	}
	said := importing.finish()
	if known := numberIn(t, said, `(\d+) files? (?:was|were) there already`); killed < len(points)-1 || known == 0 {
		t.Errorf("killed %d times, and the last import has found %d files:\n%s", killed, known, said)
	}
	wantSame(t, dsn, objects, want)
	if nodes, versions := count("node where name <> ''"), count("version"); nodes != len(want)-1 || versions != 0 {
		t.Errorf("there are %d resources, want %d, and %d old versions, want none", nodes, len(want)-1, versions)
	}
	wantKnownObjects(t, conn, objects)

	killed = 0
	exporting := &killable{t: t, args: append([]string{"export", to}, place...)}
	var before map[string]os.FileInfo
	for _, point := range points {
		if exporting.kill(func() bool { return len(filesIn(to)) >= point }) {
			killed++
		}
		now := filesIn(to)
		for name, info := range before {
			if now[name] == nil || !os.SameFile(now[name], info) {
				t.Errorf("%s was exported twice", name)
			}
		}
		before = now
	}
	said = exporting.finish()
	if fetched := numberIn(t, said, `(\d+) files? (?:was|were) fetched`); killed < len(points)-1 || fetched != files-len(before) {
		t.Errorf("killed %d times with %d files there, and the last export has fetched %d:\n%s", killed, len(before), fetched, said)
	}
	got := filesOf(t, to)
	maps.DeleteFunc(got, func(name, _ string) bool { return strings.HasPrefix(name, ".ifmatch-export") })
	if n, some := treeDifferences(got, want); n > 0 {
		t.Errorf("%d names differ: %q", n, some)
	}
	state, err := os.ReadDir(filepath.Join(to, ".ifmatch-export"))
	if err != nil || len(state) != 2 {
		t.Errorf("the state of the mirror has %v, error %v", state, err)
	}
}

// numberIn returns the number in an output.
func numberIn(t *testing.T, said, pattern string) int {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(said)
	if found == nil {
		t.Fatalf("%q does not match %s", said, pattern)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// wantSame compares the tags in a database with the files that they are to be of.
func wantSame(t *testing.T, dsn, objects string, want map[string]string) {
	t.Helper()
	got, listed := map[string]string{"/": "collection"}, map[string]string{"/": "collection"}
	store := openPlace(t, dsn, objects)
	for s, err := range store.List(t.Context(), "", tree.ListOptions{Depth: -1, Want: tree.WantTag}, tree.Condition{}) {
		switch {
		case err != nil:
			t.Fatal(err)
		case s.Collection:
			got["/"+s.Name] = "collection"
		default:
			got["/"+s.Name] = string(s.Tag)
		}
	}
	for name, content := range want {
		if content == "/" {
			listed["/"+strings.TrimPrefix(name, ".")] = "collection"
		} else {
			listed["/"+name] = contentTag(content[1:])
		}
	}
	if !maps.Equal(got, listed) {
		t.Error(differences(got, listed))
	}
}

func openPlace(t *testing.T, dsn, objects string) *pgstore.Store {
	t.Helper()
	store, err := (database.Place{Store: dsn, Blobs: "dir://" + objects}).Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// wantKnownObjects looks for objects that no row names: the servers would never remove them.
func wantKnownObjects(t *testing.T, conn *pgx.Conn, objects string) {
	t.Helper()
	rows, err := conn.Query(t.Context(), `select blob::text from ifmatch.node where place = 'o'
 union select blob::text from ifmatch.dead union select store::text from ifmatch.meta`)
	if err != nil {
		t.Fatal(err)
	}
	known, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for name := range filesIn(objects) {
		if strings.Count(filepath.Base(name), "-") == 4 { // a UUID
			if found++; !slices.Contains(known, filepath.Base(name)) {
				t.Errorf("the object %s is known to no row", name)
			}
		}
	}
	if found == 0 {
		t.Errorf("there are no objects in %v", slices.Collect(maps.Keys(filesIn(objects))))
	}
}

// filesIn returns the regular files below a directory by name, but for those of the state of a mirror.
func filesIn(dir string) map[string]os.FileInfo {
	found := map[string]os.FileInfo{}
	_ = filepath.WalkDir(dir, func(path string, e iofs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // it is not there yet
		case e.Name() == ".ifmatch-export":
			return filepath.SkipDir
		case e.Type().IsRegular():
			if info, err := e.Info(); err == nil {
				found[path] = info
			}
		}
		return nil
	})
	return found
}
