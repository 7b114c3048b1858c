// Package certificate is the pair of a TLS certificate and its key, read again when its files are renewed.
package certificate

import (
	"crypto/tls"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Certificate is a certificate and its key, as they were when the two files last made a pair. Programs that renew a
// certificate replace the files: the next connection notices, and so does [Certificate.Renew].
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	pair atomic.Pointer[tls.Certificate]

	mu     sync.Mutex
	seen   [2]fileState // the files as they were when they were read last, whether or not they made a pair
	looked time.Time
}

// A fileState tells whether a file is still the one that was read.
type fileState struct {
	info os.FileInfo // nil: stat failed
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
	return os.SameFile(s.info, other.info) &&
		s.info.ModTime().Equal(other.info.ModTime()) && s.info.Size() == other.info.Size()
}

// lookPause is the least time between two looks at the files, for any number of connections.
const lookPause = time.Second

// Load reads the two files.
func Load(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log, now: time.Now}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// Config returns a TLS configuration that presents the certificate.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil },
		CipherSuites:   authenticated(),
	}
}

// authenticated returns the suites of TLS 1.2 that encrypt and authenticate in one step (AEAD). The others have a
// padding, from which attackers have learned the plain text. TLS 1.3 has AEAD suites only.
func authenticated() (suites []uint16) {
	for _, suite := range tls.CipherSuites() {
		aead := strings.Contains(suite.Name, "_GCM_") || strings.Contains(suite.Name, "_POLY1305_")
		if aead && slices.Contains(suite.SupportedVersions, uint16(tls.VersionTLS12)) {
			suites = append(suites, suite.ID)
		}
	}
	return suites
}

// current returns the pair, after a look whether its files were renewed. Only one connection at a time looks, because
// the files may lie on a slow disk.
func (c *Certificate) current() *tls.Certificate {
	if c.mu.TryLock() {
		defer c.mu.Unlock()
		if now := c.now(); now.Sub(c.looked) >= lookPause || now.Before(c.looked) {
			c.looked = now
			if seen := c.look(); !seen[0].same(c.seen[0]) || !seen[1].same(c.seen[1]) {
				c.report(c.load())
			}
		}
	}
	return c.pair.Load()
}

// Renew reads the files again, whether or not they seem to have changed.
func (c *Certificate) Renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report(c.load())
}

func (c *Certificate) look() [2]fileState {
	return [2]fileState{stateOfFile(c.certFile), stateOfFile(c.keyFile)}
}

// load reads the files. If they make no pair, as while only one of them has been replaced, the previous pair stays. mu
// must be held, except in Load.
func (c *Certificate) load() error {
	c.seen = c.look() // before reading: a later change is noticed at the next look
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err == nil {
		c.pair.Store(&pair)
	}
	return err
}

// report logs the result of an attempt to renew.
func (c *Certificate) report(err error) {
	if err != nil {
		c.log.Error("cannot read the renewed certificate, so the previous one stays in use: check both files",
			"cert", c.certFile, "key", c.keyFile, "error", err)
		return
	}
	c.log.Info("the certificate was read again", "cert", c.certFile, "expires", c.pair.Load().Leaf.NotAfter)
}
