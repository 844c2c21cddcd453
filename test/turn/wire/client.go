package wire

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// ErrRefused wraps an answer that is a failure; Message.Code says which.
var ErrRefused = errors.New("wire: refused")

// Client is one 5-tuple at a relay. It belongs to one goroutine.
type Client struct {
	conn   net.Conn
	stream bool
	buf    []byte

	Cred  Credential
	Realm string
	Nonce string
	Relay netip.AddrPort // after Allocate

	pending []Packet // relayed data that came while an answer was waited for
}

// Packet is relayed data. Channel is 0 for an indication, which has Peer instead.
type Packet struct {
	Channel uint16
	Peer    netip.AddrPort
	Data    []byte
}

// answerTime is how long an answer may take; an answer that never comes costs a test as much.
const answerTime = 3 * time.Second

// Dial connects to a relay: network is udp, tcp or tls. local may be nil. The relay's certificate is not looked at.
func Dial(network, addr string, local net.Addr, cred Credential) (*Client, error) {
	c := &Client{stream: network != "udp", buf: make([]byte, 65536), Cred: cred}
	d := net.Dialer{Timeout: answerTime, LocalAddr: local}
	var err error
	if network == "tls" {
		c.conn, err = tls.DialWithDialer(&d, "tcp", addr, &tls.Config{InsecureSkipVerify: true})
	} else {
		c.conn, err = d.Dial(network, addr)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Close leaves the allocation to its lifetime; over a stream the relay ends it.
func (c *Client) Close() error { return c.conn.Close() }

// Local is the client's own address.
func (c *Client) Local() netip.AddrPort {
	a, _ := netip.ParseAddrPort(c.conn.LocalAddr().String()) // always has this form
	return a
}

// Write sends bytes as they are: a datagram, or a part of the stream.
func (c *Client) Write(b []byte) error {
	_, err := c.conn.Write(b)
	return err
}

// Read returns the next datagram, or the next frame of a stream, until the deadline. The slice is valid until the next call.
func (c *Client) Read(deadline time.Time) ([]byte, error) {
	if err := c.conn.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	if !c.stream {
		n, err := c.conn.Read(c.buf)
		return c.buf[:n], err
	}
	head := c.buf[:4]
	if _, err := io.ReadFull(c.conn, head); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[2:]))
	whole := 4 + (n+3)&^3 // ChannelData, padded on a stream
	if head[0] < 0x40 {
		whole = headerSize + n
	}
	if _, err := io.ReadFull(c.conn, c.buf[4:whole]); err != nil {
		return nil, err
	}
	if head[0] >= 0x40 {
		whole = 4 + n
	}
	return c.buf[:whole], nil
}

// Exchange sends a message and waits for the answer with its transaction id; relayed data in between is kept for Receive.
func (c *Client) Exchange(m *Builder) (Message, error) {
	deadline := time.Now().Add(answerTime)
	if err := c.Write(m.Bytes()); err != nil {
		return Message{}, err
	}
	id := ID(m.b[8:headerSize])
	for {
		b, err := c.Read(deadline)
		if err != nil {
			return Message{}, err
		}
		if p, ok := packet(b); ok {
			c.pending = append(c.pending, p)
			continue
		}
		answer, err := Parse(append([]byte(nil), b...))
		if err != nil {
			return Message{}, err
		}
		if answer.ID == id {
			return answer, nil
		}
	}
}

// packet reads relayed data, copying it.
func packet(b []byte) (Packet, bool) {
	if channel, payload, ok := ChannelData(b); ok {
		return Packet{Channel: channel, Data: append([]byte(nil), payload...)}, true
	}
	m, err := Parse(b)
	if err != nil || m.Kind != DataMethod|Indication {
		return Packet{}, false
	}
	return Packet{Peer: m.Addr(XORPeerAddress), Data: append([]byte(nil), m.Get(Data)...)}, true
}

// Receive returns the next relayed data.
func (c *Client) Receive(deadline time.Time) (Packet, error) {
	if len(c.pending) > 0 {
		p := c.pending[0]
		c.pending = c.pending[1:]
		return p, nil
	}
	for {
		b, err := c.Read(deadline)
		if err != nil {
			return Packet{}, err
		}
		if p, ok := packet(b); ok {
			return p, nil
		}
	}
}

// Auth adds the credential, realm and nonce to a request and signs it.
func (c *Client) Auth(m *Builder) *Builder {
	return m.Add(Username, []byte(c.Cred.Username)).Add(Nonce, []byte(c.Nonce)).Add(Realm, []byte(c.Realm)).Sign(c.Cred.Key(c.Realm))
}

// Ask does a request with the attributes that fill adds, learning realm and nonce where the relay wants others. A failure
// that remains is the message and ErrRefused.
func (c *Client) Ask(method uint16, fill func(*Builder)) (Message, error) {
	for try := 0; ; try++ {
		m := Build(method, NewID())
		if fill != nil {
			fill(m)
		}
		if c.Nonce != "" {
			c.Auth(m)
		}
		answer, err := c.Exchange(m)
		if err != nil {
			return answer, err
		}
		code := answer.Code()
		if try == 0 && (code == 401 && c.Nonce == "" || code == 438) {
			c.Realm, c.Nonce = string(answer.Get(Realm)), string(answer.Get(Nonce))
			continue
		}
		if !answer.Is(Success) || answer.Is(Failure) {
			return answer, fmt.Errorf("%w: method %#x: %d %q", ErrRefused, method, code, answer.Get(ErrorCode))
		}
		return answer, nil
	}
}

// Allocate asks for a relayed UDP address; family is 0, 4 or 6.
func (c *Client) Allocate(family int) (Message, error) {
	answer, err := c.Ask(Allocate, func(m *Builder) {
		m.Add(RequestedTransport, []byte{17, 0, 0, 0})
		switch family {
		case 4:
			m.Add(RequestedAddressFamily, []byte{1, 0, 0, 0})
		case 6:
			m.Add(RequestedAddressFamily, []byte{2, 0, 0, 0})
		}
	})
	if err == nil {
		c.Relay = answer.Addr(XORRelayedAddress)
	}
	return answer, err
}

// Permit installs a permission for the peer's address.
func (c *Client) Permit(peer netip.AddrPort) (Message, error) {
	return c.Ask(CreatePermission, func(m *Builder) { m.AddAddr(XORPeerAddress, peer) })
}

// Bind binds a channel (0x4000 to 0x4FFF) to a peer.
func (c *Client) Bind(channel uint16, peer netip.AddrPort) (Message, error) {
	return c.Ask(ChannelBind, func(m *Builder) {
		m.AddUint32(ChannelNumber, uint32(channel)<<16).AddAddr(XORPeerAddress, peer)
	})
}

// Renew refreshes the allocation for a number of seconds; 0 ends it.
func (c *Client) Renew(seconds uint32) (Message, error) {
	return c.Ask(Refresh, func(m *Builder) { m.AddUint32(Lifetime, seconds) })
}

// SendTo sends a payload to a peer in an indication.
func (c *Client) SendTo(peer netip.AddrPort, payload []byte) error {
	return c.Write(Build(SendMethod|Indication, NewID()).AddAddr(XORPeerAddress, peer).Add(Data, payload).Bytes())
}

// SendOn sends a payload on a channel.
func (c *Client) SendOn(channel uint16, payload []byte) error {
	return c.Write(AppendChannelData(nil, channel, payload, c.stream))
}
