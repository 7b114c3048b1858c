package pgstore_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// fillSQL makes members of the collection $1, with names from a prefix and a number, and the properties of the root.
const fillSQL = `insert into ifmatch.node (parent, name, kind, size, modified, created, blob, place, sha256, props)
 select n.id, convert_to('m' || i, 'UTF8'), 'f', 1, 0, now(), gen_random_uuid(), 'o', sha256(i::text::bytea), r.props
 from ifmatch.node n, ifmatch.node r, generate_series(1, $2::int) i
 where n.parent = 1 and n.name = convert_to($1, 'UTF8') and r.parent = 0`

// fill makes collections with members, as rows.
func fill(t *testing.T, dsn string, s *pgstore.Store, collections map[string]int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for name, members := range collections {
		if _, err := s.Mkdir(t.Context(), name, tree.MkdirOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), fillSQL, name, members); err != nil {
			t.Fatal(err)
		}
	}
}

// TestListingsOfManyPages: each member is in a listing once, wherever a page ends.
func TestListingsOfManyPages(t *testing.T) {
	value := bytes.Repeat([]byte("x"), 40<<10)
	property := webdav.Property{XMLName: xml.Name{Space: "s", Local: "p"}, InnerXML: value}
	few := map[string]int{}
	for i := range 1200 { // more than are looked for at once
		few[fmt.Sprintf("few%04d", i)] = i % 3
	}
	for _, test := range []struct {
		name        string
		want        tree.Want
		collections map[string]int
	}{
		{"exactly one page", 0, map[string]int{"a": 10_001}},
		{"two large collections, and empty ones", 0, map[string]int{"a": 12_000, "b": 0, "c": 11_000, "d": 0, "e": 3}},
		{"many small collections", 0, few},
		{"more bytes of properties than a page has", tree.WantProperties, map[string]int{"a": 350, "b": 200}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dsn := pgtest.Shared(t).Database(t, clean)
			s, err := pgstore.Open(t.Context(), dsn, pgstore.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if test.want != 0 {
				patch := tree.Patch{Properties: []webdav.Proppatch{{Props: []webdav.Property{property}}}}
				if err := s.PatchProperties(t.Context(), "", patch, tree.Condition{}); err != nil {
					t.Fatal(err)
				}
			}
			fill(t, dsn, s, test.collections)
			found, above := map[string]int{}, map[string]int{}
			opts := tree.ListOptions{Depth: -1, Want: test.want}
			for state, err := range s.List(t.Context(), "", opts, tree.Condition{}) {
				if err != nil {
					t.Fatal(err)
				}
				dir, _ := tree.Split(state.Name)
				if found[state.Name]++; found[state.Name] > 1 || state.Name != "" && found[dir] == 0 {
					t.Fatalf("%q comes twice, or before its collection", state.Name)
				}
				if !state.Collection {
					above[dir]++
				}
				if test.want != 0 && !state.Collection && (len(state.Properties) != 1 ||
					!bytes.Equal(state.Properties[0].InnerXML, value)) {
					t.Fatalf("%q has %d properties", state.Name, len(state.Properties))
				}
			}
			for name, members := range test.collections {
				if found[name] != 1 || above[name] != members {
					t.Errorf("%s has %d members, want %d", name, above[name], members)
				}
			}
		})
	}
}

// TestListingsTakeFewRoundTrips, however many members there are.
func TestListingsTakeFewRoundTrips(t *testing.T) {
	const instant = 10_000 // the number of resources that one step reads
	s, p, dsn := openThrough(t)
	collections := map[string]int{"large": instant - 1}
	for i := range 50 {
		collections[fmt.Sprint("c", i)] = 20
	}
	fill(t, dsn, s, collections)
	for _, test := range []struct {
		name, dir string
		depth     int
		members   int
		trips     int
	}{
		{"members of a large collection", "large", 1, instant - 1, 1},
		// One for each level, and beyond one instant the end of the transaction, and another page.
		{"all of a tree of two levels", "", 2, instant - 1 + 51 + 50*20, 4},
	} {
		list := func() (n int, err error) {
			for _, err := range s.List(t.Context(), test.dir, tree.ListOptions{Depth: test.depth}, tree.Condition{}) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		}
		p.allow(unlimited)
		if _, err := list(); err != nil { // the statements are prepared
			t.Fatal(err)
		}
		if _, err := s.Stat(t.Context(), "", tree.ReadOptions{}); err != nil { // it waits for the end of a rollback
			t.Fatal(err)
		}
		// The least of some: a connection that the pool makes meanwhile takes round trips of its own.
		n, trips, err := 0, unlimited, error(nil)
		for range 5 {
			p.allow(unlimited)
			if n, err = list(); err != nil {
				break
			}
			trips = min(trips, p.counted())
		}
		if err != nil || n != test.members+1 || trips != test.trips {
			t.Errorf("%s: %d resources, error %v, %d round trips, want %d", test.name, n, err, trips, test.trips)
		}
	}
	p.allow(unlimited)
}
