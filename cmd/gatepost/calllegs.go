package main

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/gatepost/gatepost/voip"
	"github.com/gatepost/gatepost/voip/media"
)

// legs are those of the calls whose WebRTC party is the gateway. The zero value is ready. Safe for concurrent use.
type legs struct {
	mu   sync.Mutex
	byID map[voip.Key]*media.Leg
}

func (l *legs) put(key voip.Key, leg *media.Leg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID == nil {
		l.byID = map[voip.Key]*media.Leg{}
	}
	l.byID[key] = leg
}

// get finds the leg of a live call; nil: it has none of ours.
func (l *legs) get(key voip.Key) *media.Leg {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byID[key]
}

// take forgets a call that is over, and gives what it carried.
func (l *legs) take(key voip.Key) *carried {
	l.mu.Lock()
	leg := l.byID[key]
	delete(l.byID, key)
	l.mu.Unlock()
	return carriedBy(leg)
}

// carried is what a call carries or carried, for people and scripts.
type carried struct {
	Path   string  `json:"path"` // ours-theirs/protocol, such as host-relay/udp
	RTT    float64 `json:"rtt_ms"`
	Out    way     `json:"out"` // to the person
	In     way     `json:"in"`
	Codecs string  `json:"codecs"`

	found media.Path
}

// way is one direction of a call's media.
type way struct {
	Bytes    uint64  `json:"bytes"`           // of payload
	Rate     float64 `json:"bits_per_second"` // the mean since media could flow
	Packets  uint64  `json:"packets"`
	Expected uint64  `json:"expected"`  // packets that the receiver should have got
	Lost     uint64  `json:"lost"`      // of them, as the receiver counts
	Jitter   float64 `json:"jitter_ms"` // the greatest of the streams, at the receiver
}

// carriedBy is what a leg carried so far; nil when there is no leg, or no media yet.
func carriedBy(leg *media.Leg) *carried {
	if leg == nil {
		return nil
	}
	s := leg.Stats()
	if s.Path == (media.Path{}) {
		return nil
	}
	c := carried{Path: fmt.Sprintf("%s-%s/%s", s.Path.Local, s.Path.Remote, s.Path.Protocol), RTT: milliseconds(s.RTT), found: s.Path}
	for _, t := range s.Out {
		if c.Codecs != "" {
			c.Codecs += ", "
		}
		c.Codecs += t.Codec
	}
	c.Out, c.In = wayOf(s.Out, s.Flowed), wayOf(s.In, s.Flowed)
	return &c
}

func wayOf(list []media.StreamStats, flowed time.Duration) (w way) {
	for _, t := range list {
		w.Bytes += t.Bytes
		w.Packets += t.Packets
		w.Expected += t.Expected
		w.Lost += t.Lost
		w.Jitter = max(w.Jitter, milliseconds(t.Jitter))
	}
	if flowed > 0 {
		w.Rate = math.Round(float64(8*w.Bytes) / flowed.Seconds())
	}
	return w
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// loss is the share of packets that were lost, such as 0.3%.
func (w way) loss() string {
	if w.Expected == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*float64(w.Lost)/float64(w.Expected))
}

// mediaHeads are the heads of columns.
func mediaHeads() []string { return []string{"PATH", "OUT / IN", "KBIT/S", "LOST", "RTT"} }

// words say by which way a call went; "": it did not go through us.
func (c *carried) words() string {
	switch {
	case c == nil:
		return ""
	case c.found.Local == relayed || c.found.Remote == relayed:
		return "through a relay, " + strings.ToUpper(c.found.Protocol)
	default:
		return "directly, " + strings.ToUpper(c.found.Protocol)
	}
}

// relayed is the type of a candidate that is an address of a relay's.
const relayed = "relay"

// columns are what the table of calls shows of it.
func (c *carried) columns() []string {
	if c == nil {
		return make([]string, len(mediaHeads()))
	}
	rtt := ""
	if c.RTT > 0 {
		rtt = fmt.Sprintf("%.0f ms", c.RTT)
	}
	return []string{
		c.Path, size(int64(c.Out.Bytes)) + " / " + size(int64(c.In.Bytes)), //nolint:gosec // bytes of one call
		fmt.Sprintf("%.0f / %.0f", c.Out.Rate/1000, c.In.Rate/1000), c.Out.loss() + " / " + c.In.loss(), rtt,
	}
}
