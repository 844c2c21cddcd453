package convention

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// spEdge is what is remembered of an edge node. It is read and written with every message, so its State is not JSON but fields
// of Protocol Buffers, in the order of the comments.
type spEdge struct {
	BdSeq   string              // 1: of the birth that counts
	Seq     int                 // 2: of the last message
	Asked   bool                // 3: for a new birth
	Devices map[string]spDevice // 4: "" is the node itself
}

type spDevice struct {
	// 1: its name
	Alive   bool      // 2, bit 0
	Dead    bool      // 2, bit 1: a death was told
	Metrics []spKnown // 3
}

// spKnown is a metric of a birth certificate.
type spKnown struct {
	Name     string // 1
	Alias    uint64 // 2, only if HasAlias
	HasAlias bool
	Type     uint32 // 3
	Reading  string // 4
}

// size is the most that a metric takes of the State, in bytes.
func (k spKnown) size() int { return len(k.Name) + len(k.Reading) + 24 }

const (
	spEdgeTypes   spTypes = " bvvb"
	spDeviceTypes spTypes = " bvb"
	spKnownTypes  spTypes = " bvvb"
)

// recallSpEdge decodes a State; one that cannot be read is that of a node never seen.
func recallSpEdge(s State) spEdge {
	e := spEdge{Devices: map[string]spDevice{}}
	err := spFields(s, spEdgeTypes, func(num protowire.Number, f spField) error {
		switch num {
		case 1:
			e.BdSeq = string(f.bytes)
		case 2:
			e.Seq = int(f.varint & 255)
		case 3:
			e.Asked = f.varint != 0
		case 4:
			name, d, err := recallSpDevice(f.bytes)
			e.Devices[name] = d
			return err
		}
		return nil
	})
	if err != nil {
		return spEdge{Devices: map[string]spDevice{}}
	}
	return e
}

func recallSpDevice(b []byte) (name string, d spDevice, err error) {
	err = spFields(b, spDeviceTypes, func(num protowire.Number, f spField) error {
		switch num {
		case 1:
			name = string(f.bytes)
		case 2:
			d.Alive, d.Dead = f.varint&1 != 0, f.varint&2 != 0
		case 3:
			var k spKnown
			err := spFields(f.bytes, spKnownTypes, func(num protowire.Number, f spField) error {
				switch num {
				case 1:
					k.Name = string(f.bytes)
				case 2:
					k.Alias, k.HasAlias = f.varint, true
				case 3:
					k.Type = uint32(f.varint)
				case 4:
					k.Reading = string(f.bytes)
				}
				return nil
			})
			d.Metrics = append(d.Metrics, k)
			return err
		}
		return nil
	})
	return name, d, err
}

// remember encodes e; nil if that is more than a State may hold.
func (e spEdge) remember() State {
	var b, device, metric []byte
	b = appendSpText(b, 1, e.BdSeq)
	b = appendSpNumber(b, 2, uint64(e.Seq))
	b = appendSpNumber(b, 3, bit(e.Asked, 1))
	for _, name := range slices.Sorted(maps.Keys(e.Devices)) {
		d := e.Devices[name]
		device = appendSpText(device[:0], 1, name)
		device = appendSpNumber(device, 2, bit(d.Alive, 1)|bit(d.Dead, 2))
		for _, k := range d.Metrics {
			metric = appendSpText(metric[:0], 1, k.Name)
			if k.HasAlias {
				metric = appendSpNumber(metric, 2, k.Alias)
			}
			metric = appendSpNumber(metric, 3, uint64(k.Type))
			metric = appendSpText(metric, 4, k.Reading)
			device = protowire.AppendBytes(protowire.AppendTag(device, 3, protowire.BytesType), metric)
		}
		b = protowire.AppendBytes(protowire.AppendTag(b, 4, protowire.BytesType), device)
	}
	if len(b) > MaxState {
		return nil
	}
	return b
}

func bit(is bool, value uint64) uint64 {
	if is {
		return value
	}
	return 0
}

func appendSpText(b []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func appendSpNumber(b []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}
