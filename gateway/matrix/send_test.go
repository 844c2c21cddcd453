package matrix

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
)

func textRecord() lane.Record {
	return lane.Record{ID: "01TEXT", Device: "porch", Class: lane.Event, Topic: "porch/door", At: time.UnixMilli(1795000000000), Post: lane.Post{Kind: lane.Text, Text: "open"}}
}

// What an answer to a send comes to. The whole table runs in simulated time: the slow homeserver takes a minute of it.
func TestSendOutcome(t *testing.T) {
	html := `<html>Bad Gateway</html>`
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		want lane.Outcome // Reason: a part of it
	}{
		{"sent", says(200, `{"event_id":"$e1"}`), lane.Outcome{Verdict: lane.Done, Event: "$e1"}},
		{"429 in the body", says(429, `{"errcode":"M_LIMIT_EXCEEDED","error":"slow down","retry_after_ms":4400}`), lane.Outcome{Verdict: lane.Retry, Limited: true, After: 4400 * time.Millisecond, Code: "M_LIMIT_EXCEEDED", Reason: "slow down"}},
		{"429 in the header", limited("7", `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1000}`), lane.Outcome{Verdict: lane.Retry, Limited: true, After: 7 * time.Second, Code: "M_LIMIT_EXCEEDED"}},
		{"429 the larger", limited("2", `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":9000}`), lane.Outcome{Verdict: lane.Retry, Limited: true, After: 9 * time.Second, Code: "M_LIMIT_EXCEEDED"}},
		{"429 for a day", says(429, `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":86400000}`), lane.Outcome{Verdict: lane.Retry, Limited: true, After: maxPause, Code: "M_LIMIT_EXCEEDED"}},
		{"429 with nonsense", limited("-5", `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":"soon"}`), lane.Outcome{Verdict: lane.Retry, Limited: true, Code: "M_LIMIT_EXCEEDED"}},
		{"429 of a proxy", says(429, html), lane.Outcome{Verdict: lane.Retry, Limited: true, Code: "HTTP 429"}},
		{"500", says(500, `{"errcode":"M_UNKNOWN","error":"oops"}`), lane.Outcome{Verdict: lane.Unknown, Code: "M_UNKNOWN", Reason: "oops"}},
		{"502 of a proxy", says(502, html), lane.Outcome{Verdict: lane.Unknown, Code: "HTTP 502"}},
		{"HTML with 200", says(200, html), lane.Outcome{Verdict: lane.Unknown, Code: "HTTP 200", Reason: "cannot be read"}},
		{"nothing", hangsUp, lane.Outcome{Verdict: lane.Unknown, Code: "network"}},
		{"half a body", half(200), lane.Outcome{Verdict: lane.Unknown, Code: "HTTP 200", Reason: "unexpected EOF"}},
		{"half a refusal", half(403), lane.Outcome{Verdict: lane.Retry, Code: "HTTP 403"}},
		{"a body without end", endless, lane.Outcome{Verdict: lane.Unknown, Code: codeTooLong}},
		{"slow", waits, lane.Outcome{Verdict: lane.Unknown, Code: "network", Reason: "no answer in time"}},
		{"no event id", says(200, `{}`), lane.Outcome{Verdict: lane.Unknown, Code: "HTTP 200", Reason: "no event id"}},
		{"bad event id", says(200, `{"event_id":"../x"}`), lane.Outcome{Verdict: lane.Unknown, Code: "HTTP 200", Reason: "no event id"}},
		{"long event id", says(200, `{"event_id":"$`+strings.Repeat("x", 255)+`"}`), lane.Outcome{Verdict: lane.Unknown, Code: "HTTP 200", Reason: "no event id"}},
		{"401", says(401, `{"errcode":"M_UNKNOWN_TOKEN","error":"who?"}`), lane.Outcome{Verdict: lane.Stop, Code: "M_UNKNOWN_TOKEN", Reason: "who?"}},
		{"403", says(403, `{"errcode":"M_FORBIDDEN","error":"not in room"}`), lane.Outcome{Verdict: lane.Dead, Code: "M_FORBIDDEN", Reason: "not in room"}},
		{"403 of a proxy", says(403, html), lane.Outcome{Verdict: lane.Retry, Code: "HTTP 403", Reason: "is the homeserver's URL right"}},
		{"404", says(404, `{"errcode":"M_NOT_FOUND","error":"no room"}`), lane.Outcome{Verdict: lane.Dead, Code: "M_NOT_FOUND", Reason: "no room"}},
		{"413 of a proxy", says(413, html), lane.Outcome{Verdict: lane.Dead, Code: "HTTP 413"}},
		{"400", says(400, `{"errcode":"M_BAD_JSON","error":"floats\u0007!"}`), lane.Outcome{Verdict: lane.Dead, Code: "M_BAD_JSON", Reason: "floats !"}},
		{"redirect", says(302, ``), lane.Outcome{Verdict: lane.Retry, Code: "HTTP 302", Reason: "is the homeserver's URL right"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHomeserver(t)
				h.on(onSend, c.h)
				client := newClient(t, h, nil)
				got := client.Send(t.Context(), testRoom, testGhost, textRecord())
				if !strings.Contains(got.Reason, c.want.Reason) {
					t.Errorf("reason %q, want %q in it", got.Reason, c.want.Reason)
				}
				if len(got.Reason) > maxReason+100 {
					t.Errorf("a reason of %d bytes", len(got.Reason))
				}
				got.Reason = c.want.Reason
				if got != c.want {
					t.Errorf("got %+v, want %+v", got, c.want)
				}
				if n := h.count("PUT /_matrix/client/v3/rooms/" + string(testRoom) + "/send/m.room.message/01TEXT"); n != 1 {
					t.Errorf("asked %d times", n)
				}
				client.watch.close()
			})
		})
	}
}

func limited(after, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", after)
		says(429, body)(w, r)
	}
}

func half(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"event_id":"$e`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	chunk := strings.Repeat(" ", 1<<16)
	for {
		if _, err := io.WriteString(w, chunk); err != nil {
			return
		}
	}
}

func TestSendToAHomeserverThatIsAway(t *testing.T) {
	h := newHomeserver(t)
	h.setAway(true)
	got := newClient(t, h, nil).Send(t.Context(), testRoom, testGhost, textRecord())
	if got.Verdict != lane.Retry || got.Code != "network" {
		t.Errorf("got %+v, want Retry: nothing was sent", got)
	}
}

func TestSendAsksAsTheGhost(t *testing.T) {
	h := newHomeserver(t)
	asked := make(chan *http.Request, 1)
	body := make(chan []byte, 1)
	h.on(onSend, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		asked <- r
		body <- raw
		says(200, `{"event_id":"$e1"}`)(w, r)
	})
	c := probed(t, h, nil)
	r := textRecord()
	r.Post.HTML, r.Post.RelatesTo = "<b>open</b>", "$person"
	if o := c.Send(t.Context(), testRoom, testGhost, r); o.Verdict != lane.Done {
		t.Fatal(o)
	}
	req := <-asked
	q := req.URL.Query()
	if got := req.Header.Get("Authorization"); got != "Bearer as-secret" {
		t.Errorf("Authorization %q", got)
	}
	for key, want := range map[string]string{"user_id": string(testGhost), "device_id": deviceID, "ts": "1795000000000"} {
		if got := q.Get(key); got != want {
			t.Errorf("%s=%q, want %q", key, got, want)
		}
	}
	want := `{"msgtype":"m.text","body":"open","format":"org.matrix.custom.html","formatted_body":"<b>open</b>","m.relates_to":{"m.in_reply_to":{"event_id":"$person"}},"m.mentions":{},"dev.gatepost":{"v":1,"id":"01TEXT","device":"porch","topic":"porch/door","class":"event"}}`
	if got := string(<-body); got != want {
		t.Errorf("content %s\nwant %s", got, want)
	}
	if o := c.Send(t.Context(), testRoom, testGhost, r); o.Verdict != lane.Done {
		t.Fatal(o)
	}
	if n := h.count("PUT /_matrix/client/v3/devices/" + deviceID); n != 2 { // the bot's at Probe, the ghost's once
		t.Errorf("devices were made %d times", n)
	}
}

func TestOriginalTime(t *testing.T) {
	now := time.UnixMilli(1795000000000)
	h := newHomeserver(t)
	c := newClient(t, h, func(cfg *Config) { cfg.Now = func() time.Time { return now } })
	c.watch.readClock(now.UTC().Format(http.TimeFormat))
	for _, r := range []struct {
		name string
		at   time.Time
		want bool
	}{
		{"an hour ago", now.Add(-time.Hour), true},
		{"now", now, true},
		{"from a clock that was never set", time.Unix(10, 0), false},
		{"in the future", now.Add(time.Hour), false},
		{"none", time.Time{}, false},
	} {
		if _, ok := c.originalTime(r.at); ok != r.want {
			t.Errorf("%s: %v", r.name, ok)
		}
	}
	account := newClient(t, h, func(cfg *Config) { cfg.Mode, cfg.Token = Account, "t" })
	if _, ok := account.originalTime(now.Add(-time.Hour)); ok {
		t.Error("an account has no original times")
	}
}

func TestSendMedia(t *testing.T) {
	h := newHomeserver(t)
	uploads := 0
	h.on(onUpload, func(w http.ResponseWriter, r *http.Request) {
		uploads++
		raw, _ := io.ReadAll(r.Body)
		if string(raw) != "\x89PNG" || r.Header.Get("Content-Type") != "image/png" || r.URL.Query().Get("filename") != "door.png" || r.URL.Query().Get("user_id") != string(testGhost) {
			t.Errorf("upload of %q, %v, %v", raw, r.Header, r.URL)
		}
		says(200, `{"content_uri":"mxc://example.org/abc"}`)(w, r)
	})
	var content map[string]any
	status := 429
	h.on(onSend, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		content = decode(t, raw)
		if status == 429 {
			says(429, `{"errcode":"M_LIMIT_EXCEEDED"}`)(w, r)
			return
		}
		says(200, `{"event_id":"$e1"}`)(w, r)
	})
	c := probed(t, h, nil)
	r := lane.Record{ID: "01MEDIA", Post: lane.Post{Kind: lane.Media, MIME: "image/png", Name: "../door.png", Width: 4, Height: 3, Data: []byte("\x89PNG")}}
	if o := c.Send(t.Context(), testRoom, testGhost, r); !o.Limited {
		t.Fatal(o)
	}
	status = 200
	if o := c.Send(t.Context(), testRoom, testGhost, r); o.Verdict != lane.Done {
		t.Fatal(o)
	}
	if uploads != 1 {
		t.Errorf("uploaded %d times", uploads)
	}
	if got := fmt.Sprintln(content["msgtype"], content["body"], content["filename"], content["url"], content["info"]); got != "m.image door.png door.png mxc://example.org/abc map[h:3 mimetype:image/png size:4 w:4]\n" {
		t.Errorf("content %s", got)
	}

	big := r
	big.ID, big.Post.Data = "01BIG", make([]byte, 1001)
	if o := c.Send(t.Context(), testRoom, testGhost, big); o.Verdict != lane.Dead || o.Code != "M_TOO_LARGE" || uploads != 1 {
		t.Errorf("above the homeserver's limit: %+v, %d uploads", o, uploads)
	}
	for name, h2 := range map[string]http.HandlerFunc{"no address": says(200, `{"content_uri":"http://evil/x"}`), "500": says(500, ``), "nothing": hangsUp} {
		h.on(onUpload, h2)
		r.ID = "01" + name
		if o := c.Send(t.Context(), testRoom, testGhost, r); o.Verdict != lane.Retry {
			t.Errorf("upload with %s: %+v, want Retry: no event was sent", name, o)
		}
	}
}

func TestSendReactionTwice(t *testing.T) {
	h := newHomeserver(t)
	h.on(onSend, says(400, `{"errcode":"M_DUPLICATE_ANNOTATION","error":"again"}`))
	h.on(onMessages, says(200, `{"chunk":[
		{"type":"m.reaction","event_id":"$other","sender":"@alice:example.org","content":{"m.relates_to":{"rel_type":"m.annotation","event_id":"$t","key":"👍"}}},
		{"type":"m.reaction","event_id":"$ours","sender":"`+string(testGhost)+`","content":{"m.relates_to":{"rel_type":"m.annotation","event_id":"$t","key":"👍"}}}]}`))
	r := lane.Record{ID: "01R", Post: lane.Post{Kind: lane.Reaction, Text: "👍", RelatesTo: "$t"}}
	got := newClient(t, h, nil).Send(t.Context(), testRoom, testGhost, r)
	if got != (lane.Outcome{Verdict: lane.Done, Event: "$ours"}) {
		t.Errorf("got %+v", got)
	}
}

func TestSendWithALostDevice(t *testing.T) {
	h := newHomeserver(t)
	h.on(onSend, says(400, `{"errcode":"M_UNKNOWN_DEVICE","error":"no such device"}`))
	c := probed(t, h, nil)
	for range 2 {
		if got := c.Send(t.Context(), testRoom, testGhost, textRecord()); got.Verdict != lane.Retry {
			t.Errorf("got %+v", got)
		}
	}
	if n := h.count("PUT /_matrix/client/v3/devices/" + deviceID); n != 3 {
		t.Errorf("%d devices made, want one for the bot and one for each try", n)
	}
}

func TestSendRedaction(t *testing.T) {
	h := newHomeserver(t)
	h.on(onRedact, func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("event") != "$t/1" || r.PathValue("txn") != "01D" {
			t.Errorf("path %q", r.URL)
		}
		says(200, `{"event_id":"$r"}`)(w, r)
	})
	r := lane.Record{ID: "01D", Post: lane.Post{Kind: lane.Redaction, RelatesTo: "$t/1"}}
	if got := newClient(t, h, nil).Send(t.Context(), testRoom, testGhost, r); got.Event != "$r" {
		t.Errorf("got %+v", got)
	}
}

func TestSendRefusesWhatCannotBeSent(t *testing.T) {
	c := newClient(t, newHomeserver(t), nil)
	for name, r := range map[string]lane.Record{
		"no id":               {Post: lane.Post{Kind: lane.Text}},
		"no kind":             {ID: "01"},
		"reaction to nothing": {ID: "01", Post: lane.Post{Kind: lane.Reaction, Text: "x"}},
		"reply to no event":   {ID: "01", Post: lane.Post{Kind: lane.Text, RelatesTo: "event"}},
	} {
		if got := c.Send(t.Context(), testRoom, testGhost, r); got.Verdict != lane.Dead {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := c.Send(t.Context(), "room", testGhost, textRecord()); got.Verdict != lane.Dead {
		t.Errorf("no room: %+v", got)
	}
}

func TestFind(t *testing.T) {
	at := time.UnixMilli(1795000000000)
	ev := func(id, sender, content string, ts time.Time) string {
		return fmt.Sprintf(`{"type":"m.room.message","event_id":%q,"sender":%q,"origin_server_ts":%d,"content":%s}`, id, sender, ts.UnixMilli(), content)
	}
	ours := ev("$ours", string(testGhost), `{"dev.gatepost":{"id":"01TEXT"}}`, at)
	forged := ev("$forged", "@mallory:example.org", `{"dev.gatepost":{"id":"01TEXT"}}`, at)
	backdated := ev("$back", string(testGhost), `{"dev.gatepost":{"id":"01OLD"}}`, at.Add(-48*time.Hour))
	before := ev("$before", "@alice:example.org", `{}`, at.Add(-time.Hour))
	for _, c := range []struct {
		name  string
		pages map[string]string
		want  bool
		asked int
	}{
		{"on the second page", map[string]string{"": forged + "," + backdated, "p1": ours}, true, 2},
		{"behind what people said before", map[string]string{"": before, "p1": ours}, false, 1},
		{"only somebody else's", map[string]string{"": forged}, false, 2},
		{"nothing", map[string]string{}, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHomeserver(t)
			asked := 0
			h.on(onMessages, func(w http.ResponseWriter, r *http.Request) {
				asked++
				if r.URL.Query().Get("dir") != "b" || r.URL.Query().Get("user_id") != string(testGhost) {
					t.Errorf("query %v", r.URL.Query())
				}
				page := c.pages[r.URL.Query().Get("from")]
				says(200, fmt.Sprintf(`{"chunk":[%s],"end":"p%d"}`, page, asked))(w, r)
			})
			e, ok, err := newClient(t, h, nil).Find(t.Context(), testRoom, testGhost, textRecord())
			if err != nil || ok != c.want || ok && e != "$ours" || asked != c.asked {
				t.Errorf("%q %v %v after %d pages", e, ok, err, asked)
			}
		})
	}
}

func TestFindEnds(t *testing.T) {
	h := newHomeserver(t)
	asked := 0
	page := strings.TrimSuffix(strings.Repeat(message("$x", string(testGhost), "x")+",", findPage), ",")
	h.on(onMessages, func(w http.ResponseWriter, r *http.Request) {
		asked++
		says(200, fmt.Sprintf(`{"chunk":[%s],"end":"p%d"}`, page, asked))(w, r)
	})
	if _, ok, err := newClient(t, h, nil).Find(t.Context(), testRoom, testGhost, textRecord()); ok || err != nil || asked != findEvents/findPage {
		t.Errorf("%v %v after %d pages of an endless room", ok, err, asked)
	}
}

func TestFindRedaction(t *testing.T) {
	r := lane.Record{ID: "01D", Post: lane.Post{Kind: lane.Redaction, RelatesTo: "$t"}}
	for _, c := range []struct {
		name, event string
		status      int
		want        bool
	}{
		{"redacted", `{"event_id":"$t","unsigned":{"redacted_because":{"event_id":"$r"}}}`, 200, true},
		{"not yet", `{"event_id":"$t","content":{"body":"x"}}`, 200, false},
		{"gone", `{"errcode":"M_NOT_FOUND"}`, 404, false},
	} {
		h := newHomeserver(t)
		h.on(onEvent, says(c.status, c.event))
		e, ok, err := newClient(t, h, nil).Find(t.Context(), testRoom, testGhost, r)
		if ok != c.want || err != nil || ok && e != "$r" {
			t.Errorf("%s: %q %v %v", c.name, e, ok, err)
		}
	}
}

func TestFindSaysWhenItCannotLook(t *testing.T) {
	h := newHomeserver(t)
	h.on(onMessages, says(502, ``))
	_, _, err := newClient(t, h, nil).Find(t.Context(), testRoom, testGhost, textRecord())
	if lane.OutcomeOf(err).Verdict != lane.Retry {
		t.Errorf("got %v", err)
	}
}
