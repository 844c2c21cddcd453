//go:build linux && interop

package calls

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/harness"
	"github.com/gatepost/gatepost/test/turn/nat"
)

// cutTime is for how long no UDP gets through.
const cutTime = 20 * time.Second

// The person's network lets no UDP out for a while, in the middle of a call to a device for which the gateway speaks. The browser
// goes on through the relay over TCP; how long is nothing heard, on either side?
func TestUDPCutInACall(t *testing.T) {
	if err := nat.Check(); err != nil {
		if errors.Is(err, nat.ErrMissing) {
			absent(t, err.Error())
		}
		t.Fatal(err)
	}
	n, err := nat.Up(t.Context(), nat.Cone)
	must(t, err)
	t.Cleanup(func() { must(t, n.Down()) })
	const talk, audio = 5006, 5004
	conn, err := n.ListenPacket(t.Context(), "wan", "udp4", fmt.Sprintf("127.0.0.1:%d", talk))
	must(t, err)
	w := behindWith(t, n, boxRule("127.0.0.1", talk, audio), []string{"udp", "tcp"})
	box := newBox(t, conn, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: audio})
	g := &gatePlace{w: w, box: box, button: w.client("button")}
	g.press(t, "gate/state")
	on := func(ctx context.Context, name string, args ...string) *exec.Cmd {
		return n.Command(ctx, "a", name, args...)
	}
	page, err := n.Listen(t.Context(), "wan", "tcp", nat.Server+":8000")
	must(t, err)
	b := startBrowser(t, on, page, "--unsafely-treat-insecure-origin-as-secure=http://"+nat.Server+":8000")
	u, err := url.Parse(w.hs.URL())
	must(t, err)
	_, port, err := net.SplitHostPort(u.Host)
	must(t, err)
	g.alice = b.phone(t, "http://"+net.JoinHostPort(nat.Server, port), "alice", "secret of alice")
	g.room = w.chatWith(g.alice, "gate")
	useRelay(t, w, g.alice, false)
	g.call(t)

	must(t, n.CutUDP(t.Context(), "a"))
	began := time.Now()
	heard, silence := began, time.Duration(0) // at the person's
	states, mended := map[string]bool{}, false
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ; time.Since(began) < cutTime+10*time.Second; <-tick.C {
		if !mended && time.Since(began) > cutTime {
			must(t, n.MendUDP(t.Context(), "a"))
			mended = true
		}
		s := g.alice.report()
		states[s.State+" "+s.Local] = true
		if near(s.Hertz, doorTone) {
			silence, heard = max(silence, time.Since(heard)), time.Now()
		}
	}
	silence = max(silence, time.Since(heard))
	quiet := box.silence(began, time.Now())
	t.Logf("the person's client was %v", states)
	if !states["connected relay"] {
		t.Error("the person's client never went through the relay")
	}
	g.talking(g.alice)
	g.hangup(g.alice)
	harness.Figure(t, "UDP cut for 20 s in a call: silence at the person's", fmt.Sprintf("%.1f", silence.Seconds()), "s", "< 5", silence < 5*time.Second)
	harness.Figure(t, "UDP cut for 20 s in a call: silence at the device's", fmt.Sprintf("%.1f", quiet.Seconds()), "s", "< 5", quiet < 5*time.Second)
}
