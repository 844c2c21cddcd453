package store

import (
	"bytes"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

func when(second int) time.Time { return time.Unix(int64(1_000_000+second), 5).UTC() }

// samples are records that use every field.
func samples() []lane.Record {
	return []lane.Record{
		{Lane: "device/a", ID: "1", Class: lane.Event, At: when(1), Post: lane.Post{Kind: lane.Text, Text: "hello\x00\xff"}},
		{
			Lane: "room/x", ID: "01ARYZ6S41TSV4RRFFQ69G5FAV", Device: "a", Class: lane.Alarm, Key: "k", Topic: "a/b/ü",
			At: when(1), Expires: when(2), NotBefore: when(3), Urgent: true,
			Post: lane.Post{
				Kind: lane.Media, Text: "t", HTML: "<b>t</b>", Values: map[string]string{"a": "1", "b": ""}, RelatesTo: "$e",
				Mentions: []ids.UserID{"@a:b", "@c:d"}, MIME: "image/png", Name: "x.png", Width: 640, Height: 480,
				Data: bytes.Repeat([]byte{0, 1, 254}, 500), Command: "c", State: "confirmed", Replaces: "$old", Voice: 1500 * time.Millisecond,
			},
		},
		{
			Lane: "device/a", ID: "2", Device: "a", Class: lane.Telemetry, Key: "t", At: when(9),
			Digest: &lane.Digest{N: 3, Other: 1, Min: -1.5, Max: 2, Sum: math.MaxFloat64, Since: when(1)}, Post: lane.Post{Kind: lane.Notice},
		},
		{
			Lane: "control", ID: "3", Class: lane.Event, At: when(9),
			Gap: &lane.Gap{Dropped: map[lane.Class]int{lane.Event: 3, lane.Telemetry: 70_000}, Expired: 2, From: when(1), To: when(9)},
		},
	}
}

// A field that the samples do not use could get lost in the store without any test noticing.
func TestSamplesUseEveryField(t *testing.T) {
	used := map[string]bool{}
	look := func(v reflect.Value) {
		for i := range v.NumField() {
			name := v.Type().String() + "." + v.Type().Field(i).Name
			used[name] = used[name] || !v.Field(i).IsZero()
		}
	}
	for _, r := range samples() {
		look(reflect.ValueOf(r))
		look(reflect.ValueOf(r.Post))
		if r.Digest != nil {
			look(reflect.ValueOf(*r.Digest))
		}
		if r.Gap != nil {
			look(reflect.ValueOf(*r.Gap))
		}
	}
	delete(used, "lane.Record.Seq") // it is the place in the lane
	for name, is := range used {
		if !is {
			t.Errorf("no sample uses %s", name)
		}
	}
}

func TestRecordSurvivesEncoding(t *testing.T) {
	for _, want := range samples() {
		b := appendRecord([]byte("before"), &want)
		got, err := decodeRecord(b[len("before"):])
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v:\n got %+v\nwant %+v", err, got, want)
		}
	}
}

func TestRecordTellsEveryFlippedBit(t *testing.T) {
	for _, r := range samples() {
		good := appendRecord(nil, &r)
		hb, _, err := splitRecord(good)
		if err != nil {
			t.Fatal(err)
		}
		for bit := range len(good) * 8 {
			b := bytes.Clone(good)
			b[bit/8] ^= 1 << (bit % 8)
			if _, err := decodeRecord(b); err == nil {
				t.Fatalf("bit %d flipped, nobody noticed", bit)
			}
			inBody := bit/8 >= recordHead+len(hb)
			if _, _, err := splitRecord(b); (err == nil) != inBody && bit/8 >= recordHead {
				t.Fatalf("bit %d flipped (in the body: %v): head says %v", bit, inBody, err)
			}
		}
		for n := range good {
			if _, err := decodeRecord(good[:n]); err == nil {
				t.Fatalf("cut to %d bytes, nobody noticed", n)
			}
		}
	}
}

func TestTimesThatCannotBeKeptBecomeTheNearest(t *testing.T) {
	for _, c := range []struct {
		in   time.Time
		want int64
	}{{time.Time{}, 0}, {time.Unix(0, 0), 1}, {time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC), 1}, {time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), math.MaxInt64}} {
		if got := nanos(c.in); got != c.want {
			t.Errorf("%v: %d, want %d", c.in, got, c.want)
		}
	}
}

// reseal makes b, which the fuzzer mangled, pass its checksums, so that what is behind them is reached.
func reseal(b []byte) []byte {
	r := appendRecord(nil, &lane.Record{Lane: "x", Class: lane.Event})
	if len(b) < recordHead {
		return r
	}
	b = bytes.Clone(b)
	b[0] = formatRecord
	n := min(int(b[5]), len(b)-recordHead)
	copy(b[5:9], []byte{byte(n), 0, 0, 0})
	return resum(b, recordHead+n)
}

func FuzzDecodeRecord(f *testing.F) {
	for _, r := range samples() {
		f.Add(appendRecord(nil, &r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = decodeRecord(b)
		r, err := decodeRecord(reseal(b))
		if err != nil {
			return
		}
		again, err := decodeRecord(appendRecord(nil, &r))
		if err != nil {
			t.Fatalf("what was decoded cannot be decoded again: %v: %+v", err, r)
		}
		if !same(r, again) {
			t.Errorf("first %+v\nthen %+v", r, again)
		}
	})
}

// same compares records of which a digest may hold NaN.
func same(a, b lane.Record) bool {
	if a.Digest != nil && b.Digest != nil {
		bits := func(d *lane.Digest) [3]uint64 {
			return [3]uint64{math.Float64bits(d.Min), math.Float64bits(d.Max), math.Float64bits(d.Sum)}
		}
		if bits(a.Digest) != bits(b.Digest) || a.Digest.N != b.Digest.N {
			return false
		}
		a.Digest, b.Digest = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

func FuzzDecodeOthers(f *testing.F) {
	d := lane.DeadLetter{Record: samples()[1], Reason: "no", At: when(1)}
	f.Add(appendDead(nil, &d))
	f.Add([]byte(`{"event_id":"$a","content":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		sealed := seal(nil, b)
		if got, err := unseal(sealed); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%v: %q became %q", err, b, got)
		}
		_, _ = unseal(b)
		_, _ = decodeDead(1, sealed)
		_, _ = decodeEvent(seqKey(1), sealed)
	})
}

func TestDeadLetterAndEventSurviveEncoding(t *testing.T) {
	want := lane.DeadLetter{Seq: 4, Record: samples()[1], Lane: "room/x", Reason: "M_FORBIDDEN: no", At: when(1)}
	got, err := decodeDead(4, seal(nil, appendDead(nil, &want)))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: %+v", err, got)
	}
	key := ""
	e := room.Event{Seq: 3, ID: "$a", StateKey: &key, Sent: when(2), Content: []byte(`{}`)}
	payload, _ := marshal(e)
	back, ok := decodeEvent(seqKey(3), seal(nil, payload))
	if !ok || !reflect.DeepEqual(back, e) {
		t.Errorf("%v: %+v", ok, back)
	}
}
