package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/handler"
	"r-seed-1f3a754f.example/ifmatch/internal/certificate"
	"r-seed-1f3a754f.example/ifmatch/internal/excerpt"
	"r-seed-1f3a754f.example/ifmatch/internal/logwriter"
	"r-seed-1f3a754f.example/ifmatch/internal/profiles"
	"r-seed-1f3a754f.example/ifmatch/internal/systemd"
	"r-seed-1f3a754f.example/ifmatch/listen"
	"r-seed-1f3a754f.example/ifmatch/listen/connections"
	"r-seed-1f3a754f.example/ifmatch/monitor"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/redirect"
	"r-seed-1f3a754f.example/ifmatch/reload"
	"r-seed-1f3a754f.example/ifmatch/settings"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/wire"
)

// stateName is the name of the directory with the server's own state. It is not watched.
const stateName = ".ifmatch"

// Bounds of one connection. A whole request has none: an upload may take a day as long as it goes on (see wire.Limit),
// and TCP keep-alive ends a request whose client is gone.
const (
	headerTimeout = 30 * time.Second
	idleTimeout   = 3 * time.Minute // longer than the pauses of a mounted client
	maxHeader     = 128 << 10       // enough for two long paths and an If header with many tokens
	// pingAfter is when an idle HTTP/2 connection gets a ping. Without an answer net/http closes it after 15 seconds.
	pingAfter = 30 * time.Second
	// lastPatience is how long requests may take to return after their connections are closed and their contexts are
	// done.
	lastPatience = 5 * time.Second
	// logPatience bounds the wait for a slow log at the start and at the end.
	logPatience = 2 * time.Second
)

func serveCommand(misused cli.OnUsageErrorFunc) *cli.Command {
	flags := serveFlags()
	return &cli.Command{
		Name: "serve",
		Usage: "serve DIR, by default that of $" + settings.DirVariable + ", or the current directory, or the shares in the " +
			"configuration file",
		ArgsUsage:    "[DIR]",
		Flags:        flags,
		OnUsageError: misused,
		// No flag has an action of its own. Package cli would look for them by comparing each flag with all others,
		// which takes as long as a tenth of the start.
		Before: func(c *cli.Context) error {
			c.Command.Flags = nil
			return nil
		},
		Action: func(c *cli.Context) error {
			c.Command.Flags = flags
			if err := settings.CheckEnvironment(os.Environ(), serveFlags()); err != nil {
				return err
			}
			cfg, file, err := effectiveConfig(c, os.Getenv(settings.DirVariable))
			if err != nil {
				return err
			}
			cfg.settings = file
			if cfg.Passed, err = listen.TakePassed(); err != nil {
				return err
			}
			return run(c.Context, cfg, c.App.ErrWriter)
		},
	}
}

// mediaTypesAfter is when the table of media types is read, unless a request needs it before.
const mediaTypesAfter = 100 * time.Millisecond

// run serves until ctx is done. Then it ends the listener, the requests, the watcher and the store, in this order. It
// logs to stderr.
func run(ctx context.Context, cfg Config, stderr io.Writer) error {
	// The first call reads the system's table of media types, which takes some milliseconds of a CPU. It comes after the
	// start, and before most clients that need it.
	defer time.AfterFunc(mediaTypesAfter, func() { mime.TypeByExtension("") }).Stop()
	out, log := openLog(&cfg, stderr)
	defer out.Flush(logPatience)
	p, err := prepare(ctx, &cfg)
	if err != nil {
		return err
	}
	stopProfiles, err := profiles.Serve(ctx, p.profiles, log)
	if err != nil {
		return err
	}
	defer stopProfiles()
	audit, err := reload.OpenAudit(cfg.AuditLog, log)
	if err != nil {
		return err
	}
	cfg.Audit = audit.Logger()
	doubts := doubts(cfg)
	cfg.H2C = cfg.H2C || p.loopback
	cfg.Pools = cfg.Limits.pools(log)
	cfg.Live = newLiveLimits(cfg.Limits, cfg.Pools, log)
	defer (&reload.Reload{
		Authority: cfg.Auth, Certificate: p.certificate, CertFile: cfg.TLSCert, Table: reloadedTable(cfg), Log: log,
	}).Keep(audit)()
	started, stopAdmin, err := monitor.Start(ctx, monitor.Options{
		Addr: p.admin, Passed: cfg.Passed.Admin, Hosts: cfg.AdminHosts, Version: programVersion(),
	}, log)
	if err != nil {
		return err
	}
	defer stopAdmin()
	cfg.Monitor = started
	return serveDir(ctx, cfg, p, doubts, out, log)
}

// serveDir opens the store and the address, and serves until ctx is done.
func serveDir(
	ctx context.Context, cfg Config, p prepared, doubts []string, out *logwriter.Writer, log *slog.Logger,
) error {
	store, able, err := openServing(cfg, log)
	if err != nil {
		return err
	}
	if shared, ok := store.(*pgstore.Store); ok {
		databaseFigures(cfg.Monitor, shared)
	}
	if all, ok := store.(figured); ok {
		figures(cfg.Monitor, all)
	}
	defer cfg.share(ctx, store, log)()
	measured := cfg.Monitor.Measure(store)
	bounded := cfg.limited(measured, log)
	cfg.Ending = ctx.Done()
	dav, err := newHandler(cfg, bounded, log)
	if err != nil {
		return errors.Join(err, bounded.Close())
	}
	doubts = append(doubts, databaseDoubts(ctx, cfg)...)
	// The store is open before the address is, so that every connection can be served.
	listener, err := cfg.listen(ctx, p.addr)
	if err != nil {
		return errors.Join(listen.Failed(p.addr, "--addr", err), bounded.Close())
	}
	bounded.Start()
	var roots []string
	for _, share := range cfg.Shares {
		roots = append(roots, share.Path)
	}
	cfg.Monitor.Serves(measured, cfg.Pools, cfg.ReadOnly, roots)
	printBanner(out, log, cfg, listener.Addr(), able, doubts)
	cfg.Monitor.Announce(log)
	out.Flush(logPatience)
	stopRedirect, err := redirect.Start(ctx, redirect.Options{
		Addr: p.redirect, Server: listener.Addr(), Challenges: p.acme,
		PublicURLs: append(cfg.siteURLs(listener.Addr()), cfg.PublicURLs...),
	}, log)
	if err != nil {
		return errors.Join(err, listener.Close(), bounded.Close())
	}
	defer stopRedirect()
	if p.acme != nil {
		go certificate.Fetch(p.acme, cfg.ACME.Names, log)
	}
	limited := connections.New(listener, cfg.Pools, cfg.TrustedProxies.Networks, cfg.secure(), log)
	limited.Counts = cfg.Monitor.Counts()
	defer systemd.FeedWatchdog(func() {
		for _, pool := range cfg.Pools.All() {
			pool.Figures() // takes its lock
		}
	}, log)()
	systemd.Tell(log, daemon.SdNotifyReady)
	stopped := serve(ctx, limited, certificate.TLS(p.certificate, p.acme), dav, cfg, log)
	if errors.Is(stopped, errStillRunning) {
		return stopped // requests still use the store. The next start clears up.
	}
	return errors.Join(stopped, bounded.Close())
}

// openLog opens the log. Lines of requests may be written a second later than others: cfg.AccessLog is set.
func openLog(cfg *Config, stderr io.Writer) (*logwriter.Writer, *slog.Logger) {
	signal.Ignore(syscall.SIGPIPE) // a closed log must not end the server: see package logwriter
	settings := *cfg
	out := logwriter.New(stderr, func(to io.Writer, lines int) {
		level := max(slog.LevelWarn, settings.LogLevel)
		newLog(settings, to).Log(context.Background(), level, "log lines were dropped: they could not be written",
			"lines", lines)
	})
	cfg.AccessLog = slog.New(slog.DiscardHandler)
	if cfg.LogRequests {
		cfg.AccessLog = newLog(settings, out.Later())
	}
	return out, newLog(settings, out)
}

func newLog(cfg Config, w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel, ReplaceAttr: shorten}
	if cfg.LogJSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// shorten bounds the length of an attribute, and writes durations with their unit in JSON too.
func shorten(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindDuration:
		a.Value = slog.StringValue(a.Value.Duration().String())
	case slog.KindString:
		a.Value = slog.StringValue(excerpt.Of(a.Value.String()))
	case slog.KindAny:
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.StringValue(excerpt.Of(err.Error()))
		}
	}
	return a
}

func newHandler(cfg Config, store tree.Store, log *slog.Logger) (http.Handler, error) {
	h := cfg.Config
	h.Store, h.Log, h.Observe = store, log, cfg.Monitor.Observe()
	h.MaxUpload, h.Exchange.Pace, h.Current = cfg.Limits.Upload, cfg.Limits.Pace, cfg.Live.current()
	h.MaxInfinite = cmp.Or(cfg.DepthInfinity, -1)
	h.Guarded, h.Links, h.Sessions = cfg.shared.guard, cfg.shared.links, cfg.sessions(log)
	h.Now = cfg.shared.now
	return handler.New(h)
}

var errStillRunning = errors.New("some requests did not end, although their connections are closed")

// serve answers requests until ctx is done. Then it accepts none, gives the running ones the grace to finish, and cuts
// off the rest. When serve returns without errStillRunning, no request is running.
func serve(
	ctx context.Context, limited *connections.Listener, secure *tls.Config, dav http.Handler, cfg Config, log *slog.Logger,
) error {
	// Not derived from ctx: running requests may finish after it is done.
	requests, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	defer cutOff()
	gate := newGate()
	server := newServer(requests, limited, gate.wrap(redirect.Strict(dav, cfg.HSTS)), cfg, log)
	listener := wire.Listen(limited, cfg.pace)
	failed := make(chan error, 1)
	if secure != nil {
		server.TLSConfig = secure
		server.Protocols.SetHTTP2(true)
		go func() { failed <- server.ServeTLS(listener, "", "") }()
	} else {
		server.Protocols.SetUnencryptedHTTP2(cfg.H2C)
		go func() { failed <- server.Serve(listener) }()
	}
	var broken error
	select {
	case <-ctx.Done():
		cfg.Monitor.Leave()
		systemd.Tell(log, daemon.SdNotifyStopping)
		log.Info("stopping", "running", gate.count(), "grace", cfg.Grace)
	case broken = <-failed:
		broken = fmt.Errorf("the server stopped: %w", broken)
	}

	inTime, cancel := context.WithTimeout(context.Background(), cfg.Grace)
	defer cancel()
	if server.Shutdown(inTime) != nil && gate.count() > 0 {
		log.Warn("cutting off running requests", "running", gate.count())
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

func newServer(
	requests context.Context, limited *connections.Listener, next http.Handler, cfg Config, log *slog.Logger,
) *http.Server {
	server := &http.Server{
		Handler:     limited.Wrap(next),
		BaseContext: func(net.Listener) context.Context { return requests },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return wire.Context(limited.Context(ctx, conn), conn)
		},
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       cmp.Or(cfg.Limits.Idle, idleTimeout),
		MaxHeaderBytes:    maxHeader,
		Protocols:         new(http.Protocols),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: cfg.Pools.Streams, SendPingTimeout: pingAfter},
		// net/http's own answer to OPTIONS * reads the body without a time limit.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	server.Protocols.SetHTTP1(true)
	return server
}
