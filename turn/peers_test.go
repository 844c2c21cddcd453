package turn

import (
	"fmt"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// RFC 8656 section 10.2, Receiving a CreatePermission Request.
func TestCreatePermission(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a").allocated()
	c.want("none", c.do(stun.MethodCreatePermission), 400)
	c.want("malformed", c.do(stun.MethodCreatePermission, attr(stun.AttrXORPeerAddress, 0, 1, 2)), 400)
	c.want("family 3", c.do(stun.MethodCreatePermission, attr(stun.AttrXORPeerAddress, 0, 3, 0, 0, 1, 2, 3, 4)), 400)
	c.want("IPv4 of six bytes", c.do(stun.MethodCreatePermission, attr(stun.AttrXORPeerAddress, 0, 1, 0, 0, 1, 2, 3, 4, 5, 6)), 400)
	c.want("another family", c.do(stun.MethodCreatePermission, peer("[2606:4700::1]:1")), 443)
	c.want("one good, one refused", c.do(stun.MethodCreatePermission, peer("1.1.1.1:1"), peer("10.0.0.1:1")), 403)
	c.want("one good, one malformed", c.do(stun.MethodCreatePermission, peer("1.1.1.1:1"), attr(stun.AttrXORPeerAddress)), 400)
	if n := len(c.allocation().permissions); n != 0 {
		t.Fatalf("%d permissions after refusals: all or nothing", n)
	}
	c.want("three, one twice", c.do(stun.MethodCreatePermission, peer("1.1.1.1:1"), peer("1.1.1.2:2"), peer("1.1.1.1:9"), peer("1.1.1.3:0")), 0)
	a := c.allocation()
	if len(a.permissions) != 3 || a.account.permissions != 3 {
		t.Fatalf("%d permissions, %d counted", len(a.permissions), a.account.permissions)
	}
	c.pass(299 * time.Second)
	if !a.permitted(endpointOf(addrPort("1.1.1.2:1")).ip, c.now) {
		t.Error("gone too early")
	}
	c.want("one of them again", c.do(stun.MethodCreatePermission, peer("1.1.1.1:1")), 0)
	c.pass(2 * time.Second)
	for ip, want := range map[string]bool{"1.1.1.1": true, "1.1.1.2": false, "1.1.1.3": false, "1.1.1.4": false} {
		if got := a.permitted(endpointOf(addrPort(ip+":1")).ip, c.now); got != want {
			t.Errorf("%s: permitted %v", ip, got)
		}
	}
	c.sweepAll()
	if len(a.permissions) != 1 || a.account.permissions != 1 {
		t.Errorf("%d permissions, %d counted", len(a.permissions), a.account.permissions)
	}
}

func TestCreatePermissionIsBounded(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a").allocated()
	var many []stun.Setter
	for i := range maxPermissions + 1 {
		many = append(many, peer(fmt.Sprintf("1.1.1.%d:1", i)))
	}
	c.want("too many at once", c.do(stun.MethodCreatePermission, many...), 508)
	if len(c.allocation().permissions) != 0 {
		t.Error("some were made")
	}
	c.want("as many as fit", c.do(stun.MethodCreatePermission, many[:maxPermissions]...), 0)
	c.want("one more", c.do(stun.MethodCreatePermission, many[maxPermissions]), 508)
	c.want("old ones again", c.do(stun.MethodCreatePermission, many[:2]...), 0)
	c.pass(301 * time.Second)
	c.want("when they have expired", c.do(stun.MethodCreatePermission, many[maxPermissions]), 0)
}

// RFC 8656 section 12.2, Receiving a ChannelBind Request.
func TestChannelBind(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a").allocated()
	bind := func(n uint16, to string) *stun.Message {
		return c.do(stun.MethodChannelBind, channelNumber(n), peer(to))
	}
	c.want("without a number", c.do(stun.MethodChannelBind, peer("1.1.1.1:1")), 400)
	c.want("without a peer", c.do(stun.MethodChannelBind, channelNumber(0x4000)), 400)
	c.want("a short number", c.do(stun.MethodChannelBind, attr(stun.AttrChannelNumber, 0x40, 0), peer("1.1.1.1:1")), 400)
	c.want("a malformed peer", c.do(stun.MethodChannelBind, channelNumber(0x4000), attr(stun.AttrXORPeerAddress, 1)), 400)
	for n, want := range map[uint16]int{0: 400, 0x3fff: 400, 0x4000: 0, 0x7fff: 0, 0x8000: 400, 0xffff: 400} {
		c.want(fmt.Sprintf("number %#x", n), bind(n, fmt.Sprintf("1.1.2.1:%d", n|1)), want)
	}
	c.want("another family", bind(0x4001, "[2606:4700::1]:1"), 443)
	c.want("a refused peer", bind(0x4001, "10.0.0.1:1"), 403)
	c.want("port 0", bind(0x4001, "1.1.1.1:0"), 403)
	c.want("a peer", bind(0x4001, "1.1.1.1:7"), 0)
	c.want("the same again", bind(0x4001, "1.1.1.1:7"), 0)
	c.want("the number for another peer", bind(0x4001, "1.1.1.1:8"), 400)
	c.want("the peer with another number", bind(0x4002, "1.1.1.1:7"), 400)
	a := c.allocation()
	if a.account.channels != 3 || len(a.channels) != 3 || a.account.permissions != 2 {
		t.Fatalf("%d channels, %d counted, %d permissions", len(a.channels), a.account.channels, a.account.permissions)
	}
	to := endpointOf(addrPort("1.1.1.1:7"))
	if ch := a.channelByNumber(0x4001, c.now); ch == nil || ch.peer != to || ch.local || a.channelByPeer(to, c.now) != ch {
		t.Errorf("channel %+v", ch)
	}
	if !a.permitted(to.ip, c.now) {
		t.Error("no permission")
	}

	c.pass(301 * time.Second) // the permission is gone, the channel not
	if ch := a.channelByPeer(to, c.now); ch == nil || ch.permitted > c.now || a.permitted(to.ip, c.now) {
		t.Error("the permission lasts longer than 5 minutes, or the channel not so long")
	}
	c.want("Refresh", c.do(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 3600)), 0)
	c.want("its permission anew", c.do(stun.MethodCreatePermission, peer("1.1.1.1:99")), 0)
	if ch := a.channelByPeer(to, c.now); ch.permitted != c.now+300*second {
		t.Error("the channel does not know of its new permission")
	}
	c.pass(300 * time.Second)
	if a.channelByPeer(to, c.now) != nil || a.channelByNumber(0x4001, c.now) != nil {
		t.Error("the channel lasts longer than 10 minutes")
	}
	c.want("the expired number for another peer", bind(0x4001, "1.1.1.1:8"), 0)
	c.want("the expired peer with another number", bind(0x4002, "1.1.1.1:7"), 0)
	c.sweepAll()
	if len(a.channels) != 2 || a.account.channels != 2 {
		t.Errorf("%d channels, %d counted", len(a.channels), a.account.channels)
	}
}

func TestChannelBindIsBounded(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a").allocated()
	for i := range maxChannels {
		c.want("bind", c.do(stun.MethodChannelBind, channelNumber(uint16(0x4000+i)), peer(fmt.Sprintf("1.1.1.1:%d", i+1))), 0)
	}
	one := []stun.Setter{channelNumber(0x4fff), peer("1.1.1.1:999")}
	c.want("one more", c.do(stun.MethodChannelBind, one...), 508)
	c.want("an old one", c.do(stun.MethodChannelBind, channelNumber(0x4000), peer("1.1.1.1:1")), 0)
	c.want("Refresh", c.do(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 3600)), 0)
	c.pass(601 * time.Second)
	c.want("when they have expired", c.do(stun.MethodChannelBind, one...), 0)
}

// RFC 8656 section 11.2, Receiving a Send Indication.
func TestSendIndication(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a")
	data := attr(stun.AttrData, []byte("hello")...)
	if c.indicate(peer("1.1.1.1:7"), data) {
		t.Error("relayed without an allocation")
	}
	c.allocated()
	if c.indicate(peer("1.1.1.1:7"), data) {
		t.Error("relayed without a permission")
	}
	c.want("permission", c.do(stun.MethodCreatePermission, peer("1.1.1.1:1")), 0)
	for name, with := range map[string][]stun.Setter{
		"without DATA":         {peer("1.1.1.1:7")},
		"without a peer":       {data},
		"malformed peer":       {attr(stun.AttrXORPeerAddress, 1), data},
		"another peer":         {peer("1.1.1.2:7"), data},
		"port 0":               {peer("1.1.1.1:0"), data},
		"an unknown attribute": {peer("1.1.1.1:7"), data, attr(0x7ff0)},
	} {
		if c.indicate(with...) {
			t.Errorf("%s: relayed", name)
		}
	}
	if !c.indicate(peer("1.1.1.1:7"), data) {
		t.Fatal("not relayed")
	}
	res := c.lastRes
	if string(res.data) != "hello" || res.sender != c.allocation() || res.peer != endpointOf(addrPort("1.1.1.1:7")) || res.local || res.whole {
		t.Errorf("relays %q to %v", res.data, res.peer.addrPort())
	}
	if !c.indicate(peer("1.1.1.1:7"), attr(stun.AttrData)) || c.lastRes.data == nil || len(c.lastRes.data) != 0 {
		t.Error("an empty datagram is not relayed")
	}
	if !c.indicate(peer("1.1.1.1:7"), data, attr(stun.AttrDontFragment)) || !c.lastRes.whole {
		t.Error("DONT-FRAGMENT is not handed on")
	}
	c.h.dontFragment = false
	if c.indicate(peer("1.1.1.1:7"), data, attr(stun.AttrDontFragment)) {
		t.Error("DONT-FRAGMENT where it can't be done is relayed")
	}
	c.pass(301 * time.Second)
	if c.indicate(peer("1.1.1.1:7"), data) {
		t.Error("relayed after the permission expired")
	}
}

// Other indications and answers ask for nothing (RFC 8489 section 6.3).
func TestWhatIsNotAnswered(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a").allocated()
	for _, typ := range []stun.MessageType{
		stun.NewType(stun.MethodBinding, stun.ClassIndication),
		stun.NewType(stun.MethodData, stun.ClassIndication),
		stun.NewType(stun.MethodAllocate, stun.ClassIndication),
		stun.NewType(stun.MethodBinding, stun.ClassSuccessResponse),
		stun.NewType(stun.MethodAllocate, stun.ClassErrorResponse),
	} {
		if got := c.raw(c.from, c.over, stun.MustBuild(stun.TransactionID, typ).Raw); got != nil {
			t.Errorf("%s is answered", typ)
		}
	}
}

// The methods of RFC 6062, and what nobody knows.
func TestUnknownMethods(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a").allocated()
	for _, m := range []stun.Method{stun.MethodConnect, stun.MethodConnectionBind, stun.MethodSend, 0x7ff} {
		c.want(m.String(), c.do(m), 400)
	}
}

func TestSendMakesNoGarbage(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a").allocated()
	c.want("permission", c.do(stun.MethodCreatePermission, peer("1.1.1.1:1")), 0)
	m := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), peer("1.1.1.1:7"), attr(stun.AttrData, make([]byte, 172)...))
	if n := testing.AllocsPerRun(100, func() {
		if res := c.h.handle(c.table, request{message: m.Raw, from: c.from, now: c.now, wall: c.wall}, nil); res.sender == nil {
			t.Fatal("not relayed")
		}
	}); n != 0 {
		t.Errorf("%v allocations for each Send", n)
	}
}
