package mqtt

import (
	"context"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// conn is one connection to the broker, from its CONNECT to the end of the last goroutine that it started.
type conn struct {
	c       *Client
	paho    paho.Client
	wire    *wire // set before CONNECT is written
	resumed bool  // the broker still had our session
	lost    chan error
	acks    *acks

	refused  atomic.Bool   // a message was not taken: no QoS 1 message behind it is delivered, they all come again
	failed   chan struct{} // one token, with refused
	resync   chan chan error
	turn     chan struct{} // one token: whoever has it hands a publish to paho
	finish   chan struct{} // closed: no acknowledgement will follow
	acker    sync.WaitGroup
	callsMu  sync.Mutex
	calls    sync.WaitGroup // of goroutines in paho.Publish
	finished bool           // no new calls
}

// connect makes a connection. A nil error means that the broker let us in.
func (c *Client) connect(ctx context.Context) (*conn, error) {
	cn := &conn{
		c: c, lost: make(chan error, 1), acks: newAcks(), failed: make(chan struct{}, 1),
		resync: make(chan chan error), turn: make(chan struct{}, 1), finish: make(chan struct{}),
	}
	var dialed atomic.Pointer[wire]
	var dialErr error // ours is better than what paho makes of it
	o := cn.options()
	o.SetCustomOpenConnectionFn(func(u *url.URL, _ paho.ClientOptions) (net.Conn, error) {
		raw, err := dial(ctx, c.cfg, u)
		if err != nil {
			dialErr = err
			return nil, err
		}
		cn.wire = newWire(raw, c.in, c.cfg.MaxPayload)
		dialed.Store(cn.wire)
		if ctx.Err() != nil { // ended between dial and Store
			cn.wire.close(ctx.Err())
		}
		return cn.wire, nil
	})
	cn.paho = paho.NewClient(o)
	stop := context.AfterFunc(ctx, func() {
		if w := dialed.Load(); w != nil {
			w.close(ctx.Err())
		}
	})
	token := cn.paho.Connect().(*paho.ConnectToken)
	<-token.Done()
	inTime := stop()
	switch err := token.Error(); {
	case dialErr != nil:
		return nil, dialErr
	case err != nil:
		cn.wire.close(err)
		cn.wire.release()
		if cn.wire.cause != nil && token.ReturnCode() == packets.ErrNetworkError {
			err = cn.wire.cause
		}
		return nil, err
	case !inTime: // let in, but it is over
		cn.abort(ctx.Err())
		return nil, ctx.Err()
	}
	cn.resumed = token.SessionPresent()
	cn.acker.Go(func() { cn.acks.run(cn.wire.closed, cn.finish) })
	return cn, nil
}

// options is how paho is to behave: nothing happens later or again by itself.
func (cn *conn) options() *paho.ClientOptions {
	cfg := cn.c.cfg
	o := paho.NewClientOptions()
	o.Servers = []*url.URL{cn.c.url}
	o.SetClientID(cfg.ClientID).SetUsername(cfg.User).SetPassword(cfg.Password)
	o.SetProtocolVersion(4).SetCleanSession(cn.c.cfg.Clean)
	o.SetKeepAlive(cfg.KeepAlive).SetPingTimeout(pingTimeout).SetConnectTimeout(connectTimeout).SetWriteTimeout(handOver)
	o.SetAutoReconnect(false).SetConnectRetry(false).SetStore(noStore{})
	o.SetAutoAckDisabled(true).SetOrderMatters(true)
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { cn.receive(m) })
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { cn.lost <- err })
	return o
}

// receive takes a message from paho. It never blocks: the wire has taken room for it.
func (cn *conn) receive(m paho.Message) {
	c := cn.c
	size := 2 + len(m.Topic()) + len(m.Payload())
	if m.Qos() > 0 {
		size += 2
	}
	room := cost(size)
	cn.wire.claim(room)
	if m.Qos() == 0 {
		c.accept(cn, m, nil, room)
		return
	}
	c.accept(cn, m, cn.acks.add(m.Ack), room)
}

// accept queues m, or acknowledges and drops it when it is not fit to be delivered. k is nil with QoS 0.
func (c *Client) accept(cn *conn, m paho.Message, k *ack, room int64) {
	drop := ""
	switch {
	case len(m.Payload()) > c.cfg.MaxPayload:
		drop = dropSize
	case topic.ValidTopic(m.Topic()) != nil:
		drop = dropTopic
	}
	if drop != "" {
		c.metrics.dropped.Inc(drop)
		c.dropLog(m.Topic(), drop)
		if k != nil {
			cn.acks.done(k)
		}
		c.in.give(room)
		return
	}
	c.in.put(item{
		message: topic.Message{
			Topic: m.Topic(), Payload: m.Payload(), QoS: m.Qos(), Retained: m.Retained(), Dup: m.Duplicate(), PacketID: m.MessageID(),
			Time: time.Now(),
		},
		cost: room,
		skip: func() bool { return k != nil && cn.refused.Load() },
		done: func(err error) { c.done(cn, k, m.Topic(), err) },
	})
}

// done hears what became of a delivered message.
func (c *Client) done(cn *conn, k *ack, name string, err error) {
	switch {
	case err == nil && k != nil:
		c.refusals.Store(0)
		cn.acks.done(k)
	case err == nil:
		c.refusals.Store(0)
	case k == nil:
		c.metrics.dropped.Inc(dropRefused)
		c.log.Warn("message lost: it could not be stored, and with QoS 0 the broker does not keep it", logkey.Topic, name, logkey.Error, err)
	case cn.refused.CompareAndSwap(false, true):
		c.log.Warn("message not stored, the broker will deliver it again", logkey.Topic, name, logkey.Error, err)
		cn.failed <- struct{}{}
	}
}

// begin counts a goroutine that calls paho; it reports false when the connection has ended.
func (cn *conn) begin() bool {
	cn.callsMu.Lock()
	defer cn.callsMu.Unlock()
	if cn.finished {
		return false
	}
	cn.calls.Add(1)
	return true
}

// bye ends the connection in good order: what is safe is acknowledged, then comes DISCONNECT. It takes about a second
// when the broker does not read any more.
func (cn *conn) bye() {
	late := time.AfterFunc(quiesce, func() { cn.wire.close(errWireClosed) })
	defer late.Stop()
	close(cn.finish)
	cn.acker.Wait()
	cn.paho.Disconnect(uint(quiesce / time.Millisecond))
	cn.wire.close(errWireClosed)
	cn.end()
}

// abort ends the connection at once.
func (cn *conn) abort(cause error) {
	cn.wire.close(cause)
	cn.wait()
	cn.acker.Wait()
	cn.end()
}

// wait returns when paho has noticed that the wire is closed and has stopped what it runs.
func (cn *conn) wait() {
	t := time.NewTimer(handOver)
	defer t.Stop()
	select {
	case err := <-cn.lost:
		cn.lost <- err
	case <-t.C:
	}
}

// end waits for the last goroutine. The wire is closed.
func (cn *conn) end() {
	cn.paho.Disconnect(uint(handOver / time.Millisecond)) // when there is nothing left to stop it returns at once
	cn.callsMu.Lock()
	cn.finished = true
	cn.callsMu.Unlock()
	cn.calls.Wait()
	cn.wire.release()
}

// why says what ended the connection, after wait.
func (cn *conn) why() error {
	if cn.wire.cause != nil {
		return cn.wire.cause
	}
	select {
	case err := <-cn.lost: // paho gave up
		return err
	default:
		return errWireClosed
	}
}

// noStore keeps nothing: paho must never send again what belongs to a connection that is gone.
type noStore struct{}

func (noStore) Open()                             {}
func (noStore) Put(string, packets.ControlPacket) {}
func (noStore) Get(string) packets.ControlPacket  { return nil }
func (noStore) All() []string                     { return nil }
func (noStore) Del(string)                        {}
func (noStore) Close()                            {}
func (noStore) Reset()                            {}
