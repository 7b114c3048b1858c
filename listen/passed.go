package listen

import (
	"errors"
	"fmt"
	"net"

	"github.com/coreos/go-systemd/v22/activation"

	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/wire"
)

// Passed are the listeners that systemd has opened for this process (sd_listen_fds(3)). They outlive it, so
// that connections wait while the server is restarted.
type Passed struct {
	Serve net.Listener // nil if there is none
	Admin net.Listener // the socket with FileDescriptorName=admin, or nil
}

// adminSocketName is the FileDescriptorName of the socket of the admin listener.
const adminSocketName = "admin"

// TakePassed returns the sockets that were passed to this process. They are taken once.
func TakePassed() (p Passed, err error) {
	for _, f := range activation.Files(true) {
		listener, failed := net.FileListener(f) // a copy
		f.Close()
		if failed != nil {
			failed = fmt.Errorf("systemd has passed a socket %q that is none to listen on: %w", f.Name(), failed)
			return p, errors.Join(failed, p.close())
		}
		at := &p.Serve
		if f.Name() == adminSocketName {
			at = &p.Admin
		}
		if *at != nil {
			err := usage.Errorf("systemd has passed two sockets (%v, %v), and one can be served: leave one ListenStream= out of the "+
				"socket unit, or give that of the admin listener FileDescriptorName=%s",
				(*at).Addr(), listener.Addr(), adminSocketName)
			return p, errors.Join(err, listener.Close(), p.close())
		}
		*at = listener
	}
	if p.Serve == nil {
		return p, nil
	}
	if _, ok := p.Serve.(*net.TCPListener); !ok {
		err := usage.Errorf("systemd has passed the socket %v, and only TCP is served: write ListenStream= with a port",
			p.Serve.Addr())
		return p, errors.Join(err, p.close())
	}
	p.Serve = keepAliveListener{p.Serve}
	return p, nil
}

// close closes our copies. The sockets go on to listen at systemd.
func (p Passed) close() error {
	var errs []error
	for _, l := range []net.Listener{p.Serve, p.Admin} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
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
