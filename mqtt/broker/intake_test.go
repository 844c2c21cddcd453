package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// The acknowledgement of each QoS and version comes after Deliver has returned, and not before.
func TestAcknowledgedAfterDeliver(t *testing.T) {
	t.Parallel()
	for _, level := range []byte{3, 4, 5} {
		for qos := byte(1); qos <= 2; qos++ {
			t.Run(fmt.Sprintf("level %d QoS %d", level, qos), func(t *testing.T) {
				taken, release := make(chan topic.Message), make(chan struct{})
				f := start(t, func(cfg *Config) {
					cfg.Deliver = func(_ context.Context, m topic.Message) error {
						taken <- m
						<-release
						return nil
					}
				})
				c := connect(t, f.addr, login{id: "dev", level: level, clean: true})
				watch := connect(t, f.addr, login{id: "watch", clean: true})
				watch.subscribe(t, 1, 0, "#")
				before := time.Now()
				c.send(t, c.publish(publish{topic: "want/a", qos: qos, id: 77, payload: "hello"}))
				m := <-taken
				if m.Time.Before(before) || time.Since(m.Time) > time.Minute {
					t.Errorf("time %v", m.Time)
				}
				m.Time = time.Time{}
				if want := (topic.Message{Topic: "want/a", Payload: m.Payload, QoS: qos, PacketID: 77, Client: "\x00dev"}); fmt.Sprint(m) != fmt.Sprint(want) || string(m.Payload) != "hello" {
					t.Errorf("delivered %+v, want %+v", m, want)
				}
				watch.quiet(t) // nobody else has it yet
				if p, err := c.read(20 * time.Millisecond); err == nil {
					t.Fatalf("packet type %d before the commit", p.kind)
				}
				close(release)
				if qos == 1 {
					if p := c.want(t, kindPuback); p.id() != 77 || p.code() != 0 {
						t.Errorf("PUBACK % x", p.body)
					}
				} else {
					if p := c.want(t, kindPubrec); p.id() != 77 || p.code() != 0 {
						t.Errorf("PUBREC % x", p.body)
					}
					c.ack(t, 0x62, 77)
					c.want(t, kindPubcomp)
				}
				if p := watch.want(t, kindPublish); p.topic() != "want/a" || p.payload() != "hello" {
					t.Errorf("routed %q %q", p.topic(), p.payload())
				}
			})
		}
	}
}

func TestDeliverOnlyWhatIsWanted(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := connect(t, f.addr, login{id: "dev", clean: true})
	c.subscribe(t, 1, 0, "#")
	for i, name := range []string{"other/a", "want/a", "wanted"} {
		c.send(t, c.publish(publish{topic: name, qos: 0, payload: "x"}))
		if p := c.want(t, kindPublish); p.topic() != name {
			t.Errorf("routed %q, want %q", p.topic(), name)
		}
		c.send(t, c.publish(publish{topic: name, qos: 1, id: uint16(i + 1), payload: "x"}))
		c.wantOwn(t)
	}
	if got := f.delivered(); len(got) != 2 || got[0].QoS != 0 || got[0].PacketID != 0 || got[1].QoS != 1 {
		t.Errorf("delivered %+v, want want/a twice", got)
	}
}

func TestOrderAndPipelining(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := connect(t, f.addr, login{id: "dev", clean: true})
	const n = 300
	var all []byte
	for i := range n {
		all = append(all, c.publish(publish{topic: "want/n", qos: byte(i % 2), id: uint16(i + 1), payload: fmt.Sprint(i)})...)
	}
	c.send(t, all)
	for i, m := range f.await(t, n) {
		if string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, m.Payload)
		}
	}
	for i := 1; i < n; i += 2 {
		if p := c.want(t, kindPuback); p.id() != uint16(i+1) {
			t.Fatalf("PUBACK %d, want %d", p.id(), i+1)
		}
	}
}

func TestDeliverErrorEndsTheConnection(t *testing.T) {
	t.Parallel()
	for _, level := range []byte{4, 5} {
		for qos := range byte(3) {
			t.Run(fmt.Sprintf("level %d QoS %d", level, qos), func(t *testing.T) {
				f := start(t, nil)
				watch := connect(t, f.addr, login{id: "watch", clean: true})
				watch.subscribe(t, 1, 0, "#")
				f.setFail(errors.New("no space"))
				c := connect(t, f.addr, login{id: "dev", level: level})
				c.send(t, c.publish(publish{topic: "want/a", qos: qos, retain: true, id: min(uint16(qos), 1) * 9, payload: "x"}))
				if level == 5 {
					if p := c.want(t, kindDisconnect); p.body[0] != 0x89 {
						t.Errorf("DISCONNECT reason %x, want 89 (server busy)", p.body[0])
					}
				}
				c.wantClosed(t)
				watch.quiet(t) // neither routed
				late := connect(t, f.addr, login{id: "late", clean: true})
				late.subscribe(t, 1, 0, "#") // nor retained
				late.quiet(t)
				if qos == 0 {
					return
				}
				f.setFail(nil)
				c = connect(t, f.addr, login{id: "dev", level: level})
				c.send(t, c.publish(publish{topic: "want/a", qos: qos, dup: true, id: 9, payload: "x"}))
				if qos == 1 {
					c.want(t, kindPuback)
				} else {
					c.want(t, kindPubrec)
				}
				if got := f.delivered(); len(got) != 1 || !got[0].Dup || got[0].PacketID != 9 {
					t.Errorf("delivered %+v, want it once, with DUP", got)
				}
			})
		}
	}
}

// A QoS 2 message that is sent again before its PUBREL is delivered once, also over a reconnect.
func TestQoS2DeliveredOnce(t *testing.T) {
	t.Parallel()
	for _, level := range []byte{4, 5} {
		f := start(t, nil)
		l := login{id: "dev", level: level, props: []byte{0x11, 0, 0, 0, 60}}
		c := connect(t, f.addr, l)
		msg := publish{topic: "want/a", qos: 2, id: 5, payload: "x"}
		c.send(t, c.publish(msg))
		c.want(t, kindPubrec)
		msg.dup = true
		c.send(t, c.publish(msg))
		if p := c.want(t, kindPubrec); p.code() >= 0x80 {
			t.Errorf("level %d: PUBREC of a resend says %x", level, p.code())
		}
		c.Close()
		c, code, present := try(t, f.addr, l)
		if code != 0 || !present {
			t.Fatalf("level %d: CONNACK %d, session present %v", level, code, present)
		}
		c.send(t, c.publish(msg))
		c.want(t, kindPubrec)
		c.ack(t, 0x62, 5)
		c.want(t, kindPubcomp)
		if n := len(f.delivered()); n != 1 {
			t.Errorf("level %d: delivered %d times", level, n)
		}
		msg.dup = false // the id is free again
		c.send(t, c.publish(msg))
		c.want(t, kindPubrec)
		if n := len(f.delivered()); n != 2 {
			t.Errorf("level %d: delivered %d times after the handshake, want 2", level, n)
		}
	}
}

func TestRetainedIsDeliveredLiveAndOnce(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := connect(t, f.addr, login{id: "dev", clean: true})
	c.send(t, c.publish(publish{topic: "want/a", qos: 1, retain: true, id: 1, payload: "x"}))
	c.want(t, kindPuback)
	for i := range 2 { // subscribers get it, Deliver does not
		late := connect(t, f.addr, login{id: fmt.Sprint("late", i), clean: true})
		late.subscribe(t, 1, 0, "want/+")
		if p := late.want(t, kindPublish); p.payload() != "x" || p.flags&1 == 0 {
			t.Errorf("retained %q flags %x", p.payload(), p.flags)
		}
	}
	c.send(t, c.publish(publish{topic: "want/a", qos: 1, retain: true, id: 2}))
	c.want(t, kindPuback)
	late := connect(t, f.addr, login{id: "late", clean: true})
	late.subscribe(t, 1, 0, "want/+")
	late.quiet(t)
	got := f.delivered()
	if len(got) != 2 || got[0].Retained || got[1].Retained || string(got[0].Payload) != "x" || len(got[1].Payload) != 0 {
		t.Errorf("delivered %+v, want the value and its deletion, both live", got)
	}
}

// What topics there may be, as mosquitto has it.
func TestTopics(t *testing.T) {
	t.Parallel()
	f := start(t, func(cfg *Config) { cfg.Wants = nil })
	for _, tc := range []struct {
		topic, filter string
		routed        bool
	}{
		{"zigbee2mqtt/Living room lamp", "zigbee2mqtt/+", true},
		{"ü/日本/😀", "ü/#", true},
		{"a//b", "a/+/b", true},
		{"a//b", "a/b", false},
		{"/a/", "/+/", true},
		{"/", "+/+", true},
		{"a.b*c>d", "a.b*c>d", true},
		{"tab\there", "#", true},
		{"a", "a/#", true},
		{"A/b", "a/b", false},
		{"$x/y", "$x/#", true},
		{"$x/y", "#", false},
		{"$x/y", "+/y", false},
		{strings.Repeat("l/", 2000), "#", true},
	} {
		c := connect(t, f.addr, login{id: "c", clean: true})
		if codes := c.subscribe(t, 1, 1, tc.filter); codes[0] != 1 {
			t.Errorf("%q: SUBACK %x", tc.filter, codes)
		}
		before := len(f.delivered())
		c.send(t, c.publish(publish{topic: tc.topic, qos: 1, id: 9, payload: "x"}))
		if tc.routed {
			if p := c.wantOwn(t); p.topic() != tc.topic {
				t.Errorf("%.40q via %q: got %q", tc.topic, tc.filter, p.topic())
			}
		} else {
			c.want(t, kindPuback)
			c.quiet(t)
		}
		if got := f.delivered(); len(got) != before+1 || got[before].Topic != tc.topic {
			t.Errorf("%.40q: not delivered", tc.topic)
		}
	}
}

func TestForbiddenTopics(t *testing.T) {
	t.Parallel()
	f := start(t, func(cfg *Config) { cfg.Wants = nil })
	for _, name := range []string{"$SYS/broker/x", "$sys/x", "$SYS"} {
		c := connect(t, f.addr, login{id: "old", clean: true})
		c.send(t, c.publish(publish{topic: name, payload: "x"}))
		c.quiet(t) // QoS 0 is dropped
		c.send(t, c.publish(publish{topic: name, qos: 1, id: 1, payload: "x"}))
		c.wantClosed(t) // 3.1.1 has no other way to say no
		c = connect(t, f.addr, login{id: "new", level: 5, clean: true})
		c.send(t, c.publish(publish{topic: name, qos: 1, id: 1, payload: "x"}))
		if p := c.want(t, kindPuback); p.code() != 0x87 {
			t.Errorf("%s: PUBACK code %x, want 87", name, p.code())
		}
		c.send(t, c.publish(publish{topic: name, qos: 2, id: 2, payload: "x"}))
		if p := c.want(t, kindPubrec); p.code() != 0x87 {
			t.Errorf("%s: PUBREC code %x, want 87", name, p.code())
		}
	}
	for _, name := range []string{"a/+", "#", "nul\x00x", "\xff\xfe", ""} {
		c := connect(t, f.addr, login{id: "old", clean: true})
		c.send(t, c.publish(publish{topic: name, qos: 1, id: 1, payload: "x"}))
		c.wantClosed(t)
	}
	c := connect(t, f.addr, login{id: "old", clean: true})
	if codes := c.subscribe(t, 1, 1, "a+/b", "a/#/b", "a/b#", "$share/g", "$share/+/a", "ok"); string(codes) != "\x80\x80\x80\x80\x80\x01" {
		t.Errorf("SUBACK % x, want 80 for all but the last", codes)
	}
	if got := f.delivered(); len(got) != 0 {
		t.Errorf("delivered %v", got)
	}
}

func TestPayloadLimit(t *testing.T) {
	t.Parallel()
	f := start(t, func(cfg *Config) { cfg.MaxPayload = 1000 })
	c := connect(t, f.addr, login{id: "dev", level: 5, clean: true})
	c.send(t, c.publish(publish{topic: "want/a", qos: 1, id: 1, payload: strings.Repeat("x", 1000)}))
	c.want(t, kindPuback)
	c.send(t, c.publish(publish{topic: "want/a", qos: 1, id: 2, payload: strings.Repeat("x", 1001)}))
	if p := c.want(t, kindDisconnect); p.body[0] != 0x95 {
		t.Errorf("DISCONNECT reason %x, want 95 (packet too large)", p.body[0])
	}
	c.wantClosed(t)
	c = connect(t, f.addr, login{id: "dev", clean: true})
	c.send(t, []byte{0x30, 0xff, 0xff, 0xff, 0x7f}) // claims 256 MB
	c.wantClosed(t)
	if n := len(f.delivered()); n != 1 {
		t.Errorf("delivered %d messages, want 1", n)
	}
}
