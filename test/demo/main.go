// Command demo shows gatepost at its main job: a real homeserver, the embedded broker, simulated devices, and what a
// person sees in the rooms, read back from the homeserver as that person. It is what `make demo` runs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

func main() {
	length := flag.Duration("for", 0, "end by itself so long after the line ready, e.g. 20s; 0 runs until Ctrl-C")
	aiortc := flag.String("aiortc", "", "a Python that has aiortc, which is alice's WebRTC client then; without it that is pion")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Stdout, *length, *aiortc))
}

const (
	startTime = time.Minute     // until everything is up
	lookTime  = 3 * time.Second // the person looks round before asking for anything
)

// run shows the demo on out and returns the exit code: 0 when it was not to end by itself, or when all was seen.
func run(ctx context.Context, out io.Writer, length time.Duration, aiortc string) int {
	dir, err := os.MkdirTemp("", "gatepost-demo-")
	if err != nil {
		fmt.Fprintln(out, "demo:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // the system clears what is left of a temporary folder
	s := &scene{out: out, dir: dir, length: length, aiortc: aiortc}
	switch err := s.play(ctx); {
	case err != nil && ctx.Err() == nil:
		fmt.Fprintf(out, "\ndemo: %v\n", err)
		return 1
	case length == 0 || ctx.Err() != nil:
		fmt.Fprintln(out, "\nStopped; everything is cleaned up.")
		if length > 0 {
			return 130
		}
		return 0
	default:
		return s.list.report(out)
	}
}

// scene is one showing.
type scene struct {
	out    io.Writer
	dir    string
	length time.Duration
	aiortc string // of intercom
	began  time.Time
	list   checklist
	mu     sync.Mutex // of out, once more than one goroutine writes
}

func (s *scene) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, format+"\n", args...)
}

// play sets everything up, shows it, and takes it down again. An error is one of the set-up, or that something ended that
// should not have.
func (s *scene) play(ctx context.Context) (err error) {
	s.began = time.Now()
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Dir(exe)
	ports, err := harness.FreePorts(4)
	if err != nil {
		return err
	}
	address := func(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i])) }

	starting, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	s.say("starting Dendrite, the homeserver …")
	registration := filepath.Join(s.dir, "registration.yaml")
	reg := harness.NewRegistration(ports[0])
	home := filepath.Join(s.dir, "dendrite")
	gate := filepath.Join(s.dir, "gatepost")
	if err := errors.Join(os.Mkdir(home, 0o700), os.Mkdir(gate, 0o700)); err != nil {
		return err
	}
	hs, err := harness.NewDendrite(bin, home, registration)
	if err != nil {
		return err
	}
	if err := reg.WriteFile(registration, hs.ServerName()); err != nil {
		return err
	}
	if err := hs.Start(starting); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hs.Stop()) }()
	password := harness.Secret()[:12]
	if err := hs.Register(starting, "alice", password); err != nil {
		return err
	}
	alice, err := harness.Login(starting, hs, "alice", password)
	if err != nil {
		return err
	}

	bell, err := newIntercom(s, ports[3])
	if err != nil {
		return err
	}
	defer bell.conn.Close()
	bell.alice, bell.broker, bell.aiortc = alice, address(1), s.aiortc
	s.say("starting gatepost with its embedded broker …")
	g, err := harness.NewGatepost(filepath.Join(bin, "gatepost"), gate, harness.Settings{
		Homeserver: hs.URL(), ServerName: hs.ServerName(), Listen: address(0), Registration: registration,
		Owners: []string{alice.UserID}, MQTT: address(1), Admin: address(2),
		Encryption: encryption, Devices: privateRules + bell.rules() + rules, Extra: cardSettings + gateMedia,
	})
	if err != nil {
		return err
	}
	if err := g.Start(starting); err != nil {
		return err
	}
	defer func() {
		if _, serr := g.Stop(5 * time.Second); serr != nil {
			err = errors.Join(err, serr)
		}
	}()
	parts, err := s.privately(starting, hs, password, address(1))
	if err != nil {
		return err
	}
	s.welcome(hs, alice.UserID, password, address(1))
	return s.show(ctx, alice, address(1), bell, parts)
}

// welcome prints where to look.
func (s *scene) welcome(hs harness.Homeserver, user, password, broker string) {
	lines := []string{
		"Log in with any Matrix client on this machine and look:", "",
		"  homeserver   " + hs.URL(), "  user         " + user, "  password     " + password, "",
		"MQTT for devices of your own: mqtt://" + broker,
	}
	wide := 0
	for _, l := range lines {
		wide = max(wide, len(l))
	}
	s.say("")
	s.say("┌%s┐", strings.Repeat("─", wide+2))
	for _, l := range lines {
		s.say("│ %-*s │", wide, l)
	}
	s.say("└%s┘", strings.Repeat("─", wide+2))
	how := "Ctrl-C ends it"
	if s.length > 0 {
		how = "for " + s.length.String()
	}
	s.say("\nready after %.1f s, %s. What %s sees in her rooms:\n", time.Since(s.began).Seconds(), how, user)
}

// show lets the devices live and the person look, with more parts by name, until ctx is done or the time is over.
func (s *scene) show(ctx context.Context, alice *harness.Person, broker string, bell *intercom, parts map[string]func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if s.length > 0 {
		timer := time.AfterFunc(s.length, func() { cancel(errOver) })
		defer timer.Stop()
	}
	w := &watcher{scene: s, alice: alice, fetch: make(chan harness.Event, 16)}
	alice.OnEvent = w.event
	var wg sync.WaitGroup
	part := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	part("alice", alice.Run)
	part("alice's pictures", w.pictures)
	part("alice's commands", w.commands)
	part("weather station", device.Station{Broker: broker, Site: "garden", Name: "weather"}.Run)
	part("door", device.Door{Broker: broker, Name: "door", Every: 4 * time.Second}.Run)
	part("drone", device.Drone{Broker: broker, Name: "osprey", Picture: 7}.Run)
	part("gate", bell.run)
	for _, g := range guests(broker) {
		part(g.name, g.run)
		part("alice with the "+g.name, func(ctx context.Context) error { return w.welcomes(ctx, g) })
	}
	for name, f := range parts {
		part(name, f)
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, errOver) && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

var errOver = errors.New("the time is over")

// rules are the device rules of the demo.
const rules = `- topic: sensors/{site}/{device}/{reading}
  name: Weather station
  space: Home
  class: telemetry
  every: 5s
  post: "{{ reading }} {{ value }} {{ {'temperature': '°C', 'humidity': '%', 'pressure': 'hPa'}[reading] }}"
- topic: home/{device}/event
  name: Front door
  space: Home
  class: event
  post: "{{ value }}"
  commands:
    - {name: unlock, topic: "home/{device}/set", payload: UNLOCK, confirm: {topic: "home/{device}/lock", payload: UNLOCKED}}
    - {name: lock, topic: "home/{device}/set", payload: LOCK, confirm: {topic: "home/{device}/lock", payload: LOCKED}}
- topic: home/{device}/lock
  name: Front door
  space: Home
  class: state
  post: "the lock is {{ value | lower }}"
- topic: drones/{device}/camera
  name: Drone
  space: Home
  class: event
- topic: drones/{device}/position
  name: Drone
  space: Home
  class: telemetry
  every: 5s
  post: "at {{ value_json.lat }} N, {{ value_json.lon }} E, {{ value_json.alt }} m high, {{ value_json.speed }} m/s"
- topic: drones/{device}/battery
  name: Drone
  space: Home
  class: telemetry
  every: 5s
  post: "battery {{ value }} %"
`
