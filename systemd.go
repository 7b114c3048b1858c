package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"ifmatch/limit"
	"ifmatch/wire"
)

// passedSockets are the listeners that systemd has opened for this process (sd_listen_fds(3)). They outlive it, so
// that connections wait while the server is restarted.
type passedSockets struct {
	serve net.Listener // nil if there is none
	admin net.Listener // the socket with FileDescriptorName=admin, or nil
}

// adminSocketName is the FileDescriptorName of the socket of the admin listener.
const adminSocketName = "admin"

// takePassed returns the sockets that were passed to this process. They are taken once.
func takePassed() (p passedSockets, err error) {
	for _, f := range activation.Files(true) {
		listener, failed := net.FileListener(f) // a copy
		f.Close()
		if failed != nil {
			failed = fmt.Errorf("systemd has passed a socket %q that is none to listen on: %w", f.Name(), failed)
			return p, errors.Join(failed, p.close())
		}
		at := &p.serve
		if f.Name() == adminSocketName {
			at = &p.admin
		}
		if *at != nil {
			err := usagef("systemd has passed two sockets (%v, %v), and one can be served: leave one ListenStream= out of the "+
				"socket unit, or give that of the admin listener FileDescriptorName=%s",
				(*at).Addr(), listener.Addr(), adminSocketName)
			return p, errors.Join(err, listener.Close(), p.close())
		}
		*at = listener
	}
	if p.serve == nil {
		return p, nil
	}
	if _, ok := p.serve.(*net.TCPListener); !ok {
		err := usagef("systemd has passed the socket %v, and only TCP is served: write ListenStream= with a port",
			p.serve.Addr())
		return p, errors.Join(err, p.close())
	}
	p.serve = keepAliveListener{p.serve}
	return p, nil
}

// close closes our copies. The sockets go on to listen at systemd.
func (p passedSockets) close() error {
	var errs []error
	for _, l := range []net.Listener{p.serve, p.admin} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// address is resolve of --addr, unless systemd has passed a socket: that decides.
func (cfg *Config) address(ctx context.Context) (listen string, loopback bool, err error) {
	if cfg.Passed.serve == nil {
		return resolve(ctx, "--addr", cfg.Addr)
	}
	addr := cfg.Passed.serve.Addr().(*net.TCPAddr)
	cfg.Addr = addr.String()
	return cfg.Addr, addr.IP.IsLoopback(), nil
}

// listen opens the address, or takes the socket that systemd has passed.
func (cfg *Config) listen(ctx context.Context, addr string) (net.Listener, error) {
	if cfg.Passed.serve != nil {
		return cfg.Passed.serve, nil
	}
	return listenOn(ctx, addr)
}

// A keepAliveListener has connections kept alive as those of a listener of our own.
type keepAliveListener struct{ net.Listener }

// Accept implements [net.Listener].
func (l keepAliveListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetKeepAliveConfig(wire.KeepAlive) // of a connection that is gone it fails, as all that follows
	}
	return conn, err
}

// tellSystemd tells the service manager of the state of this process (sd_notify(3)), if there is one.
func tellSystemd(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd cannot be told of the state of the server", "state", state, "error", err)
	}
}

// feedWatchdog tells the watchdog of systemd (WatchdogSec=) that this process is alive, until stop is called. It takes
// the locks that each request takes before it does so: where one of them is never let go of, the server is restarted. A
// disk that hangs is no reason to: a new process would hang, too.
func feedWatchdog(pools *limit.Pools, log *slog.Logger) (stop func()) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog of systemd cannot be fed, and will restart the server: WATCHDOG_USEC is no number",
			"error", err)
	}
	if err != nil || interval <= 0 {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(max(interval/3, time.Millisecond))
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			for _, pool := range pools.All() {
				pool.Figures()
			}
			tellSystemd(log, daemon.SdNotifyWatchdog)
		}
	}()
	return func() { close(done); <-ended }
}
