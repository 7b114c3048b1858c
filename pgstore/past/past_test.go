package past

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A busy tree has had some changes, and has some versions.
type busy struct {
	Writer
	at                time.Time
	changes, versions int
}

func (busy) Now(context.Context) (tree.Cursor, error) { return "now", nil }

func (b busy) Since(context.Context, time.Time) (tree.Cursor, time.Time, error) {
	return "then", b.at, nil
}

func (b busy) Try(context.Context, tree.Condition) error { return nil }

func (b busy) Changes(context.Context, tree.Cursor, tree.Cursor) iter.Seq2[tree.Change, error] {
	return func(yield func(tree.Change, error) bool) {
		for i := 0; i < b.changes && yield(tree.Change{Time: b.at.Add(time.Second)}, nil); i++ {
		}
	}
}

func (b busy) Versions(context.Context, string, tree.VersionOptions) iter.Seq2[tree.Version, error] {
	return func(yield func(tree.Version, error) bool) {
		for i := 0; i < b.versions && yield(tree.Version{Gone: b.at.Add(time.Second)}, nil); i++ {
		}
	}
}

// TestPlansAreBounded, and the error says what to do, also in the first line of a command.
func TestPlansAreBounded(t *testing.T) {
	const most = 3
	for _, test := range []struct {
		changes, versions int
		tooMany           bool
	}{{most, most, false}, {most + 1, 0, true}, {0, most + 1, true}} {
		w := busy{at: time.Unix(1e9, 0), changes: test.changes, versions: test.versions}
		d := Of(w)
		d.most = most
		known, err := d.Known(t.Context(), w.at)
		if errors.Is(err, tree.ErrTooLarge) != test.tooMany || (err != nil) != test.tooMany {
			t.Errorf("%+v: error %v", test, err)
		}
		if err != nil && !strings.Contains(err.Error(), "give a later time") {
			t.Errorf("%+v: it does not say what to do: %v", test, err)
		}
		if len(known.Changes) > most || len(known.Kept) > most {
			t.Errorf("%+v: %d changes and %d versions are in memory", test, len(known.Changes), len(known.Kept))
		}
	}
}
