package convention

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// sparkplug reads Sparkplug B (specification 3.0). An edge node and its devices say at birth what metrics they have, and
// then send those that change, often by a number (alias) only. So messages must be seen in order and from the beginning:
// where one is missing the node is asked for a new birth certificate, once.
type sparkplug struct{ prefix string }

const (
	spMetricsMax = 1024             // of one message
	spDevicesMax = 256              // of an edge node
	spMemory     = MaxState * 2 / 3 // bytes of metrics that are remembered of an edge node and its devices
	spRebirth    = "Node Control/Rebirth"
)

func newSparkplug(prefix string) Convention { return sparkplug{prefix} }

func (c sparkplug) Name() string { return "sparkplug" }

func (c sparkplug) Filters() []topic.Filter {
	g := c.prefix + "/+/"
	return filters(g+"NBIRTH/+", g+"NDATA/+", g+"NDEATH/+", g+"DBIRTH/+/+", g+"DDATA/+/+", g+"DDEATH/+/+")
}

// spTopic is a topic of Sparkplug: <namespace>/<group>/<kind>/<edge node>[/<device>].
type spTopic struct{ group, kind, edge, device string }

func (c sparkplug) parse(t string) (spTopic, bool) {
	rest, ok := strings.CutPrefix(t, c.prefix+"/")
	l := strings.Split(rest, "/")
	if !ok || len(l) < 3 || len(l) > 4 || len(rest) > MaxID-16 || slices.Contains(l, "") || publishable(rest) != "" {
		return spTopic{}, false
	}
	p := spTopic{group: l[0], kind: l[1], edge: l[2]}
	kinds := []string{"NBIRTH", "NDATA", "NDEATH"}
	if len(l) == 4 {
		p.device = l[3]
		kinds = []string{"DBIRTH", "DDATA", "DDEATH"}
	}
	if label(p.group) != p.group || label(p.edge) != p.edge || label(p.device) != p.device {
		return spTopic{}, false
	}
	return p, slices.Contains(kinds, p.kind)
}

func (c sparkplug) Key(t string) string {
	p, ok := c.parse(t)
	if !ok {
		return ""
	}
	return p.group + "/" + p.edge
}

// key is Part.Key.
func (p spTopic) key() string {
	if p.device == "" {
		return p.group + "/" + p.edge
	}
	return p.group + "/" + p.edge + "/" + p.device
}

func (c sparkplug) Step(s State, m topic.Message) (State, []Fact) {
	t, _ := c.parse(m.Topic)
	e := recallSpEdge(s)
	p, err := decodeSparkplug(m.Payload, spMetricsMax)
	if err != nil {
		if strings.HasSuffix(t.kind, "BIRTH") {
			return s, []Fact{Refused{t.key(), label(firstOf(t.device, t.edge)), label("its birth certificate cannot be read: " + err.Error())}}
		}
		return s, nil
	}
	var facts []Fact
	switch t.kind {
	case "NBIRTH":
		for _, d := range slices.Sorted(maps.Keys(e.Devices)) { // each comes with a birth of its own
			known := e.Devices[d]
			if d != "" && known.Alive {
				facts = append(facts, Online{Key: spTopic{t.group, t.kind, t.edge, d}.key(), Reason: "its edge node started again"})
			}
			known.Alive = false
			e.Devices[d] = known
		}
		e.BdSeq, e.Asked, e.Seq = bdSeq(p), false, int(p.seq&255)
		facts = append(facts, c.birth(&e, t, p, m.Time)...)
	case "DBIRTH":
		facts = append(c.follow(&e, t, p, m.Time), c.birth(&e, t, p, m.Time)...)
	case "NDATA", "DDATA":
		facts = append(c.follow(&e, t, p, m.Time), c.data(&e, t, p, m.Time)...)
	case "NDEATH":
		if seq := bdSeq(p); e.BdSeq != "" && seq != "" && seq != e.BdSeq {
			return s, nil // of an older life
		}
		for _, d := range slices.Sorted(maps.Keys(e.Devices)) {
			facts = append(facts, c.death(&e, spTopic{t.group, t.kind, t.edge, d}, m.Time)...)
		}
	case "DDEATH":
		facts = append(c.follow(&e, t, p, m.Time), c.death(&e, t, m.Time)...)
	}
	return e.remember(), facts
}

// bdSeq is the number that a death has in common with its birth; "" if there is none.
func bdSeq(p spPayload) string {
	for _, m := range p.metrics {
		if m.name == "bdSeq" {
			return m.value.number(spUInt64)
		}
	}
	return ""
}

// follow checks that nothing is missing before this message; else it asks for a new birth.
func (c sparkplug) follow(e *spEdge, t spTopic, p spPayload, now time.Time) []Fact {
	expected := (e.Seq + 1) % 256
	e.Seq = int(p.seq & 255)
	if node := e.Devices[""]; node.Alive && p.hasSeq && e.Seq == expected {
		return nil
	}
	return c.ask(e, t, now)
}

// ask requests a birth certificate unless it has been asked for.
func (c sparkplug) ask(e *spEdge, t spTopic, now time.Time) []Fact {
	if e.Asked {
		return nil
	}
	e.Asked = true
	return []Fact{Publish{
		Topic:   c.prefix + "/" + t.group + "/NCMD/" + t.edge,
		Payload: appendSpPayload(nil, now, spWrite{Name: spRebirth, Type: spBoolean, value: spValue{kind: 'b', bits: 1}}),
	}}
}

// birth takes a birth certificate: what there is, and all values.
func (c sparkplug) birth(e *spEdge, t spTopic, p spPayload, now time.Time) []Fact {
	old := e.Devices[t.device]
	if _, known := e.Devices[t.device]; !known && len(e.Devices) == spDevicesMax {
		return []Fact{Refused{t.key(), label(t.device), "its edge node has more devices than can be watched"}}
	}
	room := spMemory
	for name, d := range e.Devices {
		if name != t.device {
			for _, m := range d.Metrics {
				room -= m.size()
			}
		}
	}
	part, known := c.part(t, p, room)
	e.Devices[t.device] = spDevice{Alive: true, Metrics: known}
	facts := []Fact{part, Online{Key: t.key(), Online: true}}
	if old.Dead {
		facts = append(facts, Alarm{Key: t.key(), Name: "death", Text: "It is back", Time: spTime(p.timestamp, now)})
	}
	return append(facts, c.values(e, t, p, now)...)
}

// data takes changed values.
func (c sparkplug) data(e *spEdge, t spTopic, p spPayload, now time.Time) []Fact {
	if !e.Devices[t.device].Alive {
		return c.ask(e, t, now)
	}
	return c.values(e, t, p, now)
}

// values decodes the metrics of a message by what the birth said of them.
func (c sparkplug) values(e *spEdge, t spTopic, p spPayload, now time.Time) []Fact {
	known := e.Devices[t.device].Metrics
	var values []Value
	var facts []Fact
	for _, m := range p.metrics {
		i := slices.IndexFunc(known, func(k spKnown) bool {
			return m.name != "" && k.Name == m.name || m.name == "" && m.hasAlias && k.HasAlias && k.Alias == m.alias
		})
		if i < 0 {
			if m.name == "" {
				facts = c.ask(e, t, now) // an alias that no birth has told
			}
			continue
		}
		if text, ok := m.text(known[i].Type); ok && known[i].Reading != "" && !m.historical && len(values) < MaxReadings {
			values = append(values, Value{known[i].Reading, text})
		}
	}
	if len(values) > 0 {
		facts = append([]Fact{Values{Key: t.key(), Values: values, Time: spTime(p.timestamp, now)}}, facts...)
	}
	return facts
}

// death of a node or a device.
func (c sparkplug) death(e *spEdge, t spTopic, now time.Time) []Fact {
	d, known := e.Devices[t.device]
	if !known || !d.Alive {
		return nil
	}
	d.Alive = false
	d.Dead = t.device == "" || t.kind == "DDEATH" // a node's death speaks for its devices
	e.Devices[t.device] = d
	facts := []Fact{Online{Key: t.key(), Reason: "its death certificate came"}}
	if d.Dead {
		facts = append(facts, Alarm{Key: t.key(), Name: "death", Text: "It is gone: its death certificate came", Raised: true, Time: now})
	}
	return facts
}

// spTime is a time of Sparkplug, in milliseconds; now stands for one that cannot be.
func spTime(ms uint64, now time.Time) time.Time {
	if at, ok := milliseconds(strconv.FormatUint(ms, 10)); ok {
		return at
	}
	return now
}

// milliseconds reads a time in milliseconds since 1970; false if it is none between 2000 and 2100.
func milliseconds(text string) (time.Time, bool) {
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms < 946684800_000 || ms > 4102444800_000 {
		return time.Time{}, false
	}
	return time.UnixMilli(ms).UTC(), true
}

// text is the value of a metric as its reading shows it; false if there is none.
func (m spMetric) text(datatype uint32) (string, bool) {
	if m.null {
		return "", false
	}
	if m.datatype != 0 {
		datatype = m.datatype
	}
	switch m.value.kind {
	case 'b':
		return strconv.FormatBool(m.value.bits == 1), true
	case 's':
		return m.value.text, true
	case 'i', 'f':
		if datatype == spDateTime {
			at, ok := milliseconds(m.value.number(spUInt64))
			return at.Format(time.RFC3339), ok
		}
		if datatype == spBoolean {
			return strconv.FormatBool(m.value.bits != 0), true
		}
		n := m.value.number(datatype)
		return n, n != ""
	}
	return "", false
}
