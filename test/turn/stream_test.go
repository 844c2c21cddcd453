//go:build e2e

package turn

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/turn/relay"
	"github.com/gatepost/gatepost/test/turn/wire"
)

// streamTime is how long a connection may be held by who does nothing useful with it, and some time to spare.
const streamTime = 40 * time.Second

// Who opens connections and then is slow is disconnected: who says nothing, who sends a request byte by byte, who does not do
// the handshake of TLS, who begins a frame and does not end it. Meanwhile others are served.
func TestSlowStreams(t *testing.T) {
	s := serve(t, func(o *relay.Options) { o.Cert, o.Key = certificate(t) })
	attacks := map[string]struct {
		to   string
		tls  bool
		drip []byte // a byte each quarter of a second
	}{
		"silent over tcp":         {to: s.tcp},
		"silent over tls":         {to: s.tls, tls: true},
		"no handshake":            {to: s.tls},
		"a handshake that drips":  {to: s.tls, drip: append([]byte{22, 3, 1, 2, 0}, make([]byte, 500)...)},
		"a request that drips":    {to: s.tcp, drip: append(wire.Build(wire.Binding, wire.NewID()).Add(0x8022, make([]byte, 400)).Bytes()[:400], 0)},
		"a frame that never ends": {to: s.tcp, drip: append([]byte{0x40, 0, 0xFF, 0xFF}, make([]byte, 500)...)},
	}
	type result struct {
		name string
		err  error // nil when it was disconnected
		took time.Duration
	}
	results := make(chan result)
	for name, attack := range attacks { // all at once: each takes its time
		var c net.Conn
		var err error
		if attack.tls {
			c, err = tls.Dial("tcp", attack.to, &tls.Config{InsecureSkipVerify: true})
		} else {
			c, err = net.Dial("tcp", attack.to)
		}
		must(t, err)
		t.Cleanup(func() { c.Close() })
		began := time.Now()
		must(t, c.SetReadDeadline(began.Add(streamTime)))
		closed := make(chan struct{})
		go func() {
			_, err := io.Copy(io.Discard, c)
			close(closed)
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				err = nil // it does not matter how it was disconnected
			}
			results <- result{name, err, time.Since(began)}
		}()
		go drip(c, attack.drip, closed)
	}

	alice, err := wire.Dial("tcp", s.tcp, nil, credential("@alice:turn.example"))
	must(t, err)
	defer alice.Close()
	_, err = alice.Allocate(0)
	must(t, err)
	for range attacks {
		r := <-results
		if r.err != nil {
			t.Errorf("%s: still connected after %v", r.name, streamTime)
		}
		t.Logf("%s: disconnected after %v", r.name, r.took.Round(100*time.Millisecond))
	}
	if _, err := alice.Renew(600); err != nil {
		t.Errorf("who is served meanwhile: %v", err)
	}
}

// drip writes a byte each quarter of a second until the connection is closed.
func drip(c net.Conn, text []byte, closed <-chan struct{}) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for i := range text {
		select {
		case <-closed:
			return
		case <-tick.C:
			_, _ = c.Write(text[i : i+1]) // after the end it is an error
		}
	}
}

// One address gets no more connections than it may have; others get theirs.
func TestConnectionsOfOneAddress(t *testing.T) {
	s := serve(t, nil)
	const most = 64
	held, refused := 0, 0
	for range most + 6 {
		c, err := wire.Dial("tcp", s.tcp, nil, wire.Credential{})
		must(t, err)
		t.Cleanup(func() { c.Close() })
		_ = c.Write(wire.Build(wire.Binding, wire.NewID()).Bytes()) // it may be closed already
		if _, err := c.Read(deadline()); err == nil {
			held++
		} else {
			refused++
		}
	}
	if held != most || refused != 6 {
		t.Errorf("%d connections are served, %d refused", held, refused)
	}
	c, err := wire.Dial("tcp", s.tcp, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 7)}, wire.Credential{})
	must(t, err)
	defer c.Close()
	must(t, c.Write(wire.Build(wire.Binding, wire.NewID()).Bytes()))
	if _, err := c.Read(deadline()); err != nil {
		t.Errorf("another address: %v", err)
	}
}

// What is sent over TCP and TLS and echoed by a peer comes back whole and in order, however it is cut into segments and records.
func TestStreamsLoseNothing(t *testing.T) {
	s := serve(t, func(o *relay.Options) {
		opened(o)
		o.Cert, o.Key = certificate(t)
	})
	at := netip.MustParseAddrPort(echo(t, "127.0.0.1"))
	for network, addr := range map[string]string{"tcp": s.tcp, "tls": s.tls} {
		t.Run(network, func(t *testing.T) {
			c, err := wire.Dial(network, addr, nil, credential("@"+network+":turn.example")) // each with bytes a second of their own
			must(t, err)
			defer c.Close()
			_, err = c.Allocate(0)
			must(t, err)
			_, err = c.Bind(0x4000, at)
			must(t, err)
			const rounds, together = 100, 20 // few enough at once that no UDP buffer overflows
			for round := range rounds {
				var stream []byte
				var sent [][]byte
				for i := range together {
					payload := bytes.Repeat([]byte{byte(round), byte(i)}, (round*together+i)%700)
					sent = append(sent, payload)
					stream = wire.AppendChannelData(stream, 0x4000, payload, true)
				}
				cut := len(stream) * (round % 7) / 7
				must(t, c.Write(stream[:cut]))
				must(t, c.Write(stream[cut:]))
				for i := range together {
					p, err := c.Receive(deadline())
					must(t, err)
					if !bytes.Equal(p.Data, sent[i]) || p.Channel != 0x4000 {
						t.Fatalf("round %d, message %d: %d bytes on channel %#x, not %d", round, i, len(p.Data), p.Channel, len(sent[i]))
					}
				}
			}
		})
	}
}
