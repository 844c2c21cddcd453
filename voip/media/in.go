package media

import (
	"strings"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// mtu bounds a packet that is read, in bytes.
const mtu = 1500

// inTrack is what the person sends for a track of the device's.
type inTrack struct {
	codec Codec // the one that the device understands
	give  func(*rtp.Packet)
	digit func(rune)

	mu   sync.Mutex // of rw and keys, when the person's client begins another stream before the last one ended
	rw   rewriter
	keys digits
	came arrivals
}

// listen reads a stream of the person's until it ends.
func (t *inTrack) listen(remote *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
	events, known := map[uint8]uint32{}, map[uint8]bool{}
	for _, c := range r.GetParameters().Codecs {
		switch {
		case strings.EqualFold(c.MimeType, mimeEvents):
			events[uint8(c.PayloadType)] = c.ClockRate
		case codecOf(c.RTPCodecCapability).Is(t.codec):
			known[uint8(c.PayloadType)] = true
		}
	}
	buf := make([]byte, mtu)
	var p rtp.Packet
	for {
		n, _, err := remote.Read(buf)
		if err != nil {
			return
		}
		if p.Unmarshal(buf[:n]) != nil {
			continue
		}
		t.take(&p, events[p.PayloadType] > 0, known[p.PayloadType])
	}
}

// take forwards a packet, or reads a key of it. What is neither has its place in the order all the same.
func (t *inTrack) take(p *rtp.Packet, event, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	seq, ts, fresh := t.rw.next(&p.Header, now, t.codec.ClockRate)
	t.came.take(p, fresh, now, t.codec.ClockRate)
	if fresh {
		t.keys = digits{}
	}
	if event {
		if key, ok := t.keys.take(p); ok {
			t.digit(key)
		}
	}
	if !known || len(p.Payload) == 0 {
		return
	}
	p.Header = rtp.Header{Version: 2, Marker: p.Marker, PayloadType: p.PayloadType, SequenceNumber: seq, Timestamp: ts, SSRC: 1}
	p.PaddingSize = 0
	t.give(p)
}
