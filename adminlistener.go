package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"ifmatch/admin"
	"ifmatch/handler/accesslog"
	"ifmatch/limit"
	"ifmatch/listen"
	"ifmatch/tree"
)

// Bounds of the admin listener.
const (
	adminConnections = 32
	adminTimeout     = 30 * time.Second // of a whole request
)

// A monitor holds the state that the admin listener reports. A nil monitor reports nothing.
type monitor struct {
	metrics *admin.Metrics
	addr    string                     // of the listener
	store   atomic.Pointer[readyCheck] // nil: the server is starting
	leaving atomic.Bool                // the server is asked to stop
	watches atomic.Int64               // directories that are watched
}

// watched returns where the watcher keeps the number of its watches, or nil if there is no admin listener.
func (m *monitor) watched() *atomic.Int64 {
	if m == nil {
		return nil
	}
	return &m.watches
}

// A readyCheck asks a store whether it can answer requests.
type readyCheck struct {
	store    tree.Store
	readOnly bool
	roots    []string // of the shares (nil: there is one directory)
}

// startAdmin opens the admin listener at an address of adminAddress, if there is to be one. stop ends it.
func startAdmin(ctx context.Context, cfg Config, addr string, log *slog.Logger) (m *monitor, stop func(), err error) {
	listener := cfg.Passed.Admin
	if listener == nil && addr == "" {
		return nil, func() {}, nil
	}
	if listener == nil {
		if listener, err = listen.Open(ctx, addr); err != nil {
			return nil, nil, listen.Failed(addr, "--admin", err)
		}
	}
	m = &monitor{metrics: admin.NewMetrics(programVersion(), runtime.Version()), addr: listener.Addr().String()}
	server := &http.Server{
		Handler: admin.New(admin.Options{
			Hosts: cfg.AdminHosts, AnyHost: listener.Addr().Network() == "unix", Ready: m.ready, Metrics: m.metrics,
		}),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: adminTimeout, WriteTimeout: adminTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(netutil.LimitListener(listener, adminConnections)); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the admin listener has failed", "error", err)
		}
	}()
	return m, func() { server.Close(); <-ended }, nil
}

// announce logs the address of the listener.
func (m *monitor) announce(log *slog.Logger) {
	if m != nil {
		log.Info("the admin listener is open", "addr", m.addr)
	}
}

// adminAddress returns the address to listen on for --admin ("": none, or a socket that systemd has passed). An address
// that other machines can reach is refused unless --admin-host names one.
func adminAddress(ctx context.Context, cfg Config) (string, error) {
	asked := cfg.Admin
	if passed := cfg.Passed.Admin; passed != nil {
		if asked = passed.Addr().String(); passed.Addr().Network() == "unix" {
			return "", nil
		}
	}
	if asked == "" && len(cfg.AdminHosts) > 0 {
		return "", usagef("--admin-host %s names a listener that there is not: add --admin HOST:PORT, or leave it out",
			cfg.AdminHosts[0])
	}
	if asked == "" {
		return "", nil
	}
	addr, loopback, err := listen.Resolve(ctx, "--admin", asked)
	if err == nil && !loopback && len(cfg.AdminHosts) == 0 {
		err = usagef("refusing to open the admin listener on %s, because other machines can reach it and it asks for "+
			"no password: use --admin %s, or --admin-host with the name or address by which those machines call it",
			asked, listen.OnLoopback(asked))
	}
	if cfg.Passed.Admin != nil {
		addr = ""
	}
	return addr, err
}

// counts returns the metrics, or nil if there is no admin listener.
func (m *monitor) counts() *admin.Metrics {
	if m == nil {
		return nil
	}
	return m.metrics
}

// observe returns the function that counts each request, or nil if there is no admin listener.
func (m *monitor) observe() func(accesslog.Answered) {
	if m == nil {
		return nil
	}
	return func(a accesslog.Answered) { m.metrics.Request(admin.Request(a)) }
}

// measure returns a store whose changes are counted, or the store itself if there is no admin listener.
func (m *monitor) measure(store served) served {
	whole, ok := store.(storeOfServer)
	if m == nil || !ok {
		return store
	}
	if figures, ok := store.(figured); ok {
		m.figures(figures)
	}
	return &measuredStore{whole, m.metrics.Commit}
}

// serves sets the store for /readyz, and adds the figures of the pools.
func (m *monitor) serves(cfg Config, store tree.Store) {
	if m == nil {
		return
	}
	m.pools(cfg.Pools)
	m.metrics.Gauge("ifmatch_watches", "Directories that are watched for changes by other programs.", nil,
		func() float64 { return float64(m.watches.Load()) })
	var roots []string
	for _, share := range cfg.Shares {
		roots = append(roots, share.Path)
	}
	m.store.Store(&readyCheck{store, cfg.ReadOnly, roots})
}

// leave makes the server not ready, because it was asked to stop.
func (m *monitor) leave() {
	if m != nil {
		m.leaving.Store(true)
	}
}

var (
	errStarting = errors.New("the server is starting")
	errLeaving  = errors.New("the server is stopping")
)

// ready returns the reason why requests cannot be served, or nil.
func (m *monitor) ready(ctx context.Context) error {
	check := m.store.Load()
	switch {
	case m.leaving.Load():
		return errLeaving
	case check == nil:
		return errStarting
	}
	return check.ask(ctx)
}

// errProbed ends the write of [readyCheck.ask] after the disk has accepted the byte.
var errProbed = errors.New("the disk takes writes")

// probeName is the name of that write. No file ever gets it.
const probeName = "ifmatch-readyz-probe"

// ask asks all directories that are served.
func (c *readyCheck) ask(ctx context.Context) error {
	if len(c.roots) == 0 {
		return c.askOne(ctx, "")
	}
	for _, root := range c.roots {
		if err := c.askOne(ctx, root); err != nil {
			return fmt.Errorf("the share /%s: %w", root, err)
		}
	}
	return nil
}

// askOne stages one byte and discards it, so that the store changes nothing a client can see.
func (c *readyCheck) askOne(ctx context.Context, root string) error {
	if _, err := c.store.Stat(ctx, root, tree.ReadOptions{}); err != nil {
		return fmt.Errorf("the directory is not there: %w", err)
	}
	if c.readOnly {
		return nil
	}
	_, _, err := c.store.Put(ctx, tree.Join(root, probeName), strings.NewReader("."), tree.PutOptions{
		Length: 1, Verify: func(tree.Sums) error { return errProbed },
	}, tree.Condition{})
	if errors.Is(err, errProbed) {
		return nil
	}
	return fmt.Errorf("the disk takes no writes: %w", err)
}

// pools adds the figures of the pools to the metrics.
func (m *monitor) pools(pools *limit.Pools) {
	if pools == nil {
		return
	}
	for _, pool := range pools.All() {
		label := map[string]string{"of": pool.What()}
		gauge := func(name, help string, read func(limit.Figures) int) {
			m.metrics.Gauge(name, help, label, func() float64 { return float64(read(pool.Figures())) })
		}
		gauge("ifmatch_slots", "How many there may be at once.", func(f limit.Figures) int { return f.Size })
		gauge("ifmatch_slots_used", "How many there are now.", func(f limit.Figures) int { return f.Used })
		gauge("ifmatch_slots_waiting", "How many wait for their turn.", func(f limit.Figures) int { return f.Waiting })
	}
}
