package etagfs

import (
	"encoding/xml"
	"errors"
	"fmt"
	"testing"

	"github.com/spf13/afero"
	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// many are as many properties as there are at the most in one request.
func many() tree.Patch {
	var all []webdav.Property
	for i := range 10_000 {
		all = append(all, webdav.Property{XMLName: xml.Name{Local: fmt.Sprint("p", i)}, InnerXML: []byte("a long " +
			"value")})
	}
	return tree.Patch{Properties: []webdav.Proppatch{{Props: all}}}
}

func patchOf(name, value string) tree.Patch {
	return tree.Patch{Properties: []webdav.Proppatch{{Props: []webdav.Property{{XMLName: xml.Name{Local: name},
		InnerXML: []byte(value)}}}}}
}

// A patch is made of the properties before the commit. What others have set since stays.
func TestPatchesThatMeetAreBothApplied(t *testing.T) {
	ctx := t.Context()
	below, err := fs.OpenAfero(afero.NewMemMapFs(), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(below, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Mkdir(ctx, "d", tree.MkdirOptions{}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	set := func(name string) {
		kept, err := s.fs.Attributes("d")
		if err != nil {
			t.Fatal(err)
		}
		properties, err := s.decodeProperties("d", kept)
		if err != nil {
			t.Fatal(err)
		}
		data, err := encodeProperties(tree.Patched(properties, patchOf(name, "theirs").Properties))
		if err != nil {
			t.Fatal(err)
		}
		at, err := s.fs.Resolve("d")
		if err != nil {
			t.Fatal(err)
		}
		defer at.Close()
		if err := at.SetAttributes(data); err != nil {
			t.Fatal(err)
		}
	}
	asked, others := 0, 0
	meet := func(times int) tree.Condition {
		asked = 0
		return treetest.If(func(tree.View) error {
			if asked++; asked <= times {
				others++
				set(fmt.Sprint("theirs-", others))
			}
			return nil
		})
	}
	for _, times := range []int{0, 1, sharedTurns} {
		if err := s.PatchProperties(ctx, "d", patchOf(fmt.Sprint("ours-", times), "ours"), meet(times)); err != nil ||
			asked != times+1 {
			t.Errorf("met by %d others: error %v, asked %d times", times, err, asked)
		}
	}
	if err := s.PatchProperties(ctx, "d", patchOf("never", "ours"), meet(100)); !errors.Is(err, tree.ErrBusy) {
		t.Errorf("met by others each time: error %v", err)
	}
	state, err := s.Stat(ctx, "d", tree.ReadOptions{Want: tree.WantProperties})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, p := range state.Properties {
		found[p.XMLName.Local] = string(p.InnerXML)
	}
	for _, name := range []string{"ours-0", "ours-1", "ours-5", "theirs-1", "theirs-6"} {
		if found[name] == "" {
			t.Errorf("%s is lost: there are %v", name, found)
		}
	}
	if found["never"] != "" {
		t.Errorf("what has failed is there: %v", found)
	}
}

// That properties have no room is said when nothing else is wrong, and costs others nothing.
func TestPatchWithoutRoomIsRefusedLast(t *testing.T) {
	ctx := t.Context()
	below, err := fs.OpenAfero(afero.NewMemMapFs(), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(below, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.PatchProperties(ctx, "d", many(), tree.Condition{}); !errors.Is(err, tree.ErrNotExist) {
		t.Errorf("of nothing: error %v", err)
	}
	if _, err := s.Mkdir(ctx, "d", tree.MkdirOptions{}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	if err := s.PatchProperties(ctx, "d", patchOf("a", "kept"), tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	if err := s.PatchProperties(ctx, "d", many(),
		treetest.If(func(tree.View) error { return refused })); !errors.Is(err, refused) {
		t.Errorf("with a condition that is false: error %v", err)
	}
	if err := s.PatchProperties(ctx, "d", many(), tree.Condition{}); !errors.Is(err, tree.ErrNoSpace) {
		t.Errorf("with nothing else wrong: error %v", err)
	}
	if state, err := s.Stat(ctx, "d", tree.ReadOptions{Want: tree.WantProperties}); err != nil ||
		len(state.Properties) != 1 || string(state.Properties[0].InnerXML) != "kept" {
		t.Errorf("there are %d properties, error %v", len(state.Properties), err)
	}
}
