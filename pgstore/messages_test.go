package pgstore_test

import (
	"context"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

var everyMessage = flag.Bool("every-message", false, "let each message be swallowed too, which takes half a second for each")

// A faultRig is a tree, a store that reaches it through a proxy, and another one that does not.
type faultRig struct {
	t       *testing.T
	ctx     context.Context
	through *pgstore.Store
	direct  *pgstore.Store
	conn    *pgx.Conn
	proxy   *proxy
	dsn     string
	blobs   blobs.Store
	token   string // of the lock on "locked"
}

func newFaultRig(t *testing.T, patience time.Duration) *faultRig {
	t.Helper()
	dir, err := blobs.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &faultRig{t: t, ctx: t.Context(), proxy: newProxy(t), dsn: pgtest.Shared(t).Database(t, clean), blobs: dir}
	r.direct = r.open(r.dsn, pgstore.Options{})
	r.through = r.openThrough(patience)
	if r.conn, err = pgx.Connect(t.Context(), r.dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.conn.Close(context.Background()) })
	return r
}

func (r *faultRig) open(dsn string, opts pgstore.Options) *pgstore.Store {
	r.t.Helper()
	opts.Blobs, opts.Inline = r.blobs, 64
	s, err := pgstore.Open(r.ctx, dsn, opts)
	r.must(err)
	r.t.Cleanup(func() { r.proxy.next(); s.Close() })
	return s
}

// openThrough opens a store that reaches the tree through the proxy.
func (r *faultRig) openThrough(patience time.Duration) *pgstore.Store {
	r.t.Helper()
	return r.open(r.proxy.through(r.dsn), pgstore.Options{MaxConns: 8, NoMigrate: true, Patience: patience})
}

func (r *faultRig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// lay makes the tree anew.
func (r *faultRig) lay() {
	r.t.Helper()
	_, err := r.conn.Exec(r.ctx, `delete from ifmatch.node where parent <> 0; delete from ifmatch.version;
 delete from ifmatch.gone; delete from ifmatch.davlock; delete from ifmatch.content; delete from ifmatch.upload`)
	r.must(err)
	for _, name := range []string{"tree", "tree/below"} {
		_, err = r.direct.Mkdir(r.ctx, name, tree.MkdirOptions{}, tree.Condition{})
		r.must(err)
	}
	_, _, err = r.direct.Copy(r.ctx, "tree", "gone", tree.CopyOptions{}, tree.Condition{})
	r.must(err)
	r.must(r.direct.Remove(r.ctx, "gone", tree.Condition{}))
	for _, name := range []string{"old", "tree/one", "tree/below/two", "locked"} {
		r.must(put(r.ctx, r.direct, name, "content of "+name, tree.Condition{}))
	}
	l, _, err := r.direct.Lock(r.ctx, tree.LockRequest{Root: "locked", Timeout: time.Hour}, tree.Condition{})
	r.must(err)
	r.token = l.Token
}

// state tells all that clients can see: the tree with its properties and locks, the history, and the feed by its length.
func (r *faultRig) state() string {
	r.t.Helper()
	var lines []string
	for s, err := range r.direct.List(r.ctx, "", tree.ListOptions{
		Depth: -1, Want: tree.WantTag | tree.WantLocks | tree.WantProperties,
	}, tree.Condition{}) {
		r.must(err)
		line := fmt.Sprintf("%s %s", s.Name, s.Tag)
		for _, p := range s.Properties {
			line += fmt.Sprintf(" %s=%s", p.XMLName.Local, p.InnerXML)
		}
		if len(s.Locks) > 0 {
			line += fmt.Sprintf(" %d locks", len(s.Locks))
		}
		lines = append(lines, line)
	}
	for v, err := range r.direct.Versions(r.ctx, "", tree.VersionOptions{}) {
		r.must(err)
		lines = append(lines, fmt.Sprintf("was %s %s %s", v.Name, v.Tag, v.Cause))
	}
	return strings.Join(lines, "\n")
}

// changes are those that a client makes, one after another on the same tree.
var faultyChanges = []struct {
	name string
	do   func(*faultRig, tree.Store) error
}{
	{"PUT of a new name", func(r *faultRig, s tree.Store) error { return put(r.ctx, s, "new", "new", treetest.IfAbsent("new")) }},
	{"PUT over", func(r *faultRig, s tree.Store) error { return put(r.ctx, s, "old", "new", tree.Condition{}) }},
	{"PUT If-Match", func(r *faultRig, s tree.Store) error {
		return put(r.ctx, s, "old", "new", treetest.IfTag("old", treetest.TagOf("content of old")))
	}},
	{"PUT of a large content", func(r *faultRig, s tree.Store) error {
		return put(r.ctx, s, "old", strings.Repeat("large", 100), tree.Condition{})
	}},
	{"DELETE of a file", func(r *faultRig, s tree.Store) error { return s.Remove(r.ctx, "old", tree.Condition{}) }},
	{"DELETE of a tree", func(r *faultRig, s tree.Store) error { return s.Remove(r.ctx, "tree", tree.Condition{}) }},
	{"MOVE of a file", func(r *faultRig, s tree.Store) error {
		_, _, err := s.Move(r.ctx, "old", "tree/one", tree.CopyOptions{}, tree.Condition{})
		return err
	}},
	{"MOVE of a tree", func(r *faultRig, s tree.Store) error {
		_, _, err := s.Move(r.ctx, "tree", "moved", tree.CopyOptions{NoOverwrite: true}, tree.Condition{})
		return err
	}},
	{"COPY of a tree", func(r *faultRig, s tree.Store) error {
		_, _, err := s.Copy(r.ctx, "tree", "copy", tree.CopyOptions{NoOverwrite: true}, tree.Condition{})
		return err
	}},
	{"LOCK", func(r *faultRig, s tree.Store) error {
		_, _, err := s.Lock(r.ctx, tree.LockRequest{Root: "tree", Infinite: true, Timeout: time.Hour}, tree.Condition{})
		return err
	}},
	{"LOCK of nothing", func(r *faultRig, s tree.Store) error {
		_, _, err := s.Lock(r.ctx, tree.LockRequest{Root: "new", Timeout: time.Hour}, tree.Condition{})
		return err
	}},
	{"UNLOCK", func(r *faultRig, s tree.Store) error { return s.Unlock(r.ctx, "locked", r.token, tree.Condition{}) }},
	{"PROPPATCH", func(r *faultRig, s tree.Store) error {
		return s.PatchProperties(r.ctx, "old", tree.Patch{Properties: []webdav.Proppatch{{Props: []webdav.Property{
			{XMLName: xml.Name{Space: "urn:x", Local: "color"}, InnerXML: []byte("red")},
		}}}}, tree.Condition{})
	}},
	{"MKCOL", func(r *faultRig, s tree.Store) error {
		_, err := s.Mkdir(r.ctx, "new", tree.MkdirOptions{}, tree.Condition{})
		return err
	}},
	{"restore of a tree", func(r *faultRig, s tree.Store) error {
		var id string
		for v, err := range s.Versions(r.ctx, "gone", tree.VersionOptions{}) {
			if err != nil {
				return err
			}
			if v.Name == "gone" {
				id = v.ID
			}
		}
		if id == "" {
			return errors.New("there is no version of a tree")
		}
		_, _, err := s.Restore(r.ctx, id, "restored", tree.RestoreOptions{NoOverwrite: true}, tree.Condition{})
		return err
	}},
	{"upload in parts", func(r *faultRig, s tree.Store) error {
		content := strings.Repeat("part", 100)
		u, err := s.(*pgstore.Store).NewUpload(r.ctx, "old", tree.UploadOptions{
			Length: int64(len(content)), Expires: time.Now().Add(time.Hour)}, tree.Condition{})
		if err != nil {
			return err
		}
		defer u.Close()
		if err := u.Append(r.ctx, strings.NewReader(content), tree.AppendOptions{}); err != nil {
			return err
		}
		_, _, err = u.Put(r.ctx, "old", tree.PutOptions{}, tree.Condition{})
		if err != nil && !isUnknown(err) {
			_ = u.Remove(r.ctx)
		}
		return err
	}},
}

func isUnknown(err error) bool { return strings.Contains(err.Error(), "the outcome is not known") }

// TestEachMessage: whichever message between a replica and the database is lost, late or swallowed, a change is made once
// and as a whole, or not at all. The client is told which, and hears that it is not known only if nobody can know.
func TestEachMessage(t *testing.T) {
	if *everyMessage {
		t.Run("swallowed", func(t *testing.T) { faultEach(t, newFaultRig(t, 500*time.Millisecond), swallowed) })
		t.Run("silent", func(t *testing.T) { faultEach(t, newFaultRig(t, 500*time.Millisecond), silent) })
	}
	r := newFaultRig(t, 0)
	for _, f := range []struct {
		name string
		fate fate
	}{{"lost", lost}, {"unheard", unheard}, {"slow", slow}} {
		t.Run(f.name, func(t *testing.T) { r.t = t; faultEach(t, r, f.fate) })
	}
}

func faultEach(t *testing.T, r *faultRig, f fate) {
	for _, change := range faultyChanges {
		r.lay()
		r.must(change.do(r, r.direct))
		wanted := strings.Split(r.state(), "\n")
		done, failed, n := 0, 0, 0
		for {
			r.lay()
			before := strings.Split(r.state(), "\n")
			r.proxy.next(append(slices.Repeat([]fate{answered}, n), f)...)
			err := change.do(r, r.through)
			met := r.proxy.hasMet()
			r.proxy.next()
			after := strings.Split(r.state(), "\n")
			if !met {
				// A slow machine can use up the patience that is set for messages which never come.
				for tries := 0; tries < 5 && errors.Is(err, tree.ErrUnavailable); tries++ {
					r.lay()
					err = change.do(r, r.through)
				}
				if err != nil {
					t.Errorf("%s without a fault: %v", change.name, err)
				}
				break
			}
			made, none := alike(after, before, wanted), slices.Equal(after, before)
			switch {
			case err == nil && made:
				done++
			case err != nil && none && (errors.Is(err, tree.ErrUnavailable) || errors.Is(err, tree.ErrBusy)):
				failed++
			case err != nil && isUnknown(err) && (made || none) && (f == swallowed || f == silent):
				failed++
			default:
				t.Errorf("%s, fault at message %d: the error is %v, and the tree is\n%s\nafter\n%s", change.name, n, err,
					strings.Join(after, "\n"), strings.Join(before, "\n"))
			}
			n++
		}
		t.Logf("%s: %d messages, %d made, %d refused with 503", change.name, n, done, failed)
		if n < 2 || done == 0 && f != swallowed && f != silent {
			t.Errorf("%s: %d messages, and %d changes were made", change.name, n, done)
		}
	}
}

// alike reports whether a state has come from before by the change that has made wanted of another one like it. The
// history of before is longer.
func alike(after, before, wanted []string) bool {
	now := func(lines []string) (tree []string, versions int) {
		for _, line := range lines {
			if strings.HasPrefix(line, "was ") {
				versions++
			} else {
				tree = append(tree, line)
			}
		}
		return tree, versions
	}
	is, versions := now(after)
	want, _ := now(wanted)
	was, old := now(before)
	return slices.Equal(is, want) && !slices.Equal(is, was) && versions >= old && versions <= old+1
}
