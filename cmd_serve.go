package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"log/slog"
	"math"
	"mime"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/afero"

	"ifmatch/etagfs"
	"ifmatch/fs"
	"ifmatch/handler"
	"ifmatch/limit"
	"ifmatch/tree"
	"ifmatch/wire"
)

// stateName is what a directory of the server's own state is called; nothing in it is watched.
const stateName = ".ifmatch"

// Bounds of one connection. There is none on the time of a whole request: an upload may take a day, if it goes on
// (see wire.Limit), and one whose client is gone ends with TCP keep-alive.
const (
	headerTimeout = 30 * time.Second
	idleTimeout   = 3 * time.Minute // longer than the pauses of a mounted client
	maxHeader     = 128 << 10       // room for two long paths and an If header with many tokens
	// A connection of HTTP/2 over which nothing comes is asked for a sign of life, and is closed if there is none within
	// the 15 seconds that net/http gives it.
	pingAfter = 30 * time.Second
)

// lastPatience is how long a request may still take to return when its connection is closed and its context done.
const lastPatience = 5 * time.Second

// lastWords is how long it is waited for who reads the log, at the start and at the end.
const lastWords = 2 * time.Second

// run serves until ctx is done and then takes everything down again, in the order in which one needs the other: the
// listener, the requests, the watcher, the store. Everything it has to say goes to stderr.
func run(ctx context.Context, cfg Config, stderr io.Writer) error {
	go mime.TypeByExtension("")    // reads the system's table of types, once, while the disk is waited for, and not the first client
	signal.Ignore(syscall.SIGPIPE) // a log that was closed is no reason to die; see logWriter
	out := newLogWriter(stderr)
	defer out.flush(lastWords)
	log := newLog(cfg, out)
	out.dropped = func(to io.Writer, lines int) {
		level := max(slog.LevelWarn, cfg.LogLevel)
		newLog(cfg, to).Log(ctx, level, "lines of the log were dropped: they could not be written", "lines", lines)
	}
	addr, loopback, err := resolve(ctx, cfg.Addr)
	if err != nil {
		return err
	}
	if !loopback && !cfg.ReadOnly && !cfg.AllowAnonymous {
		return usagef("others can reach %s, and there are no users yet: use --addr %s, --read-only, "+
			"or --allow-anonymous if everyone who can reach it may write", cfg.Addr, onLoopback(cfg.Addr))
	}
	if err := refuseRoot(cfg); err != nil {
		return err
	}
	certificate, err := loadCertificate(cfg, log)
	if err != nil {
		return err
	}
	defer hangups(certificate, log)()
	doubts := doubts(cfg)
	cfg.H2C = cfg.H2C || loopback
	cfg.Pools = poolsFor(log)
	site, err := openSite(cfg, log)
	if err != nil {
		return err
	}
	// Opened before the address is: who can connect is served.
	listener, err := (&net.ListenConfig{KeepAliveConfig: wire.KeepAlive}).Listen(ctx, "tcp", addr)
	if err != nil {
		return errors.Join(fmt.Errorf("cannot listen on %s: %w (use another --addr; port 0 picks a free one)", addr, err), site.close())
	}
	site.watch()
	welcome(out, log, cfg, listener.Addr(), site.now.Load().below, doubts)
	out.flush(lastWords)
	limited := newConnections(listener, cfg.Pools, cfg.TrustedProxies, certificate != nil, log)
	stopped := serve(ctx, limited, certificate.config(), site, cfg, log)
	if errors.Is(stopped, errStillRunning) {
		return stopped // the store is still used; the next start clears up
	}
	return errors.Join(stopped, site.close())
}

func newLog(cfg Config, w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel, ReplaceAttr: inBrief}
	if cfg.LogJSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// inBrief bounds what the log says at once, and gives durations their unit, also in JSON.
func inBrief(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindDuration:
		a.Value = slog.StringValue(a.Value.Duration().String())
	case slog.KindString:
		a.Value = slog.StringValue(handler.Brief(a.Value.String()))
	case slog.KindAny:
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.StringValue(handler.Brief(err.Error()))
		}
	}
	return a
}

// openStore opens what is served. The store owns the file system.
func openStore(cfg Config, log *slog.Logger) (*etagfs.Store, *fs.FS, error) {
	below, err := openFS(cfg, log)
	if err != nil {
		return nil, nil, err
	}
	index, err := indexDir(cfg, below)
	if err != nil {
		return nil, nil, errors.Join(err, below.Close())
	}
	var hashes *limit.Pool
	if cfg.Pools != nil {
		hashes = cfg.Pools.Hashes
	}
	store, err := etagfs.New(below, etagfs.Options{
		IndexDir: index,
		History:  &cfg.History,
		WarmUp:   cfg.WarmUp,
		Rescan:   cfg.Rescan,
		Hashes:   hashes,
		Progress: func(p etagfs.Progress) { logProgress(log, p) },
		Report:   func(err error) { log.Warn("something is wrong, or somebody should know: " + err.Error()) },
	})
	if err != nil {
		return nil, nil, fmt.Errorf("opening the store: %w", err)
	}
	return store, below, nil
}

// logProgress says how far the search for files whose tags are not known has come. One that finds nothing to do is not
// worth a word.
func logProgress(log *slog.Logger, p etagfs.Progress) {
	attrs := []any{"files", p.Files, "bytes", p.Bytes, "hashed", p.Hashed, "hashed_bytes", p.HashedBytes, "took", p.Took.Round(time.Millisecond)}
	if p.Unreadable > 0 {
		attrs = append(attrs, "unreadable", p.Unreadable)
	}
	switch {
	case !p.Done:
		log.Info("computing the ETags of files that nobody has asked for yet", attrs...)
	case p.Hashed > 0:
		log.Info("the ETags of all files are known", attrs...)
	default:
		log.Debug("the ETags of all files are known", attrs...)
	}
}

// statDir looks at the directory to be served.
func statDir(dir string) (os.FileInfo, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		err = fmt.Errorf("%s does not exist: make it first (mkdir -p), or name another directory", dir)
	case err != nil:
		err = fmt.Errorf("cannot serve this directory: %w", err)
	case !info.IsDir():
		err = fmt.Errorf("%s is not a directory: name the one it is in", dir)
	}
	return info, err
}

func openFS(cfg Config, log *slog.Logger) (*fs.FS, error) {
	opts := fs.Options{ReadOnly: cfg.ReadOnly, Durability: cfg.Durability, History: cfg.History.Keep > 0, FileMode: cfg.FileMode, DirMode: cfg.DirMode}
	opts.Met = func(name string, able fs.Abilities) {
		log.Info("writing to another disk below", "path", name, "disk", able)
	}
	if cfg.Memory {
		return fs.OpenAfero(afero.NewMemMapFs(), opts)
	}
	below, err := fs.Open(cfg.Dir, opts)
	if stranger := new(fs.StrangerError); errors.As(err, &stranger) {
		return nil, fmt.Errorf("cannot serve %s: %w", cfg.Dir, stranger)
	}
	if err != nil && !isReadable(cfg.Dir) {
		return nil, fmt.Errorf("%s cannot be read by the user that this server runs as (%w): start it as one who may, "+
			"or let this one in", cfg.Dir, err)
	}
	if err != nil && !cfg.ReadOnly && (errors.Is(err, iofs.ErrPermission) || errors.Is(err, syscall.EROFS)) {
		return nil, fmt.Errorf("%s cannot be written (%w): use --read-only to serve it as it is", cfg.Dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot serve %s: %w", cfg.Dir, err)
	}
	return below, nil
}

// indexDir returns where the index of known tags is kept; "" for nowhere.
func indexDir(cfg Config, below *fs.FS) (string, error) {
	switch {
	case cfg.Memory || cfg.ReadOnly && cfg.StateDir == "":
		return "", nil
	case cfg.StateDir == "" && below.Abilities().Shared:
		return "", nil // the start-up line says why
	case cfg.StateDir == "":
		return filepath.Join(cfg.Dir, stateName, "index"), nil
	}
	if err := checkStateDir(cfg, below); err != nil {
		return "", err
	}
	root, err := filepath.Abs(cfg.Dir)
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return "", fmt.Errorf("cannot serve this directory: %w", err)
	}
	inside, err := isInside(cfg.StateDir, root)
	if err != nil {
		return "", fmt.Errorf("--state-dir: %w", err)
	}
	if inside {
		return "", usagef("--state-dir %s is inside of what is served: choose a directory elsewhere, or leave it out", cfg.StateDir)
	}
	// One directory may keep the state of several servers; each root has its own part. A root that was moved keeps it,
	// where the system tells one directory from all others.
	name := root
	if info, err := below.Stat(""); err == nil && info.Inode != 0 && info.Born != 0 {
		name = fmt.Sprint(info.Inode, info.Born)
	}
	return filepath.Join(cfg.StateDir, fmt.Sprintf("%x", sha256.Sum256([]byte(name)))[:32]), nil
}

// checkStateDir fails where somebody else can write to the --state-dir. One that is as /tmp lets nobody touch what is ours.
func checkStateDir(cfg Config, below *fs.FS) error {
	found, err := os.Stat(cfg.StateDir)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	served, failed := below.Stat("")
	if err = errors.Join(err, failed); err == nil {
		_, err = fs.CheckDir(cfg.StateDir, fs.Heir(served))
	}
	var stranger *fs.StrangerError
	switch {
	case err == nil, errors.As(err, &stranger) && stranger.Owner == "" && found.Mode()&iofs.ModeSticky != 0:
		return nil
	}
	return fmt.Errorf("--state-dir: %w", err)
}

// isInside reports whether dir, which may not exist yet, is root or below it: by what directories are, not by what
// they are called.
func isInside(dir, root string) (bool, error) {
	rootInfo, err := os.Stat(root)
	if err != nil {
		return false, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return false, err
	}
	for {
		resolved, err := filepath.EvalSymlinks(dir)
		if err == nil {
			dir = resolved
			break
		}
		if !errors.Is(err, iofs.ErrNotExist) || dir == filepath.Dir(dir) {
			return false, err
		}
		dir = filepath.Dir(dir)
	}
	for {
		if info, err := os.Stat(dir); err == nil && os.SameFile(info, rootInfo) {
			return true, nil
		}
		if dir == filepath.Dir(dir) {
			return false, nil
		}
		dir = filepath.Dir(dir)
	}
}

func newHandler(cfg Config, store tree.Store, log *slog.Logger) (http.Handler, error) {
	return handler.New(handler.Config{
		Store:             store,
		Prefix:            cfg.Prefix,
		ReadOnly:          cfg.ReadOnly,
		NoLocks:           cfg.NoLocks,
		RefuseJunk:        cfg.RefuseJunk,
		TagWait:           cfg.TagWait,
		NoSendfile:        cfg.NoSendfile,
		OnTheWay:          onTheWay(),
		PublicURLs:        cfg.PublicURLs,
		TrustedProxies:    cfg.TrustedProxies,
		LooseETags:        cfg.LooseETags,
		RequireConditions: cfg.RequireConditions,
		CORSOrigins:       cfg.CORSOrigins,
		DeleteGuard:       cfg.DeleteGuard,
		DrainBytes:        cfg.DrainBytes,
		DrainTime:         cfg.DrainTime,
		Pace:              cfg.Pace,
		ShortBody:         cfg.ShortBody,
		Abandoned:         cfg.Abandoned,
		MaxInfinite:       cmp.Or(cfg.DepthInfinity, -1),
		Pools:             cfg.Pools,
		Log:               log,
	})
}

// onTheWay returns how many bytes the kernel lets wait to be sent and to be read, on one connection within the machine, at
// the most; 0 where that is not known.
func onTheWay() (sum int64) {
	for _, name := range []string{"tcp_wmem", "tcp_rmem"} {
		data, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
		if err != nil {
			return 0
		}
		var least, usual, most int64
		if _, err := fmt.Sscan(string(data), &least, &usual, &most); err != nil {
			return 0
		}
		sum += most
	}
	return sum
}

// poolsFor returns bounds for what this process may use.
func poolsFor(log *slog.Logger) *limit.Pools {
	// The garbage collector does not see how much memory the group of this process may take; it would be killed for what is
	// only waiting to be collected.
	if group := limit.Group(); group > 0 && debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(group / 10 * 9)
	}
	resources := limit.System()
	bounds := resources.Bounds()
	log.Debug("at once, at the most", "connections", bounds.Connections, "uploads", bounds.Uploads, "downloads", bounds.Downloads,
		"listings", bounds.Listings, "other requests", bounds.Changes, "hashes", bounds.Hashes,
		"because there are descriptors", resources.Descriptors, "and bytes of memory", resources.Memory)
	return bounds.Pools()
}

var errStillRunning = errors.New("some requests did not end, although their connections are closed")

// serve answers requests until ctx is done. Then no new one is taken; those that run have the grace to finish, and
// what is left is cut off. When serve returns without errStillRunning, no request is running.
func serve(ctx context.Context, limited *connections, certificate *tls.Config, dav http.Handler, cfg Config, log *slog.Logger) error {
	// Not ctx: what runs when it is done may finish.
	requests, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	defer cutOff()
	gate := newGate()
	listener := wire.Listen(limited, cmp.Or(cfg.Pace, wire.DefaultLimit))
	server := &http.Server{
		Handler:     limited.wrap(gate.wrap(dav)),
		BaseContext: func(net.Listener) context.Context { return requests },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return wire.Context(limited.context(ctx, conn), conn)
		},
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		TLSConfig:         certificate,
		Protocols:         new(http.Protocols),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: limited.pools.Streams, SendPingTimeout: pingAfter},
		// net/http's own answer to OPTIONS * waits for a body for as long as that takes.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	server.Protocols.SetHTTP1(true)
	failed := make(chan error, 1)
	if certificate != nil {
		server.Protocols.SetHTTP2(true)
		go func() { failed <- server.ServeTLS(listener, "", "") }()
	} else {
		server.Protocols.SetUnencryptedHTTP2(cfg.H2C)
		go func() { failed <- server.Serve(listener) }()
	}
	var broken error
	select {
	case <-ctx.Done():
		log.Info("stopping", "running", gate.count(), "grace", cfg.Grace)
	case broken = <-failed:
		broken = fmt.Errorf("the server stopped: %w", broken)
	}

	inTime, cancel := context.WithTimeout(context.Background(), cfg.Grace)
	defer cancel()
	if server.Shutdown(inTime) != nil && gate.count() > 0 {
		log.Warn("cutting off what still runs", "running", gate.count())
	}
	cutOff()
	err := server.Close()
	select {
	case <-gate.close():
	case <-time.After(lastPatience):
		return errors.Join(broken, errStillRunning)
	}
	return errors.Join(broken, err)
}

// A gate knows how many requests are running, and can be closed.
type gate struct {
	mu      sync.Mutex
	running int
	closed  bool
	empty   chan struct{} // closed when the gate is, and nothing runs
}

func newGate() *gate { return &gate{empty: make(chan struct{})} }

func (g *gate) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.enter() {
			panic(http.ErrAbortHandler) // its connection is being closed
		}
		defer g.leave()
		next.ServeHTTP(w, r)
	})
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.running++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	g.check()
}

// check reports the end. mu must be held.
func (g *gate) check() {
	if g.closed && g.running == 0 {
		close(g.empty)
	}
}

// close lets nobody in any more and returns a channel that is closed when everyone is out.
func (g *gate) close() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.check()
	return g.empty
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running
}
