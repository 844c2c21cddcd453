//go:build goolm

package matrix

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// cryptoServer adds to a homeserver what encryption needs: devices, one-time keys, messages to devices, and one room.
type cryptoServer struct {
	*homeserver
	mu        sync.Mutex
	keys      map[string]map[string]json.RawMessage // device keys, by user and device
	answering func()                                // called before what was read of keys is sent
	oneTime   map[string]map[string]json.RawMessage // by user/device
	last      map[string]map[string]json.RawMessage // fallback keys, likewise
	mail      map[string][]json.RawMessage          // to devices, by user/device
	members   []string
	plain     bool // the room is not encrypted
	sent      []object
	answer    func(w http.ResponseWriter, r *http.Request) bool // before a send is answered; true: it was answered
	devices   map[string]bool
	epoch     string // account data
	full      bool   // no account data can be written
}

func newCryptoServer(t testing.TB) *cryptoServer {
	k := &cryptoServer{
		homeserver: newHomeserver(t), keys: map[string]map[string]json.RawMessage{}, oneTime: map[string]map[string]json.RawMessage{},
		last: map[string]map[string]json.RawMessage{}, mail: map[string][]json.RawMessage{}, members: []string{string(testBot), "@alice:example.org"}, devices: map[string]bool{},
	}
	k.on(onDevice, func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		k.devices[r.PathValue("device")] = true
		k.mu.Unlock()
		says(201, `{}`)(w, r)
	})
	k.on("GET /_matrix/client/v3/devices/{device}", func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if !k.devices[r.PathValue("device")] {
			says(404, `{"errcode":"M_NOT_FOUND","error":"no such device"}`)(w, r)
			return
		}
		says(200, fmt.Sprintf(`{"device_id":%q}`, r.PathValue("device")))(w, r)
	})
	k.on("DELETE /_matrix/client/v3/devices/{device}", func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.devices, r.PathValue("device"))
		delete(k.keys[string(testBot)], r.PathValue("device"))
		says(200, `{}`)(w, r)
	})
	k.on("POST /_matrix/client/v3/keys/upload", k.upload)
	k.on("POST /_matrix/client/v3/keys/query", k.query)
	k.on("POST /_matrix/client/v3/keys/claim", k.claim)
	k.on("PUT /_matrix/client/v3/sendToDevice/{type}/{txn}", k.toDevice)
	const onAccountData = "/_matrix/client/v3/user/{user}/account_data/dev.gatepost.crypto"
	k.on("GET "+onAccountData, func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.epoch == "" {
			says(404, `{"errcode":"M_NOT_FOUND","error":"no such data"}`)(w, r)
			return
		}
		says(200, k.epoch)(w, r)
	})
	k.on("PUT "+onAccountData, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.full {
			says(500, `{}`)(w, r)
			return
		}
		k.epoch = string(raw)
		says(200, `{}`)(w, r)
	})
	k.on(onState, k.state)
	k.on("GET /_matrix/client/v3/rooms/{room}/state/m.room.encryption/{$}", func(w http.ResponseWriter, r *http.Request) {
		if k.plain {
			says(404, `{"errcode":"M_NOT_FOUND","error":"no such state"}`)(w, r)
			return
		}
		says(200, `{"algorithm":"m.megolm.v1.aes-sha2"}`)(w, r)
	})
	k.on(onMessages, func(w http.ResponseWriter, _ *http.Request) {
		k.mu.Lock()
		defer k.mu.Unlock()
		page := slices.Clone(k.sent)
		slices.Reverse(page)
		_ = json.NewEncoder(w).Encode(map[string]any{"chunk": page})
	})
	k.on(onUpload, says(200, `{"content_uri":"mxc://example.org/sealed"}`))
	k.on(onSend, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		k.mu.Lock()
		defer k.mu.Unlock()
		event := fmt.Sprintf("$%d", len(k.sent))
		o := object{"event_id": quoted(event), "content": raw, "type": quoted(r.PathValue("type")), "sender": quoted(r.URL.Query().Get("user_id"))}
		k.sent = append(k.sent, o)
		if k.answer != nil && k.answer(w, r) {
			return
		}
		says(200, fmt.Sprintf(`{"event_id":%q}`, event))(w, r)
	})
	return k
}

func quoted(s string) json.RawMessage { raw, _ := json.Marshal(s); return raw }

// caller is who asks, and as which device.
func (k *cryptoServer) caller(r *http.Request) (user, device string) {
	if t, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer person "); ok {
		user, device, _ = strings.Cut(t, " ")
		return user, device
	}
	q := r.URL.Query()
	return q.Get("user_id"), q.Get("org.matrix.msc3202.device_id")
}

func (k *cryptoServer) upload(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Device  json.RawMessage            `json:"device_keys"`
		OneTime map[string]json.RawMessage `json:"one_time_keys"`
		Last    map[string]json.RawMessage `json:"fallback_keys"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	user, device := k.caller(r)
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(in.Device) > 4 {
		if k.keys[user] == nil {
			k.keys[user] = map[string]json.RawMessage{}
		}
		k.keys[user][device] = in.Device
	}
	at := user + "/" + device
	if k.oneTime[at] == nil {
		k.oneTime[at] = map[string]json.RawMessage{}
	}
	maps.Copy(k.oneTime[at], in.OneTime)
	if len(in.Last) > 0 {
		k.last[at] = in.Last
	}
	says(200, fmt.Sprintf(`{"one_time_key_counts":{"signed_curve25519":%d}}`, len(k.oneTime[at])))(w, r)
}

func (k *cryptoServer) query(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Keys map[string]json.RawMessage `json:"device_keys"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	out := map[string]any{}
	k.mu.Lock()
	for u := range in.Keys {
		out[u] = maps.Clone(k.keys[u])
		if k.keys[u] == nil {
			out[u] = map[string]any{}
		}
	}
	answering := k.answering
	k.mu.Unlock()
	if answering != nil {
		answering()
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"device_keys": out})
}

func (k *cryptoServer) claim(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Keys map[string]map[string]string `json:"one_time_keys"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	out := map[string]map[string]map[string]json.RawMessage{}
	k.mu.Lock()
	defer k.mu.Unlock()
	for u, devices := range in.Keys {
		out[u] = map[string]map[string]json.RawMessage{}
		for d := range devices {
			for name, key := range k.oneTime[u+"/"+d] {
				out[u][d] = map[string]json.RawMessage{name: key}
				delete(k.oneTime[u+"/"+d], name)
				break
			}
			if out[u][d] == nil {
				out[u][d] = k.last[u+"/"+d]
			}
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"one_time_keys": out})
}

func (k *cryptoServer) toDevice(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Messages map[string]map[string]json.RawMessage `json:"messages"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	user, _ := k.caller(r)
	k.mu.Lock()
	defer k.mu.Unlock()
	for u, devices := range in.Messages {
		for d, content := range devices {
			raw, _ := json.Marshal(map[string]any{"type": r.PathValue("type"), "sender": user, "content": content})
			to := []string{d}
			if d == "*" {
				to = slices.Collect(maps.Keys(k.keys[u]))
			}
			for _, d := range to {
				k.mail[u+"/"+d] = append(k.mail[u+"/"+d], raw)
			}
		}
	}
	says(200, `{}`)(w, r)
}

func (k *cryptoServer) state(w http.ResponseWriter, _ *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []any
	add := func(typ, key string, content any) {
		out = append(out, map[string]any{"type": typ, "state_key": key, "content": content})
	}
	for _, m := range k.members {
		add("m.room.member", m, map[string]string{"membership": "join"})
	}
	if !k.plain {
		add("m.room.encryption", "", map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 10})
	}
	_ = json.NewEncoder(w).Encode(out)
}

// take is what waits for a device.
func (k *cryptoServer) take(user, device string) []json.RawMessage {
	k.mu.Lock()
	defer k.mu.Unlock()
	at := user + "/" + device
	out := k.mail[at]
	delete(k.mail, at)
	return out
}

func (k *cryptoServer) events() []object {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.sent)
}

// person is somebody with one device, on mautrix's own machine and memory.
type person struct {
	k    *cryptoServer
	mach *crypto.OlmMachine
}

func (k *cryptoServer) person(t testing.TB, user, device string) *person {
	t.Helper()
	cli := &mautrix.Client{
		HomeserverURL: &url.URL{Scheme: "http", Host: "homeserver"}, UserID: id.UserID(user), DeviceID: id.DeviceID(device), AccessToken: "person " + user + " " + device,
		Client: &http.Client{Transport: &http.Transport{DialContext: k.dial}},
	}
	t.Cleanup(cli.Client.CloseIdleConnections)
	book := &roomBook{rooms: map[ids.RoomID]*bookedRoom{testRoom: {Encrypted: true, Algorithm: string(id.AlgorithmMegolmV1)}}}
	mach := crypto.NewOlmMachine(cli, nil, crypto.NewMemoryStore(nil), stateStore{book})
	if err := errors.Join(mach.Load(t.Context()), mach.ShareKeys(t.Context(), 0)); err != nil {
		t.Fatal(err)
	}
	return &person{k, mach}
}

// read handles what came to the device and decrypts an event.
func (p *person) read(t testing.TB, e object) (*event.Event, error) {
	t.Helper()
	for _, raw := range p.k.take(string(p.mach.Client.UserID), string(p.mach.Client.DeviceID)) {
		var evt event.Event
		if err := json.Unmarshal(raw, &evt); err != nil {
			t.Fatal(err)
		}
		evt.Type.Class = event.ToDeviceEventType
		_ = evt.Content.ParseRaw(evt.Type)
		p.mach.HandleToDeviceEvent(t.Context(), &evt)
	}
	evt := &event.Event{
		ID: id.EventID(e.text("event_id")), RoomID: id.RoomID(testRoom), Sender: id.UserID(e.text("sender")), Type: event.EventEncrypted,
		Content: event.Content{VeryRaw: e["content"]},
	}
	if err := evt.Content.ParseRaw(evt.Type); err != nil {
		t.Fatal(err)
	}
	return p.mach.DecryptMegolmEvent(t.Context(), evt)
}

// says encrypts for those in the room and gives the event.
func (p *person) says(t testing.TB, eventID, kind string, content string, to ...id.UserID) room.Event {
	t.Helper()
	p.mach.CryptoStore.(*crypto.MemoryStore).Devices = map[id.UserID]map[id.DeviceID]*id.Device{}
	if err := p.mach.ShareGroupSession(t.Context(), id.RoomID(testRoom), to); err != nil {
		t.Fatal(err)
	}
	c, err := p.mach.EncryptMegolmEvent(t.Context(), id.RoomID(testRoom), event.Type{Type: kind, Class: event.MessageEventType}, json.RawMessage(content))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return room.Event{ID: ids.EventID(eventID), Room: testRoom, Type: kindEncrypted, Sender: ids.UserID(p.mach.Client.UserID), Sent: time.UnixMilli(1795000000000), Content: raw}
}

// bot is a client that encrypts, over table.
func (k *cryptoServer) bot(t testing.TB, table CryptoTable, kept secrets, edit func(*Config)) *Client {
	t.Helper()
	return probed(t, k.homeserver, func(cfg *Config) {
		cfg.Crypto = &CryptoConfig{Table: table, Key: testKey, Trust: TrustAll}
		cfg.Secrets = kept
		if edit != nil {
			edit(cfg)
		}
	})
}

// hear gives the bot what came to its device.
func (k *cryptoServer) hear(t testing.TB, c *Client, changed ...id.UserID) {
	t.Helper()
	var res syncResponse
	res.ToDevice.Events = k.take(string(testBot), string(c.engine.mach.Load().Client.DeviceID))
	res.DeviceLists.Changed = changed
	if err := c.engine.took(t.Context(), res); err != nil {
		t.Fatal(err)
	}
}

func saying(id, text string) lane.Record {
	return lane.Record{ID: id, Device: "porch", Topic: "secret/topic", Class: lane.Event, At: time.Now(), Post: lane.Post{Kind: lane.Text, Text: text}}
}

func TestEncryptedBothWays(t *testing.T) {
	k := newCryptoServer(t)
	alice := k.person(t, "@alice:example.org", "PHONE")
	came := 0
	c := k.bot(t, newMemTable(), secrets{}, func(cfg *Config) { cfg.Crypto.KeysCame = func() { came++ } })

	for i := range 3 {
		if o := c.Send(t.Context(), testRoom, testGhost, saying(fmt.Sprint("r", i), fmt.Sprint("hello ", i))); o.Verdict != lane.Done {
			t.Fatal(o)
		}
	}
	for i, e := range k.events() {
		if e.text("type") != kindEncrypted || e.text("sender") != string(testBot) {
			t.Errorf("sent %s by %s", e.text("type"), e.text("sender"))
		}
		if s := string(e["content"]); strings.Contains(s, "hello") || strings.Contains(s, "porch") || strings.Contains(s, "topic") || strings.Contains(s, "gatepost\"") {
			t.Errorf("readable: %s", s)
		}
		got, err := alice.read(t, e)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprint("hello ", i); got.Content.AsMessage().Body != want || got.Content.Raw["dev.gatepost"] == nil {
			t.Errorf("read %q, want %q", got.Content.AsMessage().Body, want)
		}
	}

	e := alice.says(t, "$q", "m.room.message", `{"msgtype":"m.text","body":"!unlock"}`, id.UserID(testBot))
	if _, err := c.Decrypt(t.Context(), e); !errors.Is(err, room.ErrNoKeys) {
		t.Errorf("without its key: %v", err)
	}
	k.hear(t, c)
	if came == 0 {
		t.Error("nobody was told that keys came")
	}
	got, err := c.Decrypt(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if got.Type != "m.room.message" || !got.Encrypted || got.Trust != room.Known || decode(t, got.Content)["body"] != "!unlock" {
		t.Errorf("read %+v %s", got, got.Content)
	}
	if _, err := c.Decrypt(t.Context(), e); err != nil {
		t.Errorf("the same event again: %v", err)
	}
	e.ID = "$replayed"
	if _, err := c.Decrypt(t.Context(), e); !errors.Is(err, room.ErrUnreadable) {
		t.Errorf("a replayed message: %v", err)
	}
	e.ID, e.Room = "$q", "!other:example.org"
	if _, err := c.Decrypt(t.Context(), e); err == nil {
		t.Error("a message moved to another room was read")
	}
	own, err := c.Decrypt(t.Context(), room.Event{ID: "$0", Room: testRoom, Type: kindEncrypted, Sender: testBot, Content: k.events()[0]["content"]})
	if err != nil || deviceIn(own.Content) != "porch" || own.ContentID != "r0" {
		t.Errorf("our own message: %+v %v", own, err)
	}
}

func deviceIn(content json.RawMessage) string {
	return object{"c": content}.object("c").object("dev.gatepost").text("device")
}

// Who claims that a message is another's is found out.
func TestAnothersMessageIsUntrusted(t *testing.T) {
	k := newCryptoServer(t)
	k.members = append(k.members, "@mallory:example.org")
	mallory := k.person(t, "@mallory:example.org", "EVIL")
	k.person(t, "@alice:example.org", "PHONE")
	c := k.bot(t, newMemTable(), secrets{}, nil)
	e := mallory.says(t, "$m", "m.room.message", `{"msgtype":"m.text","body":"!unlock"}`, id.UserID(testBot))
	k.hear(t, c)
	e.Sender = "@alice:example.org" // as the homeserver may say
	if got, err := c.Decrypt(t.Context(), e); err == nil && got.Trust != room.Untrusted {
		t.Errorf("trusted as %v", got.Trust)
	}
}

// A retry sends the same bytes, also after a crash; a send whose answer was lost is found; and no index of a session is used for two texts.
func TestRetriesSendTheSameCiphertext(t *testing.T) {
	k := newCryptoServer(t)
	alice := k.person(t, "@alice:example.org", "PHONE")
	table, kept := newMemTable(), secrets{}
	c := k.bot(t, table, kept, nil)
	k.answer = func(w http.ResponseWriter, r *http.Request) bool {
		says(429, `{"errcode":"M_LIMIT_EXCEEDED","error":"wait"}`)(w, r)
		return true
	}
	r := saying("r1", "once")
	if o := c.Send(t.Context(), testRoom, "", r); o.Verdict != lane.Retry {
		t.Fatal(o)
	}
	if o := c.Send(t.Context(), testRoom, "", saying("r2", "another, in between")); o.Verdict != lane.Retry {
		t.Fatal(o)
	}
	c = k.bot(t, table.clone(), kept, nil) // a crash
	if e, ok, err := c.Find(t.Context(), testRoom, "", r); err != nil || !ok || e != "$0" {
		t.Errorf("found %q %v %v", e, ok, err)
	}
	k.answer = nil
	if o := c.Send(t.Context(), testRoom, "", r); o.Verdict != lane.Done {
		t.Fatal(o)
	}
	sent := k.events()
	if string(sent[0]["content"]) != string(sent[2]["content"]) {
		t.Error("the retry was encrypted anew")
	}
	events := c.parseAll([]json.RawMessage{mustJSON(t, map[string]any{
		"type": kindEncrypted, "event_id": "$echo", "room_id": testRoom, "sender": testBot, "content": sent[1]["content"],
	})}, "")
	if len(events) != 1 || events[0].ContentID != "r2" || string(events[0].Content) != "{}" {
		t.Errorf("our echo: %+v", events)
	}
	r.Post.Text = "something else by now"
	if o := c.Send(t.Context(), testRoom, "", r); o.Verdict != lane.Done {
		t.Fatal(o)
	}
	oneTextPerIndex(t, alice, k.events())
	if got, err := alice.read(t, k.events()[3]); err != nil || got.Content.AsMessage().Body != "something else by now" {
		t.Errorf("%v %v", got, err)
	}
}

func mustJSON(t testing.TB, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// oneTextPerIndex checks that no state of a ratchet was used for two ciphertexts, and that all can be read.
func oneTextPerIndex(t testing.TB, reader *person, sent []object) {
	t.Helper()
	used := map[string]string{}
	for _, e := range sent {
		content := e.object("content")
		c := content.text("ciphertext")
		i, err := crypto.ParseMegolmMessageIndex([]byte(c))
		if err != nil {
			t.Fatal(err)
		}
		at := fmt.Sprint(content.text("session_id"), " ", i)
		if other, ok := used[at]; ok && other != c {
			t.Errorf("index %d was used for two texts", i)
		}
		used[at] = c
		if reader != nil {
			if _, err := reader.read(t, e); err != nil && !errors.Is(err, crypto.ErrDuplicateMessageIndex) {
				t.Errorf("%s can't be read: %v", e.text("event_id"), err)
			}
		}
	}
}

// A process that dies anywhere, with a disk that fails now and then, uses no index twice.
func TestKilledWhileSending(t *testing.T) {
	k := newCryptoServer(t)
	alice := k.person(t, "@alice:example.org", "PHONE")
	table, kept := newMemTable(), secrets{}
	c := k.bot(t, table, kept, nil)
	for i := range 60 {
		r := saying(fmt.Sprint("r", i), fmt.Sprint("text ", i))
		disk := table.clone()
		switch i % 5 {
		case 1: // the commit fails, then it works
			table.fail = true
			if o := c.Send(t.Context(), testRoom, "", r); o.Verdict == lane.Done {
				t.Fatal("sent without a commit")
			}
			table.fail = false
		case 2: // dies before the commit
			table.fail = true
			_ = c.Send(t.Context(), testRoom, "", r)
			table = disk
			c = k.bot(t, table, kept, nil)
		case 3: // dies after the send
			_ = c.Send(t.Context(), testRoom, "", r)
			table = table.clone()
			c = k.bot(t, table, kept, nil)
		}
		if o := c.Send(t.Context(), testRoom, "", r); o.Verdict != lane.Done {
			t.Fatal(i, o)
		}
	}
	oneTextPerIndex(t, alice, k.events())
	sessions := map[string]int{}
	for _, e := range k.events() {
		sessions[e.object("content").text("session_id")]++
	}
	for _, n := range sessions {
		if n > 10+3 { // rotation_period_msgs, and the retries of what was encrypted
			t.Errorf("a session was used %d times", n)
		}
	}
	left := 0
	for key := range table.rows {
		if key.bucket == bucketSent {
			left++
		}
	}
	if left > 15 {
		t.Errorf("%d ciphertexts are kept", left)
	}
}

// The last step refuses what would be readable, whatever asks for it; a room never goes back.
func TestNothingReadableIntoEncryptedRooms(t *testing.T) {
	k := newCryptoServer(t)
	k.person(t, "@alice:example.org", "PHONE")
	table, kept := newMemTable(), secrets{}
	c := k.bot(t, table, kept, nil)
	reaction := lane.Record{ID: "re", Post: lane.Post{Kind: lane.Reaction, Text: "✅", RelatesTo: "$1"}}
	if o := c.Send(t.Context(), testRoom, testGhost, reaction); o.Verdict != lane.Dead {
		t.Errorf("a reaction: %v", o)
	}
	off := probed(t, k.homeserver, nil)
	if o := off.Send(t.Context(), testRoom, testGhost, saying("r", "text")); o.Verdict != lane.Dead || o.Code != codeEncrypted {
		t.Errorf("without encryption: %v", o)
	}
	k.plain = true // the homeserver takes it back
	c = k.bot(t, table.clone(), kept, nil)
	if is, err := c.Encrypted(t.Context(), testRoom, testGhost); err != nil || !is {
		t.Errorf("after a restart: %v %v", is, err)
	}
	other := ids.RoomID("!plain:example.org")
	if o := c.Send(t.Context(), other, testGhost, saying("p1", "plain")); o.Verdict != lane.Done {
		t.Fatal(o)
	}
	key := ""
	on := room.Event{ID: "$e", Room: other, Type: kindEncryption, StateKey: &key, Content: json.RawMessage(`{"algorithm":"m.megolm.v1.aes-sha2"}`)}
	if err := c.book.apply([]room.Event{on}); err != nil {
		t.Fatal(err)
	}
	k.plain = false
	if o := c.Send(t.Context(), other, testGhost, saying("p2", "secret")); o.Verdict != lane.Done {
		t.Fatal(o)
	}
	sent := k.events()
	if got := sent[0].text("type") + " " + sent[1].text("type"); got != "m.room.message m.room.encrypted" {
		t.Errorf("sent %s", got)
	}
}

// Large texts are cut so that they fit after encryption; media goes up encrypted.
func TestEncryptedSizes(t *testing.T) {
	k := newCryptoServer(t)
	alice := k.person(t, "@alice:example.org", "PHONE")
	c := k.bot(t, newMemTable(), secrets{}, nil)
	var uploaded []byte
	k.on(onUpload, func(w http.ResponseWriter, r *http.Request) {
		uploaded, _ = io.ReadAll(r.Body)
		if r.URL.Query().Get("filename") != "file" || r.Header.Get("Content-Type") != "application/octet-stream" {
			t.Error("the upload says what it is")
		}
		says(200, `{"content_uri":"mxc://example.org/sealed"}`)(w, r)
	})
	posts := []lane.Post{
		{Kind: lane.Text, Text: strings.Repeat("long ", 20000)},
		{Kind: lane.Text, Text: strings.Repeat("<&>", 20000), HTML: strings.Repeat("&lt;", 10000)},
		{Kind: lane.Media, Text: "a picture", Name: "porch.jpg", MIME: "image/jpeg", Data: []byte("picture canary")},
		{Kind: lane.Text, Text: "edited", Replaces: "$0"},
	}
	for i, p := range posts {
		r := saying(fmt.Sprint("r", i), "")
		r.Post = p
		if o := c.Send(t.Context(), testRoom, "", r); o.Verdict != lane.Done {
			t.Fatal(i, o)
		}
	}
	for i, e := range k.events() {
		if n := len(e["content"]); n > 62<<10 {
			t.Errorf("post %d has %d bytes", i, n)
		}
		got, err := alice.read(t, e)
		if err != nil {
			t.Fatal(err)
		}
		m := got.Content.AsMessage()
		switch i {
		case 0, 1:
			if !strings.HasSuffix(m.Body, cutNote) {
				t.Errorf("post %d is not cut", i)
			}
		case 2:
			if m.File == nil || m.URL != "" || m.GetFileName() != "porch.jpg" {
				t.Fatalf("media: %+v", m)
			}
			if strings.Contains(string(uploaded), "canary") {
				t.Error("the media is readable")
			}
			data := slices.Clone(uploaded)
			if err := m.File.DecryptInPlace(data); err != nil || string(data) != "picture canary" {
				t.Errorf("media: %q", data)
			}
		case 3:
			if m.NewContent == nil || m.NewContent.Body != "edited" || m.RelatesTo.GetReplaceID() != "$0" {
				t.Errorf("edit: %+v", m)
			}
		}
	}
}

// Lost keys are never brought back: a new device takes the place of the old one, which is logged out, and people are told.
func TestLostKeys(t *testing.T) {
	for name, lose := range map[string]func(*memTable) *memTable{
		"file":    func(*memTable) *memTable { return newMemTable() },
		"account": func(m *memTable) *memTable { return without(m, bucketSelf) },
	} {
		t.Run(name, func(t *testing.T) {
			k := newCryptoServer(t)
			alice := k.person(t, "@alice:example.org", "PHONE")
			table, kept := newMemTable(), secrets{}
			told := 0
			edit := func(cfg *Config) { cfg.Crypto.Replaced = func() { told++ } }
			c := k.bot(t, table, kept, edit)
			first := c.engine.mach.Load().Client.DeviceID
			if o := c.Send(t.Context(), testRoom, "", saying("r1", "before")); o.Verdict != lane.Done {
				t.Fatal(o)
			}
			if told != 0 {
				t.Error("told for nothing")
			}
			c = k.bot(t, lose(table.clone()), kept, edit)
			second := c.engine.mach.Load().Client.DeviceID
			if first == second || told != 1 || k.devices[string(first)] || !k.devices[string(second)] {
				t.Errorf("device %s after %s, told %d times, devices %v", second, first, told, k.devices)
			}
			if o := c.Send(t.Context(), testRoom, "", saying("r2", "after")); o.Verdict != lane.Done {
				t.Fatal(o)
			}
			oneTextPerIndex(t, alice, k.events())
			if sent := k.events(); sent[0].object("content").text("session_id") == sent[1].object("content").text("session_id") {
				t.Error("the old session goes on")
			}
		})
	}
}

// A copy of the file that is older than its last start, stop or hour is given up; one that a crash left behind is not.
func TestAnOldCopyOfTheKeys(t *testing.T) {
	k := newCryptoServer(t)
	alice := k.person(t, "@alice:example.org", "PHONE")
	kept, told := secrets{}, 0
	edit := func(cfg *Config) { cfg.Crypto.Replaced = func() { told++ } }
	var c *Client
	records := 0
	start := func(m *memTable) (string, *memTable) {
		t.Helper()
		c = k.bot(t, m, kept, edit)
		records++
		if o := c.Send(t.Context(), testRoom, "", saying(fmt.Sprint("r", records), fmt.Sprint("text ", records))); o.Verdict != lane.Done {
			t.Fatal(o)
		}
		return string(c.engine.mach.Load().Client.DeviceID), m
	}
	first, table := start(newMemTable())

	k.full = true // a death between file and homeserver
	old := c.engine
	if current, err := old.renew(t.Context(), id.DeviceID(first)); err == nil || current {
		t.Fatal("renewed without the homeserver")
	}
	k.full = false
	again, table := start(table.clone())
	if again != first || told != 0 {
		t.Fatalf("after a crash the device is %s and not %s", again, first)
	}
	brought := table.clone()
	if err := c.engine.stop(); err != nil {
		t.Fatal(err)
	}
	if again, table = start(table.clone()); again != first {
		t.Fatalf("after a stop the device is %s and not %s", again, first)
	}
	second, _ := start(brought)
	if second == first || told != 1 || k.devices[first] {
		t.Errorf("an old copy: device %s after %s, told %d times, devices %v", second, first, told, k.devices)
	}
	if third, _ := start(table.clone()); third == first || told != 2 { // the device that was logged out
		t.Errorf("the file that was set aside: device %s, told %d times", third, told)
	}
	oneTextPerIndex(t, alice, k.events())
}

// Who finds that another goes on with a copy of its keys encrypts nothing more, and says why; the next start has a new device.
func TestKeysInUseElsewhere(t *testing.T) {
	k := newCryptoServer(t)
	alice := k.person(t, "@alice:example.org", "PHONE")
	table, kept := newMemTable(), secrets{}
	one := k.bot(t, table, kept, nil)
	shared := one.engine.mach.Load().Client.DeviceID
	if o := one.Send(t.Context(), testRoom, "", saying("r1", "first")); o.Verdict != lane.Done {
		t.Fatal(o)
	}
	mine := table.clone()
	two := k.bot(t, table.clone(), kept, nil)
	if o := two.Send(t.Context(), testRoom, "", saying("r2", "the copy's")); o.Verdict != lane.Done {
		t.Fatal(o)
	}
	one.engine.renewNow(t.Context())
	if err := one.Ready(); !errors.Is(err, ErrCopied) {
		t.Errorf("ready: %v", err)
	}
	if o := one.Send(t.Context(), testRoom, "", saying("r3", "with the same state")); o.Verdict != lane.Retry || !strings.Contains(o.Reason, "copy") {
		t.Errorf("sent: %v", o)
	}
	two.engine.renewNow(t.Context())
	if err := two.Ready(); errors.Is(err, ErrCopied) {
		t.Error("the one that is current is not ready")
	}
	one = k.bot(t, mine, kept, nil)
	if d := one.engine.mach.Load().Client.DeviceID; d == shared {
		t.Error("the device stays")
	}
	if o := one.Send(t.Context(), testRoom, "", saying("r3", "with the same state")); o.Verdict != lane.Done {
		t.Fatal(o)
	}
	oneTextPerIndex(t, alice, k.events())
}

func without(m *memTable, bucket string) *memTable {
	for key := range m.rows {
		if key.bucket == bucket && key.key != rowCheck {
			delete(m.rows, key)
		}
	}
	return m
}
