package checkup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/schema"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// tagsOf returns a line for each resource of a tree, and for each of its versions.
func tagsOf(t *testing.T, s tree.Store) (all []string) {
	t.Helper()
	opts := tree.ListOptions{Depth: -1, Want: tree.WantTag | tree.WantProperties}
	for r, err := range s.List(t.Context(), "", opts, tree.Condition{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(r.Name, " ", r.Tag, r.Modified.Unix(), r.Properties))
	}
	for v, err := range s.Versions(t.Context(), "", tree.VersionOptions{Want: tree.WantTag}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(v.ID, " ", v.Name, " ", v.Tag))
	}
	slices.Sort(all)
	return all
}

// run runs a program of PostgreSQL.
func run(t *testing.T, input []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(pgtest.Shared(t).Tool(name), args...)
	cmd.Stdin = bytes.NewReader(input)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, said.Bytes())
	}
	return out
}

// age has the server of a database begin more transactions than a new server has, and forget the first changes.
func (p *patient) age() error {
	_, err := p.conn.Exec(context.Background(), `do $$ begin
 for i in 1..5000 loop perform pg_current_xact_id(); commit; end loop; end $$`)
	return errors.Join(err, p.do(`with c as (delete from ifmatch.change where seq = 1 returning xid, seq)
 update ifmatch.meta set forgotten_xid = c.xid, forgotten_seq = c.seq from c`))
}

// TestRestoreDrill: a dump of the database, and a copy of the objects that was made after it, give the same tree with the
// same tags on another server. Clients that follow changes list anew, and learn of each change from then on.
func TestRestoreDrill(t *testing.T) {
	from := sound(t)
	if err := from.age(); err != nil {
		t.Fatal(err)
	}
	s := from.open(t)
	early := strings.NewReader("its change has a number that the other server has not come to yet")
	if _, _, err := s.Put(t.Context(), "over", early, tree.PutOptions{Length: -1}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Notes("session").Put(t.Context(), "login", []byte("x"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	cursor, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := tagsOf(t, s)
	dump := run(t, nil, "pg_dump", "--no-owner", from.dsn)
	// What happens between the two is not in the dump. Its objects do no harm.
	large := strings.NewReader(strings.Repeat("later", 10_000))
	if _, _, err := s.Put(t.Context(), "later", large, tree.PutOptions{Length: -1}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), "d", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	to := &patient{dsn: pgtest.Run(t).Database(t, clean), dir: t.TempDir()}
	if err := os.CopyFS(to.dir, os.DirFS(from.dir)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, dump, "psql", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", to.dsn)
	if to.conn, err = Connect(t.Context(), to.dsn); err != nil {
		t.Fatal(err)
	}
	defer to.conn.Close(t.Context())
	to.refuses(t) // for the numbers of transactions
	for _, column := range []string{"'ifmatch.node', 'id'", "'ifmatch.version', 'id'", "'ifmatch.change', 'seq'"} {
		// Logical replication leaves sequences as they were made.
		if _, err := to.conn.Exec(t.Context(), "select setval(pg_get_serial_sequence("+column+"), 1, false)"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Restored(t.Context(), to.conn); err != nil {
		t.Fatal(err)
	}
	if found := to.look(t, false); len(found.bad) != 1 || !strings.Contains(found.bad[0], "no row refers to 1 objects") {
		t.Errorf("after the restore it finds %q", found.bad)
	}
	if found := to.look(t, true); len(found.bad) > 0 {
		t.Errorf("the repair finds %q", found.bad)
	}
	restored := to.open(t)
	defer restored.Close()
	if got := tagsOf(t, restored); !slices.Equal(got, want) {
		t.Errorf("the restored tree is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, err := range restored.Changes(t.Context(), cursor, "") {
		if !errors.Is(err, tree.ErrNotExist) {
			t.Errorf("a cursor of before is taken: %v", err)
		}
		break
	}
	if _, err := restored.Notes("session").Get(t.Context(), "login"); err == nil {
		t.Error("a login of before is taken")
	}
	followed(t, restored)
	var twice int
	if err := to.conn.QueryRow(t.Context(), `select (select count(*) - count(distinct id) from ifmatch.node) +
 (select count(*) - count(distinct seq) from ifmatch.change)`).Scan(&twice); err != nil || twice != 0 {
		t.Errorf("%d numbers are given out twice, %v", twice, err)
	}
}

// refuses expects that no server starts, and that a doctor says why.
func (p *patient) refuses(t *testing.T) {
	t.Helper()
	_, err := pgstore.Open(t.Context(), p.dsn, pgstore.Options{})
	if !errors.Is(err, schema.ErrDumped) {
		t.Errorf("a server starts with the numbers of another: %v", err)
	}
	_, err = p.conn.Exec(t.Context(), `do $$ begin
 while exists (select from pg_stat_activity where datname = current_database() and application_name = 'ifmatch') loop
  perform pg_sleep(0.01), pg_stat_clear_snapshot(); end loop; end $$`) // its connections end
	if err != nil {
		t.Fatal(err)
	}
	if found := p.look(t, false); !slices.Contains(found.bad, schema.ErrDumped.Error()) {
		t.Errorf("a doctor finds %q", found.bad)
	}
}

// followed expects that a follower who begins now is told of what is done after that, and of nothing else, and that what
// was done before the backup can be undone.
func followed(t *testing.T, s *pgstore.Store) {
	t.Helper()
	begun, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Mkdir(t.Context(), "new", tree.MkdirOptions{}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	until, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for c, err := range s.Changes(t.Context(), begun, until) {
		if err != nil {
			t.Fatal(err)
		}
		told = append(told, c.Name)
	}
	if !slices.Equal(told, []string{"new"}) {
		t.Errorf("a follower is told of %q", told)
	}
	was, err := s.RestoreAt(t.Context(), "over", time.Now().Add(-time.Hour), tree.RestoreAtOptions{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if was.Removed != 1 {
		t.Errorf("before its first change it was %+v", was)
	}
}

// TestReplicatedWithoutSequences: a server that has begun more transactions than the one of before gives out no number twice
// where the tables came by logical replication, which leaves sequences as they were made. It does not start.
func TestReplicatedWithoutSequences(t *testing.T) {
	for _, column := range []string{"'ifmatch.version', 'id'", "'ifmatch.change', 'seq'"} {
		p := sound(t)
		if err := p.do("select setval(pg_get_serial_sequence(" + column + "), 1, false)"); err != nil {
			t.Fatal(err)
		}
		p.refuses(t)
		if _, err := Restored(t.Context(), p.conn); err != nil {
			t.Fatal(err)
		}
		if err := p.open(t).Close(); err != nil {
			t.Errorf("with the sequence of %s set: %v", column, err)
		}
	}
}

// TestRestoreWithoutItsObjects is found before a server starts.
func TestRestoreWithoutItsObjects(t *testing.T) {
	p := sound(t)
	file, err := p.object("large")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(file)); err != nil {
		t.Fatal(err)
	}
	found := p.look(t, false)
	if !slices.ContainsFunc(found.told, func(s string) bool { return strings.HasPrefix(s, "d/e/large ") }) {
		t.Errorf("it tells %q", found.told)
	}
}

// TestRestoredIsRefusedBesideServers, which would go on with the epoch of before.
func TestRestoredIsRefusedBesideServers(t *testing.T) {
	p := sound(t)
	s := p.open(t)
	if _, err := Restored(t.Context(), p.conn); !errors.Is(err, ErrInUse) {
		t.Errorf("beside a server: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFollowersNoticeARestore: a process that was connected all the time gives no cursor of the epoch before.
func TestFollowersNoticeARestore(t *testing.T) {
	p := sound(t)
	s := p.open(t)
	defer s.Close()
	before, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.do("update ifmatch.meta set epoch = gen_random_uuid()"); err != nil {
		t.Fatal(err)
	}
	after, err := s.Now(t.Context())
	if err != nil || after == before {
		t.Errorf("the cursor is still %s, error %v", after, err)
	}
	for _, err := range s.Changes(t.Context(), before, after) {
		if !errors.Is(err, tree.ErrNotExist) {
			t.Errorf("the cursor of before: %v", err)
		}
	}
}

// TestRestoredAfterAClockThatWasAhead: servers write again, and do not wait for the time of the last change.
func TestRestoredAfterAClockThatWasAhead(t *testing.T) {
	p := sound(t)
	err := errors.Join(p.do("update ifmatch.change set at = at + 3600000000000"),
		p.do("update ifmatch.version set gone = gone + interval '1 hour'"))
	if err != nil {
		t.Fatal(err)
	}
	write := func() error {
		s := p.open(t)
		defer s.Close()
		_, _, err := s.Put(t.Context(), "over", strings.NewReader("new"), tree.PutOptions{Length: -1}, tree.Condition{})
		return err
	}
	if err := write(); !errors.Is(err, tree.ErrUnavailable) {
		t.Errorf("a write before the last change: error %v", err)
	}
	_, err = Restored(t.Context(), p.conn)
	for errors.Is(err, ErrInUse) { // the connections end a moment later
		_, err = Restored(t.Context(), p.conn)
	}
	if err != nil {
		t.Fatal(err)
	}
	// An undo as of a time would take a version that gives way later for one of a change after that time.
	var later int
	if err := p.conn.QueryRow(t.Context(), "select count(*) from ifmatch.version where gone > now()").Scan(&later); err != nil || later > 0 {
		t.Errorf("%d versions give way in the future, error %v", later, err)
	}
	if err := write(); err != nil {
		t.Error(err)
	}
}

// TestStatus tells what there is, to a role with all rights.
func TestStatus(t *testing.T) {
	p := sound(t)
	s := p.open(t)
	defer s.Close()
	var out bytes.Buffer
	if err := Status(t.Context(), p.conn, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"database ", "none is connected", "epoch ", "\"ifmatch\" from ", "table node ", "history ", " 2 versions", "feed ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
}

// TestStatusOfALongHistory counts some of it, and says so.
func TestStatusOfALongHistory(t *testing.T) {
	p := sound(t)
	err := p.do(fmt.Sprintf(`insert into ifmatch.version (size, modified, created, gone, kind, cause, executable, path,
 principal) select 1000, 0, now(), now(), 'd', 'DELETE', false, 'x', '' from generate_series(1, %d)`, mostCounted+5))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Status(t.Context(), p.conn, &out); err != nil {
		t.Fatal(err)
	}
	if want := "more than 100000 versions, more than 100 MB in files, since "; !strings.Contains(out.String(), want) {
		t.Errorf("%q is missing in\n%s", want, &out)
	}
}

// TestRoleWithoutRightsOnSequences is told that their numbers were not looked at, and all else is.
func TestRoleWithoutRightsOnSequences(t *testing.T) {
	p := sound(t)
	err := p.do(`do $$ begin
 begin create role reader login; exception when duplicate_object then null; end;
 grant usage on schema ifmatch to reader; grant select on all tables in schema ifmatch to reader; end $$; select 1`)
	if err != nil {
		t.Fatal(err)
	}
	if p.conn, err = Connect(t.Context(), strings.Replace(p.dsn, "ifmatch@", "reader@", 1)); err != nil {
		t.Fatal(err)
	}
	defer p.conn.Close(t.Context())
	found := p.look(t, false)
	if len(found.bad) > 0 {
		t.Errorf("it finds %q", found.bad)
	}
	for _, one := range numbered {
		want := "may not read the sequence of table " + one.table
		if !slices.ContainsFunc(found.notes, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("nothing of %q in %q", want, found.notes)
		}
	}
}
