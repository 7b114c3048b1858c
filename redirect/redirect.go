// Package redirect leads browsers from plain HTTP to https.
package redirect

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
	"net/url"
	"strconv"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/listen"

	"golang.org/x/crypto/acme/autocert"
	"golang.org/x/net/netutil"
)

const (
	// maxConnections bounds the connections of the listener.
	maxConnections = 256
	// patience bounds each part of a request.
	patience = 30 * time.Second
	// maxHeader is enough for a long path.
	maxHeader = 128 << 10
)

// Address returns the address to listen on for --redirect ("": none). Browsers come to a port.
func Address(ctx context.Context, asked string) (string, error) {
	if asked == "" {
		return "", nil
	}
	if strings.HasPrefix(asked, listen.UnixPrefix) {
		return "", usage.Errorf("--redirect %s is a Unix socket, which no browser reaches: write HOST:PORT, such as :80", asked)
	}
	addr, _, err := listen.Resolve(ctx, "--redirect", asked)
	return addr, err
}

// Options are those of a listener that leads to https.
type Options struct {
	Addr       string            // to listen on, of [Address] ("": there is no such listener)
	Server     net.Addr          // where https is spoken
	PublicURLs []*url.URL        // by which clients know the server
	Challenges *autocert.Manager // whose challenges are answered, too (nil: none)
}

// Start opens the listener, if there is to be one. stop ends it.
func Start(ctx context.Context, opts Options, log *slog.Logger) (stop func(), err error) {
	if opts.Addr == "" {
		return func() {}, nil
	}
	listener, err := listen.Open(ctx, opts.Addr)
	if err != nil {
		return nil, listen.Failed(opts.Addr, "--redirect", err)
	}
	var handler http.Handler = opts.handler()
	if opts.Challenges != nil {
		handler = opts.Challenges.HTTPHandler(handler)
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: patience, ReadTimeout: patience, WriteTimeout: patience,
		IdleTimeout: 5 * time.Second, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(netutil.LimitListener(listener, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the listener that leads to https has failed", "error", err)
		}
	}()
	log.Info("GET and HEAD are led to https", "addr", listener.Addr().String())
	return func() { server.Close(); <-ended }, nil
}

// handler leads GET and HEAD to the same path over https. Other requests
// may carry passwords or files: they are refused, so that the user corrects the URL of the client. An unknown Host is
// refused, too.
func (opts Options) handler() http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		to, ok := opts.secureHost(r.Host)
		switch {
		case !ok:
			refuse(w, http.StatusMisdirectedRequest, "this server is not known by that name")
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			refuse(w, http.StatusForbidden, "nothing is written here, and no password is taken: use https://"+to+"/")
		case !strings.HasPrefix(r.RequestURI, "/"):
			refuse(w, http.StatusBadRequest, "this is no path: use https://"+to+"/")
		default:
			// As it was sent: the path may have any encoding. It begins with a slash, and stands behind a host.
			w.Header().Set("Location", "https://"+to+r.RequestURI)
			w.WriteHeader(http.StatusPermanentRedirect)
		}
	}
}

func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	io.WriteString(w, why+"\n")
}

// secureHost returns host and port at which https is spoken for a Host, if that is known: the one of --public-url, or
// an address of this machine with the port of the server.
func (opts Options) secureHost(host string) (string, bool) {
	name := host
	if split, _, err := net.SplitHostPort(host); err == nil {
		name = split
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	for _, u := range opts.PublicURLs {
		if u.Scheme == "https" && strings.EqualFold(u.Hostname(), name) {
			return u.Host, true
		}
	}
	ip, err := netip.ParseAddr(name)
	if err != nil && !strings.EqualFold(name, "localhost") || ip.Zone() != "" {
		return "", false
	}
	port := 0
	if tcp, ok := opts.Server.(*net.TCPAddr); ok {
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

// Strict tells browsers to use nothing but https (RFC 6797). Over plain HTTP it is not told (§7.2).
func Strict(next http.Handler, age time.Duration) http.Handler {
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
