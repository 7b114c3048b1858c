package treetest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func property(name, value string) webdav.Property {
	return webdav.Property{XMLName: xml.Name{Space: "urn:test", Local: name}, InnerXML: []byte(value)}
}

// set and remove are steps of a patch. The arguments of set are names and values in turn.
func set(pairs ...string) webdav.Proppatch {
	var p webdav.Proppatch
	for pair := range slices.Chunk(pairs, 2) {
		p.Props = append(p.Props, property(pair[0], pair[1]))
	}
	return p
}

func remove(names ...string) webdav.Proppatch {
	p := webdav.Proppatch{Remove: true}
	for _, name := range names {
		p.Props = append(p.Props, property(name, ""))
	}
	return p
}

// patch patches a resource. For a backend without properties, it asserts that they are unsupported.
func (f *fixture) patch(name string, steps ...webdav.Proppatch) {
	f.t.Helper()
	err := f.PatchProperties(f.ctx, name, tree.Patch{Properties: steps}, tree.Condition{})
	if f.b.NoProperties != "" {
		f.t.Log(f.b.NoProperties)
		f.wantErr("PatchProperties", err, tree.ErrUnsupported)
	} else if err != nil {
		f.t.Errorf("PatchProperties(%q): %v", name, err)
	}
}

func (f *fixture) wantProperties(name string, want ...string) {
	f.t.Helper()
	if f.b.NoProperties != "" {
		want = nil
	}
	var got []string
	for _, p := range f.stat(name, tree.WantProperties).Properties {
		if p.XMLName.Space != "urn:test" {
			f.t.Errorf("%q has a property in %q", name, p.XMLName.Space)
		}
		got = append(got, p.XMLName.Local+"="+string(p.InnerXML))
	}
	if !slices.Equal(got, want) {
		f.t.Errorf("the properties of %q are %q, want %q", name, got, want)
	}
}

// testDescribed: a PUT can set properties that are about its content.
func testDescribed(t *testing.T, b Backend) {
	put := func(f *fixture, content, value string) tree.State {
		t.Helper()
		opts := tree.PutOptions{Length: int64(len(content))}
		if value != "" {
			opts.Describe = func(tag tree.ETag) []webdav.Proppatch {
				if tag != TagOf(content) {
					t.Errorf("the tag %s is told of %q", tag, content)
				}
				return []webdav.Proppatch{set("a", value)}
			}
		}
		s, _, err := f.Put(f.ctx, "f", strings.NewReader(content), opts, tree.Condition{})
		if err != nil {
			t.Errorf("Put of %q, %q: %v", content, value, err)
		}
		return s
	}
	t.Run("of a new file, of a new version, and of the same bytes", func(t *testing.T) {
		f := open(t, b)
		put(f, "one", "1")
		f.wantProperties("f", "a=1")
		f.patch("f", set("b", "x"))
		put(f, "two", "2")
		f.wantProperties("f", "a=2", "b=x")
		put(f, "two", "3")
		f.wantProperties("f", "a=3", "b=x")
		f.wantTree("f=two")
	})
	t.Run("a file with these bytes and properties stays as it is", func(t *testing.T) {
		f := open(t, b)
		before := put(f, "one", "1")
		f.clock.Advance(time.Hour)
		if s := put(f, "one", "1"); !s.Modified.Equal(before.Modified) {
			t.Errorf("a new version of %v, and the one before was of %v", s.Modified, before.Modified)
		}
	})
	t.Run("they go with the file, and stay where a PUT tells none", func(t *testing.T) {
		f := open(t, b)
		put(f, "one", "1")
		put(f, "two", "")
		if _, _, err := f.Move(f.ctx, "f", "g", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := f.Copy(f.ctx, "g", "h", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		f.wantProperties("g", "a=1")
		f.wantProperties("h", "a=1")
	})
	t.Run("without room for them, the file is put all the same", func(t *testing.T) {
		f := open(t, b)
		put(f, "one", strings.Repeat("x", 1<<20))
		f.wantTree("f=one")
		f.wantProperties("f")
	})
}

func testProperties(t *testing.T, b Backend) {
	t.Run("set, replaced and removed in order", func(t *testing.T) {
		f := open(t, b, "f=1", "d/")
		for _, name := range []string{"f", "d", ""} {
			f.wantProperties(name)
			f.patch(name, set("a", "1", "b", "<x/>"), set("c", "é &amp; \n"))
			f.wantProperties(name, "a=1", "b=<x/>", "c=é &amp; \n")
			f.patch(name, set("b", "2"), remove("a"), set("a", "3"), remove("no"))
			f.wantProperties(name, "b=2", "c=é &amp; \n", "a=3")
			f.patch(name, set("d", "4"), remove("d"))
			f.wantProperties(name, "b=2", "c=é &amp; \n", "a=3")
			f.patch(name, remove("a", "b", "c"))
			f.wantProperties(name)
		}
		f.wantTree("f=1", "d/")
	})
	t.Run("the language is kept", func(t *testing.T) {
		f := open(t, b, "f=1")
		p := property("p", "Grüße")
		p.Lang = "de"
		f.patch("f", webdav.Proppatch{Props: []webdav.Property{p}})
		for _, got := range f.stat("f", tree.WantProperties).Properties {
			if got.Lang != "de" || string(got.InnerXML) != "Grüße" {
				t.Errorf("got %+v", got)
			}
		}
	})
	t.Run("only of what exists", func(t *testing.T) {
		f := open(t, b, "f=1")
		for _, name := range []string{"no", "no/no", "f/x"} {
			err := f.PatchProperties(f.ctx, name, tree.Patch{Properties: []webdav.Proppatch{set("a", "1")}}, tree.Condition{})
			f.wantErr(fmt.Sprintf("PatchProperties(%q)", name), err, tree.ErrNotExist)
		}
		f.wantTree("f=1")
	})
	t.Run("bounded, and all or nothing", func(t *testing.T) {
		f := open(t, b, "f=1")
		f.patch("f", set("a", "1"))
		f.unchanged("a patch that is too large", func() {
			err := f.PatchProperties(f.ctx, "f", tree.Patch{Properties: []webdav.Proppatch{
				remove("a"), set("b", "2"), set("huge", strings.Repeat("x", 1<<20)),
			}}, tree.Condition{})
			f.wantErr("PatchProperties", err, tree.ErrNoSpace)
			err = f.PatchProperties(f.ctx, "f", tree.Patch{Properties: []webdav.Proppatch{
				remove("a"), set("half", strings.Repeat("x", 40<<10)), set("other half", strings.Repeat("x", 40<<10)),
			}}, tree.Condition{})
			f.wantErr("PatchProperties of two halves", err, tree.ErrNoSpace)
		})
		f.patch("f", set("a", "2"))
		f.wantProperties("f", "a=2")
	})
	t.Run("a patch can set the modification time", func(t *testing.T) {
		f := open(t, b, "f=1", "d/")
		then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
		for _, name := range []string{"f", "d"} {
			if err := f.PatchProperties(f.ctx, name, tree.Patch{Modified: then}, tree.Condition{}); err != nil {
				t.Error(err)
			}
			if s := f.stat(name, 0); !s.Modified.Equal(then) {
				t.Errorf("%q: got %v, want %v", name, s.Modified, then)
			}
			f.wantProperties(name)
		}
		if s := f.stat("f", tree.WantTag); s.Tag != TagOf("1") {
			t.Errorf("got tag %s", s.Tag)
		}
		refused := errors.New("refused")
		err := f.PatchProperties(f.ctx, "f", tree.Patch{Modified: then.Add(time.Hour)}, If(func(tree.View) error { return refused }))
		f.wantErr("a refused patch", err, refused)
		if s := f.stat("f", 0); !s.Modified.Equal(then) {
			t.Errorf("a refused patch has set %v", s.Modified)
		}
	})
	t.Run("they stay when the content is replaced", func(t *testing.T) {
		f := open(t, b, "f=1")
		f.patch("f", set("a", "1"))
		f.put("f", "2")
		f.put("f", "3")
		f.wantProperties("f", "a=1")
	})
	t.Run("they are moved", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=1", "g=2", "h=3")
		f.patch("d", set("a", "d"))
		f.patch("d/f", set("a", "f"))
		f.patch("h", set("a", "h"))
		for _, ends := range [][2]string{{"d", "e"}, {"e/f", "g"}, {"h", "x"}} {
			if _, _, err := f.Move(f.ctx, ends[0], ends[1], tree.CopyOptions{}, tree.Condition{}); err != nil {
				t.Fatal(err)
			}
		}
		f.wantProperties("e", "a=d")
		f.wantProperties("g", "a=f")
		f.wantProperties("x", "a=h")
		f.put("h", "new")
		f.wantProperties("h") // a new resource at an old name
	})
	t.Run("they are copied", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=1", "d/e/", "g=2")
		f.patch("d", set("a", "d"))
		f.patch("d/f", set("a", "f"))
		f.patch("d/e", set("a", "e"))
		f.patch("g", set("b", "g"))
		for _, ends := range [][2]string{{"d", "x"}, {"d/f", "g"}} {
			if _, _, err := f.Copy(f.ctx, ends[0], ends[1], tree.CopyOptions{}, tree.Condition{}); err != nil {
				t.Fatal(err)
			}
		}
		f.wantProperties("x", "a=d")
		f.wantProperties("x/f", "a=f")
		f.wantProperties("x/e", "a=e")
		f.wantProperties("g", "a=f") // RFC 4918 §9.8.2: the properties of the source
		f.patch("x/f", set("a", "other"))
		f.wantProperties("d/f", "a=f")
	})
	t.Run("they end with the resource", func(t *testing.T) {
		f := open(t, b, "f=1", "d/")
		f.patch("f", set("a", "1"))
		f.patch("d", set("a", "1"))
		f.wantErr("Remove", errors.Join(f.Remove(f.ctx, "f", tree.Condition{}), f.Remove(f.ctx, "d", tree.Condition{})), nil)
		f.lay("f=2", "d/")
		f.wantProperties("f")
		f.wantProperties("d")
	})
	t.Run("up to 64 KiB, wherever they go", func(t *testing.T) {
		for _, size := range []int{1000, 2000, 3000, 4000, 5000, 20_000, 64<<10 - 2} {
			f := open(t, b, "d/", "d/f=1", "g=2", "h=3")
			big := strings.Repeat("\"<>'é", size/6+1)[:size/6*6] + strings.Repeat("x", size%6)
			want := []string{"a=1", "big=" + big}
			for _, name := range []string{"d", "d/f", "g"} {
				f.patch(name, set("a", "1", "big", big))
				f.wantProperties(name, want...)
			}
			f.put("g", "other")
			f.wantProperties("g", want...)
			for _, ends := range [][2]string{{"d", "copy"}, {"g", "copy/g"}, {"copy/f", "h"}} {
				if _, _, err := f.Copy(f.ctx, ends[0], ends[1], tree.CopyOptions{}, tree.Condition{}); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := f.Move(f.ctx, "copy", "moved", tree.CopyOptions{}, tree.Condition{}); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"moved", "moved/f", "moved/g", "h", "d", "d/f", "g"} {
				f.wantProperties(name, want...)
			}
			for s, err := range Members(f.ctx, f, "moved", tree.WantProperties) {
				if err != nil || len(s.Properties) != 2 && b.NoProperties == "" {
					t.Errorf("%q is listed with %d properties, error %v", s.Name, len(s.Properties), err)
				}
			}
			f.patch("moved/f", set("a", "2"), remove("big"))
			f.wantProperties("moved/f", "a=2")
			f.patch("h", set("big", big+"x"))
			f.wantProperties("h", "a=1", "big="+big+"x")
			f.wantProperties("d/f", want...)
			f.patch("d", remove("a", "big"))
			f.wantProperties("d")
		}
	})
	t.Run("what is opened has them", func(t *testing.T) {
		f := open(t, b, "f=1")
		f.patch("f", set("a", "1", "b", "2"))
		content, s, err := f.Open(f.ctx, "f", tree.ReadOptions{Want: tree.WantTag | tree.WantProperties}, tree.Condition{})
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		if len(s.Properties) != 2 && b.NoProperties == "" {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("a listing has them", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=1")
		f.patch("d/f", set("a", "1"))
		for s, err := range Members(f.ctx, f, "d", tree.WantProperties) {
			if err != nil || len(s.Properties) != 1 && b.NoProperties == "" {
				t.Errorf("got %+v, error %v", s, err)
			}
		}
	})
}
