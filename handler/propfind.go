package handler

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/webdav"

	"ifmatch/handler/davxml"
	"ifmatch/tree"
)

// propfind answers PROPFIND. The answer is written as it comes, and holds one member at a time.
func (s *server) propfind(w http.ResponseWriter, r *request) error {
	deep, err := depthOf(r.Header, depthZero, depthOne, depthInfinity)
	if err != nil {
		return err
	}
	check := r.condition(func(v tree.View) error {
		if err := r.present(v); err != nil {
			return err
		}
		return r.cond.IfOnly(v)
	})
	if err := s.courtesy(r, check); err != nil {
		return err
	}
	wanted, err := davxml.ReadPropfind(r.Body)
	if err != nil {
		return err
	}
	if r.cond.NamesVersion() { // what was not known before may be known now
		if err := s.Store.Try(r.Context(), check); err != nil {
			return err
		}
	}
	if deep != depthZero {
		if w, err = s.takeTurn(w, r, s.Pools.Listings); err != nil {
			return err
		}
	}
	l := listing{teller: newTeller(r.Context(), s, wanted), r: r, w: w}
	l.asked = r.name
	self, err := s.Store.Stat(r.Context(), r.name, l.want)
	if err != nil {
		return err
	}
	switch {
	case !self.Collection || deep == depthZero:
		l.levels = 0
	case deep == depthOne:
		l.levels = 1
	default: // RFC 4918 §9.1: an absent Depth means infinity
		l.levels = -1
		if err := s.countBelow(r.Context(), r.name); err != nil {
			return err
		}
	}
	err = l.list(self, l.levels)
	if err == nil {
		err = l.close()
	}
	if err != nil && l.out != nil {
		cutOff(w, err) // the status is sent: only an answer that breaks off can say that it is not whole
	}
	return err
}

var errTooMany = &statusError{status: http.StatusForbidden, condition: "propfind-finite-depth", detail: "it has more members than are told with Depth: infinity (--depth-infinity)"}

// countBelow counts what a listing with Depth: infinity would show, before its status is sent. What cannot be listed has
// no members here, as in the listing.
func (s *server) countBelow(ctx context.Context, name string) error {
	left := s.MaxInfinite
	if left < 0 {
		return errTooMany
	}
	var rest toList
	for more := true; more; name, more = rest.next() {
		var below []string
		for m, err := range s.Store.List(ctx, name, tree.OnlyKinds) {
			if err != nil && m.Name == "" {
				break
			}
			if left--; left < 0 {
				return errTooMany
			}
			if err == nil && m.Collection && !m.Link {
				below = append(below, lastSegment(m.Name))
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rest.add(name, below)
	}
	return nil
}

// toList are collections that are to be listed when the one they were found in has been: so that of a deep tree one
// collection is open at a time, however slowly a client reads. Each comes before what is in it.
type toList []struct {
	dir   string
	names []string // of its members
}

// add adds the members of a collection.
func (l *toList) add(dir string, names []string) {
	if len(names) > 0 {
		*l = append(*l, struct {
			dir   string
			names []string
		}{dir, names})
	}
}

// next takes out the next one.
func (l *toList) next() (name string, ok bool) {
	if len(*l) == 0 {
		return "", false
	}
	last := &(*l)[len(*l)-1]
	name, last.names = tree.Join(last.dir, last.names[0]), last.names[1:]
	if len(last.names) == 0 {
		*l = (*l)[:len(*l)-1]
	}
	return name, true
}

// lastSegment is kept without the rest of the name, which may be long.
func lastSegment(name string) string {
	_, base := tree.Split(name)
	return strings.Clone(base)
}

// A listing is a PROPFIND that is being answered.
type listing struct {
	*teller
	r       *request
	w       http.ResponseWriter
	levels  int                 // of members below the Request-URI that are told; negative: all
	out     *davxml.Multistatus // nil: the status is not sent yet
	flushed time.Time
}

// list writes a resource and the members down to so many levels, each collection before what is in it.
func (l *listing) list(self tree.State, levels int) error {
	if levels == 0 || !self.Collection {
		return l.show(self)
	}
	var rest toList
	for {
		below, err := l.collection(self, levels)
		if err != nil {
			return err
		}
		rest.add(self.Name, below)
		if self, err = l.nextOf(&rest); err != nil || !self.Exists {
			return err
		}
	}
}

// nextOf returns the next collection that is to be listed, none at the end. What has come in the place of one is told.
func (l *listing) nextOf(rest *toList) (tree.State, error) {
	for {
		name, ok := rest.next()
		if !ok {
			return tree.State{}, nil
		}
		state, err := l.Store.Stat(l.ctx, name, l.want)
		switch {
		case err != nil:
			err = l.refuse(tree.State{Name: name, Collection: true}, err)
		case state.Collection && !state.Link:
			return state, nil
		default:
			err = l.show(state)
		}
		if err != nil {
			return tree.State{}, err
		}
	}
}

// collection writes a collection and its members. Where those below them are to be told too, it leaves out the
// collections among them and returns their names.
func (l *listing) collection(self tree.State, levels int) (below []string, err error) {
	// Told after a first look at its members, because one that cannot be listed gets its own status.
	told := false
	for m, err := range l.Store.List(l.ctx, self.Name, l.want) {
		switch {
		case err != nil && m.Name == "" && told:
			return nil, err // it is half told
		case err != nil && m.Name == "" && l.out == nil:
			return nil, err // nothing is sent yet: the whole answer can have the status
		case err != nil && m.Name == "":
			return nil, l.refuse(self, err)
		}
		if !told {
			told = true
			if err := l.show(self); err != nil {
				return nil, err
			}
		}
		switch {
		case err != nil:
			err = l.refuse(m, err)
		case levels < 0 && m.Collection && !m.Link:
			below = append(below, lastSegment(m.Name))
		default:
			err = l.show(m)
		}
		if err != nil {
			return nil, err
		}
	}
	if !told {
		return nil, l.show(self)
	}
	return below, nil
}

// show writes what is to be told of one resource.
func (l *listing) show(state tree.State) error {
	l.begin()
	if err := l.out.Response(l.hrefOf(state), l.tell(state)...); err != nil {
		return err
	}
	return l.flush()
}

// refuse writes why a resource cannot be told of.
func (l *listing) refuse(state tree.State, err error) error {
	if errors.Is(err, tree.ErrNotExist) {
		return nil // removed since its collection was read
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	status, _ := statusOf(err)
	failedWithin(l.w, status, err, slog.String("member", state.Name))
	return l.out.Status(l.hrefOf(state), status, "")
}

// hrefOf returns the href of a resource as the client spells what it has asked for: some throw away what does not begin
// with that.
func (l *listing) hrefOf(state tree.State) string {
	name := state.Name
	if l.r.asked != l.r.name {
		name = l.r.asked + strings.TrimPrefix(name, l.r.name)
	}
	return l.href(name, state.Collection)
}

func (l *listing) begin() {
	if l.out != nil {
		return
	}
	l.w.Header().Set("Content-Type", xmlType)
	l.w.WriteHeader(webdav.StatusMulti)
	l.out = davxml.NewMultistatus(l.w)
	l.flushed = l.Now()
}

// flushEvery is how long a client waits at the most for what is known already, while the next file is hashed: some give up on
// a server that is silent.
const flushEvery = time.Second

func (l *listing) flush() error {
	if l.Now().Sub(l.flushed) < flushEvery {
		return nil
	}
	l.flushed = l.Now()
	err := l.out.Flush()
	if err == nil {
		err = http.NewResponseController(l.w).Flush()
	}
	if errors.Is(err, http.ErrNotSupported) {
		err = nil // then it goes out when there is enough of it
	}
	return err
}

func (l *listing) close() error {
	l.begin()
	return l.out.Close()
}
