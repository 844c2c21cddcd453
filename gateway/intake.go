package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/media"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// The intake takes messages from both kinds of broker, routes them and commits what came of it before it says so:
//
//	Submit -> queue (bounded in bytes) -> route (owns the devices) -> commit -> done(nil)
//
// There are two batches: while one is committed, what comes is routed into the other, which goes as soon as the first is
// done. So whoever sends one message at a time waits for two commits at most. A batch is at most 256 messages or 1 MiB.
const (
	queueBytes   = 8 << 20
	batchRecords = 256
	batchBytes   = 1 << 20
	maxTopic     = 1024 // bytes of a topic that a rule takes; MQTT allows 64 KiB, keys and names of the store do not
)

// ErrStopped is what done gets for messages that were not committed because the gateway stops. They are not acknowledged,
// so whoever sent them sends them again.
var ErrStopped = errors.New("gateway: stopped before the message was stored")

// arrival is a message that waits to be stored.
type arrival struct {
	msg  topic.Message
	done func(error)
}

// batch is what one commit takes in. The zero value is an empty one.
type batch struct {
	change lane.Change
	dones  []func(error)
	after  []func() // what becomes true once it is committed
	marks  []mark
	began  time.Time // zero: there is no message in it
	size   int       // of the messages in it, in bytes
	due    bool      // something is in it
}

// full says whether no more messages may come in.
func (b *batch) full() bool { return len(b.dones) >= batchRecords || b.size >= batchBytes }

// reset empties b for its next use: what it held may be collected, its room is kept unless it is unusually much.
func (b *batch) reset() {
	if cap(b.change.Append)+cap(b.change.Put) > 8*batchRecords {
		*b = batch{}
		return
	}
	clear(b.change.Put)
	clear(b.change.Append)
	clear(b.dones)
	clear(b.after)
	clear(b.marks)
	*b = batch{
		change: lane.Change{Put: b.change.Put[:0], Append: b.change.Append[:0]},
		dones:  b.dones[:0], after: b.after[:0], marks: b.marks[:0],
	}
}

// Submit hands a message over. It waits while more than 8 MiB wait already, and calls done once, from another goroutine:
// with nil when everything that follows from the message is on disk, so that it may be acknowledged. The payload becomes
// the gateway's. Safe for concurrent use; messages of one caller keep their order.
func (g *Gateway) Submit(m topic.Message, done func(error)) {
	if err := g.queue.put(context.Background(), arrival{m, done}); err != nil {
		done(err)
	}
}

// Deliver is Submit for callers that wait. When ctx ends first, its error comes back and the message may be stored later.
func (g *Gateway) Deliver(ctx context.Context, m topic.Message) error {
	done := make(chan error, 1)
	if err := g.queue.put(ctx, arrival{m, func(err error) { done <- err }}); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// intake routes and commits until ctx is done. It returns an error when the store can't go on.
func (g *Gateway) intake(ctx context.Context) error {
	batches := make(chan *batch)
	committed := make(chan *batch, 1)
	var wg sync.WaitGroup
	var failed error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() {
		for b := range batches {
			if err := g.commitBatch(b); err != nil {
				b.finish(ErrStopped)
				if !errors.Is(err, ErrStopped) {
					failed = err
				}
				cancel()
				break
			}
			committed <- b
		}
		for b := range batches { // what came later must not be stored without what came before
			b.finish(ErrStopped)
		}
	})
	g.route(ctx, batches, committed)
	for _, a := range g.queue.close() {
		a.done(ErrStopped)
	}
	close(batches)
	wg.Wait()
	return failed
}

// route is the router goroutine. It hands a batch over when the one before has come back as committed.
func (g *Gateway) route(ctx context.Context, batches chan<- *batch, committed <-chan *batch) {
	beat := time.NewTicker(beatTime)
	defer beat.Stop()
	b, idle := &batch{}, &batch{} // idle is nil while it is being committed
	for ctx.Err() == nil {
		more := g.queue.more
		if b.full() {
			more = nil
		}
		select {
		case <-ctx.Done():
		case <-beat.C:
			g.cfg.Beat(PartIntake)
		case idle = <-committed:
			idle.reset()
		case <-more:
			g.routeWaiting(b)
		case f := <-g.inRouter:
			b.due = true
			f(b)
		case <-g.commandTimer.C:
			b.due = true
			g.nextTick = time.Time{}
			g.commands.tick(b, g.now())
			g.discoverTick(b, g.now())
			g.silenceTick(b, g.now())
			g.cardTick(b, g.now())
		case <-g.link.bell:
			b.due = true
			g.followLink(b, g.now())
		case <-g.idleMarks.C:
			items, again := g.marks.clear()
			b.due = b.due || items != nil
			b.change.Put = append(b.change.Put, items...)
			if again {
				g.idleMarks.Reset(markTime)
			}
		}
		if b.due && idle != nil {
			g.seal(b)
			batches <- b
			b, idle = idle, nil
		}
	}
	if b.due {
		g.seal(b)
		batches <- b
	}
}

func (b *batch) finish(err error) {
	for _, done := range b.dones {
		done(err)
	}
}

// noSpace says whether err is the store's word that nothing was written and that a later try may succeed.
func noSpace(err error) bool {
	var full interface{ NoSpace() bool }
	return errors.As(err, &full) && full.NoSpace()
}

// commitBatch commits until it succeeds: while the disk is full nothing is acknowledged, and people are told. ErrStopped
// means that it was full when the gateway was asked to end.
func (g *Gateway) commitBatch(b *batch) error {
	for {
		err := g.store.Commit(b.change)
		if err == nil {
			break
		}
		if !noSpace(err) {
			return err
		}
		g.tellFull(err)
		g.cfg.Beat(PartIntake)
		select {
		case <-g.ending:
			return ErrStopped
		case <-time.After(time.Second):
		}
	}
	g.state.full(false)
	for _, f := range b.after {
		f()
	}
	b.finish(nil)
	g.marks.acked(b.marks)
	if !b.began.IsZero() {
		g.metrics.batch.Observe(time.Since(b.began).Seconds())
	}
	return nil
}

// routeWaiting works out what the messages that wait do to the store, as many of them as b has room for.
func (g *Gateway) routeWaiting(b *batch) {
	list, size := g.queue.take(batchRecords-len(b.dones), batchBytes-b.size)
	if len(list) == 0 {
		return
	}
	if b.began.IsZero() {
		b.began = time.Now()
	}
	b.due = true
	b.size += size
	for _, a := range list {
		b.dones = append(b.dones, a.done)
		g.routeOne(b, a.msg)
	}
}

// seal adds what the messages in b have changed of devices and marks.
func (g *Gateway) seal(b *batch) {
	g.copyPrivate(b)
	b.change.Put = append(b.change.Put, g.devices.flush()...)
	if g.finder != nil {
		b.change.Put = g.finder.host.Flush(b.change.Put)
	}
	if items := g.marks.items(b.marks); items != nil {
		b.change.Put = append(b.change.Put, items...)
		g.idleMarks.Reset(markTime)
	}
}

func (g *Gateway) routeOne(b *batch, m topic.Message) {
	g.metrics.messages.Inc("in")
	if m.QoS > 0 {
		k := mark{client: m.Client, packet: m.PacketID, hash: hash(m)}
		b.marks = append(b.marks, k)
		if g.marks.seen(k, m.Dup) {
			g.metrics.repeated.Inc("packet")
			return
		}
	}
	if g.echo.ours(m) {
		g.metrics.repeated.Inc("echo")
		return
	}
	if !m.Retained {
		g.commands.answered(b, m)
	}
	if g.phoneSaid(m) {
		return
	}
	announced := g.discover(b, m)
	rules := g.rules.Load()
	rule, captures := rules.match(m.Topic)
	if rule != nil && len(m.Topic) > maxTopic {
		g.refuseMessage(m, rule, fmt.Errorf("its topic has %d bytes; %d is the most that becomes a room, a name or a reading", len(m.Topic), maxTopic))
		return
	}
	if rule == nil {
		if !announced && !rules.Wants(m.Topic) {
			g.metrics.unmatched.Inc()
			g.unmatched.add(m)
		}
		return
	}
	s, err := rule.subject(captures)
	if err == nil && !g.rooms.admit(s.room, s.space) {
		err = fmt.Errorf("it would need room number %d; %d is the most", maxRooms+1, maxRooms)
	}
	if err != nil {
		g.refuseMessage(m, rule, err)
		return
	}
	d, changed, err := g.devices.of(&s, rules)
	if err != nil {
		g.refuseMessage(m, rule, err)
		return
	}
	if changed {
		g.know(d)
		b.change.Append = append(b.change.Append, roomRecord(d.Room, d.ID, m.Time))
	}
	if rule.id != nil && !m.Retained {
		switch id, err := rule.id.Render(vars(s, m)); {
		case err != nil:
			g.log.Warn("the rule's id gave an error; the message is taken as new", logkey.Rule, rule.spec.Topic, logkey.Topic, m.Topic, logkey.Error, err)
		case id == "":
		case !g.isNew(b, d.ID, id, m.Time):
			return
		}
	}
	if g.cfg.Cards.Rules {
		g.cards.touch(d.ID, false, m.Time)
	}
	r, posted := d.post(s, m, ids.NewULID(m.Time))
	if posted {
		if r.Class == lane.Alarm {
			r.Post.Mentions = g.who.Load().everybody(d.Space)
		}
		b.change.Append = append(b.change.Append, r)
	}
	g.watch(b, d, s, m, posted)
}

// ownKey begins lane.Record.Key of what gatepost says by itself. What a device says has its topic for a key, and none begins so.
const ownKey = "#"

// roomRecord makes the sender look after a room even when nothing is to be said in it.
func roomRecord(key ids.RoomKey, device ids.DeviceID, now time.Time) lane.Record {
	return lane.Record{Lane: key, ID: ids.NewULID(now), Device: device, Class: lane.State, Key: ownKey + "room", At: now, Post: lane.Post{Kind: lane.Room}}
}

// inside runs f in the router goroutine, which owns devices and commands, and waits until what f put into the batch is
// committed. ErrStopped means that it was not; after the error of ctx it may be yet, and f may be running still.
func (g *Gateway) inside(ctx context.Context, f func(b *batch)) error {
	done := make(chan error, 1)
	select {
	case g.inRouter <- func(b *batch) {
		b.dones = append(b.dones, func(err error) { done <- err })
		f(b)
	}:
	case <-g.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refuseMessage reports a message that a rule matches but that can't be anybody's. It is acknowledged: sent again it would
// fare no better. The owners hear of one for each rule in a while: topics are the devices' to choose.
func (g *Gateway) refuseMessage(m topic.Message, rule *Rule, err error) {
	g.metrics.refused.Inc()
	name, _ := media.Text([]byte(m.Topic), maxTopicShown)
	why, _ := media.Text([]byte(err.Error()), 2*maxTopicShown)
	g.log.Warn("message refused", logkey.Topic, name, logkey.Rule, rule.spec.Topic, logkey.Reason, why)
	g.unmatched.add(m)
	g.Alert("A message on "+name+" was refused: "+why, "refused "+rule.spec.Topic)
}
