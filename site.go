package main

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ifmatch/handler"
	"ifmatch/tree"
)

// A site is the served directory, or the directory that replaces it while the server runs. A missing directory must
// not look like an empty one, or sync clients would delete their own files. So a site refuses every request while the
// directory is missing.
type site struct {
	cfg  Config
	name string // absolute, for people
	log  *slog.Logger

	now atomic.Pointer[opened]

	down    atomic.Bool // reports whether why is not nil
	mu      sync.Mutex
	why     error     // the logged reason why the directory is missing (nil: it is there)
	next    time.Time // the next attempt to open the directory that replaced it
	retired sync.WaitGroup
}

// An opened is one served directory with its store, handler and watcher.
type opened struct {
	dav          http.Handler
	store        *backend
	dir          os.FileInfo // as the path led to it (nil: in memory)
	gate         *gate
	stopWatching func()
}

func openSite(cfg Config, log *slog.Logger) (*site, error) {
	s := &site{cfg: cfg, name: cfg.Dir, log: log}
	if abs, err := filepath.Abs(cfg.Dir); err == nil {
		s.name = abs
	}
	first, err := s.open()
	if err != nil {
		return nil, err
	}
	s.now.Store(first)
	return s, nil
}

func (s *site) open() (*opened, error) {
	o := &opened{gate: newGate(), stopWatching: func() {}}
	var err error
	if !s.cfg.Memory {
		// Before it is opened: the next look notices a replacement in between.
		if o.dir, err = statDir(s.cfg.Dir); err != nil {
			return nil, err
		}
	}
	if o.store, err = openBackend(s.cfg, s.log); err != nil {
		return nil, err
	}
	if o.dav, err = newHandler(s.cfg, o.store, s.log); err != nil {
		return nil, errors.Join(err, o.store.Close())
	}
	return o, nil
}

// watch begins to watch the served directory.
func (s *site) watch() {
	if o := s.now.Load(); !s.cfg.Memory && s.cfg.Watch {
		o.stopWatching = watch(s.cfg.Dir, o.store, s.log)
	}
}

func (o *opened) close() error {
	o.stopWatching()
	return o.store.Close()
}

// close closes the store and the watcher. No request may be running.
func (s *site) close() error {
	err := s.now.Load().close()
	s.retired.Wait()
	return err
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for {
		o := s.now.Load()
		if err := s.absent(o, readsOnly(r.Method)); err != nil {
			if err = s.reopen(o, err); err != nil {
				o.dav.ServeHTTP(w, handler.Gone(r, &tree.StorageError{Kind: tree.ErrUnavailable, Err: err, Hint: "what is served here is " +
					"gone from the server's disk, or its own state is; nothing has changed, and its log says more"}))
				return
			}
			continue
		}
		s.recovered(o)
		if o.gate.enter() {
			defer o.gate.leave()
			o.dav.ServeHTTP(w, r)
			return
		}
	}
}

var errMissing = errors.New("it is not there any more; put it back, and it is served again")

// absent returns the reason why the opened directory cannot be served: its path leads elsewhere or nowhere, or the
// state that a write needs is gone.
func (s *site) absent(o *opened, readsOnly bool) error {
	if o.dir == nil {
		return nil
	}
	now, err := os.Stat(s.cfg.Dir)
	switch {
	case errors.Is(err, iofs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return errMissing
	case err == nil && !os.SameFile(now, o.dir):
		return errors.New("something else is in its place")
	case !readsOnly && o.store.lost():
		return fmt.Errorf("its %s was removed", stateName)
	}
	return nil // the request reports any other error
}

func readsOnly(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, "PROPFIND":
		return true
	}
	return false
}

// reopen opens the directory that replaced a missing one, if it may be served.
func (s *site) reopen(gone *opened, why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.Load() != gone {
		return nil // another request has reopened it
	}
	if why != errMissing {
		now := time.Now()
		if now.Before(s.next) {
			return s.why
		}
		o, err := s.replacement(gone)
		if err == nil {
			s.now.Store(o)
			s.watch()
			s.retire(gone)
			s.log.Warn("what is served was opened anew", "dir", s.name, "because", why)
			s.sayBack()
			return nil
		}
		why, s.next = err, now.Add(time.Second)
	}
	if s.why == nil || s.why.Error() != why.Error() {
		s.log.Error("the directory cannot be served, and all requests are refused", "dir", s.name, "error", why)
		s.why = why
		s.down.Store(true)
	}
	return why
}

// recovered logs that the same directory is back.
func (s *site) recovered(o *opened) {
	if !s.down.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// The look of this request may be older than the loss, and only the look for a write covers the state.
	if s.now.Load() == o && s.absent(o, false) == nil {
		s.sayBack()
	}
}

// sayBack logs that the directory is served again. mu must be held.
func (s *site) sayBack() {
	if s.why != nil {
		s.log.Info("the directory is served again", "dir", s.name)
	}
	s.why, s.next = nil, time.Time{}
	s.down.Store(false)
}

// replacement opens the directory that replaced a missing one, if it may be served. On another file system it must
// have been served before, as otherwise it may be the mount point of a missing disk.
func (s *site) replacement(gone *opened) (*opened, error) {
	if err := s.mayReplace(gone); err != nil {
		return nil, err
	}
	return s.open()
}

func (s *site) mayReplace(gone *opened) error {
	if same, err := gone.store.isSameFileSystem(s.cfg.Dir); same || err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.cfg.Dir, stateName)); err != nil {
		return errors.New("another file system is there now, which was not served before: mount the one that was, " +
			"or restart the server to serve this one")
	}
	return nil
}

// retire closes a replaced directory after the last request that uses it.
func (s *site) retire(gone *opened) {
	empty := gone.gate.close()
	s.retired.Go(func() {
		<-empty
		if err := gone.close(); err != nil {
			s.log.Debug("what was served before is closed", "error", err)
		}
	})
}
