// Package sound makes tones and recognises them by their pitch, in PCMU (G.711 µ-law, 8000 samples a second), for tests of calls.
package sound

import (
	"math"
	"sync"
	"time"

	"github.com/zaf/g711"
)

const (
	Rate  = 8000      // samples a second
	Frame = Rate / 50 // samples in 20 ms, which is what a packet carries
)

// Loudness of a tone, and what passes for silence, in 16-bit samples (root mean square for the latter).
const (
	amplitude = 8000
	quiet     = 200
)

// window is how much of the past a Meter judges by.
const window = 400 * time.Millisecond

// Tone is the n-th frame of a tone: frames in a row have no seam.
func Tone(hertz, n int) []byte {
	pcm := make([]byte, 2*Frame)
	for i := range Frame {
		v := int16(amplitude * math.Sin(2*math.Pi*float64(hertz)*float64(n*Frame+i)/Rate))
		pcm[2*i], pcm[2*i+1] = byte(v), byte(v>>8)
	}
	return g711.EncodeUlaw(pcm)
}

// Meter recognises the pitch of what comes. The zero value has heard nothing. Safe for concurrent use.
type Meter struct {
	mu      sync.Mutex
	samples []int16
	last    time.Time
}

// Add takes the payload of a packet; it is not kept.
func (m *Meter) Add(payload []byte) {
	pcm := g711.DecodeUlaw(payload)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := 0; i+1 < len(pcm); i += 2 {
		m.samples = append(m.samples, int16(uint16(pcm[i])|uint16(pcm[i+1])<<8)) //nolint:gosec // the bits of a sample
	}
	m.samples = m.samples[max(0, len(m.samples)-int(window.Seconds()*Rate)):]
	m.last = time.Now()
}

// Hertz is the pitch of the latest 400 ms; 0 when they were silent, not complete, or nothing came for as long.
func (m *Meter) Hertz() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.last) > window || len(m.samples) < int(window.Seconds()*Rate) {
		return 0
	}
	power, crossings := 0.0, 0
	for i, v := range m.samples {
		power += float64(v) * float64(v)
		if i > 0 && m.samples[i-1] < 0 && v >= 0 {
			crossings++
		}
	}
	if math.Sqrt(power/float64(len(m.samples))) < quiet {
		return 0
	}
	return crossings * Rate / len(m.samples)
}

// Near says whether two pitches are the same, as far as a Meter can tell.
func Near(a, b int) bool { return a-b < 25 && b-a < 25 }
