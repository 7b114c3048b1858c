package main

import (
	"context"
	"errors"
	"log/slog"
	"path"
	"strings"
	"sync"
	"time"

	"ifmatch/etagfs"
	"ifmatch/watcher"
)

// watchAgain is how long what could not be watched waits until it is tried again.
const watchAgain = time.Minute

// watch tells the store what changes in a directory, until stop is called. It is a help and no more: every tag is
// checked by a look at its file, so the server goes on without.
func watch(dir string, store *etagfs.Store, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	opts := watcher.Options{
		Skip:      func(name string) bool { return strings.EqualFold(path.Base(name), stateName) },
		Report:    func(err error) { logUnwatched(log, err) },
		Mounted:   store.Rescan, // nothing there is hashed ahead of need before a search has met what it is
		Recovered: func() { log.Info("there are enough watches again: what had none is watched") },
	}
	var running sync.WaitGroup
	running.Go(func() {
		keepWatching(ctx, store, log, func(ready func()) error {
			opts.Ready = ready
			return watcher.Watch(ctx, dir, opts, func(events []watcher.Event) { tell(store, events) })
		})
	})
	return func() { cancel(); running.Wait() }
}

func logUnwatched(log *slog.Logger, err error) {
	if errors.Is(err, watcher.ErrNoStorage) {
		log.Info("what is no storage is not watched", "error", err)
		return
	}
	if errors.Is(err, watcher.ErrElsewhere) {
		log.Warn("some changes are not told as they happen: they are seen when a file is asked for, and with --rescan earlier on the file system that is served", "error", err)
		return
	}
	log.Warn("a part of the tree is not watched", "error", err)
}

// keepWatching watches until ctx is done, when once returns nil. Where it fails, it is tried again now and then: others may
// have let go of what it needs, or somebody has raised a limit. A reason is told once, and not each time.
func keepWatching(ctx context.Context, store hinted, log *slog.Logger, once func(ready func()) error) {
	var told string
	for {
		err := once(func() {
			if told == "" {
				log.Debug("the tree is watched")
				return
			}
			told = ""
			log.Info("the tree is watched again")
			store.Rescan() // for what has changed meanwhile
		})
		if err == nil {
			return
		}
		if err.Error() != told {
			told = err.Error()
			log.Warn("nothing is watched: changes of other programs are seen when a file is asked for", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchAgain):
		}
	}
}

// hinted is who wants to know that something may have changed.
type hinted interface {
	Changed(names ...string)
	Rescan()
}

func tell(store hinted, events []watcher.Event) {
	var changed []string
	for _, event := range events {
		switch event.Op {
		case watcher.Changed:
			changed = append(changed, event.Name)
		case watcher.Overflow:
			store.Rescan()
		case watcher.Removed:
			// What is gone has no tag to compute, and what is remembered of it is right should it come back.
		}
	}
	store.Changed(changed...)
}
