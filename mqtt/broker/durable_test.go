package broker

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// with gives the option to use a Store.
func with(m *memory) func(*Config) { return func(cfg *Config) { cfg.Store = m } }

// killed is another broker with what the Store of f has at this moment.
func (f *fixture) killed(t testing.TB, change func(*Config)) *fixture {
	t.Helper()
	m := f.memory(t).crash()
	return start(t, func(cfg *Config) {
		if change != nil {
			change(cfg)
		}
		cfg.Store = m
	})
}

func (f *fixture) memory(t testing.TB) *memory {
	t.Helper()
	m, ok := f.cfg.Store.(*memory)
	if !ok {
		t.Fatal("the Store is another one")
	}
	return m
}

func hour() []byte { return binary.BigEndian.AppendUint32([]byte{0x11}, 3600) }

// sent is what a PUBLISH or PUBREL says, for comparisons.
func (p packet) sent() string {
	if p.kind == kindPubrel {
		return fmt.Sprintf("PUBREL %d", p.id())
	}
	dup := ""
	if p.dup() {
		dup = " DUP"
	}
	return fmt.Sprintf("%s %d qos %d%s", p.payload(), p.id(), p.qos(), dup)
}

func (c *raw) next(t testing.TB, n int) (all []string) {
	t.Helper()
	for range n {
		p, err := c.read(patience)
		if err != nil {
			t.Fatalf("after %q: %v", all, err)
		}
		all = append(all, p.sent())
	}
	return all
}

// What was on its way to a client is so after a kill: in order, with its packet ids, DUP where it may have been sent, PUBREL
// where PUBREC had come. What was acknowledged does not come again.
func TestKilledWithMessagesOnTheirWay(t *testing.T) {
	t.Parallel()
	for _, level := range []byte{3, 4, 5} {
		t.Run(fmt.Sprint("level ", level), func(t *testing.T) {
			t.Parallel()
			f := start(t, nil)
			l := login{id: "dev", level: level, props: append(hour(), 0x21, 0, 4)} // receive maximum 4
			c := connect(t, f.addr, l)
			c.subscribe(t, 1, 2, "q/#")
			for i := range 6 {
				if err := f.Publish(t.Context(), "q/x", fmt.Append(nil, i), byte(1+i%2), false); err != nil {
					t.Fatal(err)
				}
			}
			sent := 6
			if level == 5 {
				sent = 4
			}
			c.next(t, sent)
			c.ack(t, 0x40, 1) // PUBACK of 0
			c.ack(t, 0x50, 4) // PUBREC of 3
			if level == 5 {
				if got, want := c.next(t, 2), []string{"4 5 qos 1", "PUBREL 4"}; !slices.Equal(slices.Sorted(slices.Values(got)), want) {
					t.Fatalf("got %q", got)
				}
			} else {
				c.want(t, kindPubrel)
			}
			eventually(t, "the acknowledged is deleted", func() bool { return f.memory(t).rows(inQueue) == 5 })

			f = f.killed(t, nil)
			c, _, present := try(t, f.addr, l)
			if !present {
				t.Error("no session")
			}
			want := []string{"1 2 qos 2 DUP", "2 3 qos 1 DUP", "PUBREL 4", "4 5 qos 1 DUP", "5 6 qos 2 DUP"}
			if level == 5 {
				want = want[:4]
			}
			if got := c.next(t, len(want)); !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			c.quiet(t)
			c.ack(t, 0x40, 3)
			c.ack(t, 0x70, 4) // PUBCOMP
			if level == 5 {
				c.next(t, 1)
			}
			for _, id := range []uint16{2, 6} {
				c.ack(t, 0x50, id)
				c.want(t, kindPubrel)
				c.ack(t, 0x70, id)
			}
			c.ack(t, 0x40, 5)
			eventually(t, "everything is deleted", func() bool { return f.memory(t).rows(inQueue) == 0 })
			if err := f.Publish(t.Context(), "q/x", []byte("new"), 1, false); err != nil {
				t.Fatal(err)
			}
			if got := c.next(t, 1)[0]; got != "new 7 qos 1" {
				t.Errorf("then got %q", got)
			}
		})
	}
}

// What came while a client was away has not been sent: it comes without DUP, also after a kill.
func TestKilledWithAQueue(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	l := login{id: "dev"}
	c := connect(t, f.addr, l)
	c.subscribe(t, 1, 1, "q")
	if err := f.Publish(t.Context(), "q", []byte("sent"), 1, false); err != nil {
		t.Fatal(err)
	}
	c.next(t, 1)
	c.Close()
	m := f.memory(t)
	eventually(t, "it has gone", func() bool {
		var r sessionRecord
		_ = m.View(func(rows Rows) (err error) {
			r, err = decodeSessionRecord(rows.Get(inSessions, []byte("\x00dev")))
			return err
		})
		return len(f.Clients()) == 0 && !r.connected
	})
	const n = 1000 // more than are in memory at a time
	big := strings.Repeat("x", 1000)
	for i := range n {
		if err := f.Publish(t.Context(), "q", fmt.Append(nil, i, big), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	f = f.killed(t, nil)
	c = connect(t, f.addr, l)
	if got := c.next(t, 1)[0]; got != "sent 1 qos 1 DUP" {
		t.Errorf("got %q", got)
	}
	for i := range n {
		p := c.want(t, kindPublish)
		if p.dup() || p.payload() != fmt.Sprint(i, " ", big) && p.payload() != fmt.Sprint(i)+big {
			t.Fatalf("%d: %.20q, DUP %v", i, p.payload(), p.dup())
		}
		c.ack(t, 0x40, p.id())
	}
	c.ack(t, 0x40, 1)
	eventually(t, "everything is deleted", func() bool { return f.memory(t).rows(inQueue) == 0 })
	list := f.Sessions()
	if len(list) != 1 || list[0].Waiting != 0 {
		t.Errorf("sessions: %+v", list)
	}
	s := f.sessions.get("\x00dev")
	eventually(t, "nothing is counted", func() bool { // a moment after the rows have gone
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.count == 0 && s.bytes == 0 && len(s.acked) == 0
	})
}

// The packet ids of a client's QoS 2 messages survive a kill until PUBREL; then they are free.
func TestKilledWithQoS2(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	l := login{id: "dev", level: 5, props: hour()}
	other := login{id: "other"}
	connect(t, f.addr, other).subscribe(t, 1, 2, "#")
	c := connect(t, f.addr, l)
	msg := publish{topic: "want/x", qos: 2, id: 9, payload: "one"}
	c.send(t, c.publish(msg))
	c.want(t, kindPubrec)
	msg.id, msg.payload = 10, "two"
	c.send(t, c.publish(msg))
	c.want(t, kindPubrec)
	c.ack(t, 0x62, 10)
	if p := c.want(t, kindPubcomp); p.code() != 0 {
		t.Errorf("PUBCOMP %x", p.code())
	}
	f = f.killed(t, nil)
	c = connect(t, f.addr, l)
	c.send(t, c.publish(publish{topic: "want/x", qos: 2, id: 9, dup: true, payload: "one"}))
	c.want(t, kindPubrec)
	c.send(t, c.publish(publish{topic: "want/x", qos: 2, id: 10, dup: true, payload: "three"})) // a new one, sent twice
	c.want(t, kindPubrec)
	for _, id := range []uint16{9, 10, 11} {
		c.ack(t, 0x62, id)
		want := byte(0)
		if id == 11 {
			want = packets.ErrPacketIdentifierNotFound.Code
		}
		if p := c.want(t, kindPubcomp); p.code() != want {
			t.Errorf("PUBCOMP %d says %x, want %x", id, p.code(), want)
		}
	}
	var got []string
	for _, p := range connect(t, f.addr, other).next(t, 3) {
		got = append(got, strings.Fields(p)[0])
	}
	if !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Errorf("others got %q", got)
	}
	if n := f.memory(t).rows(inReceived); n != 0 {
		t.Errorf("%d ids are left", n)
	}
}

func TestKilledWithRetainedMessages(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := connect(t, f.addr, login{id: "p", level: 5, clean: true})
	for i, p := range []publish{
		{topic: "r/a", qos: 0, payload: "a"},
		{topic: "r/b", qos: 1, payload: "b"},
		{topic: "r/b", qos: 1, payload: "b2"},
		{topic: "r/c", qos: 1, payload: "c"},
		{topic: "r/c", qos: 1},
		{topic: "r", qos: 2, payload: "root"},
		{topic: "$x/y", qos: 1, payload: "dollar"},
	} {
		p.retain, p.id = true, uint16(i+1)
		c.send(t, c.publish(p))
		if p.qos > 0 {
			c.want(t, map[byte]byte{1: kindPuback, 2: kindPubrec}[p.qos])
		}
	}
	f = f.killed(t, nil)
	for filter, want := range map[string]string{
		"r/#": "root r 2; a r/a 0; b2 r/b 1", "#": "root r 2; a r/a 0; b2 r/b 1", "+/#": "root r 2; a r/a 0; b2 r/b 1", "r/+": "a r/a 0; b2 r/b 1",
		"+": "root r 2", "r": "root r 2", "r/c": "", "$x/#": "dollar $x/y 1", "+/y": "",
	} {
		c := connect(t, f.addr, login{id: "s" + filter, clean: true})
		c.subscribe(t, 1, 2, filter)
		var got []string
		for range len(strings.Split(want, "; ")) {
			if want == "" {
				break
			}
			p := c.want(t, kindPublish)
			if p.flags&1 == 0 {
				t.Errorf("%s: %s is not marked as retained", filter, p.topic())
			}
			got = append(got, fmt.Sprint(p.payload(), " ", p.topic(), " ", p.qos()))
		}
		c.quiet(t)
		slices.SortFunc(got, func(a, b string) int { return strings.Compare(strings.Fields(a)[1], strings.Fields(b)[1]) })
		if s := strings.Join(got, "; "); s != want {
			t.Errorf("%s brought %q, want %q", filter, s, want)
		}
	}
}

// A persistent session gets retained messages of QoS 1 as others: they wait for its acknowledgement, also over a kill.
func TestKilledWithRetainedMessagesOnTheirWay(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	for _, name := range []string{"r/a", "r/b"} {
		if err := f.Publish(t.Context(), name, []byte(name), 1, true); err != nil {
			t.Fatal(err)
		}
	}
	c := connect(t, f.addr, login{id: "dev"})
	c.subscribe(t, 1, 1, "r/+")
	c.next(t, 2)
	c.ack(t, 0x40, 1)
	c.quiet(t)
	f.flush()
	f = f.killed(t, nil)
	c = connect(t, f.addr, login{id: "dev"})
	p := c.want(t, kindPublish)
	if p.sent() != "r/b 2 qos 1 DUP" || p.flags&1 == 0 {
		t.Errorf("got %q flags %x", p.sent(), p.flags)
	}
	c.quiet(t)
}

// After a kill wills are due, unless the client is back in time, or had said goodbye.
func TestKilledWithWills(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	watch := connect(t, f.addr, login{id: "watch"})
	watch.subscribe(t, 1, 1, "want/will/#")
	for _, id := range []string{"gone", "back", "polite", "replaced"} {
		connect(t, f.addr, login{id: id, clean: true, will: "want/will/" + id, willFlags: 1 << 3})
	}
	connect(t, f.addr, login{id: "polite", clean: true, will: "want/will/polite2"}).send(t, []byte{0xE0, 0})
	connect(t, f.addr, login{id: "replaced", clean: true})
	eventually(t, "the goodbye was heard", func() bool { return f.memory(t).rows(inWills) == 2 })
	watch.next(t, 2) // of those who were taken over by a new session
	f = f.killed(t, func(cfg *Config) { cfg.Limits.WillGrace = 200 * time.Millisecond })
	connect(t, f.addr, login{id: "back", clean: true})
	f.await(t, 1)
	eventually(t, "the will is out of the Store", func() bool { return f.memory(t).rows(inWills) == 0 })
	if got := f.delivered(); len(got) != 1 || got[0].Topic != "want/will/gone" || got[0].Client != "\x00gone" {
		t.Errorf("delivered %+v", got)
	}
	watch = connect(t, f.addr, login{id: "watch"})
	seen := map[string]bool{}
	for range 3 {
		seen[watch.want(t, kindPublish).topic()] = true
	}
	if !seen["want/will/gone"] || seen["want/will/back"] {
		t.Errorf("wills: %v", seen)
	}
}

func TestUnsubscribeAndEndSurvive(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	a := login{id: "a", level: 5, props: hour()}
	c := connect(t, f.addr, a)
	c.subscribe(t, 1, 1, "x/#", "y", "$share/g/z")
	c.send(t, frame(0xA2, u16(2), []byte{0}, str("y"), str("none")))
	if p := c.want(t, 11); !slices.Equal(p.body[3:], []byte{0, packets.CodeNoSubscriptionExisted.Code}) {
		t.Errorf("UNSUBACK %x", p.body)
	}
	ends := connect(t, f.addr, login{id: "ends", level: 5, props: hour()})
	ends.subscribe(t, 1, 1, "x/#")
	if err := f.Publish(t.Context(), "x/1", []byte("for two"), 1, false); err != nil {
		t.Fatal(err)
	}
	if m := f.memory(t); m.rows(inMessages) != 1 || m.rows(inReferences) != 1 || m.rows(inQueue) != 2 {
		t.Errorf("a message for two is there %d times in %d queues", m.rows(inMessages), m.rows(inQueue))
	}
	ends.next(t, 1)
	ends.send(t, []byte{0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0}) // session expiry 0
	ends.wantClosed(t)
	m := f.memory(t)
	eventually(t, "the session is deleted", func() bool { return m.rows(inSessions) == 1 && m.rows(inQueue) == 1 && m.rows(inSubscriptions) == 2 })
	f = f.killed(t, nil)
	if list := f.Sessions(); len(list) != 1 || list[0].ID != "a" || list[0].Subscriptions != 2 || list[0].Waiting != 1 || list[0].Protocol != "5" {
		t.Errorf("sessions: %+v", list)
	}
	c = connect(t, f.addr, a)
	p := c.want(t, kindPublish)
	if p.payload() != "for two" {
		t.Errorf("got %q", p.payload())
	}
	c.ack(t, 0x40, p.id())
	m = f.memory(t)
	eventually(t, "everything is deleted", func() bool { return m.rows(inQueue)+m.rows(inMessages)+m.rows(inReferences) == 0 })
	for _, name := range []string{"y", "z"} {
		if err := f.Publish(t.Context(), name, []byte(name), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	if p := c.want(t, kindPublish); p.payload() != "z" {
		t.Errorf("got %q", p.payload())
	}
}

// A clean start ends what was there before, for good.
func TestCleanStartSurvives(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := connect(t, f.addr, login{id: "dev"})
	c.subscribe(t, 1, 1, "x")
	c.Close()
	eventually(t, "it has gone", func() bool { return len(f.Clients()) == 0 })
	for range 600 { // swept in more than one change
		if err := f.Publish(t.Context(), "x", []byte("old"), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	c, _, present := try(t, f.addr, login{id: "dev", clean: true})
	if present {
		t.Error("session present after a clean start")
	}
	c.quiet(t)
	killed := f.killed(t, nil)
	for _, f := range []*fixture{f, killed} { // the sweep may be cut off
		m := f.memory(t)
		eventually(t, "all of it is deleted", func() bool { return m.rows(inQueue)+m.rows(inSubscriptions)+m.rows(inSessions) == 0 })
	}
	if n, _ := killed.subs.counts(); n != 0 {
		t.Errorf("%d subscriptions", n)
	}
}

func TestSessionsExpire(t *testing.T) {
	t.Parallel()
	f := start(t, func(cfg *Config) { cfg.Limits.SessionExpiry = time.Hour })
	minute := login{id: "minute", level: 5, props: []byte{0x11, 0, 0, 0, 60}}
	p, err := dialConnack(t, f, login{id: "day", level: 5, props: []byte{0x11, 0, 1, 0x51, 0x80}})
	if err != nil || !strings.Contains(fmt.Sprintf("%x", p.body), "1100000e10") {
		t.Errorf("CONNACK %x does not lower the expiry to an hour, %v", p.body, err)
	}
	connect(t, f.addr, minute).Close()
	connect(t, f.addr, login{id: "old"}).Close()
	connect(t, f.addr, login{id: "here"})
	eventually(t, "they have gone", func() bool { return len(f.Clients()) == 1 })
	f = f.killed(t, func(cfg *Config) { cfg.Limits.SessionExpiry = time.Hour })
	ids := func() (all []string) {
		for _, c := range f.Sessions() {
			all = append(all, c.ID)
		}
		return all
	}
	now := time.Now()
	f.expire(now.Add(30 * time.Second))
	if got := ids(); len(got) != 4 {
		t.Errorf("after 30 s: %q", got)
	}
	f.expire(now.Add(70 * time.Second))
	if got := ids(); len(got) != 3 || slices.Contains(got, "minute") {
		t.Errorf("after 70 s: %q", got)
	}
	if c, _, present := try(t, f.addr, minute); present || c == nil {
		t.Error("the session that has expired is there")
	}
	f.expire(now.Add(2 * time.Hour))
	if got := ids(); !slices.Equal(got, []string{"minute"}) {
		t.Errorf("after two hours: %q", got)
	}
	eventually(t, "they are deleted", func() bool { return f.memory(t).rows(inSessions) == 1 })
}

func dialConnack(t testing.TB, f *fixture, l login) (packet, error) {
	t.Helper()
	c := dial(t, f.addr)
	c.level = l.level
	c.send(t, l.encode())
	p, err := c.read(patience)
	c.Close()
	return p, err
}

func TestMessagesExpire(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	l := login{id: "dev", level: 5, props: hour()}
	c := connect(t, f.addr, l)
	c.subscribe(t, 1, 1, "x/#")
	c.Close()
	eventually(t, "it has gone", func() bool { return len(f.Clients()) == 0 })
	p := connect(t, f.addr, login{id: "p", level: 5, clean: true})
	for i, seconds := range []byte{0, 100, 10, 200} {
		props := []byte{0x02, 0, 0, 0, seconds}
		if seconds == 0 {
			props = nil
		}
		p.send(t, frame(0x33, str(fmt.Sprint("x/", i)), u16(uint16(i+1)), short(props), []byte("m")))
		p.want(t, kindPuback)
	}
	f = f.killed(t, nil)
	now := time.Now()
	f.expire(now)
	f.expire(now.Add(50 * time.Second))
	if list, n := f.Retained(mustFilter(t, "#"), 10, 1); n != 3 {
		t.Errorf("retained: %+v", list)
	}
	eventually(t, "one is deleted", func() bool { return f.memory(t).rows(inQueue) == 3 && f.memory(t).rows(inRetained) == 3 })
	s := f.sessions.get("\x00dev")
	s.mu.Lock()
	if s.count != 3 || s.nextExpiry < now.Unix()+90 || s.nextExpiry > now.Unix()+110 {
		t.Errorf("%d messages, the next expires in %d s", s.count, s.nextExpiry-now.Unix())
	}
	s.mu.Unlock()
	c = connect(t, f.addr, l)
	var got []string
	for range 3 {
		got = append(got, c.want(t, kindPublish).topic())
	}
	if !slices.Equal(got, []string{"x/0", "x/1", "x/3"}) {
		t.Errorf("got %q", got)
	}
	c.quiet(t)
}

// Receive maximum counts messages of QoS 2 until PUBCOMP.
func TestReceiveMaximumIsKept(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	for _, clean := range []bool{false, true} {
		c := connect(t, f.addr, login{id: "dev", level: 5, clean: clean, props: append(hour(), 0x21, 0, 2)})
		if clean {
			c = connect(t, f.addr, login{id: "dev", level: 5, clean: clean, props: []byte{0x21, 0, 2}})
		}
		c.subscribe(t, 1, 2, "x")
		for i := range 400 { // more than are in memory
			if err := f.Publish(t.Context(), "x", fmt.Append(nil, i), byte(1+i%2), false); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 200 {
			one, two := c.want(t, kindPublish), c.want(t, kindPublish)
			if one.payload() != fmt.Sprint(2*i) || two.payload() != fmt.Sprint(2*i+1) {
				t.Fatalf("round %d: %q, %q", i, one.payload(), two.payload())
			}
			if i%20 == 0 {
				c.quiet(t)
			}
			c.ack(t, 0x50, two.id())
			c.want(t, kindPubrel)
			if i%20 == 0 {
				c.quiet(t)
			}
			c.ack(t, 0x70, two.id())
			c.ack(t, 0x40, one.id())
		}
		c.quiet(t)
	}
}

// Packet ids begin again after 65535, past those that are still on their way.
func TestPacketIDsWrap(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := connect(t, f.addr, login{id: "dev"})
	c.subscribe(t, 1, 1, "x")
	say := func(what string) {
		t.Helper()
		if err := f.Publish(t.Context(), "x", []byte(what), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	say("stays")
	c.next(t, 1)
	s := f.sessions.get("\x00dev")
	s.mu.Lock()
	s.last = packetIDs - 1
	s.mu.Unlock()
	say("a")
	if got := c.next(t, 1)[0]; got != "a 65535 qos 1" {
		t.Errorf("got %q", got)
	}
	say("b") // would be 1 again
	say("c")
	c.quiet(t)
	c.ack(t, 0x40, 1)
	if got := c.next(t, 2); !slices.Equal(got, []string{"b 1 qos 1", "c 2 qos 1"}) {
		t.Errorf("got %q", got)
	}
}

// Rows that make no sense are left out, and what belongs to nothing is deleted.
func TestRestoreOfNonsense(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := connect(t, f.addr, login{id: "dev"})
	c.subscribe(t, 1, 1, "x")
	for i := range 3 {
		if err := f.Publish(t.Context(), "x", fmt.Append(nil, i), 1, true); err != nil {
			t.Fatal(err)
		}
	}
	c.next(t, 3)
	m := f.memory(t).crash()
	for name, b := range m.buckets {
		b.set("x", []byte("nonsense"))
		if name == inQueue || name == inSubscriptions || name == inReceived {
			b.set(string(queueKey(77, 3)), []byte{1})
		}
	}
	m.buckets[inQueue].set(string(queueKey(1, 2)), []byte{rowBody, 0, 9, 9, 9}) // of a body that is not there
	f = start(t, with(m))
	if list := f.Sessions(); len(list) != 1 || list[0].Waiting != 3 {
		t.Errorf("sessions: %+v", list)
	}
	c = connect(t, f.addr, login{id: "dev"})
	if got := c.next(t, 2); !slices.Equal(got, []string{"0 1 qos 1 DUP", "2 3 qos 1 DUP"}) {
		t.Errorf("got %q", got)
	}
	c.quiet(t)
	eventually(t, "what belongs to nothing is deleted", func() bool { return m.rows(inQueue) == 3 }) // 0, 2 and one with a bad key
	c2 := connect(t, f.addr, login{id: "new"})
	c2.subscribe(t, 1, 1, "y")
	if s := f.sessions.get("\x00new"); s.number <= 77 {
		t.Errorf("the number %d is in use", s.number)
	}
}
