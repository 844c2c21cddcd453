package convention

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// spBounds are the smallest and largest values of the whole data types.
var spBounds = map[uint32][2]float64{
	spInt8: {math.MinInt8, math.MaxInt8}, spInt16: {math.MinInt16, math.MaxInt16}, spInt32: {math.MinInt32, math.MaxInt32}, spInt64: {-1 << 53, 1 << 53},
	spUInt8: {0, math.MaxUint8}, spUInt16: {0, math.MaxUint16}, spUInt32: {0, math.MaxUint32}, spUInt64: {0, 1 << 53},
}

// part makes the Part of a birth certificate, and what must be remembered of its metrics in at most room bytes.
func (c sparkplug) part(t spTopic, p spPayload, room int) (Part, []spKnown) {
	part := Part{
		Convention: c.Name(), Key: t.key(), IDs: []string{"sparkplug:" + t.key()}, Name: firstOf(t.device, t.edge), Area: t.group,
	}
	about := []string{t.edge, t.device}
	orders := c.prefix + "/" + t.group + "/NCMD/" + t.edge
	if t.device != "" {
		part.Via = "sparkplug:" + t.group + "/" + t.edge
		orders = c.prefix + "/" + t.group + "/DCMD/" + t.edge + "/" + t.device
	}
	readings, commands := unique{}, unique{}
	seen := map[string]bool{}
	var known []spKnown
	full := false
	for _, m := range p.metrics {
		if m.name == "" || m.name == "bdSeq" || seen[m.name] {
			continue
		}
		seen[m.name] = true
		k := spKnown{Name: m.name, Alias: m.alias, HasAlias: m.hasAlias, Type: m.datatype}
		if room -= k.size() + MaxWord; room < 0 || len(part.Readings) == MaxReadings {
			full = true
			break
		}
		if order, ok := strings.CutPrefix(m.name, "Node Control/"); ok {
			if t.device == "" && (order == "Rebirth" || order == "Reboot") {
				part.Commands = append(part.Commands, controls(orders, m.name, commands.name(order, "command")))
			}
			continue
		}
		r, ok := m.reading(readings)
		if !ok {
			part.Refused = append(part.Refused, Refusal{label(m.name), "values of its kind (" + spTypeName(m.datatype) + ") cannot be shown"})
			continue
		}
		k.Reading = r.Name
		part.Readings = append(part.Readings, r)
		known = append(known, k)
		about = append(about, m.name)
		if !m.readOnly && !strings.HasPrefix(m.name, "Properties/") && len(part.Commands) < MaxCommands {
			part.Commands = append(part.Commands, m.command(orders, r, commands))
		}
	}
	if full {
		part.Refused = append(part.Refused, Refusal{"More metrics", "it has more than can be watched"})
	}
	if part.Kind = kindOf(about[:2]...); part.Kind == Sensor && t.device == "" && len(part.Readings) == 0 {
		part.Kind = Bridge
	}
	return finish(part), known
}

// reading describes a metric; false if its values cannot be shown.
func (m spMetric) reading(names unique) (Reading, bool) {
	last := m.name[strings.LastIndexByte(m.name, '/')+1:]
	r := Reading{
		Label: label(strings.ReplaceAll(m.name, "/", " ")), Unit: clean(m.unit, MaxWord), Precision: -1, Diagnostic: strings.HasPrefix(m.name, "Properties/"),
	}
	switch m.datatype {
	case spInt8, spInt16, spInt32, spInt64, spUInt8, spUInt16, spUInt32, spUInt64, spFloat, spDouble:
		r.Kind, r.Quantity = Number, quantityOf(word(last), r.Unit)
	case spBoolean:
		r.Kind, r.On, r.Off, r.Quantity = OnOff, "true", "false", zigbeeBinary[word(last)]
	case spString, spText, spUUID:
		r.Kind = Text
	case spDateTime:
		r.Kind = Time
	default:
		return r, false
	}
	r.Name = names.name(m.name, "metric")
	return r, true
}

// controls is a command of the node itself.
func controls(orders, metric, name string) Command {
	c := Command{
		Name: name, Label: map[string]string{"rebirth": "Ask for all values again", "reboot": "Restart the node"}[name], Topic: orders, Grade: Dangerous,
		Payload: jsonObject(field{name: "name", source: jsonLiteral(metric)}, field{name: "type", source: strconv.Itoa(spBoolean)}, field{name: "value", source: "true"}),
	}
	if name == "rebirth" {
		c.Grade = Operate
	}
	return c
}

// command sets a metric. Sparkplug does not say which of them may be set, so each is dangerous; the device has the last word.
func (m spMetric) command(orders string, r Reading, names unique) Command {
	a := Arg{Name: "value", Label: r.Label, Kind: r.Kind, Unit: r.Unit, On: r.On, Off: r.Off, Secret: secretWord(m.name)}
	if b, ok := spBounds[m.datatype]; ok {
		low, high := b[0], b[1]
		a.Min, a.Max, a.Step = &low, &high, 1
	}
	if low := bound(m.low); low != nil && a.Kind == Number {
		a.Min = low
	}
	if high := bound(m.high); high != nil && a.Kind == Number {
		a.Max = high
	}
	return Command{
		Name: names.name("set_"+r.Name, "command"), Label: "Set " + lowered(r.Label), Args: []Arg{a}, Topic: orders, Grade: Dangerous,
		Payload: jsonObject(field{name: "name", source: jsonLiteral(m.name)}, field{name: "type", source: strconv.FormatUint(uint64(m.datatype), 10)}, field{name: "value", source: jsonValue(a)}),
		Confirm: confirm(r.Name, "{{ value }}"),
	}
}

// spTypeName is a data type in words.
func spTypeName(t uint32) string {
	switch {
	case t == spDataSet:
		return "tables"
	case t == spBytes || t == spFile:
		return "files"
	case t == spTemplate:
		return "templates"
	case t >= 22 && t <= 34:
		return "lists"
	}
	return "type " + strconv.FormatUint(uint64(t), 10)
}

// spWrite is a metric of an order, as Command.Payload renders it.
type spWrite struct {
	Name  string          `json:"name"`
	Type  uint32          `json:"type"`
	Value json.RawMessage `json:"value"`
	value spValue
}

// Encode makes a Sparkplug payload of {"name": ..., "type": ..., "value": ...}.
func (c sparkplug) Encode(rendered []byte, now time.Time) ([]byte, error) {
	var w spWrite
	if err := json.Unmarshal(rendered, &w); err != nil || w.Name == "" {
		return nil, fmt.Errorf("this is no value that can be sent")
	}
	text := string(w.Value)
	var err error
	switch w.Type {
	case spBoolean:
		w.value.kind = 'b'
		if text == "true" {
			w.value.bits = 1
		} else if text != "false" {
			err = fmt.Errorf("%s is neither true nor false", text)
		}
	case spFloat, spDouble:
		var f float64
		f, err = strconv.ParseFloat(text, 64)
		w.value = spValue{kind: 'f', bits: math.Float64bits(f), single: w.Type == spFloat}
	case spString, spText, spUUID:
		w.value.kind = 's'
		err = json.Unmarshal(w.Value, &w.value.text)
	case spDateTime:
		var at time.Time
		if at, err = time.Parse(time.RFC3339, strings.Trim(text, `"`)); err == nil {
			w.value = spValue{kind: 'i', bits: uint64(at.UnixMilli()), long: true}
		}
	case spUInt8, spUInt16, spUInt32, spUInt64:
		w.value = spValue{kind: 'i', long: w.Type > spUInt32 || w.Type == spUInt32}
		w.value.bits, err = strconv.ParseUint(text, 10, map[uint32]int{spUInt8: 8, spUInt16: 16, spUInt32: 32, spUInt64: 64}[w.Type])
	case spInt8, spInt16, spInt32, spInt64:
		var i int64
		i, err = strconv.ParseInt(text, 10, map[uint32]int{spInt8: 8, spInt16: 16, spInt32: 32, spInt64: 64}[w.Type])
		w.value = spValue{kind: 'i', bits: uint64(i), long: w.Type == spInt64}
	default:
		err = fmt.Errorf("values of this kind cannot be sent")
	}
	if err != nil {
		return nil, fmt.Errorf("%s is no value for %s: %w", text, w.Name, err)
	}
	return appendSpPayload(nil, now, w), nil
}

// appendSpPayload appends a payload with one metric.
func appendSpPayload(b []byte, now time.Time, w spWrite) []byte {
	at := uint64(max(now.UnixMilli(), 0))
	var m []byte
	m = protowire.AppendString(protowire.AppendTag(m, 1, protowire.BytesType), w.Name)
	m = protowire.AppendVarint(protowire.AppendTag(m, 3, protowire.VarintType), at)
	m = protowire.AppendVarint(protowire.AppendTag(m, 4, protowire.VarintType), uint64(w.Type))
	switch v := w.value; {
	case v.kind == 'b':
		m = protowire.AppendVarint(protowire.AppendTag(m, 14, protowire.VarintType), v.bits)
	case v.kind == 's':
		m = protowire.AppendString(protowire.AppendTag(m, 15, protowire.BytesType), v.text)
	case v.kind == 'f' && v.single:
		m = protowire.AppendFixed32(protowire.AppendTag(m, 12, protowire.Fixed32Type), math.Float32bits(float32(math.Float64frombits(v.bits))))
	case v.kind == 'f':
		m = protowire.AppendFixed64(protowire.AppendTag(m, 13, protowire.Fixed64Type), v.bits)
	case v.long:
		m = protowire.AppendVarint(protowire.AppendTag(m, 11, protowire.VarintType), v.bits)
	default:
		m = protowire.AppendVarint(protowire.AppendTag(m, 10, protowire.VarintType), v.bits&math.MaxUint32)
	}
	b = protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), at)
	return protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), m)
}
