package events

import (
	"context"
	"errors"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A message is an event before it is written.
type message struct {
	event string
	data  any
}

// A change is the data of an event of that name.
type change struct {
	Path       string    `json:"path"`
	From       string    `json:"from,omitempty"` // of a MOVE: nothing is there and below it any more
	Exists     bool      `json:"exists"`         // false: nothing is at the path and below it any more
	Collection bool      `json:"collection"`     // false: nothing is below the path
	ETag       tree.ETag `json:"etag,omitempty"` // of a file, if it is known
	Created    bool      `json:"created,omitempty"`
	Cause      string    `json:"cause"`
	Time       time.Time `json:"time"`
}

// messages returns the events of a change for the client, by its rights to list now.
func (s *stream) messages(ctx context.Context, e *entry) []message {
	c := e.Change
	switch {
	case !c.Concerns(s.name, strings.EqualFold):
		return nil
	case !c.Concerns(s.name, nil):
		if is, err := c.ConcernsIn(ctx, s.hub.opts.Store, s.name); is || err != nil { // then it may be so
			return s.list(s.name)
		}
		return nil
	case c.Deep() && (tree.Within(s.name, c.Name) || tree.Within(s.name, c.From) && c.From != ""):
		return s.list(s.name) // the collection itself has come or gone
	}
	all := s.l.SeesAll()
	if !all && c.Unsure() && c.Name != s.name && s.l.Seen(c.Name) && !s.l.Lists(c.Name) {
		return s.listAbove(ctx, c.Name)
	}
	c, ok := c.Without(func(name string) bool {
		return !tree.Within(name, s.name) || !all && (!s.l.Seen(name) || !c.OfCollection(name) && !s.l.Lists(name))
	})
	switch {
	case !ok:
		return nil
	case c.Again:
		return s.list(c.Name)
	}
	reads := true
	if !all && c.State.Exists {
		if c, reads, ok = s.asOfNow(e, c); !ok {
			return nil
		}
	}
	data := change{Path: s.l.Href(c.Name, c.State.Exists && c.State.Collection), Exists: c.State.Exists,
		Collection: c.State.Exists && c.State.Collection, Created: c.Created, Cause: c.Cause, Time: c.Time.UTC()}
	if c.From != "" {
		data.From = s.l.Href(c.From, c.State.Collection)
	}
	if reads {
		data.ETag = c.State.Tag
	}
	told := []message{{"change", data}}
	if c.State.Exists && c.State.Collection && c.Deep() {
		told = append(told, s.list(c.Name)...) // its members have come with it
	}
	return told
}

// list tells the client to list a collection, and all below it, again.
func (s *stream) list(name string) []message {
	return []message{{"list", map[string]string{"path": s.l.Href(name, true)}}}
}

// listAbove tells the client to list the collection that a name is in, without the name. Once is enough for all changes of
// which the events are sent together, since the client lists after them. Where a file is by now, there is nothing to list: a
// client that is told to would drop the file, of which it may have been told.
func (s *stream) listAbove(ctx context.Context, name string) []message {
	above, _ := tree.Split(name)
	if s.listed != nil && *s.listed == above {
		return nil
	}
	if is, err := s.hub.opts.Store.Stat(ctx, above, tree.ReadOptions{}); err == nil && is.Exists && !is.Collection {
		return nil // the change that has put it there tells that nothing is below it
	}
	s.listed = &above
	return s.list(above)
}

// asOfNow returns a change as a listing shows its name at this moment: a resource that is not shown is gone. ok is
// false if the client cannot have known of the name, so that it is told nothing.
func (s *stream) asOfNow(e *entry, c tree.Change) (told tree.Change, reads, ok bool) {
	state, err := e.look(s.hub.opts.Store)
	shows := false
	switch {
	case err == nil:
		shows, reads = s.l.Shows(&state)
	case !errors.Is(err, tree.ErrNotExist) && !errors.Is(err, tree.ErrNotServed):
		shows = c.State.Collection || s.l.Lists(c.Name) // it is told without its tag
	}
	switch {
	case shows:
		return c, reads, true
	case c.Created && !c.OfCollection(c.Name): // nothing of that name was shown
		if c.From == "" {
			return c, false, false
		}
		c.Name, c.From = c.From, ""
	}
	c.State, c.Old, c.Created = tree.State{Name: c.Name}, "", false
	return c, false, true
}
