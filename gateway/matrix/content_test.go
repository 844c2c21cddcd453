package matrix

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

func TestContent(t *testing.T) {
	at := time.UnixMilli(1795000000000)
	for _, c := range []struct {
		name, typ, want string
		post            lane.Post
	}{
		{
			"notice with values and mentions", "m.room.message",
			`{"msgtype":"m.notice","body":"21.5 °C","m.mentions":{"user_ids":["@alice:example.org"]},"dev.gatepost":{"v":1,"id":"01","device":"d","topic":"t","class":"alarm","values":{"t":"21.5"}}}`,
			lane.Post{Kind: lane.Notice, Text: "21.5 °C", Values: map[string]string{"t": "21.5"}, Mentions: []ids.UserID{"@alice:example.org"}},
		},
		{
			"reaction", "m.reaction",
			`{"m.relates_to":{"rel_type":"m.annotation","event_id":"$e","key":"✅"},"m.mentions":{},"dev.gatepost":{"v":1,"id":"01","device":"d","topic":"t","class":"alarm"}}`,
			lane.Post{Kind: lane.Reaction, Text: "✅", RelatesTo: "$e"},
		},
		{
			"bytes that are no text", "m.room.message",
			`{"msgtype":"m.text","body":"a� <b> & @room �","m.mentions":{},"dev.gatepost":{"v":1,"id":"01","device":"d","topic":"t","class":"alarm","values":{"�":"�"}}}`,
			lane.Post{Kind: lane.Text, Text: "a\xff <b> & @room \x00", Values: map[string]string{"\x00": "\xff\xfe"}},
		},
		{
			"empty text", "m.room.message",
			`{"msgtype":"m.text","body":"","m.mentions":{},"dev.gatepost":{"v":1,"id":"01","device":"d","topic":"t","class":"alarm"}}`,
			lane.Post{Kind: lane.Text},
		},
		{
			"media with a caption", "m.room.message",
			`{"msgtype":"m.file","body":"look","url":"mxc://a/b","filename":"file","info":{"mimetype":"application/octet-stream","size":3},"m.mentions":{},"dev.gatepost":{"v":1,"id":"01","device":"d","topic":"t","class":"alarm"}}`,
			lane.Post{Kind: lane.Media, Text: "look", MIME: "nonsense", Name: "/etc/..", Data: []byte("abc"), Width: -1},
		},
		{
			"a voice message", "m.room.message",
			`{"msgtype":"m.audio","body":"v.ogg","url":"mxc://a/b","filename":"v.ogg","info":{"mimetype":"audio/ogg","size":4,"duration":1500},"m.mentions":{},"dev.gatepost":{"v":1,"id":"01","device":"d","topic":"t","class":"alarm"},"org.matrix.msc3245.voice":{},"org.matrix.msc1767.audio":{"duration":1500}}`,
			lane.Post{Kind: lane.Media, MIME: "audio/ogg", Name: "v.ogg", Data: []byte("OggS"), Voice: 1500 * time.Millisecond},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			typ, raw, err := contentOf(lane.Record{ID: "01", Device: "d", Topic: "t", Class: lane.Alarm, At: at, Post: c.post}, placed{mxc: "mxc://a/b"}, maxEventContent)
			if err != nil || typ != c.typ || string(raw) != c.want {
				t.Errorf("%s %v\n%s\nwant\n%s", typ, err, raw, c.want)
			}
		})
	}
}

// The event of any record is one that a homeserver takes: valid, and small enough whatever it is made of.
func TestContentFits(t *testing.T) {
	many := map[string]string{}
	for i := range 40 {
		many[strings.Repeat("\x01", 1+i)] = strings.Repeat("\x02", 2000)
	}
	for name, fill := range map[string]string{"plain": "a", "quotes": `"`, "controls": "\x01", "wide": "ä", "wider": "😀", "broken": "\xffa", "lines": "\n"} {
		long := strings.Repeat(fill, 70_000/len(fill))
		for _, p := range []lane.Post{
			{Kind: lane.Text, Text: long},
			{Kind: lane.Text, Text: long, HTML: long, Values: many},
			{Kind: lane.Text, Text: "short", HTML: long},
			{Kind: lane.Media, Text: long, MIME: long, Name: long, Values: many},
			{Kind: lane.Reaction, Text: long, RelatesTo: "$e", Values: many},
		} {
			typ, raw, err := contentOf(lane.Record{ID: "01", Device: "d", Topic: long, Post: p}, placed{mxc: "mxc://a/b"}, maxEventContent)
			if err != nil || !json.Valid(raw) || !utf8.Valid(raw) {
				t.Errorf("%s %s: %v", name, typ, err)
			}
			if p.Kind != lane.Reaction && len(raw) > maxEventContent {
				t.Errorf("%s: %d bytes", name, len(raw))
			}
			body, _ := decode(t, raw)["body"].(string)
			if p.Text == "short" && body != "short" {
				t.Errorf("%s: the body was cut for the sake of the HTML", name)
			}
			if p.Text == long && typ == "m.room.message" && (!strings.HasSuffix(body, cutNote) || len(body) < 5000) {
				t.Errorf("%s: a body of %d bytes that does not say it was cut", name, len(body))
			}
		}
	}
}

func FuzzContent(f *testing.F) {
	f.Add("text", "<b>html</b>", "a/b", "image/png", "x.png", 3)
	f.Add("\x00\xff\u2028", "\x1b", "\xc3", ";;", "..", 70000)
	f.Fuzz(func(t *testing.T, text, html, topic, kind, name string, times int) {
		times = min(max(times, 1), 70000/max(len(text), 1)+1)
		for _, k := range []lane.Kind{lane.Text, lane.Media} {
			r := lane.Record{ID: "01", Topic: topic, Post: lane.Post{Kind: k, Text: strings.Repeat(text, times), HTML: html, MIME: kind, Name: name, Values: map[string]string{topic: text}}}
			_, raw, err := contentOf(r, placed{mxc: "mxc://a/b"}, maxEventContent)
			if err != nil || len(raw) > maxEventContent || !json.Valid(raw) || !utf8.Valid(raw) {
				t.Fatalf("%d bytes, %v", len(raw), err)
			}
			if contentID(raw) != "01" {
				t.Fatal("Find would not know it")
			}
		}
	})
}

func TestMessageType(t *testing.T) {
	for in, want := range map[string]string{
		"image/jpeg": "m.image", "image/png": "m.image", "image/gif": "m.image", "image/webp; q=1": "m.image", "IMAGE/PNG": "m.image",
		"image/svg+xml": "m.file", "audio/ogg": "m.audio", "video/mp4": "m.video", "text/html": "m.file", "": "m.file", "image": "m.file",
	} {
		if got := messageType(mediaType(in)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
