package gateway

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// Device is what we know of a device. It is kept in the store's space "devices" as JSON.
type Device struct {
	ID        ids.DeviceID                 `json:"id"`
	Original  string                       `json:"original"` // the name before it became an id; two of them never share an id
	Name      string                       `json:"name"`
	Room      ids.RoomKey                  `json:"room"`
	RoomName  string                       `json:"room_name"`
	Space     string                       `json:"space,omitempty"`
	About     string                       `json:"about,omitempty"`  // what it announced to be, for people
	Kind      string                       `json:"kind,omitempty"`   // that it announced, or otherKind; "" nothing
	Ruled     string                       `json:"ruled,omitempty"`  // the kind that its rules say; "" none
	Rules     map[string]map[string]string `json:"rules"`            // captures by topic of the rules that had messages of it
	Readings  map[string]Reading           `json:"readings"`         // by topic
	Alarms    map[string]RaisedAlarm       `json:"alarms,omitempty"` // of rules, and not over
	Seen      time.Time                    `json:"seen"`
	Announced bool                         `json:"-"` // itself, and is admitted; only in what Gateway.Devices gives

	also []place // rooms besides Room that it speaks in
}

// Reading is one named value of a device.
type Reading struct {
	Value string    `json:"value"` // at most maxReading bytes; a longer one is its hash
	At    time.Time `json:"at"`
	Slot  time.Time `json:"slot,omitzero"` // telemetry: when the latest message about it goes, or went, to the room
}

const (
	maxReading  = 128
	maxReadings = 256    // of one device; above it the one is forgotten that was longest without a message
	maxDevices  = 10_000 // above it new devices are refused and reported
	maxRooms    = 20_000 // likewise, spaces among them
)

// spaces of the store that the gateway keeps its values in.
const (
	spaceDevices  = "devices"
	spaceRooms    = "rooms"
	spaceGhosts   = "ghosts"
	spaceCommands = "commands"
	spaceMarks    = "marks"
	spaceIDs      = "ids"
)

// shorten keeps small values and hashes large ones and those that JSON would change: enough to tell whether one changed.
func shorten(payload []byte) string {
	if len(payload) <= maxReading && utf8.Valid(payload) {
		return string(payload)
	}
	return "sha256:" + ids.Hash(string(payload))
}

// remember keeps a reading. Of too many the one goes that was longest without a message.
func (d *Device) remember(name string, r Reading) {
	if _, known := d.Readings[name]; !known && len(d.Readings) >= maxReadings {
		oldest := ""
		for n, o := range d.Readings {
			if old, ok := d.Readings[oldest]; !ok || o.At.Before(old.At) {
				oldest = n
			}
		}
		delete(d.Readings, oldest)
	}
	d.Readings[name] = r
}

// settle works out where d lives and speaks by the rules it had messages of, and says whether that, or its name, changed.
// The first of them in the configuration names the device and its home; one that has a room of its own speaks there. A
// device without a rule stays where it was.
func (d *Device) settle(rules *Rules) (changed bool) {
	was, also := d.home(), d.also
	d.also, d.Ruled = nil, ""
	first := true
	for _, r := range rules.list {
		captures, ok := d.Rules[r.spec.Topic]
		if !ok {
			continue
		}
		s, err := r.subject(captures)
		if err != nil || s.device != d.ID {
			continue // the rule is another one by now
		}
		if first {
			d.Name, d.Room, d.RoomName, d.Space = s.name, s.room, s.roomName, s.space
		} else if r.hasRoom && s.room != d.Room {
			d.also = append(d.also, place{name: d.Name, room: s.room, roomName: s.roomName, space: s.space})
		}
		first = false
		d.Ruled = cmp.Or(d.Ruled, r.spec.Kind)
	}
	return d.home() != was || !slices.Equal(d.also, also)
}

func (d *Device) home() place {
	at := place{name: d.Name, room: d.Room, roomName: d.RoomName, space: d.Space, about: d.About, kind: cmp.Or(d.Ruled, d.Kind)}
	if d.Ruled != "" && d.About == "" {
		at.about = aboutDevice(&convention.Device{Kind: convention.Kind(d.Ruled), Area: d.Space})
	}
	return at
}

// slot says when a message of telemetry at now may go to the room, so that there is at most one per every.
func (r Reading) slot(now time.Time, every time.Duration) time.Time {
	switch {
	case every <= 0 || r.Slot.IsZero() || !now.Before(r.Slot.Add(every)) || r.Slot.After(now.Add(every)): // the last: a clock went back
		return now
	case !now.After(r.Slot):
		return r.Slot // joins the one that waits
	default:
		return r.Slot.Add(every)
	}
}

// devices is the table of all devices. The router goroutine owns it; others see copies through Gateway.Devices.
type devices struct {
	byID  map[ids.DeviceID]*Device
	dirty map[ids.DeviceID]bool
}

func loadDevices(s Store) (*devices, error) {
	t := &devices{byID: map[ids.DeviceID]*Device{}, dirty: map[ids.DeviceID]bool{}}
	err := s.Each(spaceDevices, "", func(key string, value []byte) error {
		d := &Device{}
		if err := json.Unmarshal(value, d); err != nil {
			return fmt.Errorf("device %q in the store: %w", key, err)
		}
		if d.Rules == nil {
			d.Rules = map[string]map[string]string{}
		}
		if d.Readings == nil {
			d.Readings = map[string]Reading{}
		}
		t.byID[d.ID] = d
		return nil
	})
	return t, err
}

// of finds the device of s, or makes it, and brings it up to date; s then has the name and the room of the device where its
// own rule gives none. changed is true when the directory, and perhaps a room, must hear of it.
func (t *devices) of(s *subject, rules *Rules) (d *Device, changed bool, err error) {
	d = t.byID[s.device]
	switch {
	case d == nil && len(t.byID) >= maxDevices:
		return nil, false, fmt.Errorf("%q would be device number %d; %d is the most", s.original, len(t.byID)+1, maxDevices)
	case d == nil:
		d = &Device{ID: s.device, Original: s.original, Rules: map[string]map[string]string{}, Readings: map[string]Reading{}}
		t.byID[s.device] = d
	case d.Original != s.original:
		return nil, false, fmt.Errorf("%q and %q would both be the device %q", d.Original, s.original, s.device)
	}
	if old, ok := d.Rules[s.rule.spec.Topic]; !ok || !maps.Equal(old, s.captures) {
		d.Rules[s.rule.spec.Topic] = s.captures
		changed = d.settle(rules)
	}
	if !s.rule.hasName {
		s.name = d.Name
	}
	if !s.rule.hasRoom {
		s.room = d.Room
	}
	t.dirty[d.ID] = true
	return d, changed, nil
}

// flush gives the changed devices as items of a commit.
func (t *devices) flush() []lane.Item {
	out := make([]lane.Item, 0, len(t.dirty))
	for id := range t.dirty {
		b, err := json.Marshal(t.byID[id])
		if err != nil {
			panic(err) // strings and times only
		}
		out = append(out, lane.Item{Space: spaceDevices, Key: string(id), Value: b})
	}
	clear(t.dirty)
	return out
}
