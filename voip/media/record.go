package media

import (
	"sync"
	"time"

	"github.com/pion/rtp"
)

// Recording is what a caller said.
type Recording struct {
	Ogg      []byte // a file of Opus
	Duration time.Duration
}

const (
	maxRecording   = 8 << 20     // bytes
	leastRecording = time.Second // shorter ones are of people who hung up
	longestGap     = sampleRate  // samples of silence that are kept; clients stop sending while nobody speaks
)

// recorder keeps what comes, up to a length. Safe for concurrent use.
type recorder struct {
	most time.Duration

	mu    sync.Mutex
	on    bool
	any   bool
	w     *oggWriter
	last  uint32 // timestamp at the end of the last packet
	taken uint64 // samples
}

// silence is 20 ms of it, as Opus (RFC 6716: CELT, an empty frame).
var silence = []byte{0xf8, 0xff, 0xfe}

// begin starts it.
func (r *recorder) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.on {
		r.on, r.w = true, newOgg()
	}
}

// take keeps a packet; those that come late are left out, and where some are missing there is silence.
func (r *recorder) take(p *rtp.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := opusSamples(p.Payload)
	if !r.on || n == 0 || len(p.Payload) > maxOpus || len(r.w.b) > maxRecording || r.length() >= r.most {
		return
	}
	gap := int32(p.Timestamp - r.last) //nolint:gosec // serial number arithmetic
	if r.any && gap < 0 {
		return
	}
	for gap = min(gap, longestGap); r.any && gap >= frame; gap -= frame {
		r.w.packet(silence, frame)
		r.taken += frame
	}
	r.w.packet(p.Payload, n)
	r.taken += uint64(n)
	r.any, r.last = true, p.Timestamp+n
}

func (r *recorder) length() time.Duration {
	return time.Duration(r.taken) * time.Second / sampleRate //nolint:gosec // bounded by most
}

// end gives what was kept; ok is false when it is nothing that anybody wants to hear.
func (r *recorder) end() (Recording, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.on || r.length() < leastRecording {
		return Recording{}, false
	}
	r.on = false
	return Recording{Ogg: r.w.end(), Duration: r.length()}, true
}
