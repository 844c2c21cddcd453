package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost/gatepost/gateway"
	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/matrix"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/admin"
	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/lifecycle"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/internal/metrics"
	"github.com/gatepost/gatepost/mqtt"
	"github.com/gatepost/gatepost/mqtt/broker"
	"github.com/gatepost/gatepost/mqtt/topic"
	"github.com/gatepost/gatepost/store"
	"github.com/gatepost/gatepost/turn"
	"github.com/gatepost/gatepost/voip/media"
)

// daemon is the whole gateway: config -> store -> relay -> matrix -> gateway -> broker or client, wired and nothing else.
type daemon struct {
	p       process
	cfg     *config.Config
	metrics *metrics.Registry
	health  *lifecycle.Health
	store   *store.Store
	matrix  *matrix.Client   // nil without a matrix section
	gateway *gateway.Gateway // nil without a matrix section
	broker  *broker.Broker   // nil with an outside broker
	table   *store.Table     // the broker's; nil with it
	crypto  *store.Table     // the bot's keys; nil without encryption
	client  *mqtt.Client     // nil with the embedded broker
	rules   *gateway.Rules
	turn    *turn.Server                // nil without a turn section
	relay   atomic.Pointer[config.Turn] // the turn section in force; nil without one
	calls   *calls                      // nil without a matrix section
	media   *media.Engine               // nil without a calls section
	legs    legs                        // of media
	relayed relayUse                    // by calls
}

// The spaces of the store that the wiring keeps its values in.
const (
	spaceIdentity = "identity"
	spaceSecrets  = "secrets"
	spaceMQTT     = "mqtt"
)

// runGateway runs the gateway until ctx is done.
func runGateway(ctx context.Context, p process) error {
	d := &daemon{p: p, cfg: p.Config, metrics: metrics.New(), health: &lifecycle.Health{}}
	if d.cfg.Matrix == nil && d.cfg.MQTT == nil && d.cfg.Turn == nil {
		return config.Join(d.cfg.At("matrix", errors.New("neither a matrix nor an mqtt nor a turn section: there is nothing to run")))
	}
	warnings, err := checkWiring(d.cfg)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		p.Log.Warn("configuration", logkey.Reason, w)
	}
	warnCrypto(d.cfg, p.Log)
	if d.rules, err = compile(d.cfg); err != nil {
		return err
	}
	if d.store, err = store.Open(store.Options{Path: d.cfg.Store.Path, MaxSize: int64(d.cfg.Store.MaxSize), Log: p.Log, Metrics: d.metrics, OnEvict: d.evicted}); err != nil {
		return err
	}
	group := &lifecycle.Group{Log: p.Log}
	group.Add(lifecycle.Part{Name: "store", Close: d.store.Close})
	if err := d.build(group); err != nil {
		if d.table != nil {
			err = errors.Join(err, d.table.Close())
		}
		if d.crypto != nil {
			err = errors.Join(err, d.crypto.Close())
		}
		return errors.Join(err, d.store.Close())
	}
	return group.Run(ctx, p.Cut)
}

// build makes the parts and puts them into the order in which they start: what takes messages comes last.
func (d *daemon) build(group *lifecycle.Group) error {
	server, err := admin.New(admin.Config{
		Listen: d.cfg.Admin.Listen, Token: d.cfg.Admin.Token.Reveal(), Socket: d.cfg.Admin.Socket,
		Metrics: d.metrics.Handler(), Live: d.live, Ready: d.ready, Log: d.p.Log,
	})
	if err != nil {
		return err
	}
	group.Add(lifecycle.Part{Name: "admin", Start: listen(server.Listen), Run: server.Run})
	if err := d.addTURN(group); err != nil {
		return err
	}
	if err := d.identify(); err != nil {
		return err
	}
	if d.cfg.Matrix != nil {
		if err := d.buildMatrix(); err != nil {
			return err
		}
	}
	if err := d.buildMQTT(); err != nil {
		return err
	}
	if d.cfg.Matrix != nil {
		if err := d.buildGateway(); err != nil {
			return err
		}
		if err := d.addMedia(group); err != nil {
			return err
		}
		if d.crypto != nil {
			group.Add(lifecycle.Part{Name: "crypto store", Close: d.crypto.Close})
		}
		group.Add(lifecycle.Part{Name: "gateway", Run: d.gateway.Run})
		group.Add(lifecycle.Part{Name: "calls", Run: d.calls.Run})
		group.Add(lifecycle.Part{Name: "matrix", Start: listen(d.matrix.Listen), Run: d.matrix.Run})
		serveControl(server, &controller{d})
		serveCalls(server, d.calls)
	} else {
		serveWithoutMatrix(server, (&controller{d}).Backup)
	}
	serveBrokerControl(server, brokerController{d.broker})
	serveTurnControl(server, turnController{d.turn})
	serveVerifyControl(server, verifyController{d})
	if d.broker != nil {
		group.Add(lifecycle.Part{Name: "broker store", Close: d.table.Close})
		group.Add(lifecycle.Part{Name: "broker", Start: listen(d.broker.Listen), Run: d.broker.Run})
	}
	if d.client != nil {
		group.Add(lifecycle.Part{Name: "mqtt", Run: d.client.Run})
	}
	group.Add(lifecycle.Part{Name: "watch", Run: d.watch})
	return nil
}

func listen(f func() error) func(context.Context) error {
	return func(context.Context) error { return f() }
}

// identify refuses to run with a store that was written for somebody else.
func (d *daemon) identify() error {
	if d.cfg.Matrix == nil {
		return nil
	}
	now := map[string]string{"server_name": d.cfg.Matrix.ServerName, "user": d.cfg.Matrix.User, "mode": d.cfg.Matrix.Mode}
	b, known, err := d.store.Get(spaceIdentity, "matrix")
	if err != nil {
		return err
	}
	if !known {
		if b, err = json.Marshal(now); err != nil {
			return err
		}
		return d.store.Commit(lane.Change{Put: []lane.Item{{Space: spaceIdentity, Key: "matrix", Value: b}}})
	}
	was := map[string]string{}
	if err := json.Unmarshal(b, &was); err != nil {
		return fmt.Errorf("store: whose it is can't be read: %w", err)
	}
	var errs []error
	for _, key := range []string{"server_name", "user", "mode"} {
		if was[key] != now[key] {
			errs = append(errs, d.cfg.At("matrix."+key, fmt.Errorf("is %q, but the store in %s was written with %q: put it back, or give store.path another folder to begin anew", now[key], d.cfg.Store.Path, was[key])))
		}
	}
	return config.Join(errs...)
}

func (d *daemon) buildMatrix() error {
	m := d.cfg.Matrix
	cfg := matrix.Config{
		Homeserver: m.Homeserver, ServerName: m.ServerName, Mode: matrix.Mode(m.Mode), Bot: m.User,
		Aliases: []string{m.ControlRoom}, Token: m.Token.Reveal(), Password: m.Password.Reveal(), Secrets: secrets{d.store},
		Inbox: inbox{d}, Log: d.p.Log, Metrics: d.metrics,
	}
	if m.Mode == config.ModeAppservice {
		reg, err := registration(d.cfg)
		if err != nil {
			return err
		}
		cfg.ID, cfg.ASToken, cfg.HSToken, cfg.Listen = reg.ID, reg.ASToken.Reveal(), reg.HSToken.Reveal(), m.Listen
	}
	var err error
	if cfg.Crypto, err = d.cryptoConfig(); err != nil {
		return err
	}
	if d.matrix, err = matrix.New(cfg); errors.Is(err, matrix.ErrWrongKey) {
		return config.Join(fmt.Errorf("the key for %s is not the one that it was written with: put the right one back (crypto.key_file), or delete the file to give the bot a new device", filepath.Join(d.cfg.Store.Path, cryptoFile)))
	}
	return err
}

func (d *daemon) buildGateway() error {
	cfg := gateway.Config{
		Store: d.store, Matrix: d.matrix, Clock: d.matrix, Rules: d.rules,
		ServerName: d.cfg.Matrix.ServerName, Bot: d.cfg.Matrix.Bot(), Ghosts: d.cfg.Matrix.Mode == config.ModeAppservice,
		Encryption: encryption(d.cfg.Matrix.Encryption), Private: encrypts(d.cfg), Control: d.cfg.Matrix.ControlRoom, People: people(d.cfg), Zone: d.cfg.Timezone, Log: d.p.Log, Metrics: d.metrics,
		Beat: d.health.Beat,
	}
	if c := d.cfg.Card; c != nil {
		cfg.Cards = gateway.Cards{Every: c.Every, Rules: true}
	}
	switch {
	case d.broker != nil:
		cfg.Devices = d.broker
	case d.client != nil:
		cfg.Devices, cfg.Echoes = d.client, true
	default:
		return config.Join(d.cfg.At("mqtt", errors.New("is needed beside matrix: listen for the embedded broker, or the url of an outside one")))
	}
	var err error
	if d.calls, err = newCalls(d); err != nil {
		return err
	}
	cfg.Calls = d.calls
	if cfg.Discovery, err = d.discovery(); err != nil {
		return err
	}
	if d.gateway, err = gateway.New(cfg); err != nil {
		return err
	}
	if d.client != nil {
		return d.client.SetFilters(context.Background(), d.gateway.Filters()) // it is not connected yet
	}
	return nil
}

// evicted tells the owners that a lane was full.
func (d *daemon) evicted(key ids.RoomKey, n int) {
	d.p.Log.Warn("a lane is full; messages are left out", logkey.Lane, key, logkey.Count, n)
	d.gateway.Alert(fmt.Sprintf("More waits to be sent to %s than there is room for, so messages are left out there (%d just now). A note in the room will say how many.", key, n), "evict "+string(key))
}

func (d *daemon) buildMQTT() error {
	m := d.cfg.MQTT
	if m == nil {
		return nil
	}
	if m.URL == "" {
		all, err := accounts(d.cfg)
		if err != nil {
			return err
		}
		if err := d.openTable(); err != nil {
			return err
		}
		d.broker, err = broker.New(broker.Config{
			Store: brokerStore{d.table}, Queue: queue(m), Retained: broker.Capacity{Messages: m.Retained.Messages, Bytes: int64(m.Retained.Bytes)},
			Listeners: m.Listen, CertFile: m.CertFile, KeyFile: m.KeyFile, ClientCAFile: m.ClientCAFile, Origins: m.Origins, Accounts: all, Anonymous: m.Anonymous,
			Limits:     limits(m),
			Deliver:    func(ctx context.Context, msg topic.Message) error { return d.gateway.Deliver(ctx, msg) },
			Wants:      func(name string) bool { return d.gateway != nil && d.gateway.Wants(name) },
			MaxPayload: int(m.MaxPayload), Version: "gatepost " + thisBuild().Version, Log: d.p.Log, Metrics: d.metrics,
		})
		return err
	}
	if d.cfg.Matrix == nil {
		return config.Join(d.cfg.At("mqtt.url", errors.New("without a matrix section there is nothing to do with another broker's messages")))
	}
	id, err := d.clientID(m)
	if err != nil {
		return err
	}
	d.health.NotReady("mqtt", "not connected to the broker yet")
	d.client, err = mqtt.New(mqtt.Config{
		URL: m.URL, ClientID: id, User: m.User, Password: m.Password.Reveal(), CAFile: m.CAFile, CertFile: m.CertFile, KeyFile: m.KeyFile,
		Filters: d.rules.Filters(), Session: subscriptions{d.store, id}, MaxPayload: int(m.MaxPayload),
		Deliver: func(msg topic.Message, done func(error)) { d.gateway.Submit(msg, done) },
		OnState: func(s mqtt.State) {
			d.gateway.BrokerLink(s.Connected)
			if s.Connected {
				d.health.SetReady("mqtt")
			} else {
				d.health.NotReady("mqtt", s.Reason)
			}
		},
		Log: d.p.Log, Metrics: d.metrics,
	})
	return err
}

// clientID is the configured one, or a random one that stays the same.
func (d *daemon) clientID(m *config.MQTT) (string, error) {
	if m.ClientID != "" {
		return m.ClientID, nil
	}
	b, ok, err := d.store.Get(spaceMQTT, "client_id")
	if err != nil || ok {
		return string(b), err
	}
	id := "gatepost-" + ids.NewULID(time.Now())
	return id, d.store.Commit(lane.Change{Put: []lane.Item{{Space: spaceMQTT, Key: "client_id", Value: []byte(id)}}})
}

// live says whether every part that promised to be seen was.
func (d *daemon) live() (bool, []string) {
	var why []string
	for _, r := range d.health.Hung() {
		why = append(why, r.Part+": "+r.Reason)
	}
	return len(why) == 0, why
}

// ready says whether messages get through, and if not, why.
func (d *daemon) ready() (bool, []string) {
	var why []string
	_, reasons := d.health.Ready()
	for _, r := range reasons {
		why = append(why, r.Part+": "+r.Reason)
	}
	if d.matrix != nil {
		if err := d.matrix.Ready(); err != nil {
			why = append(why, err.Error())
		}
	}
	if d.gateway != nil {
		why = append(why, d.gateway.Ready()...)
	}
	if d.table != nil && d.table.Full() {
		why = append(why, "broker: "+brokerFile+" is full: messages for MQTT clients wait with those who publish them")
	}
	return len(why) == 0, why
}

// A part that beats every few seconds and is silent for so long hangs: no disk takes that long for a commit.
const hangTime = 2 * time.Minute

// watch tells the log and systemd how things are, and reloads when asked.
func (d *daemon) watch(ctx context.Context) error {
	d.p.Notify.Ready()
	if d.gateway != nil {
		d.health.Promise(gateway.PartHouse, hangTime)
		d.health.Promise(gateway.PartIntake, hangTime)
		d.health.Promise(gateway.PartSender, hangTime)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { d.p.Notify.Watch(ctx, d.live) })
	reloader := config.NewReloader(d.cfg, func() (*config.Config, error) { return config.Load(d.p.ConfigPath, d.p.Env) })
	reloader.Verify(d.checkReload)
	began, wait, was := time.Now(), 20*time.Millisecond, "starting"
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.p.Reload:
			d.p.Notify.Reloading()
			d.reload(ctx, reloader)
			d.p.Notify.Ready()
		case <-timer.C:
			ok, why := d.ready()
			now := "ready"
			if !ok {
				now = why[0]
			}
			switch {
			case now == was:
			case ok:
				d.p.Log.Info("ready", logkey.Took, time.Since(began).Round(time.Millisecond).String(), logkey.Address, d.addresses())
			default:
				d.p.Log.Warn("not ready", logkey.Reason, why)
			}
			if now != was {
				d.p.Notify.Status(now)
			}
			was = now
			if time.Since(began) > 10*time.Second || ok {
				wait = time.Second
			}
			timer.Reset(wait)
		}
	}
}

// addresses are those where devices and the relay's clients connect.
func (d *daemon) addresses() []string {
	var out []string
	if d.client != nil {
		out = append(out, d.cfg.MQTT.URL)
	}
	if d.broker != nil {
		for _, a := range d.broker.Addrs() {
			out = append(out, a.String())
		}
	}
	if d.turn != nil {
		for _, a := range d.turn.Addrs() {
			out = append(out, a.Network()+"://"+a.String())
		}
	}
	return out
}

// A reload that takes longer is given up: the store is full, or the broker does not answer.
const reloadTime = 20 * time.Second

// reload reads the configuration again; a bad one changes nothing.
func (d *daemon) reload(ctx context.Context, r *config.Reloader) {
	live, restart, err := r.Reload()
	if err != nil {
		d.p.Log.Error("the configuration is bad; the running one stays", logkey.Error, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reloadTime)
	defer cancel()
	cfg := r.Current()
	d.p.Level.Set(cfg.Log.Level)
	if d.gateway != nil {
		rules, err := compile(cfg)
		if err == nil {
			err = d.gateway.Reload(ctx, rules, people(cfg), cfg.Timezone)
		}
		if err == nil && d.client != nil {
			err = d.client.SetFilters(ctx, d.gateway.Filters())
		}
		if err != nil {
			d.p.Log.Error("the new configuration could not be put in place", logkey.Error, err.Error())
			return
		}
	}
	if d.broker != nil {
		all, err := accounts(cfg)
		if err == nil {
			err = d.broker.SetAccounts(all)
		}
		if err != nil {
			d.p.Log.Error("the new accounts could not be put in place", logkey.Error, err.Error())
		}
	}
	if err := d.updateTURN(cfg); err != nil {
		d.p.Log.Error("the relay's new settings could not be put in place", logkey.Error, err.Error())
	}
	d.p.Log.Info("configuration read again", "changed", live, "needs_restart", restart)
}

// inbox puts the homeserver's events into the store and wakes the gateway.
type inbox struct{ d *daemon }

func (i inbox) Accept(source, position string, events []room.Event) (int, error) {
	n, err := i.d.store.Accept(source, position, events)
	if n > 0 {
		i.d.gateway.WakeInbox()
	}
	return n, err
}

func (i inbox) Position(source string) (string, error) { return i.d.store.Position(source) }

// secrets keeps what the account logged in with.
type secrets struct{ store *store.Store }

func (s secrets) Get(name string) (string, error) {
	b, _, err := s.store.Get(spaceSecrets, name)
	return string(b), err
}

func (s secrets) Put(name, value string) error {
	return s.store.Commit(lane.Change{Put: []lane.Item{{Space: spaceSecrets, Key: name, Value: []byte(value)}}})
}

// subscriptions remembers what our session at an outside broker is subscribed to.
type subscriptions struct {
	store *store.Store
	id    string
}

func (s subscriptions) Load() (lines []string, err error) {
	b, ok, err := s.store.Get(spaceMQTT, "session/"+s.id)
	if err != nil || !ok {
		return nil, err
	}
	return lines, json.Unmarshal(b, &lines)
}

func (s subscriptions) Save(lines []string) error {
	b, err := json.Marshal(lines)
	if err != nil {
		return err
	}
	return s.store.Commit(lane.Change{Put: []lane.Item{{Space: spaceMQTT, Key: "session/" + s.id, Value: b}}})
}
