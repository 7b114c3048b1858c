package treetest

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

var contents atomic.Int64 // of Edit, so that no PUT has the content that is there

// Edit changes a tree, step by step: "put NAME", "mkcol NAME", "rm NAME", "mv FROM TO", "cp FROM TO". Further words are
// for the reader of the step.
func Edit(t *testing.T, s tree.Store, steps ...string) {
	t.Helper()
	for _, step := range steps {
		words, err := strings.Fields(step), error(nil)
		switch words[0] {
		case "put":
			content := strings.NewReader(fmt.Sprint(contents.Add(1)))
			_, _, err = s.Put(t.Context(), words[1], content, tree.PutOptions{Length: -1}, tree.Condition{})
		case "mkcol":
			_, err = s.Mkdir(t.Context(), words[1], tree.MkdirOptions{}, tree.Condition{})
		case "rm":
			err = s.Remove(t.Context(), words[1], tree.Condition{})
		case "mv":
			_, _, err = s.Move(t.Context(), words[1], words[2], tree.CopyOptions{}, tree.Condition{})
		case "cp":
			_, _, err = s.Copy(t.Context(), words[1], words[2], tree.CopyOptions{}, tree.Condition{})
		default:
			t.Fatalf("there is no step %q", step)
		}
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
}

// A BlindFeed does not know that files which were replaced or removed were files: no follower was told of them before.
type BlindFeed struct {
	tree.Feed
	// Cause is the cause of all changes ("": each has its own). A feed whose changes were made by other programs
	// ([tree.CauseDisk]) does not know of collections either.
	Cause string
}

// Changes implements [tree.Feed].
func (f BlindFeed) Changes(ctx context.Context, since, until tree.Cursor) iter.Seq2[tree.Change, error] {
	return func(yield func(tree.Change, error) bool) {
		for c, err := range f.Feed.Changes(ctx, since, until) {
			c.Old, c.OldFile = "", false
			if f.Cause != "" {
				c.Cause, c.OldCollection = f.Cause, false
			}
			if !yield(c, err) {
				return
			}
		}
	}
}
