package undo

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// An event is a change since then, with the version that gave way to it.
type event struct {
	tree.Change
	kept *Kept
	// blind says that only the history knows of the change.
	blind bool
	// past says that the change was made shortly before then. It is not undone. The watcher may tell of it later.
	past bool
}

// isOurs reports whether a change was made by a server, or by a command.
func (e event) isOurs() bool { return e.Cause != tree.CauseDisk && !e.Again }

// displaces reports whether a version can have given way, also to one with the same content: by a MOVE, or by a PUT
// with other properties.
func (e event) displaces() bool {
	return e.isOurs() && e.Cause != "PROPPATCH" && !(e.State.Exists && e.Created)
}

// isSame reports whether the content is the one that was there before.
func (e event) isSame() bool { return e.Old != "" && e.Old == e.State.Tag }

// events joins the changes with the versions of the history, the oldest first. A version gives way after its change was
// written to the journal. So a change gets the latest version of its name that has given way after it, unless a later
// change has got that. A version without a change becomes an event of its own.
func events(known Known) []event {
	byName := map[string][]*Kept{} // the oldest first
	for i, k := range known.Kept {
		if k.Path != "" && k.Cause != tree.CauseLate && k.Gone.After(known.At) {
			byName[k.Path] = append(byName[k.Path], &known.Kept[i])
		}
	}
	var all []event
	for _, c := range slices.Backward(known.Changes) {
		if !c.Time.After(known.At) {
			if e := (event{Change: c, past: true}); e.isOurs() && known.At.Sub(c.Time) <= EchoTime {
				all = append(all, e)
			}
			continue
		}
		e := event{Change: c}
		if kept := byName[c.Name]; e.displaces() && len(kept) > 0 && !kept[len(kept)-1].Gone.Before(c.Time) {
			e.kept, byName[c.Name] = kept[len(kept)-1], kept[:len(kept)-1]
		}
		all = append(all, e)
	}
	slices.Reverse(all)
	var blind []event
	for name, kept := range byName {
		for _, k := range kept {
			blind = append(blind, event{kept: k, blind: true, Change: tree.Change{
				Name: name, Cause: k.Cause, Time: k.Gone, State: tree.State{Name: name, Exists: k.Cause != "DELETE"},
			}})
		}
	}
	if len(blind) == 0 {
		return all
	}
	slices.SortFunc(blind, func(a, b event) int {
		return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.Name, b.Name))
	})
	return merge(all, blind)
}

// merge puts events in between others, by time. The order of the others stays as it is.
func merge(all, more []event) []event {
	merged := make([]event, 0, len(all)+len(more))
	for _, e := range all {
		for len(more) > 0 && more[0].Time.Before(e.Time) {
			merged, more = append(merged, more[0]), more[1:]
		}
		merged = append(merged, e)
	}
	return append(merged, more...)
}

// A timeline finds the latest of our changes of a name before another event.
type timeline struct {
	all []event
	by  map[string][]int // our changes, by each name of theirs
}

func newTimeline(all []event) *timeline {
	t := &timeline{all, map[string][]int{}}
	for i, e := range all {
		if !e.isOurs() || e.blind {
			continue
		}
		t.by[e.Name] = append(t.by[e.Name], i)
		if e.From != "" {
			t.by[e.From] = append(t.by[e.From], i)
		}
	}
	return t
}

// before returns our latest change of exactly this name before the event i, and its own number.
func (t *timeline) before(name string, i int) (e event, at int, ok bool) {
	all := t.by[name]
	n, _ := slices.BinarySearch(all, i)
	if n == 0 {
		return event{}, 0, false
	}
	return t.all[all[n-1]], all[n-1], true
}

// above returns our latest change of a collection above a name, with all below it, before the event i. removed reports
// whether that change has removed the collection, or has moved it away.
func (t *timeline) above(name string, i int) (latest time.Time, removed bool) {
	for name != "" {
		name = parent(name)
		if e, _, ok := t.before(name, i); ok && e.Deep() && e.Time.After(latest) {
			latest, removed = e.Time, !e.State.Exists || e.From == name
		}
	}
	return latest, removed
}

// EchoTime is how long after a change of ours the watcher of another process may tell of it, if this process has made
// the name again meanwhile, or has died when it was about to.
const EchoTime = 30 * time.Second

// removedLately reports whether a change of ours has removed a name, or a collection above it, or has moved it away, a
// short time before the event i.
func (t *timeline) removedLately(name string, i int) bool {
	for above := name; ; above = parent(above) {
		at := t.by[above]
		n, _ := slices.BinarySearch(at, i)
		for _, at := range slices.Backward(at[:n]) {
			e := t.all[at]
			if t.all[i].Time.Sub(e.Time) > EchoTime {
				break
			}
			if e.Deep() && (!e.State.Exists || e.From == above) {
				return true
			}
		}
		if above == "" {
			return false
		}
	}
}

// wasExchanged calls do with each version that a MOVE before the event i has replaced, if a collection above the name
// was moved, and with the path of the name below that collection. For an instant the version had the name of that
// collection.
func (t *timeline) wasExchanged(name string, i int, do func(k *Kept, below string) (more bool)) {
	for above, rest := tree.Split(name); above != ""; {
		for _, at := range t.by[above] {
			e := t.all[at]
			if at < i && e.From == above && e.kept != nil && e.kept.Kind == Collection && !do(e.kept, rest) {
				return
			}
		}
		dir, base := tree.Split(above)
		above, rest = dir, join(base, rest)
	}
}
