package convention

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// owntracks reads where phones are, as the OwnTracks apps publish it to <prefix>/<user>/<device> (booklet, "JSON").
type owntracks struct{ prefix string }

func newOwnTracks(prefix string) Convention { return owntracks{prefix} }

func (c owntracks) Name() string { return "owntracks" }

func (c owntracks) Filters() []topic.Filter {
	d := c.prefix + "/+/+"
	return filters(d, d+"/event", d+"/info", d+"/status")
}

func (c owntracks) Key(t string) string {
	rest, ok := strings.CutPrefix(t, c.prefix+"/")
	levels := strings.Split(rest, "/")
	switch {
	case !ok || len(levels) < 2 || len(levels) > 3 || levels[0] == "" || levels[1] == "" || len(levels[0])+len(levels[1]) > MaxID/2:
		return ""
	case len(levels) == 3 && levels[2] != "event" && levels[2] != "info" && levels[2] != "status":
		return ""
	case publishable(t) != "":
		return ""
	}
	return levels[0] + "/" + levels[1]
}

// owntracksState is what is remembered of a phone.
type owntracksState struct {
	Name      string   `json:"n,omitempty"` // the person's, from a card
	Readings  []string `json:"r,omitempty"`
	Announced bool     `json:"a,omitempty"`
	Encrypted bool     `json:"e,omitempty"`
}

// owntracksReadings are the members of a location, beside the place.
var owntracksReadings = []struct {
	member string
	r      Reading
}{
	{"batt", Reading{Name: "battery", Label: "Battery", Kind: Number, Unit: "%", Quantity: "battery"}},
	{"bs", Reading{Name: "charging", Label: "Charging", Kind: Option, Options: []string{"unknown", "unplugged", "charging", "full"}, Diagnostic: true}},
	{"vel", Reading{Name: "speed", Label: "Speed", Kind: Number, Unit: "km/h", Quantity: "speed"}},
	{"cog", Reading{Name: "course", Label: "Course", Kind: Number, Unit: "°", Diagnostic: true}},
	{"inregions", Reading{Name: "regions", Label: "Regions", Kind: Text}},
	{"conn", Reading{Name: "connection", Label: "Connection", Kind: Option, Options: []string{"Wi-Fi", "offline", "mobile"}, Diagnostic: true}},
	{"SSID", Reading{Name: "wifi", Label: "Wi-Fi", Kind: Text, Diagnostic: true}},
}

func (c owntracks) Step(s State, m topic.Message) (State, []Fact) {
	key := c.Key(m.Topic)
	o, err := object(m.Payload, MaxPayload)
	if err != nil {
		return s, nil
	}
	old := recall[owntracksState](s)
	next := old
	next.Readings = slices.Clone(old.Readings)
	var facts []Fact
	at, timed := seconds(o["tst"])
	switch o["_type"] {
	case "location":
		facts = c.location(key, &next, o, at)
	case "transition":
		next.Announced = true
		verb := map[any]string{"enter": "entered ", "leave": "left "}[o["event"]]
		region := label(str(o["desc"]))
		if verb != "" && region != "" && !m.Retained {
			id := ""
			if timed {
				id = at.Format(time.RFC3339) + " " + word(region)
			}
			facts = append(facts, Event{Key: key, Name: "region", Text: label(verb + region), ID: id, Time: at})
		}
	case "card":
		next.Name = label(str(o["name"]))
		if face, err := base64.StdEncoding.DecodeString(str(o["face"])); err == nil && len(face) > 0 && !m.Retained {
			facts = append(facts, Media{Key: key, Name: firstOf(next.Name, key), Data: face})
		}
	case "lwt":
		if next.Announced {
			facts = append(facts, Online{Key: key, Reason: "it lost its connection"})
		}
	case "encrypted":
		if next.Announced || next.Encrypted {
			return s, nil
		}
		next.Encrypted = true
		return remember(next), []Fact{Refused{key, label(key), "what it sends is encrypted with a key of OwnTracks"}}
	default:
		return s, nil
	}
	if next.Announced && (!old.Announced || next.Name != old.Name || len(next.Readings) != len(old.Readings)) {
		facts = append([]Fact{c.part(key, next)}, facts...)
	}
	return remember(next), facts
}

// location is one report.
func (c owntracks) location(key string, next *owntracksState, o map[string]any, at time.Time) []Fact {
	next.Announced = true
	facts := []Fact{Online{Key: key, Online: true}}
	lat, ok := number(o["lat"])
	lon, ok2 := number(o["lon"])
	if ok && ok2 && inRange(lat, 90) && inRange(lon, 180) {
		p := Position{Key: key, Latitude: lat, Longitude: lon, Time: at}
		if acc, ok := number(o["acc"]); ok && acc > 0 {
			p.Accuracy = acc
		}
		p.Altitude, p.HasAltitude = number(o["alt"])
		facts = append(facts, p)
	}
	var values []Value
	for _, known := range owntracksReadings {
		v, ok := o[known.member]
		if !ok || v == nil {
			continue
		}
		text := clean(str(v), MaxName)
		switch known.member {
		case "bs":
			text = known.r.Options[whole(v, 0, 3, 0)]
		case "conn":
			text = map[string]string{"w": "Wi-Fi", "o": "offline", "m": "mobile"}[text]
		case "inregions":
			text = label(strings.Join(texts(v, 16), ", "))
		}
		if known.r.Kind == Number {
			if _, ok := number(v); !ok {
				continue
			}
		}
		if !slices.Contains(next.Readings, known.r.Name) {
			next.Readings = append(next.Readings, known.r.Name)
		}
		values = append(values, Value{known.r.Name, text})
	}
	if len(values) > 0 {
		facts = append(facts, Values{Key: key, Values: values, Time: at})
	}
	return facts
}

func (c owntracks) part(key string, s owntracksState) Part {
	user, device, _ := strings.Cut(key, "/")
	name := firstOf(s.Name, spoken(user)) + " (" + firstOf(spoken(device), device) + ")"
	p := Part{
		Convention: c.Name(), Key: key, IDs: []string{Identifier("owntracks", c.prefix+"/"+key)}, Name: label(name),
		Manufacturer: "OwnTracks", Kind: Tracker,
		Commands: []Command{{
			Name: "report", Label: "Ask where it is", Topic: c.prefix + "/" + key + "/cmd", Grade: Read, Payload: `{"_type":"cmd","action":"reportLocation"}`,
		}},
	}
	for _, known := range owntracksReadings {
		if slices.Contains(s.Readings, known.r.Name) {
			known.r.Precision = -1
			p.Readings = append(p.Readings, known.r)
		}
	}
	return finish(p)
}

// inRange tells whether an angle is within plus or minus limit degrees.
func inRange(f, limit float64) bool { return f >= -limit && f <= limit }
