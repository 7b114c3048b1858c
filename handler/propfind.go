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
	err = s.Store.Try(r.Context(), func(v tree.View) error {
		if err := r.present(v); err != nil {
			return err
		}
		return r.cond.IfOnly(v)
	})
	if err != nil {
		return err
	}
	wanted, err := davxml.ReadPropfind(r.Body)
	if err != nil {
		return err
	}
	l := listing{teller: newTeller(r.Context(), s, wanted), r: r, w: w}
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
	var count func(name string) error
	count = func(name string) error {
		for m, err := range s.Store.List(ctx, name, tree.OnlyKinds) {
			if err != nil && m.Name == "" {
				return ctx.Err()
			}
			if left--; left < 0 {
				return errTooMany
			}
			if err == nil && m.Collection && !m.Link {
				if err := count(m.Name); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if left < 0 {
		return errTooMany
	}
	return count(name)
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
	if levels == 0 || !self.Collection || self.Link && l.out != nil {
		return l.show(self)
	}
	// Told after a first look at its members, because one that cannot be listed gets its own status.
	told := false
	for m, err := range l.Store.List(l.ctx, self.Name, l.want) {
		switch {
		case err != nil && m.Name == "" && told:
			return err // it is half told
		case err != nil && m.Name == "" && l.out == nil:
			return err // nothing is sent yet: the whole answer can have the status
		case err != nil && m.Name == "":
			return l.refuse(self, err)
		}
		if !told {
			told = true
			if err := l.show(self); err != nil {
				return err
			}
		}
		if err != nil {
			err = l.refuse(m, err)
		} else {
			err = l.list(m, levels-1)
		}
		if err != nil {
			return err
		}
	}
	if !told {
		return l.show(self)
	}
	return nil
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
