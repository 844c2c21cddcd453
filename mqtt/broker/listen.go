package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
)

// listenURL is one of Config.Listeners.
type listenURL struct{ scheme, host, port, path string }

func parseListenURL(s string) (listenURL, error) {
	bad := func(reason string) (listenURL, error) { return listenURL{}, fmt.Errorf("listen %q: %s", s, reason) }
	u, err := url.Parse(s)
	if err != nil {
		return bad("it is not a URL like mqtt://127.0.0.1:1883")
	}
	port, known := map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}[u.Scheme]
	switch {
	case !known:
		return bad("it must begin with mqtt://, mqtts://, ws:// or wss://")
	case u.User != nil:
		return bad("users and passwords belong under mqtt.accounts")
	case u.RawQuery != "" || u.Fragment != "":
		return bad("it ends with the port (ws and wss: with a path)")
	case strings.HasPrefix(u.Scheme, "mqtt") && u.Path != "" && u.Path != "/":
		return bad("only ws and wss have a path")
	}
	if p := u.Port(); p != "" {
		port = p
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return bad("the port must be 0 to 65535")
	}
	path := u.Path
	if path == "/" {
		path = ""
	}
	return listenURL{u.Scheme, u.Hostname(), port, path}, nil
}

func (u listenURL) tls() bool       { return u.scheme == "mqtts" || u.scheme == "wss" }
func (u listenURL) websocket() bool { return u.scheme == "ws" || u.scheme == "wss" }
func (u listenURL) address() string { return net.JoinHostPort(u.host, u.port) }

// loopback tells whether only this machine can connect. A name other than localhost may be anything.
func (u listenURL) loopback() bool {
	if u.host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(u.host)
	return err == nil && a.Unmap().IsLoopback()
}

// listen takes the port. Its errors tell people what to do.
func (u listenURL) listen() (net.Listener, error) {
	l, err := net.Listen("tcp", u.address())
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is already in use by another program: stop it or change mqtt.listen: %w", u.address(), err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s is not an address of this machine: change mqtt.listen: %w", u.address(), err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s may not be used by this user: choose a port above 1023 in mqtt.listen: %w", u.address(), err)
	}
	return nil, fmt.Errorf("listen on %s: change mqtt.listen: %w", u.address(), err)
}

// places counts connections against the limits. Safe for concurrent use.
type places struct {
	all, perAddress int

	mu     sync.Mutex
	n      int
	byAddr map[netip.Addr]int
}

// take gives a place for a connection from a, to be given back once, or why there is none.
func (p *places) take(a netip.Addr) (reason string) {
	a = limitAddress(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.n >= p.all:
		return refusedConnections
	case p.byAddr[a] >= p.perAddress:
		return refusedAddress
	}
	if p.byAddr == nil {
		p.byAddr = map[netip.Addr]int{}
	}
	p.n++
	p.byAddr[a]++
	return ""
}

func (p *places) give(a netip.Addr) {
	a = limitAddress(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n--
	if p.byAddr[a]--; p.byAddr[a] == 0 {
		delete(p.byAddr, a)
	}
}

// placed is a connection that has a place and gives it back when it is closed.
type placed struct {
	net.Conn
	give func()
}

func (c *placed) Close() error {
	err := c.Conn.Close()
	c.give()
	return err
}

// remoteAddr is invalid for what is not TCP.
func remoteAddr(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// guarded is a listener whose connections have a place; those without one are closed at once.
type guarded struct {
	net.Listener
	places *places
	refuse func(c net.Conn, reason string)
}

func (g *guarded) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		a := remoteAddr(c)
		if reason := g.places.take(a); reason != "" {
			g.refuse(c, reason)
			continue
		}
		return &placed{c, sync.OnceFunc(func() { g.places.give(a) })}, nil
	}
}
