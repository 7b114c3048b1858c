// Package hints tells a store about changes that a watcher reports, and goes on to try where it cannot watch.
package hints

import (
	"context"
	"errors"
	"log/slog"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/admin"
	"r-seed-1f3a754f.example/ifmatch/watcher"
)

// watchAgain is the time between two attempts to watch a directory.
const watchAgain = time.Minute

// Options name the watched directory, and the receiver of the hints.
type Options struct {
	Skip    string         // the name of directories that are not watched
	Counts  *admin.Metrics // count overflows (nil: nothing does)
	Watched *atomic.Int64  // see [watcher.Options]
}

// Watch tells the store about changes in a directory, until stop is called. The store does not depend on it: it checks
// every tag against its file, so the server also works unwatched.
func Watch(dir string, store Sink, options Options, log *slog.Logger) (stop func()) {
	store = countedSink{store, options.Counts}
	ctx, cancel := context.WithCancel(context.Background())
	asks := make(chan chan<- bool)
	opts := watcher.Options{
		Skip:      func(name string) bool { return strings.EqualFold(path.Base(name), options.Skip) },
		Report:    func(err error) { logUnwatched(log, err) },
		Mounted:   store.Rescan, // files there are hashed ahead of requests only after a search has found their volume
		Watched:   options.Watched,
		Recovered: func() { log.Info("enough inotify watches are free again: the whole tree is watched") },
		Ask:       asks,
		AskDir:    store.AskDir(),
	}
	var running sync.WaitGroup
	running.Go(func() {
		keepWatching(ctx, store, log, func(ready func()) error {
			opts.Ready = func() { store.Watched(asking(asks)); ready() }
			defer store.Watched(nil)
			return watcher.Watch(ctx, dir, opts, func(events []watcher.Event) { notify(store, events) })
		})
	})
	return func() {
		cancel()
		ended := make(chan struct{})
		go func() {
			running.Wait()
			close(ended)
		}()
		late := time.NewTimer(stopPatience)
		defer late.Stop()
		select {
		case <-ended:
		case <-late.C:
			log.Warn("the watch of the directory has not ended, since a file system in it does not answer")
		}
	}
}

// stopPatience is how long stop waits for a call of the watcher that does not return.
const stopPatience = 3 * time.Second

// errNotKnown says that the watcher does not know whether it has told of everything.
var errNotKnown = errors.New("it is not known how far the watcher is")

// asking returns a function that asks the watcher. It returns nil when the watcher has told of all changes that were
// made before.
func asking(asks chan<- chan<- bool) func(context.Context) error {
	return func(ctx context.Context) error {
		answer := make(chan bool, 1)
		select {
		case asks <- answer:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case yes := <-answer:
			if !yes {
				return errNotKnown
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func logUnwatched(log *slog.Logger, err error) {
	if errors.Is(err, watcher.ErrNoStorage) {
		log.Info("file systems without storage are not watched", "error", err)
		return
	}
	if errors.Is(err, watcher.ErrElsewhere) {
		log.Warn("some changes by other programs are noticed only when a file is requested: "+
			"use --rescan to notice those on the served file system earlier", "error", err)
		return
	}
	log.Warn("a part of the tree is not watched: changes there are noticed when a file is requested", "error", err)
}

// keepWatching calls once until it returns nil, which it does when ctx is done. After a failure it waits, as another
// program may release watches or an administrator may raise a limit. It logs each reason once.
func keepWatching(ctx context.Context, store Sink, log *slog.Logger, once func(ready func()) error) {
	var reported string
	for {
		err := once(func() {
			if reported == "" {
				log.Debug("the tree is watched")
				return
			}
			reported = ""
			log.Info("the tree is watched again")
			store.Rescan() // changes meanwhile were not reported
		})
		if err == nil {
			return
		}
		if err.Error() != reported {
			reported = err.Error()
			log.Warn("the tree is not watched: changes by other programs are noticed when a file is requested", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchAgain):
		}
	}
}

// A Sink receives hints about changes from the watcher.
type Sink interface {
	Changed(names ...string)
	Removed(names ...string)
	Rescan()
	// Watched says that changes are told from now on, or with nil that they are not any more. ask returns when all
	// changes so far were told.
	Watched(ask func(context.Context) error)
	AskDir() string
}

// A countedSink has overflows of the watcher counted.
type countedSink struct {
	Sink
	counts *admin.Metrics
}

func notify(store Sink, events []watcher.Event) {
	var changed, removed []string
	for _, event := range events {
		switch event.Op {
		case watcher.Changed:
			changed = append(changed, event.Name)
		case watcher.Overflow:
			if counted, ok := store.(countedSink); ok {
				counted.counts.WatchOverflow()
			}
			store.Rescan()
		case watcher.Removed:
			removed = append(removed, event.Name) // there is no tag to compute
		}
	}
	store.Removed(removed...)
	store.Changed(changed...)
}
