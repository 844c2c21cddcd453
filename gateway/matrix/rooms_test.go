package matrix

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"testing"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

func TestCreateRoom(t *testing.T) {
	for _, c := range []struct {
		name, version string
		users         string
		tombstone     float64
	}{
		{"version 11", "11", `{"@alice:example.org":100,"@gatepost:example.org":100}`, 100},
		{"version 12: the creator is not listed", "12", `{"@alice:example.org":100}`, 150},
		{"no version known", "", `{"@alice:example.org":100,"@gatepost:example.org":100}`, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHomeserver(t)
			h.on(onCaps, says(200, `{"capabilities":{"m.room_versions":{"default":"`+c.version+`","available":{}}}}`))
			var body map[string]any
			h.on(onCreate, func(w http.ResponseWriter, r *http.Request) {
				raw, _ := io.ReadAll(r.Body)
				body = decode(t, raw)
				if r.URL.Query().Get("user_id") != string(testBot) {
					t.Errorf("query %v", r.URL.Query())
				}
				says(200, `{"room_id":"!new:example.org"}`)(w, r)
			})
			got, err := probed(t, h, nil).CreateRoom(t.Context(), room.Create{
				Name: "Porch", Alias: "gatepost_porch", Token: "tok", Power: map[ids.UserID]int{"@alice:example.org": 100}, Invite: []ids.UserID{"@alice:example.org"},
			})
			if err != nil || got != "!new:example.org" {
				t.Fatal(got, err)
			}
			power := body["power_level_content_override"].(map[string]any)
			if users, _ := json.Marshal(power["users"]); string(users) != c.users {
				t.Errorf("users %s", users)
			}
			if got := power["events"].(map[string]any)["m.room.tombstone"]; got != c.tombstone {
				t.Errorf("tombstone %v", got)
			}
			want := map[string]any{"m.federate": false, "dev.gatepost.room": "tok"}
			if !reflect.DeepEqual(body["creation_content"], want) || body["preset"] != "private_chat" || body["room_alias_name"] != "gatepost_porch" || power["users_default"] != 0.0 || power["events_default"] != 0.0 {
				t.Errorf("body %v", body)
			}
			if v, _ := body["room_version"].(string); v != c.version {
				t.Errorf("room_version %q", v)
			}
		})
	}
}

func TestCreateRoomThatFails(t *testing.T) {
	h := newHomeserver(t)
	if _, err := newClient(t, h, nil).CreateRoom(t.Context(), room.Create{}); lane.OutcomeOf(err).Verdict != lane.Retry {
		t.Errorf("before the homeserver was asked: %v", err)
	}
	c := probed(t, h, func(cfg *Config) { cfg.Aliases = []string{"house"} })
	if _, err := c.CreateRoom(t.Context(), room.Create{Alias: "lobby"}); lane.OutcomeOf(err).Verdict != lane.Dead || h.count("POST /_matrix/client/v3/createRoom") != 0 {
		t.Errorf("an alias that is not ours: %v", err)
	}
	for _, r := range []struct {
		name string
		h    http.HandlerFunc
		want lane.Verdict
		code string
	}{
		{"alias taken", says(400, `{"errcode":"M_ROOM_IN_USE","error":"taken"}`), lane.Dead, "M_ROOM_IN_USE"},
		{"nothing", hangsUp, lane.Unknown, "network"},
		{"502", says(502, ``), lane.Unknown, "HTTP 502"},
		{"no room", says(200, `{"room_id":"porch"}`), lane.Unknown, "HTTP 200"},
		{"429", says(429, `{"errcode":"M_LIMIT_EXCEEDED"}`), lane.Retry, "M_LIMIT_EXCEEDED"},
	} {
		h.on(onCreate, r.h)
		_, err := c.CreateRoom(t.Context(), room.Create{Alias: "house"})
		if o := lane.OutcomeOf(err); o.Verdict != r.want || o.Code != r.code {
			t.Errorf("%s: %v", r.name, err)
		}
	}
}

func TestResolve(t *testing.T) {
	found := says(200, `{"room_id":"!r:example.org","servers":[]}`)
	state := `[{"type":"m.room.member","state_key":"@x:y","sender":"@x:y","content":{}},{"type":"m.room.create","state_key":"","sender":"@gatepost:example.org","content":{"creator":"@liar:example.org","dev.gatepost.room":"tok"}},null,7]`
	for _, c := range []struct {
		name             string
		directory, state http.HandlerFunc
		want             room.Found
		ok               bool
	}{
		{"ours", found, says(200, state[:len(state)-3]+`]`), room.Found{Room: "!r:example.org", Creator: testBot, Token: "tok"}, true},
		{"not for us to see", found, says(403, `{"errcode":"M_FORBIDDEN"}`), room.Found{Room: "!r:example.org"}, true},
		{"nobody's", says(404, `{"errcode":"M_NOT_FOUND"}`), nil, room.Found{}, false},
	} {
		h := newHomeserver(t)
		h.on(onDirectory, c.directory)
		if c.state != nil {
			h.on(onState, c.state)
		}
		got, ok, err := newClient(t, h, nil).Resolve(t.Context(), "#gatepost_porch:example.org")
		if err != nil || ok != c.ok || got != c.want {
			t.Errorf("%s: %+v %v %v", c.name, got, ok, err)
		}
	}
	h := newHomeserver(t)
	h.on(onDirectory, found)
	h.on(onState, says(500, ``))
	if _, ok, err := newClient(t, h, nil).Resolve(t.Context(), "#gatepost_porch:example.org"); ok || lane.OutcomeOf(err).Verdict != lane.Retry {
		t.Errorf("a homeserver in trouble: %v %v", ok, err)
	}
	if _, _, err := newClient(t, h, nil).Resolve(t.Context(), "gatepost_porch"); lane.OutcomeOf(err).Verdict != lane.Dead {
		t.Errorf("no alias: %v", err)
	}
}

func TestInvite(t *testing.T) {
	const invite = "POST /_matrix/client/v3/rooms/!room:example.org/invite"
	for _, c := range []struct {
		name           string
		member, invite http.HandlerFunc
		invites        int
		ok             bool
	}{
		{"nobody yet", says(404, `{"errcode":"M_NOT_FOUND"}`), says(200, `{}`), 1, true},
		{"left", says(200, `{"membership":"leave"}`), says(200, `{}`), 1, true},
		{"joined", says(200, `{"membership":"join"}`), says(200, `{}`), 0, true},
		{"invited", says(200, `{"membership":"invite"}`), says(200, `{}`), 0, true},
		{"banned", says(200, `{"membership":"ban"}`), says(403, `{"errcode":"M_FORBIDDEN"}`), 1, false},
		{"we are not there", says(403, `{"errcode":"M_FORBIDDEN"}`), nil, 0, false},
	} {
		h := newHomeserver(t)
		h.on(onMember, c.member)
		if c.invite != nil {
			h.on(onInvite, c.invite)
		}
		err := newClient(t, h, nil).Invite(t.Context(), testRoom, "@alice:example.org")
		if (err == nil) != c.ok || h.count(invite) != c.invites {
			t.Errorf("%s: %v after %d invitations", c.name, err, h.count(invite))
		}
	}
}

func TestPin(t *testing.T) {
	for _, c := range []struct{ had, event, old, want string }{ // want "": nothing is changed
		{`{"pinned":["$x"]}`, "$1", "", `["$x","$1"]`},
		{`{"pinned":["$x","$1"]}`, "$1", "", ""},
		{`{"pinned":["$x","$1"]}`, "$2", "$1", `["$x","$2"]`},
		{`{"pinned":["$x","$1","$2"]}`, "$2", "$1", `["$x","$2"]`},
		{`{"pinned":["$x","$1"]}`, "", "$1", `["$x"]`},
		{`{"pinned":["$x"]}`, "", "$1", ""},
		{`{}`, "$1", "", `["$1"]`},
		{`{}`, "", "$1", ""},
	} {
		h := newHomeserver(t)
		h.on("GET /_matrix/client/v3/rooms/{room}/state/m.room.pinned_events/{$}", says(200, c.had))
		got := ""
		h.on("PUT /_matrix/client/v3/rooms/{room}/state/m.room.pinned_events/{$}", func(w http.ResponseWriter, r *http.Request) {
			var body struct{ Pinned json.RawMessage }
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			got = string(body.Pinned)
			says(200, `{"event_id":"$e"}`)(w, r)
		})
		if err := newClient(t, h, nil).Pin(t.Context(), testRoom, ids.EventID(c.event), ids.EventID(c.old)); err != nil || got != c.want {
			t.Errorf("%+v: %v, put %s", c, err, got)
		}
	}
}

func TestRoomState(t *testing.T) {
	parse := func(raw string) room.State {
		var events []object
		if err := json.Unmarshal([]byte(raw), &events); err != nil {
			t.Fatal(err)
		}
		return roomState(events)
	}
	base := `{"type":"m.room.create","state_key":"","sender":"@gatepost:example.org","content":{"room_version":"10"}},
		{"type":"m.room.join_rules","state_key":"","content":{"join_rule":"invite"}},
		{"type":"m.room.member","state_key":"@a:b","content":{"membership":"join"}}`
	s := parse(`[` + base + `,{"type":"m.room.power_levels","state_key":"","content":{"users":{"@a:b":50,"@c:d":"25","@e:f":1.5,"@g:h":1e99,"@i:j":null,"@k:l":9999999999999999999},"users_default":5,"Users":{"@evil:x":100}}}]`)
	for user, want := range map[ids.UserID]int{"@a:b": 50, "@c:d": 25, "@e:f": 5, "@g:h": 5, "@i:j": 5, "@k:l": 5, "@evil:x": 5, "@gatepost:example.org": 5} {
		if got := s.Level(user); got != want {
			t.Errorf("level of %s: %d, want %d", user, got, want)
		}
	}
	if s.JoinRule != "invite" || s.Version != "10" || s.Encrypted || s.Members["@a:b"] != "join" {
		t.Errorf("%+v", s)
	}
	if s := parse(`[` + base + `]`); s.Level(testBot) != 100 || s.Level("@a:b") != 0 {
		t.Errorf("without levels: %+v", s)
	}
	s = parse(`[{"type":"m.room.create","state_key":"","sender":"@gatepost:example.org","content":{"room_version":"12","additional_creators":["@a:b"]}},
		{"type":"m.room.power_levels","state_key":"","content":{}},{"type":"m.room.encryption","state_key":"","content":{}},
		{"type":"m.room.join_rules","state_key":"x","content":{"join_rule":"invite"}},{"type":"m.room.join_rules","state_key":"","content":{"join_rule":7}}]`)
	if s.Level(testBot) <= 100 || s.Level("@a:b") <= 100 || s.Level("@c:d") != 0 || !s.Encrypted || s.JoinRule != "" {
		t.Errorf("version 12: %+v", s)
	}
}

func TestEnsureUser(t *testing.T) {
	h := newHomeserver(t)
	var registered map[string]any
	h.on(onRegister, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		registered = decode(t, raw)
		says(200, `{"user_id":"`+string(testGhost)+`"}`)(w, r)
	})
	name := ""
	h.on(onName, func(w http.ResponseWriter, r *http.Request) {
		if name == "" {
			says(404, `{"errcode":"M_NOT_FOUND"}`)(w, r)
			return
		}
		says(200, `{"displayname":"`+name+`"}`)(w, r)
	})
	sets := 0
	h.on(onSetName, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		name, _ = decode(t, raw)["displayname"].(string)
		sets++
		says(200, `{}`)(w, r)
	})
	c := newClient(t, h, nil)
	for range 2 {
		if err := c.EnsureUser(t.Context(), c.Ghost("porch"), "Porch"); err != nil {
			t.Fatal(err)
		}
	}
	if registered["inhibit_login"] != true || registered["username"] != "gatepost_porch" || registered["type"] != "m.login.application_service" {
		t.Errorf("registered %v", registered)
	}
	if name != "Porch" || sets != 1 {
		t.Errorf("name %q set %d times", name, sets)
	}
	for _, user := range []ids.UserID{"@alice:example.org", "@gatepost_porch:evil.org", "@gatepost_:example.org", "@gatepost_Porch:example.org", "@gatepost_a b:example.org", "porch"} {
		if err := c.EnsureUser(t.Context(), user, "x"); lane.OutcomeOf(err).Verdict != lane.Dead {
			t.Errorf("%s: %v", user, err)
		}
	}
	before := sets
	acc := newClient(t, h, func(cfg *Config) { cfg.Mode, cfg.Token = Account, "t" })
	if err := acc.EnsureUser(t.Context(), testGhost, "Another"); err != nil || sets != before {
		t.Errorf("account mode named somebody: %v", err)
	}
	if acc.Ghost("porch") != testBot {
		t.Error("account mode has no ghosts")
	}
}

func TestEvent(t *testing.T) {
	h := newHomeserver(t)
	c := newClient(t, h, nil)
	h.on(onEvent, says(200, message("$1", "@alice:example.org", "x")))
	if e, ok, err := c.Event(t.Context(), testRoom, "$1"); !ok || err != nil || e.Sender != "@alice:example.org" || e.Room != testRoom {
		t.Errorf("%+v %v %v", e, ok, err)
	}
	if _, ok, _ := c.Event(t.Context(), testRoom, "$2"); ok {
		t.Error("took another event for the one asked for")
	}
	h.on(onEvent, says(404, `{"errcode":"M_NOT_FOUND"}`))
	if _, ok, err := c.Event(t.Context(), testRoom, "$1"); ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
	if _, ok, err := c.Event(t.Context(), testRoom, "1"); ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
}
