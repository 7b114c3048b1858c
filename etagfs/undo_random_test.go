package etagfs_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A wanderer makes random changes.
type wanderer struct {
	*rand.Rand
	s tree.Store
	n int
}

func (w *wanderer) name() string {
	parts := make([]string, 1+w.IntN(3))
	for i := range parts {
		parts[i] = string(rune('a' + w.IntN(3)))
	}
	return strings.Join(parts, "/")
}

// change makes a change, which may be impossible.
func (w *wanderer) change() string {
	w.n++
	name, other := w.name(), w.name()
	switch w.IntN(10) {
	case 0, 1, 2, 3:
		put(w.s, name, fmt.Sprint("content ", w.n), tree.Condition{})
		return "PUT " + name
	case 4, 5:
		w.s.Mkdir(ctx, name, tree.MkdirOptions{}, tree.Condition{})
		return "MKCOL " + name
	case 6:
		w.s.Remove(ctx, name, tree.Condition{})
		return "DELETE " + name
	case 7:
		w.s.Copy(ctx, name, other, tree.CopyOptions{}, tree.Condition{})
		return "COPY " + name + " " + other
	}
	w.s.Move(ctx, name, other, tree.CopyOptions{}, tree.Condition{})
	return "MOVE " + name + " " + other
}

// TestRestoreAtAnyTime: after random changes, a restore of the root as of any time between them, and one as of a time
// between these restores, makes the tree what it was, byte for byte.
func TestRestoreAtAnyTime(t *testing.T) {
	for seed := range uint64(12) {
		dir := t.TempDir()
		s := openUndo(t, dir)
		w := &wanderer{rand.New(rand.NewPCG(seed, 1)), s, 0}
		type moment struct {
			at   time.Time
			tree map[string]string
		}
		moments := []moment{{time.Now(), contentsOf(t, dir)}}
		var log []string
		for range 60 {
			log = append(log, w.change())
			moments = append(moments, moment{time.Now(), contentsOf(t, dir)})
			if w.IntN(12) > 0 {
				continue
			}
			then := moments[w.IntN(len(moments))]
			result, err := s.RestoreAt(ctx, "", then.at, tree.RestoreAtOptions{})
			if err != nil {
				t.Fatal(err)
			}
			index := slices.IndexFunc(moments, func(m moment) bool { return m.at == then.at })
			log = append(log, fmt.Sprintf("RESTORE as of %d", index))
			diff := different(contentsOf(t, dir), then.tree)
			for _, left := range result.Left {
				diff = append(diff, fmt.Sprint("left: ", left))
			}
			if len(diff) > 0 {
				t.Fatalf("seed %d: after\n%s\nit differs:\n%s", seed, strings.Join(log, "\n"), strings.Join(diff, "\n"))
			}
			moments = append(moments, moment{time.Now(), contentsOf(t, dir)})
		}
		s.Close()
	}
}
