package convention

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// TestHomieOrder: a device of Homie 4 is the same in whatever order its attributes come, and announced once they are all there.
func TestHomieOrder(t *testing.T) {
	c := captures(t, "homie4")[0]
	var messages []topic.Message
	for _, m := range c.messages {
		if strings.HasPrefix(m.Topic, "homie/relay-4/") {
			messages = append(messages, m)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	want := ""
	for range 50 {
		p := newPlayer(t, made(t, "homie4", ""))
		for i, k := range random.Perm(len(messages)) {
			p.play(messages[k])
			if part, ok := p.parts["relay-4"]; ok && i < 12 {
				t.Fatalf("announced after %d messages: %s", i+1, dump(part))
			}
		}
		got := dump(p.parts["relay-4"])
		if want == "" {
			want = got
		}
		if got != want {
			t.Fatalf("another order, another device:\n%s\n%s", want, got)
		}
	}
	if !strings.Contains(want, "reading temperature") || !strings.Contains(want, "command off") {
		t.Errorf("the device is not whole: %s", want)
	}
}

// TestHomieAlerts: an alert is raised once, however often it is replayed, and resolved once.
func TestHomieAlerts(t *testing.T) {
	p := newPlayer(t, made(t, "homie5", ""))
	send := func(payload string) string {
		return dumpAll(p.play(topic.Message{Topic: "homie/5/pump/$alert/dry", Payload: []byte(payload), Retained: true}))
	}
	for i, step := range []struct{ payload, want string }{
		{"", ""}, {"no water", "alarm raised pump dry \"no water\"\n"}, {"no water", ""}, {"still none", ""}, {"", "alarm cleared pump dry\n"}, {"", ""},
	} {
		if got := send(step.payload); got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
}

func TestHomieRange(t *testing.T) {
	for _, tt := range []struct {
		format    string
		low, high float64
		bounds    string // l, h: which there are
		step      float64
	}{
		{"0:100", 0, 100, "lh", 0},
		{"-20.5:120", -20.5, 120, "lh", 0},
		{":10", 0, 10, "h", 0},
		{"5:", 5, 0, "l", 0},
		{"0:10:0.5", 0, 10, "lh", 0.5},
		{"", 0, 0, "", 0},
		{"a:b", 0, 0, "", 0},
		{"0:10:-1", 0, 10, "lh", 0},
		{"0:NaN", 0, 0, "l", 0},
	} {
		low, high, step := homieRange(tt.format)
		if (low != nil) != strings.Contains(tt.bounds, "l") || (high != nil) != strings.Contains(tt.bounds, "h") || step != tt.step {
			t.Errorf("%q: %v %v %v", tt.format, low, high, step)
			continue
		}
		if low != nil && *low != tt.low || high != nil && *high != tt.high {
			t.Errorf("%q: from %v to %v", tt.format, low, high)
		}
	}
}
