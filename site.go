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

	"ifmatch/etagfs"
	"ifmatch/fs"
	"ifmatch/handler"
)

// A site is what is served: the directory that was opened, and what comes to be in its place while the server runs. A
// directory that is gone must not look like an empty one, or sync clients would remove what they have of it: as long as
// it is not there, all is refused.
type site struct {
	cfg  Config
	name string // of the directory, for people who do not know where we were started
	log  *slog.Logger

	now atomic.Pointer[opened]

	down    atomic.Bool // why is not nil
	mu      sync.Mutex
	why     error     // what has been said of now's absence; nil while it is there
	next    time.Time // when to try again to open what is in its place
	retired sync.WaitGroup
}

// An opened is one directory that is served, and all that belongs to it.
type opened struct {
	dav          http.Handler
	store        *etagfs.Store
	below        *fs.FS
	dir          os.FileInfo // what the path led to; nil in memory
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
		// Before it is opened: if it is replaced in between, the next look finds that out.
		if o.dir, err = statDir(s.cfg.Dir); err != nil {
			return nil, err
		}
	}
	if o.store, o.below, err = openStore(s.cfg, s.log); err != nil {
		return nil, err
	}
	if o.dav, err = newHandler(s.cfg, o.store, s.log); err != nil {
		return nil, errors.Join(err, o.store.Close())
	}
	return o, nil
}

// watch begins to watch what is served now.
func (s *site) watch() {
	if o := s.now.Load(); !s.cfg.Memory && s.cfg.Watch {
		o.stopWatching = watch(s.cfg.Dir, o.store, s.log)
	}
}

func (o *opened) close() error {
	o.stopWatching()
	return o.store.Close()
}

// close lets go of everything. No request may be running.
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
				o.dav.ServeHTTP(w, handler.Gone(r, err))
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

// absent returns why what was opened cannot be served: its path leads elsewhere, or nowhere, or the state that a write
// needs is gone.
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
	case !readsOnly && o.below.Lost():
		return fmt.Errorf("its %s was removed", stateName)
	}
	return nil // what another error is about, the request will find
}

func readsOnly(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, "PROPFIND":
		return true
	}
	return false
}

// reopen opens what is in the place of a directory that is gone, if anything may be served there.
func (s *site) reopen(gone *opened, why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.Load() != gone {
		return nil // somebody was faster
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

// recovered says that a directory that was gone is back, as it was.
func (s *site) recovered(o *opened) {
	if !s.down.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Who has looked may have done so before it went, and only a write finds out that it is not all there.
	if s.now.Load() == o && s.absent(o, false) == nil {
		s.sayBack()
	}
}

// sayBack ends what was said of an absence. mu must be held.
func (s *site) sayBack() {
	if s.why != nil {
		s.log.Info("the directory is served again", "dir", s.name)
	}
	s.why, s.next = nil, time.Time{}
	s.down.Store(false)
}

// replacement opens what is at the path now, if that may be served in place of a directory that is gone. On another file
// system it must have been served before: else it is the place where a disk that is gone was mounted.
func (s *site) replacement(gone *opened) (*opened, error) {
	if err := s.mayReplace(gone); err != nil {
		return nil, err
	}
	return s.open()
}

func (s *site) mayReplace(gone *opened) error {
	below, err := fs.Open(s.cfg.Dir, fs.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer below.Close()
	now, err := below.Stat("")
	if err != nil {
		return err
	}
	before, err := gone.below.Stat("")
	if err == nil && before.Device == now.Device {
		return nil
	}
	if _, err := os.Stat(filepath.Join(s.cfg.Dir, stateName)); err != nil {
		return errors.New("another file system is there now, which was not served before: mount the one that was, or restart the server to serve this one")
	}
	return nil
}

// retire closes what is not served any more when the last request that uses it has ended.
func (s *site) retire(gone *opened) {
	empty := gone.gate.close()
	s.retired.Go(func() {
		<-empty
		if err := gone.close(); err != nil {
			s.log.Debug("what was served before is closed", "error", err)
		}
	})
}
