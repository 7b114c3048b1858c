package main

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
)

// resolve is [resolveFlag] of --addr.
func resolve(ctx context.Context, addr string) (listen string, loopback bool, err error) {
	return resolveFlag(ctx, "--addr", addr)
}

// resolveFlag returns the address to listen on for the value of a flag, and whether only this machine can reach it. A host
// name is looked up once, so that the server listens on the address that was judged. A name is loopback only if all its
// addresses are. An empty host means every address of the machine.
func resolveFlag(ctx context.Context, flag, addr string) (listen string, loopback bool, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", false, usagef("%s %q: write HOST:PORT, such as 127.0.0.1:8080", flag, addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", false, usagef("%s %q: the port must be a number from 0 to 65535, such as 8080", flag, addr)
	}
	if host == "" {
		return addr, false, nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return net.JoinHostPort(ip.Unmap().String(), port), ip.Unmap().IsLoopback(), nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", false, usagef("%s %q: the host name cannot be resolved (%v): use an address of this machine, "+
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

// onLoopback returns a loopback address with the port of addr.
func onLoopback(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil || port == "0" {
		port = "8080"
	}
	return "127.0.0.1:" + port
}
