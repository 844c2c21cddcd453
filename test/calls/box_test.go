//go:build linux && interop

package calls

import (
	"context"
	"fmt"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/zaf/g711"
)

// box is a device that speaks plain RTP in PCMU without a pause: 1000 Hz. It is what the gateway's own leg of a call forwards.
type box struct {
	t    *testing.T
	conn net.PacketConn
	to   *net.UDPAddr // the gateway's port, open during calls

	mu      sync.Mutex
	samples []int16     // the latest of the person, half a second at most
	last    time.Time   // when the latest of them came
	loud    []time.Time // when packets with sound came
}

const boxRate = 8000

// newBox sends until the test ends, from conn to to.
func newBox(t *testing.T, conn net.PacketConn, to *net.UDPAddr) *box {
	t.Helper()
	b := &box{t: t, conn: conn, to: to}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { b.speak(ctx) })
	wg.Go(b.listen)
	t.Cleanup(func() {
		cancel()
		conn.Close()
		wg.Wait()
	})
	return b
}

func (b *box) speak(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	pcm := make([]byte, 2*boxRate/50)
	for n := 0; ; n++ {
		for i := range boxRate / 50 {
			v := int16(8000 * math.Sin(2*math.Pi*doorTone*float64(n*boxRate/50+i)/boxRate))
			pcm[2*i], pcm[2*i+1] = byte(v), byte(v>>8)
		}
		p := rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(n), Timestamp: uint32(n * boxRate / 50), SSRC: 7}, Payload: g711.EncodeUlaw(pcm)}
		raw, err := p.Marshal()
		if err != nil {
			panic(err) // it is our own
		}
		_, _ = b.conn.WriteTo(raw, b.to) // nobody is there without a call
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (b *box) listen() {
	buf := make([]byte, 2000)
	for {
		n, _, err := b.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var p rtp.Packet
		if p.Unmarshal(buf[:n]) != nil {
			continue
		}
		pcm := g711.DecodeUlaw(p.Payload)
		most := int16(0)
		b.mu.Lock()
		for i := 0; i+1 < len(pcm); i += 2 {
			v := int16(uint16(pcm[i]) | uint16(pcm[i+1])<<8)
			b.samples = append(b.samples, v)
			most = max(most, v)
		}
		b.samples = b.samples[max(0, len(b.samples)-boxRate/2):]
		b.last = time.Now()
		if most > 500 {
			b.loud = append(b.loud, b.last)
		}
		b.mu.Unlock()
	}
}

// hertz is the pitch of what came in the latest half second, 0 for silence.
func (b *box) hertz() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.last) > 300*time.Millisecond || len(b.samples) < boxRate/2 {
		return 0
	}
	sum, crossings := 0.0, 0
	for i := 1; i < len(b.samples); i++ {
		sum += float64(b.samples[i]) * float64(b.samples[i])
		if b.samples[i-1] < 0 && b.samples[i] >= 0 {
			crossings++
		}
	}
	if math.Sqrt(sum/float64(len(b.samples))) < 200 {
		return 0
	}
	return crossings * boxRate / len(b.samples)
}

// hears waits for a pitch; 0 is silence.
func (b *box) hears(pitch int) {
	b.t.Helper()
	got := 0
	end := time.Now().Add(patience)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		if got = b.hertz(); near(got, pitch) || got == pitch {
			tick.Stop()
			return
		}
		if time.Now().After(end) {
			tick.Stop()
			b.t.Fatalf("the device never heard %d Hz; at last %d", pitch, got)
		}
	}
}

// silence is the longest time without sound between two moments.
func (b *box) silence(from, to time.Time) (most time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := from
	for _, l := range b.loud {
		if l.Before(from) || l.After(to) {
			continue
		}
		most, at = max(most, l.Sub(at)), l
	}
	return max(most, to.Sub(at))
}

// boxRule is the rule of a device called gate, which listens at talk and sends to port.
func boxRule(host string, talk, port int) string {
	return fmt.Sprintf(`
- topic: gate/{reading}
  device: gate
  name: Gate
  class: event
  call: {rtp: "rtp://%s:%d?audio=pcmu&audio_port=%d"}
  ring: {topic: gate/button, people: ["@alice:localhost"], timeout: 8s}
`, host, talk, port)
}
