package turn

import "net/netip"

// path is how datagrams come and go for one worker. It calls the worker's fromClient and fromPeer, and everything the
// worker calls of it, run, enter and handOver excepted, is called from there: by one goroutine at a time.
//
// Byte slices are kept only until the call that they were made in returns to the path, which then sends what it queued.
type path interface {
	// listen binds the UDP listeners, one for each address that is valid, in order. shared: other workers bind the same.
	// It returns the addresses as bound.
	listen(at []netip.AddrPort, shared bool) ([]netip.AddrPort, error)
	// open binds the relay socket of s and begins to read from it.
	open(s *socket, at netip.AddrPort) error
	// close closes the relay socket of s. Nothing comes from it any more.
	close(s *socket)
	// toPeer sends b out of a relay socket. whole: no fragments on the way (DONT-FRAGMENT).
	toPeer(s *socket, peer endpoint, b []byte, whole bool)
	// toClient sends b out of a UDP listener.
	toClient(r *route, b []byte)
	// answer is toClient at once, for b that changes as soon as it returns.
	answer(r *route, b []byte)
	// lost is how many datagrams the system did not take since the last time.
	lost() int64
	// room is a slot in which a datagram may be put together.
	room() []byte

	// abandon gives back what listen took, instead of run.
	abandon()
	// run reads until stop is called. It returns after the last of its goroutines.
	run() error
	// stop ends run and closes the listeners; relay sockets are closed before.
	stop()
	// enter runs f as the worker, alone, and returns after it; only while run runs. Safe for concurrent use.
	enter(f func())
	// handOver has the worker take what a stream has read, and returns when it did. Safe for concurrent use.
	handOver(s *stream)
	// wake has the worker look into its inbox soon. Safe for concurrent use.
	wake()
}

// route is the way back to a client.
type route struct {
	tuple     tuple
	transport transport
	stream    *stream // TCP and TLS; nil: UDP
	local     origin  // UDP: the address of ours that the client sent to, where the listener has many
}

// origin is an address of ours that a datagram must leave from; not set: the socket knows.
type origin struct {
	ip  [16]byte
	set bool
}

// socket is a relay socket and whose it is: the edge's side of a relayed address.
type socket struct {
	handle int32 // place in worker.sockets
	alloc  *allocation
	public endpoint // what peers see
	route  route    // to the client

	plain plainSocket // portable path
	fast  fastSocket  // Linux
}
