package gateway

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// link is the connection to an outside broker. While it is lost nothing is heard of any device, so none is silent. The router
// goroutine owns it, save up and bell.
type link struct {
	up   atomic.Bool
	bell chan struct{} // up may be another

	lost time.Time // zero: it is there
	back time.Time // when it last came back; zero: it was never lost
	told bool      // people know that it is lost
}

// A connection that is back within this time is nothing to tell.
const linkPatience = time.Minute

func newLink() *link {
	l := &link{bell: make(chan struct{}, 1)}
	l.up.Store(true)
	return l
}

// BrokerLink says whether the connection to an outside broker is there. Without a word of it, it is. It does not block.
func (g *Gateway) BrokerLink(up bool) {
	g.link.up.Store(up)
	select {
	case g.link.bell <- struct{}{}:
	default:
	}
}

// followLink takes note of how the connection is now.
func (g *Gateway) followLink(b *batch, now time.Time) {
	l := g.link
	switch up := l.up.Load(); {
	case !up && l.lost.IsZero():
		l.lost = now
	case up && !l.lost.IsZero():
		l.lost, l.back = time.Time{}, now
		if l.told {
			l.told = false
			g.tellLink(b, lane.Event, lane.Post{Kind: lane.Notice, Text: "The connection to the broker is back."}, now)
		}
	}
}

// listening is since when messages of devices reach us: now, while they do not.
func (l *link) listening(now time.Time) time.Time {
	if l.lost.IsZero() {
		return l.back
	}
	return now
}

// tellLost tells owners, once, that a silence is not told since nobody listens.
func (g *Gateway) tellLost(b *batch, now time.Time) {
	l, who := g.link, g.who.Load()
	if l.lost.IsZero() || l.told || now.Sub(l.lost) < linkPatience {
		return
	}
	l.told = true
	text := fmt.Sprintf("The connection to the broker is lost since %s, so nothing is known of the devices. Until it is back nobody is told that one is silent.", l.lost.In(who.zone).Format("15:04"))
	g.tellLink(b, lane.Alarm, lane.Post{Kind: lane.Text, Text: text, Mentions: who.owners}, now)
}

func (g *Gateway) tellLink(b *batch, class lane.Class, p lane.Post, now time.Time) {
	if len(g.who.Load().owners) > 0 {
		b.change.Append = append(b.change.Append, lane.Record{Lane: ids.ControlRoom, ID: ids.NewULID(now), Class: class, At: now, Post: p})
	}
}
