package device

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

func reader(b []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(b)) }

func TestPublishOnTheWire(t *testing.T) {
	for _, c := range []struct {
		name string
		m    Message
		id   uint16
		want string
	}{
		{"QoS 0", Message{Topic: "a/b", Payload: []byte("x")}, 0, "\x30\x06\x00\x03a/bx"},
		{"QoS 1", Message{Topic: "a", Payload: []byte("x"), QoS: 1}, 0x0102, "\x32\x06\x00\x01a\x01\x02x"},
		{"again", Message{Topic: "a", QoS: 1, Duplicate: true}, 1, "\x3a\x05\x00\x01a\x00\x01"},
		{"retained", Message{Topic: "a", Retain: true}, 0, "\x31\x03\x00\x01a"},
		{"long", Message{Topic: "t", Payload: bytes.Repeat([]byte{'y'}, 200)}, 0, "\x30\xcb\x01\x00\x01t" + strings.Repeat("y", 200)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := appendPacket(nil, publishPacket(c.m, c.id))
			if string(got) != c.want {
				t.Fatalf("wrote %q, want %q", got, c.want)
			}
			p, err := readPacket(reader(got))
			if err != nil {
				t.Fatal(err)
			}
			m, id, err := parsePublish(p)
			if c.m.Payload == nil {
				c.m.Payload = []byte{}
			}
			if err != nil || id != c.id || !reflect.DeepEqual(m, c.m) {
				t.Errorf("read %+v, id %d, %v", m, id, err)
			}
		})
	}
}

func TestConnectOnTheWire(t *testing.T) {
	got := appendPacket(nil, connectPacket(Config{
		ClientID: "me", User: "u", Password: "p", Clean: true, KeepAlive: 30 * time.Second,
		Will: &Message{Topic: "w", Payload: []byte("gone"), QoS: 1, Retain: true},
	}))
	want := "\x10\x1d\x00\x04MQTT\x04\xee\x00\x1e\x00\x02me\x00\x01w\x00\x04gone\x00\x01u\x00\x01p"
	if string(got) != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
}

func TestMalformedPackets(t *testing.T) {
	for name, b := range map[string]string{
		"length of five bytes": "\x30\xff\xff\xff\xff\x01",
		"more than we take":    "\x30\xff\xff\xff\x7f",
		"no topic":             "\x30\x00",
		"topic cut short":      "\x30\x03\x00\x05a",
		"no packet id":         "\x32\x03\x00\x01a",
		"packet id 0":          "\x32\x05\x00\x01a\x00\x00",
		"QoS 2":                "\x34\x05\x00\x01a\x00\x01",
	} {
		t.Run(name, func(t *testing.T) {
			p, err := readPacket(reader([]byte(b)))
			if err == nil {
				_, _, err = parsePublish(p)
			}
			if !errors.Is(err, errPacket) {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := readPacket(reader([]byte("\x30\x05ab"))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a packet: %v", err)
	}
	if _, err := readPacket(reader(nil)); !errors.Is(err, io.EOF) {
		t.Errorf("nothing: %v", err)
	}
}

func FuzzReadPacket(f *testing.F) {
	f.Add([]byte("\x32\x06\x00\x01a\x01\x02x"))
	f.Add([]byte("\x20\x02\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := readPacket(reader(b))
		if err != nil {
			return
		}
		again, err := readPacket(reader(appendPacket(nil, p)))
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%+v became %+v, %v", p, again, err)
		}
		if p.kind != kindPublish {
			return
		}
		m, id, err := parsePublish(p)
		if err != nil || m.QoS == 0 && m.Duplicate {
			return
		}
		if q := publishPacket(m, id); !reflect.DeepEqual(p, q) {
			t.Fatalf("%+v became %+v", p, q)
		}
	})
}
