package limit

import (
	"net/netip"
	"strings"
)

// A network is what many clients have together who may be one: whoever is given a network of IPv6 can make many of it, each
// of which counts as a client.
type network struct {
	name    string
	clients int // that are not forgotten
	held    int // by all of them
}

const (
	// netBits is how much of an address of IPv6 says which network it is in: sites are given one of 48 to 56 bits (RFC 6177).
	netBits = 56
	// netShare is how much of a pool is left by one network: as much as there is for each so many that it holds.
	netShare = 3
)

// networkOf returns the network that a client is in, which is a network of IPv6 itself; "" for others.
func networkOf(client string) string {
	if !strings.Contains(client, "/") {
		return ""
	}
	is, err := netip.ParsePrefix(client)
	if err != nil || !is.Addr().Is6() || is.Bits() <= netBits {
		return ""
	}
	return netip.PrefixFrom(is.Addr(), netBits).Masked().String()
}

// join returns the network of a client that is new. mu must be held.
func (p *Pool) join(client string) *network {
	name := networkOf(client)
	if name == "" {
		return nil
	}
	n := p.nets[name]
	if n == nil {
		n = &network{name: name}
		p.nets[name] = n
	}
	n.clients++
	return n
}

// part takes a client out of its network. mu must be held.
func (p *Pool) part(n *network) {
	if n == nil {
		return
	}
	if n.clients--; n.clients == 0 {
		delete(p.nets, n.name)
	}
}
