// Package handler speaks HTTP and WebDAV (RFC 9110, RFC 4918) for a [tree.Store].
//
// It turns a request into a name, values and a condition, calls the store, and turns the result into a status. It
// does not know where files are kept or how they are hashed. Each method that changes something passes its condition
// to the store, which checks it inside the commit. Methods with a body also check it before they read the body, as a
// courtesy.
package handler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/auth/session"
	"r-seed-1f3a754f.example/ifmatch/handler/accesslog"
	"r-seed-1f3a754f.example/ifmatch/handler/bylink"
	"r-seed-1f3a754f.example/ifmatch/handler/davxml"
	"r-seed-1f3a754f.example/ifmatch/handler/deleteguard"
	"r-seed-1f3a754f.example/ifmatch/handler/digest"
	"r-seed-1f3a754f.example/ifmatch/handler/events"
	"r-seed-1f3a754f.example/ifmatch/handler/exchange"
	"r-seed-1f3a754f.example/ifmatch/handler/origin"
	"r-seed-1f3a754f.example/ifmatch/handler/precondition"
	"r-seed-1f3a754f.example/ifmatch/handler/problem"
	"r-seed-1f3a754f.example/ifmatch/handler/proxy"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/links"
	"r-seed-1f3a754f.example/ifmatch/site"
	"r-seed-1f3a754f.example/ifmatch/site/grace"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/uploads"
	"r-seed-1f3a754f.example/ifmatch/web"
	"r-seed-1f3a754f.example/ifmatch/wire"
)

// Config says what is served, and to which clients. Store and Log are needed. The zero value of the other fields
// works.
type Config struct {
	Store    tree.Store
	Prefix   string   // path below which the tree is served, such as "/dav"; "" for the root
	ReadOnly bool     // refuse every method that changes something
	Page     web.Mode // what a GET of a collection gives ("": a list)
	NoLocks  bool     // take no new locks (class 1 of RFC 4918 §18); locks that are held still bind

	// RefuseJunk refuses to create the files that macOS and Windows leave in every directory. Existing ones are
	// served.
	RefuseJunk bool

	// PublicURLs are the URLs of the server for clients, if its host is neither an IP address nor localhost.
	PublicURLs []*url.URL
	// TrustedProxies are the proxies whose headers about the client's request are believed.
	TrustedProxies proxy.Trusted
	// LooseETags accepts tags as compressing proxies change them from all clients. From trusted proxies they are
	// always accepted.
	LooseETags bool
	// RequireConditions refuses to replace or remove a resource without a condition about its version (428).
	RequireConditions bool
	// CORSOrigins are the web origins whose pages may read and write, such as "https://app.example".
	CORSOrigins []string

	// MaxInfinite bounds the members in the answer to a PROPFIND with Depth: infinity (0: 10,000; negative: none).
	// RFC 4918 §9.1 permits the refusal.
	MaxInfinite int

	// TagWait bounds how long an answer waits for tags that it can do without, from its beginning (0: no limit).
	TagWait time.Duration

	// MaxUpload is the most bytes that the body of a PUT may have (0: any number).
	MaxUpload int64
	// UploadExpiry is how long an upload that arrives in parts is kept after its last byte (0: a day).
	UploadExpiry time.Duration
	// Current returns the MaxUpload and the Exchange.Pace of a request that begins (nil: those of this Config).
	Current func() (maxUpload int64, pace wire.Limit)
	// Exchange bounds the bodies that are read, and how long clients are waited for.
	Exchange exchange.Limits

	// Pools limit the requests that run at once (nil: by the resources of this process).
	Pools *limit.Pools

	// DeleteGuard are patterns of User-Agents. Their unconditional DELETE is refused after their PUT of the same name
	// has failed. "*" stands for any text.
	DeleteGuard []string
	// Guarded remembers these PUTs for all servers of a tree (nil: this handler does).
	Guarded deleteguard.Store

	// Sites are the parts of the tree that are shown as web sites. See [site.Set.Check].
	Sites []site.Site

	// Auth knows the users and their rules (nil: every client may do everything).
	Auth *auth.Authority
	// Sessions are those of the users who have logged in at the page (nil: they end with this handler).
	Sessions *session.Table
	// Links keeps the share links of several servers (nil: they are in a file beside the users file).
	Links links.Shelf
	// NoLinks answers no share links, and lets no user make any.
	NoLinks bool

	Log *slog.Logger
	// AccessLog gets a line for each request that has not failed for a fault of the server (nil: Log). Log gets the
	// others.
	AccessLog *slog.Logger
	// Audit gets a line for each change (nil: none).
	Audit *slog.Logger
	// Observe gets the outcome of each request (nil: none). It must not wait.
	Observe func(accesslog.Answered)
	// Now is the clock of all dates and times that clients are told, such as that of several servers (nil: time.Now).
	Now func() time.Time
	// Ending is closed when the server stops. Streams of events end then (nil: never).
	Ending <-chan struct{}
	events events.Options
}

type server struct {
	Config
	prefix      []string // the decoded segments of Prefix
	origin      *origin.Guard
	deleteGuard *deleteguard.Guard
	digests     *digest.Memory
	feed        tree.Feed     // nil: changes cannot be followed
	grace       *grace.Keeper // nil: no site has a grace
	hub         *events.Hub
	sites       *site.Set
	uploads     *uploads.Server // nil: a file arrives in one request
	links       *links.Book
}

// New returns a handler for the tree, or an error about the configuration.
func New(config Config) (http.Handler, error) {
	s, err := newServer(config)
	if err != nil {
		return nil, err
	}
	served := compressed(http.HandlerFunc(s.serve))
	h := s.guarded(served)
	// A browser sends a POST without asking first, and its page shall be able to read the 405.
	h = s.origin.CORS(append(slices.Clip(onFile), "MKCOL", "PATCH", "POST", "REPORT"), h)
	h = s.byHost(served, h)
	log := accesslog.Log{
		Logger: s.AccessLog, Faults: s.Log, Now: time.Now, Date: config.Now, Client: s.clientText,
		Trusted: s.TrustedProxies.Sent, Observe: s.Observe,
		Known: func(method string) bool {
			_, known := methods[method]
			return known || method == http.MethodPost || method == http.MethodPatch
		},
	}
	return log.Wrap(s.Exchange.Wrap(s.origin.Private(h))), nil
}

func newServer(config Config) (*server, error) {
	s := &server{Config: config}
	s.digests = digest.NewMemory(s.hashTurn)
	if s.Now == nil {
		s.Now = time.Now
	}
	s.AccessLog = cmp.Or(s.AccessLog, s.Log)
	s.MaxInfinite = cmp.Or(s.MaxInfinite, 10_000)
	s.Exchange = s.Exchange.WithDefaults()
	if s.Current != nil {
		s.Exchange.PaceNow = func() wire.Limit { _, pace := s.Current(); return pace }
	}
	if s.Pools == nil {
		s.Pools = limit.System().Bounds().Pools()
	}
	var err error
	if s.sites, err = site.NewSet(s.Sites); err != nil {
		return nil, err
	}
	if s.Auth == nil {
		if s.Auth, err = auth.Open(auth.Options{}); err != nil {
			return nil, err
		}
	}
	if s.Sessions == nil {
		s.Sessions = session.New(session.Memory(), s.Now)
	}
	s.links = links.NewBook(s.usersWithLinks, s.Links, s.Now)
	if s.deleteGuard, err = deleteguard.New(s.DeleteGuard, s.Guarded, s.Now); err != nil {
		return nil, fmt.Errorf("a pattern of the delete guard: %w", err)
	}
	if feed, ok := s.Store.(tree.Feed); ok {
		if _, err := feed.Now(context.Background()); !errors.Is(err, tree.ErrUnsupported) {
			s.feed = feed
			s.Config.events.Store, s.Config.events.Feed, s.Config.events.Ending = s.Store, feed, s.Ending
			s.hub = events.New(s.Config.events)
		}
	}
	if s.grace, err = s.graceOfSites(); err != nil {
		return nil, err
	}
	if store, ok := s.Store.(tree.Uploads); ok {
		s.uploads = uploads.New(uploads.Config{Store: store, Expiry: s.UploadExpiry, Most: s.maxUpload, Now: s.Now})
	}
	s.Prefix = strings.TrimSuffix(s.Prefix, "/")
	if s.Prefix != "" {
		if s.prefix, _, err = splitPath(s.Prefix); err != nil {
			return nil, fmt.Errorf("the prefix %q is not a path: %w", config.Prefix, err)
		}
	}
	s.origin, err = origin.New(s.CORSOrigins, s.PublicURLs, s.TrustedProxies)
	return s, err
}

// guarded refuses the requests of web pages of other sites, and those for an unknown Host.
func (s *server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refusal := s.origin.Check(s.withoutNullOrigin(r)); refusal != nil {
			if s.linkOf(newRequest(r)) != nil {
				w = &bylink.Writer{ResponseWriter: w}
			}
			s.fail(w, newRequest(r), refusal)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// A request is a request for a name in the tree.
type request struct {
	*http.Request
	arrived *http.Request // the request without contexts of ours: net/http adds the trailer section to it

	sending *exchange.Body // the body that the client sends; nil if the request has none

	ctx context.Context // see Context

	who     *asker    // nil: not identified yet
	id      string    // that the logs have ("" without an audit log)
	before  tree.ETag // the tag of the replaced version, and that of the new version
	after   tree.ETag
	follows tree.Follow // of the principal: see asker.follow
	bound   string      // see binding

	byLink *string     // the path below the address of share links, if the request has that address
	link   *links.Link // by which it asks (nil: none, or not known yet)

	site  *site.Site  // that its host serves, and nothing else (nil: the host serves the tree)
	shown *site.Shown // the file of a site that answers it (nil: none)

	granted bool // the rules permit the request as far as names decide

	name  string // the name that the Request-URI stands for
	asked string // the name as spelled in the Request-URI
	slash bool   // the Request-URI ends with a slash
	cond  *precondition.Conditions
	sent  *digest.Verifier // of the body of a PUT, else nil

	tagDeadline time.Time // as in [tree.ReadOptions]

	// The name that the Destination of a COPY or MOVE stands for, that name as spelled in the header, and the error
	// of the header.
	to, askedTo string
	toErr       error

	decides  tree.Condition // the condition that the method passes to the store
	toCreate []string       // the names that the request may create
	noJunk   bool           // see Config.RefuseJunk

	ours map[string]bool // authorities, see server.ours (nil: not known yet)

	turn       *turn // nil: the request holds none
	turnedAway bool  // there were too many requests
}

func newRequest(hr *http.Request) *request {
	return &request{Request: hr, arrived: hr, sending: exchange.BodyOf(hr), ctx: hr.Context()}
}

// Context returns the context of the request, with the principal and the client once they are known. It hides that of
// [http.Request], which could only be changed in a copy of the request.
func (r *request) Context() context.Context { return r.ctx }

// reading returns the options for a look of this request.
func (r *request) reading(want tree.Want) tree.ReadOptions {
	return tree.ReadOptions{Want: want, TagDeadline: r.tagDeadline, Follow: r.follows}
}

var methods = map[string]struct {
	serve  func(s *server, w http.ResponseWriter, r *request) error
	writes bool
}{
	"OPTIONS":   {(*server).options, false},
	"GET":       {(*server).get, false},
	"HEAD":      {(*server).get, false},
	"PROPFIND":  {(*server).propfind, false},
	"REPORT":    {(*server).report, false},
	"PUT":       {(*server).put, true},
	"DELETE":    {(*server).delete, true},
	"MKCOL":     {(*server).mkcol, true},
	"COPY":      {(*server).copyMove, true},
	"MOVE":      {(*server).copyMove, true},
	"PROPPATCH": {(*server).proppatch, true},
	"LOCK":      {(*server).lock, true},
	"UNLOCK":    {(*server).unlock, true},
}

// options answers OPTIONS with the methods and the compliance classes for a name. It announces only what works,
// because clients use what is announced.
func (s *server) options(w http.ResponseWriter, r *request) error {
	if r.cond != nil && r.Header["If"] != nil {
		if err := s.Store.Try(r.Context(), r.condition(r.cond.IfOnly)); err != nil {
			return err
		}
	}
	h := w.Header()
	h.Set("Allow", s.allow(r))
	s.classes(h, r.mayLockIn(r.asked))
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
	return nil
}

// classes sets the compliance classes (RFC 4918 §18). macOS writes only to servers with class 2.
func (s *server) classes(h http.Header, mayLock bool) {
	classes := "1, 2, 3"
	if !s.locks() || !mayLock {
		classes = "1, 3"
	}
	h.Set("DAV", classes)
	h.Set("MS-Author-Via", "DAV") // without it, Office opens everything read-only
}

// above answers for the paths above the served tree. Clients look there to find out what server it is.
func (s *server) above(w http.ResponseWriter, r *request) error {
	switch r.Method {
	case http.MethodOptions:
		s.classes(w.Header(), true)
		w.Header().Set("Allow", "OPTIONS, PROPFIND")
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		return nil
	case "PROPFIND":
		return s.propfindAbove(w, r)
	}
	return errOutside
}

// propfindAbove shows a path above the served tree as a collection with one member: the next segment on the way to
// the tree.
func (s *server) propfindAbove(w http.ResponseWriter, r *request) error {
	wanted, err := davxml.ReadPropfind(r.Body)
	if err != nil {
		return err
	}
	deep, err := depthOf(r.Header, depthZero, depthOne, depthInfinity)
	if err != nil {
		return err
	}
	segments, _, err := splitPath(pathOf(r.URL))
	if err != nil {
		return err
	}
	shown := [][]string{segments}
	if deep != depthZero {
		shown = append(shown, s.prefix[:len(segments)+1])
	}
	w.Header().Set("Content-Type", problem.XMLType)
	w.WriteHeader(webdav.StatusMulti)
	t := newPropertyRenderer(&server{}, nil, wanted)
	t.nameOnly = true
	m := davxml.NewMultistatus(w)
	for _, path := range shown {
		state := tree.State{Name: strings.Join(path, "/"), Exists: true, Collection: true}
		m.Response(hrefOf(path, "", true), t.render(state)...)
	}
	m.Close() // it has the first error of all: the client is gone
	return nil
}
