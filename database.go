package main

import (
	"context"
	"log/slog"

	"r-seed-1f3a754f.example/ifmatch/auth/session"
	"r-seed-1f3a754f.example/ifmatch/auth/session/replicated"
	"r-seed-1f3a754f.example/ifmatch/internal/database"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/settings"
)

// hasNoDir reports whether a server serves no directory of its machine.
func (cfg Config) hasNoDir() bool { return cfg.Memory || cfg.Database != "" }

// checkDatabase refuses settings that a tree in a database cannot keep.
func (cfg Config) checkDatabase(file *settings.File) error {
	if cfg.Database == "" {
		return nil
	}
	if err := (database.Place{Store: cfg.Database}).Check(); err != nil {
		return err
	}
	switch {
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
		History:   cfg.History.Keep,
		NoHistory: cfg.History.Keep <= 0,
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

// sessionsOf returns the sessions of a store that keeps them for all replicas, or nil.
func sessionsOf(store served) session.Store {
	if shared, ok := store.(*pgstore.Store); ok {
		return replicated.New(shared.Notes("session"))
	}
	return nil
}
