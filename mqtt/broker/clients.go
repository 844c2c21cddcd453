package broker

import (
	"cmp"
	"context"
	"crypto/tls"
	"slices"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Client is a client that has a session: it is connected, or may come back to it.
type Client struct {
	ID            string // as it calls itself; unique within its account
	Account       string // "" where there are no accounts
	Connected     bool
	Since         time.Time // when it connected, or went
	Address       string    // host:port, of the last connection; "": not known
	Protocol      string    // 3.1, 3.1.1 or 5
	Transport     string    // mqtt, mqtts, ws or wss, of the last connection; "": not known
	Subscriptions int
	Waiting       int // QoS 1 and 2 messages that it has not acknowledged, or that we await the end of
}

// Clients lists the connected clients by account and id.
func (b *Broker) Clients() []Client {
	return slices.DeleteFunc(b.Sessions(), func(c Client) bool { return !c.Connected })
}

// Sessions lists all that have a session, connected or not, by account and id.
func (b *Broker) Sessions() []Client {
	var all []Client
	for _, s := range b.sessions.all() {
		all = append(all, s.describe())
	}
	slices.SortFunc(all, func(a, b Client) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// connected counts without describing.
func (b *Broker) connected() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		if c.established.Load() {
			n++
		}
	}
	return n
}

func (s *session) describe() Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conn.Load()
	return Client{
		ID: s.client, Account: s.account, Connected: c != nil && c.established.Load(), Since: s.since,
		Address: s.address, Protocol: map[byte]string{3: "3.1", 4: "3.1.1", 5: "5"}[s.version], Transport: s.via,
		Subscriptions: len(s.subs), Waiting: s.count + len(s.received),
	}
}

// transport is the scheme of the listener that c came by.
func (c *conn) transport() string {
	switch nc := c.Conn.(type) {
	case *tls.Conn:
		return "mqtts"
	case *wsConn:
		if _, ok := nc.Conn.(*tls.Conn); ok {
			return "wss"
		}
		return "ws"
	}
	return "mqtt"
}

// Kick ends the connection of a client, which may come back at once; its will is sent. forget ends its session too, with
// all that waits in it, and sends a will that waits. False: there is no such session.
func (b *Broker) Kick(_ context.Context, account, client string, forget bool) (bool, error) {
	s := b.sessions.get(account + "\x00" + client)
	if s == nil {
		return false, nil
	}
	c := s.conn.Load()
	if forget {
		if err := b.endSession(s); err != nil {
			return true, err
		}
		if w := b.wills.get(s.id); c == nil && w.take() {
			b.deliverWill(s.id, w) // not later than the session's end: MQTT 5 section 3.1.3.2.2
		}
	}
	if c != nil {
		b.disconnect(c, packets.ErrAdministrativeAction)
	}
	return true, nil
}
