//go:build e2e || interop

package test

import (
	"bytes"
	"image/jpeg"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// modes are the two ways to be known to a homeserver; everything is to work in both.
func modes(t *testing.T, f func(t *testing.T, mode string)) {
	for _, mode := range []string{"appservice", "account"} {
		t.Run(mode, func(t *testing.T) { f(t, mode) })
	}
}

const plain = `
- topic: plain/{device}/{reading}
  class: event
`

func TestMessagesOfEveryKind(t *testing.T) {
	modes(t, func(t *testing.T, mode string) {
		p := settle(t, mode, plain)
		c := p.device(device.Config{ClientID: "porch"})
		for _, s := range []struct{ name, payload, text string }{
			{"number", "21.50", "number: 21.50"},
			{"text", "Grüße", "text: Grüße"},
			{"boolean", "true", "boolean: true"},
			{"object", `{"t":21.5,"n":9007199254740993,"deep":{"x":null}}`, "object\nt: 21.5\nn: 9007199254740993\ndeep.x: null"},
			{"empty", "", "empty: (empty)"},
		} {
			p.publish(c, "plain/porch/"+s.name, s.payload)
			_, e := p.message(p.alice, "porch", s.name, func(e harness.Event) bool { return strings.HasPrefix(e.Content.Body, s.name) })
			if e.Content.Body != s.text || e.Content.MsgType != "m.text" {
				t.Errorf("%s became %s %q, want %q", s.name, e.Content.MsgType, e.Content.Body, s.text)
			}
			g := e.Content.Gatepost
			if g == nil || g.Version != 1 || len(g.ID) != 26 || g.Device != "porch" || g.Topic != "plain/porch/"+s.name || g.Class != "event" {
				t.Errorf("%s says of itself %+v", s.name, g)
			}
			if m := e.Content.Mentions; m == nil || len(m.Users) != 0 || m.Room {
				t.Errorf("%s mentions %+v", s.name, m)
			}
			want := p.user("gatepost")
			if mode == "appservice" {
				want = p.user("gatepost_porch")
			}
			if e.Sender != want {
				t.Errorf("%s was said by %s, not by %s", s.name, e.Sender, want)
			}
		}
		picture, err := device.Picture(3)
		p.must(err)
		p.publish(c, "plain/porch/camera", string(picture))
		_, e := p.message(p.bob, "porch", "a picture", func(e harness.Event) bool { return e.Content.MsgType == "m.image" })
		data, err := p.bob.Download(p.ctx, e.Content.URL)
		p.must(err)
		seen, err := jpeg.Decode(bytes.NewReader(data))
		p.must(err)
		if b := seen.Bounds(); e.Content.Info != (harness.Info{MimeType: "image/jpeg", Size: len(data), Width: b.Dx(), Height: b.Dy()}) {
			t.Errorf("the picture says %+v and is %v, %d bytes", e.Content.Info, b, len(data))
		}
		p.publish(c, "plain/porch/blob", "\x00\x01\x02binary")
		_, e = p.message(p.alice, "porch", "a file", func(e harness.Event) bool { return e.Content.MsgType == "m.file" })
		if data, err := p.alice.Download(p.ctx, e.Content.URL); err != nil || string(data) != "\x00\x01\x02binary" {
			t.Errorf("the file holds %q, %v", data, err)
		}
	})
}

func TestHostilePayloadsAreText(t *testing.T) {
	p := settle(t, "appservice", plain)
	c := p.device(device.Config{ClientID: "porch"})
	for name, payload := range map[string]string{
		"html":   `<b onclick=x>bold</b> <a href="https://matrix.to/#/@alice:localhost">alice</a>`,
		"room":   "@room fire",
		"user":   "hello @alice:localhost",
		"nul":    "a\x00b text that goes on",
		"utf8":   "caf\xe9 is not UTF-8 but \xff text",
		"bidi":   "evil\u202Egpj.exe",
		"large":  strings.Repeat("many words ", 95_000),
		"number": "1e999",
		"deep":   strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200),
	} {
		p.publish(c, "plain/porch/"+name, payload)
		_, e := p.message(p.alice, "porch", name, func(e harness.Event) bool {
			return e.Content.Gatepost != nil && e.Content.Gatepost.Topic == "plain/porch/"+name
		})
		text, html := e.Content.Body, e.Content.FormattedBody
		switch {
		case !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\u202e"):
			t.Errorf("%s: %.100q", name, text)
		case strings.Contains(text, "@room") || strings.Contains(text, "@alice:"):
			t.Errorf("%s mentions somebody: %.100q", name, text)
		case strings.Contains(html, "<a ") || strings.Contains(html, "<b onclick"):
			t.Errorf("%s brings its own markup: %.200q", name, html)
		case len(e.Raw) > 60<<10:
			t.Errorf("%s: an event of %d bytes", name, len(e.Raw))
		case e.Content.Mentions == nil || len(e.Content.Mentions.Users) > 0:
			t.Errorf("%s: mentions %+v", name, e.Content.Mentions)
		}
		if name == "html" && !strings.Contains(text, "<b onclick=x>bold</b>") {
			t.Errorf("the text itself was changed: %q", text)
		}
	}
	p.publish(c, "plain/porch/after", "still here")
	p.message(p.alice, "porch", "what came after", body("after: still here"))
}

func TestSharedRoomsAndSpaces(t *testing.T) {
	modes(t, func(t *testing.T, mode string) {
		p := settle(t, mode, `
- topic: house/{floor}/{device}
  device: "{floor}-{device}"
  name: "{device}"
  room: "{floor}"
  space: My house
  class: event
`)
		c := p.device(device.Config{ClientID: "house"})
		for _, topic := range []string{"house/upstairs/lamp", "house/upstairs/heater", "house/cellar/pump"} {
			p.publish(c, topic, "on")
		}
		room, _ := p.message(p.alice, "upstairs", "the lamp", func(e harness.Event) bool { return strings.HasSuffix(e.Content.Body, "lamp: on") })
		p.message(p.alice, "upstairs", "the heater", func(e harness.Event) bool { return strings.HasSuffix(e.Content.Body, "heater: on") })
		cellar, _ := p.message(p.alice, "cellar", "the pump", func(e harness.Event) bool { return strings.HasSuffix(e.Content.Body, "pump: on") })
		p.must(p.alice.Await(p.ctx, "both rooms in the space", func(rooms map[string]*harness.Room) bool {
			for _, r := range rooms {
				if r.Space && r.Name == "My house" && r.Children[room] && r.Children[cellar] {
					return true
				}
			}
			return false
		}))
	})
}

func TestTopicsOfEveryShape(t *testing.T) {
	p := settle(t, "appservice", odd)
	p.topicsOfEveryShape()
}

const odd = `
- topic: odd/{device}/{reading}
  class: event
- topic: "odd//{reading}"
  device: nobody
  class: event
- topic: "/{device}/{reading}/"
  class: event
`

// topicsOfEveryShape publishes to topics that some brokers refuse; the rules are odd.
func (p *place) topicsOfEveryShape() {
	p.t.Helper()
	c := p.device(device.Config{ClientID: "odd"})
	for topic, room := range map[string]string{
		"odd/Living room lamp/on": "Living room lamp", "odd/a.b/v1.2": "a.b", "odd/Küche/🌡": "Küche", "odd//x": "nobody", "odd/$weird/x": "$weird",
		"/edge/x/": "edge", "odd/ /x": " ",
	} {
		p.publish(c, topic, "here")
		p.message(p.alice, room, topic, func(e harness.Event) bool { return strings.HasSuffix(e.Content.Body, ": here") })
	}
}
