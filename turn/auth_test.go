package turn

import (
	"bytes"
	"crypto/sha256"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// Made by the formula that homeservers use, outside this program:
// printf '1800003600:@a:example.org' | openssl dgst -sha1 -hmac north -binary | base64
func TestMint(t *testing.T) {
	name, password := Mint("north", "@a:example.org", time.Unix(1800003600, 5e8))
	if name != "1800003600:@a:example.org" || password != "m+sc04VJDEypAYEZVJF5RSU3h8Y=" {
		t.Errorf("minted %s %s", name, password)
	}
	if name, _ := Mint("north", "", time.Unix(7, 0)); name != "7" {
		t.Errorf("a bare expiry is %q", name)
	}
}

func TestUserNames(t *testing.T) {
	c := newCredentials(testRealm, []string{"s"}, []User{{"bob", "pw"}, {"17:fixed", "pw"}})
	for name, want := range map[string]string{
		"17:@a:example.org":      "@a:example.org", // split at the first colon only
		"17:x":                   "x",
		"17":                     "17",
		"17:":                    "17:",
		"bob":                    "bob",
		"17:fixed":               "17:fixed", // a static user first
		"":                       "-",
		":x":                     "-",
		"alice":                  "-",
		"+17:x":                  "-",
		"-1:x":                   "-",
		"1_7:x":                  "-",
		"99999999999999999999:x": "-",
	} {
		got := "-"
		if id, ok := c.identify(name); ok {
			got = id.user
		}
		if got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	if _, ok := newCredentials(testRealm, nil, []User{{"bob", "pw"}}).identify("17:x"); ok {
		t.Error("a minted name is known without a secret")
	}
}

// RFC 8489 section 9.2.4, Receiving a Request.
func TestLongTermCredential(t *testing.T) {
	drop := func(t stun.AttrType) func(*client, *stun.Message) {
		return func(_ *client, m *stun.Message) {
			kept := stun.New()
			kept.Type, kept.TransactionID = m.Type, m.TransactionID
			kept.WriteHeader()
			for _, a := range m.Attributes {
				if a.Type != t {
					kept.Add(a.Type, a.Value)
				}
			}
			*m = *kept
		}
	}
	for _, row := range []struct {
		name   string
		before func(*client)                // changes the client
		change func(*client, *stun.Message) // changes the message before it is signed
		want   int
	}{
		{"good", nil, nil, 0},
		{"without USERNAME", nil, drop(stun.AttrUsername), 400},
		{"without REALM", nil, drop(stun.AttrRealm), 400},
		{"without NONCE", nil, drop(stun.AttrNonce), 400},
		{"a wrong password", func(c *client) { c.password = "x" }, nil, 401},
		{"an unknown user", func(c *client) { c.name = "nobody" }, nil, 401},
		{"another secret's credential", func(c *client) {
			c.name, c.password = Mint("south", "a", testNow.Add(time.Hour))
		}, nil, 401},
		{"another's name", func(c *client) { c.name = strings.Replace(c.name, ":a", ":b", 1) }, nil, 401},
		{"a later expiry", func(c *client) { c.name = "9" + c.name }, nil, 401},
		{"expired", func(c *client) { c.name, c.password = Mint(testSecret, "a", testNow.Add(-time.Second)) }, nil, 401},
		{"about to expire", func(c *client) { c.name, c.password = Mint(testSecret, "a", testNow) }, nil, 0},
		{"a foreign nonce", func(c *client) { c.nonce = []byte("0123456789abcdef") }, nil, 438},
		{"an empty nonce", func(c *client) { c.nonce = []byte{} }, nil, 438},
		{"another address's nonce", func(c *client) { c.from = clientTuple("9.9.9.8:4000") }, nil, 438},
		{"another port's nonce", func(c *client) { c.from = clientTuple("9.9.9.9:4001") }, nil, 438},
		{"a nonce an hour old", func(c *client) { c.now += 3600 * second }, nil, 0},
		{"a nonce more than an hour old", func(c *client) { c.now += 3601 * second }, nil, 438},
		{"a nonce without its cookie", func(c *client) { c.nonce = c.nonce[13:] }, nil, 438},
		{"a nonce with other features", func(c *client) { c.nonce[9] = 'A' }, nil, 438},
		{"SHA-256", func(c *client) { c.sha256 = true }, nil, 0},
		{"SHA-256, wrong password", func(c *client) { c.sha256, c.password = true, "x" }, nil, 401},
		{"PASSWORD-ALGORITHM alone", nil, func(_ *client, m *stun.Message) { m.Add(stun.AttrPasswordAlgorithm, []byte{0, 1, 0, 0}) }, 400},
		{"PASSWORD-ALGORITHMS alone", nil, func(_ *client, m *stun.Message) {
			m.Add(stun.AttrPasswordAlgorithms, []byte{0, 2, 0, 0, 0, 1, 0, 0})
		}, 400},
		{"SHA-256 taken out of PASSWORD-ALGORITHMS (bid down)", nil, func(_ *client, m *stun.Message) {
			m.Add(stun.AttrPasswordAlgorithms, []byte{0, 1, 0, 0})
			m.Add(stun.AttrPasswordAlgorithm, []byte{0, 1, 0, 0})
		}, 400},
		{"MD5 chosen", nil, func(_ *client, m *stun.Message) {
			m.Add(stun.AttrPasswordAlgorithms, []byte{0, 2, 0, 0, 0, 1, 0, 0})
			m.Add(stun.AttrPasswordAlgorithm, []byte{0, 1, 0, 0})
		}, 0},
		{"an algorithm nobody knows", nil, func(_ *client, m *stun.Message) {
			m.Add(stun.AttrPasswordAlgorithms, []byte{0, 2, 0, 0, 0, 1, 0, 0})
			m.Add(stun.AttrPasswordAlgorithm, []byte{0, 3, 0, 0})
		}, 400},
		{"a name too long", func(c *client) { c.name += strings.Repeat("x", 509) }, nil, 400},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newKit(t, nil).client("9.9.9.9:4000", "a").login()
			if row.before != nil {
				row.before(c)
			}
			m := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), requestedTransport())
			m.Add(stun.AttrUsername, []byte(c.name))
			m.Add(stun.AttrRealm, []byte(testRealm))
			m.Add(stun.AttrNonce, c.nonce)
			if row.change != nil {
				row.change(c, m)
			}
			c.sign(m)
			answer := c.send(m.Raw)
			c.want("Allocate", answer, row.want)
			if signs := answer.Contains(stun.AttrMessageIntegrity) || answer.Contains(stun.AttrMessageIntegritySHA256); signs && (row.want == 400 || row.want == 438) {
				t.Error("the answer to a stranger is signed")
			}
			if row.want == 0 && c.sha256 {
				checkSHA256(t, c)
			}
			if row.want == 401 && row.name != "expired" || row.want == 438 {
				if !answer.Contains(stun.AttrRealm) || !answer.Contains(stun.AttrNonce) || !answer.Contains(stun.AttrPasswordAlgorithms) {
					t.Errorf("the answer lacks what is needed to try again: %s", answer)
				}
			}
			if (row.want == 0) != (c.allocation() != nil) {
				t.Error("allocation or not?")
			}
		})
	}
}

// RFC 8489 section 14.6: what was asked with SHA-256 is answered with SHA-256.
func checkSHA256(t *testing.T, c *client) {
	t.Helper()
	m := stun.New()
	if err := stun.Decode(c.lastReply, m); err != nil || m.Contains(stun.AttrMessageIntegrity) {
		t.Fatalf("the answer is signed with SHA-1: %v", err)
	}
	got, err := m.Get(stun.AttrMessageIntegritySHA256)
	if err != nil || !bytes.Equal(got, c.sum256(m.Raw[:len(m.Raw)-36])) {
		t.Errorf("the answer is not signed right: %x", got)
	}
}

// RFC 8489 section 14.6: a cut signature is good from 16 bytes on.
func TestCutSHA256(t *testing.T) {
	for n, want := range map[int]int{0: 401, 4: 401, 12: 401, 15: 401, 16: 0, 18: 401, 20: 0, 32: 0} {
		c := newKit(t, nil).client("9.9.9.9:4000", "a").login()
		c.sha256 = true
		m := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), requestedTransport())
		m.Add(stun.AttrUsername, []byte(c.name))
		m.Add(stun.AttrRealm, []byte(testRealm))
		m.Add(stun.AttrNonce, c.nonce)
		m.Add(stun.AttrPasswordAlgorithms, []byte(passwordAlgorithms))
		m.Add(stun.AttrPasswordAlgorithm, []byte{0, 2, 0, 0})
		k := makeKey(withSHA256, c.name, testRealm, c.password)
		m.Add(stun.AttrMessageIntegritySHA256, integrity(sha256.New, &k, m.Raw, n))
		c.want("Allocate", c.send(m.Raw), want)
	}
}

// A SHA-256 signature that is wrong is not made good by a right SHA-1 one beside it.
func TestBothSignatures(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a").login()
	m := stun.New()
	if err := stun.Decode(c.build(stun.MethodAllocate, requestedTransport()), m); err != nil {
		t.Fatal(err)
	}
	m.Add(stun.AttrMessageIntegritySHA256, make([]byte, 32))
	c.want("Allocate", c.send(m.Raw), 401)
}

func TestStaticUserAndUserhash(t *testing.T) {
	k := newKit(t, func(c *Config) { c.Users = []User{{"bob", "pw"}} })
	c := k.client("9.9.9.9:4000", "")
	c.name, c.password = "bob", "pw"
	c.allocated()
	hash := sha256.Sum256([]byte("bob:" + testRealm))
	for name, row := range map[string]struct {
		hash []byte
		want int
	}{"his": {hash[:], 0}, "nobody's": {make([]byte, 32), 401}, "short": {hash[:31], 401}} {
		m := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodRefresh, stun.ClassRequest), attr(stun.AttrUserhash, row.hash...))
		m.Add(stun.AttrRealm, []byte(testRealm))
		m.Add(stun.AttrNonce, c.nonce)
		c.sign(m)
		c.want(name, c.send(m.Raw), row.want)
	}
	k.pass(100 * 365 * 24 * time.Hour)
	c.allocated()
}

// A call outlives its credential and the secret that made it; a new allocation needs good ones.
func TestExpiryAndRotation(t *testing.T) {
	k := newKit(t, nil)
	c := k.client("9.9.9.9:4000", "a").allocated()
	long := c.do(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 3600))
	c.want("Refresh", long, 0)
	k.wall = k.wall.Add(2 * time.Hour)
	k.h.credentials.Store(newCredentials(testRealm, []string{"south", "new"}, nil))
	c.want("Refresh", c.do(stun.MethodRefresh), 0)
	c.want("CreatePermission", c.do(stun.MethodCreatePermission, peer("1.1.1.1:1")), 0)
	c.want("ChannelBind", c.do(stun.MethodChannelBind, channelNumber(0x4000), peer("1.1.1.1:1")), 0)
	other := k.client("9.9.9.9:4001", "a").login()
	other.want("Allocate with the old secret", other.do(stun.MethodAllocate, requestedTransport()), 401)
	for _, secret := range []string{"south", "new"} {
		other.name, other.password = Mint(secret, "a", k.wall.Add(time.Hour))
		other.from.client.port++
		other.login()
		other.want("Allocate with "+secret, other.do(stun.MethodAllocate, requestedTransport()), 0)
	}
}

// RFC 8656 sections 7.2, 8.2, 10.2 and 12.2: 437 without an allocation, 441 on another user's.
func TestThief(t *testing.T) {
	k := newKit(t, nil)
	k.client("9.9.9.9:4000", "owner").allocated()
	for name, row := range map[string]struct {
		from, user string
		want       int
	}{"another 5-tuple": {"9.9.9.9:4001", "owner", 437}, "another user": {"9.9.9.9:4000", "thief", 441}} {
		c := k.client(row.from, row.user).login()
		c.want(name, c.do(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 0)), row.want)
		c.want(name, c.do(stun.MethodCreatePermission, peer("1.1.1.1:1")), row.want)
		c.want(name, c.do(stun.MethodChannelBind, channelNumber(0x4000), peer("1.1.1.1:1")), row.want)
	}
	if a := k.table.find(clientTuple("9.9.9.9:4000")); a == nil || len(a.permissions) != 0 {
		t.Error("the thief did something")
	}
}

// RFC 8489 section 12 and 3: with a credential and without.
func TestBinding(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a")
	for _, from := range []string{"9.9.9.9:4000", "[2606:4700::7]:5000"} {
		c.from = clientTuple(from)
		m := c.do(stun.MethodBinding)
		c.want("Binding", m, 0)
		if got := addressOf(t, m, stun.AttrXORMappedAddress); got != addrPort(from) {
			t.Errorf("mapped address %s, want %s", got, from)
		}
		if m.Contains(stun.AttrMessageIntegrity) {
			t.Error("signed for nobody")
		}
	}
	c.want("an unknown attribute", c.do(stun.MethodBinding, attr(0x0003, 0, 0, 0, 6)), 420)
	c.login()
	m := c.do(stun.MethodBinding)
	c.want("signed Binding", m, 0)
	if !m.Contains(stun.AttrMessageIntegrity) {
		t.Error("not signed")
	}
	c.password = "x"
	c.want("wrongly signed Binding", c.do(stun.MethodBinding), 401)
}

// RFC 8489 section 14.7.
func TestFingerprint(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a")
	c.finger = true
	if m := c.do(stun.MethodBinding); !m.Contains(stun.AttrFingerprint) {
		t.Error("no FINGERPRINT in the answer to a request with one")
	}
	c.allocated()
	bad := c.build(stun.MethodRefresh)
	bad[len(bad)-1] ^= 1
	if c.send(bad) != nil {
		t.Error("a damaged message is answered")
	}
	m := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	m.Add(stun.AttrFingerprint, []byte{1, 2, 3})
	if c.send(m.Raw) != nil {
		t.Error("a FINGERPRINT of three bytes is taken")
	}
	c.finger = false
	if m := c.do(stun.MethodRefresh); m.Contains(stun.AttrFingerprint) {
		t.Error("FINGERPRINT in the answer to a request without one")
	}
}

// What is cut, longer than it says or no STUN at all gets no answer.
func TestDamagedMessages(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a").allocated()
	good := c.build(stun.MethodRefresh)
	for n := range len(good) {
		if c.raw(c.from, c.over, good[:n]) != nil {
			t.Errorf("%d of %d bytes are answered", n, len(good))
		}
	}
	if c.raw(c.from, c.over, append(bytes.Clone(good), 0, 0, 0, 0)) != nil {
		t.Error("what is longer than it says is answered")
	}
	long := bytes.Clone(good)
	long[23]++ // the first attribute's length
	c.raw(c.from, c.over, long)
	for at, b := range map[int]byte{0: good[0] | 0x80, 4: 0} {
		odd := bytes.Clone(good)
		odd[at] = b
		if c.raw(c.from, c.over, odd) != nil {
			t.Errorf("byte %d changed, and answered", at)
		}
	}
	c.want("the good one", c.send(good), 0)
}

// What follows a signature is not signed, so it must be as if it were not there (RFC 8489 sections 14.5 and 14.6). The codec
// sees to it; a version that did not would let anybody on the way end allocations.
func TestAppendedAttributes(t *testing.T) {
	for _, with256 := range []bool{false, true} {
		c := newKit(t, nil).client("9.9.9.9:4000", "a")
		c.sha256 = with256
		c.allocated()
		appendTo := func(b []byte, kind stun.AttrType, value []byte) []byte {
			var m stun.Message
			if _, err := m.Write(b); err != nil {
				t.Fatal(err)
			}
			m.Add(kind, value)
			return m.Raw
		}
		m := c.send(appendTo(c.build(stun.MethodRefresh), stun.AttrLifetime, []byte{0, 0, 0, 0}))
		if code(m) != 0 || c.allocation() == nil {
			t.Errorf("SHA-256 %v: a LIFETIME behind the signature ended the allocation", with256)
		}
		to := new(stun.Message)
		if err := peer("8.8.8.8:9").AddTo(to); err != nil {
			t.Fatal(err)
		}
		value, _ := to.Attributes.Get(stun.AttrXORPeerAddress)
		c.want("a peer behind the signature", c.send(appendTo(c.build(stun.MethodCreatePermission), stun.AttrXORPeerAddress, value.Value)), 400)
	}
}
