package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/media"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/internal/metrics"
)

// Config says what a Gateway works with. Store, Matrix, Clock, Devices, Rules, ServerName and Bot are required.
type Config struct {
	Store      Store
	Matrix     Rooms
	Clock      Clock
	Devices    Devices
	Calls      Calls // nil: no device can be called
	Rules      *Rules
	Discovery  *Discovery // nil: announcements are not read
	ServerName string
	Bot        ids.UserID
	Ghosts     bool       // each device has a user of its own (appservice mode)
	Echoes     bool       // what we publish comes back to us (outside broker)
	Encryption Encryption // of rooms whose devices do not say; EncryptionUnset is EncryptionOff
	Private    bool       // people may have encrypted rooms of their own: the bot can encrypt
	Control    string     // localpart of the control room's alias; "" is "gatepost"
	People     People
	Zone       *time.Location // of times that people read; nil: UTC
	Cards      Cards
	Log        *slog.Logger // nil: silent
	Metrics    *metrics.Registry
	Now        func() time.Time  // nil: time.Now
	Beat       func(part string) // called every few seconds for each of Parts while it is alive; nil: nobody listens
}

// Parts that are heard by Config.Beat.
const (
	PartHouse  = "gateway" // what is due now and then
	PartIntake = "intake"
	PartSender = "sender"
)

const beatTime = 5 * time.Second

// People are those who have to do with the devices.
type People struct {
	Owners  []ids.UserID       // power 100, the control room
	Members map[ids.UserID]int // others in the devices' rooms, with their power
	// Sites are members of some spaces alone, by the space's name, with their power in its rooms.
	Sites  map[string]map[ids.UserID]int
	Hours  map[ids.UserID]Hours // of members, in the zone of the gateway; one who is not there may ask always
	Limits []Limit              // of commands; the first that is about one counts
	Queue  bool                 // a command for a device that can't be reached waits until it expires; else it is refused
	// Verified makes commands of people count only when they were encrypted by a device of somebody whom we have verified.
	Verified bool
}

// Hours is a part of the day, such as "07:00-22:00".
type Hours interface {
	Contains(t time.Time) bool
	String() string
}

// Limit says who may ask for a command, whatever the rule or the device says.
type Limit struct {
	Device  ids.DeviceID // "": of any
	Command string
	Grade   Grade        // 0: as it is
	People  []ids.UserID // only they; empty: as it is
}

// Gateway turns messages into posts and requests into commands. Made by New, started by Run. Safe for concurrent use.
type Gateway struct {
	cfg     Config
	log     *slog.Logger
	store   Store
	matrix  Rooms
	metrics gauges
	rules   atomic.Pointer[Rules]
	who     atomic.Pointer[identity] // identities are immutable

	queue        *queue
	inRouter     chan func(*batch)
	idleMarks    *time.Timer
	commandTimer *time.Timer
	nextTick     time.Time                         // when commandTimer rings; zero: not armed; the router goroutine's
	devices      *devices                          // the router goroutine's
	commands     *commands                         // the router goroutine's
	answers      *limiter                          // the router goroutine's
	cards        *cards                            // the router goroutine's
	silences     *silences                         // the router goroutine's
	link         *link                             // to an outside broker
	finder       *finder                           // nil: announcements are not read
	offers       map[ids.DeviceID]announcedActions // the router goroutine's
	ids          *seenIDs                          // the router goroutine's
	marks        *marks
	echo         *echo

	directory   *directory
	phones      *phones
	callRooms   *callRooms
	pictures    *pictures
	private     *privateRooms
	chats       *chats
	callsTold   bool // since the last BatchDone; the inbox goroutine's
	rooms       *provisioner
	sender      *sender
	tries       *tries
	uncertain   *uncertain
	shown       *shownIDs
	publisher   *publisher
	powers      *powers
	inboxBell   chan struct{}
	keysBell    chan struct{}
	upgradeBell chan struct{}
	unread      unread // the inbox goroutine's
	sealed      sealedLanes
	alerts      chan alert
	unmatched   unmatched
	state       state

	failure chan error      // the first error that ends us
	ending  <-chan struct{} // closed when Run was asked to stop, or has to
	stopped chan struct{}   // closed when the router ended
}

// New checks cfg and reads what the store holds. It starts nothing.
func New(cfg Config) (*Gateway, error) {
	if cfg.Store == nil || cfg.Matrix == nil || cfg.Clock == nil || cfg.Devices == nil || cfg.Rules == nil || cfg.ServerName == "" || cfg.Bot == "" {
		return nil, errors.New("gateway: something required is missing in Config")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Zone == nil {
		cfg.Zone = time.UTC
	}
	if cfg.Control == "" {
		cfg.Control = "gatepost"
	}
	if cfg.Beat == nil {
		cfg.Beat = func(string) {}
	}
	g := &Gateway{
		cfg: cfg, log: cfg.Log, store: cfg.Store, matrix: cfg.Matrix, metrics: newMetrics(cfg.Metrics),
		queue: newQueue(), inRouter: make(chan func(*batch)), idleMarks: time.NewTimer(time.Hour), commandTimer: time.NewTimer(time.Hour),
		echo: newEcho(), offers: map[ids.DeviceID]announcedActions{}, answers: newLimiter(), silences: newSilences(), link: newLink(), directory: newDirectory(), phones: newPhones(), pictures: newPictures(),
		tries: newTries(), shown: newShownIDs(), publisher: newPublisher(), powers: newPowers(),
		inboxBell: make(chan struct{}, 1), keysBell: make(chan struct{}, 1), upgradeBell: make(chan struct{}, 1), alerts: make(chan alert, 16), unmatched: unmatched{by: map[string]*Unmatched{}}, state: state{told: map[string]time.Time{}},
		failure: make(chan error, 1), stopped: make(chan struct{}),
	}
	g.idleMarks.Stop()
	g.commandTimer.Stop()
	g.rules.Store(cfg.Rules)
	g.setPeople(cfg.People, cfg.Zone)
	var err error
	if g.devices, err = loadDevices(g.store); err != nil {
		return nil, err
	}
	if g.private, err = loadPrivateRooms(g.store); err != nil {
		return nil, err
	}
	if g.chats, err = loadChats(g.store, g.directory); err != nil {
		return nil, err
	}
	for _, d := range g.devices.byID {
		g.know(d)
	}
	if g.callRooms, err = loadCallRooms(g.store); err != nil {
		return nil, err
	}
	if g.ids, err = loadSeenIDs(g.store); err != nil {
		return nil, err
	}
	if g.commands, err = loadCommands(g.store); err != nil {
		return nil, err
	}
	if g.cards, err = loadCards(g.store, cfg.Cards.Every, g.arm); err != nil {
		return nil, err
	}
	g.commands.changed = func(id ids.DeviceID) {
		if g.devices.byID[id] != nil {
			g.cards.touch(id, true, g.now())
		}
	}
	g.commands.publish, g.commands.arm = g.publisher.put, g.arm
	g.commands.sealed = g.sealed.has
	g.commands.count = func(s State) { g.metrics.commands.Inc(string(s)) }
	if g.marks, err = loadMarks(g.store); err != nil {
		return nil, err
	}
	if g.rooms, err = loadRooms(g); err != nil {
		return nil, err
	}
	if g.finder, err = loadFinder(g); err != nil {
		return nil, err
	}
	g.uncertain = newUncertain(g.store.Lanes(), g.now())
	g.sender = newSender(g)
	g.store.OnAppend(g.sender.wake)
	return g, nil
}

func (g *Gateway) setPeople(p People, zone *time.Location) {
	g.who.Store(&identity{server: g.cfg.ServerName, bot: g.cfg.Bot, ghosts: g.cfg.Ghosts, control: g.cfg.Control, owners: slices.Clone(p.Owners), members: maps.Clone(p.Members), sites: maps.Clone(p.Sites), hours: maps.Clone(p.Hours), limits: slices.Clone(p.Limits), queue: p.Queue, verified: p.Verified, zone: cmp.Or(zone, time.UTC)})
}

func (g *Gateway) now() time.Time { return g.cfg.Now() }

// arm makes the router look at commands at a deadline. Only the router goroutine calls it.
func (g *Gateway) arm(at time.Time) {
	if g.nextTick.IsZero() || at.Before(g.nextTick) {
		g.nextTick = at
		g.commandTimer.Reset(max(at.Sub(g.now()), 0))
	}
}

// fail ends the gateway with err.
func (g *Gateway) fail(err error) {
	select {
	case g.failure <- err:
	default:
	}
}

// Run works until ctx is done and returns after the last goroutine. Nil means it was asked to stop; an error, that the
// store can't go on: the process must end and be started again.
func (g *Gateway) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g.ending = ctx.Done()
	var wg sync.WaitGroup
	// The router ends after all others, so that what they have still to commit is committed.
	routerCtx, stopRouter := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRouter()
	go func() {
		defer close(g.stopped)
		if err := g.intake(routerCtx); err != nil {
			g.fail(err)
		}
		cancel()
	}()
	// Before any message is routed. Nobody waits for its commit: with a full store that comes once the sender has made room.
	select {
	case g.inRouter <- g.begin:
	case <-ctx.Done():
	}
	for _, part := range []func(context.Context) error{
		g.readInbox, g.publishCommands, g.keepHouse, g.sendRequests, g.followTopics, g.followUpgrades,
		func(ctx context.Context) error { g.sender.run(ctx); return nil },
	} {
		wg.Go(func() {
			if err := part(ctx); err != nil {
				g.fail(err)
				cancel()
			}
		})
	}
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-g.failure:
		cancel()
	}
	wg.Wait()
	g.queueUnpublished()
	stopRouter()
	<-g.stopped
	if failed == nil {
		select {
		case failed = <-g.failure:
		default:
		}
	}
	if failed != nil {
		return fmt.Errorf("gateway: %w", failed)
	}
	return nil
}

// commit makes c durable without the router. A store that can't go on ends the gateway.
func (g *Gateway) commit(c lane.Change) error {
	err := g.store.Commit(c)
	if err != nil && !noSpace(err) {
		g.fail(err)
	}
	return err
}

// begin takes up what was left when the process before us ended, and knows the devices that need no message to be known.
func (g *Gateway) begin(b *batch) {
	now := g.now()
	for _, c := range g.commands.inOrder() {
		if c.State == Received || now.Sub(c.lastChange()) < echoTime {
			g.expectEcho(c, now)
		}
		g.commands.step(b, c, now, restarted{})
		if !c.Ended() && c.State != Received {
			g.arm(c.Deadline)
		}
	}
	g.followRules(b, now)
	g.followAnnounced(b, now)
	for _, c := range g.commands.inOrder() {
		if c.Held && !g.unreachable(c.Device) {
			g.commands.step(b, c, now, reachable{})
		}
	}
	g.cardsBegin(now)
	if len(g.who.Load().owners) > 0 {
		b.change.Append = append(b.change.Append, roomRecord(ids.ControlRoom, "", now))
	}
}

// followRules brings devices and open commands in line with the rules, which may have changed.
func (g *Gateway) followRules(b *batch, now time.Time) {
	rules := g.rules.Load()
	for _, id := range slices.Sorted(maps.Keys(g.devices.byID)) {
		d := g.devices.byID[id]
		was := d.Room
		settled := d.settle(rules)
		g.know(d)
		g.dropAlarms(b, d, now)
		if !settled {
			continue
		}
		g.devices.dirty[id] = true
		b.change.Append = append(b.change.Append, roomRecord(d.Room, id, now))
		if was != d.Room && g.rooms.exists(was) {
			text := fmt.Sprintf("%s speaks in %s from now on.", title(d.Name), g.rooms.alias(d.Room))
			b.change.Append = append(b.change.Append, lane.Record{Lane: was, ID: ids.NewULID(now), Class: lane.Event, At: now, Post: lane.Post{Kind: lane.Notice, Text: text}})
		}
	}
	g.fixedDevices(b, now)
	g.followSilence(now)
	g.forgetGone(b, "", now)
}

// title is a name of somebody else's as people may read it.
func title(name string) string {
	s, _ := media.Text([]byte(name), maxName)
	return s
}

// fixedDevices makes the devices of rules without captures known, so that they can be commanded before they say anything.
func (g *Gateway) fixedDevices(b *batch, now time.Time) {
	for _, r := range g.rules.Load().list {
		if len(r.captures) > 0 {
			continue
		}
		s, err := r.subject(nil)
		if err == nil && !g.rooms.admit(s.room, s.space) {
			err = fmt.Errorf("there are %d rooms already", maxRooms)
		}
		if err != nil {
			g.log.Warn("a rule's device can't be", logkey.Rule, r.spec.Topic, logkey.Error, err)
			continue
		}
		d, changed, err := g.devices.of(&s, g.rules.Load())
		if err != nil {
			g.log.Warn("a rule's device can't be", logkey.Rule, r.spec.Topic, logkey.Error, err)
		} else if changed {
			g.know(d)
			b.change.Append = append(b.change.Append, roomRecord(d.Room, d.ID, now))
		}
	}
}

// forgetIDs deletes the message ids that no longer count. What a full disk keeps goes the next time.
func (g *Gateway) forgetIDs(ctx context.Context) error {
	for ctx.Err() == nil {
		c, err := forgetOldIDs(g.store, g.now())
		if err != nil {
			return err
		}
		if len(c.Put) == 0 || g.commit(c) != nil {
			return nil
		}
		g.cfg.Beat(PartHouse)
	}
	return nil
}

// keepHouse does what is due now and then.
func (g *Gateway) keepHouse(ctx context.Context) error {
	beat := time.NewTicker(beatTime)
	defer beat.Stop()
	sweep := time.NewTicker(time.Minute)
	defer sweep.Stop()
	if err := g.forgetIDs(ctx); err != nil {
		return err
	}
	for {
		select {
		case <-beat.C:
			g.cfg.Beat(PartHouse)
		case <-sweep.C:
			if err := g.forgetIDs(ctx); err != nil {
				return err
			}
		case a := <-g.alerts:
			g.tell(ctx, a)
		case <-ctx.Done():
			return nil
		}
	}
}

// Ready lists what keeps the gateway from doing its work; empty when nothing does.
func (g *Gateway) Ready() []string {
	why := g.state.why()
	if offset, known := g.cfg.Clock.Offset(); known {
		if _, ok := believed(g.now(), offset, known); !ok {
			why = append(why, "the clock is not set: no command runs")
		}
	}
	return why
}
