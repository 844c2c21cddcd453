package harness

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports below those that the kernel gives to outgoing connections, which would take one before it is used.
const (
	firstPort = 10_240
	lastPort  = 32_000
)

// given are the ports that this process gave away.
var given struct {
	mu  sync.Mutex
	all map[int]bool
}

// FreePorts finds n TCP ports of 127.0.0.1 that nobody listens on, other ones each time. Another program may take one before it is
// used; they are chosen by chance, so that is rare.
func FreePorts(n int) ([]int, error) {
	given.mu.Lock()
	defer given.mu.Unlock()
	if given.all == nil {
		given.all = map[int]bool{}
	}
	ports, last := make([]int, 0, n), errors.New("too many were given away")
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		port := firstPort + rand.IntN(lastPort-firstPort) //nolint:gosec // by chance is enough
		if given.all[port] {
			continue
		}
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			last = err
			continue
		}
		l.Close()
		given.all[port] = true
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("find a free port: %w", last)
}
