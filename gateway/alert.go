package gateway

import (
	"context"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

// alert is something to tell the owners.
type alert struct {
	record lane.Record
	direct bool // the store can't take it: send it without
}

// Alert tells the owners something in the control room, at most once in ten minutes for each key. It does not block.
func (g *Gateway) Alert(text, key string) { g.alert(text, key, false) }

func (g *Gateway) alert(text, key string, direct bool) {
	now := g.now()
	if len(g.who.Load().owners) == 0 || !g.state.mayTell(key, now) {
		return
	}
	r := lane.Record{Lane: ids.ControlRoom, ID: ids.NewULID(now), Class: lane.Alarm, At: now, Post: lane.Post{Kind: lane.Text, Text: text, Mentions: g.who.Load().owners}}
	select {
	case g.alerts <- alert{r, direct}:
	default:
		g.log.Warn("too much to tell the owners at once", logkey.Reason, text)
	}
}

// tell brings an alert on its way.
func (g *Gateway) tell(ctx context.Context, a alert) {
	if !a.direct {
		err := g.commit(lane.Change{Append: []lane.Record{a.record}})
		if err == nil {
			return
		}
		g.log.Error("an alert could not be stored", logkey.Error, err)
	}
	have := g.rooms.have(ids.ControlRoom)
	if have.Room == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, alertSend)
	defer cancel()
	if o := g.matrix.Send(ctx, have.Room, g.cfg.Bot, a.record); o.Verdict != lane.Done {
		g.log.Warn("an alert could not be sent", logkey.Error, o)
	}
}

// An alert that the store can't take is given up after so long: there is more to do.
const alertSend = 10 * time.Second

// tellFull says that the store is full.
func (g *Gateway) tellFull(why error) {
	if g.state.full(true) {
		g.log.Error("the store is full: nothing is acknowledged until there is room", logkey.Error, why)
	}
	g.alert("My disk is full: "+why.Error()+". Messages from devices wait with their senders until there is room.", "full", true)
}
