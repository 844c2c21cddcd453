package media

import (
	"strings"
	"testing"

	"github.com/pion/sdp/v3"

	"github.com/gatepost/gatepost/voip"
)

// A client sends keys only if the answer has telephone-event, and where its codecs have several clock rates, with that of the
// codec it speaks (RFC 4733 section 2.1).
func TestAnswersTakeKeys(t *testing.T) {
	e := engine(t, everywhere)
	offer := func(audio string) string {
		return "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n" + audio + "c=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:abcd\r\n" +
			"a=ice-pwd:abcdabcdabcdabcdabcdabcd\r\na=fingerprint:sha-256 " + strings.Repeat("00:", 31) + "00\r\na=setup:actpass\r\na=sendrecv\r\na=rtcp-mux\r\n"
	}
	chromium := offer("m=audio 9 UDP/TLS/RTP/SAVPF 111 9 0 8 13 110 126\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:9 G722/8000\r\n" +
		"a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n")
	firefox := offer("m=audio 9 UDP/TLS/RTP/SAVPF 109 9 0 8 101\r\na=rtpmap:109 opus/48000/2\r\na=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1\r\na=rtpmap:9 G722/8000/1\r\n" +
		"a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000/1\r\na=fmtp:101 0-15\r\n")
	for name, c := range map[string]struct {
		codec Codec
		offer string
		pt    uint8
		rate  uint32
	}{
		"Chromium, Opus": {Opus(), chromium, 110, 48000},
		"Chromium, PCMU": {PCMU(), chromium, 126, 8000},
		"Chromium, PCMA": {PCMA(), chromium, 126, 8000},
		"Firefox, Opus":  {Opus(), firefox, 101, 8000},
		"Firefox, PCMU":  {PCMU(), firefox, 101, 8000},
	} {
		t.Run(name, func(t *testing.T) {
			l := openSource(t, e, newCamera(Track{Codecs: []Codec{c.codec}}), &said{})
			l.Do(voip.Record{}, voip.LegInvite{Offer: voip.Description{Type: "offer", SDP: c.offer}})
			text := says[voip.LegAnswered](l).Answer.SDP
			var answer sdp.SessionDescription
			if err := answer.UnmarshalString(text); err != nil {
				t.Fatal(err)
			}
			for _, p := range offered(answer.MediaDescriptions[0]) {
				if strings.EqualFold(p.codec.MimeType, mimeEvents) && p.pt == c.pt && p.codec.ClockRate == c.rate {
					return
				}
			}
			t.Errorf("no telephone-event/%d as %d in\n%s", c.rate, c.pt, text)
		})
	}
}
