//go:build linux

package load

import (
	"os"
	"testing"
	"time"
)

func TestLanesKnowTheirPackets(t *testing.T) {
	var mine, other lane
	mine.reset(2)
	other.reset(3)
	packet := func(l *lane) []byte {
		b := make([]byte, MinSize)
		l.stamp(b, 42)
		return b
	}
	first, second, foreign := packet(&mine), packet(&mine), packet(&other)
	far := packet(&mine)
	far[4] = 0xFF // a number that was never given out
	for _, c := range []struct {
		name  string
		b     []byte
		known bool
	}{
		{"out of order", second, true},
		{"first", first, true},
		{"twice", first, false},
		{"another lane's", foreign, false},
		{"far away", far, false},
		{"cut", first[:MinSize-1], false},
	} {
		if sent, known := mine.note(c.b); known != c.known || known && sent != 42 {
			t.Errorf("%s: %v, sent at %d", c.name, known, sent)
		}
	}
	if mine.got != 2 {
		t.Errorf("%d packets are counted", mine.got)
	}
}

// Without a relay everything arrives, once and where it should, with a time that can be believed.
func TestDirect(t *testing.T) {
	f, err := Open(Config{Clients: 10, Direct: true, Clock: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := f.Run(t.Context(), Traffic{Size: 100, Rate: 5000, Burst: 2, For: 300 * time.Millisecond, PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent == 0 || r.Lost != 0 || r.Strange != 0 || len(r.Delays) != r.Sent || r.CPU <= 0 {
		t.Errorf("%d sent, %d lost, %d strange, %d delays, %v of processor", r.Sent, r.Lost, r.Strange, len(r.Delays), r.CPU)
	}
	for _, d := range r.Delays {
		if d < 0 || d > 10*time.Second {
			t.Fatalf("a packet took %v", d)
		}
	}
}
