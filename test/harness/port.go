package harness

import (
	"fmt"
	"net"
)

// FreePorts finds n TCP ports of 127.0.0.1 that nobody listens on. Another program may take one before it is used; the
// kernel hands them out round robin, so that is rare.
func FreePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range n {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // kept until all are found, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
