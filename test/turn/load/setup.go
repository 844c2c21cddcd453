//go:build linux

package load

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatepost/gatepost/test/turn/wire"
)

// step is the request a session has under way.
type step int

const (
	done     step = iota
	stranger      // Allocate without a credential, to get a nonce
	allocate
	bind
	release
)

const (
	retryAfter = 500 * time.Millisecond // RFC 8489 section 6.2.1, without the doubling
	maxTries   = 7
)

// Allocate makes an allocation for each client, at most window at a time: an Allocate that is answered with 401, and one
// that is signed. The result is how long it took.
func (f *Fleet) Allocate(ctx context.Context, window int) (time.Duration, error) {
	began := time.Now()
	err := f.each(ctx, window, stranger)
	return time.Since(began), err
}

// Bind gives each client a channel, and with it a permission, for its peer.
func (f *Fleet) Bind(ctx context.Context, window int) error { return f.each(ctx, window, bind) }

// Release ends all allocations.
func (f *Fleet) Release(ctx context.Context, window int) error { return f.each(ctx, window, release) }

// each runs the sessions through the steps that begin with first.
func (f *Fleet) each(ctx context.Context, window int, first step) error {
	for i := range f.sessions {
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, f.sessions[i].client, &ev); err != nil {
			return fmt.Errorf("load: epoll: %w", err)
		}
	}
	defer func() {
		for i := range f.sessions {
			_ = unix.EpollCtl(f.epoll, unix.EPOLL_CTL_DEL, f.sessions[i].client, nil) // they are closed soon anyway
		}
	}()
	next, underWay := 0, 0
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, 2048)
	checked := time.Now()
	for {
		for ; underWay < window && next < len(f.sessions); next++ {
			f.sessions[next].tries = 0
			f.sessions[next].begin(first)
			underWay++
		}
		if underWay == 0 {
			return nil
		}
		n, err := unix.EpollWait(f.epoll, events, 100)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("load: epoll: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			s := &f.sessions[e.Fd]
			size, err := unix.Read(s.client, buf)
			if err != nil || s.step == done {
				continue // nothing there, or the second answer to a request sent twice
			}
			if err := s.answered(buf[:size]); err != nil {
				return fmt.Errorf("load: client %d: %w", e.Fd, err)
			}
			if s.step == done {
				underWay--
			}
		}
		if now := time.Now(); now.Sub(checked) > retryAfter/5 {
			checked = now
			if err := f.retry(now); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
}

// retry sends again what was not answered.
func (f *Fleet) retry(now time.Time) error {
	for i := range f.sessions {
		s := &f.sessions[i]
		if s.step == done || now.Sub(s.sent) < retryAfter {
			continue
		}
		if s.tries++; s.tries > maxTries {
			return fmt.Errorf("load: client %d: no answer to step %d", i, s.step)
		}
		f.Retries++
		s.sent = now
		s.write()
	}
	return nil
}

// begin sends the request of a step.
func (s *session) begin(at step) {
	s.step, s.id, s.sent = at, wire.NewID(), time.Now()
	s.tries++
	switch at {
	case stranger, allocate:
		s.request = wire.Build(wire.Allocate, s.id).Add(wire.RequestedTransport, []byte{17, 0, 0, 0})
	case bind:
		s.request = wire.Build(wire.ChannelBind, s.id).AddUint32(wire.ChannelNumber, channel<<16).AddAddr(wire.XORPeerAddress, s.peerAddr())
	case release:
		s.request = wire.Build(wire.Refresh, s.id).AddUint32(wire.Lifetime, 0)
	}
	if at != stranger {
		s.request.Add(wire.Username, []byte(s.cred.Username)).Add(wire.Realm, s.realm).Add(wire.Nonce, s.nonce).Sign(s.key)
	}
	s.write()
}

func (s *session) write() {
	_, _ = unix.Write(s.client, s.request.Bytes()) // lost or refused is the same: retry looks after it
}

// answered takes a datagram; after it the session is in its next step, or done.
func (s *session) answered(b []byte) error {
	m, err := wire.Parse(b)
	if err != nil || m.ID != s.id {
		return nil // not the answer
	}
	code := m.Code()
	switch {
	case s.step == stranger && code == 401, code == 438 && s.tries < maxTries:
		again := max(s.step, allocate)
		s.realm, s.nonce = append(s.realm[:0], m.Get(wire.Realm)...), append(s.nonce[:0], m.Get(wire.Nonce)...)
		s.key = s.cred.Key(string(s.realm))
		s.begin(again)
		return nil
	case !m.Is(wire.Success) || code != 0:
		return fmt.Errorf("step %d: %d %q", s.step, code, m.Get(wire.ErrorCode))
	}
	switch s.step {
	case allocate:
		s.relay = m.Addr(wire.XORRelayedAddress)
		if s.peer >= 0 {
			if err := connect(s.peer, s.relay); err != nil {
				return err
			}
		}
	case release:
		s.relay = netip.AddrPort{}
	}
	s.step, s.request = done, nil
	return nil
}

func (s *session) peerAddr() netip.AddrPort {
	if s.peer < 0 {
		return nobody
	}
	return local(s.peer)
}
