package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/voip/media"
)

// RTP is a device that sends plain RTP (RFC 3550) to ports of ours, and may hear the person at one of its own. Safe for
// concurrent use.
type RTP struct {
	host    string
	talk    uint16 // the device's port for what the person says; 0: it hears nothing
	streams []rtpStream
}

// rtpStream is one track of it.
type rtpStream struct {
	codec media.Codec
	port  uint16 // ours
	pt    int    // payload type; -1: that of the first packet
}

// ParseRTP reads an address of the configuration,
//
//	rtp://HOST[:PORT]?audio=CODEC[/PT]&audio_port=PORT&video=CODEC[/PT]&video_port=PORT
//
// HOST is the device, from which alone packets are taken; PORT after it is where it hears the person; the other ports are ours,
// where it sends to. The codecs are opus, pcmu, pcma; h264, h265, vp8. PT is the payload type; without it, what RFC 3551
// assigns, else that of the first packet. The error wraps ErrAddress.
func ParseRTP(text string) (*RTP, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "rtp" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%w: is not an address like rtp://192.168.1.30:5004?audio=opus&audio_port=5004", ErrAddress)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("%w: what follows ? is not name=value, with & between", ErrAddress)
	}
	r := &RTP{host: u.Hostname()}
	if p := u.Port(); p != "" {
		if r.talk, err = portOf(p); err != nil {
			return nil, err
		}
	}
	for name, values := range q {
		switch name {
		case "audio", "audio_port", "video", "video_port":
		default:
			return nil, fmt.Errorf("%w: %q is none of audio, audio_port, video, video_port", ErrAddress, name)
		}
		if len(values) > 1 {
			return nil, fmt.Errorf("%w: %s is given twice", ErrAddress, name)
		}
	}
	for _, kind := range []string{"video", "audio"} {
		codec, port := q.Get(kind), q.Get(kind+"_port")
		if codec == "" && port == "" {
			continue
		}
		if codec == "" || port == "" {
			return nil, fmt.Errorf("%w: %s and %s_port need each other", ErrAddress, kind, kind)
		}
		s, err := parseStream(kind, codec, port)
		if err != nil {
			return nil, err
		}
		r.streams = append(r.streams, s)
	}
	switch {
	case len(r.streams) == 0:
		return nil, fmt.Errorf("%w: needs audio and audio_port, or video and video_port", ErrAddress)
	case len(r.streams) == 2 && r.streams[0].port == r.streams[1].port:
		return nil, fmt.Errorf("%w: audio_port and video_port are the same", ErrAddress)
	case r.talk != 0 && q.Get("audio") == "":
		return nil, fmt.Errorf("%w: the port of the device is for sound, and there is no audio", ErrAddress)
	}
	return r, nil
}

func parseStream(kind, codec, port string) (rtpStream, error) {
	name, pt, given := strings.Cut(codec, "/")
	c, ok := codecs(strings.ToLower(name))
	if !ok || isVideo(c) != (kind == "video") {
		return rtpStream{}, fmt.Errorf("%w: %s=%q is none of %s", ErrAddress, kind, name, map[string]string{"audio": "opus, pcmu, pcma", "video": "h264, h265, vp8"}[kind])
	}
	s := rtpStream{codec: c, pt: -1}
	switch c {
	case media.PCMU():
		s.pt = 0
	case media.PCMA():
		s.pt = 8
	}
	if given {
		n, err := strconv.Atoi(pt)
		if err != nil || n < 0 || n > 127 {
			return rtpStream{}, fmt.Errorf("%w: %q is no payload type from 0 to 127", ErrAddress, pt)
		}
		s.pt = n
	}
	var err error
	s.port, err = portOf(port)
	return s, err
}

func portOf(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%w: %q is no port from 1 to 65535", ErrAddress, text)
	}
	return uint16(n), nil
}

// Ports are those of ours that a call takes.
func (r *RTP) Ports() []uint16 {
	var out []uint16
	for _, s := range r.streams {
		out = append(out, s.port)
	}
	return out
}

// Source is the device for one call; log nil: silent.
func (r *RTP) Source(log *slog.Logger) media.Source {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &rtpSource{rtp: r, log: log.With(logkey.URL, "rtp://"+r.host)}
}

const (
	rtpSilence = 20 * time.Second      // without a packet from the beginning, then the call ends
	rtpPacket  = 2048                  // bytes; what is longer is cut, and dropped for it
	resolve    = 3 * time.Second       // for finding the device and taking the ports
	portAgain  = 50 * time.Millisecond // between two tries to take one
	// firstDynamic is the payload type of what the device hears while nobody has said another (RFC 3551 section 3).
	firstDynamic = 96
)

// rtpSource is a device in one call.
type rtpSource struct {
	rtp   *RTP
	log   *slog.Logger
	addr  netip.Addr     // the device
	conns []*net.UDPConn // of each stream
	heard []heard        // of each stream
}

// heard is what the other direction needs to know.
type heard struct {
	pt   atomic.Int32 // payload type; -1: not known yet
	from atomic.Pointer[netip.AddrPort]
	ssrc atomic.Uint32
}

// Open takes the ports.
func (s *rtpSource) Open(ctx context.Context) ([]media.Track, error) {
	ctx, cancel := context.WithTimeout(ctx, resolve)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", s.rtp.host)
	if err != nil || len(addrs) == 0 {
		return nil, fail("The device's address can't be found.", err)
	}
	s.addr = addrs[0].Unmap()
	s.heard = make([]heard, len(s.rtp.streams))
	var tracks []media.Track
	for i, st := range s.rtp.streams {
		s.heard[i].pt.Store(int32(st.pt)) //nolint:gosec // -1 to 127
		c, err := listenPatiently(ctx, st.port)
		if err != nil {
			s.Close()
			return nil, fail("The gateway's port for the device is taken.", err)
		}
		s.conns = append(s.conns, c)
		tracks = append(tracks, media.Track{Codecs: []media.Codec{st.codec}, Receives: s.rtp.talk != 0 && !isVideo(st.codec)})
	}
	return withSound(tracks), nil
}

// listenPatiently takes a port. When device and person call each other at the same time, the call that gives way may still hold
// it for a moment.
func listenPatiently(ctx context.Context, port uint16) (*net.UDPConn, error) {
	tick := time.NewTicker(portAgain)
	defer tick.Stop()
	for {
		c, err := net.ListenUDP("udp", &net.UDPAddr{Port: int(port)})
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			return c, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// Close gives the ports back.
func (s *rtpSource) Close() error {
	for _, c := range s.conns {
		_ = c.Close() // twice does no harm
	}
	return nil
}

// Run hands on what the device sends.
func (s *rtpSource) Run(ctx context.Context, to media.Link) error {
	var sent []media.Codec
	for _, st := range s.rtp.streams {
		sent = append(sent, st.codec)
	}
	if err := untaken(sent, to.Codecs); err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer s.Close()
	first := make(chan struct{}, len(s.conns))
	for i := range s.conns {
		wg.Go(func() { s.receive(i, to.Send, first) })
	}
	silence := time.NewTimer(rtpSilence)
	defer silence.Stop()
	select {
	case <-ctx.Done():
	case <-first:
		<-ctx.Done()
	case <-silence.C:
		return fail("The device sends nothing.", nil)
	}
	return nil
}

// receive reads one port until it is closed.
func (s *rtpSource) receive(i int, send func(int, *rtp.Packet), first chan<- struct{}) {
	st, c, heard := s.rtp.streams[i], s.conns[i], &s.heard[i]
	pt := st.pt
	var fw *forwarder
	b := make([]byte, rtpPacket)
	for began, warned := false, false; ; {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // ICMP: the device's port is shut
		}
		if from.Addr().Unmap() != s.addr {
			if !warned {
				warned = true
				s.log.Warn("packets of somebody else than the device are dropped", logkey.Address, from.Addr().String())
			}
			continue
		}
		var p rtp.Packet
		if n == len(b) || n < 12 || b[0]>>6 != 2 || rtcpType(b[1]) || p.Unmarshal(b[:n]) != nil {
			continue
		}
		if pt < 0 {
			pt = int(p.PayloadType)
			heard.pt.Store(int32(pt)) //nolint:gosec // 7 bits
		}
		if int(p.PayloadType) != pt {
			continue
		}
		if !began {
			began = true
			first <- struct{}{}
		}
		if fw == nil || heard.ssrc.Load() != p.SSRC { // begun, or begun anew
			fw = newForwarder(i, st.codec, rand.Uint32(), send) //nolint:gosec // no secret
		}
		heard.ssrc.Store(p.SSRC)
		if old := heard.from.Load(); old == nil || *old != from {
			heard.from.Store(&from)
		}
		fw.take(&p)
	}
}

// rtcpType says whether the second byte of a packet is that of RTCP, which may share the port (RFC 5761 section 4).
func rtcpType(b byte) bool { return b >= 192 && b <= 223 }

// Receive sends what the person says to the device.
func (s *rtpSource) Receive(track int, p *rtp.Packet) {
	if s.rtp.talk == 0 || track >= len(s.conns) || isVideo(s.rtp.streams[track].codec) {
		return
	}
	out := rtp.Packet{Payload: p.Payload, Header: rtp.Header{
		Version: 2, Marker: p.Marker, PayloadType: p.PayloadType, SequenceNumber: p.SequenceNumber, Timestamp: p.Timestamp, SSRC: p.SSRC,
	}}
	if out.PayloadType = firstDynamic; s.heard[track].pt.Load() >= 0 {
		out.PayloadType = uint8(s.heard[track].pt.Load()) //nolint:gosec // 7 bits
	}
	b, err := out.Marshal()
	if err != nil {
		return
	}
	_, _ = s.conns[track].WriteToUDPAddrPort(b, netip.AddrPortFrom(s.addr, s.rtp.talk)) // lost, like any packet
}

// Keyframe asks the device for a picture that can be decoded alone, where its packets come from (RFC 5761).
func (s *rtpSource) Keyframe(track int) {
	if track >= len(s.conns) {
		return
	}
	to := s.heard[track].from.Load()
	if to == nil {
		return
	}
	pli := rtcp.PictureLossIndication{MediaSSRC: s.heard[track].ssrc.Load()}
	if b, err := pli.Marshal(); err == nil {
		_, _ = s.conns[track].WriteToUDPAddrPort(b, *to) // asked again, if it is lost
	}
}
