package broker

import "sync"

// gate keeps the handling of packets and the hand-over of a session apart. The library copies the queue of the old
// connection and then adds the new one: what is routed between the two is lost, and what is routed after the second but
// before CONNACK is sent before CONNACK. And it removes a session that ends by its id, which may be the newcomer's by then.
// Who handles a packet shares the gate; who begins or ends a session has it alone. What a connection holds is known to
// its reader only, whose calls these are.
type gate struct{ sync.RWMutex }

type holding uint8

const (
	holdsNothing holding = iota
	holdsShared
	holdsAlone
)

// enter shares the gate for c, if it does not hold it yet.
func (g *gate) enter(c *conn) {
	if c.holds == holdsNothing {
		g.RLock()
		c.holds = holdsShared
	}
}

// shut takes the gate for c alone.
func (g *gate) shut(c *conn) {
	g.leave(c)
	g.Lock()
	c.holds = holdsAlone
	c.settling.Store(true)
}

// leave gives back what c holds, if anything.
func (g *gate) leave(c *conn) {
	switch c.holds {
	case holdsShared:
		c.holds = holdsNothing
		g.RUnlock()
	case holdsAlone:
		c.holds = holdsNothing
		c.settling.Store(false)
		g.Unlock()
	}
}
