package gateway

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// changes are the calls that begin like one of those, in order.
func (w *world) changes(like ...string) (out []string) {
	w.matrix.mu.Lock()
	defer w.matrix.mu.Unlock()
	for _, c := range w.matrix.calls {
		if slices.ContainsFunc(like, func(l string) bool { return strings.HasPrefix(c, l) }) {
			out = append(out, c)
		}
	}
	return out
}

// forgetCalls begins the list of calls anew.
func (w *world) forgetCalls() {
	w.matrix.mu.Lock()
	defer w.matrix.mu.Unlock()
	w.matrix.calls = nil
}

func TestARoomSaysWhatItsDeviceIs(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		w.announces(haLamp("l2", "Other lamp", "lamps/2"))
		settle()
		if got, want := w.changes("upload"), []string{"upload lamp.png image/png, true"}; !slices.Equal(got, want) {
			t.Errorf("uploads %q, want %q", got, want)
		}
		for _, id := range w.ids() {
			room := w.g.rooms.have(ids.DeviceRoom(id))
			if room.Topic != "Lamp · Acme L1 · Kitchen" || room.Avatar != "lamp" || room.Parent == "" {
				t.Errorf("%s: %+v", id, room)
			}
			if avatar := `state ` + string(room.Room) + ` m.room.avatar "" map[url:mxc://x/lamp.png]`; len(w.changes(avatar)) != 1 {
				t.Errorf("no avatar in %s: %q", room.Room, w.changes("state "+string(room.Room)))
			}
		}
		w.forgetCalls()
		w.restart(nil)
		w.announces(haLamp("l3", "Third lamp", "lamps/3"))
		settle()
		if got := w.changes("upload"); len(got) != 0 {
			t.Errorf("uploaded again: %q", got)
		}
		// The picture of the device is another one, and it stands somewhere else.
		w.forgetCalls()
		old := w.g.rooms.have(ids.DeviceRoom(w.ids()[0])).Parent
		room := w.roomNamed("Lamp")
		topic, payload := haLamp("l1", "Lamp", "lamps/1")
		w.announces(topic, strings.Replace(payload, "Kitchen", "Hall", 1))
		settle()
		for _, want := range []string{
			`state ` + room + ` m.room.topic "" map[topic:Lamp · Acme L1 · Hall]`,
			`state ` + string(old) + ` m.space.child "` + room + `" map[]`,
			`state ` + room + ` m.space.parent "` + string(old) + `" map[]`,
		} {
			if len(w.changes(want)) != 1 {
				t.Errorf("no %q in %q", want, w.changes("state"))
			}
		}
	})
}

// A device that announces nothing is what its rules say.
func TestARoomSaysWhatARuleSaysOfItsDevice(t *testing.T) {
	rules := []RuleSpec{{Topic: "gate/{device}/state", Space: "Garden", Kind: "cover"}, {Topic: "gate/{device}/{reading}", Kind: "lock"}, {Topic: "mast/{device}"}}
	inWorld(t, rules, func(w *world) {
		w.change = func(c *Config) {
			c.People, c.Cards = People{Owners: []ids.UserID{"@alice:x"}}, Cards{Every: time.Minute, Rules: true}
		}
		w.restart(rules)
		w.publish("gate/east/state", "open")
		w.publish("gate/east/speed", "1")
		w.publish("mast/m", "1")
		carded()
		east, mast := w.g.rooms.have(ids.DeviceRoom("east")), w.g.rooms.have(ids.DeviceRoom("m"))
		if east.Topic != "Cover · Garden" || east.Avatar != "cover" || mast.Topic != "" || mast.Avatar != "" {
			t.Errorf("%+v, %+v", east, mast)
		}
		posts, _, _ := w.cards()
		if !slices.ContainsFunc(posts, func(r lane.Record) bool { return strings.HasPrefix(r.Post.Text, "east · cover\n") }) {
			t.Errorf("cards %+v", posts)
		}
		w.forgetCalls()
		w.restart(rules)
		carded()
		if got := w.changes("state", "upload"); len(got) != 0 {
			t.Errorf("after a restart: %q", got)
		}
		rules[0].Kind, rules[1].Kind = "", ""
		if err := w.g.Reload(w.t.Context(), mustRules(t, rules), People{Owners: []ids.UserID{"@alice:x"}}, nil); err != nil {
			t.Fatal(err)
		}
		carded()
		if east = w.g.rooms.have(ids.DeviceRoom("east")); east.Topic != "" || east.Avatar != "" {
			t.Errorf("nobody says what it is any more: %+v", east)
		}
	})
}

func TestAnEncryptedRoomSaysNothingOfItsDevice(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		w.change = func(change func(*Config)) func(*Config) {
			return func(c *Config) {
				change(c)
				c.Encryption = EncryptionDefault
			}
		}(w.change)
		w.restart(nil)
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		settle()
		if room := w.g.rooms.have(ids.DeviceRoom(w.ids()[0])); room.Room == "" || room.Topic != "" || room.Avatar != "" {
			t.Errorf("%+v", room)
		}
		if got := w.changes("upload"); len(got) != 0 {
			t.Errorf("uploads %q", got)
		}
	})
}

// Nothing waits for a picture, and a homeserver that takes none is not asked all the time.
func TestAPictureThatCanNotBeUploaded(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		tried := 0
		w.matrix.fail = func(call string) error {
			if strings.HasPrefix(call, "upload") {
				tried++
				return lane.Outcome{Verdict: lane.Retry, Reason: "no room"}
			}
			return nil
		}
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		settle()
		for range 10 {
			w.value("ON")
			time.Sleep(10 * time.Second)
			if err := w.g.Say(w.t.Context(), w.ids()[0], "still here"); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := len(w.devicePosts()); n != 10 || tried != 1 {
			t.Errorf("%d posts, %d uploads tried", n, tried)
		}
		w.matrix.mu.Lock()
		w.matrix.fail = nil
		w.matrix.mu.Unlock()
		time.Sleep(looksPause)
		if err := w.g.Say(w.t.Context(), w.ids()[0], "and now"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := w.changes("upload"); len(got) != 1 {
			t.Errorf("uploads %q", got)
		}
	})
}
