package pgstore

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestListingIsBounded: a listing has only some of the properties in memory at once, misses none of them, and tells that
// it is too long before its first resource all the same.
func TestListingIsBounded(t *testing.T) {
	const members, size = 300, 60 << 10
	ctx := t.Context()
	s, err := Open(ctx, pgtest.Shared(t).Database(t, CleanDatabase), Options{MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	const top = "listing"
	if _, err := s.Mkdir(ctx, top, tree.MkdirOptions{}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	value := bytes.Repeat([]byte("v"), size)
	for i := range members {
		dir := fmt.Sprint(top, "/", i)
		if _, err := s.Mkdir(ctx, dir, tree.MkdirOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		patch := webdav.Proppatch{Props: []webdav.Property{{XMLName: xml.Name{Space: "x:", Local: "p"}, InnerXML: value}}}
		err := s.PatchProperties(ctx, dir, tree.Patch{Properties: []webdav.Proppatch{patch}}, tree.Condition{})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		depth, limit int
		want         error
	}{{1, 0, nil}, {-1, 0, nil}, {-1, members, nil}, {-1, members - 1, tree.ErrTooMany}} {
		t.Run(fmt.Sprintf("depth %d, limit %d", test.depth, test.limit), func(t *testing.T) {
			l := newListing(s, tree.ListOptions{Want: tree.WantProperties, Depth: test.depth, Limit: test.limit})
			more, err := l.begin(ctx, top, tree.Condition{})
			if !errors.Is(err, test.want) {
				t.Fatalf("the error is %v, want %v", err, test.want)
			}
			found := 0
			for ; err == nil; more, err = l.goOn(ctx) {
				held := 0
				for _, state := range l.ready {
					for _, p := range state.Properties {
						held += len(p.InnerXML)
						found++
					}
				}
				if most := 2 * pageBytes; held > most {
					t.Errorf("%d bytes of properties are in memory, want at most %d", held, most)
				}
				if l.ready = nil; !more {
					break
				}
			}
			if test.want == nil && (err != nil || found != members) {
				t.Errorf("%d properties are listed, want %d, error %v", found, members, err)
			}
		})
	}
}

// TestListingOfLongNamesIsBounded: a MOVE takes collections to where their members have names that are too long for a
// request. A listing has none of these, and only some of the longest others in memory at once.
func TestListingOfLongNamesIsBounded(t *testing.T) {
	const members, levels = 5000, 15
	ctx := t.Context()
	dsn := pgtest.Shared(t).Database(t, CleanDatabase)
	s, err := Open(ctx, dsn, Options{MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	segment := strings.Repeat("s", maxSegment)
	chain := strings.Repeat(segment+"/", levels-1) + segment
	for _, top := range []string{"long", "above"} {
		for _, dir := range tree.Prefixes(top + "/" + chain)[1:] {
			if _, err := s.Mkdir(ctx, dir, tree.MkdirOptions{}, tree.Condition{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, err = s.pool.Exec(ctx, `insert into ifmatch.node (parent, name, kind, size, modified, created)
 select (select max(id) from ifmatch.node), convert_to(lpad(i::text, 200, 'm'), 'UTF8'), 'd', 0, 0, now()
 from generate_series(1, $1::int) i`, members)
	if err != nil {
		t.Fatal(err)
	}
	list := func(top string) (found int) {
		t.Helper()
		l := newListing(s, tree.ListOptions{Depth: -1})
		more, err := l.begin(ctx, top, tree.Condition{})
		for ; err == nil; more, err = l.goOn(ctx) {
			held := 0
			for _, state := range l.ready {
				if held += len(state.Name); len(state.Name) > tree.MaxName {
					t.Errorf("a name of %d bytes is listed", len(state.Name))
				}
			}
			if most := pageBytes + tree.MaxName; held > most {
				t.Errorf("%d bytes of names are in memory, want at most %d", held, most)
			}
			found += len(l.ready)
			if l.ready = nil; !more {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found, want := list("above"), 1+levels+members; found != want {
		t.Errorf("%d resources are listed, want %d", found, want)
	}
	for _, limit := range []int{levels + members, levels + members - 1} {
		l := newListing(s, tree.ListOptions{Depth: -1, Limit: limit})
		if _, err := l.begin(ctx, "above", tree.Condition{}); errors.Is(err, tree.ErrTooMany) != (limit < levels+members) {
			t.Errorf("at most %d resources: error %v", limit, err)
		}
	}
	if _, _, err := s.Move(ctx, "above", "long/"+segment+"/below", tree.CopyOptions{}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	if found, want := list("long"), 1+levels+1+levels-1; found != want {
		t.Errorf("below the moved collection, %d resources are listed, want %d", found, want)
	}
	if err := s.Remove(ctx, "long", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	walkVersions(t, s, tree.VersionOptions{})
}

// TestListingOfACollectionThatIsMovedMeanwhile: such a one can be found under both names. It is listed under each, and the
// listing ends.
func TestListingOfACollectionThatIsMovedMeanwhile(t *testing.T) {
	ctx := t.Context()
	s, err := Open(ctx, pgtest.Shared(t).Database(t, CleanDatabase), Options{MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	var want []string
	for _, name := range []string{"moving", "moving/1", "moving/2", "moving/3", "moving/4", "moving/5"} {
		if _, err := s.Mkdir(ctx, name, tree.MkdirOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		if base, below := strings.CutPrefix(name, "moving/"); below {
			want = append(want, "from/"+base, "to/"+base)
		}
	}
	slices.Sort(want)
	sn, err := s.look(ctx, wish{names: []string{"moving"}})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := s.acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for _, properties := range []tree.Want{0, tree.WantProperties} {
		l := newListing(s, tree.ListOptions{Want: properties, Depth: 1})
		l.page, l.depth = 3, 0
		l.level = []*listed{{"from", *sn.nodes["moving"]}, {"to", *sn.nodes["moving"]}}
		for more := true; more && len(l.ready) <= len(want); {
			if more, err = l.read(ctx, conn.Conn()); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for _, state := range l.ready {
			got = append(got, state.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("it lists %q, want %q", got, want)
		}
	}
}

// walkVersions expects no name that is too long in the history.
func walkVersions(t *testing.T, s *Store, opts tree.VersionOptions) {
	t.Helper()
	for v, err := range s.Versions(t.Context(), "", opts) {
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Name) > tree.MaxName {
			t.Errorf("the history has a name of %d bytes", len(v.Name))
		}
		if v.Collection {
			walkVersions(t, s, tree.VersionOptions{Inside: v.ID})
		}
	}
}

// FuzzCursor: a cursor that is taken is that of its position, and no other text is.
func FuzzCursor(f *testing.F) {
	s, epoch := &Store{}, uuid.Nil
	s.epoch.Store(&epoch)
	for _, seed := range []string{"", "1.2", "-1.0", "9223372036854775807.9223372036854775807", "18446744073709551616.1", "01.2", "1.+2", "1.2.3"} {
		f.Add(epoch.String() + "." + seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := s.parse(tree.Cursor(text))
		switch {
		case err != nil && !errors.Is(err, tree.ErrNotExist):
			t.Errorf("%q: %v", text, err)
		case err == nil && (string(s.cursor(p)) != text || p.xid > 1<<63-1):
			t.Errorf("%q is taken for %v", text, p)
		}
	})
}

// FuzzProperties: properties stay what they are, whatever their texts, and what is damaged is an error.
func FuzzProperties(f *testing.F) {
	f.Add("x:", "color", "en", []byte("<a>\u2028&amp;</a>"))
	f.Add("", "p", "", []byte{0xff, 0})
	f.Add("urn:\u00e9", "<", "\\", []byte(`[{"n":"x"}]`))
	f.Fuzz(func(t *testing.T, space, local, lang string, value []byte) {
		if _, err := decodeProperties(value); err != nil && !errors.Is(err, tree.ErrFailed) {
			t.Errorf("%q: %v", value, err)
		}
		space, local, lang = strings.ToValidUTF8(space, ""), strings.ToValidUTF8(local, ""), strings.ToValidUTF8(lang, "")
		want := webdav.Property{XMLName: xml.Name{Space: space, Local: local}, Lang: lang, InnerXML: value}
		data, err := encodeProperties([]webdav.Property{want})
		if err != nil {
			if len(space)+len(local) <= tree.MaxProperties && len(value) <= tree.MaxProperties {
				t.Error(err)
			}
			return
		}
		got, err := decodeProperties(data)
		if err != nil || len(got) != 1 || got[0].XMLName != want.XMLName || got[0].Lang != lang ||
			!bytes.Equal(got[0].InnerXML, value) {
			t.Errorf("%+v becomes %+v, error %v", want, got, err)
		}
	})
}

// FuzzBelowRange: a name is in the range of names below another one if it is below that.
func FuzzBelowRange(f *testing.F) {
	for _, pair := range [][2]string{{"", "a"}, {"a", "a/b"}, {"a", "a0"}, {"a", "a"}, {"a", "a."}, {"", ""}, {"a", "a/\xff\xff"}, {"\xff", "\xff/x"}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, dir, name string) {
		if tree.CheckName(dir) != nil || tree.CheckName(name) != nil {
			return
		}
		low, high := belowRange(dir)
		in := bytes.Compare(low, []byte(name)) <= 0 && bytes.Compare([]byte(name), high) < 0
		if in != tree.Below(name, dir) {
			t.Errorf("%q below %q: in the range is %v", name, dir, in)
		}
	})
}
