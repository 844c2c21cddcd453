package main

import (
	"testing"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/turn"
	"github.com/gatepost/gatepost/voip"
)

func TestRelayUse(t *testing.T) {
	server, err := turn.New(turn.Config{Realm: "test", Secrets: []string{"a secret"}, Listen: []string{"udp://127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	ended := func(user, username string, up, down uint64) turn.Ended {
		return turn.Ended{AllocationInfo: turn.AllocationInfo{User: user, Username: username, ToPeer: turn.Traffic{Bytes: up}, ToClient: turn.Traffic{Bytes: down}}}
	}
	key := func(id ids.CallID) voip.Key { return voip.Key{Room: "!chat:x", Call: id} }
	var u relayUse
	u.allocationEnded(ended("call c1", "100:call c1", 1, 1)) // of before
	u.begin(key("c1"), "100:call c1")
	u.begin(key("c1"), "100:call c1")
	u.begin(key("c1"), "200:call c1")
	u.begin(key("c2"), "100:call c2")
	u.allocationEnded(ended("call c1", "100:call c1", 10, 20))
	u.allocationEnded(ended("call c1", "200:call c1", 100, 200))
	u.allocationEnded(ended("call c1", "300:call c1", 1000, 2000)) // somebody else's, with a secret of the same relay
	u.allocationEnded(ended("alice", "100:alice", 1000, 2000))
	u.allocationEnded(ended("call c3", "100:call c3", 1000, 2000))
	if n := u.of(server, key("c1")); n != 330 {
		t.Errorf("%d bytes of c1", n)
	}
	if n := u.end(server, key("c1")); n != 330 || u.of(server, key("c1")) != 0 {
		t.Errorf("%d bytes of c1 at its end, %d later", n, u.of(server, key("c1")))
	}
	if n := u.end(server, key("c2")); n != 0 || len(u.calls)+len(u.names) != 0 {
		t.Errorf("%d bytes of c2, %d calls are left", n, len(u.calls))
	}
	if n := u.of(nil, key("c2")); n != 0 {
		t.Errorf("%d bytes without a relay", n)
	}
	for i := range 10 * maxCredentials {
		u.begin(key("c4"), string(rune('a'+i)))
	}
	if n := len(u.calls[key("c4")].usernames); n != maxCredentials {
		t.Errorf("%d credentials of a call are remembered", n)
	}
}

func TestColumnsOfMedia(t *testing.T) {
	c := carried{Path: "host-relay/udp", RTT: 12.4, Out: way{Bytes: 2048, Rate: 32400, Packets: 1000, Expected: 1000, Lost: 3}, In: way{Packets: 99, Expected: 100, Lost: 1}}
	want := []string{"host-relay/udp", "2.0 KiB / 0 B", "32 / 0", "0.3% / 1.0%", "12 ms"}
	for i, got := range c.columns() {
		if got != want[i] {
			t.Errorf("%s: %q, want %q", mediaHeads()[i], got, want[i])
		}
	}
	if n := len((*carried)(nil).columns()); n != len(want) || n != len(mediaHeads()) {
		t.Errorf("%d columns without media", n)
	}
}
