package main

import (
	"testing"

	"github.com/gatepost/gatepost/voip/media"
)

// What the line about a call in the device's room says of its way.
func TestTheWayOfACallInWords(t *testing.T) {
	for want, c := range map[string]*carried{
		"":                     nil,
		"directly, UDP":        {found: media.Path{Local: "host", Remote: "srflx", Protocol: "udp"}},
		"directly, TCP":        {found: media.Path{Local: "host", Remote: "prflx", Protocol: "tcp"}},
		"through a relay, UDP": {found: media.Path{Local: "host", Remote: "relay", Protocol: "udp"}},
	} {
		if got := c.words(); got != want {
			t.Errorf("%+v is %q, want %q", c, got, want)
		}
	}
	if got := (&carried{found: media.Path{Local: "relay", Remote: "host", Protocol: "udp"}}).words(); got != "through a relay, UDP" {
		t.Errorf("our own relay is %q", got)
	}
	if got, want := len((*carried)(nil).columns()), len((&carried{}).columns()); got != want || want != len(mediaHeads()) {
		t.Errorf("%d and %d columns for %d heads", got, want, len(mediaHeads()))
	}
}
