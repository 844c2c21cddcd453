package broker

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/gatepost/gatepost/internal/logkey"
)

const (
	willTries = 60 // to deliver one
	willPause = time.Second
)

// will is what a client wants said when it is gone without a goodbye. A nil will is none.
type will struct {
	m      *message      // expires is not set: it counts from when the will is sent
	lives  uint32        // seconds it is kept then; 0: for ever
	delay  time.Duration // before it is sent; a client that is back by then cancels it
	serial uint64        // tells its row in the Store from a later one

	once sync.Once
	gone chan struct{} // closed by who takes it
}

// newWill gives the will of a CONNECT, or nil. With the session ends the delay too.
func newWill(pk *packets.Packet) *will {
	c := &pk.Connect
	if !c.WillFlag {
		return nil
	}
	p := c.WillProperties
	delay := p.WillDelayInterval
	if expiry := pk.Properties.SessionExpiryInterval; expiry != math.MaxUint32 {
		delay = min(delay, expiry)
	}
	w := &will{
		m: &message{
			topic: strings.Clone(c.WillTopic), payload: bytes.Clone(c.WillPayload), // the rest of the CONNECT need not live as long
			qos: c.WillQos, retain: c.WillRetain,
		},
		lives: p.MessageExpiryInterval, delay: time.Duration(delay) * time.Second,
		serial: uint64(time.Now().UnixNano()), gone: make(chan struct{}),
	}
	p.MessageExpiryInterval = 0
	w.m.takeProperties(&p, time.Time{})
	return w
}

// take is true for one caller only: who then sends or drops it.
func (w *will) take() (mine bool) {
	if w != nil {
		w.once.Do(func() { close(w.gone); mine = true })
	}
	return mine
}

// appendWill and decodeWill are the row of a will in the Store.
func appendWill(dst []byte, w *will) []byte {
	for _, v := range []uint64{w.serial, uint64(w.delay / time.Second), uint64(w.lives)} {
		dst = binary.AppendUvarint(dst, v)
	}
	return appendMessage(dst, w.m)
}

func decodeWill(b []byte) (*will, error) {
	d := &decoder{b: b}
	w := &will{serial: d.uvarint(), delay: time.Duration(d.uvarint()&math.MaxUint32) * time.Second, lives: uint32(d.uvarint()), gone: make(chan struct{})}
	if d.bad {
		return nil, errDamaged
	}
	var err error
	w.m, err = decodeMessage(d.b)
	return w, err
}

// wills are those that have not been sent or dropped, by session id. Safe for concurrent use.
type wills struct {
	mu   sync.Mutex
	byID map[string]*will
}

// swap puts w in place (nil: none) and gives what was there.
func (x *wills) swap(id string, w *will) *will {
	x.mu.Lock()
	defer x.mu.Unlock()
	before := x.byID[id]
	if w == nil {
		delete(x.byID, id)
	} else {
		x.byID[id] = w
	}
	return before
}

// get gives the will of a session; nil: there is none.
func (x *wills) get(id string) *will {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.byID[id]
}

// drop forgets w, if it is still there.
func (x *wills) drop(id string, w *will) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byID[id] == w {
		delete(x.byID, id)
	}
}

// storeWill writes the will of a CONNECT, or deletes the one before. Of a Work.
func storeWill(rows Rows, c *conn) error {
	if c.will == nil {
		return rows.Delete(inWills, []byte(c.id))
	}
	return rows.Put(inWills, []byte(c.id), appendWill(nil, c.will))
}

// replaceWill puts the will of c in the place of an earlier connection's, which is dropped when the session goes on, since the
// client is here, and sent at once when a new session begins. It tells whether there was one.
func (b *Broker) replaceWill(c *conn, resumes bool) bool {
	before := b.wills.swap(c.id, c.will)
	if before.take() && !resumes {
		if err := b.publishWill(c.id, before); err != nil && b.news.due("will") {
			b.log.Warn("will could not be delivered", logkey.Client, c.clientID, logkey.Error, err)
		}
	}
	return before != nil
}

// dropWill forgets a will that was taken because its client said goodbye. It is out of the Store then, if there is room.
func (b *Broker) dropWill(id string, w *will) {
	b.wills.drop(id, w)
	b.lazy.ack(ack{will: id, serial: w.serial})
	b.flush()
}

// sendWill sends the will of a connection that has ended, when it is time: after its delay, or with the end of the session
// if that comes first (MQTT 5 section 3.1.3.2.2). When the broker stops, wills stay in the Store: the devices have not gone, we have. They are due after the
// next start.
func (b *Broker) sendWill(c *conn) {
	if c.will == nil || !c.established.Load() {
		return
	}
	s := c.session
	s.mu.Lock()
	delay := min(c.will.delay, s.expiry) // DISCONNECT may have changed expiry
	if s.gone {
		delay = 0
	}
	s.mu.Unlock()
	b.awaitWill(c.id, c.will, delay)
}

func (b *Broker) awaitWill(id string, w *will, delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-b.stopping:
		return
	case <-w.gone:
		return
	case <-timer.C:
	}
	if !b.isStopping() && w.take() {
		b.deliverWill(id, w)
	}
}

// deliverWill sends a will that was taken and forgets it. While Deliver or the Store fails it tries again, for a minute. When
// the broker stops meanwhile, the will stays in the Store.
func (b *Broker) deliverWill(id string, w *will) {
	for try := 1; ; try++ {
		err := b.publishWill(id, w)
		if err == nil {
			break
		}
		if try == willTries {
			b.log.Error("will was given up", logkey.Client, id, logkey.Topic, w.m.topic, logkey.Error, err)
			break
		}
		select {
		case <-b.stopping:
			return
		case <-time.After(willPause):
		}
	}
	b.wills.drop(id, w)
	b.lazy.ack(ack{will: id, serial: w.serial})
}

// publishWill delivers and routes a will that was taken. It blocks like Deliver. An account that has lost the right since
// CONNECT sends nothing.
func (b *Broker) publishWill(id string, w *will) error {
	from := b.sessions.get(id)
	if from == nil {
		from = newSession(id, 0) // that has ended
	}
	if !b.mayPublish(from, w.m.topic) {
		return nil
	}
	m := *w.m
	if w.lives != 0 {
		m.expires = time.Now().Unix() + int64(w.lives)
	}
	if err := b.deliver(id, &m, false, 0); err != nil {
		return err
	}
	return b.route(&m, from, 0)
}

// sendOldWills sends the wills of clients that were connected when the broker ended the last time, unless they come back: a
// moment after the start (MQTT 3.1.1 and 5, section 3.1.2.5, let a server wait so), or after their delay if that is longer.
func (b *Broker) sendOldWills(old map[string]*will) {
	began := time.Now()
	due := func(id string) time.Duration { return max(old[id].delay, b.cfg.Limits.WillGrace) }
	ids := slices.SortedFunc(maps.Keys(old), func(x, y string) int { return cmp.Compare(due(x), due(y)) })
	for _, id := range ids {
		select {
		case <-b.stopping:
			return
		case <-time.After(time.Until(began.Add(due(id)))):
			b.wg.Go(func() { b.awaitWill(id, old[id], 0) })
		}
	}
}
