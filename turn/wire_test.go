package turn

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// wire is a client that speaks to a running server, byte by byte.
type wire struct {
	*client
	conn   net.Conn
	over   transport
	stream bool // TCP or TLS
}

// is says whether an allocation is this client's: a port may be one's of UDP and another's of TCP.
func (w *wire) is(i AllocationInfo) bool {
	return i.Client.String() == w.conn.LocalAddr().String() && i.Transport == w.over.String()
}

func (s *server) wire(i int, user string) *wire {
	s.t.Helper()
	to := s.Addrs()[i]
	var conn net.Conn
	var err error
	if s.listen[i].transport == overTLS {
		conn, err = tls.Dial("tcp", to.String(), &tls.Config{InsecureSkipVerify: true}) // the certificate is the test's own
	} else {
		conn, err = net.Dial(to.Network(), to.String())
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	name, password := Mint(testSecret, user, time.Now().Add(time.Hour))
	return &wire{client: &client{kit: &kit{t: s.t}, name: name, password: password}, conn: conn, over: s.listen[i].transport, stream: to.Network() != "udp"}
}

// read is the next message: STUN or ChannelData.
func (w *wire) read() ([]byte, error) {
	if err := w.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	if !w.stream {
		n, err := w.conn.Read(buf)
		return buf[:n], err
	}
	if _, err := io.ReadFull(w.conn, buf[:4]); err != nil {
		return nil, err
	}
	size, err := frameSize(buf[:4])
	if err != nil {
		return nil, err
	}
	_, err = io.ReadFull(w.conn, buf[4:size])
	return buf[:size], err
}

func (w *wire) write(b []byte) {
	w.t.Helper()
	if _, err := w.conn.Write(b); err != nil {
		w.t.Fatal(err)
	}
}

// ask sends a request and gives its answer; data that comes before it is passed over.
func (w *wire) ask(method stun.Method, setters ...stun.Setter) *stun.Message {
	w.t.Helper()
	request := w.build(method, setters...)
	w.write(request)
	for {
		b, err := w.read()
		if err != nil {
			w.t.Fatalf("%s: %v", method, err)
		}
		if stun.IsMessage(b) && bytes.Equal(b[8:20], request[8:20]) {
			m := stun.New()
			if err := stun.Decode(b, m); err != nil {
				w.t.Fatal(err)
			}
			return m
		}
	}
}

// allocate logs in and allocates; it gives the relayed address.
func (w *wire) allocate(setters ...stun.Setter) netip.AddrPort {
	w.t.Helper()
	m := w.try(setters...)
	w.want("Allocate", m, 0)
	return addressOf(w.t, m, stun.AttrXORRelayedAddress)
}

func (w *wire) try(setters ...stun.Setter) *stun.Message {
	w.t.Helper()
	setters = append([]stun.Setter{requestedTransport()}, setters...)
	w.nonce = nil
	m := w.ask(stun.MethodAllocate, setters...)
	w.want("first Allocate", m, 401)
	nonce, _ := m.Get(stun.AttrNonce)
	w.nonce = bytes.Clone(nonce)
	return w.ask(stun.MethodAllocate, setters...)
}

func (w *wire) bind(number uint16, to net.Addr) {
	w.t.Helper()
	w.want("ChannelBind", w.ask(stun.MethodChannelBind, channelNumber(number), peer(to.String())), 0)
}

func (w *wire) permit(to net.Addr) {
	w.t.Helper()
	w.want("CreatePermission", w.ask(stun.MethodCreatePermission, peer(to.String())), 0)
}

// channelData is a message on a channel, padded as streams want it.
func channelData(number uint16, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, number)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return pad(append(b, data...))
}

func TestWholeSetOverEachTransport(t *testing.T) {
	cert, key := writeCertificate(t, t.TempDir(), "first")
	eachPath(t, func(t *testing.T, portable bool) {
		for _, listen := range []string{"udp://127.0.0.1:0", "tcp://127.0.0.1:0", "tls://127.0.0.1:0", "udp://[::1]:0", "tls://[::1]:0"} {
			for _, host := range []string{"127.0.0.1", "::1"} { // either family of peers over either family of clients
				t.Run(listen+" peer "+host, func(t *testing.T) {
					s := startServer(t, portable, func(c *Config) {
						c.Listen, c.CertFile, c.KeyFile = []string{listen}, cert, key
						c.PublicIP = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
					})
					w, to := s.wire(0, "a"), newPeer(t, host)
					family := byte(wireIPv4)
					if host == "::1" {
						family = wireIPv6
					}
					relayed := w.allocate(attr(stun.AttrRequestedAddressFamily, family, 0, 0, 0))
					w.permit(to.LocalAddr())
					w.exchange(to, relayed, w.sendIndication, w.isDataFrom)
					w.bind(0x4001, to.LocalAddr())
					w.exchange(to, relayed, func(_ net.Addr, data []byte) []byte { return channelData(0x4001, data) }, func(_ net.Addr, b, data []byte) bool {
						return bytes.HasPrefix(b, channelData(0x4001, data)[:4+len(data)])
					})
					w.want("Refresh", w.ask(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 0)), 0)
					if n := len(s.Allocations()); n != 0 {
						t.Errorf("%d allocations after the refresh with lifetime 0", n)
					}
				})
			}
		}
	})
}

// exchange sends datagrams of many sizes to a peer and back.
func (w *wire) exchange(to net.PacketConn, relayed netip.AddrPort, wrap func(net.Addr, []byte) []byte, is func(net.Addr, []byte, []byte) bool) {
	w.t.Helper()
	for _, size := range []int{1, 2, 3, 4, 160, 1200, 1473, 8000} {
		data := bytes.Repeat([]byte{byte(size)}, size)
		expect(w.t, to, string(data), func() { w.write(wrap(to.LocalAddr(), data)) })
		for {
			sender(w.t, to, net.UDPAddrFromAddrPort(relayed), string(data))()
			b, err := w.read()
			if err != nil {
				w.t.Fatalf("%d bytes: %v", size, err)
			}
			if is(to.LocalAddr(), b, data) {
				break
			}
		}
	}
}

func (w *wire) sendIndication(to net.Addr, data []byte) []byte {
	m := stun.New()
	if err := m.Build(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), peer(to.String()), attr(stun.AttrData, data...)); err != nil {
		w.t.Fatal(err)
	}
	return m.Raw
}

func (w *wire) isDataFrom(from net.Addr, b, data []byte) bool {
	m := stun.New()
	if stun.Decode(b, m) != nil || m.Type != stun.NewType(stun.MethodData, stun.ClassIndication) {
		return false
	}
	got, _ := m.Get(stun.AttrData)
	return addressOf(w.t, m, stun.AttrXORPeerAddress).String() == from.String() && bytes.Equal(got, data)
}

func TestAPeerWithoutPermissionIsNotHeard(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		s := startServer(t, portable, nil)
		w, friend, stranger := s.wire(0, "a"), newPeer(t, "127.0.0.1"), newPeer(t, "127.0.0.2")
		relayed := net.UDPAddrFromAddrPort(w.allocate())
		w.permit(friend.LocalAddr())
		sender(t, stranger, relayed, "let me in")()
		sender(t, friend, relayed, "hello")()
		b, err := w.read()
		if err != nil || !w.isDataFrom(friend.LocalAddr(), b, []byte("hello")) {
			t.Errorf("%x, %v", b, err)
		}
	})
}

func TestBytesPerSecondOnTheWire(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		s := startServer(t, portable, func(c *Config) { c.Limits.BytesPerSecondPerUser = 1000 })
		w, to := s.wire(0, "a"), newPeer(t, "127.0.0.1")
		w.allocate()
		w.bind(0x4000, to.LocalAddr())
		for range 20 {
			w.write(channelData(0x4000, make([]byte, 500)))
		}
		w.permit(to.LocalAddr()) // all 20 were looked at when this is answered
		up, _ := s.Usage(w.name)
		if up.Packets < 2 || up.Packets > 10 {
			t.Errorf("%d packets of 500 bytes went through at 1 000 bytes a second", up.Packets)
		}
	})
}
