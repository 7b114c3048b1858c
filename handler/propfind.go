package handler

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/net/webdav"

	"ifmatch/handler/accesslog"
	"ifmatch/handler/davxml"
	"ifmatch/handler/problem"
	"ifmatch/tree"
)

// propfind answers PROPFIND. The answer is written as it comes, and holds one member at a time.
func (s *server) propfind(w http.ResponseWriter, r *request) error {
	deep, err := depthOf(r.Header, depthZero, depthOne, depthInfinity)
	if err != nil {
		return err
	}
	check := r.condition(func(v tree.View) error {
		self, err := r.found(v)
		if err == nil {
			err = r.opens(&self)
		}
		if err != nil {
			return r.hidden(r.name, err)
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
	opts := tree.ListOptions{TagDeadline: r.tagDeadline, Show: r.showsMember()}
	switch deep {
	case depthZero:
	case depthOne:
		opts.Depth = 1
	default: // RFC 4918 §9.1: an absent Depth means infinity
		opts.Depth, opts.Limit = -1, s.MaxInfinite
		if s.MaxInfinite < 0 {
			if self, err := s.Store.Stat(r.Context(), r.name, tree.ReadOptions{}); err != nil || self.Collection {
				return cmp.Or(err, tree.ErrTooMany)
			}
		}
	}
	if opts.Depth != 0 {
		if w, err = s.takeTurn(w, r, s.Pools.Listings); err != nil {
			return err
		}
	}
	l := listing{teller: newTeller(r.Context(), s, wanted), r: r, w: w}
	l.asked, l.teller.r = r.name, r
	opts.Want = l.want
	if err = l.list(opts, check); err == nil {
		err = l.close()
	}
	if err != nil && l.out != nil {
		cutOff(w, err) // the status is sent: only an answer that breaks off can say that it is not whole
	}
	return err
}

// A listing is a PROPFIND that is being answered.
type listing struct {
	*teller
	r       *request
	w       http.ResponseWriter
	via     via
	out     *davxml.Multistatus // nil: the status is not sent yet
	flushed time.Time
}

// list writes all that is to be told of. An error that comes before anything is written is the whole answer's.
func (l *listing) list(opts tree.ListOptions, cond tree.Condition) error {
	for state, err := range l.Store.List(l.ctx, l.r.name, opts, cond) {
		shown := l.via.shows(l.r, &state)
		switch {
		case err != nil && state.Name == "":
			return l.r.hidden(l.r.name, err)
		case !shown && state.Name == l.r.name:
			return tree.ErrNotExist
		case !shown:
		case err != nil:
			err = l.refuse(state, err)
		default:
			err = l.show(state)
		}
		if err != nil {
			return err
		}
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
	accesslog.ExplainFailure(l.w, status, err, slog.String("member", state.Name))
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
	l.w.Header().Set("Content-Type", problem.XMLType)
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

// compressed compresses listings, which shrink to a twentieth, for clients that accept it (RFC 9110 §12.5.3). Content is
// never compressed: that would change its tag.
func compressed(next http.Handler) (http.Handler, error) {
	compress, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.EnableZstd(false))
	if err != nil {
		return nil, err
	}
	listings := compress(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PROPFIND" {
			listings.ServeHTTP(w, r)
		} else {
			next.ServeHTTP(w, r)
		}
	}), nil
}
