package main

import (
	"cmp"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/internal/garbage"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/monitor"
	"r-seed-1f3a754f.example/ifmatch/quota"
	"r-seed-1f3a754f.example/ifmatch/quota/limits"
	"r-seed-1f3a754f.example/ifmatch/reload"
	"r-seed-1f3a754f.example/ifmatch/settings"
	"r-seed-1f3a754f.example/ifmatch/settings/values"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/wire"
)

// Limits bound the use that clients may make of the server.
type Limits struct {
	// Most at once, in all. 0: as many as the descriptors and the memory of the process allow.
	Connections, Uploads, Requests int
	// Most at once of one client (0: half of those that are free).
	ClientConnections, ClientRequests int

	Pace   wire.Limit    // how slow a client may be
	Idle   time.Duration // between two requests on a connection
	Upload int64         // most bytes of the body of a PUT (0: any number)

	Unfinished uploadLimits // of uploads that arrive in parts
}

// limitFlags are the flags of serve about [Limits].
func limitFlags() []cli.Flag {
	number := func(name, usage string) cli.Flag {
		return &cli.IntFlag{Name: name, Usage: usage, EnvVars: env(name), DefaultText: "by descriptors and memory"}
	}
	perClient := func(name, usage string) cli.Flag {
		return &cli.IntFlag{Name: name, Usage: usage, EnvVars: env(name), DefaultText: "half of the free ones"}
	}
	return withDays([]cli.Flag{
		number("max-connections", "most connections, `N`, at once"),
		number("max-uploads", "most uploads, `N`, at once"),
		number("max-requests", "most requests, `N`, at once of each other kind: downloads, listings, the rest"),
		perClient("client-connections", "most connections, `N`, at once of one client"),
		perClient("client-requests", "most requests, `N`, at once of one client and of each kind"),
		&cli.StringFlag{Name: "max-upload", Value: "0", EnvVars: env("max-upload"),
			Usage: "refuse a file above a `SIZE`, such as 10GB, with 413; 0 takes any"},
		&cli.IntFlag{Name: "unfinished-uploads", Value: 1000, EnvVars: env("unfinished-uploads"),
			Usage: "most uploads, `N`, that arrive in parts (tus) and are not complete; 0 for any number"},
		&cli.StringFlag{Name: "unfinished-size", Value: "0", EnvVars: env("unfinished-size"),
			Usage: "most bytes, a `SIZE` such as 100GB, that these announce in all; 0 for as many as the disk has"},
		&cli.StringFlag{Name: "min-rate", Value: "1kB", EnvVars: env("min-rate"),
			Usage: "least `SIZE` a second at which a client must send a file, or take an answer, pauses apart; " +
				"with 0 anything it moves ends a pause"},
		&cli.DurationFlag{Name: "max-pause", Value: wire.DefaultLimit.Pause, EnvVars: env("max-pause"),
			Usage: "cut off a client that neither sends nor takes anything for a `TIME`"},
		&cli.DurationFlag{Name: "idle-timeout", Value: idleTimeout, EnvVars: env("idle-timeout"),
			Usage: "close a connection on which there was no request for a `TIME`"},
	})
}

// parseLimits reads the flags of [limitFlags].
func parseLimits(c *cli.Context) (l Limits, err error) {
	for name, to := range map[string]*int{
		"max-connections": &l.Connections, "max-uploads": &l.Uploads, "max-requests": &l.Requests,
		"client-connections": &l.ClientConnections, "client-requests": &l.ClientRequests,
	} {
		if *to = c.Int(name); *to < 0 {
			return l, usagef("--%s %d is negative: give a number, or leave it out", name, *to)
		}
	}
	l.Pace.Pause, l.Idle = c.Duration("max-pause"), c.Duration("idle-timeout")
	for name, d := range map[string]time.Duration{"max-pause": l.Pace.Pause, "idle-timeout": l.Idle} {
		if d < time.Second {
			return l, usagef("--%s %v is too short: give a duration of a second or more, such as 2m", name, d)
		}
	}
	into(&err, &l.Pace.Rate)(values.Size("min-rate", c.String("min-rate")))
	into(&err, &l.Upload)(values.Size("max-upload", c.String("max-upload")))
	if l.Unfinished.Number = c.Int("unfinished-uploads"); l.Unfinished.Number < 0 {
		return l, usagef("--unfinished-uploads %d is negative: give a number, or 0 for any", l.Unfinished.Number)
	}
	into(&err, &l.Unfinished.Bytes)(values.Size("unfinished-size", c.String("unfinished-size")))
	return l, err
}

// fixedLimits returns the values of those flags of [limitFlags] that the command line or the environment has. The
// configuration file cannot change them.
func fixedLimits(c *cli.Context) map[string]string {
	fixed := map[string]string{}
	for _, f := range limitFlags() {
		if name := f.Names()[0]; c.IsSet(name) {
			fixed[name] = fmt.Sprint(settingOf(c, f))
		}
	}
	return fixed
}

// limitsOf returns the limits of a configuration file that was read again.
func limitsOf(fixed map[string]string, file *settings.File) (Limits, error) {
	values := flag.NewFlagSet("limits", flag.ContinueOnError)
	for _, f := range limitFlags() {
		name := f.Names()[0]
		if err := f.Apply(values); err != nil {
			return Limits{}, err
		}
		value, set := fixed[name]
		if of := file.Flags[name]; !set && len(of) > 0 {
			value, set = of[0], true
		}
		if set {
			if err := values.Set(name, value); err != nil {
				return Limits{}, fmt.Errorf("%s = %q: %w", name, value, err)
			}
		}
	}
	return parseLimits(cli.NewContext(nil, values, nil))
}

// reloadedTable returns the configuration file for a reload, or nil if there is none. Limits change while the server
// runs. All other settings wait for the next start.
func reloadedTable(cfg Config) *reload.Table {
	started, live := cfg.settings, cfg.Live
	if started == nil || started.Name == "" {
		return nil
	}
	return &reload.Table{
		File: started.Name,
		Read: func() (string, error) { return settings.TextAgain(started.Name) },
		Now:  started.Text,
		Judge: func(text string) (take func(), waiting []string, err error) {
			file, err := settings.Parse(started.Name, text, serveFlags())
			// Those that are served need no check, and the directory of one may be away: users who are removed meanwhile must
			// not stay in.
			if err == nil && !slices.Equal(file.Shares, started.Shares) {
				err = file.CheckShares(alike)
			}
			if err == nil {
				err = refuseServedUsers(cfg, file)
			}
			if err != nil {
				return nil, nil, err
			}
			next, err := limitsOf(cfg.fixedLimits, file)
			if err != nil {
				return nil, nil, fmt.Errorf("%s cannot be used: %w", file.Name, err)
			}
			take = func() { live.take(next); live.takeQuotas(file.Quotas) }
			return take, started.Differ(file, limitFlags()), nil
		},
	}
}

// refuseServedUsers refuses a configuration file, read again, with another users file than at the start that is in a
// directory that is served, as the start does.
func refuseServedUsers(cfg Config, file *settings.File) error {
	if cfg.hasNoDir() || cfg.Access.Users != "" || cfg.settings.Alone {
		return nil // it names no users file that counts
	}
	now, err := auth.ParseConfig(file.Text)
	if err != nil || now.Users == "" {
		return nil // the reload of users and rules tells the error
	}
	if before, err := auth.ParseConfig(cfg.settings.Text); err == nil && before.Users == now.Users {
		return nil
	}
	return refuseServed(cfg, "the users file in --config", file.Path(now.Users))
}

// A liveLimits is the limits that are in force.
type liveLimits struct {
	now   atomic.Pointer[Limits]
	pools *limit.Pools

	mu      sync.Mutex
	quotas  []limits.Limit
	limited *quota.Store // nil: the store is not open yet
	log     *slog.Logger
}

func newLiveLimits(first Limits, pools *limit.Pools, log *slog.Logger) *liveLimits {
	l := &liveLimits{pools: pools, log: log}
	l.now.Store(&first)
	return l
}

// take puts limits into force. Requests and connections that are under way keep how slow they may be, and how large.
func (l *liveLimits) take(next Limits) {
	before := *l.now.Load()
	idle := next.Idle
	next.Idle = before.Idle
	l.now.Store(&next)
	l.pools.Resize(next.bounds(limit.System()))
	l.log.Info("the limits were read again", "connections", l.pools.Connections.Size(), "uploads", l.pools.Uploads.Size(),
		"requests", l.pools.Changes.Size(), "max-upload", next.Upload, "unfinished-uploads", next.Unfinished.Number,
		"min-rate", next.Pace.Rate, "max-pause", next.Pace.Pause)
	if idle != before.Idle {
		l.log.Warn("a changed limit counts from the next start on", "key", "idle-timeout", "now", before.Idle, "then", idle)
	}
}

// limited returns the store with the quotas of the configuration file, which a reload changes.
func (cfg *Config) limited(store monitor.Store, log *slog.Logger) *quota.Store {
	live := cfg.Live
	live.mu.Lock()
	defer live.mu.Unlock()
	if live.quotas == nil {
		live.quotas = cfg.Quotas
	}
	shareOf := func(name string) string {
		for _, one := range cfg.Shares {
			if tree.Within(name, one.Path) {
				return one.Path
			}
		}
		return ""
	}
	live.limited = quota.New(store, limits.NewSet(live.quotas, alike), quota.Options{
		NoHistory: cfg.History.Keep <= 0, Counts: cfg.Monitor.Counts(),
		Apart:  func(from, to string) bool { return shareOf(from) != shareOf(to) },
		Report: func(err error) { log.Warn(err.Error()) },
	})
	return live.limited
}

// takeQuotas puts other quotas into force. Sums of limited paths that are new are known after a while.
func (l *liveLimits) takeQuotas(next []limits.Limit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if next == nil {
		next = []limits.Limit{} // and not those of the start
	}
	if slices.Equal(next, l.quotas) {
		return
	}
	l.quotas = next
	if l.limited != nil {
		l.limited.Limit(limits.NewSet(next, alike))
	}
	l.log.Info("the quotas were read again", "quotas", len(next))
}

// current returns the [handler.Config.Current] of the limits, or nil for limits that do not change.
func (l *liveLimits) current() func() (int64, wire.Limit) {
	if l == nil {
		return nil
	}
	return func() (int64, wire.Limit) { now := l.now.Load(); return now.Upload, now.Pace }
}

// unfinished returns the limits of uploads that arrive in parts.
func (cfg *Config) unfinished() uploadLimits {
	if cfg.Live != nil {
		return cfg.Live.now.Load().Unfinished
	}
	return cfg.Limits.Unfinished
}

// pace returns how slow a client may be over a connection that begins.
func (cfg *Config) pace() wire.Limit {
	if cfg.Live != nil {
		return cfg.Live.now.Load().Pace
	}
	return cmp.Or(cfg.Limits.Pace, wire.DefaultLimit)
}

// bounds returns bounds that fit the resources of the process, or those of the flags.
func (l *Limits) bounds(resources limit.Resources) limit.Bounds {
	b := resources.Bounds()
	b.Connections = cmp.Or(l.Connections, b.Connections)
	b.Uploads = cmp.Or(l.Uploads, b.Uploads)
	b.Downloads = cmp.Or(l.Requests, b.Downloads)
	b.Listings = cmp.Or(l.Requests, b.Listings)
	b.Archives = min(b.Archives, cmp.Or(l.Requests, b.Archives))
	b.Changes = cmp.Or(l.Requests, b.Changes)
	b.ClientConnections, b.ClientRequests = l.ClientConnections, l.ClientRequests
	return b
}

// pools returns pools of these bounds.
func (l *Limits) pools(log *slog.Logger) *limit.Pools {
	// The garbage collector does not know the memory limit of the control group. Without this the kernel would kill
	// the process for garbage that is not collected yet.
	if group := limit.Group(); group > 0 && debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(group / 10 * 9)
	}
	garbage.CollectLessOften()
	resources := limit.System()
	bounds := l.bounds(resources)
	log.Debug("most at once", "connections", bounds.Connections, "uploads", bounds.Uploads,
		"downloads", bounds.Downloads, "listings", bounds.Listings, "archives", bounds.Archives, "other requests", bounds.Changes, "hashes", bounds.Hashes,
		"because of descriptors", resources.Descriptors, "and bytes of memory", resources.Memory)
	return bounds.Pools()
}
