package turn

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// queueTo is a queue, a socket to send from, and two peers.
func queueTo(t *testing.T) (q *sendQueue, fd int, a, b *net.UDPConn) {
	t.Helper()
	fd, err := bindUDP(netip.MustParseAddrPort("127.0.0.1:0"), false, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return &sendQueue{seg: &segmenting{limit: maxSegment}}, fd, newPeer(t, "127.0.0.1").(*net.UDPConn), newPeer(t, "127.0.0.1").(*net.UDPConn)
}

func endpointAt(conn net.PacketConn) *endpoint {
	e := endpointOf(addrPortOf(conn.LocalAddr()))
	return &e
}

// arrive reads what conn was sent, in order.
func arrive(t *testing.T, conn *net.UDPConn, want ...int) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for i, size := range want {
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buf)
		if err != nil || n != size || !bytes.Equal(buf[:n], bytes.Repeat([]byte{byte(i)}, n)) {
			t.Fatalf("datagram %d: %d bytes of %.4x, %v; want %d bytes", i, n, buf[:n], err, size)
		}
	}
}

func TestRunsAreJoined(t *testing.T) {
	for _, c := range []struct {
		name  string
		sizes []int
		msgs  int // messages to the kernel
	}{
		{"one", []int{100}, 1},
		{"equal ones", []int{200, 200, 200, 200}, 1},
		{"the last is shorter", []int{200, 200, 7}, 1},
		{"after a shorter one a new message begins", []int{200, 7, 7}, 2},
		{"a longer one begins a new message", []int{7, 200, 200}, 2},
		{"empty ones stand alone", []int{200, 0, 200}, 3},
		{"long ones stand alone", []int{maxSegment + 1, maxSegment + 1}, 2},
		{"more than the kernel takes", make64(65, 10), 2},
		{"more bytes than a datagram has", make64(60, 1200), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, fd, a, _ := queueTo(t)
			for i, size := range c.sizes {
				q.add(fd, endpointAt(a), &origin{}, bytes.Repeat([]byte{byte(i)}, size), 0)
			}
			if q.n != c.msgs {
				t.Errorf("%d messages, want %d", q.n, c.msgs)
			}
			q.flush(0)
			arrive(t, a, c.sizes...)
			if q.lost != 0 || q.n != 0 || q.seg.limit != maxSegment {
				t.Errorf("lost %d, left %d, limit %d", q.lost, q.n, q.seg.limit)
			}
		})
	}
}

func make64(n, size int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = size
	}
	return sizes
}

func TestOnlyOneDestinationIsJoined(t *testing.T) {
	q, fd, a, b := queueTo(t)
	here := &origin{ip: endpointOf(netip.MustParseAddrPort("127.0.0.1:1")).ip, set: true}
	for i, to := range []*net.UDPConn{a, b, a, a} {
		local := &origin{}
		if i == 3 {
			local = here // from another address of ours
		}
		q.add(fd, endpointAt(to), local, make([]byte, 10), 0)
	}
	if q.n != 4 {
		t.Errorf("%d messages, want 4", q.n)
	}
	q.flush(0)
	if q.lost != 0 {
		t.Errorf("%d lost", q.lost)
	}
}

// TestWhatCannotBeCutIsSentSingly takes a socket for which the kernel refuses segmentation: one without checksums.
func TestWhatCannotBeCutIsSentSingly(t *testing.T) {
	for _, local := range []origin{{}, {ip: endpointOf(netip.MustParseAddrPort("127.0.0.1:1")).ip, set: true}} {
		q, fd, a, b := queueTo(t)
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
			t.Fatal(err)
		}
		now := instant(time.Hour)
		for i := range 5 {
			q.add(fd, endpointAt(a), &local, bytes.Repeat([]byte{byte(i)}, 300), now)
		}
		q.add(fd, endpointAt(b), &local, bytes.Repeat([]byte{0}, 300), now)
		q.flush(now)
		arrive(t, a, 300, 300, 300, 300, 300)
		arrive(t, b, 300)
		if q.lost != 0 || q.seg.limit != 299 {
			t.Errorf("lost %d, limit %d", q.lost, q.seg.limit)
		}
		q.add(fd, endpointAt(a), &local, make([]byte, 300), now)
		q.add(fd, endpointAt(a), &local, make([]byte, 300), now)
		if q.n != 2 {
			t.Error("what the kernel refused is tried again at once")
		}
		q.seg.turn(now + segmentAgain + 1)
		if q.seg.limit != maxSegment {
			t.Error("it is not tried again after a while")
		}
	}
}

func TestADeviceThatCannotCutIsNotAskedForShorterOnes(t *testing.T) {
	s := segmenting{limit: maxSegment}
	s.refused(1200, unix.EIO, 0)
	if s.limit != 0 {
		t.Errorf("limit %d", s.limit)
	}
}

func TestOneBadDestinationHoldsNobodyUp(t *testing.T) {
	q, fd, a, _ := queueTo(t)
	q.add(fd, &endpoint{ip: endpointOf(netip.MustParseAddrPort("[::1]:9")).ip, port: 9}, &origin{}, []byte{0}, 0) // IPv6 out of an IPv4 socket
	q.add(fd, endpointAt(a), &origin{}, []byte{0}, 0)
	q.flush(0)
	arrive(t, a, 1)
	if q.lost != 1 {
		t.Errorf("%d lost", q.lost)
	}
}

func TestAFullQueueSendsItself(t *testing.T) {
	q, fd, a, b := queueTo(t)
	var want []int
	for i := range 2 * queueLen {
		to := a
		if i%2 == 1 {
			to = b
		} else {
			want = append(want, 20)
		}
		q.add(fd, endpointAt(to), &origin{}, bytes.Repeat([]byte{byte(len(want) - 1)}, 20), 0)
	}
	q.flush(0)
	arrive(t, a, want...)
}

func TestEndpointsOfTheKernel(t *testing.T) {
	for _, text := range []string{"192.0.2.1:1", "[2001:db8::1]:65535", "127.0.0.1:3478"} {
		want := endpointOf(netip.MustParseAddrPort(text))
		var s sockaddr
		var got endpoint
		s.set(&want)
		if !s.get(&got) || got != want {
			t.Errorf("%s became %v", text, got.addrPort())
		}
	}
	var s sockaddr
	if s.raw.Family = unix.AF_UNIX; s.get(&endpoint{}) {
		t.Error("a socket address of another family has an address")
	}
}

// TestAnswersComeFromTheAddressAsked: a listener on all addresses answers from the one that the client sent to.
func TestAnswersComeFromTheAddressAsked(t *testing.T) {
	for _, c := range []struct{ listen, ask string }{{"udp://0.0.0.0:0", "127.0.0.2"}, {"udp://[::]:0", "::1"}} {
		s := startServer(t, false, func(cfg *Config) {
			cfg.Listen = []string{c.listen}
			cfg.PublicIP = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
		})
		s.reach(c.ask)
		w, to := s.wire(0, "a"), newPeer(t, "127.0.0.1") // a connected socket hears nobody else
		relayed := net.UDPAddrFromAddrPort(w.allocate())
		w.permit(to.LocalAddr())
		for range 3 { // more than one, to be joined
			sender(t, to, relayed, "hello")()
		}
		if b, err := w.read(); err != nil || !w.isDataFrom(to.LocalAddr(), b, []byte("hello")) {
			t.Errorf("%s: %x, %v", c.ask, b, err)
		}
	}
}

func TestBurstsBothWays(t *testing.T) {
	s := startServer(t, false, nil)
	w, to := s.wire(0, "a"), newPeer(t, "127.0.0.1").(*net.UDPConn)
	relayed := w.allocate()
	w.bind(0x4000, to.LocalAddr())
	for i := range 30 {
		w.write(channelData(0x4000, bytes.Repeat([]byte{byte(i)}, 100)))
	}
	arrive(t, to, make64(30, 100)...)
	for i := range 30 {
		if _, err := to.WriteToUDPAddrPort(bytes.Repeat([]byte{byte(i)}, 100), relayed); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		b, err := w.read()
		if err != nil || !bytes.Equal(b, channelData(0x4000, bytes.Repeat([]byte{byte(i)}, 100))) {
			t.Fatalf("%d: %x, %v", i, b, err)
		}
	}
}

func TestAWholePacketOrNone(t *testing.T) {
	s := startServer(t, false, func(c *Config) { c.PublicIP = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} })
	for f, host := range map[byte]string{wireIPv4: "127.0.0.1", wireIPv6: "::1"} {
		w, to := s.wire(0, "a"), newPeer(t, host)
		w.allocate(attr(0x0017, f, 0, 0, 0))
		w.permit(to.LocalAddr())
		b := append(w.sendIndication(to.LocalAddr(), []byte("whole")), 0, 0x1a, 0, 0) // DONT-FRAGMENT
		b[3] += 4
		expect(t, to, "whole", func() { w.write(b) })
		expect(t, to, "not", func() { w.write(w.sendIndication(to.LocalAddr(), []byte("not"))) })
	}
}
