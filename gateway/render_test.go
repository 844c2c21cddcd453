package gateway

import (
	"bytes"
	"encoding/json"
	"image"
	"image/jpeg"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/mqtt/topic"
)

func rendered(t *testing.T, spec RuleSpec, payload string) lane.Post {
	t.Helper()
	tried := mustRules(t, []RuleSpec{spec}).Try(topic.Message{Topic: "s/porch/temp", Payload: []byte(payload), Time: noon})
	if tried.Post == nil {
		t.Fatalf("nothing is posted: %s", tried.Problem)
	}
	return *tried.Post
}

func TestRender(t *testing.T) {
	plain := RuleSpec{Topic: "s/{device}/{reading}", Class: lane.Event}
	for _, c := range []struct{ name, post, payload, text string }{
		{"number", "", "21.50", "temp: 21.50"},
		{"text", "", "open", "temp: open"},
		{"boolean", "", "true", "temp: true"},
		{"nothing", "", "", "temp: (empty)"},
		{"object", "", `{"b":1.0,"a":{"c":12345678901234567890}}`, "temp\nb: 1.0\na.c: 12345678901234567890"},
		{"half an object", "", `{"b":`, `temp: {"b":`},
		{"html is text", "", "<b>hi</b> <a href=x>", "temp: <b>hi</b> <a href=x>"},
		{"template", "{{ reading }} is {{ value }} °C", "21.5", "temp is 21.5 °C"},
		{"template with JSON", "{{ value_json.t + 1 }}", `{"t":41}`, "42"},
		{"template without its value", "{{ value_json.t.u }}", `{}`, "temp\n{} (the rule's post: 1:17: t is undefined, so it has no u)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := plain
			spec.Post = c.post
			p := rendered(t, spec, c.payload)
			if p.Text != c.text {
				t.Errorf("text %q, want %q", p.Text, c.text)
			}
			if strings.Contains(p.HTML, "<a ") || strings.Contains(p.HTML, "<b>hi") {
				t.Errorf("markup of the payload is in the HTML: %s", p.HTML)
			}
		})
	}
}

func TestRenderHostilePayloads(t *testing.T) {
	plain := RuleSpec{Topic: "s/{device}/{reading}", Class: lane.Event}
	for name, payload := range map[string]string{
		"1 MB": strings.Repeat("long ", 200_000), "invalid UTF-8": "caf\xe9 \xff\xfe text", "NUL": "a\x00b",
		"everybody": "@room look", "a pill": `<a href="https://matrix.to/#/@alice:x">alice</a> @alice:x`, "bidi": "abc\u202Egnp.exe",
	} {
		t.Run(name, func(t *testing.T) {
			p := rendered(t, plain, payload)
			for _, s := range []string{p.Text, p.HTML} {
				if !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\u202E") || strings.Contains(s, "@room") || strings.Contains(s, "@alice:x") || strings.Contains(s, "href") && !strings.Contains(s, "&lt;a") && s == p.HTML {
					t.Errorf("%.200q", s)
				}
			}
			if len(p.Text) > 4*maxText+100 {
				t.Errorf("%d bytes of text", len(p.Text))
			}
			if _, err := json.Marshal(p); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRenderPictures(t *testing.T) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 32, 24)), nil); err != nil {
		t.Fatal(err)
	}
	plain := RuleSpec{Topic: "s/{device}/{reading}", Class: lane.Event}
	p := rendered(t, plain, b.String())
	if p.Kind != lane.Media || p.MIME != "image/jpeg" || p.Name != "temp.jpg" || p.Width != 32 || p.Height != 24 || !bytes.HasPrefix(p.Data, []byte{0xff, 0xd8}) {
		t.Errorf("a picture became %+v", p)
	}
	exif := append([]byte{0xff, 0xd8, 0xff, 0xe1, 0, 16}, "Exif\x00\x00GPS HERE"...)
	p = rendered(t, plain, string(append(exif, b.Bytes()[2:]...)))
	if bytes.Contains(p.Data, []byte("GPS")) {
		t.Error("where it was taken is still in the picture")
	}
	p = rendered(t, plain, "\xff\xd8\xff\xe0 but no picture \x00\x01\x02")
	if p.Kind != lane.Media || strings.HasPrefix(p.MIME, "image/") {
		t.Errorf("what only begins like a picture became %s", p.MIME)
	}
	p = rendered(t, plain, "\x00\x01\x02\x03")
	if p.Kind != lane.Media || p.MIME != "application/octet-stream" || p.Name != "temp.bin" {
		t.Errorf("binary became %+v", p)
	}
}

func TestGapsAndDigestsInWords(t *testing.T) {
	g := &lane.Gap{Dropped: map[lane.Class]int{lane.Event: 2, lane.Telemetry: 30}, Expired: 1, From: noon, To: noon.Add(time.Hour)}
	if got, want := gapPost(g, time.UTC).Text, "⚠ 32 messages left out here, from Nov 22 12:00:00 to Nov 22 13:00:00 (2 event, 30 telemetry; 1 too old to be sent): they could not be sent in time."; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	d := sumUp(lane.Post{Text: "temp: 20"}, &lane.Digest{N: 3, Min: 19.5, Max: 21, Sum: 60.5})
	if want := "temp: 20 (3 values: min 19.5, mean 20.17, max 21)"; d.Text != want {
		t.Errorf("got %q, want %q", d.Text, want)
	}
	d = sumUp(lane.Post{Text: "far"}, &lane.Digest{N: 2, Min: 1.5e307, Max: 1.5e307, Sum: 3e307})
	if want := "far (2 values: min 1.5e+307, mean 1.5e+307, max 1.5e+307)"; d.Text != want {
		t.Errorf("got %q, want %q", d.Text, want)
	}
	if d := sumUp(lane.Post{Text: "x"}, &lane.Digest{N: 1, Min: 1, Max: 1, Sum: 1}); d.Text != "x" {
		t.Errorf("one value is no digest: %q", d.Text)
	}
}

func TestNumber(t *testing.T) {
	for f, want := range map[float64]string{0: "0", 21.5: "21.5", 1234567: "1234567", 1e20: "1e+20", 1.0 / 3: "0.333333", -0.001: "-0.001"} {
		if got := number(f); got != want {
			t.Errorf("%g prints as %s, want %s", f, got, want)
		}
	}
}
