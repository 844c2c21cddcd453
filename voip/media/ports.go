package media

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v4"
)

// Bounds on the TCP port, which anybody reaches.
const (
	maxConns       = 256              // at once
	maxConnsOfHost = 16               // at once from one address
	firstSTUN      = 5 * time.Second  // for a connection to say which call it belongs to
	orphanTime     = 10 * time.Second // of a connection that named a call which is not there
	tcpBuffer      = 256 << 10        // bytes that wait on a slow connection; then packets are dropped, as on UDP
	udpBuffer      = 1 << 20          // bytes asked of the kernel per socket and direction
)

// ports are the sockets that all calls share.
type ports struct {
	udp  []*net.UDPConn
	mux  *ice.MultiUDPMuxDefault
	out  *ice.UniversalUDPMuxDefault // the one of udp that asks STUN servers how the world sees it
	tcp  ice.TCPMux                  // nil: none
	addr net.Listener                // of tcp
}

// listenPorts takes them all or none.
func (e *Engine) listenPorts() (*ports, error) {
	p := &ports{}
	hosts, err := e.addresses()
	if err == nil && len(hosts) == 0 {
		err = errors.New("no address of this host is left to listen on: see calls.interfaces")
	}
	if err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	muxes := make([]ice.UDPMux, 0, len(hosts))
	port, way := e.port, wayOut()
	for _, h := range hosts {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h, uint16(port)))) //nolint:gosec // LookupPort gave it
		if err != nil {
			return nil, errors.Join(fmt.Errorf("media: %w", err), p.close())
		}
		if port == 0 { // the same on every address
			port = conn.LocalAddr().(*net.UDPAddr).Port
		}
		_, _ = conn.SetReadBuffer(udpBuffer), conn.SetWriteBuffer(udpBuffer) // as much as the kernel lets us
		p.udp = append(p.udp, conn)
		m := ice.NewUniversalUDPMuxDefault(ice.UniversalUDPMuxParams{UDPConn: conn, Logger: quiet().NewLogger("ice")})
		if muxes = append(muxes, m); p.out == nil || h == way {
			p.out = m
		}
	}
	p.mux = ice.NewMultiUDPMuxDefault(muxes...)
	if e.cfg.ListenTCP == "" {
		return p, nil
	}
	ln, err := net.Listen("tcp", e.cfg.ListenTCP)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("media: %w", err), p.close())
	}
	p.addr = &limited{Listener: ln, from: map[netip.Addr]int{}}
	p.tcp = ice.NewTCPMuxDefault(ice.TCPMuxParams{
		Listener: p.addr, Logger: quiet().NewLogger("ice"), ReadBufferSize: 64, WriteBufferSize: tcpBuffer,
		FirstStunBindTimeout: firstSTUN, AliveDurationForConnFromStun: orphanTime,
	})
	return p, nil
}

// port is the number of the one UDP port.
func (p *ports) port() uint16 { return p.udp[0].LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// listens says whether the port is taken on an address of this host.
func (p *ports) listens(ip net.IP) bool {
	return slices.ContainsFunc(p.udp, func(c *net.UDPConn) bool { return c.LocalAddr().(*net.UDPAddr).IP.Equal(ip) })
}

// wayOut is the address from which this host speaks to the world by IPv4; the zero Addr: it does not. Nothing is sent for it.
func wayOut() netip.Addr {
	c, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

func (p *ports) close() error {
	var errs []error
	if p.mux != nil {
		errs = append(errs, p.mux.Close())
	} else {
		for _, c := range p.udp {
			errs = append(errs, c.Close())
		}
	}
	if p.tcp != nil {
		errs = append(errs, p.tcp.Close())
	}
	return errors.Join(errs...)
}

// addresses are those to listen on: the one of Config.ListenUDP, or all that lead to people.
func (e *Engine) addresses() ([]netip.Addr, error) {
	if e.host != "" {
		a, err := net.ResolveUDPAddr("udp", net.JoinHostPort(e.host, strconv.Itoa(e.port)))
		if err != nil {
			return nil, err
		}
		return []netip.Addr{a.AddrPort().Addr().Unmap().WithZone("")}, nil
	}
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, i := range list {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 && !slices.Contains(e.cfg.Interfaces, i.Name) || !e.useInterface(i.Name) {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok || !useIP(n.IP) {
				continue
			}
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				out = append(out, ip.Unmap())
			}
		}
	}
	return out, nil
}

// containers are prefixes of interface names that lead to no person.
var containers = []string{"docker", "br-", "veth", "cni", "podman", "virbr"}

func (e *Engine) useInterface(name string) bool {
	if len(e.cfg.Interfaces) > 0 {
		return slices.Contains(e.cfg.Interfaces, name)
	}
	return !slices.ContainsFunc(containers, func(p string) bool { return strings.HasPrefix(name, p) })
}

// useIP leaves out link-local addresses: no peer elsewhere can reach them.
func useIP(ip net.IP) bool { return !ip.IsLinkLocalUnicast() }

// limited refuses connections beyond what is served at once.
type limited struct {
	net.Listener
	mu   sync.Mutex
	all  int
	from map[netip.Addr]int
}

// Accept is of net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		l.mu.Lock()
		ok := l.all < maxConns && l.from[host] < maxConnsOfHost
		if ok {
			l.all++
			l.from[host]++
		}
		l.mu.Unlock()
		if ok {
			return &limitedConn{Conn: c, over: sync.OnceFunc(func() { l.gone(host) })}, nil
		}
		_ = c.Close()
	}
}

func (l *limited) gone(host netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.from[host]--; l.from[host] == 0 {
		delete(l.from, host)
	}
}

type limitedConn struct {
	net.Conn
	over func()
}

func (c *limitedConn) Close() error {
	c.over()
	return c.Conn.Close()
}
