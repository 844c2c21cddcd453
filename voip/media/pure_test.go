package media

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/rtp"
	"github.com/pion/stun/v4"
)

func TestRewriter(t *testing.T) {
	type packet struct {
		ssrc uint32
		seq  uint16
		ts   uint32
		ms   int // when it comes
	}
	var r rewriter
	at := time.Unix(1_800_000_000, 0)
	for i, c := range []struct {
		packet
		pause bool // before it
		seq   uint16
		ts    uint32
		fresh bool
	}{
		{packet{1, 65535, 4294967000, 0}, false, 65535, 4294967000, true},
		{packet{1, 0, 664, 20}, false, 0, 664, false},         // both wrap
		{packet{1, 3, 3544, 80}, false, 3, 3544, false},       // two are lost
		{packet{1, 2, 2584, 81}, false, 2, 2584, false},       // late
		{packet{1, 4, 4504, 100}, false, 4, 4504, false},      // and on
		{packet{2, 500, 9, 1100}, false, 5, 52504, true},      // another sender a second later
		{packet{2, 501, 969, 1120}, false, 6, 53464, false},   //
		{packet{2, 60000, 1929, 1140}, false, 7, 54424, true}, // the same one, begun anew
		{packet{2, 60050, 49929, 2140}, true, 8, 102424, false},
		{packet{2, 60051, 50889, 2160}, false, 9, 103384, false},
	} {
		if c.pause {
			r.pause()
		}
		h := rtp.Header{SSRC: c.ssrc, SequenceNumber: c.packet.seq, Timestamp: c.packet.ts}
		seq, ts, fresh := r.next(&h, at.Add(time.Duration(c.ms)*time.Millisecond), 48000)
		if seq != c.seq || ts != c.ts || fresh != c.fresh {
			t.Errorf("packet %d: %d %d %v, want %d %d %v", i, seq, ts, fresh, c.seq, c.ts, c.fresh)
		}
	}
}

// Each press is told once, whatever of it is lost, doubled or late.
func TestDigits(t *testing.T) {
	event := func(digit, end byte, length uint16, ts uint32) *rtp.Packet {
		return &rtp.Packet{Header: rtp.Header{Timestamp: ts}, Payload: []byte{digit, end<<7 | 10, byte(length >> 8), byte(length)}}
	}
	for name, c := range map[string]struct {
		packets []*rtp.Packet
		want    string
	}{
		"one press, the end three times": {[]*rtp.Packet{event(5, 0, 960, 100), event(5, 0, 1920, 100), event(5, 1, 2880, 100), event(5, 1, 2880, 100), event(5, 1, 2880, 100)}, "5"},
		"only an end comes":              {[]*rtp.Packet{event(11, 1, 2880, 100)}, "#"},
		"no end comes":                   {[]*rtp.Packet{event(1, 0, 960, 100), event(1, 0, 960, 5000), event(1, 1, 960, 9000)}, "111"},
		"late":                           {[]*rtp.Packet{event(1, 1, 960, 100), event(2, 0, 960, 5000), event(1, 1, 960, 100), event(2, 1, 960, 5000)}, "12"},
		"the clock wraps":                {[]*rtp.Packet{event(1, 1, 960, math.MaxUint32-10), event(2, 1, 960, 5000)}, "12"},
		"pressed for long":               {[]*rtp.Packet{event(9, 0, 960, 100), event(9, 0, 0xffff, 100), event(9, 0, 960, 100+0xffff), event(9, 1, 9600, 100+0xffff)}, "9"},
		"pressed again at once":          {[]*rtp.Packet{event(9, 0, 960, 100), event(9, 1, 0xffff, 100), event(9, 0, 960, 100+0xffff)}, "99"},
		"all keys": {func() (out []*rtp.Packet) {
			for i := range byte(16) {
				out = append(out, event(i, 1, 960, uint32(i)*5000))
			}
			return out
		}(), keypad},
		"no keys": {[]*rtp.Packet{event(16, 1, 960, 100), {Payload: []byte{1, 2, 3}}, {}}, ""},
	} {
		var d digits
		var got []rune
		for _, p := range c.packets {
			if r, ok := d.take(p); ok {
				got = append(got, r)
			}
		}
		if string(got) != c.want {
			t.Errorf("%s: %q, want %q", name, string(got), c.want)
		}
	}
}

func TestSharedCodecs(t *testing.T) {
	const head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
	const audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 x 300\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\na=rtpmap:63 red/48000/2\r\na=rtpmap:9 G722/8000\r\n"
	const video = "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 H264/90000\r\na=fmtp:97 packetization-mode=0;profile-level-id=42e01f\r\n" +
		"a=rtpmap:98 H264/90000\r\na=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n" +
		"a=rtpmap:99 H264/90000\r\na=fmtp:99 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f\r\n"
	for name, c := range map[string]struct {
		tracks []Track
		offer  string
		want   []int // payload types; -1 none
	}{
		"the device's first":     {[]Track{{Codecs: []Codec{PCMA(), Opus()}}}, head + audio, []int{8}},
		"without rtpmap":         {[]Track{{Codecs: []Codec{PCMU()}}}, head + audio, []int{0}},
		"with channels":          {[]Track{{Codecs: []Codec{Opus()}}}, head + audio, []int{111}},
		"the like profile":       {[]Track{{Codecs: []Codec{H264("640028")}}}, head + video, []int{99}},
		"the packetization mode": {[]Track{{Codecs: []Codec{H264("4d0028")}}}, head + video, []int{98}},
		"both, in any order":     {[]Track{{Codecs: []Codec{VP8()}}, {Codecs: []Codec{Opus()}}}, head + audio + video, []int{96, 111}},
		"none":                   {[]Track{{Codecs: []Codec{H265()}}, {Codecs: []Codec{{MimeType: "audio/mpeg4-generic", ClockRate: 48000}}}}, head + audio + video, []int{-1, -1}},
		"no picture":             {[]Track{{Codecs: []Codec{VP8()}}, {Codecs: []Codec{Opus()}}}, head + audio, []int{-1, 111}},
	} {
		got, err := sharedCodecs(c.tracks, c.offer)
		if err != nil {
			t.Error(err)
			continue
		}
		for i, want := range c.want {
			if len(got[i]) == 0 && want >= 0 || len(got[i]) > 0 && int(got[i][0].pt) != want {
				t.Errorf("%s: track %d is answered with %+v, want %d", name, i, got[i], want)
			}
		}
	}
}

func TestOurPayloadTypesAreDifferent(t *testing.T) {
	var many []Codec
	for range 40 {
		many = append(many, H264("42e01f"))
	}
	seen := map[uint8]bool{eventsPT: true, events8PT: true}
	for _, list := range allCodecs([]Track{{Codecs: many}, {Codecs: []Codec{Opus(), PCMU(), PCMA()}}}) {
		for _, p := range list {
			if seen[p.pt] || p.pt > 126 {
				t.Errorf("%s has %d", p.codec.MimeType, p.pt)
			}
			seen[p.pt] = true
		}
	}
}

// A way is taken only where answers came, and only when the other side says so or when the one before is dead.
func TestPathChange(t *testing.T) {
	host := func(port int) ice.Candidate {
		c, err := ice.NewCandidateHost(&ice.CandidateHostConfig{Network: "udp", Address: "192.0.2.1", Port: port, Component: 1})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	plain, err := stun.Build(stun.BindingRequest, stun.TransactionID)
	if err != nil {
		t.Fatal(err)
	}
	nominates, err := stun.Build(stun.BindingRequest, stun.TransactionID, ice.UseCandidate())
	if err != nil {
		t.Fatal(err)
	}
	local, first, second := host(1), host(2), host(3)
	for name, c := range map[string]struct {
		controlling bool
		m           *stun.Message
		answered    bool // on the second pair, now
		dead        bool // the first
		want        bool
	}{
		"the other side chooses":                {false, nominates, true, false, true},
		"it chooses what we can't use":          {false, nominates, false, false, false},
		"it only checks":                        {false, plain, true, false, false},
		"it only checks, and the first is dead": {false, plain, true, true, true},
		"it only checks, and both are silent":   {false, plain, false, true, false},
		"we choose, and all is well":            {true, plain, true, false, false},
		"we choose, and the first way is dead":  {true, plain, true, true, true},
		"we choose, and the second was silent ": {true, plain, false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPath(c.controlling, nil)
				a, b := &ice.CandidatePair{Local: local, Remote: first}, &ice.CandidatePair{Local: local, Remote: second}
				p.selected = keyOf(local, first)
				a.UpdateRoundTripTime(time.Millisecond)
				if p.checked(plain, local, first, a) {
					t.Error("the way that is taken already is taken")
				}
				if c.dead {
					time.Sleep(2 * time.Second)
				}
				if c.answered {
					b.UpdateRoundTripTime(time.Millisecond)
				}
				if got := p.checked(c.m, local, second, b); got != c.want {
					t.Errorf("taken: %v", got)
				}
			})
		})
	}
}

// What is recorded can be played.
func TestARecordingIsAFileOfOpus(t *testing.T) {
	r := recorder{most: 3 * time.Second}
	r.take(&rtp.Packet{Payload: silence}) // before it began
	r.begin()
	r.take(&rtp.Packet{Header: rtp.Header{Timestamp: 5000}, Payload: silence})
	r.take(&rtp.Packet{Header: rtp.Header{Timestamp: 5000}, Payload: silence})               // twice
	r.take(&rtp.Packet{Header: rtp.Header{Timestamp: 5000 + 960 + 48000}, Payload: silence}) // after a second of silence
	r.take(&rtp.Packet{Header: rtp.Header{Timestamp: 5000 + 3*960 + 48000}, Payload: bytes.Repeat([]byte{0xf8}, 600)})
	r.take(&rtp.Packet{Payload: nil})
	got, ok := r.end()
	if !ok || got.Duration != 1080*time.Millisecond {
		t.Fatalf("%v %v", got.Duration, ok)
	}
	packets, err := oggPackets(got.Ogg)
	if err != nil || len(packets) != 54 || len(packets[53]) != 600 || !bytes.Equal(packets[0], silence) {
		t.Errorf("%d packets, %v", len(packets), err)
	}
	for at := uint32(0); ; at += 960 {
		before := r.taken
		r = recorder{most: 3 * time.Second, on: true, any: true, w: r.w, last: at, taken: before}
		r.take(&rtp.Packet{Header: rtp.Header{Timestamp: at}, Payload: silence})
		if r.taken == before {
			break
		}
	}
	if r.length() != 3*time.Second {
		t.Errorf("it has %v", r.length())
	}
	var short recorder
	if _, ok := short.end(); ok {
		t.Error("nothing is kept")
	}
}

func TestOggFilesThatAreRefused(t *testing.T) {
	w := newOgg()
	w.packet(silence, frame)
	good := w.end()
	if _, err := oggPackets(good); err != nil {
		t.Fatal(err)
	}
	many := slices.Clone(good)
	many[28+9] = 6 // channels
	for name, b := range map[string][]byte{
		"empty": {}, "cut in a page": good[:len(good)-1], "cut in a header": good[:20], "headers alone": good[:bytes.LastIndex(good, []byte("OggS"))],
		"another stream": bytes.Replace(good, []byte("OpusHead"), []byte("vorbis!!"), 1), "six channels": many, "garbage behind": append(slices.Clone(good), 'x'),
	} {
		if p, err := oggPackets(b); err == nil {
			t.Errorf("%s: %d packets", name, len(p))
		}
	}
}

func FuzzOgg(f *testing.F) {
	w := newOgg()
	w.packet(silence, frame)
	f.Add(w.end())
	f.Fuzz(func(t *testing.T, b []byte) {
		packets, err := oggPackets(b)
		if err != nil {
			return
		}
		for _, p := range packets {
			if n := opusSamples(p); n > 5760 || len(p) == 0 || len(p) > maxOpus {
				t.Errorf("%d samples of %d bytes", n, len(p))
			}
		}
	})
}
