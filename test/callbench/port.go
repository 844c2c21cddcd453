//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
)

// Ports of programs and devices are below those that the kernel gives out by itself (32768 and up), which the clients of
// hundreds of calls take at random.
const (
	firstPort, lastPort   = 20000, 25999
	firstRelay, lastRelay = 26000, 31999 // of the relay
)

// freePorts finds ports of 127.0.0.1 that are free for UDP and for TCP.
func freePorts(n int) ([]int, error) {
	var list []int
	for port := firstPort; port <= lastPort && len(list) < n; port++ {
		if isFree(port) {
			list = append(list, port)
		}
	}
	if len(list) < n {
		return nil, fmt.Errorf("%d free ports between %d and %d, not %d", len(list), firstPort, lastPort, n)
	}
	return list, nil
}

func isFree(port int) bool {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return false
	}
	c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: port}) // on every address, as devices' ports are
	if err == nil {
		err = c.Close()
	}
	return errors.Join(err, l.Close()) == nil
}
