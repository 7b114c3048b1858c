package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A certificate is the pair of files that the server speaks https with, as they were when they last made a pair. Who renews
// it replaces the files: that is seen with the next connection, and asked for by SIGHUP.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	pair atomic.Pointer[tls.Certificate]

	mu     sync.Mutex
	seen   [2]fileState // the files that pair, or the last failure, was made of
	looked time.Time
}

// A fileState tells whether a file is the one that was read.
type fileState struct {
	info os.FileInfo // nil where it could not be looked at
}

func stateOfFile(name string) fileState {
	info, err := os.Stat(name)
	if err != nil {
		return fileState{}
	}
	return fileState{info}
}

func (s fileState) same(other fileState) bool {
	if s.info == nil || other.info == nil {
		return s.info == other.info
	}
	return os.SameFile(s.info, other.info) && s.info.ModTime().Equal(other.info.ModTime()) && s.info.Size() == other.info.Size()
}

// lookPause is how often the files are looked at, whatever the number of connections.
const lookPause = time.Second

// loadCertificate returns nil where the server speaks plain HTTP.
func loadCertificate(cfg Config, log *slog.Logger) (*certificate, error) {
	if cfg.TLSCert == "" {
		return nil, nil
	}
	c := &certificate{certFile: cfg.TLSCert, keyFile: cfg.TLSKey, log: log, now: time.Now}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("--tls-cert and --tls-key cannot be used: %w", err)
	}
	return c, nil
}

// config returns what the server is to be configured with; nil of none.
func (c *certificate) config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil },
		CipherSuites:   authenticated(),
	}
}

// authenticated returns the suites of TLS 1.2 that encrypt and authenticate in one (AEAD). The others have a padding, from
// which attackers have learned what was encrypted; TLS 1.3 has none of them.
func authenticated() (suites []uint16) {
	for _, suite := range tls.CipherSuites() {
		aead := strings.Contains(suite.Name, "_GCM_") || strings.Contains(suite.Name, "_POLY1305_")
		if aead && slices.Contains(suite.SupportedVersions, uint16(tls.VersionTLS12)) {
			suites = append(suites, suite.ID)
		}
	}
	return suites
}

// current returns the pair, and looks first whether it was renewed. One connection at a time looks: the files may be where
// that takes long.
func (c *certificate) current() *tls.Certificate {
	if c.mu.TryLock() {
		defer c.mu.Unlock()
		if now := c.now(); now.Sub(c.looked) >= lookPause || now.Before(c.looked) {
			c.looked = now
			if seen := c.look(); !seen[0].same(c.seen[0]) || !seen[1].same(c.seen[1]) {
				c.say(c.load())
			}
		}
	}
	return c.pair.Load()
}

// renew reads the files, whether or not they seem to have changed.
func (c *certificate) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.say(c.load())
}

func (c *certificate) look() [2]fileState {
	return [2]fileState{stateOfFile(c.certFile), stateOfFile(c.keyFile)}
}

// load reads the files. Where they make no pair, as while only one of them is replaced, the last one stays. mu must be held,
// but by who has just made c.
func (c *certificate) load() error {
	c.seen = c.look() // before they are read: what comes after is seen the next time
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err == nil {
		c.pair.Store(&pair)
	}
	return err
}

// say tells what has become of an attempt to renew.
func (c *certificate) say(err error) {
	if err != nil {
		c.log.Error("the certificate cannot be renewed, and the last one is kept",
			"cert", c.certFile, "key", c.keyFile, "error", err)
		return
	}
	c.log.Info("the certificate was read anew", "cert", c.certFile, "expires", c.pair.Load().Leaf.NotAfter)
}

// hangups answers SIGHUP until stop is called: it comes from who has renewed a certificate, and where a terminal closes.
// Neither is a reason to stop.
func hangups(c *certificate, log *slog.Logger) (stop func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-done:
				return
			case <-signals:
			}
			if c == nil {
				log.Info("SIGHUP: there is no certificate to read anew (--tls-cert), and the server goes on; SIGTERM stops it")
			} else {
				c.renew()
			}
		}
	}()
	return func() { signal.Stop(signals); close(done) }
}
