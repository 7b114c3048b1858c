// Package replicas has the replicas of a tree tell one another that they run, and by which files of users and rules. These
// are files of each replica, and a replica with older ones lets users do things that the others refuse by now.
package replicas

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"
)

// Notes keeps the notes of replicas. It is a [notes.Table] in the program.
type Notes interface {
	Keep(ctx context.Context, key string, value []byte, lasts time.Duration) error
	List(ctx context.Context, most int) (map[string][]byte, error)
	Remove(ctx context.Context, keys ...string) error
}

// Kind is the kind of the notes.
const Kind = "replica"

const (
	every = 10 * time.Second
	lasts = 4 * every
)

// Most is how many replicas are told of.
const Most = 1000

// A Replica is a server that runs.
type Replica struct {
	ID      string    `json:"id"` // of the process
	Host    string    `json:"host"`
	Program string    `json:"program"` // its version
	Started time.Time `json:"started"`
	Files   string    `json:"files"` // a hash of its users, app tokens and rules, "" for none
	// Ahead is by how much the clock of its machine is ahead of that of the database.
	Ahead time.Duration `json:"ahead,omitzero"`
}

// Of returns the replicas that notes of the [Kind] tell of, the oldest first.
func Of(notes map[string][]byte) []Replica {
	all := make([]Replica, 0, len(notes))
	for _, value := range notes {
		var one Replica
		if json.Unmarshal(value, &one) == nil { // else it is of a later release
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b Replica) int { return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID)) })
	return all
}

// Others returns the replicas with other files than one has.
func Others(all []Replica, files string) (others []Replica) {
	return slices.DeleteFunc(slices.Clone(all), func(r Replica) bool { return r.Files == files })
}

// A Teller tells of one replica, and looks at the others.
type Teller struct {
	notes Notes
	self  Replica
	look  func(ctx context.Context, self *Replica)
	told  func(others []Replica)

	differed int // looks in a row at which others had other files
}

// looks is at how many looks in a row others must have had other files before that is told: a change reaches one replica
// after another.
const looks = 3

// New returns a teller. look notes the files and the clock as they are now. told is called once when other replicas have
// had other files for a while, and with none when that has ended.
func New(notes Notes, self Replica, look func(context.Context, *Replica), told func(others []Replica)) *Teller {
	return &Teller{notes: notes, self: self, look: look, told: told}
}

// Tell tells once, and looks at the others.
func (t *Teller) Tell(ctx context.Context) error {
	t.look(ctx, &t.self)
	value, err := json.Marshal(t.self)
	if err != nil {
		return err
	}
	if err := t.notes.Keep(ctx, t.self.ID, value, lasts); err != nil {
		return err
	}
	notes, err := t.notes.List(ctx, Most)
	if err != nil {
		return err
	}
	switch others := Others(Of(notes), t.self.Files); {
	case len(others) == 0:
		if t.differed >= looks {
			t.told(nil)
		}
		t.differed = 0
	default:
		if t.differed++; t.differed == looks {
			t.told(others)
		}
	}
	return nil
}

// Run tells until ctx is done, and then takes back that the replica runs. An error of the database is of no interest here:
// the requests meet it, too.
func (t *Teller) Run(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		_ = t.Tell(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			_ = t.notes.Remove(context.WithoutCancel(ctx), t.self.ID)
			return
		}
	}
}
