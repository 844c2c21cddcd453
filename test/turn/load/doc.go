//go:build linux

// Package load is many TURN clients in one place: it sets up allocations by the thousand, sends packets through them at a
// given rate, and counts what arrives. It is written to be cheap, since it runs on the cores of the relay that it measures:
// raw sockets of the operating system, batches where one socket has several packets, two threads, no allocation and no
// library between a packet and the kernel. What arrives is read every few milliseconds, not packet by packet; where time
// matters it is the kernel's time of arrival.
//
// Clients are at 127.1.x.1, two hundred networks of /24, as strangers' clients would be; peers are at 127.2.0.1. Both have
// ports below 32768, so that they take none of a relay's or of the ephemeral ones. Linux and IPv4 only.
//
// A Fleet belongs to one goroutine.
package load
