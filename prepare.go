package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/crypto/acme/autocert"

	"r-seed-1f3a754f.example/ifmatch/internal/certificate"
	"r-seed-1f3a754f.example/ifmatch/internal/duration"
	"r-seed-1f3a754f.example/ifmatch/internal/profiles"
	"r-seed-1f3a754f.example/ifmatch/listen"
	"r-seed-1f3a754f.example/ifmatch/monitor"
	"r-seed-1f3a754f.example/ifmatch/redirect"
	"r-seed-1f3a754f.example/ifmatch/reload"
	"r-seed-1f3a754f.example/ifmatch/site"
)

// A prepared is the result of all that a server judges before it opens an address or changes a file. The command config
// check prepares in the same way and ends there, so its answer cannot differ from that of a start.
type prepared struct {
	addr     string // of --addr, as [listen.Open] takes it, and whether only this machine can reach it
	loopback bool
	// The addresses of the other listeners, as [listen.Open] takes them ("": there is no such listener).
	admin, redirect, profiles string

	certificate *certificate.Certificate // nil: no --tls-cert
	acme        *autocert.Manager        // nil: no --acme
}

// prepare reads users, rules and certificates and judges addresses and directories. It sets cfg.Auth.
func prepare(ctx context.Context, cfg *Config) (p prepared, err error) {
	if p.addr, p.loopback, err = cfg.address(ctx); err != nil {
		return p, err
	}
	for _, one := range cfg.directories() {
		if err := refuseRoot(one); err != nil {
			return p, err
		}
	}
	if cfg.Auth, err = openAuth(*cfg); err != nil {
		return p, err
	}
	if err := refuseAnonymous(*cfg, p.loopback); err != nil {
		return p, err
	}
	if err := cfg.checkSites(); err != nil {
		return p, err
	}
	if p.profiles, err = profiles.Address(ctx, cfg.Pprof); err != nil {
		return p, err
	}
	if p.admin, err = monitor.Address(ctx, cfg.Admin, cfg.AdminHosts, cfg.Passed.Admin); err != nil {
		return p, err
	}
	if p.redirect, err = redirect.Address(ctx, cfg.Redirect); err != nil {
		return p, err
	}
	if p.certificate, err = loadCertificate(*cfg); err != nil {
		return p, err
	}
	if p.acme, err = cfg.ACME.Manager(filepath.Join(cfg.StateDir, "acme")); err != nil {
		return p, err
	}
	if err := reload.CheckAudit(cfg.AuditLog); err != nil {
		return p, err
	}
	for _, one := range cfg.directories() {
		if err := checkServed(one); err != nil {
			return p, err
		}
	}
	return p, nil
}

// tryStart goes on with the steps of a server after [prepare], and leaves no trace: it opens each address for an
// instant, and makes and removes an empty directory in each that is served. It returns notes about differences that
// another user, or a server that is running now, may explain.
func tryStart(ctx context.Context, cfg Config, p prepared) (notes []string, err error) {
	listeners := []struct{ flag, addr string }{
		{"--addr", p.addr}, {"--admin", p.admin}, {"--redirect", p.redirect}, {"--pprof", p.profiles},
	}
	for _, l := range listeners {
		note, err := listen.Try(ctx, l.flag, l.addr)
		if err != nil {
			return notes, err
		}
		if note != "" {
			notes = append(notes, note)
		}
	}
	if cfg.hasNoDir() || cfg.ReadOnly {
		return notes, nil
	}
	for _, one := range cfg.directories() {
		probe, err := probeDir(one.Dir, ".check-")
		if err == nil {
			err = os.Remove(probe)
		}
		if err != nil {
			return notes, dirError(one, err)
		}
	}
	return notes, nil
}

// probeDir makes an empty directory that clients do not see in a directory, to try whether it can be written.
func probeDir(dir, prefix string) (string, error) {
	at := filepath.Join(dir, stateName)
	if _, err := os.Stat(at); err != nil {
		at = dir // it was never served, so that no client sees its members
	}
	return os.MkdirTemp(at, prefix)
}

// address is [listen.Resolve] of --addr, unless systemd has passed a socket: that decides.
func (cfg *Config) address(ctx context.Context) (addr string, loopback bool, err error) {
	if cfg.Passed.Serve == nil {
		return listen.Resolve(ctx, "--addr", cfg.Addr)
	}
	tcp := cfg.Passed.Serve.Addr().(*net.TCPAddr)
	cfg.Addr = tcp.String()
	return cfg.Addr, tcp.IP.IsLoopback(), nil
}

// listen opens the address, or takes the socket that systemd has passed.
func (cfg *Config) listen(ctx context.Context, addr string) (net.Listener, error) {
	if cfg.Passed.Serve != nil {
		return cfg.Passed.Serve, nil
	}
	return listen.Open(ctx, addr)
}

// checkSites refuses sites whose scripts could act on the server.
func (cfg *Config) checkSites() error {
	set, err := site.NewSet(cfg.Sites)
	if err != nil {
		return usagef("%v", err)
	}
	for _, one := range cfg.Sites {
		switch {
		case one.Grace > 0 && cfg.ReadOnly:
			return usagef("the site /%s has a grace (--publish-grace), and a server with --read-only publishes nothing: leave out one "+
				"of them", one.Path)
		case one.Grace > cfg.History.Keep:
			return usagef("the site /%s has a grace of %s (--publish-grace), and the history keeps versions for %s: give a longer "+
				"--history", one.Path, duration.Short(one.Grace), duration.Short(cfg.History.Keep))
		}
	}
	var ours []string
	for _, u := range cfg.PublicURLs {
		ours = append(ours, u.Host)
	}
	if err := set.Check(cfg.ReadOnly && !cfg.Auth.Now().HasUsers(), ours, cfg.CORSOrigins); err != nil {
		return usagef("%v", err)
	}
	return nil
}

func parseGrace(d time.Duration) (time.Duration, error) {
	if err := site.CheckGrace(d); err != nil {
		return 0, usagef("--publish-grace %v: %v", d, err)
	}
	return d, nil
}

// siteURLs are the URLs of the sites with a host of their own, where the server listens at an address.
func (cfg *Config) siteURLs(addr net.Addr) (all []*url.URL) {
	port := ""
	if len(cfg.PublicURLs) > 0 {
		port = cfg.PublicURLs[0].Port()
	} else if tcp, ok := addr.(*net.TCPAddr); ok && tcp.Port != 80 && tcp.Port != 443 {
		port = strconv.Itoa(tcp.Port)
	}
	for _, one := range cfg.Sites {
		if one.Host == "" {
			continue
		}
		u := &url.URL{Scheme: "http", Host: one.Host, Path: "/"}
		if cfg.secure() || len(cfg.PublicURLs) > 0 && cfg.PublicURLs[0].Scheme == "https" {
			u.Scheme = "https"
		}
		if port != "" {
			u.Host = net.JoinHostPort(one.Host, port)
		}
		all = append(all, u)
	}
	return all
}

// loadCertificate returns nil if the server speaks plain HTTP.
func loadCertificate(cfg Config) (*certificate.Certificate, error) {
	if cfg.TLSCert == "" {
		return nil, nil
	}
	c, err := certificate.Load(cfg.TLSCert, cfg.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert and --tls-key cannot be used: %w", err)
	}
	return c, nil
}
