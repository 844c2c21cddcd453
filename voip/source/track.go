package source

import (
	"strings"

	"github.com/pion/rtp"

	"github.com/gatepost/gatepost/voip/media"
)

// codecs are those that calls carry, by their names in the configuration. H264 is offered as what every browser has to know
// (RFC 7742 section 6.2); they decode other profiles all the same, and what comes is said in its parameter sets.
func codecs(name string) (media.Codec, bool) {
	switch name {
	case "opus":
		return media.Opus(), true
	case "pcmu":
		return media.PCMU(), true
	case "pcma":
		return media.PCMA(), true
	case "h264":
		return media.H264("42e01f"), true
	case "h265":
		return media.H265(), true
	case "vp8":
		return media.VP8(), true
	}
	return media.Codec{}, false
}

func isVideo(c media.Codec) bool { return strings.HasPrefix(c.MimeType, "video/") }

// withSound adds a track on which nothing is sent to a device without sound: the keys that the person presses come in on it,
// and some clients do not connect when their sound is refused.
func withSound(tracks []media.Track) []media.Track {
	for _, t := range tracks {
		if !t.Video() {
			return tracks
		}
	}
	return append(tracks, media.Track{Codecs: []media.Codec{media.Opus(), media.PCMU(), media.PCMA()}})
}

// untaken is the failure when the person's client takes none of what the device sends; nil: it takes some.
func untaken(sent, taken []media.Codec) error {
	var names []string
	for i, c := range sent {
		if taken[i] != (media.Codec{}) {
			return nil
		}
		names = append(names, nameOf(c))
	}
	return fail("The device sends "+strings.Join(names, " and ")+", which the person's client does not take.", nil)
}

func nameOf(c media.Codec) string {
	_, name, _ := strings.Cut(c.MimeType, "/")
	return name
}

// forwarder hands on the packets of one track. Used by one goroutine.
type forwarder struct {
	track int
	h264  *h264 // nil: another codec
	ssrc  uint32
	send  func(track int, p *rtp.Packet)
}

// newForwarder is one for a track that begins, or begins anew: ssrc tells which.
func newForwarder(n int, c media.Codec, ssrc uint32, send func(int, *rtp.Packet)) *forwarder {
	f := &forwarder{track: n, ssrc: ssrc, send: send}
	if c.Is(media.H264("")) {
		f.h264 = &h264{}
	}
	return f
}

// take hands p on without what concerns only the way that it came: extensions, padding, sources.
func (f *forwarder) take(p *rtp.Packet) {
	out := rtp.Packet{Payload: p.Payload, Header: rtp.Header{
		Version: 2, Marker: p.Marker, PayloadType: p.PayloadType, SequenceNumber: p.SequenceNumber, Timestamp: p.Timestamp, SSRC: f.ssrc,
	}}
	if f.h264 == nil {
		f.send(f.track, &out)
		return
	}
	f.h264.take(&out, func(q *rtp.Packet) { f.send(f.track, q) })
}
