package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/gatepost/gatepost/test/harness"
)

// see lets a watcher see events in a room and gives what it printed, times cut off.
func see(t *testing.T, w *watcher, room *harness.Room, events ...string) string {
	t.Helper()
	var out bytes.Buffer
	w.scene.out = &out
	for _, s := range events {
		var e harness.Event
		if err := json.Unmarshal([]byte(s), &e); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(e.Raw, &e.Content); err != nil {
			t.Fatal(err)
		}
		w.event(room, e)
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, line[len("15:04:05  "):])
	}
	return strings.Join(lines, "")
}

func TestWhatIsPrinted(t *testing.T) {
	w := &watcher{scene: &scene{}, fetch: make(chan harness.Event, 1), asked: "$u", text: "!unlock"}
	room := &harness.Room{Name: "Front door", Members: map[string]string{"@gatepost_door:x": "Front door", "@alice:x": "alice"}}
	got := see(
		t, w, room,
		`{"type":"m.room.message","sender":"@gatepost_door:x","content":{"msgtype":"m.text","body":"opened\nwide","dev.gatepost":{"topic":"home/door/event"}}}`,
		`{"type":"m.room.message","sender":"@gatepost_door:x","content":{"msgtype":"m.image","url":"mxc://x/y","info":{"w":320,"h":240,"size":12288}}}`,
		`{"type":"m.room.message","event_id":"$u","sender":"@alice:x","content":{"msgtype":"m.text","body":"!unlock"}}`,
		`{"type":"m.reaction","event_id":"$1","sender":"@gatepost_door:x","content":{"m.relates_to":{"event_id":"$u","key":"📤 sent"}}}`,
		`{"type":"m.reaction","event_id":"$2","sender":"@gatepost_door:x","content":{"m.relates_to":{"event_id":"$u","key":"✅ confirmed"}}}`,
		`{"type":"m.reaction","event_id":"$3","sender":"@bob:x","content":{"m.relates_to":{"event_id":"$other","key":"👍"}}}`,
		`{"type":"m.room.redaction","redacts":"$1","sender":"@gatepost_door:x","content":{}}`,
	)
	want := strings.Join([]string{
		"Front door       Front door       opened · wide",
		"Front door       Front door       [picture 320x240, 12 kB]",
		"Front door       alice            !unlock",
		"Front door       Front door         ↳ on alice's “!unlock”: 📤 sent",
		"Front door       Front door         ↳ on alice's “!unlock”: ✅ confirmed",
		"Front door       Front door         ↳ no longer: 📤 sent",
		"",
	}, "\n")
	if got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
	for _, what := range []string{"event of the door", "unlock: sent", "unlock: confirmed by the lock", "unlock: the first state taken away"} {
		if !w.scene.list.seen(what) {
			t.Errorf("did not see %q", what)
		}
	}
	if w.scene.list.seen("picture of the drone") {
		t.Error("a picture that nobody has looked at counts")
	}
	if len(w.fetch) != 1 {
		t.Error("the picture is not fetched")
	}
}

// A card is shown when it comes and when a command changes it, not with every reading.
func TestCardsAreShownSparingly(t *testing.T) {
	card := func(id, relation, text string) string {
		return fmt.Sprintf(`{"type":"m.room.message","event_id":%q,"sender":"@l:x","content":{"msgtype":"m.notice","body":%q%s}}`, id, text, relation)
	}
	edit := `,"m.relates_to":{"rel_type":"m.replace","event_id":"$1"}`
	got := see(
		t, &watcher{scene: &scene{}}, &harness.Room{Name: "Lamp", Members: map[string]string{"@l:x": "Lamp"}},
		card("$1", "", "Lamp · light\nState: off"), card("$2", edit, "* Lamp · light\nState: on"), card("$3", edit, "* Lamp · light\nState: on\n▶ !on: sent"),
		card("$4", edit, "* Lamp · light\nState: off\n▶ !on: sent"), card("$5", "", "A new device: “X”.\nReact or reply with ✅ to admit it"),
	)
	want := "Lamp             Lamp             Lamp · light · State: off\n" +
		"Lamp             Lamp             ✎ Lamp · light · State: on · ▶ !on: sent\n" +
		"Lamp             Lamp             A new device: “X”.\n"
	if got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}

// Confirmed without having been sent is not what was promised.
func TestTheOrderOfAnAcknowledgementCounts(t *testing.T) {
	w := &watcher{scene: &scene{}, asked: "$u", text: "!unlock"}
	see(t, w, &harness.Room{}, `{"type":"m.reaction","event_id":"$2","sender":"@d:x","content":{"m.relates_to":{"event_id":"$u","key":"✅ confirmed"}}}`)
	if w.scene.list.seen("unlock: confirmed by the lock") {
		t.Error("ticked off")
	}
}

func TestTheReportFailsWhenSomethingIsMissing(t *testing.T) {
	var list checklist
	for _, what := range expected()[1:] {
		list.tick(what)
	}
	var out bytes.Buffer
	if code := list.report(&out); code != 1 || !strings.Contains(out.String(), "✗ "+expected()[0]) || strings.Count(out.String(), "✓") != len(expected())-1 {
		t.Errorf("code %d:\n%s", code, out.String())
	}
	list.tick(expected()[0])
	out.Reset()
	if code := list.report(&out); code != 0 || strings.Contains(out.String(), "✗") {
		t.Errorf("code %d:\n%s", code, out.String())
	}
}

// A tick that is not in the list would never be missed.
func TestEveryTickIsExpected(t *testing.T) {
	w := &watcher{scene: &scene{}, fetch: make(chan harness.Event, 1)}
	for _, topic := range []string{"sensors/g/w/temperature", "sensors/g/w/humidity", "sensors/g/w/pressure", "home/door/event", "home/door/lock", "drones/o/battery", "drones/o/position"} {
		see(t, w, &harness.Room{}, `{"type":"m.room.message","content":{"body":"mean","dev.gatepost":{"topic":"`+topic+`"}}}`)
	}
	see(t, w, &harness.Room{Space: true}, `{"type":"m.space.child","content":{}}`)
	known := map[string]bool{}
	for _, what := range expected() {
		known[what] = true
	}
	for what := range w.scene.list.did {
		if !known[what] {
			t.Errorf("%q is ticked and not expected", what)
		}
	}
	if n := len(w.scene.list.did); n != 9 {
		t.Errorf("%d things seen, want 9: %v", n, w.scene.list.did)
	}
}
