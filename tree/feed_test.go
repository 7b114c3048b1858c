package tree_test

import (
	"testing"

	"ifmatch/tree"
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
