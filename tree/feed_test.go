package tree_test

import (
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestWhatAChangeCanBeOf: whether a change is of a collection decides who is told of it, and whether all below its name
// must be listed again. What is not known counts as a collection.
func TestWhatAChangeCanBeOf(t *testing.T) {
	file, collection, none := tree.State{Exists: true}, tree.State{Exists: true, Collection: true}, tree.State{}
	for _, tt := range []struct {
		name               string
		change             tree.Change
		of, isDeep, unsure bool
	}{
		{"a new file", tree.Change{Cause: "PUT", State: file, Created: true}, false, false, false},
		{"over a file", tree.Change{Cause: "PUT", State: file, OldFile: true}, false, false, false},
		{"over a version with a tag", tree.Change{Cause: "PUT", State: file, Old: `"x"`}, false, false, false},
		{"over a thing that is not known", tree.Change{Cause: "PUT", State: file}, true, true, true},
		{"a file is removed", tree.Change{Cause: "DELETE", State: none, OldFile: true}, false, true, false},
		{"a thing that is not known is removed", tree.Change{Cause: "DELETE", State: none}, true, true, true},
		{"a collection is removed", tree.Change{Cause: "DELETE", State: none, OldCollection: true}, true, true, false},
		{"a file is written on the disk", tree.Change{Cause: tree.CauseDisk, State: file, OldFile: true}, false, false, false},
		{"a thing on the disk that is not known", tree.Change{Cause: tree.CauseDisk, State: file}, true, false, true},
		{"a new collection", tree.Change{Cause: "MKCOL", State: collection, Created: true}, true, false, false},
		{"a collection over a file", tree.Change{Cause: "COPY", State: collection, OldFile: true}, true, true, false},
		{"something in it", tree.Change{Cause: tree.CauseDisk, State: collection, Again: true}, true, true, false},
	} {
		c := tt.change
		c.Name, c.State.Name = "n", "n"
		if c.OfCollection("n") != tt.of || c.Deep() != tt.isDeep || c.Unsure() != tt.unsure {
			t.Errorf("%s: of a collection %v, deep %v, unsure %v", tt.name, c.OfCollection("n"), c.Deep(), c.Unsure())
		}
	}
	for _, state := range []tree.State{file, collection} {
		c := tree.Change{Cause: "MOVE", Name: "hidden/n", From: "n", State: state}
		left, ok := c.Without(func(name string) bool { return name == "hidden/n" })
		if !ok || left.Name != "n" || left.State.Exists || left.OfCollection("n") != state.Collection {
			t.Errorf("a MOVE of %+v out of sight leaves %+v, %v", state, left, ok)
		}
	}
}

// The maker of a version is looked for behind changes on the disk that left the content as it was.
func TestMaker(t *testing.T) {
	change := func(cause, name, tag string, by tree.Principal) tree.Change {
		return tree.Change{Name: name, Cause: cause, Principal: by, Created: true,
			State: tree.State{Name: name, Exists: tag != "gone", Tag: tree.ETag(tag)}}
	}
	for _, test := range []struct {
		what    string
		changes []tree.Change // the latest first
		cause   string        // "": none is known
		by      tree.Principal
	}{
		{"nothing", nil, "", ""},
		{"another name", []tree.Change{change("PUT", "f2", "1", "ann")}, "", ""},
		{"a write", []tree.Change{change("PUT", "f", "2", "ann"), change("PUT", "f", "1", "bob")}, "PUT", "ann"},
		{"an echo", []tree.Change{change(tree.CauseDisk, "f", "2", ""), change(tree.CauseDisk, "f", "2", ""), change("PUT", "f", "2", "ann")},
			"PUT", "ann"},
		{"a program", []tree.Change{change(tree.CauseDisk, "f", "2", ""), change("PUT", "f", "1", "ann")}, tree.CauseDisk, ""},
		{"a program, and nothing before", []tree.Change{change(tree.CauseDisk, "f", "2", "")}, tree.CauseDisk, ""},
		{"a content that is not known", []tree.Change{change(tree.CauseDisk, "f", "", ""), change("PUT", "f", "", "ann")}, tree.CauseDisk, ""},
		{"a removal", []tree.Change{change(tree.CauseDisk, "f", "gone", ""), change("PUT", "f", "1", "ann")}, tree.CauseDisk, ""},
		{"properties", []tree.Change{change("PROPPATCH", "f", "1", "bob"), change("PUT", "f", "1", "ann")}, "PUT", "ann"},
		{"the collection above", []tree.Change{{Name: "", Again: true, Cause: tree.CauseDisk}, change("PUT", "f", "1", "ann")},
			tree.CauseDisk, ""},
		{"an echo behind a gap", []tree.Change{change(tree.CauseDisk, "f", "1", ""), {Name: "", Again: true, Cause: "x"},
			change("PUT", "f", "1", "ann")}, tree.CauseDisk, ""},
	} {
		m := tree.Maker{Name: "f"}
		for _, c := range test.changes {
			if m.Take(c) {
				break
			}
		}
		if m.Known != (test.cause != "") || m.Found.Cause != test.cause || m.Found.Principal != test.by {
			t.Errorf("%s: found %+v", test.what, m.Found)
		}
	}
}
