package device

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// The packets that a Raw writes are those of the standards, byte by byte.
func TestRawPackets(t *testing.T) {
	m := Message{Topic: "a/b", Payload: []byte("x"), QoS: 2, Retain: true, Duplicate: true}
	will := &Message{Topic: "w", Payload: []byte("gone"), QoS: 1, Retain: true}
	for name, row := range map[string]struct {
		got  []byte
		want string
	}{
		"CONNECT 3.1":   {ConnectPacket(Login{Level: 3, ClientID: "c", KeepAlive: 60}), "\x10\x0f\x00\x06MQIsdp\x03\x00\x00\x3c\x00\x01c"},
		"CONNECT 3.1.1": {ConnectPacket(Login{ClientID: "c", Clean: true, User: "u", Password: "p", Will: will}), "\x10\x1c\x00\x04MQTT\x04\xee\x00\x00\x00\x01c\x00\x01w\x00\x04gone\x00\x01u\x00\x01p"},
		"CONNECT 5": {
			ConnectPacket(Login{Level: 5, ClientID: "c", Will: will, Properties: []byte{0x11, 0, 0, 0, 9}, WillProperties: []byte{0x18, 0, 0, 0, 1}}),
			"\x10\x22\x00\x04MQTT\x05\x2c\x00\x00\x05\x11\x00\x00\x00\x09\x00\x01c\x05\x18\x00\x00\x00\x01\x00\x01w\x00\x04gone",
		},
		"PUBLISH 3.1.1":   {PublishPacket(4, m, 7), "\x3d\x08\x00\x03a/b\x00\x07x"},
		"PUBLISH 5":       {PublishPacket(5, m, 7, 0x23, 0, 3), "\x3d\x0c\x00\x03a/b\x00\x07\x03\x23\x00\x03x"},
		"PUBLISH QoS 0":   {PublishPacket(4, Message{Topic: "a"}, 7), "\x30\x03\x00\x01a"},
		"SUBSCRIBE 3.1.1": {SubscribePacket(4, 7, 1, "a", "b"), "\x82\x0a\x00\x07\x00\x01a\x01\x00\x01b\x01"},
		"SUBSCRIBE 5":     {SubscribePacket(5, 7, 1, "a"), "\x82\x07\x00\x07\x00\x00\x01a\x01"},
		"UNSUBSCRIBE 5":   {UnsubscribePacket(5, 7, "a"), "\xa2\x06\x00\x07\x00\x00\x01a"},
		"PUBREL":          {AckPacket(Pubrel, 7), "\x62\x02\x00\x07"},
		"PUBCOMP":         {AckPacket(Pubcomp, 7), "\x70\x02\x00\x07"},
	} {
		if !bytes.Equal(row.got, []byte(row.want)) {
			t.Errorf("%s: %q, not %q", name, row.got, row.want)
		}
	}
}

// A packet that comes before the SUBACK is not lost, and both versions of a PUBLISH are understood.
func TestRawConversation(t *testing.T) {
	for _, level := range []byte{4, 5} {
		s := newScripted(t)
		m := Message{Topic: "a/b", Payload: []byte("x"), QoS: 2}
		done := make(chan error, 1)
		go func() { done <- converse(s, level, m) }()
		r, err := Dial(Login{Addr: s.addr(), Level: level, ClientID: "c"})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if !r.Present {
			t.Error("no session, though the CONNACK has one")
		}
		codes, err := r.Subscribe(7, 2, "a/#")
		if err != nil || !bytes.Equal(codes, []byte{2}) {
			t.Errorf("SUBACK %v, %v", codes, err)
		}
		p, err := r.Next(patience)
		if err != nil || p.Kind != Publish {
			t.Fatalf("kind %d, %v", p.Kind, err)
		}
		got, id, err := p.Message()
		if err != nil || id != 9 || got.Topic != m.Topic || got.QoS != 2 || string(got.Payload) != "x" {
			t.Errorf("%+v, id %d, %v", got, id, err)
		}
		if err := errors.Join(r.Ack(Pubrec, id), r.Leave(), <-done); err != nil {
			t.Error(err)
		}
	}
}

// converse is the broker's end of it.
func converse(s *scripted, level byte, m Message) error {
	conn, err := s.l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	connack, suback := "\x20\x02\x01\x00", "\x90\x03\x00\x07\x02"
	size := len(ConnectPacket(Login{Level: level, ClientID: "c"}))
	if level == 5 {
		connack, suback = "\x20\x03\x01\x00\x00", "\x90\x04\x00\x07\x00\x02"
	}
	if _, err := io.CopyN(io.Discard, conn, int64(size)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte(connack)); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, conn, int64(len(SubscribePacket(level, 7, 2, "a/#")))); err != nil {
		return err
	}
	if _, err := conn.Write(append(PublishPacket(level, m, 9), suback...)); err != nil {
		return err
	}
	rest, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(rest, []byte("\x50\x02\x00\x09\xe0\x00")) {
		return errors.Join(err, errors.New("not PUBREC and DISCONNECT"))
	}
	return nil
}

func TestRawIsRefused(t *testing.T) {
	s := newScripted(t)
	go func() {
		conn, err := s.l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte("\x20\x02\x00\x05"))
		_, _ = io.Copy(io.Discard, conn) // until the client closes
	}()
	var refused *Refused
	if _, err := Dial(Login{Addr: s.addr(), ClientID: "c"}); !errors.As(err, &refused) || refused.Code != 5 {
		t.Errorf("%v", err)
	}
}
