package main

import (
	"bytes"
	"context"
	"fmt"
	"image/jpeg"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// watcher prints what the person sees and ticks off what is expected.
type watcher struct {
	scene *scene
	alice *harness.Person
	fetch chan harness.Event // pictures to look at

	cards cards // of the goroutine that sees events

	mu    sync.Mutex
	asked string            // the person's latest command
	text  string            // what it said
	shown map[string]string // text of reactions by event
}

// event prints one event of a timeline.
func (w *watcher) event(room *harness.Room, e harness.Event) {
	if room.Space {
		if e.Type == "m.space.child" {
			w.scene.list.tick("rooms in the space")
		}
		return
	}
	who := room.DisplayName(e.Sender)
	line := func(format string, args ...any) {
		w.scene.say("%s  %-16s %-16s %s", e.Sent().Local().Format("15:04:05"), room.Name, who, fmt.Sprintf(format, args...))
	}
	c := e.Content
	switch e.Type {
	case "m.room.message":
		if c.MsgType == "m.image" {
			line("[picture %dx%d, %d kB]", c.Info.Width, c.Info.Height, (c.Info.Size+512)/1024)
			select {
			case w.fetch <- e:
			default:
			}
			return
		}
		if text, ok := w.cards.lines(e); ok {
			line("%s", text)
		}
		w.message(c)
	case "m.reaction":
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.asked == "" || c.Relates.EventID != w.asked {
			return
		}
		if w.shown == nil {
			w.shown = map[string]string{}
		}
		w.shown[e.ID] = c.Relates.Key
		line("  ↳ on alice's “%s”: %s", w.text, c.Relates.Key)
		switch {
		case w.text != "!unlock":
		case strings.Contains(c.Relates.Key, "sent"):
			w.scene.list.tick("unlock: sent")
		case strings.Contains(c.Relates.Key, "confirmed") && w.scene.list.seen("unlock: sent"):
			w.scene.list.tick("unlock: confirmed by the lock")
		}
	case "m.room.redaction":
		w.mu.Lock()
		defer w.mu.Unlock()
		if key := w.shown[e.Redacts]; key != "" {
			line("  ↳ no longer: %s", key)
			w.scene.list.tick("unlock: the first state taken away")
		}
	}
}

// message ticks off what a text shows.
func (w *watcher) message(c harness.Content) {
	if c.Gatepost == nil {
		return
	}
	for topic, what := range map[string]string{
		"/temperature": "telemetry: temperature", "/humidity": "telemetry: humidity", "/pressure": "telemetry: pressure",
		"home/door/event": "event of the door", "home/door/lock": "state of the lock", "/battery": "battery of the drone", "/position": "position of the drone",
	} {
		if strings.HasSuffix(c.Gatepost.Topic, topic) {
			w.scene.list.tick(what)
		}
	}
	if strings.Contains(c.Body, "mean") {
		w.scene.list.tick("telemetry: several values as one digest")
	}
}

// pictures fetches each picture from the homeserver and looks at it.
func (w *watcher) pictures(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-w.fetch:
			data, err := w.alice.Download(ctx, e.Content.URL)
			if err != nil {
				return fmt.Errorf("fetch a picture: %w", err)
			}
			picture, err := jpeg.Decode(bytes.NewReader(data))
			if err != nil {
				return fmt.Errorf("look at a picture: %w", err)
			}
			if b := picture.Bounds(); b.Dx() == device.PictureWidth && b.Dy() == device.PictureHeight && len(data) == e.Content.Info.Size {
				w.scene.list.tick("picture of the drone")
			}
		}
	}
}

// commands asks for !unlock in the door's room when the person has looked round, and !lock some time later.
func (w *watcher) commands(ctx context.Context) error {
	var door string
	err := w.alice.Await(ctx, "the room of the door", func(rooms map[string]*harness.Room) bool {
		for _, r := range rooms {
			if r.Name == "Front door" && r.Joined && len(r.Messages()) > 0 {
				door = r.ID
			}
		}
		return door != ""
	})
	for _, command := range []string{"!unlock", "!lock"} {
		if err != nil {
			break
		}
		select {
		case <-time.After(lookTime):
		case <-ctx.Done():
			return nil
		}
		w.mu.Lock() // so that no reaction is seen before its message is known
		w.text = command
		w.asked, err = w.alice.Say(ctx, door, command)
		w.mu.Unlock()
		if command == "!unlock" && err == nil {
			err = w.confirmed(ctx)
		}
	}
	return err
}

// confirmed waits until the lock has answered.
func (w *watcher) confirmed(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !w.scene.list.seen("unlock: the first state taken away") {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// expected is everything that must be seen, in the order of the report.
func expected() []string {
	list := []string{
		"telemetry: temperature", "telemetry: humidity", "telemetry: pressure", "telemetry: several values as one digest",
		"event of the door", "state of the lock", "battery of the drone", "position of the drone", "picture of the drone",
		"unlock: sent", "unlock: confirmed by the lock", "unlock: the first state taken away", "rooms in the space",
	}
	for _, g := range guests("") {
		list = append(list, g.admitted(), g.carded(), g.done())
	}
	return slices.Concat(list, gate(), private())
}

// checklist is what was seen. Safe for concurrent use; the zero value has seen nothing.
type checklist struct {
	mu  sync.Mutex
	did map[string]int
}

func (c *checklist) tick(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.did == nil {
		c.did = map[string]int{}
	}
	c.did[what]++
}

func (c *checklist) seen(what string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.did[what] > 0
}

// report prints the list and returns the exit code.
func (c *checklist) report(out io.Writer) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	code := 0
	fmt.Fprintln(out, "\nSeen in the rooms:")
	for _, what := range expected() {
		mark := "✓"
		if c.did[what] == 0 {
			mark, code = "✗", 1
		}
		fmt.Fprintf(out, "  %s %s\n", mark, what)
	}
	if code != 0 {
		fmt.Fprintln(out, "\nNot everything that was expected came.")
	}
	return code
}
