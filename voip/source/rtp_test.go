package source

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/gatepost/gatepost/voip/media"
)

func TestParseRTP(t *testing.T) {
	for text, want := range map[string]string{
		"rtp://10.0.0.1:5004?audio=opus&audio_port=5002":                          "",
		"rtp://10.0.0.1?video=h264/97&video_port=5000&audio=PCMU&audio_port=5002": "",
		"rtp://[fd00::1]:5004?audio=pcma&audio_port=5002":                         "",
		"http://10.0.0.1?audio=opus&audio_port=5002":                              "is not an address",
		"rtp://?audio=opus&audio_port=5002":                                       "is not an address",
		"rtp://a:b@10.0.0.1?audio=opus&audio_port=5002":                           "is not an address",
		"rtp://10.0.0.1/x?audio=opus&audio_port=5002":                             "is not an address",
		"rtp://10.0.0.1":                                                      "needs audio and audio_port, or video and video_port",
		"rtp://10.0.0.1?audio=opus":                                           "audio and audio_port need each other",
		"rtp://10.0.0.1?video_port=5000":                                      "video and video_port need each other",
		"rtp://10.0.0.1?audio=aac&audio_port=5002":                            `audio="aac" is none of opus, pcmu, pcma`,
		"rtp://10.0.0.1?video=opus&video_port=5002":                           `video="opus" is none of h264, h265, vp8`,
		"rtp://10.0.0.1?audio=opus/128&audio_port=5002":                       `"128" is no payload type`,
		"rtp://10.0.0.1?audio=opus&audio_port=0":                              `"0" is no port`,
		"rtp://10.0.0.1:99999?audio=opus&audio_port=5002":                     `"99999" is no port`,
		"rtp://10.0.0.1?audio=opus&audio_port=5002&codec=x":                   `"codec" is none of`,
		"rtp://10.0.0.1?audio=opus&audio=opus&audio_port=5002":                "audio is given twice",
		"rtp://10.0.0.1?audio=opus&audio_port=5002&video=vp8&video_port=5002": "are the same",
		"rtp://10.0.0.1:5004?video=vp8&video_port=5002":                       "there is no audio",
		"rtp://10.0.0.1?%zz":                                                  "what follows ?",
	} {
		_, err := ParseRTP(text)
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrAddress) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseRTP(f *testing.F) {
	f.Add("rtp://10.0.0.1:5004?audio=opus/97&audio_port=5002&video=h264&video_port=5000")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRTP(text)
		if err == nil && (len(r.Ports()) == 0 || len(r.Ports()) > 2 || r.host == "") {
			t.Errorf("%q: %+v", text, r)
		}
	})
}

// phone is a device on plain RTP.
type phone struct {
	t    *testing.T
	conn *net.UDPConn
}

func newPhone(t *testing.T, ip string) *phone {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &phone{t, c}
}

func (p *phone) port() int { return p.conn.LocalAddr().(*net.UDPAddr).Port }

func (p *phone) send(to int, pkt rtp.Packet) {
	pkt.Version = 2
	b, err := pkt.Marshal()
	if err == nil {
		_, err = p.conn.WriteToUDPAddrPort(b, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(to))) //nolint:gosec // a port
	}
	if err != nil {
		p.t.Error(err)
	}
}

func TestRTP(t *testing.T) {
	audio, video := freePort(t), freePort(t)
	device, stranger := newPhone(t, "127.0.0.1"), newPhone(t, "127.0.0.2")
	r, err := ParseRTP("rtp://127.0.0.1:" + port(device.port()) + "?audio=opus&audio_port=" + port(audio) + "&video=vp8/96&video_port=" + port(video))
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, r.Source(nil))
	if len(c.tracks) != 2 || !c.tracks[0].Video() || c.tracks[0].Receives || !c.tracks[1].Receives || c.tracks[1].Codecs[0] != media.Opus() {
		t.Fatalf("tracks %+v", c.tracks)
	}
	c.start()
	if w, _ := fails(t, r.Source(nil)); w != "The gateway's port for the device is taken." {
		t.Errorf("a second call: %s", w)
	}
	every(t, func(n int) {
		seq := uint16(n) //nolint:gosec // it wraps
		stranger.send(audio, rtp.Packet{Header: rtp.Header{PayloadType: 97, SequenceNumber: seq, SSRC: 9}, Payload: []byte("stranger")})
		device.send(audio, rtp.Packet{Header: rtp.Header{PayloadType: 97, SequenceNumber: seq, SSRC: 1}, Payload: []byte("sound")})
		device.send(video, rtp.Packet{Header: rtp.Header{PayloadType: 95, SequenceNumber: seq, SSRC: 2}, Payload: []byte("other type")})
		device.send(video, rtp.Packet{Header: rtp.Header{PayloadType: 96, SequenceNumber: seq, SSRC: 2, Extension: true, ExtensionProfile: 1, CSRC: []uint32{7}}, Payload: []byte("picture")})
	})
	kinds := map[string]bool{}
	for range 200 {
		p := c.gets("a packet", func(packet) bool { return true })
		kinds[string(p.Payload)] = true
		if p.Extension || len(p.CSRC) > 0 {
			t.Errorf("%v", p.Header)
		}
		if p.track != map[string]int{"picture": 0, "sound": 1}[string(p.Payload)] {
			t.Errorf("%s is track %d", p.Payload, p.track)
		}
	}
	if len(kinds) != 2 || !kinds["sound"] || !kinds["picture"] {
		t.Errorf("got %v", kinds)
	}

	c.src.Receive(1, &rtp.Packet{Header: rtp.Header{SequenceNumber: 3, PayloadType: 111}, Payload: []byte("hello")})
	c.src.Receive(0, &rtp.Packet{Payload: []byte("no picture is heard")})
	c.src.Keyframe(0)
	var heard, asked bool
	b := make([]byte, 1500)
	for range 2 {
		n, _, err := device.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			t.Fatal(err)
		}
		var p rtp.Packet
		if list, err := rtcp.Unmarshal(b[:n]); err == nil && b[1] >= 192 {
			pli, ok := list[0].(*rtcp.PictureLossIndication)
			asked = ok && pli.MediaSSRC == 2
		} else if p.Unmarshal(b[:n]) == nil {
			heard = string(p.Payload) == "hello" && p.PayloadType == 97 && p.SequenceNumber == 3
		}
	}
	if !heard || !asked {
		t.Errorf("the device heard the person: %v, was asked for a picture: %v", heard, asked)
	}
}
