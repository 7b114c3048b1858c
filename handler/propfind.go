package handler

import (
	"context"
	"errors"
	"net/http"

	"golang.org/x/net/webdav"

	"ifmatch/handler/davxml"
	"ifmatch/tree"
)

// maxInfinite bounds the members of a listing with Depth: infinity. What has more is refused, as RFC 4918 §9.1 allows.
const maxInfinite = 10_000

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
	want := wantOf(wanted)
	self, err := s.Store.Stat(r.Context(), r.name, want)
	if err != nil {
		return err
	}
	infinite := self.Collection && (deep == depthAbsent || deep == depthInfinity)
	if infinite {
		if err := s.countBelow(r.Context(), r.name); err != nil {
			return err
		}
	}
	w.Header().Set("Content-Type", xmlType)
	w.WriteHeader(webdav.StatusMulti)
	l := listing{server: s, wanted: wanted, want: want, out: davxml.NewMultistatus(w)}
	err = l.show(self, nil)
	if err == nil && self.Collection && deep != depthZero {
		err = l.members(r.Context(), r.name, infinite)
	}
	if err == nil {
		err = l.out.Close()
	}
	if err != nil {
		// The status is sent. Only an answer that breaks off can say that it is not whole.
		panic(http.ErrAbortHandler)
	}
	return nil
}

var errTooMany = &statusError{status: http.StatusForbidden, condition: "propfind-finite-depth", detail: "too much for Depth: infinity"}

// countBelow counts what a listing with Depth: infinity would show, before its status is sent.
func (s *server) countBelow(ctx context.Context, name string) error {
	left := maxInfinite
	var count func(name string) error
	count = func(name string) error {
		for m, err := range s.Store.List(ctx, name, 0) {
			if err != nil && m.Name == "" {
				return err
			}
			if left--; left < 0 {
				return errTooMany
			}
			if err == nil && m.Collection && !m.Link {
				if err := count(m.Name); err != nil && !errors.Is(err, tree.ErrNotExist) {
					return err
				}
			}
		}
		return nil
	}
	return count(name)
}

// A listing is a PROPFIND that is being answered.
type listing struct {
	*server
	wanted davxml.Propfind
	want   tree.Want
	out    *davxml.Multistatus
}

// show writes what is to be told of one name, or why it cannot be told.
func (l *listing) show(state tree.State, err error) error {
	href := l.href(state.Name, state.Collection)
	if err != nil {
		status, _ := statusOf(err)
		return l.out.Status(href, status, "")
	}
	return l.out.Response(href, answer(l.wanted, l.properties(state))...)
}

func (l *listing) members(ctx context.Context, name string, infinite bool) error {
	for m, err := range l.Store.List(ctx, name, l.want) {
		if err != nil && m.Name == "" {
			return err
		}
		if err := l.show(m, err); err != nil {
			return err
		}
		if infinite && err == nil && m.Collection && !m.Link {
			if err := l.members(ctx, m.Name, true); err != nil && !errors.Is(err, tree.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
