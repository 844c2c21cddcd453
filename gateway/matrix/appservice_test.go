package matrix

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatepost/gatepost/internal/ids"
)

func ask(c *Client, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	c.appserviceHandler().ServeHTTP(w, r)
	return w
}

func TestTransactionToken(t *testing.T) {
	const path = "/_matrix/app/v1/transactions/1"
	body := `{"events":[` + message("$1", "@alice:example.org", "!on") + `]}`
	for _, c := range []struct {
		name, target string
		header       []string
		want         int
		stored       bool
	}{
		{"in the header", path, []string{"Authorization", "Bearer hs-secret"}, 200, true},
		{"in the query", path + "?access_token=hs-secret", nil, 200, true},
		{"in both", path + "?access_token=hs-secret", []string{"Authorization", "Bearer hs-secret"}, 200, true},
		{"legacy path", "/transactions/1", []string{"Authorization", "Bearer hs-secret"}, 200, true},
		{"missing", path, nil, 401, false},
		{"empty", path + "?access_token=", []string{"Authorization", "Bearer "}, 401, false},
		{"wrong", path, []string{"Authorization", "Bearer hs-secreT"}, 403, false},
		{"longer", path, []string{"Authorization", "Bearer hs-secret2"}, 403, false},
		{"wrong in the query", path + "?access_token=x", nil, 403, false},
		{"they differ", path + "?access_token=x", []string{"Authorization", "Bearer hs-secret"}, 403, false},
		{"they differ the other way", path + "?access_token=hs-secret", []string{"Authorization", "Bearer x"}, 403, false},
		{"ours to them", path, []string{"Authorization", "Bearer as-secret"}, 403, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := &inbox{}
			w := ask(newClient(t, newHomeserver(t), func(cfg *Config) { cfg.Inbox = in }), "PUT", c.target, body, c.header...)
			if w.Code != c.want || (len(in.ids()) == 1) != c.stored {
				t.Errorf("%d %s, %d stored", w.Code, w.Body, len(in.ids()))
			}
			if strings.Contains(w.Body.String(), "hs-secret") {
				t.Error("the token is in the answer")
			}
		})
	}
}

func TestTransactionWithoutAnHSToken(t *testing.T) {
	c := newClient(t, newHomeserver(t), func(cfg *Config) { cfg.HSToken = "" })
	if w := ask(c, "PUT", "/_matrix/app/v1/transactions/1", `{"events":[]}`); w.Code != 401 {
		t.Errorf("answered %d", w.Code)
	}
}

func TestTransactionBodies(t *testing.T) {
	good := message("$1", "@alice:example.org", "!on")
	for _, c := range []struct {
		name, body string
		want       int
		stored     int
	}{
		{"none", `{}`, 200, 0},
		{"empty", `{"events":[]}`, 200, 0},
		{"one", `{"events":[` + good + `]}`, 200, 1},
		{"twice the same", `{"events":[` + good + `,` + good + `]}`, 200, 1},
		{"of a kind that does not matter", `{"events":[{"type":"m.typing","room_id":"!r","content":{}},` + good + `]}`, 200, 1},
		{"unknown fields", `{"de.sorunome.msc2409.ephemeral":[{}],"x":1e999,"events":[` + good + `]}`, 200, 1},
		{"bad among good", `{"events":[{"type":"m.room.message"},7,null,[],"x",{"type":7},` + good + `]}`, 200, 1},
		{"not JSON", `{"events":[`, 400, 0},
		{"two values", `{"events":[]}{}`, 400, 0},
		{"HTML", `<html>`, 400, 0},
		{"nothing", ``, 400, 0},
		{"a list", `[]`, 400, 0},
		{"null", `null`, 400, 0},
		{"events no list", `{"events":{}}`, 400, 0},
		{"a deep one among good", `{"events":[{"type":"m.room.message","event_id":"$d","room_id":"!r","sender":"@a:b","content":{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}},` + good + `]}`, 200, 1},
		{"deep without end", strings.Repeat(`{"events":[`, 20000), 400, 0},
		{"too large", `{"events":[` + strings.Repeat(" ", maxTransaction) + `]}`, 413, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := &inbox{}
			w := ask(newClient(t, newHomeserver(t), func(cfg *Config) { cfg.Inbox = in }), "PUT", "/_matrix/app/v1/transactions/1", c.body, "Authorization", "Bearer hs-secret")
			if w.Code != c.want || len(in.ids()) != c.stored {
				t.Errorf("%d %s, %d stored", w.Code, w.Body, len(in.ids()))
			}
			if c.want == 200 && w.Body.String() != "{}" {
				t.Errorf("body %s", w.Body)
			}
		})
	}
}

func TestTransactionIsAnsweredAfterTheCommit(t *testing.T) {
	in := &inbox{fail: errors.New("no space")}
	c := newClient(t, newHomeserver(t), func(cfg *Config) { cfg.Inbox = in })
	body := `{"events":[` + message("$1", "@alice:example.org", "!on") + `]}`
	put := func() int {
		return ask(c, "PUT", "/_matrix/app/v1/transactions/t7", body, "Authorization", "Bearer hs-secret").Code
	}
	if code := put(); code != 500 {
		t.Fatalf("a failed commit was answered %d", code)
	}
	in.setFail(nil)
	for range 2 { // the homeserver sends it again, and once more because our answer was lost
		if code := put(); code != 200 {
			t.Fatalf("answered %d", code)
		}
	}
	if got := in.ids(); len(got) != 1 || in.positions[SourceAppservice] != "t7" {
		t.Errorf("stored %v at %v", got, in.positions)
	}
}

func TestAppserviceEndpoints(t *testing.T) {
	c := newClient(t, newHomeserver(t), nil)
	for _, e := range []struct {
		method, path string
		want         int
	}{
		{"POST", "/_matrix/app/v1/ping", 200},
		{"GET", "/_matrix/app/v1/users/@gatepost_x:example.org", 404},
		{"GET", "/_matrix/app/v1/rooms/%23gatepost_x:example.org", 404},
		{"GET", "/_matrix/app/v1/thirdparty/protocol/x", 404},
		{"GET", "/", 404},
		{"PUT", "/_matrix/app/v1/transactions/" + strings.Repeat("x", 300), 400},
	} {
		w := ask(c, e.method, e.path, `{}`, "Authorization", "Bearer hs-secret")
		if w.Code != e.want || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d %s", e.method, e.path, w.Code, w.Body)
		}
		if w := ask(c, e.method, e.path, `{}`); w.Code != 401 {
			t.Errorf("%s %s without a token: %d", e.method, e.path, w.Code)
		}
	}
}

func TestParseEvent(t *testing.T) {
	c := newClient(t, newHomeserver(t), nil)
	big := `{"x":1152921504606846976,"y":0.1000000000000000055,"z":1e400}`
	for _, r := range []struct {
		name, raw string
		want      parsed
	}{
		{"message", message("$1", "@a:b", "x"), parsedOK},
		{"huge numbers", `{"type":"m.room.message","event_id":"$1","room_id":"!r","sender":"@a:b","origin_server_ts":1152921504606846976,"content":` + big + `}`, parsedOK},
		{"no time", `{"type":"m.room.message","event_id":"$1","room_id":"!r","sender":"@a:b","origin_server_ts":1.5e12,"content":{}}`, parsedOK},
		{"another kind", `{"type":"m.room.topic","event_id":"$1","room_id":"!r","sender":"@a:b","state_key":"","content":{}}`, parsedUnwanted},
		{"no type", `{"event_id":"$1","room_id":"!r","sender":"@a:b","content":{}}`, parsedMalformed},
		{"type in another case", `{"Type":"m.room.message","event_id":"$1","room_id":"!r","sender":"@a:b","content":{}}`, parsedMalformed},
		{"no sigil", `{"type":"m.room.message","event_id":"1","room_id":"!r","sender":"@a:b","content":{}}`, parsedMalformed},
		{"no server", `{"type":"m.room.message","event_id":"$1","room_id":"!r","sender":"@a","content":{}}`, parsedMalformed},
		{"long id", `{"type":"m.room.message","event_id":"$` + strings.Repeat("x", 300) + `","room_id":"!r","sender":"@a:b","content":{}}`, parsedMalformed},
		{"control in the sender", `{"type":"m.room.message","event_id":"$1","room_id":"!r","sender":"@a\n:b","content":{}}`, parsedMalformed},
		{"no content", `{"type":"m.room.message","event_id":"$1","room_id":"!r","sender":"@a:b"}`, parsedMalformed},
		{"content null", `{"type":"m.room.message","event_id":"$1","room_id":"!r","sender":"@a:b","content":null}`, parsedMalformed},
		{"deep content", `{"type":"m.room.message","event_id":"$1","room_id":"!r","sender":"@a:b","content":{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}}`, parsedMalformed},
		{"large content", `{"type":"m.room.message","event_id":"$1","room_id":"!r","sender":"@a:b","content":{"a":"` + strings.Repeat("x", maxContent) + `"}}`, parsedMalformed},
		{"state key no text", `{"type":"m.room.member","event_id":"$1","room_id":"!r","sender":"@a:b","state_key":7,"content":{}}`, parsedMalformed},
		{"redaction of nothing", `{"type":"m.room.redaction","event_id":"$1","room_id":"!r","sender":"@a:b","content":{}}`, parsedMalformed},
	} {
		if _, got := c.parseEvent([]byte(r.raw), ""); got != r.want {
			t.Errorf("%s: %v, want %v", r.name, got, r.want)
		}
	}

	e, _ := c.parseEvent([]byte(`{"type":"m.room.message","event_id":"$1","room_id":"!r","sender":"@a:b","content":`+big+`}`), "")
	if string(e.Content) != big {
		t.Errorf("content %s", e.Content)
	}
	// A foreign homeserver may put anything beside the real keys.
	e, _ = c.parseEvent([]byte(`{"type":"m.room.message","event_id":"$1","room_id":"!r","sender":"@a:b","content":{"body":"x"},"Sender":"@owner:example.org","CONTENT":{"body":"!open"}}`), "")
	if e.Sender != "@a:b" || string(e.Content) != `{"body":"x"}` {
		t.Errorf("keys were folded: %+v", e)
	}
	e, _ = c.parseEvent([]byte(`{"type":"m.room.member","event_id":"$1","room_id":"!r","sender":"@a:b","state_key":"","origin_server_ts":1795000000000,"content":{}}`), "")
	if e.StateKey == nil || *e.StateKey != "" || e.Sent.UnixMilli() != 1795000000000 || e.Received.IsZero() {
		t.Errorf("%+v", e)
	}
	for name, raw := range map[string]string{
		"before version 11": `{"type":"m.room.redaction","event_id":"$1","room_id":"!r","sender":"@a:b","redacts":"$t","content":{}}`,
		"version 11":        `{"type":"m.room.redaction","event_id":"$1","room_id":"!r","sender":"@a:b","content":{"redacts":"$t"}}`,
	} {
		if e, what := c.parseEvent([]byte(raw), ""); what != parsedOK || e.Redacts != "$t" {
			t.Errorf("%s: redacts %q", name, e.Redacts)
		}
	}
}

// Our content id counts only from our own users.
func TestContentIDOfOurOwn(t *testing.T) {
	c := newClient(t, newHomeserver(t), nil)
	for sender, want := range map[ids.UserID]string{
		testBot: "01X", testGhost: "01X",
		"@alice:example.org": "", "@gatepost_porch:evil.org": "", "@gatepost:evil.org": "", "@gatepost_:example.org": "", "@gatepost-as:example.org": "",
	} {
		raw := `{"type":"m.room.message","event_id":"$1","room_id":"!r","sender":"` + string(sender) + `","content":{"dev.gatepost":{"id":"01X"}}}`
		if e, _ := c.parseEvent([]byte(raw), ""); e.ContentID != want {
			t.Errorf("%s: %q", sender, e.ContentID)
		}
	}
}

// Of what we say ourselves only the id is kept, save in calls.
func TestContentOfOurOwn(t *testing.T) {
	c := newClient(t, newHomeserver(t), nil)
	for kind, want := range map[string]string{"m.room.message": `{}`, "m.reaction": `{}`, "m.call.negotiate": `{"call_id":"C"}`, "m.call.answer": `{"call_id":"C"}`} {
		raw := `{"type":"` + kind + `","event_id":"$1","room_id":"!r","sender":"` + string(testGhost) + `","content":{"call_id":"C"}}`
		if all := c.parseAll([]json.RawMessage{json.RawMessage(raw)}, ""); len(all) != 1 || string(all[0].Content) != want {
			t.Errorf("%s: %+v", kind, all)
		}
	}
}

func FuzzTransaction(f *testing.F) {
	f.Add([]byte(`{"events":[` + message("$1", "@a:b", "x") + `]}`))
	f.Add([]byte(`{"events":[{"type":"m.room.redaction","event_id":"$1","room_id":"!r","sender":"@a:b","content":{"redacts":"$t"},"state_key":"\ud800"}]}`))
	f.Add([]byte(`{"events":[{"type":"m.room.member","event_id":"$1","room_id":"!r","sender":"@a:b","content":{"x":"\\\"[{"}}]}`))
	c := newClient(f, newHomeserver(f), nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		raws, errcode := parseTransaction(body)
		if errcode != "" && len(raws) > 0 {
			t.Fatal("events of a refused transaction")
		}
		for _, e := range c.parseAll(raws, "") {
			if !validEventID(string(e.ID)) || !validRoomID(string(e.Room)) || !validUserID(string(e.Sender)) || !wanted(e.Type) || len(e.Content) > maxContent {
				t.Fatalf("%+v", e)
			}
			if depth(e.Content) > maxDepth || (object{"c": e.Content}).object("c") == nil {
				t.Fatalf("content %s", e.Content)
			}
		}
	})
}

func TestPrune(t *testing.T) {
	for _, c := range []struct {
		raw, want string
		depth     int
	}{
		{`1`, `1`, 0},
		{`{}`, `{}`, 1},
		{`[[],[[]],1]`, `[[],[null],1]`, 3},
		{`{"a":"[[[\"[\\","b":[1,{"c":[]}],"d":2}`, `{"a":"[[[\"[\\","b":[1,null],"d":2}`, 4},
		{`[[["]",{"x":["\\"]}]]]`, `[[null]]`, 5},
	} {
		if got := depth([]byte(c.raw)); got != c.depth {
			t.Errorf("depth of %s: %d, want %d", c.raw, got, c.depth)
		}
		if got := string(prune([]byte(c.raw), 2)); got != c.want {
			t.Errorf("%s became %s, want %s", c.raw, got, c.want)
		}
	}
}

func FuzzPrune(f *testing.F) {
	f.Add([]byte(`{"a":"[[[\"[","b":[1,{"c":[]}],"d":2}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return
		}
		got := prune(raw, 3)
		if !json.Valid(got) || depth(got) > 3 {
			t.Fatalf("%s became %s", raw, got)
		}
		if again := prune(got, 3); string(again) != string(got) {
			t.Fatalf("%s became %s", got, again)
		}
	})
}

func TestListenTakesThePort(t *testing.T) {
	h := newHomeserver(t)
	first := newClient(t, h, func(cfg *Config) { cfg.Listen = "127.0.0.1:0" })
	if err := first.Listen(); err != nil {
		t.Fatal(err)
	}
	second := newClient(t, h, func(cfg *Config) { cfg.Listen = first.Addr().String() })
	if err := second.Listen(); err == nil {
		t.Error("the same port twice")
	}
	stop := start(t, first)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+first.Addr().String()+"/_matrix/app/v1/transactions/1", strings.NewReader(`{"events":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer hs-secret")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("answered %d", res.StatusCode)
	}
	stop()
	if _, err := client.Do(req.Clone(t.Context())); err == nil { //nolint:bodyclose // there is no answer
		t.Error("the port is still open")
	}
}
