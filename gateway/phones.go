package gateway

import (
	"sync"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// phones knows which devices can be called, and the topics on which they speak of calls. Safe for concurrent use.
type phones struct {
	mu     sync.Mutex
	device map[ids.DeviceID]Phone
	topics map[string]phoneTopic
	told   map[phoneClash]bool
}

// phoneClash is a device that wants a topic which is another's.
type phoneClash struct {
	device ids.DeviceID
	topic  string
}

// Phone is how a device takes part in calls.
type Phone struct {
	Device  ids.DeviceID
	Name    string
	Prefix  string       // of the topics PREFIX/call/in and PREFIX/call/out, or those of libpeer; "" with other Media
	Media   Media        // of the gateway; the device itself knows of no calls
	Ring    string       // topic on which the device rings people besides; "" none
	People  []ids.UserID // who is rung
	AtOnce  bool         // all of them; else in turn
	Timeout time.Duration
	Max     time.Duration   // the longest call
	Keys    map[rune]string // key of a telephone to command; never changed
	Picture string          // topic of what the device sees; "" none
	// PictureURL is where a picture is fetched; "" nowhere.
	PictureURL string
}

type phoneTopic struct {
	device        ids.DeviceID
	ring, picture bool // else the device speaks of its calls
}

func newPhones() *phones {
	return &phones{device: map[ids.DeviceID]Phone{}, topics: map[string]phoneTopic{}, told: map[phoneClash]bool{}}
}

func (p *phones) get(d ids.DeviceID) (Phone, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, ok := p.device[d]
	return f, ok
}

func (p *phones) topic(name string) (phoneTopic, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.topics[name]
	return t, ok
}

// put makes f what is known of its device; one with neither prefix nor media can't be called. A topic belongs to the first device that
// has it: put gives those topics of f that are another's, the first time; they count for nothing, and without a prefix of its own a device
// can't be called.
func (p *phones) put(f Phone) (taken []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(f.Device)
	take := func(name string, t phoneTopic) bool {
		if name == "" {
			return true
		}
		if _, is := p.topics[name]; is {
			if clash := (phoneClash{f.Device, name}); !p.told[clash] {
				p.told[clash] = true
				taken = append(taken, name)
			}
			return false
		}
		p.topics[name] = t
		return true
	}
	switch {
	case f.Prefix != "":
		if !take(f.Prefix+f.Media.out(), phoneTopic{device: f.Device}) {
			return taken
		}
	case f.Media == Media{}:
		return nil
	}
	p.device[f.Device] = f
	take(f.Ring, phoneTopic{device: f.Device, ring: true})
	take(f.Picture, phoneTopic{device: f.Device, picture: true})
	return taken
}

func (p *phones) remove(d ids.DeviceID) {
	delete(p.device, d)
	for name, t := range p.topics {
		if t.device == d {
			delete(p.topics, name)
		}
	}
}

const (
	callIn  = "/call/in"
	callOut = "/call/out"
	// Those of libpeer, which are the library's own.
	invokeIn  = "/invoke"
	invokeOut = "/result"
)

// in and out end the topics on which a device hears and speaks of its calls.
func (m Media) in() string {
	if m.Libpeer {
		return invokeIn
	}
	return callIn
}

func (m Media) out() string {
	if m.Libpeer {
		return invokeOut
	}
	return callOut
}

// phoneOf is how a device takes part in calls by its rules: the first that says so counts.
func phoneOf(d *Device, rules []*Rule) Phone {
	f := Phone{Device: d.ID, Name: d.Name}
	for _, r := range rules {
		if r.spec.Call == nil {
			continue
		}
		captures := d.Rules[r.spec.Topic]
		if r.spec.Call.Prefix != "" {
			prefix, err := r.callPrefix.ExpandTopic(captures)
			if err != nil {
				continue // a capture is not there
			}
			f.Prefix = prefix
		}
		f.Media, f.Max, f.Keys = r.spec.Call.Media, r.spec.Call.Max, r.spec.Call.Keys
		if ring := r.spec.Call.Ring; ring != nil {
			f.People, f.AtOnce, f.Timeout = ring.People, ring.AtOnce, ring.Timeout
			if ring.Topic != "" {
				f.Ring, _ = r.ringTopic.ExpandTopic(captures)
			}
		}
		f.PictureURL = r.spec.Call.PictureURL
		if r.spec.Call.Picture != "" {
			f.Picture, _ = r.pictureTopic.ExpandTopic(captures)
		}
		break
	}
	return f
}

// know tells the other goroutines of a device. The router goroutine calls it.
func (g *Gateway) know(d *Device) {
	rules := g.rulesOf(d)
	g.directory.put(d, encryptionOf(rules), g.private.places(d))
	for _, name := range g.phones.put(phoneOf(d, rules)) {
		g.log.Warn("a topic of calls belongs to another device already, so this one is not heard there", logkey.Device, string(d.ID), logkey.Topic, name)
	}
}

// phoneSaid hands over what a device says of calls; false when the message is not about them. An old value is not news.
func (g *Gateway) phoneSaid(m topic.Message) bool {
	if g.cfg.Calls == nil {
		return false
	}
	t, ok := g.phones.topic(m.Topic)
	if !ok {
		return false
	}
	switch {
	case t.picture:
		g.keepPicture(t.device, m)
	case m.Retained:
	case t.ring:
		g.cfg.Calls.Ring(t.device)
	default:
		g.cfg.Calls.Said(t.device, m.Payload)
	}
	return !t.ring // what rings may be an event for the room as well
}
