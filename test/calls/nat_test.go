//go:build linux && interop

package calls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gatepost/gatepost/test/harness"
	"github.com/gatepost/gatepost/test/turn/nat"
)

// Where things are that both sides reach.
const (
	publicRelay = nat.Server + ":3478"
	publicMedia = nat.Server + ":50000"
)

// hall is a second device, for which the gateway itself speaks.
const hall = `
- topic: hall/state
  device: hall
  name: Hall
  class: event
  call: {announce: "tone:1000"}
`

// behind has homeserver and gatepost in the middle of a world of NATs; alice's browser is to be on side a, the door on side b.
func behind(t *testing.T, n *nat.World) *world {
	t.Helper()
	transport := "udp"
	if n.Kind == nat.NoUDP {
		transport = "tcp"
	}
	return behindWith(t, n, hall, []string{transport})
}

// behindWith is the same with other devices, and with a relay that is reached in other ways.
func behindWith(t *testing.T, n *nat.World, rules string, transports []string) *world {
	t.Helper()
	bin := t.TempDir()
	programs, err := filepath.Abs(binaries)
	must(t, err)
	for _, name := range []string{"dendrite", "gatepost"} {
		script := fmt.Sprintf("#!/bin/sh\nexec ip netns exec %s %s \"$@\"\n", n.Netns("wan"), filepath.Join(programs, name))
		must(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700))
	}
	must(t, os.Symlink(filepath.Join(programs, "generate-keys"), filepath.Join(bin, "generate-keys")))
	var listen []string
	for _, transport := range transports {
		listen = append(listen, fmt.Sprintf("%q", transport+"://"+publicRelay))
	}
	return setting{
		bin: bin, rules: rules,
		extra: func(*world) string {
			return fmt.Sprintf("turn: {listen: [%s], realm: example.org, secret: a secret of the test, public_ip: [%s], relay_ports: 52000-52200, allow_peers: [%q]}\n"+
				"calls: {listen_udp: %q, interfaces: [lo], allow_peers: [%q]}\n", strings.Join(listen, ", "), nat.Server, nat.Outside, publicMedia, nat.Outside)
		},
		before: func(w *world) {
			u, err := url.Parse(w.hs.URL())
			must(t, err)
			addresses := []string{u.Host}
			for _, p := range w.ports {
				addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", p))
			}
			for _, a := range addresses {
				inside := func(ctx context.Context) (net.Conn, error) { return n.Dial(ctx, "wan", "tcp", a) }
				l, err := net.Listen("tcp", a) // for the test itself, which is outside
				must(t, err)
				forward(t, l, inside)
				_, port, err := net.SplitHostPort(a)
				must(t, err)
				l, err = n.Listen(t.Context(), "wan", "tcp", net.JoinHostPort(nat.Server, port)) // for the two sides
				must(t, err)
				forward(t, l, inside)
			}
		},
	}.begin(t)
}

// forward carries connections until the test ends.
func forward(t *testing.T, l net.Listener, dial func(context.Context) (net.Conn, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		_ = l.Close() // nothing more comes
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				to, err := dial(ctx)
				if err != nil {
					return
				}
				defer to.Close()
				defer context.AfterFunc(ctx, func() { c.Close(); to.Close() })()
				wg.Go(func() {
					_, _ = io.Copy(to, c) // whoever ends it ends both
					to.Close()
				})
				_, _ = io.Copy(c, to) // likewise
			})
		}
	})
}

// A person behind one NAT and a door behind another, with nothing but gatepost between them: who hears whom, and which way the
// sound goes. Then the person calls a device that the gateway itself speaks for.
func TestCallsBehindNATs(t *testing.T) {
	if err := nat.Check(); err != nil {
		if errors.Is(err, nat.ErrMissing) {
			absent(t, err.Error())
		}
		t.Fatal(err)
	}
	for _, test := range []struct {
		kind  nat.Kind
		force bool // the person's client uses the relay alone
	}{{nat.Cone, false}, {nat.Symmetric, false}, {nat.Symmetric, true}, {nat.NoUDP, false}} {
		name := string(test.kind)
		if test.force {
			name += ", relay only"
		}
		ok := t.Run(name, func(t *testing.T) {
			n, err := nat.Up(t.Context(), test.kind)
			must(t, err)
			t.Cleanup(func() { must(t, n.Down()) })
			callsBehind(t, n, test.force)
		})
		good := 0
		if ok {
			good = 1
		}
		harness.Equal(t, "calls of js-sdk in Chromium with the example device and with the gateway, NATs: "+name, good, 1, "calls")
	}
}

func callsBehind(t *testing.T, n *nat.World, force bool) {
	w := behind(t, n)
	public := func(address string) string {
		_, port, err := net.SplitHostPort(address)
		must(t, err)
		return net.JoinHostPort(nat.Server, port)
	}
	on := func(host string) maker {
		return func(ctx context.Context, name string, args ...string) *exec.Cmd {
			return n.Command(ctx, host, name, args...)
		}
	}
	w.door = newIntercom(t, on("b"), public(w.broker), "--answer", "at-once")
	page, err := n.Listen(t.Context(), "wan", "tcp", nat.Server+":8000")
	must(t, err)
	b := startBrowser(t, on("a"), page, "--unsafely-treat-insecure-origin-as-secure=http://"+nat.Server+":8000")
	u, err := url.Parse(w.hs.URL())
	must(t, err)
	alice := b.phone(t, "http://"+public(u.Host), "alice", "secret of alice")
	l := &line{alice: alice, door: w.door}
	l.room = w.chat(alice)
	useRelay(t, w, alice, force)
	before, err := n.Direct(t.Context())
	must(t, err)

	l.call(t, false)
	s := alice.report()
	l.hangup()
	direct, err := n.Direct(t.Context())
	must(t, err)
	direct -= before
	t.Logf("the person's candidate: %s, the door's: %s; %d packets past the relay", s.Local, s.Remote, direct)
	if n.Kind != nat.Cone && (s.Local != "relay" && s.Remote != "relay" || direct != 0 && (force || n.Kind == nat.NoUDP)) {
		t.Errorf("the sound goes from %s to %s, %d packets past the relay", s.Local, s.Remote, direct)
	}

	room := w.chatWith(alice, "hall")
	alice.do("place", map[string]any{"room": room, "video": false}, nil)
	s = alice.sees("the call connected, with the gateway's tone", func(s seen) bool { return s.State == "connected" && near(s.Hertz, doorTone) })
	t.Logf("to the gateway itself: %s", s.Local)
	if relayed := s.Local == "relay"; relayed != (force || n.Kind == nat.NoUDP) {
		t.Errorf("the sound of the gateway comes to a candidate of the type %s", s.Local)
	}
	alice.do("hangup", nil, nil)
	alice.sees("the end", func(s seen) bool { return s.State == "ended" })
}
