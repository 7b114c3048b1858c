package synccollection_test

import (
	"errors"
	"slices"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/handler/synccollection"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

func TestChanged(t *testing.T) {
	for _, tt := range []struct {
		name    string
		steps   []string
		shallow bool
		limit   int    // 0: 100
		hidden  string // a name that the client may not know of
		way     string // a name of which the client may know as of a collection alone
		blind   bool   // see [treetest.BlindFeed]
		want    []string
		partial bool
		rest    []string // after a partial answer
		wantErr error
	}{
		{name: "nothing"},
		{name: "elsewhere", steps: []string{"put out", "mkcol site2"}},
		{name: "members", steps: []string{"put site/f new", "put site/d/g new", "mkcol site/c"},
			want: []string{"site/c", "site/d/g", "site/f"}},
		{name: "members of it alone", steps: []string{"put site/f new", "put site/d/g new"}, shallow: true, want: []string{"site/f"}},
		{name: "a member twice", steps: []string{"put site/f", "rm site/f", "put site/f"}, want: []string{"site/f"}},
		{name: "a hidden member", steps: []string{"put site/f new", "put site/x"}, hidden: "site/f", want: []string{"site/x"}},
		{name: "a collection on the way has come", steps: []string{"mkcol site/n"}, way: "site/n", want: []string{"site/n"}},
		{name: "and has gone", steps: []string{"rm site/d"}, way: "site/d", want: []string{"site/d"}},
		{name: "and has been moved", steps: []string{"mv site/d site/e"}, way: "site/d",
			want: []string{"site/d", "site/e", "site/e/g"}},
		{name: "a hidden file on the way", steps: []string{"put site/f new", "rm site/f", "put site/f"}, way: "site/f"},
		{name: "a file on the way of which no client was told", steps: []string{"put site/f new"}, way: "site/f", blind: true,
			wantErr: synccollection.ErrList},
		{name: "and is removed", steps: []string{"rm site/f"}, way: "site/f", blind: true, wantErr: synccollection.ErrList},
		{name: "a collection on the way is known", steps: []string{"rm site/d"}, way: "site/d", blind: true,
			want: []string{"site/d"}},
		{name: "moved inside", steps: []string{"mv site/d site/e"}, want: []string{"site/d", "site/e", "site/e/g"}},
		{name: "moved out", steps: []string{"mv site/d e"}, want: []string{"site/d"}},
		{name: "moved in", steps: []string{"mkcol e", "put e/x", "mv e site/e"}, want: []string{"site/e", "site/e/x"}},
		{name: "moved in, its members do not count", steps: []string{"mkcol e", "put e/x", "mv e site/e"}, shallow: true,
			want: []string{"site/e"}},
		{name: "moved over a collection", steps: []string{"mkcol e", "put e/x", "mv e site/d"}, wantErr: synccollection.ErrList},
		{name: "copied over a file", steps: []string{"cp site/d site/f"}, wantErr: synccollection.ErrList},
		{name: "a file copied over a collection", steps: []string{"cp site/f site/d"}, wantErr: synccollection.ErrList},
		{name: "a file where a collection was", steps: []string{"rm site/d", "put site/d"}, wantErr: synccollection.ErrList},
		{name: "a file from where a collection was moved", steps: []string{"mv site/d e", "put site/d"},
			wantErr: synccollection.ErrList},
		{name: "a file where a file was", steps: []string{"rm site/f", "put site/f new", "cp site/d/g site/f"},
			want: []string{"site/f"}},
		{name: "a file where a new collection was", steps: []string{"mkcol site/n", "put site/n/x", "rm site/n", "put site/n"},
			want: []string{"site/n", "site/n/x"}},
		{name: "the collection itself has come", steps: []string{"rm site", "mkcol site2", "mv site2 site"},
			wantErr: synccollection.ErrList},
		{name: "in parts", steps: []string{"put site/1", "put site/2", "put site/3"}, limit: 2,
			want: []string{"site/1", "site/2"}, partial: true, rest: []string{"site/3"}},
		{name: "as many as the limit", steps: []string{"put site/1", "put site/2"}, limit: 2,
			want: []string{"site/1", "site/2"}},
		{name: "one change of more", steps: []string{"mv site/d site/e"}, limit: 2, wantErr: synccollection.ErrLimit},
	} {
		s := memtree.New(memtree.Options{})
		treetest.Edit(t, s, "mkcol site", "put site/f", "mkcol site/d", "put site/d/g")
		now := func() tree.Cursor {
			c, err := s.Now(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		since := now()
		treetest.Edit(t, s, tt.steps...)
		limit := tt.limit
		if limit == 0 {
			limit = 100
		}
		feed := tree.Feed(s)
		if tt.blind {
			feed = treetest.BlindFeed{Feed: s}
		}
		c := synccollection.Collection{Store: s, Feed: feed, Name: "site", Infinite: !tt.shallow, Limit: limit,
			Seen:   func(name string) bool { return name != tt.hidden },
			Listed: func(name string) bool { return name != tt.way }}
		end := now()
		got, err := c.Changed(t.Context(), since, end)
		if !errors.Is(err, tt.wantErr) || !slices.Equal(got.Names, tt.want) || got.Partial != tt.partial {
			t.Errorf("%s: %+v, error %v; want %q, partial %v, error %v", tt.name, got, err, tt.want, tt.partial, tt.wantErr)
		}
		if err == nil && !tt.partial && got.End != end {
			t.Errorf("%s: it ends at %q, want %q", tt.name, got.End, end)
		}
		if rest, err := c.Changed(t.Context(), got.End, end); tt.partial && (err != nil || !slices.Equal(rest.Names, tt.rest)) {
			t.Errorf("%s: the rest is %+v, error %v; want %q", tt.name, rest, err, tt.rest)
		}
	}
	s := memtree.New(memtree.Options{})
	c := synccollection.Collection{Store: s, Feed: s, Limit: 1, Seen: func(string) bool { return true },
		Listed: func(string) bool { return true }}
	if _, err := c.Changed(t.Context(), "forgotten", ""); !errors.Is(err, synccollection.ErrList) {
		t.Errorf("a cursor that is not known: error %v", err)
	}
}
