package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"

	"r-seed-1f3a754f.example/ifmatch/auth/session"
	"r-seed-1f3a754f.example/ifmatch/auth/session/replicated"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/settings"
)

// hasNoDir reports whether a server serves no directory of its machine.
func (cfg Config) hasNoDir() bool { return cfg.Memory || cfg.Database != "" }

// checkDatabase refuses settings that a tree in a database cannot keep.
func (cfg Config) checkDatabase(file *settings.File) error {
	if cfg.Database == "" {
		return nil
	}
	switch at, err := url.Parse(cfg.Database); {
	case err != nil || at.Scheme != "postgres" && at.Scheme != "postgresql":
		return usagef("--store is no address of a database: give one such as postgres://user@host/database")
	case hasPassword(at):
		return usagef("--store has a password, which each user of this machine can read: put it into a file, and its name " +
			"into PGPASSFILE")
	case len(file.Quotas) > 0:
		return usagef("%s has quotas, and --store cannot keep these yet: leave them out", file.Name)
	case len(file.Shares) > 0:
		return usagef("%s has shares, which are directories: leave them out, or --store", file.Name)
	}
	return nil
}

func hasPassword(at *url.URL) bool {
	_, has := at.User.Password()
	return has || at.Query().Has("password")
}

// openDatabase opens the store of one of several servers.
func openDatabase(cfg Config, log *slog.Logger) (served, error) {
	objects, err := blobs.Open(cfg.Blobs)
	if err != nil {
		return nil, fmt.Errorf("--blobs: %w", err)
	}
	store, err := pgstore.Open(context.Background(), cfg.Database, pgstore.Options{
		Blobs:     objects,
		History:   cfg.History.Keep,
		NoHistory: cfg.History.Keep <= 0,
		Report: func(err error) {
			if err != nil {
				log.Warn("the store reports: " + err.Error())
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("--store: %w", err)
	}
	return store, nil
}

// sessionsOf returns the sessions of a store that keeps them for all replicas, or nil.
func sessionsOf(store served) session.Store {
	if shared, ok := store.(*pgstore.Store); ok {
		return replicated.New(shared.Notes("session"))
	}
	return nil
}
