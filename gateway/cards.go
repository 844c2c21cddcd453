package gateway

import (
	"cmp"
	"container/heap"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost/gatepost/gateway/card"
	"github.com/gatepost/gatepost/gateway/discovery"
	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// Cards says how status cards are kept.
type Cards struct {
	Every time.Duration // at most one edit of a card in this time; 0: a minute
	Rules bool          // devices that only rules of the configuration know have cards too
}

const (
	urgentTime = 10 * time.Second       // in place of Cards.Every for alarms, locks and contacts
	cardSettle = 2 * time.Second        // a first card waits so long for what else the device says
	cardPause  = 200 * time.Millisecond // between two looks at the cards that are due
	spaceCards = "cards"
	cardKey    = ownKey + "card"
	pinKey     = ownKey + "pin/"
)

// cardRecord is what is kept of a device's card. The zero value is that there is none.
type cardRecord struct {
	Event   ids.EventID `json:"event,omitempty"`   // the message that is edited
	Sending string      `json:"sending,omitempty"` // id of the record that becomes it
	Lane    ids.RoomKey `json:"lane"`
	Shown   string      `json:"shown,omitempty"` // hash of card.Text.Essence
	Old     ids.EventID `json:"old,omitempty"`   // the card before, which is pinned still
	At      time.Time   `json:"at"`              // of the latest edit

	Quick []quickAction `json:"quick,omitempty"`
}

// cardEntry is a card and when it is looked at next.
type cardEntry struct {
	cardRecord
	id    ids.DeviceID
	due   time.Time
	place int  // in cards.due; -1 not there
	again bool // something changed while it was being made
}

// cards are the status cards of all devices. The router goroutine owns it, save pace and byEvent.
type cards struct {
	every   time.Duration
	byID    map[ids.DeviceID]*cardEntry
	byEvent sync.Map              // ids.EventID: ids.DeviceID
	making  map[string]*cardEntry // by cardRecord.Sending
	due     cardHeap
	next    time.Time // no edit before
	pace    pace
	arm     func(time.Time)
}

// pace is how long a send takes at present. Safe for concurrent use.
type pace struct{ nanos atomic.Int64 }

// took takes the time of one send into account: about the latest ten count.
func (p *pace) took(d time.Duration) {
	old := p.nanos.Load()
	if old == 0 {
		old = int64(d)
	}
	p.nanos.Store(old + (int64(d)-old)/10)
}

// pause is the time between two edits of cards such that all of them together take a quarter of what the workers can send.
func (p *pace) pause() time.Duration {
	d := time.Duration(p.nanos.Load())
	if d == 0 {
		d = 50 * time.Millisecond
	}
	return min(max(d*4/workers, 5*time.Millisecond), 2*time.Second)
}

func loadCards(s Store, every time.Duration, arm func(time.Time)) (*cards, error) {
	c := &cards{every: every, byID: map[ids.DeviceID]*cardEntry{}, making: map[string]*cardEntry{}, arm: arm}
	if c.every <= 0 {
		c.every = time.Minute
	}
	err := s.Each(spaceCards, "", func(key string, value []byte) error {
		e := &cardEntry{id: ids.DeviceID(key), place: -1}
		if err := json.Unmarshal(value, &e.cardRecord); err != nil {
			return fmt.Errorf("card of %q in the store: %w", key, err)
		}
		c.byID[e.id] = e
		c.index(e)
		return nil
	})
	return c, err
}

func (c *cards) index(e *cardEntry) {
	if e.Event != "" {
		c.byEvent.Store(e.Event, e.id)
	}
	if e.Sending != "" {
		c.making[e.Sending] = e
	}
}

// deviceOf is the device whose card an event is. Safe for concurrent use.
func (c *cards) deviceOf(e ids.EventID) (ids.DeviceID, bool) {
	id, ok := c.byEvent.Load(e)
	if !ok {
		return "", false
	}
	return id.(ids.DeviceID), true
}

func (c *cards) save(b *batch, e *cardEntry) {
	v, err := json.Marshal(e.cardRecord)
	if err != nil {
		panic(err) // strings and times only
	}
	b.change.Put = append(b.change.Put, lane.Item{Space: spaceCards, Key: string(e.id), Value: v})
}

// touch notes that something a device's card shows may have changed.
func (c *cards) touch(id ids.DeviceID, urgent bool, now time.Time) {
	e := c.byID[id]
	if e == nil {
		e = &cardEntry{id: id, place: -1}
		c.byID[id] = e
	}
	wait := c.every
	if urgent {
		wait = min(wait, urgentTime)
	}
	due := e.At.Add(wait)
	if settled := now.Add(cardSettle); e.Event == "" && due.Before(settled) {
		due = settled
	}
	if due.Before(now) || due.After(now.Add(wait+cardSettle)) { // the latter: a clock went back
		due = now
	}
	if e.place >= 0 && !due.Before(e.due) {
		return
	}
	c.lookAt(e, due)
}

func (c *cards) lookAt(e *cardEntry, due time.Time) {
	e.due = due
	if e.place >= 0 {
		heap.Fix(&c.due, e.place)
	} else {
		heap.Push(&c.due, e)
	}
	c.arm(due)
}

// forget drops the card of a device that is not known any more. What was posted stays, and is not pinned.
func (c *cards) forget(b *batch, id ids.DeviceID, now time.Time) {
	e := c.byID[id]
	if e == nil {
		return
	}
	e.pin(b, "", cmp.Or(e.Event, e.Old), now)
	if e.place >= 0 {
		heap.Remove(&c.due, e.place)
	}
	delete(c.byID, id)
	c.byEvent.Delete(e.Event)
	delete(c.making, e.Sending)
	b.change.Put = append(b.change.Put, lane.Item{Space: spaceCards, Key: string(id)})
}

// pin makes event the pinned one in the place of old, where they are not "".
func (e *cardEntry) pin(b *batch, event, old ids.EventID, now time.Time) {
	if e.Lane == "" || event == "" && old == "" {
		return
	}
	key := pinKey + string(e.id)
	if event == "" {
		key += "/" + string(old) // which no later card of the device replaces while it waits
	}
	b.change.Append = append(b.change.Append, lane.Record{
		Lane: e.Lane, ID: ids.NewULID(now), Class: lane.State, Key: key, At: now,
		Post: lane.Post{Kind: lane.Pin, RelatesTo: event, Replaces: old},
	})
}

// cardTick brings the cards up to date that are due, the oldest first and no more than their share of what can be sent.
func (g *Gateway) cardTick(b *batch, now time.Time) {
	c := g.cards
	if c.next.After(now.Add(5 * time.Second)) { // a clock went back
		c.next = now
	}
	pause := c.pace.pause()
	for most := max(1, int(cardPause/pause)); len(c.due) > 0 && !c.due[0].due.After(now); {
		if most == 0 || c.next.After(now) {
			break
		}
		e := heap.Pop(&c.due).(*cardEntry)
		if g.updateCard(b, e, now) {
			most--
			if c.next.Before(now.Add(-cardPause)) {
				c.next = now.Add(-cardPause)
			}
			c.next = c.next.Add(pause)
		}
	}
	if len(c.due) > 0 {
		at := c.due[0].due
		if soonest := now.Add(cardPause); at.Before(soonest) {
			at = soonest
		}
		g.arm(at)
	}
}

// updateCard posts or edits a card if it has to say something else than before, and says whether it did.
func (g *Gateway) updateCard(b *batch, e *cardEntry, now time.Time) bool {
	v, d := g.cardView(e.id, false)
	if d == nil {
		return false
	}
	if e.Sending != "" {
		e.again = true
		return false
	}
	text := card.Render(v, now, g.who.Load().zone)
	shown := ids.Hash(text.Essence)
	moved := e.Lane != d.Room
	if !moved && e.Event != "" {
		g.offerQuick(b, e, now)
	}
	if !moved && e.Event != "" && shown == e.Shown {
		return false
	}
	r := lane.Record{
		Lane: d.Room, ID: ids.NewULID(now), Device: e.id, Class: lane.State, Key: cardKey, At: now,
		Post: lane.Post{Kind: lane.Notice, Text: text.Plain, HTML: text.HTML},
	}
	if moved {
		g.cards.byEvent.Delete(e.Event) // it stays behind in the other room
		e.pin(b, "", cmp.Or(e.Event, e.Old), now)
		e.Event, e.Old, e.Quick = "", "", nil
	}
	if e.Event != "" {
		r.Post.Replaces = e.Event
	} else {
		r.Urgent = true // so that it is never left out: nothing more is shown before it is there
		e.Sending = r.ID
		g.cards.making[r.ID] = e
	}
	e.Lane, e.Shown, e.At = d.Room, shown, now
	b.change.Append = append(b.change.Append, r)
	g.cards.save(b, e)
	return true
}

// cardMade is told that the record with this id is event e now; "": it was given up. It pins a new card.
func (g *Gateway) cardMade(b *batch, id string, event ids.EventID) {
	c, now := g.cards, g.now()
	e := c.making[id]
	if e == nil {
		return
	}
	delete(c.making, id)
	e.Sending, e.Event = "", event
	if event != "" {
		c.byEvent.Store(event, e.id)
		e.pin(b, event, e.Old, now)
		e.Old = ""
		g.offerQuick(b, e, now)
	}
	c.save(b, e)
	if e.again {
		e.again = false
		c.touch(e.id, false, now)
	}
}

// cardGone is told that an event was redacted: a card is made again.
func (g *Gateway) cardGone(b *batch, event ids.EventID) {
	c := g.cards
	id, is := c.deviceOf(event)
	e := c.byID[id]
	if !is || e == nil {
		return
	}
	c.byEvent.Delete(event)
	e.Event, e.Old, e.Quick = "", event, nil
	c.save(b, e)
	c.touch(e.id, true, g.now())
}

// !status lists at most so many readings, and fewer where text and HTML would have more bytes than an event holds.
const (
	maxStatus      = 150
	maxStatusBytes = 32 << 10
)

// status is everything that is known of a device, as text and HTML.
func (g *Gateway) status(id ids.DeviceID) (text, html string) {
	v, d := g.cardView(id, true)
	if d == nil {
		return "Nothing is known of this device.", ""
	}
	var t card.Text
	for v.Most = maxStatus; v.Most > 0; v.Most /= 2 {
		if t = card.Render(v, g.now(), g.who.Load().zone); len(t.Plain)+len(t.HTML) <= maxStatusBytes {
			break
		}
	}
	return t.Plain, t.HTML
}

// cardView is what a device's card has to show; nil: it has none. whole: with what cards leave out.
func (g *Gateway) cardView(id ids.DeviceID, whole bool) (v card.View, d *Device) {
	d, f := g.devices.byID[id], g.found(id)
	if d == nil || f == nil && !g.cfg.Cards.Rules && !whole {
		return v, nil
	}
	v.Name = title(d.Name)
	if f != nil {
		announcedView(&v, f, whole)
	} else {
		d.ruledView(&v)
	}
	for _, a := range g.alarmsOf(d) {
		v.Alarms = append(v.Alarms, oneLine(a.Text))
	}
	if c, ok := g.commands.last(id); ok {
		v.Command = card.Command{Name: strings.TrimSpace(c.Name), State: c.words(), By: string(c.Sender), At: c.lastChange()}
	}
	return v, d
}

// announcedView shows what a device announced.
func announcedView(v *card.View, f *discovery.Device, whole bool) {
	var about []string
	if f.Is.Kind != convention.Other {
		about = append(about, strings.ReplaceAll(string(f.Is.Kind), "_", " "))
	}
	if model := title(strings.TrimSpace(f.Is.Manufacturer + " " + f.Is.Model)); model != "" {
		about = append(about, model)
	}
	v.About = strings.Join(about, ", ")
	v.Online, v.Since = card.Online(f.Online), f.Since
	if whole {
		v.Refused = refusals(&f.Is)
	}
	for i := range f.Is.Readings {
		r := &f.Is.Readings[i]
		value, came := f.Values[r.Name]
		line := card.Line{Label: title(r.Label), At: value.At}
		if value.Known {
			line.Value = card.Value(&r.Reading, value.Text)
		}
		switch {
		case r.Kind == convention.Image || r.Kind == convention.ImageB64:
		case r.Quantity == "battery" && r.Kind == convention.Number && line.Value != "" && v.Battery.Value == "":
			v.Battery = line
		case !whole && (r.Diagnostic || r.Hidden):
			if came {
				v.More++
			}
		default:
			v.Lines = append(v.Lines, line)
		}
	}
}

// ruledView shows the latest value of each topic.
func (d *Device) ruledView(v *card.View) {
	v.About = strings.ReplaceAll(d.Ruled, "_", " ")
	for _, name := range slices.Sorted(maps.Keys(d.Readings)) {
		r := d.Readings[name]
		if strings.HasPrefix(r.Value, "sha256:") || strings.HasPrefix(name, announcedKey) {
			continue // too large for a line; kept for pictures
		}
		label := name[strings.LastIndexByte(name, '/')+1:]
		v.Lines = append(v.Lines, card.Line{Label: title(label), Value: card.Value(&convention.Reading{Kind: convention.Text}, title(plainValue(r.Value))), At: r.At})
	}
}

// maxMembers is how many members of a JSON object a card's line lists.
const maxMembers = 6

// plainValue is a payload as a line for people: the members of a JSON object without its braces, anything else as it is.
func plainValue(v string) string {
	var members map[string]any
	d := json.NewDecoder(strings.NewReader(v))
	d.UseNumber()
	if !strings.HasPrefix(v, "{") || d.Decode(&members) != nil || d.More() {
		return v
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		switch m := members[name].(type) {
		case nil, map[string]any, []any: // no line can show it
		default:
			out = append(out, fmt.Sprintf("%s %v", name, m))
		}
	}
	if len(out) > maxMembers {
		out = append(out[:maxMembers], "…")
	}
	return strings.Join(out, ", ")
}

// stateWords are the states of a command as a card says them.
var stateWords = map[State]string{
	Received: "being sent", Waiting: "waits for a second look", Queued: "waits for the broker", Published: "sent", Confirmed: "confirmed",
	Failed: "failed", Expired: "expired", Refused: "refused", Withdrawn: "withdrawn", Unknown: "nobody knows whether it was done",
}

// words are the state of c as a card says it.
func (c *Command) words() string {
	if c.State == Queued && c.Held {
		return "waits for the device"
	}
	return stateWords[c.State]
}

// cardHeap has the card first that is due first.
type cardHeap []*cardEntry

func (h cardHeap) Len() int           { return len(h) }
func (h cardHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h cardHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *cardHeap) Push(x any) {
	e := x.(*cardEntry)
	e.place = len(*h)
	*h = append(*h, e)
}

func (h *cardHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.place = -1
	return e
}

// cardsBegin looks at all cards after a start: what they show may be out of date.
func (g *Gateway) cardsBegin(now time.Time) {
	for id, d := range g.devices.byID {
		if d != nil {
			g.cards.touch(id, false, now)
		}
	}
}
