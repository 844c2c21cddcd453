//go:build goolm

package matrix

import (
	"encoding/json"
	"errors"
	"testing"

	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/room"
)

// What somebody else repeats of a message, before its own key came, takes nothing from it.
func TestWhatSomebodyElseRepeats(t *testing.T) {
	const alicesName, mallorysName = "@alice:example.org", "@mallory:example.org"
	k := newCryptoServer(t)
	k.members = append(k.members, mallorysName)
	alice, mallory := k.person(t, alicesName, "PHONE"), k.person(t, mallorysName, "EVIL")
	c := k.bot(t, newMemTable(), secrets{}, nil)
	said := alice.says(t, "$1", "m.room.message", `{"msgtype":"m.text","body":"!unlock"}`, id.UserID(testBot), mallorysName)
	o, err := alice.mach.CryptoStore.GetOutboundGroupSession(t.Context(), id.RoomID(testRoom))
	if err != nil {
		t.Fatal(err)
	}
	first := o.Internal.Key() // as it is before the second message
	next, err := alice.mach.EncryptMegolmEvent(t.Context(), id.RoomID(testRoom), event.EventMessage, json.RawMessage(`{"msgtype":"m.text","body":"!unlock"}`))
	if err != nil {
		t.Fatal(err)
	}
	said.ID, said.Content = "$3", mustJSON(t, next)
	mail := k.take(string(testBot), string(c.engine.mach.Load().Client.DeviceID))
	if _, err := c.Decrypt(t.Context(), said); !errors.Is(err, room.ErrNoKeys) {
		t.Fatalf("before the key: %v", err)
	}
	mallory.tells(t, c, event.ToDeviceRoomKey, &event.RoomKeyEventContent{Algorithm: id.AlgorithmMegolmV1, RoomID: id.RoomID(testRoom), SessionID: o.ID(), SessionKey: first})
	k.hear(t, c)
	again := said
	again.ID, again.Sender = "$2", mallorysName
	if got, err := c.Decrypt(t.Context(), again); err != nil || got.Sender != mallorysName {
		t.Errorf("repeated by mallory: %s, %v", got.Sender, err)
	}
	k.give(t, c, mail)
	if _, err := c.Decrypt(t.Context(), said); err != nil {
		t.Errorf("alice's message is lost: %v", err)
	}
	said.ID = "$4"
	if _, err := c.Decrypt(t.Context(), said); !errors.Is(err, room.ErrUnreadable) {
		t.Errorf("alice's message again, as another event: %v", err)
	}
}

// What a store from before givers has read is not read again under another id.
func TestIndicesOfOlderStores(t *testing.T) {
	ctx := t.Context()
	s := openTestStore(t, newMemTable())
	for _, c := range []struct {
		giver id.UserID // "": a row without a name
		ev    id.EventID
		want  bool
	}{{"", "$1", true}, {"@alice:x", "$2", false}, {"@alice:x", "$1", true}} {
		as := ctx
		if c.giver != "" {
			as = givenBy(ctx, c.giver)
		}
		if got, err := s.ValidateMessageIndex(as, "session", c.ev, 5, 1); err != nil || got != c.want {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}
