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
)

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
