package treetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// feed returns the store as a Feed.
func (f *fixture) feed() tree.Feed {
	f.t.Helper()
	feed, ok := f.Store.(tree.Feed)
	if !ok {
		f.t.Fatal("it is no tree.Feed")
	}
	return feed
}

func (f *fixture) now() tree.Cursor {
	f.t.Helper()
	c, err := f.feed().Now(f.ctx)
	if err != nil {
		f.t.Fatalf("Now: %v", err)
	}
	return c
}

// changes returns the changes after a cursor, up to now.
func (f *fixture) changes(since tree.Cursor) (all []tree.Change) {
	f.t.Helper()
	end := f.now()
	for c, err := range f.feed().Changes(f.ctx, since, end) {
		if err != nil {
			f.t.Fatalf("Changes(%q): %v", since, err)
		}
		all = append(all, c)
	}
	return all
}

// told describes a change in one line: "cause [from ->] name", a slash after a collection, and then "new" where
// nothing was there, "gone" where nothing is, whether a collection was there, and the content of which the tags are.
func told(c tree.Change, contents map[tree.ETag]string) string {
	line := c.Cause + " "
	if c.From != "" {
		line += c.From + " -> "
	}
	line += c.Name
	for _, part := range []struct {
		is   bool
		text string
	}{
		{c.State.Collection, "/"}, {c.Created, " new"}, {!c.State.Exists, " gone"}, {c.OldCollection, " over a collection"},
		{c.Old != "", " from " + contents[c.Old]}, {c.State.Tag != "", " to " + contents[c.State.Tag]},
		{c.Principal != "", " by " + string(c.Principal)},
	} {
		if part.is {
			line += part.text
		}
	}
	return line
}

func testFeed(t *testing.T, b Backend) {
	t.Run("each change is told", func(t *testing.T) { testFeedTells(t, b) })
	t.Run("the latest change of a name is known", func(t *testing.T) { testFeedLatest(t, b) })
	t.Run("a follower waits for changes", func(t *testing.T) { testFeedWaits(t, b) })
	t.Run("a cursor outlives the store", func(t *testing.T) { testFeedReopens(t, b) })
	t.Run("a condition names a cursor", func(t *testing.T) { testFeedCondition(t, b) })
	t.Run("a follower ends with what is there", func(t *testing.T) { testFollower(t, b) })
}

func testFeedTells(t *testing.T, b Backend) {
	contents := map[tree.ETag]string{}
	for _, content := range []string{"", "1", "2", "3"} {
		contents[TagOf(content)] = fmt.Sprintf("%q", content)
	}
	f := open(t, b, "f=1", "d/", "d/g=2")
	user := tree.WithPrincipal(f.ctx, "her")
	refused := If(func(tree.View) error { return errStale })
	put := func(name, content string, opts tree.PutOptions, cond tree.Condition) error {
		_, _, err := f.Put(user, name, strings.NewReader(content), opts, cond)
		return err
	}
	for _, step := range []struct {
		do   func() error
		err  error
		want []string
	}{
		{func() error { return put("n", "3", tree.PutOptions{Length: 1}, tree.Condition{}) }, nil,
			[]string{`PUT n new to "3" by her`}},
		{func() error { return put("f", "3", tree.PutOptions{Length: 1}, IfTag("f", TagOf("1"))) }, nil,
			[]string{`PUT f from "1" to "3" by her`}},
		{func() error { return put("f", "2", tree.PutOptions{Length: 1}, IfTag("f", TagOf("1"))) }, errStale, nil},
		{func() error { return put("f", "3", tree.PutOptions{Length: 1}, tree.Condition{}) }, nil, nil}, // has these bytes
		{func() error { return put("x/y", "3", tree.PutOptions{Length: 1}, tree.Condition{}) }, tree.ErrNoParent, nil},
		{func() error { _, err := f.Mkdir(f.ctx, "c", tree.MkdirOptions{}, tree.Condition{}); return err }, nil,
			[]string{"MKCOL c/ new"}},
		{func() error { _, err := f.Mkdir(f.ctx, "c", tree.MkdirOptions{}, tree.Condition{}); return err },
			tree.ErrExist, nil},
		{func() error { _, _, err := f.Copy(f.ctx, "d", "c", tree.CopyOptions{}, tree.Condition{}); return err }, nil,
			[]string{"COPY c/ over a collection"}},
		{func() error { _, _, err := f.Copy(f.ctx, "n", "f2", tree.CopyOptions{}, tree.Condition{}); return err }, nil,
			[]string{`COPY f2 new to "3"`}},
		{func() error { _, _, err := f.Move(f.ctx, "d", "e", tree.CopyOptions{}, refused); return err }, errStale, nil},
		{func() error { _, _, err := f.Move(f.ctx, "d", "e", tree.CopyOptions{}, tree.Condition{}); return err }, nil,
			[]string{"MOVE d -> e/ new"}},
		{func() error { _, _, err := f.Move(f.ctx, "e/g", "f", tree.CopyOptions{}, tree.Condition{}); return err }, nil,
			[]string{`MOVE e/g -> f from "3" to "2"`}},
		{func() error { return f.Remove(user, "f", tree.Condition{}) }, nil, []string{`DELETE f gone from "2" by her`}},
		{func() error { return f.Remove(f.ctx, "c", tree.Condition{}) }, nil, []string{"DELETE c gone over a collection"}},
		{func() error { return f.Remove(f.ctx, "c", tree.Condition{}) }, tree.ErrNotExist, nil},
		{func() error {
			_, _, err := f.Lock(f.ctx, tree.LockRequest{Root: "l", Timeout: time.Minute}, tree.Condition{})
			return err
		}, nil, []string{"LOCK l new"}},
	} {
		before := f.now()
		f.wantErr(strings.Join(step.want, ", "), step.do(), step.err)
		var got []string
		for _, c := range f.changes(before) {
			line := strings.TrimSuffix(told(c, contents), ` to ""`) // the tag of an empty file may be unknown
			got = append(got, line)
			if !c.Time.Equal(f.clock.Now()) || c.Again {
				t.Errorf("%q was at %v, again %v", line, c.Time, c.Again)
			}
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("told %q, want %q", got, step.want)
		}
	}
	before := f.now()
	f.put("p", "1")
	if b.NoProperties == "" {
		f.patch("p", set("a", "1"))
		f.patch("", set("a", "1"))
		if got := f.changes(before); len(got) != 3 || got[1].Cause != "PROPPATCH" || got[1].Name != "p" || got[1].Created ||
			got[2].Name != "" {
			t.Errorf("after two patches, told %+v", got)
		}
	}
	if all := f.changes(""); len(all) < 10 || all[0].Name != "f" {
		t.Errorf("from the beginning, told %+v", all)
	}
}

func testFeedLatest(t *testing.T, b Backend) {
	f := open(t, b, "d/", "d/g=2")
	contents := map[tree.ETag]string{TagOf("1"): "1", TagOf("2"): "2", TagOf("3"): "3"}
	want := func(name, want string) {
		t.Helper()
		c, err := f.feed().Latest(f.ctx, name)
		if want == "" && errors.Is(err, tree.ErrNotExist) {
			return
		}
		if got := told(c, contents); err != nil || got != want {
			t.Errorf("the latest change of %q is %q, error %v; want %q", name, got, err, want)
		}
	}
	put := func(by, name, content string) {
		t.Helper()
		opts := tree.PutOptions{Length: int64(len(content))}
		user := tree.WithPrincipal(f.ctx, tree.Principal(by))
		if _, _, err := f.Put(user, name, strings.NewReader(content), opts, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	want("n", "")
	put("her", "n", "1")
	for i := range 20 {
		f.put(fmt.Sprint("n", i), "2") // others, whose names begin alike
	}
	want("n", "PUT n new to 1 by her")
	if b.NoProperties == "" {
		f.patch("n", set("a", "1"))
		want("n", "PUT n new to 1 by her")
	}
	put("him", "n", "3")
	put("her", "n", "3") // has these bytes
	want("n", "PUT n from 1 to 3 by him")
	put("her", "d/x", "1")
	want("d", "MKCOL d/ new") // a member changes nothing of it
	f.move("n", "m")
	want("m", "MOVE n -> m new to 3")
	want("n", "MOVE n -> m new to 3")
	f.move("d", "e")
	for _, name := range []string{"e", "e/x", "d/x"} {
		want(name, "MOVE d -> e/ new")
	}
	put("him", "e/x", "2")
	want("e/x", "PUT e/x from 1 to 2 by him")
	want("e/g", "MOVE d -> e/ new")
	f.wantErr("remove", f.Remove(f.ctx, "e", tree.Condition{}), nil)
	want("e/x", "DELETE e gone over a collection")
	put("her", "e\t\n\"é", "1")
	want("e\t\n\"é", "PUT e\t\n\"é new to 1 by her")
}

func testFeedWaits(t *testing.T, b Backend) {
	f := open(t, b)
	begin := f.now()
	ctx, cancel := context.WithCancel(f.ctx)
	got, ended := make(chan string), make(chan error, 1)
	go func() {
		for c, err := range f.feed().Changes(ctx, begin, "") {
			if err != nil {
				ended <- err
				return
			}
			got <- c.Name
		}
		ended <- nil
	}()
	for i := range 20 {
		name := fmt.Sprint("f", i)
		f.put(name, "content")
		if next := <-got; next != name {
			t.Errorf("got %q, want %q", next, name)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
	for _, cursor := range []tree.Cursor{"x", begin + "x", "a.1.00000000"} {
		for c, err := range f.feed().Changes(f.ctx, cursor, "") {
			if !errors.Is(err, tree.ErrNotExist) {
				t.Errorf("a cursor %q yields %v, error %v", cursor, c, err)
				break
			}
		}
	}
}

func testFeedReopens(t *testing.T, b Backend) {
	f := open(t, b, "f=1")
	cursor := f.now()
	f.put("g", "2")
	f.Store = f.reopen()
	if b.Forgets != "" || b.ForgetsFeed != "" {
		t.Log(b.Forgets, b.ForgetsFeed)
		for c, err := range f.feed().Changes(f.ctx, cursor, "") {
			if !errors.Is(err, tree.ErrNotExist) {
				t.Errorf("the cursor of a forgotten tree yields %v, error %v", c, err)
				break
			}
		}
		return
	}
	f.put("h", "3")
	var names []string
	for _, c := range f.changes(cursor) {
		names = append(names, c.Name)
	}
	if want := []string{"g", "h"}; !slices.Equal(names, want) {
		t.Errorf("told %q, want %q", names, want)
	}
}

func (f *fixture) move(from, to string) {
	f.t.Helper()
	if _, _, err := f.Move(f.ctx, from, to, tree.CopyOptions{}, tree.Condition{}); err != nil {
		f.t.Fatalf("Move(%q, %q): %v", from, to, err)
	}
}

// ifSince returns a condition that nothing at a name or below it has changed since a cursor.
func ifSince(name string, since tree.Cursor) tree.Condition {
	return If(func(v tree.View) error {
		feed, ok := v.(tree.FeedView)
		if !ok {
			return errors.New("the view is no tree.FeedView")
		}
		changed, err := feed.Since(name, since, nil)
		if err == nil && changed {
			err = errStale
		}
		return err
	}, name)
}

func testFeedCondition(t *testing.T, b Backend) {
	for _, test := range []struct {
		name   string
		change func(f *fixture)
		holds  bool
	}{
		{"nothing", func(f *fixture) {}, true},
		{"a sibling", func(f *fixture) { f.put("site2", "x") }, true},
		{"a refused write", func(f *fixture) {
			_, _, _ = f.tryPut("site/a", "x", If(func(tree.View) error { return errStale }))
		}, true},
		{"the bytes that are there", func(f *fixture) { f.put("site/a", "1") }, true},
		{"the collection above", func(f *fixture) { f.mkdir("other") }, true},
		{"a member", func(f *fixture) { f.put("site/a", "x") }, false},
		{"a new member", func(f *fixture) { f.put("site/new", "x") }, false},
		{"a member that is removed", func(f *fixture) { f.Remove(f.ctx, "site/a", tree.Condition{}) }, false},
		{"a member deep below", func(f *fixture) { f.put("site/d/b", "x") }, false},
		{"a member that is moved away", func(f *fixture) { f.move("site/a", "a") }, false},
		{"a member that is moved there", func(f *fixture) { f.move("f", "site/f") }, false},
		{"itself, moved and moved back", func(f *fixture) {
			f.move("site", "s")
			f.move("s", "site")
		}, false},
		{"itself, replaced", func(f *fixture) { f.Copy(f.ctx, "d", "site", tree.CopyOptions{}, tree.Condition{}) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := open(t, b, "site/", "site/d/", "site/a=1", "site/d/b=2", "f=3", "d/")
			cursor := f.now()
			test.change(f)
			_, created, err := f.tryPut("out", "written", ifSince("site", cursor))
			if test.holds != (err == nil) || !test.holds && !errors.Is(err, errStale) || test.holds && !created {
				t.Errorf("a write on the condition: created %v, error %v", created, err)
			}
			f.wantErr("with the present cursor", f.Remove(f.ctx, "site", ifSince("site", f.now())), nil)
			f.wantErr("with a cursor of nobody", f.Try(f.ctx, ifSince("site", "x")), tree.ErrNotExist)
		})
	}
}

// A follower has the names of a tree, and keeps them up to date by the changes and by what it looks at.
type follower struct {
	f    *fixture
	has  map[string]tree.ETag
	seen tree.Cursor
}

func (w *follower) list(name string) {
	maps.DeleteFunc(w.has, func(have string, _ tree.ETag) bool { return have == name || tree.Below(have, name) })
	opts := tree.ListOptions{Want: tree.WantTag, Depth: -1}
	for s, err := range w.f.List(w.f.ctx, name, opts, tree.Condition{}) {
		if errors.Is(err, tree.ErrNotExist) {
			return
		}
		if err != nil {
			w.f.t.Fatal(err)
		}
		w.has[s.Name] = s.Tag
	}
}

// catchUp applies the changes since the last time. It lists again what a change concerns.
func (w *follower) catchUp() {
	for _, c := range w.f.changes(w.seen) {
		w.seen = c.Cursor
		if c.From != "" {
			w.list(c.From)
		}
		w.list(c.Name)
	}
}

func testFollower(t *testing.T, b Backend) {
	f := open(t, b, "a/", "b/", "a/x=1", "b/y=2")
	w := &follower{f: f, has: map[string]tree.ETag{}, seen: f.now()}
	w.list("")
	random := rand.New(rand.NewPCG(1, 2))
	name := func() string {
		all := []string{"a", "b", "c", "a/x", "a/y", "b/x", "b/y", "a/d", "a/d/x", "b/d", "b/d/y", "c/z"}
		return all[random.IntN(len(all))]
	}
	for i := range 300 {
		switch at := name(); random.IntN(6) {
		case 0, 1:
			f.tryPut(at, fmt.Sprint(i), tree.Condition{})
		case 2:
			_, _ = f.Mkdir(f.ctx, at, tree.MkdirOptions{}, tree.Condition{})
		case 3:
			_ = f.Remove(f.ctx, at, tree.Condition{})
		case 4:
			_, _, _ = f.Move(f.ctx, at, name(), tree.CopyOptions{}, tree.Condition{})
		case 5:
			_, _, _ = f.Copy(f.ctx, at, name(), tree.CopyOptions{}, tree.Condition{})
		}
		if random.IntN(10) == 0 {
			w.catchUp()
		}
	}
	w.catchUp()
	truth := &follower{f: f, has: map[string]tree.ETag{}}
	truth.list("")
	if !maps.Equal(w.has, truth.has) {
		t.Errorf("the follower has %v, and there is %v", w.has, truth.has)
	}
}
