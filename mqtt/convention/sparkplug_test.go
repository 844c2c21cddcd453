package convention

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// spMessage encodes a payload with a sequence number (none if it is negative), for tests.
func spMessage(seq int, metrics ...spWrite) []byte {
	var b []byte
	for _, m := range metrics {
		b = appendSpPayload(b, time.UnixMilli(1767225600000), m)
	}
	if seq >= 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), uint64(seq))
	}
	return b
}

func spInt(name string, v uint64) spWrite {
	return spWrite{Name: name, Type: spUInt64, value: spValue{kind: 'i', bits: v, long: true}}
}

// spPlay sends kinds of messages of node e in group g and gives what became of each in a word or two.
func spPlay(t *testing.T, p *player, kind string, payload []byte) string {
	t.Helper()
	name := "spBv1.0/g/" + kind + "/e"
	if kind[0] == 'D' {
		name += "/d"
	}
	var words []string
	for _, f := range p.play(topic.Message{Topic: name, Payload: payload, Time: time.UnixMilli(1767225600000)}) {
		words = append(words, strings.TrimPrefix(fmt.Sprintf("%T", f), "convention."))
	}
	return strings.Join(words, " ")
}

// TestSparkplugSequence: a gap makes one request for a new birth, a number goes from 255 to 0 without one, and a death counts
// only for its own birth.
func TestSparkplugSequence(t *testing.T) {
	p := newPlayer(t, made(t, "sparkplug", ""))
	birth := func(bd uint64) []byte { return spMessage(0, spInt("bdSeq", bd), spInt("n", 1)) }
	for i, step := range []struct {
		kind    string
		payload []byte
		want    string
	}{
		{"NDATA", spMessage(4, spInt("n", 5)), "Publish"},
		{"NDATA", spMessage(5, spInt("n", 5)), ""}, // it has been asked for
		{"NBIRTH", birth(7), "Part Online Values"},
		{"NDATA", spMessage(1, spInt("n", 5)), "Values"},
		{"NDATA", spMessage(3, spInt("n", 6)), "Publish Values"},
		{"NDATA", spMessage(9, spInt("n", 6)), "Values"},
		{"DDATA", spMessage(10, spInt("n", 6)), ""}, // no birth of the device, and asked for already
		{"NBIRTH", birth(8), "Part Online Values"},
		{"DDATA", spMessage(1, spInt("n", 6)), "Publish"},
		{"NBIRTH", birth(9), "Part Online Values"},
		{"DBIRTH", spMessage(1, spInt("x", 6)), "Part Online Values"},
		{"NDEATH", spMessage(-1, spInt("bdSeq", 8)), ""}, // of the life before
		{"NDATA", spMessage(2, spInt("n", 5)), "Values"},
		{"NDEATH", spMessage(-1, spInt("bdSeq", 9)), "Online Alarm Online"},
		{"NDEATH", spMessage(-1, spInt("bdSeq", 9)), ""},
		{"NBIRTH", birth(10), "Part Online Alarm Values"},
	} {
		if got := spPlay(t, p, step.kind, step.payload); got != step.want {
			t.Fatalf("step %d, %s: %q, want %q", i, step.kind, got, step.want)
		}
	}
	for i := 1; i < 600; i++ {
		if got := spPlay(t, p, "NDATA", spMessage(i%256, spInt("n", uint64(i)))); got != "Values" {
			t.Fatalf("message %d: %q", i, got)
		}
	}
}

// TestSparkplugIsBounded: what births make one remember ends, and says so.
func TestSparkplugIsBounded(t *testing.T) {
	p := newPlayer(t, made(t, "sparkplug", ""))
	spPlay(t, p, "NBIRTH", spMessage(0, spInt("bdSeq", 1)))
	for d := range 20 {
		var metrics []spWrite
		for i := range 300 {
			metrics = append(metrics, spInt(fmt.Sprintf("%s/%d", strings.Repeat("long", 30), i), 1))
		}
		p.play(topic.Message{Topic: fmt.Sprintf("spBv1.0/g/DBIRTH/e/d%d", d), Payload: spMessage((d+1)%256, metrics...)})
		if s := p.states["g/e"]; len(s) == 0 || len(s) > MaxState {
			t.Fatalf("after %d devices the state has %d bytes", d+1, len(s))
		}
	}
	if first := p.parts["g/e/d0"]; len(first.Readings) != MaxReadings || len(first.Refused) == 0 {
		t.Errorf("the first device has %d readings, %+v", len(first.Readings), first.Refused)
	}
	if got := spPlay(t, p, "NBIRTH", spMessage(0, spInt("bdSeq", 2))); !strings.Contains(got, "Part") {
		t.Errorf("the node itself is not there any more: %q", got)
	}
}

func TestSparkplugEncodeRefuses(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`{"name":"a","type":5,"value":256}`, "out of range"},
		{`{"name":"a","type":1,"value":-129}`, "out of range"},
		{`{"name":"a","type":3,"value":1.5}`, "invalid syntax"},
		{`{"name":"a","type":11,"value":1}`, "neither true nor false"},
		{`{"name":"a","type":16,"value":1}`, "cannot be sent"},
		{`{"name":"a","type":13,"value":"tomorrow"}`, "no value for a"},
		{`{"type":11,"value":true}`, "no value that can be sent"},
		{`{`, "no value that can be sent"},
	} {
		if _, err := (sparkplug{}).Encode([]byte(tt.in), time.Time{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.in, err, tt.want)
		}
	}
}

func TestSparkplugDecodeRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"cut off":            spMessage(1, spInt("a", 1))[:9],
		"group":              {0x0b},
		"field 0":            {0x00},
		"too long":           make([]byte, spPayloadMax+1),
		"name is not a text": spMessage(1, spInt("\xff", 1)),
		"name too long":      spMessage(1, spInt(strings.Repeat("a", spNameMax+1), 1)),
	} {
		if _, err := decodeSparkplug(b, 8); !errors.Is(err, errSparkplug) {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := make([]spWrite, 9)
	if _, err := decodeSparkplug(spMessage(1, many...), 8); err == nil || !strings.Contains(err.Error(), "more than 8 metrics") {
		t.Errorf("nine metrics: %v", err)
	}
}

// FuzzSparkplug: whatever the bytes are, what is read stays within its bounds, and what is read of an order is what was put in.
func FuzzSparkplug(f *testing.F) {
	f.Add([]byte(nil), "a", int64(1))
	f.Add(spMessage(3, spInt("bdSeq", 7), spWrite{Name: "s", Type: spString, value: spValue{kind: 's', text: "x"}}), "Node Control/Rebirth", int64(-5))
	f.Fuzz(func(t *testing.T, b []byte, name string, v int64) {
		p, err := decodeSparkplug(b, 4)
		if err == nil && len(p.metrics) > 4 {
			t.Fatalf("%d metrics", len(p.metrics))
		}
		for _, m := range p.metrics {
			if len(m.name) > spNameMax || len(m.unit) > MaxName || len(m.value.text) > MaxName {
				t.Fatalf("%+v", m)
			}
		}
		order := fmt.Sprintf(`{"name":%s,"type":%d,"value":%d}`, plainJSON(name), spInt64, v)
		made, err := sparkplug{}.Encode([]byte(order), time.UnixMilli(0))
		if err != nil {
			return // a name that is empty
		}
		back, err := decodeSparkplug(made, 1)
		if 3*len(name) > spNameMax { // each byte that is no text becomes three
			return
		}
		if err != nil || len(back.metrics) != 1 {
			t.Fatalf("%s: %v", order, err)
		}
		if text, ok := back.metrics[0].text(0); !ok || text != fmt.Sprint(v) {
			t.Fatalf("%s came back as %q", order, text)
		}
	})
}
