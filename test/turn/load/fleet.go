//go:build linux

package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatepost/gatepost/test/turn/wire"
)

// Config says who the clients are.
type Config struct {
	Server  netip.AddrPort // UDP, IPv4
	Secret  string         // the relay's, to mint credentials; each client is a user of its own
	Clients int
	Peers   bool // each client has a peer with a socket; without, all have one that is not there
	Direct  bool // no relay: clients and peers are connected to each other
	Clock   bool // the kernel notes when packets arrive
}

// Fleet is many clients with their sockets.
type Fleet struct {
	cfg      Config
	sessions []session
	epoll    int

	Retries int // requests that were sent again, in all set-ups
}

type session struct {
	client, peer int // sockets; peer is -1 without
	cred         wire.Credential
	key          []byte
	realm, nonce []byte
	relay        netip.AddrPort // valid while there is an allocation

	// of the request under way
	request *wire.Builder
	id      wire.ID
	sent    time.Time
	tries   int
	step    step

	up, down lane
}

const networks = 200

// nobody is the peer of those without: its port is never used.
var nobody = netip.MustParseAddrPort("127.2.0.1:9")

// channel that each client binds.
const channel = 0x4000

// Open makes the sockets.
func Open(cfg Config) (*Fleet, error) {
	f := &Fleet{cfg: cfg}
	var err error
	if f.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("load: epoll: %w", err)
	}
	if err := f.open(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *Fleet) open() error {
	// A relay may remember a 5-tuple for a while after its allocation ended, so each fleet has others.
	first := firstPort + rand.IntN((lastPort-firstPort)/2)
	var clients [networks]ports
	for i := range clients {
		clients[i] = ports{addr: [4]byte{127, 1, byte(i), 1}, next: first}
	}
	peers := ports{addr: nobody.Addr().As4(), next: firstPort}
	expiry := time.Now().Add(24 * time.Hour)
	for i := range f.cfg.Clients {
		s := session{client: -1, peer: -1, cred: wire.Mint(f.cfg.Secret, fmt.Sprintf("@user%d:bench", i), expiry)}
		var err error
		if s.client, err = clients[i%networks].bind(); err != nil {
			return err
		}
		f.sessions = append(f.sessions, s)
		p := &f.sessions[i]
		to := f.cfg.Server
		if f.cfg.Peers || f.cfg.Direct {
			if p.peer, err = peers.bind(); err != nil {
				return err
			}
		}
		if f.cfg.Direct {
			to = local(p.peer)
			if err := connect(p.peer, local(p.client)); err != nil {
				return err
			}
		}
		if err := connect(p.client, to); err != nil {
			return err
		}
		for _, fd := range []int{p.client, p.peer} {
			if fd >= 0 && f.cfg.Clock {
				if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
					return fmt.Errorf("load: SO_TIMESTAMPNS: %w", err)
				}
			}
		}
	}
	return nil
}

func local(fd int) netip.AddrPort {
	sa, err := unix.Getsockname(fd)
	in, ok := sa.(*unix.SockaddrInet4)
	if err != nil || !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port))
}

// Close closes the sockets; the relay keeps the allocations until their lifetime ends, unless Release came first.
func (f *Fleet) Close() error {
	err := unix.Close(f.epoll)
	for _, s := range f.sessions {
		for _, fd := range []int{s.client, s.peer} {
			if fd >= 0 {
				err = errors.Join(err, unix.Close(fd))
			}
		}
	}
	f.sessions = nil
	return err
}

// Relayed are the addresses of the allocations.
func (f *Fleet) Relayed() []netip.AddrPort {
	var all []netip.AddrPort
	for _, s := range f.sessions {
		if s.relay.IsValid() {
			all = append(all, s.relay)
		}
	}
	return all
}
