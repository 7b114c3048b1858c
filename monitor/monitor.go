// Package monitor runs the admin listener: it keeps the state of a server that package admin tells.
package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"r-seed-1f3a754f.example/ifmatch/admin"
	"r-seed-1f3a754f.example/ifmatch/handler/accesslog"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/listen"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Bounds of the admin listener.
const (
	adminConnections = 32
	adminTimeout     = 30 * time.Second // of a whole request
	idleTimeout      = 3 * time.Minute  // longer than the pauses between two looks of Prometheus
)

// A Monitor holds the state that the admin listener reports. A nil Monitor reports nothing.
type Monitor struct {
	metrics *admin.Metrics
	addr    string                     // of the listener
	store   atomic.Pointer[readyCheck] // nil: the server is starting
	leaving atomic.Bool                // the server is asked to stop
	watches atomic.Int64               // directories that are watched
	differ  atomic.Pointer[differing]  // nil: no other replica does
	ahead   atomic.Int64               // by how much the clock is ahead of that of the database, in nanoseconds
	wrong   atomic.Bool                // that is more than it may be
}

// A differing says how many other replicas have other users or rules, and where the first of them runs.
type differing struct {
	replicas int
	first    string
}

// Watched returns where the watcher keeps the number of its watches, or nil if there is no admin listener.
func (m *Monitor) Watched() *atomic.Int64 {
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

// Options are those of a [Monitor].
type Options struct {
	Addr    string       // to listen on, of [Address] ("": nowhere, unless a socket was passed)
	Passed  net.Listener // the socket that systemd has passed (nil: none)
	Hosts   []string     // names by which other machines may call the listener
	Version string       // of the program
}

// Start opens the admin listener, if there is to be one. stop ends it.
func Start(ctx context.Context, opts Options, log *slog.Logger) (m *Monitor, stop func(), err error) {
	listener, addr := opts.Passed, opts.Addr
	if listener == nil && addr == "" {
		return nil, func() {}, nil
	}
	if listener == nil {
		if listener, err = listen.Open(ctx, addr); err != nil {
			return nil, nil, listen.Failed(addr, "--admin", err)
		}
	}
	m = &Monitor{metrics: admin.NewMetrics(opts.Version, runtime.Version()), addr: listener.Addr().String()}
	server := &http.Server{
		Handler: admin.New(admin.Options{
			Hosts: opts.Hosts, AnyHost: listener.Addr().Network() == "unix", Ready: m.ready, Note: m.note,
			Metrics: m.metrics,
		}),
		ReadHeaderTimeout: adminTimeout, ReadTimeout: adminTimeout, WriteTimeout: adminTimeout, IdleTimeout: idleTimeout,
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

// Announce logs the address of the listener.
func (m *Monitor) Announce(log *slog.Logger) {
	if m != nil {
		log.Info("the admin listener is open", "addr", m.addr)
	}
}

// Address returns the address to listen on for --admin ("": none, or the socket that systemd has passed). An address
// that other machines can reach is refused unless --admin-host names one.
func Address(ctx context.Context, asked string, hosts []string, passed net.Listener) (string, error) {
	if passed != nil {
		if asked = passed.Addr().String(); passed.Addr().Network() == "unix" {
			return "", nil
		}
	}
	if asked == "" && len(hosts) > 0 {
		return "", usage.Errorf("--admin-host %s names a listener that there is not: add --admin HOST:PORT, or leave it out",
			hosts[0])
	}
	if asked == "" {
		return "", nil
	}
	addr, loopback, err := listen.Resolve(ctx, "--admin", asked)
	if err == nil && !loopback && len(hosts) == 0 {
		err = usage.Errorf("refusing to open the admin listener on %s, because other machines can reach it and it asks for "+
			"no password: use --admin %s, or --admin-host with the name or address by which those machines call it",
			asked, listen.OnLoopback(asked))
	}
	if passed != nil {
		addr = ""
	}
	return addr, err
}

// Counts returns the metrics, or nil if there is no admin listener.
func (m *Monitor) Counts() *admin.Metrics {
	if m == nil {
		return nil
	}
	return m.metrics
}

// Observe returns the function that counts each request, or nil if there is no admin listener.
func (m *Monitor) Observe() func(accesslog.Answered) {
	if m == nil {
		return nil
	}
	return func(a accesslog.Answered) { m.metrics.Request(admin.Request(a)) }
}

// Measure returns a store whose changes are counted, or the store itself if there is no admin listener.
func (m *Monitor) Measure(store Store) Store {
	if m == nil {
		return store
	}
	return &measuredStore{store, m.metrics.Commit}
}

// Serves sets the store for /readyz, and adds the figures of the pools. roots are the paths of the shares, if the store
// has shares.
func (m *Monitor) Serves(store tree.Store, pools *limit.Pools, readOnly bool, roots []string) {
	if m == nil {
		return
	}
	m.pools(pools)
	m.metrics.Gauge("ifmatch_watches", "Directories that are watched for changes by other programs.", nil,
		func() float64 { return float64(m.watches.Load()) })
	m.store.Store(&readyCheck{store, readOnly, roots})
}

// Leave makes the server not ready, because it was asked to stop.
func (m *Monitor) Leave() {
	if m != nil {
		m.leaving.Store(true)
	}
}

// Replicas returns the function that is told how many other replicas have other users, app tokens or rules, and where
// the first of them runs. Requests can be served all the same, so /readyz only notes it.
func (m *Monitor) Replicas() func(differ int, first string) {
	if m == nil {
		return func(int, string) {}
	}
	const help = "Other replicas with other users, app tokens or rules."
	m.metrics.Gauge("ifmatch_replicas_differ", help, nil, func() float64 {
		if d := m.differ.Load(); d != nil {
			return float64(d.replicas)
		}
		return 0
	})
	return func(differ int, first string) {
		if differ == 0 {
			m.differ.Store(nil)
			return
		}
		m.differ.Store(&differing{differ, first})
	}
}

// Clock returns the function that is told by how much the clock of this machine is ahead of that of the database, and
// whether that is more than it may be. Requests can be served all the same, so /readyz only notes it.
func (m *Monitor) Clock() func(ahead time.Duration, wrong bool) {
	if m == nil {
		return func(time.Duration, bool) {}
	}
	const help = "By how much the clock of this machine is ahead of that of the database."
	m.metrics.Gauge("ifmatch_clock_ahead_seconds", help, nil, func() float64 {
		return time.Duration(m.ahead.Load()).Seconds()
	})
	return func(ahead time.Duration, wrong bool) {
		m.ahead.Store(int64(ahead))
		m.wrong.Store(wrong)
	}
}

// note returns the lines that /readyz notes.
func (m *Monitor) note() string {
	var lines []string
	if d := m.differ.Load(); d != nil {
		lines = append(lines, fmt.Sprintf("%d other replicas have other users, app tokens or rules, the first of them at %q: "+
			"give all of them the same files (see: ifmatch cluster status)", d.replicas, d.first))
	}
	if m.wrong.Load() {
		lines = append(lines, fmt.Sprintf("the clock of this machine is off by %v, by that of the database: have both follow "+
			"the same time server", time.Duration(m.ahead.Load()).Round(time.Second)))
	}
	return strings.Join(lines, "\n")
}

var (
	errStarting = errors.New("the server is starting")
	errLeaving  = errors.New("the server is stopping")
)

// ready returns the reason why requests cannot be served, or nil.
func (m *Monitor) ready(ctx context.Context) error {
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
		return fmt.Errorf("what is served is not there: %w", err)
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
func (m *Monitor) pools(pools *limit.Pools) {
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
