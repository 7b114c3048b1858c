package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"math"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/auth/session"
	"r-seed-1f3a754f.example/ifmatch/auth/session/replicated"
	"r-seed-1f3a754f.example/ifmatch/handler/deleteguard"
	"r-seed-1f3a754f.example/ifmatch/internal/cluster"
	"r-seed-1f3a754f.example/ifmatch/internal/database"
	"r-seed-1f3a754f.example/ifmatch/links"
	"r-seed-1f3a754f.example/ifmatch/monitor"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/clock"
	"r-seed-1f3a754f.example/ifmatch/pgstore/replicas"
	"r-seed-1f3a754f.example/ifmatch/settings"
)

// hasNoDir reports whether a server serves no directory of its machine.
func (cfg Config) hasNoDir() bool { return cfg.Memory || cfg.Database != "" }

// checkDatabase refuses settings that a tree in a database cannot keep.
func (cfg Config) checkDatabase(c *cli.Context, file *settings.File) error {
	if cfg.Database == "" {
		return nil
	}
	if err := (database.Place{Store: cfg.Database}).Check(); err != nil {
		return err
	}
	switch {
	case cfg.BlobGrace < pgstore.MinBlobGrace:
		return usagef("--blob-grace %v is too short: give an hour or more, such as 24h", cfg.BlobGrace)
	case c.IsSet("history-size") && cfg.History.Share > 0:
		return usagef("--history-size %s is a share of a disk, and --store has no disk: give a size such as 20GB",
			c.String("history-size"))
	case len(file.Quotas) > 0:
		return usagef("%s has quotas, and --store cannot keep these yet: leave them out", file.Name)
	case len(file.Shares) > 0:
		return usagef("%s has shares, which are directories: leave them out, or --store", file.Name)
	}
	return nil
}

// openDatabase opens the store of one of several servers.
func openDatabase(cfg Config, log *slog.Logger) (served, error) {
	store, err := database.Place{Store: cfg.Database, Blobs: cfg.Blobs}.Open(context.Background(), pgstore.Options{
		BlobGrace:   cfg.BlobGrace,
		History:     cfg.History.Keep,
		NoHistory:   cfg.History.Keep <= 0,
		HistorySize: cfg.History.Most,
		Uploads:     func() pgstore.UploadLimits { return pgstore.UploadLimits(cfg.unfinished()) },
		Report: func(err error) {
			if err != nil {
				log.Warn("the store reports: " + err.Error())
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return store, nil
}

// databaseFigures has m tell how a store does with its database.
func databaseFigures(m *monitor.Monitor, store *pgstore.Store) {
	of := func(state string) map[string]string { return map[string]string{"state": state} }
	gauge := func(name, help string, labels map[string]string, read func(pgstore.Figures) float64) {
		m.Counts().Gauge(name, help, labels, func() float64 { return read(store.Figures()) })
	}
	counter := func(name, help string, read func(pgstore.Figures) float64) {
		m.Counts().Counter(name, help, nil, func() float64 { return read(store.Figures()) })
	}
	const connections = "Connections to the database, by their state; most is how many there may be."
	for state, read := range map[string]func(pgstore.Figures) float64{
		"open": func(f pgstore.Figures) float64 { return float64(f.Connections) },
		"used": func(f pgstore.Figures) float64 { return float64(f.Used) },
		"most": func(f pgstore.Figures) float64 { return float64(f.Most) },
	} {
		gauge("ifmatch_database_connections", connections, of(state), read)
	}
	counter("ifmatch_database_waits_total", "How often a request had to wait for a connection to the database.",
		func(f pgstore.Figures) float64 { return float64(f.Waits) })
	counter("ifmatch_database_wait_seconds_total", "For how long requests have waited for connections to the database.",
		func(f pgstore.Figures) float64 { return f.Waited.Seconds() })
	for name, read := range map[string]func(pgstore.Figures) pgstore.Trips{
		"look":   func(f pgstore.Figures) pgstore.Trips { return f.Looks },
		"commit": func(f pgstore.Figures) pgstore.Trips { return f.Commits },
	} {
		counter("ifmatch_database_"+name+"s_total", "Trips of writes to the database: the "+name+".",
			func(f pgstore.Figures) float64 { return float64(read(f).Count) })
		counter("ifmatch_database_"+name+"_seconds_total", "How long these took in all, with the waits of the "+name+".",
			func(f pgstore.Figures) float64 { return read(f).Took.Seconds() })
	}
	counter("ifmatch_objects_failed_total", "Calls of the place for large contents that have failed.",
		func(f pgstore.Figures) float64 { return float64(f.ObjectFailures) })
	counter("ifmatch_contents_damaged_total", "Contents that were found to be missing or damaged.",
		func(f pgstore.Figures) float64 { return float64(f.Damages) })
	m.Counts().Gauge("ifmatch_feed_lag_seconds", "For how long followers of changes wait for a transaction that has not ended.",
		nil, func() float64 {
			lag, err := store.FeedLag(context.Background())
			if err != nil {
				return math.NaN() // it is not known while the database is away
			}
			return lag.Seconds()
		})
}

// doubtsPatience bounds the look for doubts, for which a server does not start later.
const doubtsPatience = 5 * time.Second

// databaseDoubts returns warnings about the settings of the database.
func databaseDoubts(ctx context.Context, cfg Config) []string {
	if cfg.Database == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, doubtsPatience)
	defer cancel()
	all, err := cluster.Doubts(ctx, database.Place{Store: cfg.Database})
	if err != nil {
		return []string{"the settings of the database cannot be read: " + err.Error()}
	}
	return all
}

// openShelf opens the share links of the replicas.
func openShelf(ctx context.Context, address string) (links.Shelf, func() error, error) {
	place := database.Place{Store: address}
	if err := place.Check(); err != nil {
		return nil, nil, err
	}
	store, err := place.Open(ctx, pgstore.Options{Reader: true, MaxConns: 1})
	if err != nil {
		return nil, nil, err
	}
	return sharedLinks(store), store.Close, nil
}

func sharedLinks(store *pgstore.Store) links.Shelf { return store.Notes("links").Text("") }

// A sharedState is the state that the replicas of a store share. Without such a store it is nil.
type sharedState struct {
	sessions session.Store
	guard    deleteguard.Store // of DELETE
	now      func() time.Time  // the clock that they share
	links    links.Shelf
}

// share has the replicas of a store share their state, if it is such a store, and tell one another that they run until the
// function that it returns is called.
func (cfg *Config) share(ctx context.Context, store served, log *slog.Logger) (stop func()) {
	shared, ok := store.(*pgstore.Store)
	if !ok {
		return func() {}
	}
	cfg.shared = sharedState{
		sessions: replicated.New(shared.Notes(replicated.Kind)),
		guard:    shared.Notes("failed-put"),
		links:    sharedLinks(shared),
		now:      shared.Time,
	}
	cfg.Auth.CountWith(shared.Notes("wrong-password"), shared.Time)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cfg.teller(shared, log).Run(ctx)
	}()
	return func() { cancel(); <-ended }
}

// teller tells the other replicas of this one, and the log of replicas with other users or rules, and of a wrong clock.
func (cfg *Config) teller(store *pgstore.Store, log *slog.Logger) *replicas.Teller {
	host, _ := os.Hostname() // "" is told where it has none
	self := replicas.Replica{ID: rand.Text(), Host: host, Program: programVersion(), Started: store.Time().UTC().Truncate(time.Second)}
	authority, differ, check := cfg.Auth, cfg.Monitor.Replicas(), cfg.clockCheck(store, log)
	look := func(ctx context.Context, self *replicas.Replica) {
		self.Files, self.Ahead = authority.Now().Sum(), check(ctx)
	}
	return replicas.New(store.Notes(replicas.Kind), self, look, func(others []replicas.Replica) {
		if len(others) == 0 {
			differ(0, "")
			log.Info("all replicas have the same users and rules again")
			return
		}
		differ(len(others), others[0].Host)
		log.Warn("other replicas have other users, app tokens or rules: give all of them the same files",
			"others", len(others), "first", others[0].Host)
	})
}

// clockCheck returns a function that compares the clock of this machine with that of the database, and returns by how much
// it is ahead. It tells the log when that begins to be much, and when it ends. As long as the database is away, the last
// comparison counts.
func (cfg *Config) clockCheck(store *pgstore.Store, log *slog.Logger) func(context.Context) time.Duration {
	tell := cfg.Monitor.Clock()
	wrong := false
	return func(ctx context.Context) time.Duration {
		ahead, err := store.LookAtClock(ctx)
		before := wrong
		if err == nil {
			wrong = ahead.Abs() > clock.Off
			tell(ahead, wrong)
		}
		switch {
		case wrong && !before:
			log.Warn("the clock of this machine is not that of the database: have both follow the same time server", "ahead", ahead)
		case before && !wrong:
			log.Info("the clock of this machine is that of the database again", "ahead", ahead)
		}
		return ahead
	}
}
