//go:build linux

// Package nat makes a small Internet of network namespaces: two hosts behind a NAT each, and a server between them.
//
//	a 10.10.1.2 -- NAT 203.0.113.2 -- wan 198.51.100.1 -- NAT 203.0.113.6 -- b 10.10.2.2
//
// Nothing else of the machine is changed or reached: there is no way out of the namespaces. Their names hold the process
// id, so that several can be up at once, and those of processes that died without taking them down are removed by the next.
// It needs root, iproute2 and nftables.
package nat
