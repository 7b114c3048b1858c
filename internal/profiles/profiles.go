// Package profiles serves the profiles of the program on a listener of their own.
package profiles

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/listen"

	"golang.org/x/net/netutil"
)

const (
	// profileConnections bounds the connections of the listener for profiles.
	profileConnections = 8
	// profileHeaderTime is how long a client of it may take to send a header.
	profileHeaderTime = 10 * time.Second
)

// Address returns the address to listen on for --pprof ("": none).
func Address(ctx context.Context, asked string) (string, error) {
	if asked == "" {
		return "", nil
	}
	addr, loopback, err := listen.Resolve(ctx, "--pprof", asked)
	if err == nil && !loopback {
		err = usage.Errorf("--pprof %s: other machines can reach this address, and profiles tell too much: use a "+
			"loopback address, such as 127.0.0.1:6060, or unix:PATH", asked)
	}
	return addr, err
}

// Serve serves the profiles of net/http/pprof on a listener of its own, which other machines cannot reach: they
// tell paths of users, and each takes CPU time. addr is of [Address]; an empty one serves none. stop closes the
// listener and ends a profile that is being taken.
func Serve(ctx context.Context, addr string, log *slog.Logger) (stop func(), err error) {
	if addr == "" {
		return func() {}, nil
	}
	listener, err := listen.Open(ctx, addr)
	if err != nil {
		return nil, listen.Failed(addr, "--pprof", err)
	}
	server := &http.Server{
		Handler:           onlyLocal(profiles()),
		ReadHeaderTimeout: profileHeaderTime,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	server.SetKeepAlivesEnabled(false) // an idle connection would take the place of another one
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := server.Serve(netutil.LimitListener(listener, profileConnections))
		if !errors.Is(err, http.ErrServerClosed) {
			log.Error("profiles are not served any more", "error", err)
		}
	}()
	if path, ok := strings.CutPrefix(addr, listen.UnixPrefix); ok {
		log.Info("profiles are served", "socket", path, "path", "/debug/pprof/")
	} else {
		log.Info("profiles are served", "url", "http://"+listener.Addr().String()+"/debug/pprof/")
	}
	return func() {
		server.Close()
		<-ended
	}, nil
}

// profiles is a mux of its own: the default one, which net/http/pprof registers with too, is served nowhere.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// onlyLocal refuses requests that a page of another site makes the browser of a local user send. Such a page reaches a
// loopback address with a name of its own that leads there (DNS rebinding), or embeds the address.
func onlyLocal(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		site := r.Header.Get("Sec-Fetch-Site")
		if !localName(r.Host) || site != "" && site != "none" && site != "same-origin" {
			http.Error(w, "profiles are for local programs", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// localName reports whether an authority is a loopback address or localhost.
func localName(authority string) bool {
	host, _, err := net.SplitHostPort(authority)
	if err != nil {
		host = authority
	}
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}
