package wire

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The request of RFC 5769 section 2.4: a long-term credential, in bytes that others agreed on.
func TestTheRequestOfTheRFC(t *testing.T) {
	want := strings.ReplaceAll(`000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382af
e382b900000015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341
0014000b6578616d706c652e6f72670000080014f67024656dd64a3e02b8e0712e85c9a28ca89666`, "\n", "")
	c := Client{
		Cred:  Credential{"\u30DE\u30C8\u30EA\u30C3\u30AF\u30B9", "TheMatrIX"},
		Realm: "example.org", Nonce: "f//499k954d6OL34oL9FSTvy64sA",
	}
	id, err := hex.DecodeString("78ad3433c6ad72c029da412e")
	if err != nil {
		t.Fatal(err)
	}
	got := hex.EncodeToString(c.Auth(Build(Binding, ID(id))).Bytes())
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAddressesComeBack(t *testing.T) {
	for _, a := range []string{"192.0.2.1:32853", "[2001:db8::1]:1"} {
		want := netip.MustParseAddrPort(a)
		m, err := Parse(Build(Binding|Success, NewID()).AddAddr(XORMappedAddress, want).AddUint32(Lifetime, 600).Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Addr(XORMappedAddress); got != want {
			t.Errorf("%v, want %v", got, want)
		}
		if !m.Is(Success) || m.Seconds() != 600 {
			t.Errorf("kind %x, %d s", m.Kind, m.Seconds())
		}
	}
}

func TestCutMessagesAreRefused(t *testing.T) {
	whole := Build(Allocate, NewID()).Add(Username, []byte("abcde")).Bytes()
	for n := range whole {
		if _, err := Parse(whole[:n]); err == nil {
			t.Errorf("%d of %d bytes pass", n, len(whole))
		}
	}
	if _, _, ok := ChannelData(AppendChannelData(nil, 0x4000, []byte("abc"), false)[:6]); ok {
		t.Error("cut ChannelData passes")
	}
}

// What Synapse would hand out for this user at this time.
func TestMintIsTheHomeservers(t *testing.T) {
	c := Mint("n0t4ctuAllymatr1Xd0TorgSshar3d5ecret4obvIousreAsons", "@alice:example.org", time.Unix(1, 0))
	if c.Username != "1:@alice:example.org" || c.Password != mintedPassword {
		t.Errorf("%+v", c)
	}
}

// mintedPassword is of: printf '1:@alice:example.org' | openssl dgst -sha1 -hmac SECRET -binary | base64
const mintedPassword = "J9PKFm9DidRwOxHSZ4L1vH+GdaM="
