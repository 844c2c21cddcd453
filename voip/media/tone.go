package media

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/thesyncim/gopus"
	"github.com/zaf/g711"
)

// Tone is a short signal that the person hears instead of the device.
type Tone int

// The tones.
const (
	Done    Tone = iota // two notes, rising
	Refused             // one low note
	Asked               // one high note: something is expected of the person
)

// note is one sound of a Tone.
type note struct {
	hz float64
	ms int
}

func (t Tone) notes() []note {
	switch t {
	case Done:
		return []note{{880, 120}, {1320, 180}}
	case Asked:
		return []note{{1000, 200}}
	}
	return []note{{300, 500}}
}

// toneQueue is how many tones wait; more are not played.
const toneQueue = 4

// Play lets the person hear a tone as soon as the ones before it are over. It does not block; a call without sound of ours
// has no tones.
func (l *Leg) Play(t Tone) {
	select {
	case l.tones <- t:
	default:
	}
}

// sing plays tones until the call is over. Of a call that is not connected yet, nothing is heard.
func (l *Leg) sing() {
	for {
		select {
		case t := <-l.tones:
			for _, o := range l.sound() {
				if err := o.play(l, t); err != nil {
					l.log("a tone could not be played", err)
				}
			}
		case <-l.ctx.Done():
			return
		}
	}
}

// sound is our track of audio, if the person hears it.
func (l *Leg) sound() []*outTrack {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.out {
		if o != nil && o.chosen().MimeType != "" && !o.chosen().video() {
			return []*outTrack{o}
		}
	}
	return nil
}

// play sends a tone in the codec of the call; what the device sends meanwhile is not heard.
func (t *outTrack) play(l *Leg, tone Tone) error {
	codec := t.chosen()
	encode, err := encoder(codec)
	if err != nil {
		return err
	}
	t.replace(true)
	defer t.replace(false)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	pcm, data := make([]int16, codec.ClockRate/50), make([]byte, mtu)
	p := rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, SSRC: toneSSRC}}
	for _, n := range tone.notes() {
		for at := 0; at < n.ms; at += 20 {
			for i := range pcm {
				pcm[i] = int16(8000 * math.Sin(2*math.Pi*n.hz*(float64(at)/1000+float64(i)/float64(codec.ClockRate))))
			}
			size, err := encode(pcm, data)
			if err != nil {
				return fmt.Errorf("media: tone: %w", err)
			}
			p.Payload = data[:size]
			t.mu.Lock()
			t.write(&p)
			t.mu.Unlock()
			p.Marker = false
			p.SequenceNumber++
			p.Timestamp += codec.ClockRate / 50
			select {
			case <-tick.C:
			case <-l.ctx.Done():
				return nil
			}
		}
	}
	return nil
}

// toneSSRC is unlike that of a device, but by a chance of 1 in 2^32; then the sequence numbers jump.
const toneSSRC = 0x746f6e65

// replace says whether a tone is played instead of the device.
func (t *outTrack) replace(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.toned = on
}

// encoder makes packets of 20 ms in a codec of audio.
func encoder(c Codec) (func(pcm []int16, out []byte) (int, error), error) {
	law := func(f func(int16) uint8) func([]int16, []byte) (int, error) {
		return func(pcm []int16, out []byte) (int, error) {
			for i, s := range pcm {
				out[i] = f(s)
			}
			return len(pcm), nil
		}
	}
	switch {
	case strings.EqualFold(c.MimeType, webrtc.MimeTypePCMU):
		return law(g711.EncodeUlawFrame), nil
	case strings.EqualFold(c.MimeType, webrtc.MimeTypePCMA):
		return law(g711.EncodeAlawFrame), nil
	case strings.EqualFold(c.MimeType, webrtc.MimeTypeOpus):
		enc, err := gopus.NewEncoder(gopus.EncoderConfig{SampleRate: sampleRate, Channels: 1, Application: gopus.ApplicationVoIP})
		if err != nil {
			return nil, fmt.Errorf("media: opus: %w", err)
		}
		return enc.EncodeInt16, nil
	}
	return nil, fmt.Errorf("media: %s is not made here", c.MimeType)
}
