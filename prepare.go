package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/crypto/acme/autocert"

	"ifmatch/internal/certificate"
)

// A prepared is the result of all that a server judges before it opens an address or changes a file. The command config
// check prepares in the same way and ends there, so its answer cannot differ from that of a start.
type prepared struct {
	addr     string // of --addr, as listenOn takes it, and whether only this machine can reach it
	loopback bool
	// The addresses of the other listeners, as listenOn takes them ("": there is no such listener).
	admin, redirect, profiles string

	certificate *certificate.Certificate // nil: no --tls-cert
	acme        *autocert.Manager        // nil: no --acme
}

// prepare reads users, rules and certificates and judges addresses and directories. It sets cfg.Authority.
func prepare(ctx context.Context, cfg *Config) (p prepared, err error) {
	if p.addr, p.loopback, err = cfg.address(ctx); err != nil {
		return p, err
	}
	if err := refuseRoot(*cfg); err != nil {
		return p, err
	}
	if cfg.Authority, err = openAuth(*cfg); err != nil {
		return p, err
	}
	if err := refuseAnonymous(*cfg, p.loopback); err != nil {
		return p, err
	}
	if p.profiles, err = profilesAddress(ctx, cfg.Pprof); err != nil {
		return p, err
	}
	if p.admin, err = adminAddress(ctx, *cfg); err != nil {
		return p, err
	}
	if p.redirect, err = redirectAddress(ctx, cfg.Redirect); err != nil {
		return p, err
	}
	if p.certificate, err = loadCertificate(*cfg); err != nil {
		return p, err
	}
	if p.acme, err = newACME(*cfg); err != nil {
		return p, err
	}
	if err := checkAudit(cfg.AuditLog); err != nil {
		return p, err
	}
	return p, checkServed(*cfg)
}

// tryStart goes on with what a server does after [prepare], and leaves no trace: it opens each address for an instant,
// and makes and removes an empty directory in the one that is served. It returns notes about differences that another
// user, or a server that is running now, may explain.
func tryStart(ctx context.Context, cfg Config, p prepared) (notes []string, err error) {
	listeners := []struct{ flag, addr string }{
		{"--addr", p.addr}, {"--admin", p.admin}, {"--redirect", p.redirect}, {"--pprof", p.profiles},
	}
	for _, l := range listeners {
		note, err := tryListen(ctx, l.flag, l.addr)
		if err != nil {
			return notes, err
		}
		if note != "" {
			notes = append(notes, note)
		}
	}
	if cfg.Memory || cfg.ReadOnly {
		return notes, nil
	}
	probe, err := probeDir(cfg.Dir, ".check-")
	if err != nil {
		return notes, dirError(cfg, err)
	}
	return notes, os.Remove(probe)
}

// tryListen opens an address and closes it again. That it is in use is no fault: a running server has it.
func tryListen(ctx context.Context, flag, addr string) (note string, err error) {
	if path, ok := strings.CutPrefix(addr, unixPrefix); ok {
		return tryUnix(flag, path)
	}
	if addr == "" {
		return "", nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		return "", listener.Close()
	case errors.Is(err, syscall.EADDRINUSE):
		return "", nil
	case errors.Is(err, iofs.ErrPermission):
		return fmt.Sprintf("this user may not listen on %s (%s): the server needs CAP_NET_BIND_SERVICE for a port below "+
			"1024, or a socket that systemd passes", addr, flag), nil
	}
	return "", cannotListen(addr, flag, err)
}

// tryUnix looks at the place of a Unix socket. systemd makes and removes directories below /run with their services.
func tryUnix(flag, path string) (note string, err error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&iofs.ModeSocket == 0 {
		return "", cannotListen(unixPrefix+path, flag, fmt.Errorf("%s is there, and is no socket", path))
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return fmt.Sprintf("%s must be there when the server starts, for its socket (%s)", filepath.Dir(path), flag), nil
	}
	return "", nil
}

// cannotListen is the error of an address that cannot be opened.
func cannotListen(addr, flag string, err error) error {
	hint := "use another " + flag
	if !strings.HasPrefix(addr, unixPrefix) {
		hint += "; port 0 picks a free one"
	}
	return fmt.Errorf("cannot listen on %s: %w (%s)", addr, err, hint)
}

// probeDir makes an empty directory that clients do not see in a directory, to try whether it can be written.
func probeDir(dir, prefix string) (string, error) {
	at := filepath.Join(dir, stateName)
	if _, err := os.Stat(at); err != nil {
		at = dir // it was never served, so that no client sees what is in it
	}
	return os.MkdirTemp(at, prefix)
}
