package media

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pion/rtp"
)

const (
	sampleRate = 48000
	frame      = sampleRate / 50 // 20 ms
	maxWAV     = 32 << 20        // bytes of a file
)

// Announcement is sound that is played to whoever calls: a tone without end, or a file once. Safe for concurrent use.
type Announcement struct {
	tone    float64  // Hz; 0: pcm or packets
	pcm     []int16  // mono, 48 kHz
	packets [][]byte // Opus
}

// LoadAnnouncement reads what the text names: tone:HZ (100 to 8000), a WAV file, 16 bit PCM at 8, 16, 24 or 48 kHz, of one
// channel or two, or an Ogg file of Opus, which is sent as it is. The error wraps ErrAnnouncement.
func LoadAnnouncement(text string) (*Announcement, error) {
	if hz, ok := strings.CutPrefix(text, "tone:"); ok {
		n, err := strconv.Atoi(hz)
		if err != nil || n < 100 || n > 8000 {
			return nil, fmt.Errorf("%w: %q is no frequency from 100 to 8000 Hz", ErrAnnouncement, hz)
		}
		return &Announcement{tone: float64(n)}, nil
	}
	f, err := os.Open(text) //nolint:gosec // named by the configuration file
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnnouncement, err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxWAV+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnnouncement, err)
	}
	if len(b) > maxWAV {
		return nil, fmt.Errorf("%w: %s has more than %d MiB", ErrAnnouncement, text, maxWAV>>20)
	}
	a := &Announcement{}
	if strings.HasPrefix(string(b[:min(len(b), 4)]), "OggS") {
		a.packets, err = oggPackets(b)
	} else {
		a.pcm, err = decodeWAV(b)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrAnnouncement, text, err)
	}
	return a, nil
}

// decodeWAV gives the samples of a RIFF file as mono at 48 kHz; rates below are repeated, which is good enough for speech.
func decodeWAV(b []byte) ([]int16, error) {
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return nil, fmt.Errorf("is neither a WAV nor an Ogg file")
	}
	var channels, repeat int
	for b = b[12:]; len(b) >= 8; {
		id, size := string(b[:4]), uint64(binary.LittleEndian.Uint32(b[4:]))
		b = b[8:]
		body := b[:min(size, uint64(len(b)))]
		switch {
		case id == "fmt " && len(body) >= 16:
			rate := binary.LittleEndian.Uint32(body[4:])
			channels = int(binary.LittleEndian.Uint16(body[2:]))
			known := rate == 8000 || rate == 16000 || rate == 24000 || rate == sampleRate
			if binary.LittleEndian.Uint16(body) != 1 || binary.LittleEndian.Uint16(body[14:]) != 16 || !known || channels < 1 || channels > 2 {
				return nil, fmt.Errorf("is not 16 bit PCM at 8, 16, 24 or 48 kHz of one channel or two")
			}
			repeat = sampleRate / int(rate)
		case id == "data" && repeat > 0:
			out := make([]int16, 0, len(body)/(2*channels)*repeat)
			for ; len(body) >= 2*channels; body = body[2*channels:] {
				sum := 0
				for c := range channels {
					sum += int(int16(binary.LittleEndian.Uint16(body[2*c:]))) //nolint:gosec // two's complement
				}
				for range repeat {
					out = append(out, int16(sum/channels)) //nolint:gosec // the mean of int16
				}
			}
			return out, nil
		}
		b = b[min(size+size%2, uint64(len(b))):]
	}
	return nil, fmt.Errorf("has no samples")
}

// Source plays a from its beginning, for one call.
func (a *Announcement) Source() Source { return &announcer{a: a} }

// Recorder plays a to its end, a tone for a second, and then records the caller for at most a time, after which the call
// ends. keep gets what was recorded, if it is longer than a second; it is called before Source.Close returns.
func (a *Announcement) Recorder(most time.Duration, keep func(Recording)) Source {
	return &announcer{a: a, rec: &recorder{most: most}, keep: keep}
}

type announcer struct {
	a    *Announcement
	rec  *recorder // nil: nothing is recorded
	keep func(Recording)
}

// Open is of Source.
func (s *announcer) Open(context.Context) ([]Track, error) {
	return []Track{{Codecs: []Codec{Opus()}, Receives: s.rec != nil}}, nil
}

// Receive is of Source.
func (s *announcer) Receive(_ int, p *rtp.Packet) {
	if s.rec != nil {
		s.rec.take(p)
	}
}

// Keyframe is of Source.
func (*announcer) Keyframe(int) {}

// Close is of Source.
func (s *announcer) Close() error {
	if s.rec != nil {
		if r, ok := s.rec.end(); ok {
			s.keep(r)
		}
	}
	return nil
}

// Run is of Source.
func (s *announcer) Run(ctx context.Context, to Link) error {
	next, err := s.a.player(s.rec != nil)
	if err != nil {
		return err
	}
	p := rtp.Packet{Header: rtp.Header{Version: 2, Marker: true}}
	at, wait := time.Now(), time.NewTimer(0)
	defer wait.Stop()
	for {
		data, samples, err := next()
		if err != nil {
			return fmt.Errorf("media: opus: %w", err)
		}
		if data == nil {
			break
		}
		p.Payload = data
		to.Send(0, &p)
		p.Marker = false
		p.SequenceNumber++
		p.Timestamp += samples
		at = at.Add(time.Duration(samples) * time.Second / sampleRate)
		wait.Reset(time.Until(at))
		select {
		case <-wait.C:
		case <-ctx.Done():
			return nil
		}
	}
	if s.rec == nil {
		return nil
	}
	s.rec.begin()
	wait.Reset(s.rec.most)
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
	return nil
}

// player gives packets of Opus one after the other, with how many samples they last, and nil at the end. short: a tone ends
// after a second.
func (a *Announcement) player(short bool) (func() ([]byte, uint32, error), error) {
	if a.packets != nil {
		left := a.packets
		return func() ([]byte, uint32, error) {
			for len(left) > 0 {
				p := left[0]
				left = left[1:]
				if n := opusSamples(p); n > 0 {
					return p, n, nil
				}
			}
			return nil, 0, nil
		}, nil
	}
	encode, err := encoder(Opus())
	if err != nil {
		return nil, err
	}
	pcm, data, at := make([]int16, frame), make([]byte, mtu), 0
	return func() ([]byte, uint32, error) {
		if !a.fill(pcm, at) || short && a.tone > 0 && at >= sampleRate {
			return nil, 0, nil
		}
		at += frame
		n, err := encode(pcm, data)
		return data[:n], frame, err
	}, nil
}

// fill gives the samples from at on, with silence after the last; false when there are none.
func (a *Announcement) fill(pcm []int16, at int) bool {
	if a.tone == 0 {
		if at >= len(a.pcm) {
			return false
		}
		clear(pcm[copy(pcm, a.pcm[at:]):])
		return true
	}
	for i := range pcm {
		// whole seconds are whole periods, so the angle stays small
		pcm[i] = int16(8000 * math.Sin(2*math.Pi*a.tone*float64((at+i)%sampleRate)/sampleRate))
	}
	return true
}
