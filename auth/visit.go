package auth

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// A Visit is the part of a request that tells of its sender.
type Visit struct {
	// Peer is the other end of the connection: the zero Addr where that has no address.
	Peer netip.Addr
	// Unix: it has come over a Unix socket.
	Unix bool
	// Trusted: Peer is a trusted proxy, and Client is the client that has asked it, or the proxy before it.
	Trusted bool
	// Client is the zero Addr where it is not known, and Peer if that is not Trusted. Wrong passwords are counted by
	// it.
	Client netip.Addr
	// Secure: the bytes of the client cannot be read on the way. A trusted proxy says so, or it is TLS here.
	Secure bool
	// Header is that of the request.
	Header http.Header
	// Session is the user who has logged in before by a form, see [Snapshot.Resume] (zero: none). It counts before
	// Authorization, which browsers send by themselves.
	Session Principal
}

// from returns the client or, where that is not known, the other end of the connection.
func (v *Visit) from() netip.Addr {
	if v.Client.IsValid() {
		return v.Client
	}
	return v.Peer
}

// private reports whether a password can be sent without being read on the way. The password of another machine may
// come through a proxy on this machine that is not known as a proxy, but says so, as most do.
func (v *Visit) private() bool {
	switch {
	case v.Secure:
		return true
	case !v.Unix && !v.Peer.Unmap().IsLoopback():
		return false
	case v.Trusted:
		return v.Client.Unmap().IsLoopback()
	}
	return v.Header["X-Forwarded-For"] == nil && v.Header["Forwarded"] == nil && v.Header["Via"] == nil
}

// A RequestError says that a request cannot be meant, or is refused before its client is asked for a name.
type RequestError struct {
	Status int    // 400 or 403
	Detail string // for people
}

func (e *RequestError) Error() string { return e.Detail }

func badRequest(format string, args ...any) error {
	return &RequestError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// errPlain tells the remedy where a password would go over the network in plain text.
var errPlain = &RequestError{http.StatusForbidden,
	"passwords are not taken over plain HTTP from another machine, where everybody on the " +
		"way can read them: use https (ifmatch serve --tls-cert … --tls-key …), or a proxy that speaks it, says so " +
		"(X-Forwarded-Proto: https) and is named by --trusted-proxy; --insecure-basic takes them all the same"}

// A basic is a name and a password, as they were sent.
type basic struct{ name, password string }

// credentials reads Authorization (RFC 9110 §11.6.2) of the scheme Basic (RFC 7617). given is false where there is
// none, or it is of another scheme.
func credentials(h http.Header) (b basic, given bool, err error) {
	lines := h["Authorization"]
	if len(lines) == 0 {
		return basic{}, false, nil
	}
	if len(lines) > 1 {
		return basic{}, false, badRequest("there is more than one Authorization")
	}
	scheme, _, _ := strings.Cut(lines[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return basic{}, false, nil
	}
	r := http.Request{Header: h}
	name, password, ok := r.BasicAuth()
	if !ok {
		return basic{}, false, badRequest("Authorization: Basic is malformed (RFC 7617 §2)")
	}
	return basic{NormalName(name), normalPassword(password)}, true, nil
}

// A ProxyNames says which proxies name the user. The zero value takes no names.
type ProxyNames struct {
	UserHeader   string         // with the name, or "" where no proxy names users
	From         []netip.Prefix // of the proxies that may send it
	FromUnix     bool           // a proxy on the Unix socket may
	GroupsHeader string         // with names of groups and commas between them, or ""
	// NewGroup is the group of users who are not in the users file, or "" where these are refused.
	NewGroup string
}

// ParseProxyNames reads the values of --user-header, --user-header-from (addresses, "unix", or a network that is
// given twice, since each machine in it can be any user), --groups-header and --user-header-new.
func ParseProxyNames(userHeader string, from []string, groupsHeader, newGroup string) (ProxyNames, error) {
	p := ProxyNames{UserHeader: http.CanonicalHeaderKey(userHeader),
		GroupsHeader: http.CanonicalHeaderKey(groupsHeader), NewGroup: newGroup}
	switch {
	case userHeader == "":
		return p, nil
	case len(from) == 0:
		return p, errors.New("--user-header needs --user-header-from: the addresses of the proxies that set it; " +
			"anybody else could be any user")
	case !isHeaderName(userHeader), groupsHeader != "" && !isHeaderName(groupsHeader), p.UserHeader == p.GroupsHeader:
		return p, errors.New("--user-header and --groups-header are two names of headers, such as X-Remote-User")
	case isKnownHeader(p.UserHeader) || isKnownHeader(p.GroupsHeader):
		return p, errors.New("--user-header and --groups-header need headers that have no other meaning, " +
			"such as X-Remote-User")
	}
	if newGroup != "" {
		if err := CheckGroup(newGroup); err != nil {
			return p, fmt.Errorf("--user-header-new %q: %w", newGroup, err)
		}
	}
	times := map[netip.Prefix]int{}
	for _, s := range from {
		if s == "unix" {
			p.FromUnix = true
			continue
		}
		network, single, err := parseNetwork(s)
		if err != nil {
			return p, fmt.Errorf("--user-header-from %q: write an IP address such as 10.0.0.2, or unix", s)
		}
		if times[network]++; single || times[network] == 2 {
			p.From = append(p.From, network)
		}
	}
	for network, n := range times {
		if n < 2 && !network.IsSingleIP() {
			return p, fmt.Errorf("--user-header-from %s is a network, and every machine in it could be any user: "+
				"name single addresses, or give it twice if that is meant", network)
		}
	}
	return p, nil
}

func parseNetwork(s string) (network netip.Prefix, single bool, err error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), true, nil
	}
	network, err = netip.ParsePrefix(s)
	if err == nil && network.Addr().Is4In6() {
		err = errors.New("an IPv4 network is written as such")
	}
	return network.Masked(), network.IsSingleIP(), err
}

func isHeaderName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-')
	})
}

// isKnownHeader: headers that clients send for something else.
func isKnownHeader(name string) bool {
	known := []string{"Authorization", "Content-Length", "Content-Type", "Cookie", "Depth", "Destination", "Forwarded",
		"From", "Host", "If", "Origin", "Referer", "User-Agent", "Via", "X-Forwarded-For", "X-Forwarded-Host",
		"X-Forwarded-Proto"}
	return slices.Contains(known, name)
}

// maxGroups bounds the groups that a proxy names for one user.
const maxGroups = 1000

// A Dropped is a header with a name that was not believed: to be logged, never to be obeyed.
type Dropped struct {
	Header string
	From   netip.Addr
	Name   string
}

// named returns the user that a proxy has named, or "" for none. From other clients the headers are dropped and
// reported.
func (p *ProxyNames) named(v *Visit) (name string, groups []string, dropped *Dropped, err error) {
	if p.UserHeader == "" {
		return "", nil, nil, nil
	}
	users, named := v.Header[p.UserHeader]
	lines := v.Header[p.GroupsHeader]
	if !p.believes(v) {
		if named {
			return "", nil, &Dropped{p.UserHeader, v.Peer, strings.Join(users, ", ")}, nil
		}
		if len(lines) > 0 {
			return "", nil, &Dropped{p.GroupsHeader, v.Peer, strings.Join(lines, ", ")}, nil
		}
		return "", nil, nil, nil
	}
	if !named {
		return "", nil, nil, nil // groups count only with a user
	}
	if len(users) != 1 || strings.Contains(users[0], ",") {
		return "", nil, nil, badRequest("%s has more than one value", p.UserHeader)
	}
	name = NormalName(strings.Trim(users[0], " \t"))
	if err := CheckName(name); err != nil {
		return "", nil, nil, badRequest("%s does not name a user: %v", p.UserHeader, err)
	}
	groups, err = p.groupsOf(lines)
	return name, groups, nil, err
}

func (p *ProxyNames) believes(v *Visit) bool {
	if v.Unix {
		return p.FromUnix
	}
	peer := v.Peer.Unmap().WithZone("")
	return slices.ContainsFunc(p.From, func(network netip.Prefix) bool { return network.Contains(peer) })
}

func (p *ProxyNames) groupsOf(lines []string) (groups []string, err error) {
	for _, line := range lines {
		for group := range strings.SplitSeq(line, ",") {
			group = NormalName(strings.Trim(group, " \t"))
			if group == "" {
				continue
			}
			if err := CheckGroup(group); err != nil {
				return nil, badRequest("%s does not name groups: %v", p.GroupsHeader, err)
			}
			if groups = append(groups, group); len(groups) > maxGroups {
				return nil, badRequest("%s names more than %d groups", p.GroupsHeader, maxGroups)
			}
		}
	}
	return groups, nil
}
