package checkup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// clean makes a database that an earlier test has used empty.
func clean(dsn string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "drop schema if exists ifmatch cascade")
	return errors.Join(err, conn.Close(ctx))
}

// A findings is a [Sink] that remembers.
type findings struct{ good, notes, bad, told []string }

func (f *findings) Good(format string, args ...any) {
	f.good = append(f.good, fmt.Sprintf(format, args...))
}
func (f *findings) Note(what, _ string) { f.notes = append(f.notes, what) }
func (f *findings) Bad(what, _ string)  { f.bad = append(f.bad, what) }

// A patient is a tree in a database with objects in a directory.
type patient struct {
	dsn, dir string
	conn     *pgx.Conn
}

// sound makes a tree without faults: small and large files, a history and a removed tree.
func sound(t *testing.T) *patient {
	t.Helper()
	p := &patient{dsn: pgtest.Shared(t).Database(t, clean), dir: t.TempDir()}
	s := p.open(t)
	defer s.Close()
	ctx := t.Context()
	for _, dir := range []string{"d", "d/e", "gone"} {
		if _, err := s.Mkdir(ctx, dir, tree.MkdirOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"d/small", "d/e/large", "gone/large", "over", "over"} {
		content := strings.Repeat(name, 4)
		if strings.HasSuffix(name, "large") {
			content = strings.Repeat(name, 10_000)
		}
		content += uuid.NewString()
		_, _, err := s.Put(ctx, name, strings.NewReader(content), tree.PutOptions{Length: -1}, tree.Condition{})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Remove(ctx, "gone", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	var err error
	if p.conn, err = Connect(ctx, p.dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.conn.Close(context.Background()) })
	return p
}

func (p *patient) open(t *testing.T) *pgstore.Store {
	t.Helper()
	objects, err := blobs.NewDir(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := pgstore.Open(t.Context(), p.dsn, pgstore.Options{Blobs: objects, History: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// do runs a statement that makes a fault.
func (p *patient) do(sql string, args ...any) error {
	answer, err := p.conn.Exec(context.Background(), sql, args...)
	if err == nil && answer.RowsAffected() == 0 {
		err = errors.New("it has changed nothing")
	}
	return err
}

// object returns the file of the object of a file.
func (p *patient) object(name string) (string, error) {
	var id uuid.UUID
	err := p.conn.QueryRow(context.Background(), "select blob from ifmatch.node where name = $1 and place = 'o' and parent > 0",
		[]byte(name)).Scan(&id)
	return filepath.Join(p.dir, fmt.Sprintf("%02x", id[15]), id.String()), err
}

// look takes all looks but those of the settings, which are those of a server for tests.
func (p *patient) look(t *testing.T, fix bool) *findings {
	t.Helper()
	objects, err := blobs.NewDir(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	f := &findings{}
	c := &Checkup{Conn: p.conn, Objects: objects, To: f, Fix: fix, Verify: true, FeedLate: time.Millisecond}
	c.Told = func(name, what string) { f.told = append(f.told, name+" "+what) }
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.bad = slices.DeleteFunc(f.bad, func(s string) bool {
		return strings.Contains(s, "fsync") || strings.Contains(s, "full_page") || strings.Contains(s, "synchronous_commit")
	})
	return f
}

// inUseSQL makes a collection with the name that the collection e gets if it is recovered.
const inUseSQL = `insert into ifmatch.node (parent, name, kind, modified, created)
 select 1, convert_to('recovered-' || id, 'UTF8'), 'd', 0, now() from ifmatch.node where name = 'e' and kind = 'd'`

// TestFaults makes each fault, and looks for it. What can be mended is not found again.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault func(p *patient) error
		want  string // of what is bad, or else noted
		told  string // the name that is told
		mends bool
	}{
		{name: "no fault", fault: func(*patient) error { return nil }},
		{name: "no tables", want: "no tree", fault: func(p *patient) error { return clean(p.dsn) }},
		{name: "earlier tables", want: "earlier release", fault: func(p *patient) error {
			return p.do("delete from ifmatch.migration where version_id > 1")
		}},
		{name: "later tables", want: "later release", fault: func(p *patient) error {
			return p.do("insert into ifmatch.migration (version_id, is_applied) values (1000, true)")
		}},
		{name: "another place", want: "do not belong together", fault: func(p *patient) error {
			return p.do("update ifmatch.meta set store = gen_random_uuid()")
		}},
		{name: "an empty place", want: "--blobs is empty", fault: func(p *patient) error {
			p.dir += "-other"
			return os.Mkdir(p.dir, 0o700)
		}},
		{name: "a clock that was ahead", want: "behind the last change", fault: func(p *patient) error {
			return p.do("update ifmatch.change set at = (extract(epoch from now()) * 1e9)::bigint + 3600000000000")
		}},
		{name: "numbers that are given out twice", want: "table node has", mends: true, fault: func(p *patient) error {
			return p.do("select setval(pg_get_serial_sequence('ifmatch.node', 'id'), 2)")
		}},
		{name: "a number of two collections", want: "1 numbers are those of several collections", fault: func(p *patient) error {
			return p.do(`update ifmatch.node d set id = e.id from ifmatch.node e where d.name = 'd' and d.kind = 'd'
 and e.name = 'e' and e.kind = 'd'`)
		}},
		{name: "orphans", want: "1 resources are in 1 collections that are not there", mends: true,
			fault: func(p *patient) error {
				return p.do("delete from ifmatch.node where name = 'e' and kind = 'd'")
			}},
		{name: "a collection in itself", want: "1 collections are in 1 circles", mends: true, fault: func(p *patient) error {
			return p.do("update ifmatch.node set parent = id where name = 'e' and kind = 'd'")
		}},
		{name: "orphans whose name is in use", want: "1 resources are in 1 collections that are not there", mends: true,
			fault: func(p *patient) error {
				return errors.Join(p.do(inUseSQL), p.do("delete from ifmatch.node where name = 'e' and kind = 'd'"))
			}},
		{name: "a collection in itself whose name is in use", want: "1 collections are in 1 circles", mends: true,
			fault: func(p *patient) error {
				return errors.Join(p.do(inUseSQL), p.do("update ifmatch.node set parent = id where name = 'e' and kind = 'd'"))
			}},
		{name: "two collections in one another, and what is below", want: "3 collections are in 1 circles", mends: true,
			fault: func(p *patient) error {
				return errors.Join(p.do(`insert into ifmatch.node (parent, name, kind, modified, created)
 select id, 'below', 'd', 0, now() from ifmatch.node where name = 'e' and kind = 'd'`),
					p.do(`update ifmatch.node d set parent = e.id from ifmatch.node e where d.name = 'd' and d.kind = 'd'
 and e.name = 'e' and e.kind = 'd'`))
			}},
		{name: "a removed tree without its version", want: "1 removed trees", mends: true, fault: func(p *patient) error {
			return p.do("delete from ifmatch.version where kind = 'd'")
		}},
		{name: "a small content is missing", want: "contents in the database are missing", told: "d/small is missing",
			fault: func(p *patient) error {
				return p.do("delete from ifmatch.content where blob = (select blob from ifmatch.node where name = 'small')")
			}},
		{name: "a small content of the history is missing", want: "contents in the database are missing", told: "over (in the",
			fault: func(p *patient) error {
				return p.do("delete from ifmatch.content where blob = (select blob from ifmatch.version where kind = 'f')")
			}},
		{name: "an object is missing", want: "1 objects are missing", told: "d/e/large is missing",
			fault: func(p *patient) error {
				file, err := p.object("large")
				return errors.Join(err, os.Remove(file))
			}},
		{name: "an object that nothing refers to", want: "no row refers to 1 objects", mends: true,
			fault: func(p *patient) error {
				id := uuid.New()
				dir := filepath.Join(p.dir, fmt.Sprintf("%02x", id[15]))
				return errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, id.String()), []byte("x"), 0o600))
			}},
		{name: "a damaged small content", want: "contents are damaged", told: "d/small is damaged",
			fault: func(p *patient) error {
				return p.do(`update ifmatch.content set data = set_byte(data, 0, get_byte(data, 0) # 1)
 where blob = (select blob from ifmatch.node where name = 'small')`)
			}},
		{name: "a damaged object", want: "contents are damaged", told: "d/e/large is damaged", fault: func(p *patient) error {
			file, err := p.object("large")
			if err != nil {
				return err
			}
			content, err := os.ReadFile(file)
			return errors.Join(err, os.WriteFile(file, bytes.ToUpper(content), 0o600))
		}},
		{name: "half an object", want: "contents are damaged", told: "d/e/large is damaged", fault: func(p *patient) error {
			file, err := p.object("large")
			return errors.Join(err, os.Truncate(file, 1000))
		}},
		{name: "an object that cannot be read", want: "contents are damaged", told: "d/e/large is damaged",
			fault: func(p *patient) error {
				file, err := p.object("large")
				return errors.Join(err, os.Remove(file), os.Symlink(filepath.Base(file), file)) // to itself
			}},
		{name: "garbage that nobody removes", want: "looked after the tables", fault: func(p *patient) error {
			return p.do("insert into ifmatch.dead (blob, place, since) values (gen_random_uuid(), 'o', now() - interval '3 days')")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := sound(t)
			if err := test.fault(p); err != nil {
				t.Fatal(err)
			}
			found := p.look(t, false)
			has := func(all []string, want string) bool {
				return slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, want) })
			}
			if test.want == "" && len(found.bad) > 0 {
				t.Errorf("a sound tree has faults: %q", found.bad)
			}
			if !has(found.bad, test.want) && !has(found.notes, test.want) {
				t.Fatalf("it is not found: bad %q, notes %q", found.bad, found.notes)
			}
			if test.told != "" && !has(found.told, test.told) {
				t.Errorf("the names are %q, want %q", found.told, test.told)
			}
			if !test.mends {
				return
			}
			if fixed := p.look(t, true); len(fixed.bad) > 0 || !has(fixed.notes, strings.Fields(test.want)[1]) {
				t.Errorf("the repair finds %q, and notes %q", fixed.bad, fixed.notes)
			}
			if after := p.look(t, false); len(after.bad) > 0 {
				t.Errorf("after the repair it finds %q", after.bad)
			}
		})
	}
}

// A failing place is away after it has opened some objects.
type failing struct {
	blobs.Store
	left int
}

func (f *failing) Open(ctx context.Context, id blobs.ID, size, offset, n int64) (io.ReadCloser, error) {
	if f.left--; f.left < 0 {
		return nil, errors.New("it is away")
	}
	return f.Store.Open(ctx, id, size, offset, n)
}

// TestPlaceThatIsAwayIsNoDamage: no content is said to be damaged where none can be read.
func TestPlaceThatIsAwayIsNoDamage(t *testing.T) {
	p := sound(t)
	objects, err := blobs.NewDir(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	f := &findings{}
	c := &Checkup{Conn: p.conn, Objects: &failing{objects, 1}, To: f, Verify: true, Told: func(name, what string) {
		t.Errorf("%s %s", name, what)
	}}
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--blobs cannot be read: ") {
		t.Errorf("error %v, and it finds %q", err, f.bad)
	}
}

// A hasty place has one object out of its list, and refuses to open it some times.
type hasty struct {
	blobs.Store
	id     blobs.ID
	refuse int
}

func (h *hasty) List(ctx context.Context) iter.Seq2[blobs.ID, error] {
	return func(yield func(blobs.ID, error) bool) {
		for id, err := range h.Store.List(ctx) {
			if id != h.id && !yield(id, err) {
				return
			}
		}
	}
}

func (h *hasty) Open(ctx context.Context, id blobs.ID, size, offset, n int64) (io.ReadCloser, error) {
	if id == h.id && h.refuse > 0 {
		h.refuse--
		return nil, errors.New("slow down")
	}
	return h.Store.Open(ctx, id, size, offset, n)
}

// TestObjectThatIsRefusedOnce is not known to be there where it is only looked for, and is read again where it is verified.
func TestObjectThatIsRefusedOnce(t *testing.T) {
	p := sound(t)
	objects, err := blobs.NewDir(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	h := &hasty{Store: objects}
	if err := p.conn.QueryRow(t.Context(), "select blob from ifmatch.node where name = 'large' and parent > 0").Scan(&h.id); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		refuse int
		want   []string
	}{
		{0, nil},
		{1, []string{"of 1 objects it is not known whether they are missing, as of the object " + h.id.String() + ": slow down"}},
		// One time for the list, and one for its content.
		{2, []string{"of 1 objects it is not known whether they are missing, as of the object " + h.id.String() + ": slow down"}},
	} {
		f := &findings{}
		h.refuse = test.refuse
		c := &Checkup{Conn: p.conn, Objects: h, To: f, Verify: true, Told: func(name, what string) { t.Errorf("%s %s", name, what) }}
		err := c.Run(t.Context())
		bad := slices.DeleteFunc(f.bad, func(one string) bool { return !strings.Contains(one, "object") }) // of the settings, too
		if err != nil || !slices.Equal(bad, test.want) {
			t.Errorf("refused %d times: %q, want %q, error %v", test.refuse, bad, test.want, err)
		}
	}
}

// TestOrphansGetANameAgain, and their content with it.
func TestOrphansGetANameAgain(t *testing.T) {
	p := sound(t)
	var id int64
	if err := p.conn.QueryRow(t.Context(), "delete from ifmatch.node where name = 'e' returning id").Scan(&id); err != nil {
		t.Fatal(err)
	}
	p.look(t, true)
	s := p.open(t)
	defer s.Close()
	name := fmt.Sprintf("recovered-%d/large", id)
	content, state, err := s.Open(t.Context(), name, tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if n, err := content.WriteRange(t.Context(), io.Discard, 0, state.Size); err != nil || n != state.Size {
		t.Errorf("%d of %d bytes, error %v", n, state.Size, err)
	}
	if c, err := s.Latest(t.Context(), name); err != nil || c.Cause != "restore" {
		t.Errorf("followers are told %+v, error %v", c, err)
	}
}

// TestFeedIsHeldBack by a transaction that writes and does not end.
func TestFeedIsHeldBack(t *testing.T) {
	p := sound(t)
	other, err := pgx.Connect(t.Context(), p.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(t.Context())
	tx, err := other.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	if _, err := tx.Exec(t.Context(), "create temporary table x (); select pg_sleep(0.01)"); err != nil {
		t.Fatal(err)
	}
	if found := p.look(t, false); len(found.bad) != 1 || !strings.Contains(found.bad[0], "followers of changes wait") {
		t.Errorf("it finds %q", found.bad)
	}
}

func TestSettings(t *testing.T) {
	good := Settings{Version: 150018, Fsync: true, FullPages: true, Commit: "on", Autovacuum: true, Connections: 100, Locks: 64,
		Standbys: "*", Encoding: "UTF8", Connected: []Standby{{Sync: true}}}
	for name, test := range map[string]struct {
		change    func(*Settings)
		bad, note string
	}{
		"good":                       {func(*Settings) {}, "", ""},
		"old":                        {func(s *Settings) { s.Version = 140010 }, "has the version 14.10", ""},
		"a standby":                  {func(s *Settings) { s.Recovery = true }, "is a standby", ""},
		"fsync":                      {func(s *Settings) { s.Fsync = false }, "fsync is off", ""},
		"full pages":                 {func(s *Settings) { s.FullPages = false }, "full_page_writes is off", ""},
		"no commit":                  {func(s *Settings) { s.Commit = "off" }, "synchronous_commit is off", ""},
		"a local commit":             {func(s *Settings) { s.Commit = "local" }, "synchronous_commit is local", ""},
		"no vacuum":                  {func(s *Settings) { s.Autovacuum = false }, "autovacuum is off", ""},
		"another encoding":           {func(s *Settings) { s.Encoding = "LATIN1" }, "encoding of the database is LATIN1", ""},
		"few locks":                  {func(s *Settings) { s.Locks = 10 }, "room for 1000 locks", ""},
		"the clock":                  {func(s *Settings) { s.Clock = -time.Minute }, "off by -1m0s", ""},
		"no sync standby":            {func(s *Settings) { s.Connected[0].Sync = false }, "no synchronous standby", ""},
		"none":                       {func(s *Settings) { s.Connected, s.Standbys = nil, "" }, "", "there is no standby"},
		"asynchronous":               {func(s *Settings) { s.Standbys = "" }, "", "asynchronous"},
		"a role that may not see it": {func(s *Settings) { s.Connected[0] = Standby{Hidden: true} }, "", "may not see"},
	} {
		s, f := good, &findings{}
		s.Connected = slices.Clone(good.Connected)
		test.change(&s)
		s.judge(f)
		for what, got := range map[string][]string{test.bad: f.bad, test.note: f.notes} {
			if what == "" && len(got) > 0 && test.bad != test.note {
				t.Errorf("%s: it also says %q", name, got)
			}
			if what != "" && (len(got) != 1 || !strings.Contains(got[0], what)) {
				t.Errorf("%s: it says %q, want %q", name, got, what)
			}
		}
		if test.bad == test.note && len(f.bad)+len(f.notes) > 0 {
			t.Errorf("%s: it says %q and %q", name, f.bad, f.notes)
		}
	}
}

// TestConnectionOfADoctorIsBounded, as those of the servers are: a machine that is gone without a word is noticed.
func TestConnectionOfADoctorIsBounded(t *testing.T) {
	config, err := configOf("postgres://u@h/d")
	if err != nil {
		t.Fatal(err)
	}
	if config.ConnectTimeout == 0 || config.RuntimeParams["lock_timeout"] == "" ||
		config.RuntimeParams["application_name"] != "ifmatch doctor" {
		t.Errorf("it has the timeout %v, and %v", config.ConnectTimeout, config.RuntimeParams)
	}
}
