//go:build goolm

package matrix

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"maunium.net/go/mautrix"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

const canary = "canary"

// everyField is a record of a kind in which all that is not an id says canary.
func everyField(kind lane.Kind) lane.Record {
	return lane.Record{
		ID: "record", Device: canary, Class: lane.Alarm, Key: canary, Topic: canary, At: time.Now(),
		Post: lane.Post{
			Kind: kind, Text: canary, HTML: "<b>" + canary + "</b>", Values: map[string]string{canary: canary}, MIME: "image/png",
			Name: canary, Data: []byte(canary), Command: canary, State: canary, Mentions: []ids.UserID{"@" + canary + ":example.org"},
		},
	}
}

// kindsOfPosts are those that the package lane declares, so that none is forgotten here.
func kindsOfPosts(t *testing.T) (kinds []lane.Kind) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../lane/lane.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
			if typ, ok := v.Type.(*ast.Ident); ok && typ.Name == "Kind" {
				kinds = append(kinds, lane.Kind(strings.Trim(v.Values[0].(*ast.BasicLit).Value, `"`)))
			}
		}
		return true
	})
	return kinds
}

// Whatever way something takes into an encrypted room, the homeserver hears nothing of it.
func TestEveryWayIntoAnEncryptedRoom(t *testing.T) {
	kinds := kindsOfPosts(t)
	if len(kinds) < 8 {
		t.Fatalf("kinds of posts: %v", kinds)
	}
	type way struct {
		name string
		run  func(*Client) error
		want string // of the code in the outcome; "" it is done
	}
	send := func(r lane.Record) func(*Client) error {
		return func(c *Client) error {
			if o := c.Send(t.Context(), testRoom, testGhost, r); o.Verdict != lane.Done {
				return o
			}
			return nil
		}
	}
	var ways []way
	for _, kind := range kinds {
		r := everyField(kind)
		w := way{name: string(kind), run: send(r)}
		switch kind {
		case lane.Call:
			r.Post.Name, r.Post.Text = "m.call.invite", `{"call_id":"canary","offer":{"sdp":"canary"}}`
			w.run = send(r)
		case lane.Reaction:
			r.Post.RelatesTo = "$1"
			w.run, w.want = send(r), codeEncrypted
		case lane.Redaction:
			r.Post.RelatesTo = "$1"
			w.run = send(r)
		case lane.Pin:
			w.run = func(c *Client) error { return c.Pin(t.Context(), testRoom, "$1", "$2") }
		case lane.Room:
			w.run, w.want = send(r), "record"
		}
		ways = append(ways, w)
	}
	edit, reply, voice := everyField(lane.Notice), everyField(lane.Text), everyField(lane.Media)
	edit.Post.Replaces, reply.Post.RelatesTo, voice.Post.Voice, voice.Post.MIME = "$1", "$1", time.Second, "audio/ogg"
	put := func(kind string, content any) func(*Client) error {
		return func(c *Client) error { return c.SetState(t.Context(), testRoom, kind, "", content) }
	}
	raw := func(method string, body any, path ...any) func(*Client) error {
		return func(c *Client) error {
			p := append(mautrix.ClientURLPath{"v3", "rooms", testRoom}, path...)
			return c.do(t.Context(), request{endpoint: epSend, method: method, path: p, as: testBot, body: body})
		}
	}
	text := map[string]string{"body": canary}
	because := map[string]string{"reason": canary}
	ways = append(ways,
		way{"an edit", send(edit), ""},
		way{"a reply", send(reply), ""},
		way{"a voice message", send(voice), ""},
		way{"a fixed sentence", func(c *Client) error { c.Decline(t.Context(), testRoom, testGhost); return nil }, ""},
		way{"a topic", put("m.room.topic", map[string]string{"topic": canary}), codeEncrypted},
		way{"an avatar", put("m.room.avatar", map[string]string{"url": canary}), codeEncrypted},
		way{"a live location", put("org.matrix.msc3672.beacon_info", text), codeEncrypted},
		way{"state of our own", put("dev.gatepost."+canary, text), codeEncrypted},
		way{"a location", raw(http.MethodPut, text, "send", "m.beacon", "t"), codeEncrypted},
		way{"a message by another way", raw(http.MethodPut, text, "send", "m.room.message", "t"), codeEncrypted},
		way{"a redaction with a reason", raw(http.MethodPut, because, "redact", "$1", "t"), codeEncrypted},
		way{"an invitation with a reason", raw(http.MethodPost, because, "invite"), codeEncrypted},
		way{"leaving with a reason", raw(http.MethodPost, because, "leave"), codeEncrypted},
		way{"what is not known yet", raw(http.MethodPost, text, "future"), codeEncrypted},
	)
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			k := newCryptoServer(t)
			k.person(t, "@alice:example.org", "PHONE")
			var heard []string
			k.watch = func(r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(body))
				heard = append(heard, r.Method+" "+r.URL.String()+" "+string(body))
			}
			for _, pattern := range []string{onRedact, onInvite, "PUT /_matrix/client/v3/rooms/{room}/state/{type}/{$}"} {
				k.on(pattern, says200)
			}
			k.on("GET /_matrix/client/v3/rooms/{room}/state/m.room.pinned_events/{$}", says(200, `{"pinned":["$0"]}`))
			c := k.bot(t, newMemTable(), secrets{}, nil)
			err := w.run(c)
			if got := lane.OutcomeOf(err).Code; err != nil && got != w.want || err == nil && w.want != "" {
				t.Errorf("got %v, want %q", err, w.want)
			}
			k.homeserver.mu.Lock()
			defer k.homeserver.mu.Unlock()
			for _, line := range heard {
				if strings.Contains(line, canary) {
					t.Errorf("the homeserver heard: %s", line)
				}
			}
		})
	}
}

var says200 = says(200, `{"event_id":"$e"}`)

// A room in which encryption is turned on while something is on its way gets it encrypted.
func TestTurnedOnMeanwhile(t *testing.T) {
	k := newCryptoServer(t)
	k.person(t, "@alice:example.org", "PHONE")
	k.plain = true
	c := k.bot(t, newMemTable(), secrets{}, nil)
	key := ""
	k.on(onUpload, func(w http.ResponseWriter, r *http.Request) {
		on := room.Event{ID: "$e", Room: testRoom, Type: kindEncryption, StateKey: &key, Content: json.RawMessage(`{"algorithm":"m.megolm.v1.aes-sha2"}`)}
		if err := c.book.apply([]room.Event{on}); err != nil {
			t.Error(err)
		}
		says(200, `{"content_uri":"mxc://example.org/picture"}`)(w, r)
	})
	r := everyField(lane.Media)
	if o := c.Send(t.Context(), testRoom, testGhost, r); o.Verdict != lane.Retry {
		t.Errorf("the first try: %v", o)
	}
	if o := c.Send(t.Context(), testRoom, testGhost, r); o.Verdict != lane.Done {
		t.Errorf("the second try: %v", o)
	}
	var types []string
	for _, e := range k.events() {
		types = append(types, e.text("type"))
	}
	if got := fmt.Sprint(types); !slices.Equal(types, []string{kindEncrypted}) {
		t.Errorf("sent %s", got)
	}
}
