package handler

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"ifmatch/handler/precondition"
)

// What proxies say about a request: X-Forwarded-For and X-Forwarded-Host, or Forwarded (RFC 7239). Anybody can send these,
// so they count only where the peer is a trusted proxy, and then only as far as one trusted proxy speaks of the next.

// client returns the address that a request comes from: the peer's or, where that is a trusted proxy, the nearest one on
// the way here that is not. It is the zero Addr where the peer has none.
//
// Where there is an X-Forwarded-For, Forwarded is not looked at: proxies that add the one pass the other on, as the client
// has made it up.
func (s *server) client(r *http.Request) netip.Addr {
	client := addrOf(r.RemoteAddr)
	if !s.trusts(client) {
		return client
	}
	stations := forwardedFor(r.Header)
	for _, station := range slices.Backward(stations) {
		addr := addrOf(station)
		if !addr.IsValid() {
			break // "unknown", or made up: the proxy that says so is the last one known
		}
		if client = addr; !s.trusts(client) {
			break
		}
	}
	return client
}

// fromProxy reports whether a request comes from a trusted proxy.
func (s *server) fromProxy(r *http.Request) bool { return s.trusts(addrOf(r.RemoteAddr)) }

func (s *server) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(s.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// matching says how the tags of a request are compared.
func (s *server) matching(r *http.Request) precondition.Matching {
	if s.LooseETags || s.fromProxy(r) {
		return precondition.Loose
	}
	return precondition.Strict
}

// addrOf reads an address, with its port or without; IPv6 with brackets or, where no port follows, without.
func addrOf(s string) netip.Addr {
	if withPort, err := netip.ParseAddrPort(s); err == nil { // then it is no address without one
		return withPort.Addr().Unmap().WithZone("")
	}
	addr, _ := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return addr.Unmap().WithZone("")
}

// forwardedFor returns the stations of a request, from the client to the proxy before the last, as they were written.
func forwardedFor(h http.Header) []string {
	if lines := h.Values("X-Forwarded-For"); len(lines) > 0 {
		return listOf(lines)
	}
	var stations []string
	for _, hop := range forwarded(h) {
		stations = append(stations, hop.from)
	}
	return stations
}

// forwardedHosts returns the hosts that a request was for, as the proxies it came through say. Each of them may be the one
// that the client knows: a proxy that is asked by another one adds its own name or leaves what is there, and whoever makes
// one up gains nothing, since he writes the URLs that are compared with it too.
func forwardedHosts(h http.Header) []string {
	hosts := listOf(h.Values("X-Forwarded-Host"))
	for _, hop := range forwarded(h) {
		hosts = append(hosts, hop.host)
	}
	return hosts
}

// listOf splits lines at their commas.
func listOf(lines []string) []string {
	items := strings.Split(strings.Join(lines, ","), ",")
	for i := range items {
		items[i] = strings.Trim(items[i], " \t")
	}
	return items
}

// A hop is one element of Forwarded, RFC 7239 §4: what one proxy says. What it does not say is "".
type hop struct {
	from  string // the "for" parameter: who asked the proxy
	host  string // the Host that it was asked for
	proto string // "https" or "http", by which it was asked
}

// forwarded reads the lines of Forwarded. A malformed one cannot be trusted, nor can what is to the left of it: a client
// can leave a quotation mark open that takes in what a proxy appends.
func forwarded(h http.Header) []hop {
	var hops []hop
	for _, line := range h.Values("Forwarded") {
		more, ok := parseForwarded(line)
		if !ok {
			hops = nil
			continue
		}
		hops = append(hops, more...)
	}
	return hops
}

// parseForwarded reads the value of one line:
//
//	Forwarded         = 1#forwarded-element
//	forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] )
//	forwarded-pair    = token "=" ( token / quoted-string )
func parseForwarded(s string) (hops []hop, ok bool) {
	seen := map[string]string{}
	for {
		s = strings.TrimLeft(s, " \t")
		if s != "" && s[0] != ';' && s[0] != ',' {
			name, value, rest, ok := cutParameter(s)
			if _, again := seen[name]; !ok || again { // §4: "Each parameter MUST NOT occur more than once"
				return nil, false
			}
			seen[name], s = value, strings.TrimLeft(rest, " \t")
		}
		if s != "" && s[0] == ';' {
			s = s[1:]
			continue
		}
		if len(seen) > 0 { // RFC 9110 §5.6.1.2: empty elements are ignored
			hops = append(hops, hop{from: seen["for"], host: seen["host"], proto: seen["proto"]})
			clear(seen)
		}
		if s == "" {
			return hops, true
		}
		if s[0] != ',' {
			return nil, false
		}
		s = s[1:]
	}
}

// cutParameter reads a forwarded-pair from the start of s. Names have no case; a port may stand unquoted, as some write
// it, so that whatever is no delimiter counts as a token.
func cutParameter(s string) (name, value, rest string, ok bool) {
	name, rest, ok = strings.Cut(s, "=")
	if !ok || name == "" || strings.ContainsAny(name, " \t,;\"") {
		return "", "", s, false
	}
	name = strings.ToLower(name)
	if !strings.HasPrefix(rest, `"`) {
		end := strings.IndexAny(rest, " \t,;\"")
		if end < 0 {
			end = len(rest)
		}
		return name, rest[:end], rest[end:], end > 0
	}
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			return name, b.String(), rest[i+1:], true
		case c == '\\' && i+1 < len(rest): // quoted-pair, RFC 9110 §5.6.4
			i++
			b.WriteByte(rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", s, false
}
