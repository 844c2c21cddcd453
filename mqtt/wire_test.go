package mqtt

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/gatepost/gatepost/mqtt/topic"
)

func newTestIntake(limit int64) *intake {
	return newIntake(limit, func(topic.Message, func(error)) {})
}

// static is a connection that gives bytes and then ends.
type static struct {
	net.Conn
	io.Reader
}

func (s static) Read(p []byte) (int, error) { return s.Reader.Read(p) }
func (static) Close() error                 { return nil }

func TestWireCutsWhatIsTooLarge(t *testing.T) {
	const limit = 100
	var in []byte
	sizes := []int{0, 99, 100, 101, 102, 70_000, 1}
	for i, n := range sizes {
		in = append(in, message{topic: "a/b", payload: strings.Repeat("x", n), qos: byte(i % 2), id: i}.packet().encode()...)
	}
	w := newWire(static{Reader: bytes.NewReader(in)}, newTestIntake(1<<30), limit)
	for i, n := range sizes {
		p, err := packets.ReadPacket(w)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		pub := p.(*packets.PublishPacket)
		if pub.TopicName != "a/b" || len(pub.Payload) != min(n, limit+1) || (pub.Qos == 1 && int(pub.MessageID) != i) {
			t.Errorf("message %d: %d bytes on %q, id %d", i, len(pub.Payload), pub.TopicName, pub.MessageID)
		}
	}
	if _, err := packets.ReadPacket(w); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestWireRefusesWhatIsNotMQTT(t *testing.T) {
	for name, in := range map[string][]byte{
		"length of five bytes":            {0x30, 0x80, 0x80, 0x80, 0x80, 0x01},
		"QoS 3":                           {0x36, 5, 0, 1, 'a', 0, 1},
		"PUBLISH without a topic":         {0x30, 1, 0},
		"PUBLISH shorter than its topic":  {0x30, 4, 0, 9, 'a', 'b'},
		"PUBLISH without room for its id": {0x32, 4, 0, 2, 'a', 'b'},
		"SUBACK to nothing":               {0x90, 3, 0, 1, 1},
		"PINGRESP of a megabyte":          {0xD0, 0x80, 0x80, 0x40},
		"CONNACK of three bytes":          {0x20, 3, 0, 0, 0},
	} {
		w := newWire(static{Reader: bytes.NewReader(in)}, newTestIntake(1<<30), 100)
		if p, err := packets.ReadPacket(w); !errors.Is(err, errMalformed) {
			t.Errorf("%s: read %v, %v", name, p, err)
		}
	}
	w := newWire(static{Reader: bytes.NewReader([]byte{0x20, 2, 0, 77})}, newTestIntake(1), 1)
	if _, err := packets.ReadPacket(w); err == nil || !strings.Contains(err.Error(), "code 77") {
		t.Errorf("an unknown code: %v", err)
	}
}

// TestWireAnswersPings: while a PUBLISH is held back, pings are answered in the broker's place, and only they.
func TestWireAnswersPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		in := newTestIntake(1)
		w := newWire(ours, in, 100)
		if in.take(10) != nil {
			t.Fatal("no room in an empty intake")
		}
		got := make(chan packets.ControlPacket, 10)
		go func() {
			defer close(got)
			for {
				p, err := packets.ReadPacket(w)
				if err != nil {
					return
				}
				got <- p
			}
		}()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		_, _ = theirs.Write(message{topic: "a", payload: "b"}.packet().encode())
		for range 3 {
			time.Sleep(time.Hour)
			if len(got) != 0 || !w.held.Load() {
				t.Fatalf("%d packets came although there is no room", len(got))
			}
			if _, err := w.Write([]byte{typePingreq, 0}); err != nil {
				t.Fatal(err)
			}
			if p, ok := (<-got).(*packets.PingrespPacket); !ok {
				t.Fatalf("answer to a ping: %v", p)
			}
		}
		in.give(10)
		if p, ok := (<-got).(*packets.PublishPacket); !ok || p.TopicName != "a" || string(p.Payload) != "b" {
			t.Fatalf("after the pause: %v", p)
		}
		w.stopReading()
		_, _ = theirs.Write(packet{kind: tPuback, body: u16(1)}.encode())
		if _, ok := (<-got).(*packets.PubackPacket); !ok {
			t.Error("only PUBLISH is to be held back")
		}
		_, _ = theirs.Write(message{topic: "a"}.packet().encode())
		synctest.Wait()
		if len(got) != 0 {
			t.Error("a PUBLISH came after stopReading")
		}
		w.close(nil)
		if p, ok := <-got; ok {
			t.Errorf("read %v from a closed wire", p)
		}
		w.release()
		if n := in.bytes(); n != 0 {
			t.Errorf("%d bytes of room are lost", n)
		}
		theirs.Close()
	})
}

func TestWireClosesAfterAFailedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		w := newWire(ours, newTestIntake(1), 1)
		began := time.Now()
		if _, err := w.Write([]byte("nobody reads this")); err == nil || errors.Is(err, errWireClosed) {
			t.Errorf("a write to nobody: %v", err)
		}
		if took := time.Since(began); took != writeTimeout {
			t.Errorf("it took %v", took)
		}
		if _, err := w.Write([]byte("x")); !errors.Is(err, errWireClosed) {
			t.Errorf("a write after that: %v", err)
		}
		if _, err := w.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "use of closed network connection") {
			t.Errorf("a read after that: %v", err)
		}
	})
}

// FuzzWire gives a hostile broker's bytes to the library through a wire: neither may panic, and nothing larger than the
// limit may come out.
func FuzzWire(f *testing.F) {
	f.Add(append(message{topic: "a/b", payload: strings.Repeat("x", 300), qos: 1, id: 7}.packet().encode(), 0xD0, 0))
	f.Add([]byte{0x20, 2, 1, 0, 0x90, 3, 0, 1, 1, 0xB0, 2, 0, 1})
	f.Add([]byte{0x3F, 0xFF, 0xFF, 0xFF, 0x7F, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 64
		room := newTestIntake(1 << 40)
		w := newWire(static{Reader: bytes.NewReader(in)}, room, limit)
		w.asked.Store(3)
		var used int64
		for {
			p, err := packets.ReadPacket(w)
			if err != nil {
				break
			}
			if p, ok := p.(*packets.PublishPacket); ok {
				if len(p.Payload) > limit+1 || p.Qos > 2 {
					t.Fatalf("%d bytes, QoS %d", len(p.Payload), p.Qos)
				}
				size := 2 + len(p.TopicName) + len(p.Payload)
				if p.Qos > 0 {
					size += 2
				}
				w.claim(cost(size))
				used += cost(size)
			}
		}
		w.release()
		if got := room.bytes(); got != used {
			t.Fatalf("%d bytes of room taken, %d used", got, used)
		}
	})
}
