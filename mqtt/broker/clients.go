package broker

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Client is a client that has a session: it is connected, or may come back to it.
type Client struct {
	ID            string // as it calls itself; unique within its account
	Account       string // "" where there are no accounts
	Connected     bool
	Since         time.Time // when it connected, or went; zero: not known
	Address       string    // host:port, of the last connection; "": not known
	Protocol      string    // 3.1, 3.1.1 or 5
	Transport     string    // mqtt, mqtts, ws or wss, of the last connection; "": not known
	Subscriptions int
	Waiting       int // QoS 1 and 2 messages that are on their way in either direction, or wait for it
}

// Clients lists the connected clients by account and id.
func (b *Broker) Clients() []Client {
	var all []Client
	for _, c := range b.allConns() {
		if c.established.Load() {
			all = append(all, b.describe(c.client))
		}
	}
	sortClients(all)
	return all
}

// Sessions lists all that have a session, connected or not, by account and id.
func (b *Broker) Sessions() []Client {
	var all []Client
	for _, cl := range b.server.Clients.GetAll() {
		all = append(all, b.describe(cl))
	}
	sortClients(all)
	return all
}

func sortClients(all []Client) {
	slices.SortFunc(all, func(a, b Client) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.ID, b.ID), a.Since.Compare(b.Since))
	})
}

// connected counts without describing.
func (b *Broker) connected() (n int) {
	for _, c := range b.allConns() {
		if c.established.Load() {
			n++
		}
	}
	return n
}

func (b *Broker) describe(cl *mqtt.Client) Client {
	out := Client{Protocol: "3.1.1", Subscriptions: cl.State.Subscriptions.Len(), Waiting: cl.State.Inflight.Len()}
	out.Account, out.ID = splitID(cl.ID)
	switch cl.Properties.ProtocolVersion {
	case 3:
		out.Protocol = "3.1"
	case 5:
		out.Protocol = "5"
	}
	if at := cl.StopTime(); at > 0 {
		out.Since = time.Unix(at, 0)
	}
	c := connOf(cl)
	if c == nil {
		return out
	}
	out.Address, out.Transport = c.RemoteAddr().String(), c.transport()
	if out.Connected = c.established.Load() && !cl.Closed(); out.Connected {
		out.Since = c.since
	}
	return out
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

// kickTime is how long Kick waits for a connection to end. Its last words are given up sooner; see conn.
const kickTime = 5 * time.Second

// kicks are the sessions that are being forgotten, which nobody can come back to meanwhile. Safe for concurrent use.
type kicks struct {
	mu  sync.Mutex
	ids map[string]int // session id: how many Kicks are at it
}

func (k *kicks) add(id string, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ids == nil {
		k.ids = map[string]int{}
	}
	if k.ids[id] += n; k.ids[id] == 0 {
		delete(k.ids, id)
	}
}

func (k *kicks) has(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ids[id] > 0
}

// Kick ends the connection of a client, which may come back at once; its will is sent. forget ends its session too, with
// all that waits in it. False: there is no such session.
func (b *Broker) Kick(ctx context.Context, account, client string, forget bool) (bool, error) {
	id := account + "\x00" + client
	if !forget {
		cl, ok := b.server.Clients.Get(id)
		if ok {
			b.kick(cl)
		}
		return ok, nil
	}
	b.kicked.add(id, 1)
	defer b.kicked.add(id, -1)
	ctx, cancel := context.WithTimeout(ctx, kickTime)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for found := false; ; {
		cl, ok := b.server.Clients.Get(id)
		if !ok {
			return found, nil
		}
		found = true
		b.kick(cl)
		if b.forget(cl) {
			return true, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return true, fmt.Errorf("the connection of %q does not end: %w", client, ctx.Err())
		}
	}
}

// kick ends the connection of a session, if it has one.
func (b *Broker) kick(cl *mqtt.Client) {
	if c := connOf(cl); c != nil && !cl.Closed() {
		b.disconnect(c, packets.ErrAdministrativeAction)
	}
}

// forget removes a session whose connection has ended; false: it has not.
func (b *Broker) forget(cl *mqtt.Client) bool {
	if c := connOf(cl); c != nil && b.has(c) {
		return false
	}
	b.gate.Lock()
	defer b.gate.Unlock()
	if now, ok := b.server.Clients.Get(cl.ID); !ok || now != cl {
		return !ok
	}
	cl.ClearInflights()
	b.server.UnsubscribeClient(cl)
	b.server.Clients.Delete(cl.ID)
	return true
}

func (b *Broker) has(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.conns[c]
	return ok
}
