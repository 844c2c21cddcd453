//go:build goolm

package matrix

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"maunium.net/go/mautrix/event"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
)

// What somebody encrypted for us is their text: it becomes an event of a kind that matters, or of none.
func FuzzOpened(f *testing.F) {
	k := newCryptoServer(f)
	c := k.bot(f, newMemTable(), secrets{}, nil)
	for _, seed := range []struct{ kind, content string }{
		{"m.room.message", `{"msgtype":"m.text","body":"!unlock"}`},
		{"m.room.message", `{"msgtype":"m.key.verification.request","from_device":"A","methods":["m.sas.v1"],"to":"@gatepost:example.org"}`},
		{"m.key.verification.start", `{"m.relates_to":{"event_id":"$1","rel_type":"m.reference"},"method":"m.sas.v1"}`},
		{"m.room.encrypted", `{}`},
		{"m.room.member", `{"membership":"join"}`},
		{"m.call.invite", `{"offer":{"sdp":"v=0"}}`},
		{"", `null`},
		{"m.room.message", `[]`},
		{"m.room.message", strings.Repeat("[", 200)},
		{"m.room.message", `{"a":` + strings.Repeat("[", 80) + strings.Repeat("]", 80) + `}`},
	} {
		f.Add(seed.kind, seed.content)
	}
	f.Fuzz(func(t *testing.T, kind, content string) {
		in := room.Event{ID: "$1", Room: testRoom, Type: kindEncrypted, Sender: "@alice:example.org"}
		out, err := c.engine.opened(in, &event.Event{Type: event.Type{Type: kind}, Content: event.Content{VeryRaw: json.RawMessage(content)}}, true)
		if err != nil {
			if !errors.Is(err, room.ErrUnreadable) {
				t.Errorf("%v", err)
			}
			return
		}
		var o map[string]json.RawMessage
		if json.Unmarshal(out.Content, &o) != nil || depth(out.Content) > maxDepth {
			t.Errorf("content %q", out.Content)
		}
		if out.Type != "" && (!wanted(out.Type) || out.Type == kindEncrypted) {
			t.Errorf("type %q", out.Type)
		}
		if !out.Encrypted || out.Sender != in.Sender || out.Room != in.Room || out.StateKey != nil {
			t.Errorf("event %+v", out)
		}
	})
}

// An encrypted event is anybody's: it is refused, or waits for a key, and nothing else happens.
func FuzzDecrypt(f *testing.F) {
	k := newCryptoServer(f)
	alice := k.person(f, "@alice:example.org", "PHONE")
	c := k.bot(f, newMemTable(), secrets{}, nil)
	k.hear(f, c, "@alice:example.org")
	said := alice.says(f, "$1", "m.room.message", `{"msgtype":"m.text","body":"hello"}`, "@gatepost:example.org", "@alice:example.org")
	k.hear(f, c)
	if _, err := c.engine.decrypt(f.Context(), said, true); err != nil {
		f.Fatal(err)
	}
	f.Add(string(said.Content))
	f.Add(strings.Replace(string(said.Content), "megolm", "olm", 1))
	f.Add(`{"algorithm":"m.megolm.v1.aes-sha2","ciphertext":"","session_id":"s","sender_key":"k"}`)
	f.Add(`{"algorithm":"m.megolm.v1.aes-sha2","ciphertext":{},"session_id":1}`)
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, content string) {
		if !json.Valid([]byte(content)) {
			return // the inbox has none
		}
		in := said
		in.ID, in.Content = "$2", json.RawMessage(content)
		out, err := c.engine.decrypt(t.Context(), in, true)
		switch o := lane.OutcomeOf(err); {
		case err == nil: // the same text by another name, or the same bytes in other JSON
			if body := `{"msgtype":"m.text","body":"hello"}`; out.Type != "m.room.message" || string(out.Content) != body {
				t.Errorf("read as %s %s", out.Type, out.Content)
			}
		case errors.Is(err, room.ErrNoKeys), errors.Is(err, room.ErrWithheld), errors.Is(err, room.ErrUnreadable), o.Verdict == lane.Retry:
		default:
			t.Errorf("%v", err)
		}
	})
}

// Messages to the bot's device come from anybody; none stops the others, nor ends the process.
func FuzzToDevice(f *testing.F) {
	k := newCryptoServer(f)
	c := k.bot(f, newMemTable(), secrets{}, nil)
	for _, seed := range []string{
		`{"type":"m.room.encrypted","sender":"@alice:example.org","content":{"algorithm":"m.olm.v1.curve25519-aes-sha2","sender_key":"k","ciphertext":{}}}`,
		`{"type":"m.room_key_request","sender":"@gatepost:example.org","content":{"action":"request","body":{"algorithm":"m.megolm.v1.aes-sha2"},"request_id":"1","requesting_device_id":"D"}}`,
		`{"type":"m.room_key.withheld","sender":"@alice:example.org","content":{"code":"m.unverified","session_id":"s","room_id":"!r:example.org"}}`,
		`{"type":"m.key.verification.request","sender":"@alice:example.org","content":{"from_device":"A","methods":["m.sas.v1"],"transaction_id":"1","timestamp":1}}`,
		`{"type":"m.dummy","sender":"@alice:example.org","content":{}}`, `{"type":"m.room_key","sender":"@a:b","content":null}`, `[]`, `{`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		mach := c.engine.mach.Load()
		c.engine.toDevice(t.Context(), mach, json.RawMessage(raw))
		if c.engine.mach.Load() != mach {
			t.Error("another device")
		}
	})
}
