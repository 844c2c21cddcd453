package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"time"
)

// firehose is an outside broker for one client, made to be no limit: once the client has subscribed and pour is called, it
// delivers messages with QoS 1 as fast as they are acknowledged, with a bounded number under way.
type firehose struct {
	listener net.Listener
	ready    chan *mqttConn // the client, once it has subscribed
}

func newFirehose() (*firehose, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &firehose{listener: l, ready: make(chan *mqttConn, 1)}
	go f.serve()
	return f, nil
}

func (f *firehose) url() string  { return "mqtt://" + f.listener.Addr().String() }
func (f *firehose) close() error { return f.listener.Close() }

func (f *firehose) serve() {
	for {
		nc, err := f.listener.Accept()
		if err != nil {
			return
		}
		c := newConn(nc)
		if f.greet(c) == nil {
			f.ready <- c
		}
	}
}

// greet answers CONNECT and the first SUBSCRIBE.
func (f *firehose) greet(c *mqttConn) error {
	if _, err := c.await(connect); err != nil {
		return err
	}
	if _, err := c.Write([]byte{connack, 2, 0, 0}); err != nil {
		return err
	}
	body, err := c.await(subscribe & 0xF0)
	if err != nil {
		return err
	}
	return f.grant(c, body)
}

// grant answers a SUBSCRIBE with what it asks for.
func (f *firehose) grant(c *mqttConn, body []byte) error {
	ack := append([]byte(nil), body[:2]...)
	for rest := body[2:]; len(rest) > 2; {
		n := 2 + int(binary.BigEndian.Uint16(rest))
		ack = append(ack, rest[n])
		rest = rest[n+1:]
	}
	_, err := c.Write(appendPacket(nil, suback, ack))
	return err
}

// pour delivers n messages, made by message, with at most window of them not acknowledged, and returns the time from the
// first PUBLISH to the last PUBACK.
func (f *firehose) pour(ctx context.Context, n, window int, message func(i int) (topic string, payload []byte)) (time.Duration, error) {
	var c *mqttConn
	select {
	case c = <-f.ready:
	case <-ctx.Done():
		return 0, fmt.Errorf("nobody subscribed: %w", ctx.Err())
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()

	var mu sync.Mutex
	more := sync.NewCond(&mu)
	acked, failed := 0, error(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			first, body, err := c.read()
			mu.Lock()
			switch {
			case err != nil:
				failed = err
			case first == puback:
				acked++
			case first == subscribe:
				failed = f.grant(c, body)
			case first == pingreq:
				_, failed = c.Write([]byte{pingresp, 0})
			}
			end := failed != nil || acked == n
			more.Signal()
			mu.Unlock()
			if end {
				return
			}
		}
	}()

	start := time.Now()
	var out []byte
	for i := 0; i < n; {
		mu.Lock()
		for failed == nil && i-acked >= window {
			more.Wait()
		}
		k, err := min(n, acked+window), failed
		mu.Unlock()
		if err != nil {
			return 0, err
		}
		out = out[:0]
		for ; i < k && len(out) < 16<<10; i++ {
			topic, payload := message(i)
			out = appendPublish(out, topic, uint16(i%60000+1), payload)
		}
		if _, err := c.Write(out); err != nil {
			return 0, err
		}
	}
	<-done
	mu.Lock()
	defer mu.Unlock()
	if acked < n {
		return 0, fmt.Errorf("%d of %d were acknowledged: %w", acked, n, failed)
	}
	return time.Since(start), nil
}
