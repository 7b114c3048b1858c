package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"ifmatch/listen"

	"golang.org/x/net/netutil"
)

// redirectConnections bounds the connections of the listener that redirects.
const redirectConnections = 256

// redirectAddress returns the address to listen on for --redirect ("": none). Browsers come to a port.
func redirectAddress(ctx context.Context, asked string) (string, error) {
	if asked == "" {
		return "", nil
	}
	if strings.HasPrefix(asked, listen.UnixPrefix) {
		return "", usagef("--redirect %s is a Unix socket, which no browser reaches: write HOST:PORT, such as :80", asked)
	}
	addr, _, err := listen.Resolve(ctx, "--redirect", asked)
	return addr, err
}

// startRedirect opens the listener that leads to https, if there is to be one. It also answers the challenges of ACME.
// stop ends it. addr is the address of the server itself.
func startRedirect(
	ctx context.Context, cfg Config, p prepared, addr net.Addr, log *slog.Logger,
) (stop func(), err error) {
	if p.redirect == "" {
		return func() {}, nil
	}
	listener, err := listen.Open(ctx, p.redirect)
	if err != nil {
		return nil, listen.Failed(p.redirect, "--redirect", err)
	}
	var handler http.Handler = redirector(cfg, addr)
	if p.acme != nil {
		handler = p.acme.HTTPHandler(handler)
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, WriteTimeout: headerTimeout,
		IdleTimeout: 5 * time.Second, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(netutil.LimitListener(listener, redirectConnections)); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the listener that leads to https has failed", "error", err)
		}
	}()
	log.Info("GET and HEAD are led to https", "addr", listener.Addr().String())
	return func() { server.Close(); <-ended }, nil
}

// redirector leads GET and HEAD to the same path over https. Other requests
// may carry passwords or files: they are refused, so that the user corrects the URL of the client. An unknown Host is
// refused, too.
func redirector(cfg Config, addr net.Addr) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		to, ok := cfg.secureHost(r.Host, addr)
		switch {
		case !ok:
			refusePlain(w, http.StatusMisdirectedRequest, "this server is not known by that name")
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			refusePlain(w, http.StatusForbidden, "nothing is written here, and no password is taken: use https://"+to+"/")
		case !strings.HasPrefix(r.RequestURI, "/"):
			refusePlain(w, http.StatusBadRequest, "this is no path: use https://"+to+"/")
		default:
			// As it was sent: the path may have any encoding. It begins with a slash, and stands behind a host.
			w.Header().Set("Location", "https://"+to+r.RequestURI)
			w.WriteHeader(http.StatusPermanentRedirect)
		}
	}
}

func refusePlain(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	io.WriteString(w, why+"\n")
}

// secureHost returns host and port at which https is spoken for a Host, if that is known: the one of --public-url, or
// an address of this machine with the port of the server.
func (cfg *Config) secureHost(host string, addr net.Addr) (string, bool) {
	name := host
	if split, _, err := net.SplitHostPort(host); err == nil {
		name = split
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	for _, u := range cfg.PublicURLs {
		if u.Scheme == "https" && strings.EqualFold(u.Hostname(), name) {
			return u.Host, true
		}
	}
	ip, err := netip.ParseAddr(name)
	if err != nil && !strings.EqualFold(name, "localhost") || ip.Zone() != "" {
		return "", false
	}
	port := 0
	if tcp, ok := addr.(*net.TCPAddr); ok {
		port = tcp.Port
	}
	if cmp.Or(port, 443) != 443 {
		return net.JoinHostPort(name, strconv.Itoa(port)), true
	}
	if ip.Is6() {
		name = "[" + name + "]"
	}
	return name, true
}

// strict tells browsers to use nothing but https (RFC 6797). Over plain HTTP it is not told (§7.2).
func strict(next http.Handler, age time.Duration) http.Handler {
	if age <= 0 {
		return next
	}
	value := fmt.Sprintf("max-age=%d", int64(age/time.Second))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil {
			w.Header().Set("Strict-Transport-Security", value)
		}
		next.ServeHTTP(w, r)
	})
}
