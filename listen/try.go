package listen

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
)

// Try opens an address of [Resolve] and closes it again ("": there is none). That it is in use is no fault: a running server
// has it. The note is about a failure that another user or a running systemd would not meet.
func Try(ctx context.Context, flag, addr string) (note string, err error) {
	if path, ok := strings.CutPrefix(addr, UnixPrefix); ok {
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
	return "", Failed(addr, flag, err)
}

// tryUnix looks at the place of a Unix socket. systemd makes and removes directories below /run with their services.
func tryUnix(flag, path string) (note string, err error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&iofs.ModeSocket == 0 {
		return "", Failed(UnixPrefix+path, flag, fmt.Errorf("%s is there, and is no socket", path))
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return fmt.Sprintf("%s must be there when the server starts, for its socket (%s)", filepath.Dir(path), flag), nil
	}
	return "", nil
}

// Failed is the error of an address that cannot be opened.
func Failed(addr, flag string, err error) error {
	hint := "use another " + flag
	if !strings.HasPrefix(addr, UnixPrefix) {
		hint += "; port 0 picks a free one"
	}
	return fmt.Errorf("cannot listen on %s: %w (%s)", addr, err, hint)
}
