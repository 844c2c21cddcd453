package device

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func start(t *testing.T, cfg Config) (context.Context, *Client) {
	t.Helper()
	cfg.ClientID, cfg.Retry = "device", time.Millisecond
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return background(t, c.Run), c
}

// What gatepost's promise is measured with: nothing that was not acknowledged is forgotten, nothing changes its order or
// its packet id, and what was written before is marked.
func TestUnacknowledgedMessagesAreSentAgain(t *testing.T) {
	s := newScripted(t)
	ctx, c := start(t, Config{Addr: s.addr()})
	var acked []<-chan struct{}
	for i := range 4 {
		a, err := c.Send(ctx, Message{Topic: "t", Payload: fmt.Append(nil, i)})
		if err != nil {
			t.Fatal(err)
		}
		acked = append(acked, a)
	}
	p := s.accept(0)
	ids := map[string]uint16{}
	for i := range 4 {
		m, id := p.publish()
		if m.Duplicate || string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("message %d: %+v", i, m)
		}
		ids[string(m.Payload)] = id
	}
	p.puback(ids["1"])
	if err := wait(ctx, acked[1]); err != nil {
		t.Fatal(err)
	}
	c.Cut()
	p = s.accept(0)
	last, err := c.Send(ctx, Message{Topic: "t", Payload: []byte("4")})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"0", "2", "3", "4"} {
		m, id := p.publish()
		if string(m.Payload) != want || m.Duplicate != (want != "4") {
			t.Fatalf("%+v came, %s is next", m, want)
		}
		if before, ok := ids[want]; ok && before != id {
			t.Errorf("message %s had id %d and has %d", want, before, id)
		}
		p.puback(id)
	}
	for _, a := range append(acked, last) {
		if err := wait(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	if connects, resent := c.Counts(); connects != 2 || resent != 3 {
		t.Errorf("%d connections, %d sent again", connects, resent)
	}
}

func TestTheWindowHoldsBack(t *testing.T) {
	s := newScripted(t)
	ctx, c := start(t, Config{Addr: s.addr(), Window: 2})
	p := s.accept(0)
	for range 2 {
		if _, err := c.Send(ctx, Message{Topic: "t"}); err != nil {
			t.Fatal(err)
		}
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Send(done, Message{Topic: "t"}); !errors.Is(err, context.Canceled) {
		t.Fatalf("a third: %v", err)
	}
	_, id := p.publish()
	p.puback(id)
	if _, err := c.Send(ctx, Message{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
}

func TestWhatArrivesIsAcknowledgedAfterwards(t *testing.T) {
	s := newScripted(t)
	got := make(chan Message, 2)
	ctx, c := start(t, Config{Addr: s.addr(), Subscribe: []string{"in/#"}, OnMessage: func(m Message) { got <- m }})
	p := s.accept(0)
	p.suback()
	if err := c.Online(ctx); err != nil {
		t.Fatal(err)
	}
	p.send(publishPacket(Message{Topic: "in/a", Payload: []byte("0")}, 0))
	p.send(publishPacket(Message{Topic: "in/a", Payload: []byte("1"), QoS: 1}, 77))
	if q := p.expect(kindPuback); string(q.body) != "\x00M" {
		t.Errorf("acknowledged %q", q.body)
	}
	for i := range 2 {
		if m := <-got; string(m.Payload) != fmt.Sprint(i) {
			t.Errorf("message %d: %+v", i, m)
		}
	}
	// A subscription is asked for again on each connection.
	c.Cut()
	s.accept(0).suback()
}

func TestQoS0NeedsAConnection(t *testing.T) {
	s := newScripted(t)
	ctx, c := start(t, Config{Addr: s.addr()})
	p := s.accept(0)
	if err := c.Publish(ctx, Message{Topic: "t", Payload: []byte("now")}); err != nil {
		t.Fatal(err)
	}
	if m, _ := p.publish(); m.QoS != 0 || string(m.Payload) != "now" {
		t.Errorf("%+v", m)
	}
}

func TestRefusals(t *testing.T) {
	s := newScripted(t)
	c, err := New(Config{Addr: s.addr(), ClientID: "device", Retry: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(t.Context()) }()
	s.accept(3) // not now: it comes again
	s.accept(5)
	var refused *Refused
	if err := <-done; !errors.As(err, &refused) || refused.Code != 5 {
		t.Errorf("Run ended with %v", err)
	}
	if _, err := New(Config{Addr: s.addr()}); err == nil {
		t.Error("a client without an id")
	}
}

func TestPingsInSilence(t *testing.T) {
	s := newScripted(t)
	start(t, Config{Addr: s.addr(), KeepAlive: time.Second})
	p := s.accept(0)
	p.expect(kindPingreq)
	p.send(packet{kind: kindPingresp})
	p.expect(kindPingreq)
}
