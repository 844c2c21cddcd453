package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepost/gatepost/gateway"
	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/voip"
	"github.com/gatepost/gatepost/voip/phone"
)

const spaceCalls = "calls" // live calls, by device, room and call id

// calls is the gateway's Calls: a phone for each device that is called, made when it is first needed. Safe for concurrent
// use.
type calls struct {
	d       *daemon
	metrics *phone.Metrics
	log     *callLog
	failed  chan error

	mu     sync.Mutex
	closed bool // Run was asked to stop
	phones map[ids.DeviceID]*line
}

// line is a phone that runs.
type line struct {
	spec  gateway.Phone
	phone *phone.Phone
	said  chan []byte
	stop  func() // returns when the phone has ended
}

// maxSaid is how many words of one device may wait; then they are dropped, and its call ends by its timers.
const maxSaid = 64

var errNoCalls = errors.New("calls are not taken now")

func newCalls(d *daemon) (*calls, error) {
	log, err := loadCallLog(d.store)
	return &calls{d: d, metrics: phone.NewMetrics(d.metrics), log: log, failed: make(chan error, 1), phones: map[ids.DeviceID]*line{}}, err
}

// List is the live calls, then those that are over.
func (c *calls) List() []callInfo {
	c.mu.Lock()
	var out []callInfo
	for device, l := range c.phones {
		for _, r := range l.phone.Calls() {
			i := live(device, r, carriedBy(c.d.legs.get(voip.Key{Room: r.Room, Call: r.ID})))
			i.Relayed = c.d.relayed.of(c.d.turn, voip.Key{Room: r.Room, Call: r.ID})
			out = append(out, i)
		}
	}
	c.mu.Unlock()
	slices.SortFunc(out, func(a, b callInfo) int { return cmp.Or(b.Began.Compare(a.Began), cmp.Compare(a.Device, b.Device)) })
	return append(out, c.log.list()...)
}

// Run first ends the calls that were live when the process died, and lets phones run until ctx is done. Those who are in a
// call then get a hangup, if the homeserver takes it in time; else it is sent after the next start.
func (c *calls) Run(ctx context.Context) error {
	var err error
	for _, device := range c.interrupted() {
		if _, perr := c.phone(device); perr != nil { // it can't be called any more
			c.d.p.Log.Warn("a call of another life can't be ended properly", logkey.Device, string(device), logkey.Error, perr)
		}
	}
	select {
	case <-ctx.Done():
	case err = <-c.failed:
	}
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	for _, l := range c.phones {
		l.stop()
	}
	for began := time.Now(); c.d.gateway.CallsWaiting() && time.Since(began) < hangupTime; {
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// hangupTime is how long the stop waits for the last events of calls to be sent.
const hangupTime = 2 * time.Second

// interrupted lists the devices of which calls are recorded.
func (c *calls) interrupted() []ids.DeviceID {
	seen := map[ids.DeviceID]bool{}
	var out []ids.DeviceID
	err := c.d.store.Each(spaceCalls, "", func(key string, _ []byte) error {
		device, _, _ := strings.Cut(key, "\n")
		if id := ids.DeviceID(device); !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
		return nil
	})
	if err != nil {
		c.d.p.Log.Error("the calls of another life can't be read", logkey.Error, err)
	}
	return out
}

// phone is the running phone of a device, as the configuration has it now. A changed one is begun anew.
func (c *calls) phone(device ids.DeviceID) (*line, error) {
	spec, ok := c.d.gateway.Phone(device)
	if !ok {
		return nil, fmt.Errorf("%s can't be called", device)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errNoCalls
	}
	old := c.phones[device]
	if old != nil && reflect.DeepEqual(old.spec, spec) {
		return old, nil
	}
	if old != nil {
		old.stop()
	}
	l, err := c.start(spec)
	if err != nil {
		return nil, err
	}
	c.phones[device] = l
	return l, nil
}

func (c *calls) start(spec gateway.Phone) (*line, error) {
	g, device := c.d.gateway, spec.Device
	open, said, err := c.d.mediaLeg(spec)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	a := c.d.album(ctx, &wg, spec)
	p, err := phone.New(phone.Config{
		Journal: callJournal{c.d, string(device) + "\n"},
		Send: func(at phone.Place, eventType string, content []byte, lifetime time.Duration) error {
			return g.SendCall(gateway.CallRoom{Room: at.Room, Device: device, Person: at.Person, Self: at.Self}, eventType, content, lifetime)
		},
		Publish: func(ctx context.Context, payload []byte) error { return g.Tell(ctx, spec, payload) },
		Open:    open,
		Place: func(ctx context.Context, person ids.UserID) (phone.Place, error) {
			at, err := g.CallRoomFor(ctx, device, person)
			return placeOf(at), err
		},
		Note: func(text string, mention []ids.UserID) {
			if err := g.Note(device, text, mention); err != nil {
				c.d.p.Log.Error("a line about a call could not be stored", logkey.Error, err)
			}
		},
		Ringing: a.ringing, Missed: a.missed,
		Ended: func(s voip.Summary) string {
			key := voip.Key{Room: s.Room, Call: s.ID}
			m := c.d.legs.take(key)
			i := ended(device, s, m)
			i.Relayed = c.d.relayed.end(c.d.turn, key)
			if err := c.log.add(i, time.Now()); err != nil {
				c.d.p.Log.Error("a call could not be recorded", logkey.Error, err)
			}
			return m.words()
		},
		TURN:   c.d.callCredential,
		People: spec.People, AtOnce: spec.AtOnce, Timeout: spec.Timeout, MaxCall: spec.Max,
		Metrics: c.metrics, Log: c.d.p.Log.With(logkey.Device, string(device)),
	})
	if err != nil {
		cancel()
		return nil, err
	}
	l := &line{spec: spec, phone: p, said: make(chan []byte, maxSaid)}
	if said == nil {
		said = p.Said
	}
	l.stop = func() { cancel(); wg.Wait() }
	wg.Go(func() {
		if err := p.Run(ctx); err != nil {
			select {
			case c.failed <- fmt.Errorf("calls of %s: %w", device, err):
			default:
			}
		}
	})
	wg.Go(func() {
		for {
			select {
			case payload := <-l.said:
				said(payload)
			case <-ctx.Done():
				return
			}
		}
	})
	return l, nil
}

func placeOf(at gateway.CallRoom) phone.Place {
	return phone.Place{Room: at.Room, Self: at.Self, Person: at.Person}
}

// Event is of gateway.Calls.
func (c *calls) Event(ctx context.Context, at gateway.CallRoom, e room.Event, age time.Duration, ring bool) error {
	l, err := c.phone(at.Device)
	if err != nil {
		if errors.Is(err, errNoCalls) {
			return err
		}
		return nil // the device can't be called any more: nothing to say
	}
	return l.phone.Event(ctx, placeOf(at), e.Sender, e.Type, e.Content, age, ring)
}

// BatchDone is of gateway.Calls.
func (c *calls) BatchDone(ctx context.Context) error {
	c.mu.Lock()
	var lines []*line
	for _, l := range c.phones {
		lines = append(lines, l)
	}
	c.mu.Unlock()
	var errs []error
	for _, l := range lines {
		errs = append(errs, l.phone.BatchDone(ctx))
	}
	return errors.Join(errs...)
}

// Left is of gateway.Calls.
func (c *calls) Left(ctx context.Context, at gateway.CallRoom) error {
	l, err := c.phone(at.Device)
	if err != nil {
		if errors.Is(err, errNoCalls) {
			return err
		}
		return nil
	}
	return l.phone.Left(ctx, placeOf(at))
}

// Dial is of gateway.Calls.
func (c *calls) Dial(ctx context.Context, at gateway.CallRoom) error {
	l, err := c.phone(at.Device)
	if err != nil {
		return err
	}
	return l.phone.Dial(ctx, placeOf(at))
}

// Said is of gateway.Calls.
func (c *calls) Said(device ids.DeviceID, payload []byte) {
	l, err := c.phone(device)
	if err != nil {
		return // before the start, or after the stop: there is no call
	}
	select {
	case l.said <- payload:
	default:
		c.d.p.Log.Warn("a device says more about its calls than is taken", logkey.Device, string(device))
	}
}

// Ring is of gateway.Calls.
func (c *calls) Ring(device ids.DeviceID) {
	if l, err := c.phone(device); err == nil {
		l.phone.Ring()
	}
}

// callJournal keeps the live calls of one device in the store.
type callJournal struct {
	d      *daemon
	prefix string // of the keys
}

func (j callJournal) key(k voip.Key) string { return j.prefix + string(k.Room) + "\n" + string(k.Call) }

func (j callJournal) Put(k voip.Key, r voip.Record) error {
	v, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return j.d.store.Commit(lane.Change{Put: []lane.Item{{Space: spaceCalls, Key: j.key(k), Value: v}}})
}

func (j callJournal) Delete(k voip.Key) error {
	return j.d.store.Commit(lane.Change{Put: []lane.Item{{Space: spaceCalls, Key: j.key(k)}}})
}

func (j callJournal) Each(f func(voip.Key, voip.Record)) error {
	return j.d.store.Each(spaceCalls, j.prefix, func(key string, value []byte) error {
		var r voip.Record
		if err := json.Unmarshal(value, &r); err != nil {
			return fmt.Errorf("call %q in the store: %w", key, err)
		}
		f(voip.Key{Room: r.Room, Call: r.ID}, r)
		return nil
	})
}
