// Package proxy reads the headers in which proxies tell about the request that they have received: X-Forwarded-For,
// X-Forwarded-Host and X-Forwarded-Proto, or Forwarded (RFC 7239).
//
// Every client can send these headers. They count only if the peer is a trusted proxy, and only as far as one trusted
// proxy names the next.
package proxy

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Trusted are the proxies whose headers are believed.
type Trusted struct {
	Networks []netip.Prefix
	Unix     bool // a peer without an address, which has connected to a Unix socket, is one
}

// Has reports whether an address is that of a trusted proxy. The zero Addr is that of a peer at a Unix socket.
func (t Trusted) Has(addr netip.Addr) bool {
	if !addr.IsValid() {
		return t.Unix
	}
	return slices.ContainsFunc(t.Networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Sent reports whether a request comes from a trusted proxy.
func (t Trusted) Sent(r *http.Request) bool {
	return (t.Unix || len(t.Networks) > 0) && t.Has(Addr(r.RemoteAddr))
}

// Hosts returns the hosts by which the client may have asked: that of the request and, if a trusted proxy has sent it,
// those on the way.
func (t Trusted) Hosts(r *http.Request) []string {
	if t.Sent(r) {
		return append([]string{r.Host}, ForwardedHosts(r.Header)...)
	}
	return []string{r.Host}
}

// Client returns the address that a request comes from: that of the peer or, if the peer is a trusted proxy, the
// nearest address on the way that is not one. It is the zero Addr if the peer has none.
//
// If there is an X-Forwarded-For, Forwarded is ignored: a proxy that adds the first may pass on the second unchanged,
// as a client has made it up.
func (t Trusted) Client(r *http.Request) netip.Addr {
	client := Addr(r.RemoteAddr)
	if !t.Has(client) {
		return client
	}
	for _, station := range slices.Backward(ForwardedFor(r.Header)) {
		addr := Addr(station)
		if !addr.IsValid() {
			break // "unknown", or made up: the proxy that has added it is the last known address
		}
		if client = addr; !t.Has(client) {
			break
		}
	}
	return client
}

// Addr reads an address with or without a port. An IPv6 address may have brackets, and must have them with a port.
func Addr(s string) netip.Addr {
	if withPort, err := netip.ParseAddrPort(s); err == nil { // such a text is no address without a port
		return withPort.Addr().Unmap().WithZone("")
	}
	addr, _ := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return addr.Unmap().WithZone("")
}

// Peer returns the address that a request comes from as the flag --trusted-proxy takes it.
func Peer(r *http.Request) string {
	if addr := Addr(r.RemoteAddr); addr.IsValid() {
		return addr.String()
	}
	return "ADDRESS"
}

// ForwardedFor returns the stations of a request as they were written: first the client, last the address that has sent
// it to the nearest proxy.
func ForwardedFor(h http.Header) []string {
	if lines := h.Values("X-Forwarded-For"); len(lines) > 0 {
		return List(lines)
	}
	var stations []string
	for _, hop := range forwarded(h) {
		stations = append(stations, hop.from)
	}
	return stations
}

// ForwardedHosts returns the hosts of the request on its way through the proxies. The client may know the server by
// each of them: a proxy behind another proxy adds its own name, or leaves the header as it is. A client that makes
// one up gains nothing, because it also writes the URLs that are compared with the hosts.
func ForwardedHosts(h http.Header) []string {
	hosts := List(h.Values("X-Forwarded-Host"))
	for _, hop := range forwarded(h) {
		hosts = append(hosts, hop.host)
	}
	return hosts
}

// SaysHTTPS reports whether the client has used https, by the headers of a trusted proxy. All values of
// X-Forwarded-Proto must say so or, if there is neither that header nor X-Forwarded-For, all elements of Forwarded.
// So a proxy that only appends its own value to those that a client has made up is safe.
func SaysHTTPS(h http.Header) bool {
	var said []string
	if lines := h["X-Forwarded-Proto"]; len(lines) > 0 || len(h["X-Forwarded-For"]) > 0 {
		said = List(lines)
	} else {
		for _, hop := range forwarded(h) {
			said = append(said, hop.proto)
		}
	}
	other := func(proto string) bool { return !strings.EqualFold(proto, "https") }
	return len(said) > 0 && !slices.ContainsFunc(said, other)
}

// List splits the lines of a header at their commas. Elements may be empty. The result for no line is one empty
// element.
func List(lines []string) []string {
	items := strings.Split(strings.Join(lines, ","), ",")
	for i := range items {
		items[i] = strings.Trim(items[i], " \t")
	}
	return items
}
