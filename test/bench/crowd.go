package main

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// crowd is as much of a homeserver as gatepost needs to speak in encrypted rooms, in memory: it keeps nothing, answers at once
// and lets everybody who is invited in. Its people have devices that can be encrypted for and that read nothing, so what is
// measured beside it is gatepost alone.
type crowd struct {
	url   string
	serve *http.Server

	mu      sync.Mutex
	rooms   map[string]*crowdRoom
	aliases map[string]string
	people  map[string][]string        // devices by user
	keys    map[string]json.RawMessage // of a device, by user and device
	data    json.RawMessage            // account data of the bot
	sent    map[string]int             // events by room and type
	coming  []string                   // come into rooms that are made
	mail    int                        // messages to devices
}

type crowdRoom struct {
	name      string
	creation  map[string]any
	power     any
	encrypted bool
	members   map[string]bool
}

// newCrowd begins to listen. Tokens are not looked at: whoever comes is the bot or the ghost that it says it is.
func newCrowd() (*crowd, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &crowd{
		url: "http://" + ln.Addr().String(), rooms: map[string]*crowdRoom{}, aliases: map[string]string{}, people: map[string][]string{},
		keys: map[string]json.RawMessage{}, sent: map[string]int{},
	}
	c.serve = &http.Server{Handler: c.routes(), ReadHeaderTimeout: time.Minute}
	go func() { _ = c.serve.Serve(ln) }() // ends with close
	return c, nil
}

func (c *crowd) close() { _ = c.serve.Close() }

// person gives a user so many devices.
func (c *crowd) person(user string, devices int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range devices {
		device := fmt.Sprintf("DEVICE%d", i)
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		identity, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		keys, err := signed(map[string]any{
			"user_id": user, "device_id": device, "algorithms": []string{"m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"},
			"keys": map[string]string{"ed25519:" + device: unpadded(public), "curve25519:" + device: unpadded(identity.PublicKey().Bytes())},
		}, user, device, private)
		if err != nil {
			return err
		}
		oneTime, err := signed(map[string]any{"key": unpadded(identity.PublicKey().Bytes())}, user, device, private)
		if err != nil {
			return err
		}
		c.people[user] = append(c.people[user], device)
		c.keys[user+" "+device], c.keys[user+" "+device+" once"] = keys, oneTime
	}
	return nil
}

func unpadded(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// signed is o with a device's signature (Matrix specification, "Signing JSON"). What json.Marshal makes of a map of plain words is
// canonical.
func signed(o map[string]any, user, device string, key ed25519.PrivateKey) (json.RawMessage, error) {
	raw, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	o["signatures"] = map[string]any{user: map[string]string{"ed25519:" + device: unpadded(ed25519.Sign(key, raw))}}
	return json.Marshal(o)
}

// expect lets users into rooms as soon as gatepost makes them.
func (c *crowd) expect(users []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.coming, c.mail = users, 0
}

// mailed is to how many devices something was sent since expect.
func (c *crowd) mailed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mail
}

// count is how many events of a type are in a room; "" any room.
func (c *crowd) count(room, kind string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, times := range c.sent {
		if in, of, _ := strings.Cut(key, " "); of == kind && (room == "" || in == room) {
			n += times
		}
	}
	return n
}

// all is how many messages came.
func (c *crowd) all() int { return c.count("", "m.room.encrypted") + c.count("", "m.room.message") }

func (c *crowd) routes() http.Handler {
	mux := http.NewServeMux()
	at := func(pattern string, f func(r *http.Request, body map[string]any) any) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" /_matrix/client"+path, func(w http.ResponseWriter, r *http.Request) {
			var body map[string]any
			_ = json.NewDecoder(r.Body).Decode(&body) // none is nil
			c.mu.Lock()
			out := f(r, body)
			c.mu.Unlock()
			w.Header().Set("Content-Type", "application/json")
			if out == nil {
				w.WriteHeader(http.StatusNotFound)
				out = map[string]string{"errcode": "M_NOT_FOUND", "error": "there is none"}
			}
			_ = json.NewEncoder(w).Encode(out)
		})
	}
	type object = map[string]any
	always := func(o any) func(*http.Request, map[string]any) any {
		return func(*http.Request, map[string]any) any { return o }
	}
	at("GET /versions", always(object{"versions": []string{"v1.11"}}))
	at("GET /v3/capabilities", always(object{"capabilities": object{"m.room_versions": object{"default": "10", "available": object{"10": "stable"}}}}))
	at("GET /v1/media/config", always(object{"m.upload.size": 1 << 20}))
	at("POST /v3/register", always(object{}))
	at("POST /v1/appservice/{id}/ping", always(object{"duration_ms": 1}))
	at("PUT /v3/devices/{device}", always(object{}))
	at("GET /v3/devices/{device}", func(r *http.Request, _ map[string]any) any { return object{"device_id": r.PathValue("device")} })
	at("GET /v3/account/whoami", func(r *http.Request, _ map[string]any) any {
		q := r.URL.Query()
		user := q.Get("user_id")
		if user == "" {
			user = "@gatepost:localhost"
		}
		return object{"user_id": user, "device_id": q.Get("device_id")}
	})
	at("GET /v3/profile/{user}/displayname", always(nil))
	at("PUT /v3/profile/{user}/displayname", always(object{}))
	at("GET /v3/user/{user}/account_data/{type}", func(*http.Request, map[string]any) any {
		if c.data == nil {
			return nil
		}
		return c.data
	})
	at("PUT /v3/user/{user}/account_data/{type}", func(_ *http.Request, body map[string]any) any {
		c.data, _ = json.Marshal(body)
		return object{}
	})
	c.routesOfRooms(at)
	c.routesOfKeys(at)
	mux.HandleFunc("GET /_matrix/client/v3/sync", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(25 * time.Second):
			_ = json.NewEncoder(w).Encode(object{"next_batch": "s", "device_one_time_keys_count": object{"signed_curve25519": 50}})
		}
	})
	return mux
}

func (c *crowd) routesOfKeys(at func(string, func(*http.Request, map[string]any) any)) {
	type object = map[string]any
	nothing := func(*http.Request, map[string]any) any { return object{} }
	at("POST /v3/keys/upload", func(*http.Request, map[string]any) any {
		return object{"one_time_key_counts": object{"signed_curve25519": 50}}
	})
	at("POST /v3/keys/device_signing/upload", nothing)
	at("POST /v3/keys/signatures/upload", nothing)
	at("PUT /v3/sendToDevice/{type}/{txn}", func(_ *http.Request, body map[string]any) any {
		users, _ := body["messages"].(map[string]any)
		for _, devices := range users {
			list, _ := devices.(map[string]any)
			c.mail += len(list)
		}
		return object{}
	})
	at("POST /v3/keys/query", func(_ *http.Request, body map[string]any) any {
		users, _ := body["device_keys"].(map[string]any)
		out := object{}
		for user := range users {
			devices := object{}
			for _, d := range c.people[user] {
				devices[d] = c.keys[user+" "+d]
			}
			out[user] = devices
		}
		return object{"device_keys": out}
	})
	at("POST /v3/keys/claim", func(_ *http.Request, body map[string]any) any {
		users, _ := body["one_time_keys"].(map[string]any)
		out := object{}
		for user, list := range users {
			devices, _ := list.(map[string]any)
			given := object{}
			for d := range devices {
				given[d] = object{"signed_curve25519:AAAA": c.keys[user+" "+d+" once"]}
			}
			out[user] = given
		}
		return object{"one_time_keys": out}
	})
}

func (c *crowd) routesOfRooms(at func(string, func(*http.Request, map[string]any) any)) {
	type object = map[string]any
	of := func(r *http.Request) *crowdRoom { return c.rooms[r.PathValue("room")] }
	at("POST /v3/createRoom", func(_ *http.Request, body map[string]any) any {
		id := fmt.Sprintf("!%d:localhost", len(c.rooms)+1)
		room := &crowdRoom{members: map[string]bool{"@gatepost:localhost": true}, power: body["power_level_content_override"]}
		room.name, _ = body["name"].(string)
		room.creation, _ = body["creation_content"].(map[string]any)
		invited, _ := body["invite"].([]any)
		for _, u := range invited {
			room.members[fmt.Sprint(u)] = true
		}
		for _, u := range c.coming {
			room.members[u] = true
		}
		initial, _ := body["initial_state"].([]any)
		for _, e := range initial {
			if state, _ := e.(map[string]any); state["type"] == "m.room.encryption" {
				room.encrypted = true
			}
		}
		c.rooms[id] = room
		if alias, _ := body["room_alias_name"].(string); alias != "" {
			c.aliases["#"+alias+":localhost"] = id
		}
		return object{"room_id": id}
	})
	at("GET /v3/directory/room/{alias}", func(r *http.Request, _ map[string]any) any {
		if id := c.aliases[r.PathValue("alias")]; id != "" {
			return object{"room_id": id}
		}
		return nil
	})
	at("POST /v3/rooms/{room}/invite", func(r *http.Request, body map[string]any) any {
		of(r).members[fmt.Sprint(body["user_id"])] = true
		return object{}
	})
	at("POST /v3/rooms/{room}/join", func(r *http.Request, _ map[string]any) any {
		of(r).members[r.URL.Query().Get("user_id")] = true
		return object{}
	})
	at("GET /v3/rooms/{room}/state/m.room.encryption/{$}", func(r *http.Request, _ map[string]any) any {
		if !of(r).encrypted {
			return nil
		}
		return object{"algorithm": "m.megolm.v1.aes-sha2"}
	})
	at("GET /v3/rooms/{room}/state/m.room.member/{user}", func(r *http.Request, _ map[string]any) any {
		if !of(r).members[r.PathValue("user")] {
			return nil
		}
		return object{"membership": "join"}
	})
	at("PUT /v3/rooms/{room}/state/{type}/{key...}", func(*http.Request, map[string]any) any { return object{"event_id": "$state"} })
	at("GET /v3/rooms/{room}/state", func(r *http.Request, _ map[string]any) any {
		room := of(r)
		list := []any{
			object{"type": "m.room.create", "state_key": "", "sender": "@gatepost:localhost", "content": room.creation},
			object{"type": "m.room.power_levels", "state_key": "", "sender": "@gatepost:localhost", "content": room.power},
		}
		if room.encrypted {
			list = append(list, object{"type": "m.room.encryption", "state_key": "", "sender": "@gatepost:localhost", "content": object{"algorithm": "m.megolm.v1.aes-sha2"}})
		}
		for u := range room.members {
			list = append(list, object{"type": "m.room.member", "state_key": u, "sender": u, "content": object{"membership": "join"}})
		}
		return list
	})
	at("PUT /v3/rooms/{room}/send/{type}/{txn}", func(r *http.Request, _ map[string]any) any {
		c.sent[r.PathValue("room")+" "+r.PathValue("type")]++
		return object{"event_id": "$" + r.PathValue("txn")}
	})
}
