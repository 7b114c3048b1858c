// Package listen judges addresses to listen on, opens them, and takes sockets that systemd has opened.
package listen

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/wire"
)

// UnixPrefix begins an address that is the path of a Unix socket.
const UnixPrefix = "unix:"

// Resolve returns the address to listen on for the value of a flag, and whether only this machine can reach it. A host
// name is looked up once, so that the server listens on the address that was judged. A name is loopback only if all its
// addresses are. An empty host means every address of the machine. A Unix socket is of this machine.
func Resolve(ctx context.Context, flag, addr string) (listen string, loopback bool, err error) {
	if path, ok := strings.CutPrefix(addr, UnixPrefix); ok {
		if path == "" {
			return "", false, usage.Errorf("%s %s names no socket: write unix:PATH, such as unix:/run/ifmatch/socket", flag, addr)
		}
		path, err = filepath.Abs(path)
		return UnixPrefix + path, true, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", false, usage.Errorf("%s %q: write HOST:PORT, such as 127.0.0.1:8080, or unix:PATH", flag, addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", false, usage.Errorf("%s %q: the port must be a number from 0 to 65535, such as 8080", flag, addr)
	}
	if host == "" {
		return addr, false, nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return net.JoinHostPort(ip.Unmap().String(), port), ip.Unmap().IsLoopback(), nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", false, usage.Errorf("%s %q: the host name cannot be resolved (%v): use an address of this machine, "+
			"such as 127.0.0.1", flag, addr, err)
	}
	reachable := slices.ContainsFunc(ips, func(ip netip.Addr) bool { return !ip.Unmap().IsLoopback() })
	first := ips[0]
	for _, ip := range ips {
		if ip.Unmap().Is4() {
			first = ip.Unmap() // as package net does: a name usually means IPv4
			break
		}
	}
	return net.JoinHostPort(first.String(), port), !reachable, nil
}

// OnLoopback returns a loopback address with the port of addr.
func OnLoopback(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil || port == "0" {
		port = "8080"
	}
	return "127.0.0.1:" + port
}

// Open listens on an address as [Resolve] returns it.
func Open(ctx context.Context, addr string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(addr, UnixPrefix); ok {
		return openUnix(ctx, path)
	}
	return (&net.ListenConfig{KeepAliveConfig: wire.KeepAlive}).Listen(ctx, "tcp", addr)
}

// SocketMode lets the owner and the group of the socket connect to it. They can name any user where a header with the
// user is believed of a Unix socket.
const SocketMode = 0o660

// openUnix listens on a Unix socket. A socket on which no server listens any more, as after a crash, is replaced.
func openUnix(ctx context.Context, path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&iofs.ModeSocket == 0 {
			return nil, fmt.Errorf("%s is there, and is no socket", path)
		}
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
		switch {
		case err == nil:
			conn.Close()
			return nil, fmt.Errorf("another server listens on %s", path)
		case !errors.Is(err, syscall.ECONNREFUSED):
			return nil, err
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, SocketMode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
