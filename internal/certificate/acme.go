package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/usage"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// ACME options name the domains that need certificates, and the authority that issues these (RFC 8555).
type ACME struct {
	Names     []string // domains (empty: no certificates are requested)
	Directory string   // the URL of the authority
	CA        string   // PEM file of the roots for the server of the authority ("": the roots of the system)
	Email     string   // the contact ("": none)
}

// ParseName accepts a name that an authority can look up.
func ParseName(s string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if !strings.Contains(name, ".") || net.ParseIP(name) != nil || strings.Trim(name, nameChars) != "" ||
		strings.HasPrefix(name, ".") || strings.Contains(name, "..") || len(name) > 253 {
		return "", usage.Errorf("--acme %q: write a name that leads to this machine, such as files.example", s)
	}
	return name, nil
}

const nameChars = "0123456789abcdefghijklmnopqrstuvwxyz-."

// PublicURLs are the URLs by which clients know the names.
func (opts ACME) PublicURLs(addr, prefix string) (all []*url.URL) {
	for _, name := range opts.Names {
		host := name
		if _, port, err := net.SplitHostPort(addr); err == nil && port != "443" && port != "0" {
			host = net.JoinHostPort(name, port)
		}
		all = append(all, &url.URL{Scheme: "https", Host: host, Path: prefix})
	}
	return all
}

// acmePatience bounds one request to the authority.
const acmePatience = 30 * time.Second

// Manager returns what gets certificates and renews them, or nil if there is no name. It keeps them in a directory.
func (opts ACME) Manager(dir string) (*autocert.Manager, error) {
	if len(opts.Names) == 0 {
		return nil, nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if opts.CA != "" {
		roots, err := os.ReadFile(opts.CA)
		if err != nil {
			return nil, fmt.Errorf("--acme-ca cannot be read: %w", err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(roots) {
			return nil, usage.Errorf("--acme-ca %s has no certificate in it: give a file in PEM", opts.CA)
		}
	}
	return &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(dir),
		HostPolicy: onlyHosts(opts.Names),
		Email:      opts.Email,
		Client: &acme.Client{
			DirectoryURL: opts.Directory, UserAgent: "ifmatch",
			HTTPClient: &http.Client{Transport: transport, Timeout: acmePatience},
		},
	}, nil
}

// onlyHosts lets certificates be got for these names alone. A challenge over HTTP comes with the port in its Host where
// that is not 80.
func onlyHosts(names []string) autocert.HostPolicy {
	known := autocert.HostWhitelist(names...)
	return func(ctx context.Context, host string) error {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		return known(ctx, host)
	}
}

// TLS returns the configuration of a server with the certificates of a manager, or else of files, or nil for plain HTTP.
func TLS(c *Certificate, m *autocert.Manager) *tls.Config {
	switch {
	case m != nil:
		return ConfigOf(m.GetCertificate, acme.ALPNProto)
	case c != nil:
		return c.Config()
	}
	return nil
}

// Fetch requests the certificates that are missing, so that the first client need not wait and the log
// reports a failure at once. It returns after some minutes at the latest.
func Fetch(m *autocert.Manager, names []string, log *slog.Logger) {
	for _, name := range names {
		got, err := m.GetCertificate(&tls.ClientHelloInfo{
			ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
			SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
		})
		if err != nil {
			log.Error("there is no certificate, and clients cannot connect; it is tried again when one does: "+
				"see that port 443 of the name leads to this server, or port 80 to its --redirect", "name", name, "error", err)
			continue
		}
		log.Info("there is a certificate", "name", name, "expires", got.Leaf.NotAfter)
	}
}
