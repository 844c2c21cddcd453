package turn

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// fuzzSeeds are messages of each kind, good ones and bad ones.
func fuzzSeeds(f *testing.F) {
	k := newKit(f, nil)
	c := k.client("9.9.9.9:4000", "a")
	add := func(b []byte) { f.Add(b) }
	add(c.build(stun.MethodBinding))
	add(c.build(stun.MethodAllocate, requestedTransport(), attr(stun.AttrEvenPort, 0x80)))
	c.finger = true
	c.login()
	add(c.build(stun.MethodAllocate, requestedTransport(), attr(attrAdditionalFamily, 2, 0, 0, 0), attr(stun.AttrDontFragment)))
	c.finger = false
	add(c.build(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 0)))
	add(c.build(stun.MethodCreatePermission, peer("1.1.1.1:1"), peer("[2606:4700::1]:1")))
	add(c.build(stun.MethodChannelBind, channelNumber(0x4000), peer("1.1.1.1:1")))
	c.sha256 = true
	add(c.build(stun.MethodRefresh))
	add(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), peer("1.1.1.1:7"), attr(stun.AttrData, 1, 2, 3)).Raw)
	add([]byte{0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0xff, 0xff})
	add([]byte{0x40, 0, 0, 1, 9})
}

// Whatever comes: no panic, no answer to a stranger above the bounds, nothing for a stranger to take.
func FuzzStranger(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		k := newKit(t, func(c *Config) { c.Secrets = []string{"not that of the seeds"} })
		before := bytes.Clone(b)
		reply := k.raw(clientTuple("9.9.9.9:4000"), overUDP, b)
		if len(reply) > 4*len(b) || len(reply) > 120 {
			t.Fatalf("%d bytes for %d", len(reply), len(b))
		}
		if !bytes.Equal(b, before) {
			t.Fatal("the request was changed")
		}
		if k.table.len() != 0 || len(k.sockets) != 0 || k.lastRes.sender != nil {
			t.Fatal("a stranger got something")
		}
		if len(reply) > 0 {
			if err := stun.Decode(reply, stun.New()); err != nil {
				t.Fatalf("the answer: %v", err)
			}
		}
	})
}

// The attributes of somebody who may: the fuzzer's, signed. Nothing may be left over, and no peer may be refused and relayed.
func FuzzOwner(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 20 || len(b) > 1500 {
			return
		}
		k := newKit(t, nil)
		c := k.client("9.9.9.9:4000", "a").allocated()
		c.want("permission", c.do(stun.MethodCreatePermission, peer("1.1.1.1:1")), 0)
		m := new(stun.Message)
		for _, class := range []stun.MessageClass{stun.ClassRequest, stun.ClassIndication} {
			m.Reset()
			m.Type.ReadValue(binary.BigEndian.Uint16(b) & 0x3fff)
			m.Type.Class = class
			m.TransactionID = [12]byte(b[8:20])
			m.WriteHeader()
			for rest := b[20:]; len(rest) >= 4; {
				typ, n := stun.AttrType(binary.BigEndian.Uint16(rest)), int(binary.BigEndian.Uint16(rest[2:]))
				rest = rest[4:]
				n = min(n, len(rest))
				if typ != stun.AttrMessageIntegrity && typ != stun.AttrMessageIntegritySHA256 && typ != stun.AttrUsername &&
					typ != stun.AttrNonce && typ != stun.AttrRealm && typ != stun.AttrFingerprint {
					m.Add(typ, rest[:n])
				}
				rest = rest[n:]
			}
			if class == stun.ClassRequest {
				m.Add(stun.AttrUsername, []byte(c.name))
				m.Add(stun.AttrRealm, []byte(testRealm))
				m.Add(stun.AttrNonce, c.nonce)
				c.sign(m)
			}
			k.raw(c.from, overUDP, m.Raw)
			if k.lastRes.sender != nil && k.h.policy.judge(k.lastRes.peer) == refuse {
				t.Fatal("a refused peer is relayed to")
			}
			k.check(t)
		}
		k.pass(2 * time.Hour)
		k.sweepAll()
		k.checkEmpty(t)
	})
}

// check holds what must be true at any time: the shared counts are those of the table, and bounds are kept.
func (k *kit) check(t testing.TB) {
	t.Helper()
	q, live, sockets := k.h.quotas, 0, 0
	permissions, channels := 0, 0
	for _, a := range k.table.list {
		live++
		permissions += len(a.permissions)
		channels += len(a.channels)
		if len(a.permissions) > maxPermissions || len(a.channels) > maxChannels {
			t.Fatalf("%d permissions, %d channels in one allocation", len(a.permissions), len(a.channels))
		}
		for _, r := range a.relay {
			if r.public.IsValid() {
				sockets++
				if k.sockets[r.handle] != r.public {
					t.Fatalf("socket %d is for %s, not %s", r.handle, k.sockets[r.handle], r.public)
				}
				if !k.h.ports.pool(r.public.Addr().As16()).isLive(r.public.Port()) {
					t.Fatalf("%s is not live", r.public)
				}
			}
		}
		if k.table.list[a.slot] != a || k.table.byTuple[a.tuple] != a {
			t.Fatal("the table is out of order")
		}
	}
	if len(k.table.byTuple) != live || q.allocations != live || q.permissions != permissions || q.channels != channels || len(k.sockets) != sockets {
		t.Fatalf("%d live, %d counted; %d and %d permissions; %d and %d channels; %d and %d sockets", live, q.allocations,
			permissions, q.permissions, channels, q.channels, sockets, len(k.sockets))
	}
	l := q.limits
	if live > l.Allocations || permissions > l.Permissions || channels > l.Channels {
		t.Fatalf("more than the quotas: %d allocations, %d permissions, %d channels", live, permissions, channels)
	}
	for name, a := range q.accounts {
		if a.allocations > l.AllocationsPerUser || a.permissions > l.PermissionsPerUser || a.channels > l.ChannelsPerUser {
			t.Fatalf("%s has more than its quota: %d allocations, %d permissions, %d channels", name, a.allocations, a.permissions, a.channels)
		}
		if a.allocations < 0 || a.permissions < 0 || a.channels < 0 {
			t.Fatalf("%s has less than nothing", name)
		}
	}
}

// checkEmpty holds what must be true when all has expired.
func (k *kit) checkEmpty(t testing.TB) {
	t.Helper()
	k.check(t)
	k.h.ports.mu.Lock()
	k.h.ports.clean(k.now)
	k.h.ports.mu.Unlock()
	size := (int(k.h.ports.last) - int(k.h.ports.first) + 1) * len(k.h.ports.pools)
	if k.table.len() != 0 || k.freePorts() != size || len(k.h.limiter.live) != 0 || len(k.h.ports.tokens) != 0 || len(k.h.ports.blocked) != 0 {
		t.Fatalf("%d allocations, %d of %d ports free, %d addresses, %d tokens are left", k.table.len(), k.freePorts(), size,
			len(k.h.limiter.live), len(k.h.ports.tokens))
	}
	for _, pool := range k.h.ports.pools {
		for i := range pool.live {
			if pool.live[i].Load() != 0 {
				t.Fatal("a port is live still")
			}
		}
	}
}
