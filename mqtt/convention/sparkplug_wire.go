package convention

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Bounds of what is read of a payload.
const (
	spPayloadMax    = 256 << 10 // bytes
	spNameMax       = 200       // bytes of the name of a metric
	spPropertiesMax = 32        // of a metric
)

// Data types of Sparkplug B (specification 3.0, section 6.4.16). Types above these are arrays and structures.
const (
	spInt8     = 1
	spInt16    = 2
	spInt32    = 3
	spInt64    = 4
	spUInt8    = 5
	spUInt16   = 6
	spUInt32   = 7
	spUInt64   = 8
	spFloat    = 9
	spDouble   = 10
	spBoolean  = 11
	spString   = 12
	spDateTime = 13
	spText     = 14
	spUUID     = 15
	spDataSet  = 16
	spBytes    = 17
	spFile     = 18
	spTemplate = 19
)

// spPayload is a Sparkplug B payload: the parts that we read. Texts are valid UTF-8.
type spPayload struct {
	timestamp uint64 // milliseconds since 1970; 0 if there is none
	seq       uint64 // 0 to 255
	hasSeq    bool
	metrics   []spMetric
}

// spMetric is one metric of a payload.
type spMetric struct {
	name       string // "" in DATA messages that name it by alias alone
	alias      uint64
	hasAlias   bool
	datatype   uint32 // 0 in DATA messages that leave it to the birth
	null       bool
	historical bool // an old value that the edge node kept while it was away
	value      spValue
	unit       string // property engUnit
	low, high  string // properties engLow and engHigh; "" if they are not there
	readOnly   bool   // property readOnly
}

// spValue is a value as it was sent. What it means follows from the data type.
type spValue struct {
	kind   byte   // 'i' integer (int_value, long_value), 'f' floating point, 'b' boolean, 's' text, 'o' something we do not read, 0 none
	bits   uint64 // 'i' as sent, 'f' of the float64, 'b' 0 or 1
	long   bool   // 'i': long_value
	text   string // 's'
	single bool   // 'f': float_value
}

// errSparkplug is what every error of the decoder wraps.
var errSparkplug = errors.New("not a Sparkplug B payload")

func spBad(what string) error { return fmt.Errorf("%w: %s", errSparkplug, what) }

// decodeSparkplug reads a payload (specification 3.0, section 6.4). Unknown fields are passed over. It takes at most limit
// metrics: more are an error, so that one message can't make a large state.
func decodeSparkplug(b []byte, limit int) (spPayload, error) {
	var p spPayload
	if len(b) > spPayloadMax {
		return p, spBad("longer than " + strconv.Itoa(spPayloadMax) + " bytes")
	}
	err := spFields(b, spPayloadTypes, func(num protowire.Number, f spField) error {
		switch num {
		case 1:
			p.timestamp = f.varint
		case 2:
			if len(p.metrics) == limit {
				return spBad("more than " + strconv.Itoa(limit) + " metrics")
			}
			m, err := decodeSpMetric(f.bytes)
			if err != nil {
				return err
			}
			p.metrics = append(p.metrics, m)
		case 3:
			p.seq, p.hasSeq = f.varint, true
		}
		return nil
	})
	return p, err
}

func decodeSpMetric(b []byte) (spMetric, error) {
	var m spMetric
	err := spFields(b, spMetricTypes, func(num protowire.Number, f spField) error {
		switch num {
		case 1:
			if !utf8.Valid(f.bytes) || len(f.bytes) > spNameMax {
				return spBad("a name that is no text, or too long")
			}
			m.name = string(f.bytes)
		case 2:
			m.alias, m.hasAlias = f.varint, true
		case 4:
			m.datatype = uint32(f.varint)
		case 5:
			m.historical = f.varint != 0
		case 7:
			m.null = f.varint != 0
		case 9:
			return decodeSpProperties(f.bytes, &m)
		case 10:
			m.value = spValue{kind: 'i', bits: f.varint & math.MaxUint32}
		case 11:
			m.value = spValue{kind: 'i', bits: f.varint, long: true}
		case 12:
			m.value = spValue{kind: 'f', bits: math.Float64bits(float64(math.Float32frombits(uint32(f.varint)))), single: true}
		case 13:
			m.value = spValue{kind: 'f', bits: f.varint}
		case 14:
			m.value = spValue{kind: 'b', bits: min(f.varint, 1)}
		case 15:
			if !utf8.Valid(f.bytes) {
				return spBad("a text that is not UTF-8")
			}
			m.value = spValue{kind: 's', text: clean(string(f.bytes), MaxName)}
		case 16, 17, 18, 19:
			m.value = spValue{kind: 'o'}
		}
		return nil
	})
	return m, err
}

// decodeSpProperties reads the properties of a metric that are of use: keys and values are two parallel lists.
func decodeSpProperties(b []byte, m *spMetric) error {
	var keys []string
	var values []spValue
	err := spFields(b, spSetTypes, func(num protowire.Number, f spField) error {
		if len(keys) > spPropertiesMax || len(values) > spPropertiesMax {
			return spBad("too many properties")
		}
		switch num {
		case 1:
			keys = append(keys, string(f.bytes[:min(len(f.bytes), 64)]))
		case 2:
			v, err := decodeSpProperty(f.bytes)
			if err != nil {
				return err
			}
			values = append(values, v)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, k := range keys[:min(len(keys), len(values))] {
		v := values[i]
		switch k {
		case "engUnit", "Engineering Unit", "unit", "units":
			if v.kind == 's' {
				m.unit = v.text
			}
		case "engLow":
			m.low = v.text
		case "engHigh":
			m.high = v.text
		case "readOnly":
			m.readOnly = v.kind == 'b' && v.bits == 1
		}
	}
	return nil
}

func decodeSpProperty(b []byte) (spValue, error) {
	var v spValue
	var datatype uint32
	err := spFields(b, spPropertyTypes, func(num protowire.Number, f spField) error {
		switch num {
		case 1:
			datatype = uint32(f.varint)
		case 3:
			v = spValue{kind: 'i', bits: f.varint & math.MaxUint32}
		case 4:
			v = spValue{kind: 'i', bits: f.varint, long: true}
		case 5:
			v = spValue{kind: 'f', bits: math.Float64bits(float64(math.Float32frombits(uint32(f.varint)))), single: true}
		case 6:
			v = spValue{kind: 'f', bits: f.varint}
		case 7:
			v = spValue{kind: 'b', bits: min(f.varint, 1)}
		case 8:
			if utf8.Valid(f.bytes) {
				v = spValue{kind: 's', text: clean(string(f.bytes), MaxName)}
			}
		}
		return nil
	})
	if v.kind == 'i' || v.kind == 'f' {
		v.text = v.number(datatype)
	}
	return v, err
}

// spField is one field on the wire: varint also holds the bits of fixed32 and fixed64.
type spField struct {
	varint uint64
	bytes  []byte
}

// spTypes are the wire types of the fields of a message, by their numbers, as letters: v varint, 4 fixed32, 8 fixed64, b
// bytes, space none that we read.
type spTypes string

const (
	spPayloadTypes  spTypes = " vbvbb"
	spMetricTypes   spTypes = " bvvvvvvbbvv48vbbbbb"
	spSetTypes      spTypes = " bb"
	spPropertyTypes spTypes = " vvvv48vbbb"
)

// spFields calls f for each field of a message whose wire type is the right one; others are passed over.
func spFields(b []byte, types spTypes, f func(protowire.Number, spField) error) error {
	for len(b) > 0 {
		num, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return spBad(protowire.ParseError(n).Error())
		}
		b = b[n:]
		var field spField
		var letter byte
		switch wire {
		case protowire.VarintType:
			letter = 'v'
			field.varint, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			letter = '4'
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			field.varint = uint64(v)
		case protowire.Fixed64Type:
			letter = '8'
			field.varint, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			letter = 'b'
			field.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, wire, b)
		}
		if n < 0 {
			return spBad(protowire.ParseError(n).Error())
		}
		b = b[n:]
		if int(num) >= len(types) || types[num] != letter {
			continue
		}
		if err := f(num, field); err != nil {
			return err
		}
	}
	return nil
}

// number is an integer or a floating point value as JSON would write it; "" if it is neither, or not finite.
func (v spValue) number(datatype uint32) string {
	switch v.kind {
	case 'i':
		switch datatype { // signed ones come in two's complement
		case spInt8:
			return strconv.FormatInt(int64(int8(v.bits)), 10)
		case spInt16:
			return strconv.FormatInt(int64(int16(v.bits)), 10)
		case spInt32:
			return strconv.FormatInt(int64(int32(v.bits)), 10)
		case spInt64:
			return strconv.FormatInt(int64(v.bits), 10)
		}
		return strconv.FormatUint(v.bits, 10)
	case 'f':
		f := math.Float64frombits(v.bits)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return ""
		}
		if v.single {
			return strconv.FormatFloat(f, 'f', -1, 32)
		}
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return ""
}
