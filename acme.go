package main

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
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"ifmatch/internal/certificate"
)

// acmeOptions name the domains that need certificates, and the authority that issues these (RFC 8555).
type acmeOptions struct {
	Names     []string // domains (empty: no certificates are requested)
	Directory string   // the URL of the authority
	CA        string   // PEM file of the roots for the server of the authority ("": the roots of the system)
	Email     string   // the contact ("": none)
}

// acmeFlags are the flags of serve about certificates that it asks for.
func acmeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "acme", EnvVars: env("acme"),
			Usage: "`NAME` for which to get a certificate of Let's Encrypt, whose terms you accept with that, and renew it; " +
				"kept in --state-dir; port 443 must lead here, or port 80 to --redirect; may be repeated"},
		&cli.StringFlag{Name: "acme-directory", Value: acme.LetsEncryptURL, EnvVars: env("acme-directory"),
			Usage: "`URL` of another authority"},
		&cli.PathFlag{Name: "acme-ca", EnvVars: env("acme-ca"),
			Usage: "`FILE` with the root certificates (PEM) of that authority's own server"},
		&cli.StringFlag{Name: "acme-email", EnvVars: env("acme-email"),
			Usage: "`ADDRESS` to which the authority may write"},
		&cli.StringFlag{Name: "redirect", EnvVars: env("redirect"),
			Usage: "`HOST:PORT` of a second listener, such as :80, that leads GET and HEAD to https and refuses everything " +
				"else"},
		&cli.DurationFlag{Name: "hsts", EnvVars: env("hsts"),
			Usage: "tell browsers to use nothing but https with this name for a `TIME` such as 180d; 0s to tell them nothing"},
	}
}

// parseACME reads the flags of [acmeFlags] about certificates.
func parseACME(c *cli.Context) (acmeOptions, error) {
	opts := acmeOptions{Directory: c.String("acme-directory"), CA: c.Path("acme-ca"), Email: c.String("acme-email")}
	var err error
	if opts.Names, err = parseEach(c.StringSlice("acme"), parseACMEName); err != nil || len(opts.Names) == 0 {
		return opts, err
	}
	u, err := url.Parse(opts.Directory)
	switch {
	case c.Path("state-dir") == "":
		return opts, usagef("--acme keeps keys and certificates, and they must not be served: add --state-dir DIR")
	case c.Path("tls-cert") != "":
		return opts, usagef("--acme and --tls-cert are two ways to get a certificate: leave out one of them")
	case err != nil || u.Scheme != "https" || u.Host == "":
		return opts, usagef("--acme-directory %q: write a whole URL with https, as the authority tells it", opts.Directory)
	}
	return opts, nil
}

// parseACMEName accepts a name that an authority can look up.
func parseACMEName(s string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if !strings.Contains(name, ".") || net.ParseIP(name) != nil || strings.Trim(name, nameChars) != "" ||
		strings.HasPrefix(name, ".") || strings.Contains(name, "..") || len(name) > 253 {
		return "", usagef("--acme %q: write a name that leads to this machine, such as files.example", s)
	}
	return name, nil
}

const nameChars = "0123456789abcdefghijklmnopqrstuvwxyz-."

// publicURLs are the URLs by which clients know the names.
func (opts acmeOptions) publicURLs(addr, prefix string) (all []*url.URL) {
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

// newACME returns the manager that gets certificates and renews them, or nil if no name is configured.
func newACME(cfg Config) (*autocert.Manager, error) {
	if len(cfg.ACME.Names) == 0 {
		return nil, nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if cfg.ACME.CA != "" {
		roots, err := os.ReadFile(cfg.ACME.CA)
		if err != nil {
			return nil, fmt.Errorf("--acme-ca cannot be read: %w", err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(roots) {
			return nil, usagef("--acme-ca %s has no certificate in it: give a file in PEM", cfg.ACME.CA)
		}
	}
	return &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(filepath.Join(cfg.StateDir, "acme")),
		HostPolicy: onlyHosts(cfg.ACME.Names),
		Email:      cfg.ACME.Email,
		Client: &acme.Client{
			DirectoryURL: cfg.ACME.Directory, UserAgent: "ifmatch",
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

// tlsOf returns the TLS configuration of the server, or nil for plain HTTP.
func tlsOf(c *certificate.Certificate, m *autocert.Manager) *tls.Config {
	switch {
	case m != nil:
		return certificate.ConfigOf(m.GetCertificate, acme.ALPNProto)
	case c != nil:
		return c.Config()
	}
	return nil
}

// getCertificates requests the certificates that are missing, so that the first client need not wait and the log
// reports a failure at once. It returns after some minutes at the latest.
func getCertificates(m *autocert.Manager, names []string, log *slog.Logger) {
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
