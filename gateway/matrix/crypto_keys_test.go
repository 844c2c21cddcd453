//go:build goolm

package matrix

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/crypto/olm"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
)

// tells sends the bot's device something encrypted.
func (p *person) tells(t testing.TB, c *Client, kind event.Type, content any) {
	t.Helper()
	own := c.engine.mach.Load().OwnIdentity()
	if err := p.mach.SendEncryptedToDevice(t.Context(), own, kind, event.Content{Parsed: content}); err != nil {
		t.Fatal(err)
	}
}

// give gives the bot's device messages.
func (k *cryptoServer) give(t testing.TB, c *Client, mail []json.RawMessage) {
	t.Helper()
	var res syncResponse
	res.ToDevice.Events = mail
	if err := c.engine.took(t.Context(), res); err != nil {
		t.Fatal(err)
	}
}

// garbled is a session as it is exported, from its first index on, with another ratchet.
func garbled(t testing.TB, exported []byte) string {
	t.Helper()
	raw, err := base64.RawStdEncoding.DecodeString(string(exported))
	if err != nil {
		t.Fatal(err)
	}
	const version, index, ratchet = 1, 4, 128
	clear(raw[version : version+index])
	for i := range ratchet {
		raw[version+index+i] ^= 0x55
	}
	return base64.RawStdEncoding.EncodeToString(raw)
}

// Whatever somebody says about a session of another, that one's messages are read and are theirs, whether their own key came
// before or after.
func TestNobodyTouchesAnothersSession(t *testing.T) {
	const alicesName, mallorysName = "@alice:example.org", "@mallory:example.org"
	type scene struct {
		c              *Client
		k              *cryptoServer
		alice, mallory *person
		session        id.SessionID
		key            string // as Alice gives it
		export         []byte // as anybody who has it can pass it on
	}
	forward := func(t *testing.T, s scene, key string, sender id.SenderKey, from *person) {
		from.tells(t, s.c, event.ToDeviceForwardedRoomKey, &event.ForwardedRoomKeyEventContent{
			RoomKeyEventContent: event.RoomKeyEventContent{Algorithm: id.AlgorithmMegolmV1, RoomID: id.RoomID(testRoom), SessionID: s.session, SessionKey: key},
			SenderKey:           sender, SenderClaimedKey: s.alice.mach.OwnIdentity().SigningKey, ForwardingKeyChain: []string{},
		})
	}
	for name, attack := range map[string]func(*testing.T, scene){
		"her key as one's own": func(t *testing.T, s scene) {
			s.mallory.tells(t, s.c, event.ToDeviceRoomKey, &event.RoomKeyEventContent{Algorithm: id.AlgorithmMegolmV1, RoomID: id.RoomID(testRoom), SessionID: s.session, SessionKey: s.key})
		},
		"a garbled one in her name": func(t *testing.T, s scene) {
			forward(t, s, garbled(t, s.export), s.alice.mach.OwnIdentity().IdentityKey, s.mallory)
		},
		"a garbled one as one's own": func(t *testing.T, s scene) {
			forward(t, s, garbled(t, s.export), s.mallory.mach.OwnIdentity().IdentityKey, s.mallory)
		},
		"it is withheld": func(t *testing.T, s scene) {
			_, err := s.mallory.mach.Client.SendToDevice(t.Context(), event.ToDeviceRoomKeyWithheld, &mautrix.ReqSendToDevice{
				Messages: map[id.UserID]map[id.DeviceID]*event.Content{id.UserID(testBot): {s.c.engine.mach.Load().Client.DeviceID: {Parsed: &event.RoomKeyWithheldEventContent{
					RoomID: id.RoomID(testRoom), Algorithm: id.AlgorithmMegolmV1, SessionID: s.session, SenderKey: s.alice.mach.OwnIdentity().IdentityKey, Code: event.RoomKeyWithheldUnauthorized,
				}}}},
			})
			if err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, first := range []bool{true, false} {
			when := map[bool]string{true: " first", false: " later"}[first]
			t.Run(name+when, func(t *testing.T) {
				k := newCryptoServer(t)
				k.members = append(k.members, mallorysName)
				s := scene{k: k, alice: k.person(t, alicesName, "PHONE"), mallory: k.person(t, mallorysName, "EVIL")}
				s.c = k.bot(t, newMemTable(), secrets{}, nil)
				said := s.alice.says(t, "$1", "m.room.message", `{"msgtype":"m.text","body":"!unlock"}`, id.UserID(testBot), mallorysName)
				o, err := s.alice.mach.CryptoStore.GetOutboundGroupSession(t.Context(), id.RoomID(testRoom))
				if err != nil {
					t.Fatal(err)
				}
				inbound, err := s.alice.mach.CryptoStore.GetGroupSession(t.Context(), id.RoomID(testRoom), o.ID())
				if err != nil {
					t.Fatal(err)
				}
				s.session, s.key = o.ID(), o.Internal.Key()
				if s.export, err = inbound.Internal.Export(0); err != nil {
					t.Fatal(err)
				}
				mail := k.take(string(testBot), string(s.c.engine.mach.Load().Client.DeviceID)) // Alice's key
				if !first {
					k.give(t, s.c, mail)
				}
				attack(t, s)
				k.hear(t, s.c)
				if first {
					if _, err := s.c.Decrypt(t.Context(), said); !errors.Is(err, room.ErrNoKeys) {
						t.Errorf("before her key came: %v", err)
					}
					k.give(t, s.c, mail)
				}
				got, err := s.c.Decrypt(t.Context(), said)
				if err != nil || got.Trust != room.Known {
					t.Errorf("trusted as %v: %v", got.Trust, err)
				}
			})
		}
	}
}

// An earlier part takes the place of a session only if it is one: what others export carries no signature.
func TestStoreKeepsTheSessionThatItsMakerGave(t *testing.T) {
	ctx := t.Context()
	s := openTestStore(t, newMemTable())
	out, err := crypto.NewOutboundGroupSession("!r", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	begin, err := crypto.NewInboundGroupSession("alice", "signing", "!r", out.Internal.Key(), 0, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := begin.Internal.Export(0)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := out.Internal.Encrypt([]byte("text")); err != nil {
			t.Fatal(err)
		}
	}
	later, err := crypto.NewInboundGroupSession("alice", "signing", "!r", out.Internal.Key(), 0, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	imported := func(exported string) *crypto.InboundGroupSession {
		internal, err := olm.InboundGroupSessionImport([]byte(exported))
		if err != nil {
			t.Fatal(err)
		}
		return &crypto.InboundGroupSession{Internal: internal, SigningKey: "signing", SenderKey: "alice", RoomID: "!r", KeySource: id.KeySourceDirect}
	}
	for _, step := range []struct {
		what  string
		put   *crypto.InboundGroupSession
		first uint32
	}{
		{"from its maker", later, 3},
		{"an earlier one with another ratchet", imported(garbled(t, whole)), 3},
		{"an earlier part", imported(string(whole)), 0},
	} {
		if err := s.PutGroupSession(ctx, step.put); err != nil {
			t.Fatal(err)
		}
		if g, err := s.GetGroupSession(ctx, "!r", out.ID()); err != nil || g.Internal.FirstKnownIndex() != step.first {
			t.Errorf("%s: begins at %d, want %d: %v", step.what, g.Internal.FirstKnownIndex(), step.first, err)
		}
	}
}

// A key that is asked for is given to a device of the bot's own user that is signed and still there, and to nobody else.
func TestWhoIsGivenKeysOnRequest(t *testing.T) {
	k := newCryptoServer(t)
	alice := k.person(t, "@alice:example.org", "PHONE")
	k.person(t, string(testBot), "OTHER")
	c := k.bot(t, newMemTable(), secrets{}, nil)
	if o := c.Send(t.Context(), testRoom, "", saying("r1", "ours")); o.Verdict != lane.Done {
		t.Fatal(o)
	}
	said := alice.says(t, "$1", "m.room.message", `{"msgtype":"m.text","body":"hers"}`, id.UserID(testBot))
	k.hear(t, c)
	hers := object{"c": said.Content}.object("c").text("session_id")
	ours := k.events()[0].object("content").text("session_id")
	k.take("@alice:example.org", "PHONE")
	k.take(string(testBot), "OTHER")
	answers := func(user, device, session string) (kinds []string) {
		t.Helper()
		raw := fmt.Appendf(nil, `{"type":"m.room_key_request","sender":%q,"content":{"action":"request","requesting_device_id":%q,"request_id":"1","body":{"algorithm":"m.megolm.v1.aes-sha2","room_id":%q,"session_id":%q,"sender_key":""}}}`, user, device, testRoom, session)
		k.give(t, c, []json.RawMessage{raw})
		for _, m := range k.take(user, device) {
			kinds = append(kinds, object{"m": m}.object("m").text("type"))
		}
		return kinds
	}
	gives := func(who, user, device string, want bool) {
		t.Helper()
		for of, session := range map[string]string{"ours": ours, "hers": hers} {
			if got := answers(user, device, session); slices.Contains(got, kindEncrypted) != want {
				t.Errorf("%s asks for the key of what was %s: answered %q", who, of, got)
			}
		}
	}
	gives("somebody else", "@alice:example.org", "PHONE", false)
	gives("an own device that is not signed", string(testBot), "OTHER", false)
	d, err := c.engine.store.GetDevice(t.Context(), id.UserID(testBot), "OTHER")
	if err != nil || d == nil {
		t.Fatal(d, err)
	}
	d.Trust = id.TrustStateVerified
	if err := c.engine.store.PutDevice(t.Context(), d.UserID, d); err != nil {
		t.Fatal(err)
	}
	gives("an own device that is signed", string(testBot), "OTHER", true)
	delete(k.keys[string(testBot)], "OTHER")
	k.hear(t, c, id.UserID(testBot))
	gives("one that is logged out", string(testBot), "OTHER", false)
}

func TestTrustOf(t *testing.T) {
	here, gone := &id.Device{}, &id.Device{Deleted: true}
	for _, tt := range []struct {
		what  string
		of    event.MautrixInfo
		trust room.Trust
	}{
		{"of a device that nobody knows", event.MautrixInfo{TrustState: id.TrustStateUnknownDevice}, room.Untrusted},
		{"whose keys changed", event.MautrixInfo{TrustState: id.TrustStateDeviceKeyMismatch, TrustSource: here}, room.Untrusted},
		{"blacklisted", event.MautrixInfo{TrustState: id.TrustStateBlacklisted, TrustSource: here}, room.Untrusted},
		{"not signed", event.MautrixInfo{TrustState: id.TrustStateUnset, TrustSource: here}, room.Known},
		{"signed with other keys than at first", event.MautrixInfo{TrustState: id.TrustStateCrossSignedUntrusted, TrustSource: here}, room.Known},
		{"signed with the first keys", event.MautrixInfo{TrustState: id.TrustStateCrossSignedTOFU, TrustSource: here}, room.CrossSigned},
		{"signed by somebody verified", event.MautrixInfo{TrustState: id.TrustStateCrossSignedVerified, TrustSource: here}, room.Verified},
		{"verified", event.MautrixInfo{TrustState: id.TrustStateVerified, TrustSource: here}, room.Verified},
		{"ours", event.MautrixInfo{TrustState: id.TrustStateVerified}, room.Verified},
		{"verified, with a key that another passed on", event.MautrixInfo{TrustState: id.TrustStateVerified, TrustSource: here, ForwardedKeys: true}, room.Untrusted},
		{"with a key from a backup", event.MautrixInfo{TrustState: id.TrustStateBackup}, room.Untrusted},
		{"verified, and logged out", event.MautrixInfo{TrustState: id.TrustStateVerified, TrustSource: gone}, room.Untrusted},
	} {
		if got := trustOf(tt.of); got != tt.trust {
			t.Errorf("%s: %v, want %v", tt.what, got, tt.trust)
		}
	}
}

// What a message relates to is taken from outside of the ciphertext only where it says nothing itself, and is marked.
func TestWhatAMessageRelatesTo(t *testing.T) {
	const reply = `{"m.in_reply_to":{"event_id":"$%s"}}`
	for _, tt := range []struct {
		what, inside, outside string
		want                  string
		loose                 bool
	}{
		{"nothing", "", "", "", false},
		{"inside", "in", "", "in", false},
		{"both", "in", "out", "in", false},
		{"outside", "", "out", "out", true},
	} {
		t.Run(tt.what, func(t *testing.T) {
			k := newCryptoServer(t)
			alice := k.person(t, "@alice:example.org", "PHONE")
			c := k.bot(t, newMemTable(), secrets{}, nil)
			content := object{"msgtype": quoted("m.text"), "body": quoted("✅")}
			if tt.inside != "" {
				content[relatesTo] = fmt.Appendf(nil, reply, tt.inside)
			}
			e := alice.says(t, "$1", "m.room.message", string(mustJSON(t, content)), id.UserID(testBot))
			sent := object{"c": e.Content}.object("c")
			delete(sent, relatesTo) // which mautrix puts there
			if tt.outside != "" {
				sent[relatesTo] = fmt.Appendf(nil, reply, tt.outside)
			}
			e.Content = mustJSON(t, sent)
			k.hear(t, c)
			got, err := c.Decrypt(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			to := object{"c": got.Content}.object("c").object(relatesTo).object("m.in_reply_to").text("event_id")
			if want := map[bool]string{true: "$" + tt.want}[tt.want != ""]; to != want || got.Loose != tt.loose {
				t.Errorf("relates to %q (loose %v), want %q (%v)", to, got.Loose, want, tt.loose)
			}
		})
	}
}
