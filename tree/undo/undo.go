// Package undo finds out how a part of a tree was at a time, and which steps make it that again. It changes nothing
// itself: a [Store] takes the steps.
//
// # The state at a time
//
// The present tree is a model in which each name stands for the resource at that name on the disk. The changes since
// the time are undone in the model, the newest first: a removal brings the version back that the history has kept, a
// MOVE moves the name back with all below it, a new file goes. The rest is the tree of that time. Each name in it
// stands for a resource on the disk, for a version in the history, for nothing, or for something that is not known.
//
// # Evidence
//
// A file that is there now may be replaced or removed only if a change of the journal has made it, and if it is still
// as that change has made it: it has the same ETag, or it came with a collection and has an earlier time of change. All
// other files stay: those that programs have changed or made, and those of unknown age. They are reported.
package undo

import (
	"context"
	"iter"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Kind is that of a resource.
type Kind uint8

// The kinds. Nothing: the name does not exist. Other: it is neither served nor touched.
const (
	Nothing Kind = iota
	File
	Collection
	Link
	Other
)

// An Info is the result of a look at a name. Its times are nanoseconds since 1970, and 0 if they are not known.
type Info struct {
	Name                    string // the last segment
	Kind                    Kind
	Size                    int64
	Born, Modified, Changed int64
	// Of belongs to the store.
	Of any
}

// Exists reports whether something is there.
func (i Info) Exists() bool { return i.Kind != Nothing }

// A Kept is a version in the history.
type Kept struct {
	Info
	ID    string
	Path  string    // the name that it had, or "" if that is not known any more
	Gone  time.Time // when it was replaced or removed
	Cause string    // as in [tree.Version]
	Late  bool      // as in [tree.Version]
}

// A Disk is the present state of the tree and of its history.
type Disk interface {
	// Lstat returns an Info of kind Nothing if nothing is at the name.
	Lstat(ctx context.Context, name string) (Info, error)
	Members(ctx context.Context, dir string) ([]Info, error)
	// Tag returns the tag of a file, and hashes it if necessary.
	Tag(ctx context.Context, name string, info Info) (tree.ETag, error)
	// Inside returns the members of a version, sorted by name.
	Inside(ctx context.Context, dir Kept) ([]Kept, error)
	TagKept(ctx context.Context, k Kept) (tree.ETag, error)
}

// Known is all that is known of the time since then.
type Known struct {
	At      time.Time
	Begun   time.Time     // since when the journal has all changes of the server. Zero: it has none
	Changes []tree.Change // all changes of the journal since EchoTime before At, the oldest first
	Kept    []Kept        // the versions that have given way after At
	Before  Census        // of At
}

// An Op is the kind of a step.
type Op uint8

// The steps. All leave to the history the versions that they replace or remove.
const (
	BringBack Op = iota // a version of the history gets its name back, where nothing is
	Replace             // a version of the history takes the place of the file at its name
	MoveBack            // a resource gets its former name back
	MakeDir             // a collection is made without its members
	Remove              // a file that was made since then is removed
	RemoveDir           // an empty collection that was made since then is removed
)

// A Step is one change. Its names are those at the moment of the step, if the steps are taken in their order.
type Step struct {
	Op   Op
	Name string
	From string // of a MoveBack
	Kept Kept   // of a BringBack and a Replace. Of a MakeDir, the collection whose mode it gets, if it has a name
	Seen Info   // the resource that is replaced, moved or removed, as it was seen
	// Over is the resource that the MoveBack replaces, if there is one. It goes to the history.
	Over Info
	// Archived is set if an earlier MoveBack of the plan has replaced the source: that step, from 1 on, and the path
	// below it.
	Archived int
	Below    string
	// Files and Dirs are how many files and collections the step brings, with all members.
	Files, Dirs int
}

// maxLeft bounds the names that a plan remembers.
const maxLeft = 10_000

// A Plan has the steps that make a part of the tree as it was.
type Plan struct {
	Steps []Step
	Left  []tree.LeftAlone // sorted as they were found, at most maxLeft
	More  int              // how many more there are
	// Existed says that something was at the name then.
	Existed bool
}

func (p *Plan) leave(name, reason string) {
	if len(p.Left) == maxLeft {
		p.More++
		return
	}
	p.Left = append(p.Left, tree.LeftAlone{Name: name, Reason: reason})
}

// Make returns the plan that makes a name, and everything below it, as it was.
func Make(ctx context.Context, disk Disk, name string, known Known) (*Plan, error) {
	r := &replay{ctx: ctx, disk: disk, model: &model{&node{set: true, ref: ref{kind: live}}},
		proofs: map[string]proof{}, inside: map[string][]Kept{}, at: known.At}
	if err := r.run(known); err != nil {
		return nil, err
	}
	p := &planner{replay: r, known: known, plan: &Plan{},
		sources: map[string]string{}, moved: map[string]string{}, archived: map[string]int{}}
	if err := p.make(name); err != nil {
		return nil, err
	}
	return p.plan, nil
}

// join joins a name and a path below it.
func join(name, rest string) string {
	if rest == "" {
		return name
	}
	return tree.Join(name, rest)
}

// segments returns the segments of a name. That of the root has none.
func segments(name string) iter.Seq[string] {
	return strings.FieldsFuncSeq(name, func(r rune) bool { return r == '/' })
}

// parent returns the collection of a name.
func parent(name string) string {
	dir, _ := tree.Split(name)
	return dir
}
