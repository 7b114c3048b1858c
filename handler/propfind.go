package handler

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
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

// propfind answers PROPFIND. It streams the answer, and holds one member at a time.
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
	opts := tree.ListOptions{TagDeadline: r.tagDeadline, Show: r.showsMember(), Follow: r.follows}
	switch deep {
	case depthZero:
	case depthOne:
		opts.Depth = 1
	default: // RFC 4918 §9.1: an absent Depth means infinity
		opts.Depth, opts.Limit = -1, s.MaxInfinite
		if s.MaxInfinite < 0 {
			if self, err := s.Store.Stat(r.Context(), r.name, r.reading(0)); err != nil || self.Collection {
				return cmp.Or(err, tree.ErrTooMany)
			}
		}
	}
	if opts.Depth != 0 {
		if w, err = s.takeTurn(w, r, s.Pools.Listings); err != nil {
			return err
		}
	}
	l := propfindResponse{propertyRenderer: newPropertyRenderer(r.Context(), s, wanted), r: r, w: w}
	l.asked, l.propertyRenderer.r = r.name, r
	opts.Want = l.want
	if slices.Contains(l.named, liveByName[syncTokenName]) {
		// Before the listing, so that what changes meanwhile is after the token.
		l.syncToken(&tree.State{Collection: true})
	}
	if err = l.list(opts, check); err == nil {
		err = l.close()
	}
	if err != nil && l.out != nil {
		cutOff(w, err) // the status has been sent: only a cut connection tells that the answer is incomplete
	}
	return err
}

// A propfindResponse is the answer to a PROPFIND in progress.
type propfindResponse struct {
	*propertyRenderer
	r       *request
	w       http.ResponseWriter
	out     *davxml.Multistatus // nil: the status has not been sent
	flushed time.Time
}

// list writes all resources. An error before the first of them is returned for the whole answer.
func (l *propfindResponse) list(opts tree.ListOptions, cond tree.Condition) error {
	for state, err := range l.Store.List(l.ctx, l.r.name, opts, cond) {
		shown := l.r.shows(&state)
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

// show writes a resource.
func (l *propfindResponse) show(state tree.State) error {
	l.begin()
	if err := l.out.Response(l.hrefOf(state), l.render(state)...); err != nil {
		return err
	}
	return l.flush()
}

// refuse writes the status of a resource that cannot be read.
func (l *propfindResponse) refuse(state tree.State, err error) error {
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

// hrefOf returns the href of a resource, in the spelling of the request: some clients ignore resources with another
// prefix.
func (l *propfindResponse) hrefOf(state tree.State) string {
	name := state.Name
	if l.r.asked != l.r.name {
		name = l.r.asked + strings.TrimPrefix(name, l.r.name)
	}
	return l.href(name, state.Collection)
}

func (l *propfindResponse) begin() {
	if l.out != nil {
		return
	}
	l.w.Header().Set("Content-Type", problem.XMLType)
	l.w.WriteHeader(webdav.StatusMulti)
	l.out = davxml.NewMultistatus(l.w)
	l.flushed = l.Now()
}

// flushEvery bounds how long finished parts of an answer stay in the buffer while files are hashed. Some clients give
// up on a silent server.
const flushEvery = time.Second

func (l *propfindResponse) flush() error {
	if l.Now().Sub(l.flushed) < flushEvery {
		return nil
	}
	l.flushed = l.Now()
	err := l.out.Flush()
	if err == nil {
		err = http.NewResponseController(l.w).Flush()
	}
	if errors.Is(err, http.ErrNotSupported) {
		err = nil // the buffers are written when they are full
	}
	return err
}

func (l *propfindResponse) close() error {
	l.begin()
	return l.out.Close()
}

// compressed compresses listings, to about a twentieth, for clients that accept it (RFC 9110 §12.5.3). It does not
// compress file contents, because that would change their tags.
func compressed(next http.Handler) (http.Handler, error) {
	compress, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.EnableZstd(false))
	if err != nil {
		return nil, err
	}
	listings := compress(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PROPFIND" || r.Method == "REPORT" {
			listings.ServeHTTP(w, r)
		} else {
			next.ServeHTTP(w, r)
		}
	}), nil
}
