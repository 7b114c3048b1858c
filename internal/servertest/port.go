package servertest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports of FreePorts are below those that Linux picks for sockets without a port (ip(7), ip_local_port_range). A
// port that it has picked once can belong to another program of another test a moment later.
const lowestPort, highestPort = 20_000, 32_767

// givenPorts are those that were returned.
var givenPorts = struct {
	mu  sync.Mutex
	all map[int]bool
}{all: map[int]bool{}}

// FreePort returns a port of 127.0.0.1 on which no program listens, for a program that cannot pick one itself. It
// returns no port twice.
func FreePort() (string, error) {
	port, err := FreePorts(1)
	return strconv.Itoa(port), err
}

// FreePorts is FreePort for so many ports in a row. It returns the first of them.
func FreePorts(n int) (first int, err error) {
	givenPorts.mu.Lock()
	defer givenPorts.mu.Unlock()
	for range 100 {
		first := lowestPort + rand.IntN(highestPort-lowestPort+2-n)
		if !areFree(first, n) {
			continue
		}
		for i := range n {
			givenPorts.all[first+i] = true
		}
		return first, nil
	}
	return 0, errors.New("no free port was found")
}

// areFree reports whether ports in a row were not returned before, and no program listens on them. mu must be held.
func areFree(first, n int) bool {
	for port := first; port < first+n; port++ {
		if givenPorts.all[port] {
			return false
		}
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false // another program has it
		}
		listener.Close()
	}
	return true
}
