// Package certificate is the pair of a TLS certificate and its key, read again when its files are renewed.
package certificate

import (
	"crypto/tls"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Certificate is a certificate and its key, as they were when the two files last made a pair that was taken over.
// Programs that renew a certificate replace the files, which [Certificate.Look] notices.
type Certificate struct {
	certFile, keyFile string

	pair atomic.Pointer[tls.Certificate]

	mu   sync.Mutex
	seen [2]fileState // the files as they were when they were read last, whether or not they made a pair
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

// Load reads the two files.
func Load(certFile, keyFile string) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile}
	r, err := c.Look(true)
	if err != nil {
		return nil, err
	}
	r.Take()
	return c, nil
}

// Config returns a TLS configuration that presents the certificate.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil },
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

// A Renewal is a new pair, which is not used before it is taken over.
type Renewal struct {
	of   *Certificate
	pair *tls.Certificate
}

// Take gives the new pair to each connection from now on.
func (r *Renewal) Take() { r.of.pair.Store(r.pair) }

// Expires returns when the new certificate expires.
func (r *Renewal) Expires() time.Time { return r.pair.Leaf.NotAfter }

// Look reads the files if they have changed since the last look, or in any case if forced. It returns nil if there is
// nothing new. Files that make no pair, as while only one of them has been replaced, are an error, once for each change.
func (c *Certificate) Look(forced bool) (*Renewal, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := [2]fileState{stateOfFile(c.certFile), stateOfFile(c.keyFile)}
	if !forced && seen[0].same(c.seen[0]) && seen[1].same(c.seen[1]) {
		return nil, nil
	}
	c.seen = seen // before reading: a later change is noticed at the next look
	if c.pair.Load() != nil {
		// A server is running. Reading a pipe could wait forever.
		for i, name := range []string{c.certFile, c.keyFile} {
			if seen[i].info != nil && !seen[i].info.Mode().IsRegular() {
				return nil, fmt.Errorf("%s is not a regular file", name)
			}
		}
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return nil, err
	}
	return &Renewal{c, &pair}, nil
}
