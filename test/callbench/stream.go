//go:build linux

package main

import (
	"context"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
)

// camera is a device that sends plain RTP, and hears some.
type camera struct {
	sent, pictures int64 // packets
	heard          atomic.Int64
	conn           *net.UDPConn
	sound, images  stream
}

// newCamera is one on its port; delays may be nil.
func newCamera(p ports, delays func(time.Duration)) (*camera, error) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: p.hears})
	if err != nil {
		return nil, err
	}
	c := &camera{conn: conn}
	at := func(port int) *net.UDPAddr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port} }
	c.sound = stream{send: c.sender(at(p.audio)), pt: opusType, ssrc: 1}
	c.images = stream{send: c.sender(at(p.video)), pt: h264Type, ssrc: 2, cut: cutBytes}
	go func() { // ends when conn is closed
		buf := make([]byte, 1500)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if n < headOfRTP+stampSize || buf[1]&0x7f >= 64 && buf[1]&0x7f < 96 { // RTCP
				continue
			}
			c.heard.Add(1)
			if delays != nil {
				delays(since(buf[headOfRTP:]))
			}
		}
	}()
	return c, nil
}

const (
	headOfRTP = 12 // bytes of what gatepost sends
	opusType  = 111
	h264Type  = 97
	opusBytes = 80   // of a packet of 20 ms: 32 kbit/s
	cutBytes  = 1100 // of a packet of picture
)

func rtpCall(video bool) func(ports) string {
	return func(p ports) string {
		url := "rtp://127.0.0.1:" + strconv.Itoa(p.hears) + "?audio=opus/" + strconv.Itoa(opusType) + "&audio_port=" + strconv.Itoa(p.audio)
		if video {
			url += "&video=h264/" + strconv.Itoa(h264Type) + "&video_port=" + strconv.Itoa(p.video)
		}
		return `rtp: "` + url + `"`
	}
}

// idle sends a packet of sound every second until ctx is done, so that the call is not given up before it is measured.
func (c *camera) idle(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := c.say(); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// say sends a packet of sound.
func (c *camera) say() error {
	b := make([]byte, opusBytes)
	stamp(b)
	return c.sound.packet(b, uint32(c.sound.n*960), c.sound.n == 0) //nolint:gosec // it wraps
}

// send sends sound for a time, and pictures of so many bytes a second besides, 30 a second.
func (c *camera) send(ctx context.Context, length time.Duration, picture int) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for n, frames := 0, 0; ; {
		var now time.Time
		select {
		case now = <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		passed := now.Sub(start)
		if passed >= length {
			c.sent, c.pictures = c.sound.n, c.images.n
			return nil
		}
		for ; n < int(passed/(20*time.Millisecond)); n++ {
			if err := c.say(); err != nil {
				return err
			}
		}
		for ; picture > 0 && frames < int(passed*30/time.Second); frames++ {
			if err := c.images.picture(picture/30, uint32(frames*3000), frames%60 == 0); err != nil { //nolint:gosec // it wraps
				return err
			}
		}
	}
}

// sender writes packets to an address.
func (c *camera) sender(to *net.UDPAddr) func(*rtp.Packet) error {
	return func(p *rtp.Packet) error {
		b, err := p.Marshal()
		if err != nil {
			return err
		}
		_, err = c.conn.WriteToUDP(b, to)
		return err
	}
}

// stream is one of RTP.
type stream struct {
	send func(*rtp.Packet) error
	pt   uint8
	ssrc uint32
	cut  int   // bytes of a packet of picture
	n    int64 // packets sent
}

func (s *stream) packet(payload []byte, ts uint32, marker bool) error {
	p := rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: s.pt, SSRC: s.ssrc, SequenceNumber: uint16(s.n), Timestamp: ts, Marker: marker}, //nolint:gosec // it wraps
		Payload: payload,
	}
	s.n++
	return s.send(&p)
}

// picture sends one of so many bytes as fragments (RFC 6184 section 5.8), whose content is a stamp and nothing else; whole: it
// can be decoded alone.
func (s *stream) picture(size int, ts uint32, whole bool) error {
	kind := byte(1)
	if whole {
		kind = 5
	}
	for at := 0; at < size; at += s.cut {
		b := make([]byte, headOfPicture+max(min(s.cut, size-at)-headOfPicture, stampSize))
		b[0], b[1] = 0x60|28, kind
		if at == 0 {
			b[1] |= 0x80
		}
		last := at+s.cut >= size
		if last {
			b[1] |= 0x40
		}
		stamp(b[headOfPicture:])
		if err := s.packet(b, ts, last); err != nil {
			return err
		}
	}
	return nil
}
