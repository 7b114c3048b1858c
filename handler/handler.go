// Package handler speaks HTTP and WebDAV (RFC 9110, RFC 4918) for a [tree.Store].
//
// It turns a request into a name, values and a condition, asks the store, and turns what comes back into a status. It
// knows neither where files are kept nor how they are hashed. Every method that changes something hands its condition down into the commit; PUT also
// asks it before it reads the body, as a courtesy.
package handler

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rs/cors"

	"ifmatch/auth"
	"ifmatch/handler/precondition"
	"ifmatch/limit"
	"ifmatch/tree"
	"ifmatch/wire"
)

// Config says what is served, and to whom. Store and Log are needed; the zero value of the rest works.
type Config struct {
	Store    tree.Store
	Prefix   string // path below which the tree is served, such as "/dav"; "" for the root
	ReadOnly bool   // refuse every method that changes something
	NoLocks  bool   // take no locks: class 1 of RFC 4918 §18; those that are held still bind

	// RefuseJunk: make none of the files that macOS and Windows leave in every directory. Those that are there are served.
	RefuseJunk bool

	// PublicURLs are what clients call this server, where that is neither an IP address nor localhost.
	PublicURLs []*url.URL
	// TrustedProxies are the addresses whose word about the client's request is believed.
	TrustedProxies []netip.Prefix
	// LooseETags takes the tags that compressing proxies change for ours, whoever sends them. From trusted proxies they
	// are anyway.
	LooseETags bool
	// RequireConditions refuses to replace or remove what is there where no condition says which version is meant (428).
	RequireConditions bool
	// CORSOrigins are the web origins whose pages may read and write, such as "https://app.example".
	CORSOrigins []string

	// MaxInfinite is how many members a PROPFIND with Depth: infinity may tell of (0: 10,000; negative: none). RFC 4918
	// §9.1 lets a server refuse it.
	MaxInfinite int

	// TagWait bounds how long after its beginning an answer still waits for tags that it can do without (0: as long as it
	// takes).
	TagWait time.Duration

	// DrainBytes and DrainTime bound how much of a refused body is read after the refusal was sent, so that a client
	// that sends before it listens still hears it (0: 1 GB, 1 minute; negative: nothing).
	DrainBytes int64
	DrainTime  time.Duration
	// Pace says how slow a client may be that sends a body, or takes an answer (zero: [wire.DefaultLimit]). The answers of
	// HTTP/1 go at the pace of their connection, see [wire.Listen].
	Pace wire.Limit
	// ShortBody bounds how long any other body takes than that of a PUT, in all (0: 30 seconds; negative: not at all). At a
	// megabyte, the most that is read of one, that is a rate of 35 KB/s.
	ShortBody time.Duration
	// Abandoned is how long a request over HTTP/1 goes on to hash, where somebody else need not have the hash, after its client
	// has closed its sending side (0: 10 seconds). Whoever is still listening then is told to try again.
	Abandoned  time.Duration
	silence    time.Duration // see defaultSilence
	glanceTime time.Duration // see defaultGlance

	// Pools bound what goes on at once (nil: by what this process may use).
	Pools *limit.Pools

	// DeleteGuard are patterns of the User-Agents whose unconditional DELETE is refused after their PUT of the same name
	// has failed; "*" stands for any text.
	DeleteGuard []string

	// Auth knows who may do what (nil: everybody may do everything).
	Auth *auth.Authority

	Log *slog.Logger
	// Audit gets a line for each change that was made (nil: none).
	Audit *slog.Logger
	// Observe is called for each request that has been answered (nil: it is not). It must not block.
	Observe func(Answered)
	// Now is the clock (nil: time.Now).
	Now func() time.Time
}

type server struct {
	Config
	prefix      []string // the decoded segments of Prefix
	origin      *http.CrossOriginProtection
	deleteGuard *deleteGuard
	digests     *digestMemory
}

// New returns a handler for the tree, or an error about the configuration.
func New(config Config) (http.Handler, error) {
	s, err := newServer(config)
	if err != nil {
		return nil, err
	}
	h, err := compressed(http.HandlerFunc(s.serve))
	if err != nil {
		return nil, err
	}
	h = s.guarded(h)
	if len(s.CORSOrigins) > 0 {
		h = s.cors().Handler(h) // around everything that answers, so that a page can read also why it is refused
	}
	return s.logged(s.exchanged(s.private(h))), nil
}

func newServer(config Config) (*server, error) {
	s := &server{Config: config, origin: http.NewCrossOriginProtection(), digests: newDigests()}
	if s.Now == nil {
		s.Now = time.Now
	}
	s.MaxInfinite = cmp.Or(s.MaxInfinite, 10_000)
	s.DrainBytes = cmp.Or(s.DrainBytes, 1e9)
	s.DrainTime = cmp.Or(s.DrainTime, time.Minute)
	s.Pace = cmp.Or(s.Pace, wire.DefaultLimit)
	s.ShortBody = cmp.Or(s.ShortBody, 30*time.Second)
	s.Abandoned = cmp.Or(s.Abandoned, 10*time.Second)
	s.silence = cmp.Or(s.silence, defaultSilence)
	s.glanceTime = cmp.Or(s.glanceTime, defaultGlance)
	if s.Pools == nil {
		s.Pools = limit.System().Bounds().Pools()
	}
	var err error
	if s.Auth == nil {
		if s.Auth, err = withoutUsers(); err != nil {
			return nil, err
		}
	}
	if s.deleteGuard, err = newDeleteGuard(s.DeleteGuard, s.Now); err != nil {
		return nil, fmt.Errorf("a pattern of the delete guard: %w", err)
	}
	s.Prefix = strings.TrimSuffix(s.Prefix, "/")
	if s.Prefix != "" {
		segments, _, err := splitPath(s.Prefix)
		if err != nil {
			return nil, fmt.Errorf("the prefix %q is not a path: %w", config.Prefix, err)
		}
		s.prefix = segments
	}
	for _, origin := range s.CORSOrigins {
		if err := s.origin.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
	}
	for _, public := range s.PublicURLs {
		if err := s.origin.AddTrustedOrigin(public.Scheme + "://" + public.Host); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// cors lets the listed origins see what scripts need (and is not there at all if none is listed).
func (s *server) cors() *cors.Cors {
	return cors.New(cors.Options{
		AllowedOrigins: s.CORSOrigins,
		// A browser sends a POST unasked; its 405 is to be read like any other.
		AllowedMethods: append(slices.Clip(onFile), "MKCOL", "POST"),
		AllowedHeaders: []string{"Accept", "Authorization", "Cache-Control", "Content-Digest", "Content-MD5", "Content-Range",
			"Content-Type", "Depth", "Destination", "If", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range",
			"If-Unmodified-Since", "Lock-Token", "OC-Checksum", "Overwrite", "Pragma", "Prefer", "Range", "Repr-Digest",
			"Timeout", "Want-Content-Digest", "Want-Repr-Digest", "X-Expected-Entity-Length", "X-OC-Mtime", "X-Requested-With"},
		ExposedHeaders: []string{"Accept-Ranges", "Allow", "Content-Digest", "Content-Length", "Content-Location",
			"Content-Range", "DAV", "Date", "ETag", "Last-Modified", "Location", "Lock-Token", "MS-Author-Via", "OC-Checksum",
			"OC-ETag", "Preference-Applied", "Repr-Digest", "Retry-After", "Vary", "Want-Content-Digest", "Want-Repr-Digest",
			"WWW-Authenticate", "X-OC-Mtime", "X-Request-Id"},
		MaxAge: 600,
	})
}

// A request is one that is about a name in the tree.
type request struct {
	*http.Request
	arrived *http.Request // as it has come, without a context of ours: to it net/http adds what comes behind the body

	sending *body // what the client sends, below what counts it; nil where there is nothing

	who     *asker    // nil: that was not looked at
	id      string    // see server.identity; "" without an audit log
	before  tree.ETag // of what the write replaced, as the commit has found it; and of what it made
	after   tree.ETag
	granted bool // the rules let the principal do it, by names alone

	name  string // what the Request-URI stands for
	asked string // the name in the Request-URI, which may be another spelling
	slash bool   // the Request-URI ends with a slash
	cond  *precondition.Conditions
	sent  *verifier // what a PUT sends; nil of other methods

	tagDeadline time.Time // as in [tree.ReadOptions]

	// What Destination stands for, of COPY and MOVE; as it was sent, too, or why there is none.
	to, askedTo string
	toErr       error

	decides tree.Condition // what its method has the store ask
	made    []string       // the names that it may make
	noJunk  bool           // see Config.RefuseJunk

	ours map[string]bool // authorities, see server.ours; nil until that is asked

	turn       *turn // nil while it has none
	turnedAway bool  // there are too many like it
}

func newRequest(hr *http.Request) *request {
	sending, _ := hr.Body.(*body)
	return &request{Request: hr, arrived: hr, sending: sending}
}

// reading returns the options for what a request looks at.
func (r *request) reading(want tree.Want) tree.ReadOptions {
	return tree.ReadOptions{Want: want, TagDeadline: r.tagDeadline}
}

type method struct {
	serve  func(s *server, w http.ResponseWriter, r *request) error
	writes bool
}

var methods = map[string]method{
	"OPTIONS":   {(*server).options, false},
	"GET":       {(*server).get, false},
	"HEAD":      {(*server).get, false},
	"PROPFIND":  {(*server).propfind, false},
	"PUT":       {(*server).put, true},
	"DELETE":    {(*server).delete, true},
	"MKCOL":     {(*server).mkcol, true},
	"COPY":      {(*server).copyMove, true},
	"MOVE":      {(*server).copyMove, true},
	"PROPPATCH": {(*server).proppatch, true},
	"LOCK":      {(*server).lock, true},
	"UNLOCK":    {(*server).unlock, true},
}

func (s *server) serve(w http.ResponseWriter, hr *http.Request) {
	r := newRequest(hr)
	defer r.endTurn()
	s.identity(w, r)
	err := s.identify(w, r)
	if err == nil {
		err = s.dispatch(w, r)
	}
	s.audit(w, r, err)
	if err == nil && r.gaveWay() && isCut(w) {
		cutOff(w, errGaveWay) // it has come to its end all the same, and what its deadlines are on must not go on
	}
	if err == nil {
		return
	}
	if r.Method == http.MethodPut && r.granted { // else the store is not asked about the name
		defer s.putFailed(r)()
	} else if r.Method == http.MethodPut {
		s.putRefused(r)
	}
	switch {
	case !r.gaveWay():
	case isCut(w):
		cutOff(w, fmt.Errorf("%w: %w", errGaveWay, err))
	case !errors.Is(err, tree.ErrUnsure):
		err = fmt.Errorf("%w: %v", errGaveWay, err) // whatever it is, it comes of that
	}
	s.fail(w, r, s.ratherFailed(r, err))
	r.leave() // the rest of the body holds nothing
	settle(w)
}

func (s *server) dispatch(w http.ResponseWriter, r *request) error {
	if r.RequestURI == "*" && r.Method == "OPTIONS" {
		return s.options(w, r)
	}
	if strings.Contains(r.RequestURI, "#") {
		return &statusError{status: http.StatusBadRequest, detail: "a request has no fragment (RFC 9112 §3.2.1)"}
	}
	if err := r.refuseCoded10(); err != nil {
		return err
	}
	var err error
	r.name, r.slash, err = s.locate(pathOf(r.URL))
	if errors.Is(err, errAbove) {
		return s.above(w, r)
	}
	if err != nil {
		return err
	}
	r.asked, r.noJunk = r.name, s.RefuseJunk
	m, known := methods[r.Method]
	if err := s.admitted(r, known); err != nil {
		return err
	}
	if r.name, err = s.spelledNow(r.Context(), r.asked); err != nil {
		return r.hidden(r.asked, err)
	}
	if err := r.allowed(&r.who.Access); err != nil && known {
		return err
	}
	r.granted = known
	if !known || s.NoLocks && (r.Method == "LOCK" || r.Method == "UNLOCK") {
		why := ""
		if known && !s.ReadOnly {
			why = "no WebDAV locks are taken here (--no-locks)"
		}
		return s.notAllowed(r, why)
	}
	if m.writes && s.ReadOnly {
		return tree.ErrReadOnly
	}
	var tooLong error
	r.cond, err = precondition.Parse(r.Header, s.Now(), r.name, s.tagged(r, &tooLong), s.matching(r.Request))
	if err = cmp.Or(err, tooLong); err != nil {
		return err
	}
	r.cond.Limit(r.sight())
	if err := r.mayCompare(&r.who.Access); err != nil {
		return err
	}
	if w, err = s.takeTurn(w, r, s.poolOf(r.Method)); err != nil {
		return err
	}
	if s.TagWait > 0 && !r.needsTag() {
		r.tagDeadline = time.Now().Add(s.TagWait)
	}
	return m.serve(s, w, r)
}

// admitted decides, by names and rules alone and before the store is asked anything, whether a request goes on.
func (s *server) admitted(r *request, known bool) error {
	if s.askedToLogIn(r) {
		return &deniedError{auth.Challenge}
	}
	if r.Method == "COPY" || r.Method == "MOVE" {
		r.askedTo, r.toErr = s.askedDestination(r)
		r.to = r.askedTo
	}
	if !known {
		if !r.seen(r.asked) {
			return s.notAllowed(r, "")
		}
		return nil
	}
	return r.allowed(&r.who.Access)
}

// needsTag reports whether a GET cannot be answered without the tag of what it opens.
func (r *request) needsTag() bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && (r.Header["If-Match"] != nil || r.Header["If"] != nil)
}
