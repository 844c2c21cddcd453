package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// offers are the reactions on cards, in order, and "-" with what was taken away again.
func (w *world) offers() (out []string) {
	w.matrix.mu.Lock()
	defer w.matrix.mu.Unlock()
	word := map[ids.EventID]string{}
	for _, p := range w.matrix.posts {
		switch {
		case !strings.HasPrefix(p.Key, quickKey):
		case p.Post.Kind == lane.Reaction:
			out = append(out, p.Post.Text)
			word[w.matrix.sent[p.ID]] = p.Post.Text
		case p.Post.Kind == lane.Redaction:
			out = append(out, "-"+word[p.Post.RelatesTo])
		}
	}
	return out
}

// presses adds to a reaction.
func (w *world) presses(who ids.UserID, card ids.EventID, key string) {
	w.event(room.Event{
		Type: "m.reaction", Sender: who, Room: ids.RoomID(w.theRoom()), Sent: time.Now(), Received: time.Now(),
		Content: fmt.Appendf(nil, `{"m.relates_to":{"rel_type":"m.annotation","event_id":%q,"key":%q}}`, card, key),
	})
	synctest.Wait()
}

// In an encrypted room a card has no quick actions, and what people add to it is between them.
func TestReactionsOnACardInAnEncryptedRoom(t *testing.T) {
	findingIn(t, EncryptionDefault, true, nil, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		w.value("OFF")
		carded()
		_, events, _ := w.cards()
		if len(events) != 1 {
			t.Fatalf("%d cards", len(events))
		}
		w.setState(true, func(s *room.State) { s.Encrypted = true })
		n := len(w.devicePosts())
		w.presses("@bob:x", events[0], "👍")
		if got := w.devicePosts()[n:]; len(got) != 0 {
			t.Errorf("a thumb up is answered: %q", got)
		}
		w.presses("@bob:x", events[0], "on") // anybody could have made it
		if got := w.devices.list(); len(got) != 0 {
			t.Errorf("published %q", got)
		}
	})
}

func TestQuickActions(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		w.value("OFF")
		carded()
		_, events, _ := w.cards()
		if got := w.offers(); len(events) != 1 || !slices.Contains(got, "on") || !slices.Contains(got, "off") {
			t.Fatalf("%d cards, offers %q", len(events), got)
		}
		w.presses("@mallory:x", events[0], "on")
		if got := w.devices.list(); len(got) != 0 {
			t.Errorf("a stranger's press reached the device: %q", got)
		}
		w.presses("@bob:x", events[0], "👍")
		w.presses("@bob:x", "$other", "on")
		if got := w.devices.list(); len(got) != 0 {
			t.Errorf("another reaction reached the device: %q", got)
		}
		w.presses("@bob:x", events[0], "on")
		if got := w.devices.list(); len(got) != 1 || !strings.HasPrefix(got[0], "lamps/1/set ON") {
			t.Fatalf("the device heard %q; said %q", got, w.lastSaid())
		}
		w.value("ON")
		if c := w.newest(); c.State != Confirmed || c.Sender != "@bob:x" || c.Card != events[0] {
			t.Errorf("the command is %+v", c)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		posts, _, _ := w.cards()
		if last := posts[len(posts)-1].Post.Text; !strings.Contains(last, "!on: confirmed, asked by @bob:x") {
			t.Errorf("the card says %q", last)
		}
		n := len(w.offers())
		w.restart(nil)
		carded()
		w.value("OFF")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := w.offers(); len(got) != n {
			t.Errorf("after a restart it offers again: %q", got)
		}
		w.presses("@bob:x", events[0], "off")
		if c := w.newest(); c.State != Published || strings.TrimSpace(c.Name) != "off" {
			t.Errorf("after a restart the command is %+v", c)
		}
	})
}

// What is not supported is said by name, also of a device that nobody was asked about.
func TestWhatIsNotSupportedIsShown(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		for _, m := range [][2]string{
			{"homeassistant/sensor/a/config", `{"name":"Good","uniq_id":"a","stat_t":"s/a","dev":{"ids":["s"],"name":"Sensor"}}`},
			{"homeassistant/sensor/b/config", `{"name":"Odd","uniq_id":"b","stat_t":"s/b","val_tpl":"{{ states('x') }}","dev":{"ids":["s"],"name":"Sensor"}}`},
			{"homeassistant/teleporter/c/config", `{"name":"C"}`},
		} {
			w.announces(m[0], m[1])
		}
		carded()
		if posts, _, _ := w.cards(); len(posts) != 1 || strings.Contains(posts[0].Post.Text, "Odd") {
			t.Errorf("cards %+v", posts)
		}
		w.says("@bob:x", w.theRoom(), "!status")
		if got := w.lastSaid(); !strings.Contains(got, "✖ Odd is not supported: its template is not supported: 1:4: there is no function states") {
			t.Errorf("said %q", got)
		}
		list, err := w.g.Unsupported(w.t.Context())
		if err != nil || len(list) != 2 || list[0].Device != w.ids()[0] || list[0].Name != "Odd" || list[1].Device != "" || !strings.Contains(list[1].Reason, "teleporter") {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

func TestStatusShowsWhatTheCardLeavesOut(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		w.announces("homeassistant/sensor/s1/config", `{"name":"Signal","uniq_id":"s1","stat_t":"s/1","ent_cat":"diagnostic","unit_of_meas":"dB","dev":{"ids":["s"],"name":"Sensor"}}`)
		w.announces("homeassistant/sensor/s2/config", `{"name":"Warmth","uniq_id":"s2","stat_t":"s/2","unit_of_meas":"°C","dev":{"ids":["s"],"name":"Sensor"}}`)
		settle()
		w.publish("s/1", "-70")
		w.publish("s/2", "20")
		carded()
		posts, _, _ := w.cards()
		if len(posts) == 0 || strings.Contains(posts[len(posts)-1].Post.Text, "Signal") {
			t.Errorf("cards %+v", posts)
		}
		w.says("@bob:x", w.theRoom(), "!status")
		if got := w.lastSaid(); !strings.Contains(got, "Signal: -70 dB") || !strings.Contains(got, "Warmth: 20 °C") {
			t.Errorf("said %q", got)
		}
		w.says("@mallory:x", w.theRoom(), "!status")
		if got := w.lastSaid(); strings.Contains(got, "Signal") {
			t.Errorf("a stranger is told %q", got)
		}
	})
}
