package servertest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports of FreePort are below those that Linux picks for sockets without a port (ip(7), ip_local_port_range). A
// port that it has picked once can belong to another program of another test a moment later.
const lowestPort, highestPort = 20_000, 32_767

// freePorts are those that were returned.
var freePorts sync.Map

// FreePort returns a port of 127.0.0.1 on which no program listens, for a program that cannot pick one itself. It
// returns no port twice.
func FreePort() (string, error) {
	for range 100 {
		port := strconv.Itoa(lowestPort + rand.IntN(highestPort-lowestPort+1))
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			continue // another program has it
		}
		if err := listener.Close(); err != nil {
			return "", err
		}
		if _, given := freePorts.LoadOrStore(port, true); !given {
			return port, nil
		}
	}
	return "", errors.New("no free port was found")
}
