package limit

import (
	"net/netip"
	"strings"
)

// A network is the common share of many clients that may be one: the owner of an IPv6 network can make many smaller
// networks of it, each of which counts as a client.
type network struct {
	name    string
	clients int // how many clients are not forgotten
	held    int // how many slots all of them hold
}

const (
	// netBits is how many bits of an IPv6 address name its network. Sites are given a network of 48 to 56 bits (RFC
	// 6177).
	netBits = 56
	// netShare bounds the slots of one network: it may hold at most this many times the number of free slots.
	netShare = 3
)

// networkOf returns the network of a client that is itself an IPv6 network. It is "" for other clients.
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

// join returns the network of a new client. mu must be held.
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
