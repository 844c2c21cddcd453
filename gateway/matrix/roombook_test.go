//go:build goolm

package matrix

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// State is not encrypted, so whatever it says later weakens nothing.
func TestRulesOfARoomGetStricterOnly(t *testing.T) {
	k := newCryptoServer(t)
	table, kept := newMemTable(), secrets{}
	c := k.bot(t, table, kept, nil)
	const in = ids.RoomID("!strict:example.org")
	key := ""
	for _, tt := range []struct {
		what, content string
		messages      int
		millis        int64
	}{
		{"the first", `{"algorithm":"m.megolm.v1.aes-sha2","rotation_period_msgs":200}`, 200, 0},
		{"the default", `{"algorithm":"m.megolm.v1.aes-sha2"}`, 0, 0},
		{"weaker ones", `{"algorithm":"m.megolm.v1.aes-sha2","rotation_period_msgs":10000,"rotation_period_ms":31536000000}`, 0, 0},
		{"stricter ones", `{"algorithm":"m.megolm.v1.aes-sha2","rotation_period_msgs":50,"rotation_period_ms":86400000}`, 50, 86400000},
		{"none", `{"algorithm":"m.megolm.v1.aes-sha2"}`, 50, 86400000},
		{"another algorithm", `{"algorithm":"org.example.plain","rotation_period_msgs":-1}`, 50, 86400000},
		{"nothing", `{}`, 50, 86400000},
	} {
		if err := c.book.apply([]room.Event{{ID: "$e", Room: in, Type: kindEncryption, StateKey: &key, Content: json.RawMessage(tt.content)}}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*Client{c, k.bot(t, table.clone(), kept, nil)} {
			if is, err := c.Encrypted(t.Context(), in, testBot); err != nil || !is {
				t.Errorf("after %s: encrypted %v %v", tt.what, is, err)
			}
			algorithm, messages, millis := c.book.encryption(in)
			if algorithm != megolm || messages != tt.messages || millis != tt.millis {
				t.Errorf("after %s: %s, %d messages, %d ms, want %d and %d", tt.what, algorithm, messages, millis, tt.messages, tt.millis)
			}
		}
	}
}

// Somebody leaves after the homeserver has read who is in the room, and before its answer is here.
func TestLeavesWhileMembersAreRead(t *testing.T) {
	for name, leave := range map[string]func(*Client, room.Event){
		"an event":                 func(c *Client, e room.Event) { _ = c.book.apply([]room.Event{e}) },
		"in a gap between answers": func(c *Client, _ room.Event) { c.book.doubt(testRoom) },
	} {
		t.Run(name, func(t *testing.T) {
			k := newCryptoServer(t)
			const bob = "@bob:example.org"
			k.members = append(k.members, bob)
			alice, gone := k.person(t, "@alice:example.org", "PHONE"), k.person(t, bob, "LAPTOP")
			c := k.bot(t, newMemTable(), secrets{}, nil)
			left := false
			k.on(onState, func(w http.ResponseWriter, r *http.Request) {
				answer := httptest.NewRecorder()
				k.state(answer, r)
				if !left {
					left = true
					k.mu.Lock()
					k.members = k.members[:len(k.members)-1]
					k.mu.Unlock()
					user := bob
					leave(c, room.Event{ID: "$left", Room: testRoom, Type: "m.room.member", StateKey: &user, Content: json.RawMessage(`{"membership":"leave"}`)})
				}
				fmt.Fprint(w, answer.Body)
			})
			if o := c.Send(t.Context(), testRoom, "", saying("r1", "without bob")); o.Verdict != lane.Done {
				t.Fatal(o)
			}
			sent := k.events()
			if _, err := alice.read(t, sent[0]); err != nil {
				t.Error(err)
			}
			if _, err := gone.read(t, sent[0]); err == nil {
				t.Error("who left before it was said reads it")
			}
		})
	}
}

// Who left gets nothing new, who came gets nothing old; a new device gets what follows.
func TestWhoGetsKeys(t *testing.T) {
	k := newCryptoServer(t)
	k.members = append(k.members, "@bob:example.org")
	alice, bob := k.person(t, "@alice:example.org", "PHONE"), k.person(t, "@bob:example.org", "LAPTOP")
	table, kept := newMemTable(), secrets{}
	c := k.bot(t, table, kept, nil)
	send := func(text string) object {
		t.Helper()
		if o := c.Send(t.Context(), testRoom, "", saying("r-"+text, text)); o.Verdict != lane.Done {
			t.Fatal(o)
		}
		sent := k.events()
		return sent[len(sent)-1]
	}
	reads := func(p *person, e object, want bool) {
		t.Helper()
		if _, err := p.read(t, e); (err == nil) != want {
			t.Errorf("%s: %v", p.mach.Client.DeviceID, err)
		}
	}
	member := func(user, membership string) room.Event {
		return room.Event{ID: "$m", Room: testRoom, Type: "m.room.member", StateKey: &user, Content: json.RawMessage(fmt.Sprintf(`{"membership":%q}`, membership))}
	}
	both := send("for both")
	reads(alice, both, true)
	reads(bob, both, true)

	k.mu.Lock()
	k.members = k.members[:len(k.members)-1]
	k.mu.Unlock()
	if err := c.book.apply([]room.Event{member("@bob:example.org", "leave")}); err != nil {
		t.Fatal(err)
	}
	gone := send("without bob")
	reads(alice, gone, true)
	reads(bob, gone, false)
	if err := c.book.apply([]room.Event{member("@bob:example.org", "join")}); err != nil { // it is an old one, on a slower way
		t.Fatal(err)
	}
	reads(bob, send("still without bob"), false)

	tablet := k.person(t, "@alice:example.org", "TABLET")
	k.hear(t, c, "@alice:example.org")
	later := send("for the tablet too")
	reads(alice, later, true)
	reads(tablet, later, true)
	reads(tablet, gone, false)
	reads(bob, later, false)

	// Somebody leaves while nobody watches.
	k.members = []string{string(testBot), "@carol:example.org"}
	carol := k.person(t, "@carol:example.org", "PC")
	c = k.bot(t, table.clone(), kept, nil)
	last := send("after the restart")
	reads(carol, last, true)
	reads(carol, later, false)
	reads(alice, last, false)
}
