package source

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/pion/rtp"
)

var (
	sps = []byte{0x67, 0x42, 0xe0, 0x1f, 1, 2}
	pps = []byte{0x68, 0xce, 3}
	idr = []byte{0x65, 0x88, 0x84}
	pic = []byte{0x41, 0x9a}
)

// show names what packets are, and their sequence numbers.
func show(p *rtp.Packet) string {
	b, mark := p.Payload, ""
	if p.Marker {
		mark = "!"
	}
	name := fmt.Sprintf("nal%d", b[0]&0x1f)
	switch b[0] & 0x1f {
	case nalSTAPA:
		var list []string
		units(b[1:], func(u []byte) { list = append(list, fmt.Sprint(u[0]&0x1f)) })
		name = "stap(" + strings.Join(list, ",") + ")"
	case nalFUA:
		name = fmt.Sprintf("fu%d", b[1]&0x1f)
		if b[1]&0x80 != 0 {
			name += "<"
		}
		if b[1]&0x40 != 0 {
			name += ">"
		}
	}
	return fmt.Sprintf("%d:%s%s", p.SequenceNumber, name, mark)
}

func TestH264(t *testing.T) {
	stap := append([]byte{0x78, 0, 6}, sps...)
	stap = append(append(stap, 0, 3), pps...)
	long := append(bytes.Clone(idr), make([]byte, 2997)...)
	type in struct {
		seq  uint16
		ts   uint32
		b    []byte
		mark bool
	}
	for _, c := range []struct {
		name     string
		sps, pps []byte
		in       []in
		want     string
	}{
		{"sets of the description go before a picture", sps, pps, []in{{5, 1, idr, true}, {6, 2, pic, true}, {7, 3, idr, true}}, "5:stap(7,8) 6:nal5! 7:nal1! 8:stap(7,8) 9:nal5!"},
		{"one picture of many slices", sps, pps, []in{{5, 1, idr, false}, {6, 1, idr, true}}, "5:stap(7,8) 6:nal5 7:nal5!"},
		{"sets that come are not doubled", sps, pps, []in{{5, 1, sps, false}, {6, 1, pps, false}, {7, 1, idr, true}}, "5:nal7 6:nal8 7:nal5!"},
		{"nor in one packet", nil, nil, []in{{5, 1, stap, false}, {6, 1, idr, true}, {7, 2, idr, true}}, "5:stap(7,8) 6:nal5! 7:stap(7,8) 8:nal5!"},
		{"unknown sets", nil, nil, []in{{5, 1, idr, true}}, "5:nal5!"},
		{"sets before fragments", sps, pps, []in{{5, 1, []byte{0x7c, 0x85, 1}, false}, {6, 1, []byte{0x7c, 0x45, 2}, true}}, "5:stap(7,8) 6:fu5< 7:fu5>!"},
		{"a large unit is divided", nil, nil, []in{{5, 1, long, true}, {6, 2, pic, true}}, "5:fu5< 6:fu5 7:fu5>! 8:nal1!"},
		{"a large fragment is divided", nil, nil, []in{{5, 1, append([]byte{0x7c, 0x81}, make([]byte, 1500)...), false}, {6, 1, append([]byte{0x7c, 0x41}, make([]byte, 1500)...), true}}, "5:fu1< 6:fu1 7:fu1 8:fu1>!"},
		{"a late packet keeps its place", sps, pps, []in{{5, 1, pic, true}, {7, 3, idr, true}, {6, 2, pic, true}, {8, 4, pic, true}}, "5:nal1! 7:stap(7,8) 8:nal5! 6:nal1! 9:nal1!"},
		{"numbers go round", sps, pps, []in{{65535, 1, idr, true}, {0, 2, idr, true}, {1, 3, pic, true}}, "65535:stap(7,8) 0:nal5! 1:stap(7,8) 2:nal5! 3:nal1!"},
		{"empty", sps, pps, []in{{5, 1, nil, true}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := h264{sps: bytes.Clone(c.sps), pps: bytes.Clone(c.pps)}
			var got []string
			for _, i := range c.in {
				p := &rtp.Packet{Header: rtp.Header{SequenceNumber: i.seq, Timestamp: i.ts, Marker: i.mark}, Payload: i.b}
				h.take(p, func(q *rtp.Packet) {
					if q.Timestamp != i.ts {
						t.Errorf("timestamp %d became %d", i.ts, q.Timestamp)
					}
					got = append(got, show(q))
				})
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
		})
	}
}

// TestH264Divided puts a divided unit together again.
func TestH264Divided(t *testing.T) {
	unit := []byte{0x65}
	for i := range 5000 {
		unit = append(unit, byte(i*7))
	}
	var got []byte
	for i, p := range split(unit) {
		if len(p) > newPayload {
			t.Fatalf("%d bytes", len(p))
		}
		if i == 0 {
			got = append(got, p[0]&0xe0|p[1]&0x1f)
		}
		got = append(got, p[2:]...)
	}
	if !bytes.Equal(got, unit) {
		t.Error("the unit is another")
	}
}

// FuzzH264 gives a sender's packets one after the other: what goes out is small, and no number is given twice.
func FuzzH264(f *testing.F) {
	f.Add(sps, pps, idr)
	f.Add(idr, []byte{0x78, 0, 6, 0x67}, append([]byte{0x7c, 0x85}, make([]byte, 4000)...))
	f.Add([]byte{0x78, 0xff, 0xff, 1}, []byte{0}, []byte{0x7c})
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		var h h264
		seen, at := map[uint16]bool{}, uint32(0)
		for i, payload := range [][]byte{a, b, c, a, b, c} {
			if len(payload) > 60000 {
				return
			}
			if i%2 == 0 {
				at++
			}
			h.take(&rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(i), Timestamp: at}, Payload: payload}, func(p *rtp.Packet) { //nolint:gosec // few
				if len(p.Payload) > mostPayload {
					t.Fatalf("%d bytes", len(p.Payload))
				}
				if seen[p.SequenceNumber] {
					t.Fatalf("number %d twice", p.SequenceNumber)
				}
				seen[p.SequenceNumber] = true
			})
		}
	})
}
