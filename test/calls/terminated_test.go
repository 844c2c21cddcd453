//go:build linux && interop

package calls

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// gatePlace is alice's client, a device for which the gateway is the party of calls, and the chat of the two.
type gatePlace struct {
	w      *world
	alice  *phone
	box    *box
	room   string
	button *device.Client
}

// here lists the addresses of this machine, where a browser is that does not use loopback, as YAML.
func here(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	must(t, err)
	list := []string{`"127.0.0.0/8"`}
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && !ip.IP.IsLoopback() {
			list = append(list, fmt.Sprintf("%q", ip.IP.String()+"/32"))
		}
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// keysRule gives keys of the dial pad commands of a device: 9 opens it, 0 is dangerous.
func keysRule(device string) string {
	return fmt.Sprintf(`  keys: {"9": unlock, "0": reset}
  commands:
    - {name: unlock, topic: %[1]s/lock/set, payload: UNLOCK}
    - {name: reset, topic: %[1]s/lock/set, payload: RESET, grade: dangerous}
`, device)
}

// lodgeRule is a device whose calls are in Opus.
const lodgeRule = `
- topic: lodge/{reading}
  device: lodge
  name: Lodge
  class: event
  call: {announce: "tone:1000"}
`

// hutRule is a device that plays a tone to callers, for a short time only.
const hutRule = `
- topic: hut/{reading}
  device: hut
  name: Hut
  class: event
  call: {announce: "tone:1000"}
  max_call: 10s
`

// newGate has everything running.
func newGate(t *testing.T, b *browser) *gatePlace {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	ports, err := harness.FreePorts(2)
	must(t, err)
	g, peers := &gatePlace{}, here(t)
	g.w = setting{
		rules: boxRule("127.0.0.1", conn.LocalAddr().(*net.UDPAddr).Port, ports[0]) + keysRule("gate") + lodgeRule + keysRule("lodge") + hutRule,
		extra: func(w *world) string {
			return fmt.Sprintf("turn: {listen: [\"udp://%s\"], realm: example.org, secret: a secret of the test, public_ip: [127.0.0.1], relay_ports: 52300-52500, allow_peers: %s}\n"+
				"calls: {listen_udp: \":%d\", allow_peers: %s}\n", w.relay, peers, ports[1], peers)
		},
	}.begin(t)
	g.box = newBox(t, conn, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: ports[0]})
	g.button = g.w.client("button")
	g.press(t, "gate/state")
	g.alice = g.w.phone(b, "alice")
	g.room = g.w.chatWith(g.alice, "gate")
	return g
}

// client is a device that publishes, until the test ends.
func (w *world) client(id string) *device.Client {
	w.t.Helper()
	return w.online(device.Config{ClientID: id})
}

// online has a device there until the test ends.
func (w *world) online(config device.Config) *device.Client {
	w.t.Helper()
	config.Addr = w.broker
	c, err := device.New(config)
	must(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx) // Online says when it can't
	}()
	w.t.Cleanup(func() { cancel(); <-done })
	must(w.t, c.Online(w.ctx))
	return c
}

// hears gives what is published on a topic, until the test ends.
func (w *world) hears(id, topic string) <-chan string {
	w.t.Helper()
	heard := make(chan string, 100)
	w.online(device.Config{ClientID: id, Subscribe: []string{topic}, OnMessage: func(m device.Message) { heard <- string(m.Payload) }})
	return heard
}

// ordered waits for the next order that a device is given.
func (g *gatePlace) ordered(t *testing.T, orders <-chan string, want string) {
	t.Helper()
	select {
	case got := <-orders:
		if got != want {
			t.Errorf("the device is told %q, want %q", got, want)
		}
	case <-time.After(patience):
		known, err := g.w.gate.Do(g.w.ctx, "commands")
		t.Errorf("the device is told nothing, want %q; commands: %s%v", want, known.Stdout, err)
	}
}

func (g *gatePlace) press(t *testing.T, topic string) {
	t.Helper()
	must(t, g.button.Publish(g.w.ctx, device.Message{Topic: topic, Payload: []byte("pressed"), QoS: 1}))
}

// begin makes t answer for what fails.
func (g *gatePlace) begin(t *testing.T) { g.alice.t, g.box.t = t, t }

// place calls the device.
func (g *gatePlace) place() string {
	g.alice.t.Helper()
	var placed struct{ Call string }
	g.alice.do("place", map[string]any{"room": g.room, "video": false}, &placed)
	return placed.Call
}

// call is a call of alice's that both take part in.
func (g *gatePlace) call(t *testing.T) {
	t.Helper()
	g.begin(t)
	g.place()
	g.talking(g.alice)
}

// dial presses a key of alice's dial pad.
func (g *gatePlace) dial(key string) {
	g.alice.t.Helper()
	var can struct {
		Can bool
		SDP string
	}
	g.alice.do("press", map[string]any{"key": key}, &can)
	if !can.Can {
		g.alice.t.Fatalf("the client can't send keys; the gateway's answer is\n%s", can.SDP)
	}
}

// dials calls a device and presses the keys of its commands: one that runs at once, and a dangerous one, which does not before #.
func (g *gatePlace) dials(t *testing.T, room, codec string, orders <-chan string) {
	t.Helper()
	g.alice.do("place", map[string]any{"room": room, "video": false}, nil)
	s := g.alice.sees("the call connected, with the device's tone", func(s seen) bool { return s.State == "connected" && near(s.Hertz, doorTone) && s.Codec != "" })
	if s.Codec != codec {
		t.Errorf("the person speaks %s, not %s", s.Codec, codec)
	}
	before := g.said("unlock")
	g.dial("9")
	g.ordered(t, orders, "UNLOCK")
	until(t, "the room to be told", func() bool { return g.said("unlock") > before })
	g.dial("0") // taken back by the next
	g.dial("9")
	g.ordered(t, orders, "UNLOCK")
	before = g.said("reset")
	g.dial("0")
	g.dial("#")
	g.ordered(t, orders, "RESET")
	until(t, "the room to be told", func() bool { return g.said("reset") > before })
	g.hangup(g.alice)
}

// joins has alice in the room of a device.
func (g *gatePlace) joins(device string) {
	g.alice.t.Helper()
	until(g.alice.t, "alice in the room of the "+device, func() bool {
		r, err := g.w.gate.Do(g.w.ctx, "devices", "--json")
		must(g.alice.t, err)
		var all []struct {
			ID     string `json:"id"`
			RoomID string `json:"room_id"`
		}
		must(g.alice.t, json.Unmarshal([]byte(r.Stdout), &all))
		g.alice.do("accept", nil, nil)
		for _, d := range all {
			if d.ID == device && d.RoomID != "" {
				var there struct{ Membership string }
				g.alice.do("joined", map[string]any{"room": d.RoomID, "user": g.w.user("alice")}, &there)
				return there.Membership == "join"
			}
		}
		return false
	})
}

// said is how often alice reads that a command of hers in a call was sent.
func (g *gatePlace) said(command string) int {
	g.alice.t.Helper()
	var said struct{ Times int }
	g.alice.do("said", map[string]any{"text": fmt.Sprintf("“%s”, asked for by %s in a call: 📤 sent.", command, g.w.user("alice"))}, &said)
	return said.Times
}

// ring is a call of the device's that rings at alice's.
func (g *gatePlace) ring(t *testing.T) {
	t.Helper()
	g.begin(t)
	before := g.alice.report().Incoming
	g.press(t, "gate/button")
	g.alice.rings(before + 1)
}

// talking waits until both hear each other.
func (g *gatePlace) talking(p *phone) {
	p.t.Helper()
	p.sees("the call connected, with the device's tone", func(s seen) bool { return s.State == "connected" && near(s.Hertz, doorTone) })
	g.box.hears(personTone)
}

// hangup ends the call, and waits until the gateway knows.
func (g *gatePlace) hangup(p *phone) {
	p.t.Helper()
	p.do("hangup", nil, nil)
	g.ended(p)
}

func (g *gatePlace) ended(p *phone) seen {
	p.t.Helper()
	s := p.sees("the end", func(s seen) bool { return s.State == "ended" })
	until(p.t, "the gateway to know that the call is over", func() bool {
		all := g.calls()
		return len(all) > 0 && !slices.ContainsFunc(all, func(state string) bool { return state != "over" })
	})
	g.box.hears(0)
	return s
}

// calls are the states of all calls there were, the latest first.
func (g *gatePlace) calls() (states []string) {
	g.alice.t.Helper()
	r, err := g.w.gate.Do(g.w.ctx, "calls", "--json")
	must(g.alice.t, err)
	var all []struct{ State string }
	must(g.alice.t, json.Unmarshal([]byte(r.Stdout), &all))
	for _, c := range all {
		states = append(states, c.State)
	}
	return states
}

// The gateway is the party of the call, and forwards the sound of a device that speaks plain RTP.
func TestTerminatedCalls(t *testing.T) {
	b := newBrowser(t)
	g := newGate(t, b)
	second := g.w.phone(b, "alice")
	orders := g.w.hears("lock", "+/lock/set")
	g.press(t, "hut/state")
	hut := g.w.chatWith(g.alice, "hut")
	g.press(t, "lodge/state")
	lodge := g.w.chatWith(g.alice, "lodge")
	g.joins("gate")
	g.joins("lodge")
	between(t, "the gateway as the party", []scenario{
		{"call out, hang up", func(t *testing.T) {
			g.call(t)
			g.hangup(g.alice)
		}},
		{"call in", func(t *testing.T) {
			g.ring(t)
			g.alice.do("answer", map[string]any{"video": false}, nil)
			g.talking(g.alice)
			g.hangup(g.alice)
		}},
		{"call in, rejected", func(t *testing.T) {
			g.ring(t)
			g.alice.do("reject", nil, nil)
			g.ended(g.alice)
		}},
		{"call in, unanswered", func(t *testing.T) {
			g.ring(t)
			g.ended(g.alice)
		}},
		{"busy", func(t *testing.T) {
			g.call(t)
			second.t = t
			second.do("place", map[string]any{"room": g.room, "video": false}, nil)
			if s := second.sees("the end of the other call", func(s seen) bool { return s.State == "ended" }); s.Reason != "user_busy" {
				t.Errorf("the reason is %q", s.Reason)
			}
			g.talking(g.alice)
			g.hangup(g.alice)
		}},
		{"hold and unhold", func(t *testing.T) {
			g.call(t)
			g.alice.do("hold", map[string]any{"on": true}, nil)
			g.alice.sees("silence", func(s seen) bool { return s.Held && s.Hertz == 0 && s.State == "connected" })
			g.alice.do("hold", map[string]any{"on": false}, nil)
			g.talking(g.alice)
			g.hangup(g.alice)
		}},
		{"mute", func(t *testing.T) {
			g.call(t)
			g.alice.do("mute", map[string]any{"on": true}, nil)
			g.box.hears(0)
			g.alice.do("mute", map[string]any{"on": false}, nil)
			g.talking(g.alice)
			g.hangup(g.alice)
		}},
		{"DTMF, PCMU", func(t *testing.T) {
			g.begin(t)
			g.dials(t, g.room, "audio/PCMU", orders)
		}},
		{"DTMF, Opus", func(t *testing.T) {
			g.begin(t)
			g.dials(t, lodge, "audio/opus", orders)
		}},
		{"the gateway hangs up", func(t *testing.T) {
			g.begin(t)
			g.alice.do("place", map[string]any{"room": hut, "video": false}, nil)
			g.alice.sees("the call connected, with the announcement", func(s seen) bool { return s.State == "connected" && near(s.Hertz, doorTone) })
			g.ended(g.alice) // after the max_call
		}},
		{"ICE restart", func(t *testing.T) {
			g.call(t)
			before := g.alice.report().Ufrag
			g.alice.do("restart", nil, nil)
			g.alice.sees("other credentials of the gateway's", func(s seen) bool { return s.Ufrag != "" && s.Ufrag != before })
			g.talking(g.alice)
			g.hangup(g.alice)
		}},
		{"glare", func(t *testing.T) {
			g.begin(t)
			g.press(t, "gate/button")
			id := g.place()
			g.talking(g.alice)
			// Whichever came first, the person's call is the one that is left.
			if s := g.alice.report(); s.Call != id {
				t.Errorf("the call %s is connected, not the person's %s", s.Call, id)
			}
			g.hangup(g.alice)
		}},
		{"answered elsewhere", func(t *testing.T) {
			second.t = t
			before := second.report().Incoming
			g.ring(t)
			second.rings(before + 1)
			second.do("answer", map[string]any{"video": false}, nil)
			g.talking(second)
			g.alice.sees("that it was answered elsewhere", func(s seen) bool { return s.State == "ended" })
			g.hangup(second)
		}},
		{"expired invite", func(t *testing.T) {
			g.begin(t)
			before := len(g.calls())
			g.w.gate.Kill()
			_, err := g.alice.evaluate(fmt.Sprintf(`phone.client.sendEvent(%q, "m.call.invite", {version: "1", call_id: "expired%d", party_id: "x", lifetime: 100, offer: {type: "offer", sdp: "v=0\\r\\n"}})`,
				g.room, time.Now().UnixNano()))
			must(t, err)
			over := time.Now().Add(200 * time.Millisecond)
			until(t, "the invite to expire", func() bool { return time.Now().After(over) })
			must(t, g.w.gate.Start(g.w.ctx))
			g.call(t) // nobody is busy with the other one
			if n := len(g.calls()); n != before+1 {
				t.Errorf("%d calls more, one of them was expired", n-before)
			}
			g.hangup(g.alice)
		}},
	})
	useRelay(t, g.w, g.alice, true)
	between(t, "the gateway as the party", []scenario{
		{"call out, relay only", func(t *testing.T) {
			g.call(t)
			if s := g.alice.report(); s.Local != "relay" {
				t.Errorf("the person's candidate is of the type %q", s.Local)
			}
			g.hangup(g.alice)
		}},
		{"call in, relay only", func(t *testing.T) {
			g.ring(t)
			g.alice.do("answer", map[string]any{"video": false}, nil)
			g.talking(g.alice)
			if s := g.alice.report(); s.Local != "relay" {
				t.Errorf("the person's candidate is of the type %q", s.Local)
			}
			g.hangup(g.alice)
		}},
	})
}

// After kill -9 the gateway that is started again hangs up what it finds.
func TestKilledInACall(t *testing.T) {
	g := newGate(t, newBrowser(t))
	var took []time.Duration
	for range runs {
		g.call(t)
		g.w.gate.Kill()
		begin := time.Now()
		must(t, g.w.gate.Start(g.w.ctx))
		g.alice.sees("the hangup", func(s seen) bool { return s.State == "ended" })
		took = append(took, time.Since(begin))
	}
	most := took[0]
	for _, d := range took {
		most = max(most, d)
	}
	harness.Figure(t, fmt.Sprintf("kill -9 during a call: start to the client's hangup, longest of %d", runs), most.Milliseconds(), "ms", "< 2000", most < 2*time.Second)
}
