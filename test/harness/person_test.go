package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// fakeHome answers what a person asks, from a script: log-in, three syncs, and a room's history.
type fakeHome struct {
	*httptest.Server
	syncs atomic.Int32
	joins atomic.Int32
	busy  atomic.Bool // has said 429 once
}

func newFakeHome(t *testing.T) *fakeHome {
	f := &fakeHome{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /_matrix/client/v3/login", func(w http.ResponseWriter, _ *http.Request) {
		if !f.busy.Swap(true) {
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1}`)
			return
		}
		fmt.Fprint(w, `{"user_id":"@alice:x","access_token":"secret"}`)
	})
	mux.HandleFunc("POST /_matrix/client/v3/join/{room}", func(w http.ResponseWriter, _ *http.Request) {
		f.joins.Add(1)
		fmt.Fprint(w, `{}`)
	})
	mux.HandleFunc("GET /_matrix/client/v3/rooms/{room}/messages", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("from") != "before-5" {
			fmt.Fprint(w, `{"chunk":[]}`)
			return
		}
		fmt.Fprintf(w, `{"chunk":[%s,%s,%s],"end":"before-2"}`, text(4), text(3), text(2))
	})
	mux.HandleFunc("GET /_matrix/client/v3/sync", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		member := `{"type":"m.room.member","state_key":"@dev:x","event_id":"$m","sender":"@dev:x","content":{"membership":"join","displayname":"Door"}}`
		switch f.syncs.Add(1) {
		case 1:
			fmt.Fprint(w, `{"next_batch":"1","rooms":{"invite":{"!r:x":{"invite_state":{"events":[]}}}}}`)
		case 2:
			fmt.Fprintf(w, `{"next_batch":"2","rooms":{"join":{"!r:x":{"state":{"events":[%s,
				{"type":"m.room.name","state_key":"","event_id":"$n","sender":"@dev:x","content":{"name":"Front door"}}]},
				"timeline":{"events":[%s,%s]}}}}}`, member, text(1), text(2))
		case 3:
			fmt.Fprintf(w, `{"next_batch":"3","rooms":{"join":{"!r:x":{"timeline":{"limited":true,"prev_batch":"before-5","events":[%s,
				{"type":"m.reaction","event_id":"$6","sender":"@dev:x","content":{"m.relates_to":{"rel_type":"m.annotation","event_id":"$5","key":"ok"}}}]}}}}}`, text(5))
		default:
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Millisecond):
			}
			fmt.Fprint(w, `{"next_batch":"3"}`)
		}
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

func text(n int) string {
	return fmt.Sprintf(`{"type":"m.room.message","event_id":"$%d","sender":"@dev:x","origin_server_ts":%d,"content":{"msgtype":"m.text","body":"%d","weird":{"a":[1]}}}`, n, n, n)
}

func (f *fakeHome) Kind() string                                   { return "fake" }
func (f *fakeHome) URL() string                                    { return f.Server.URL }
func (f *fakeHome) ServerName() string                             { return "x" }
func (f *fakeHome) Start(context.Context) error                    { return nil }
func (f *fakeHome) Stop() error                                    { return nil }
func (f *fakeHome) Kill()                                          {}
func (f *fakeHome) Register(context.Context, string, string) error { return nil }
func (f *fakeHome) Log() *Log                                      { return nil }

// A sync that leaves events out is completed, so that a test never takes a gap of its own reading for a loss.
func TestAPersonSeesEverythingOnceInOrder(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	home := newFakeHome(t)
	alice, err := Login(ctx, home, "alice", "pw")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	alice.OnEvent = func(r *Room, e Event) { told = append(told, r.DisplayName(e.Sender)+" "+e.ID) }
	done := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	go func() { done <- alice.Run(running) }()
	err = alice.Await(ctx, "the reaction", func(rooms map[string]*Room) bool {
		r := rooms["!r:x"]
		return r != nil && len(r.Reactions("$5")) == 1
	})
	if err != nil {
		t.Fatal(err)
	}
	alice.View(func(rooms map[string]*Room) {
		r := rooms["!r:x"]
		var got []string
		for _, e := range r.Messages() {
			got = append(got, e.Content.Body)
		}
		if strings.Join(got, " ") != "1 2 3 4 5" || r.Name != "Front door" || !r.Joined {
			t.Errorf("%s in %q, joined %v", got, r.Name, r.Joined)
		}
		if want := "Door $1,Door $2,Door $3,Door $4,Door $5,Door $6"; strings.Join(told, ",") != want {
			t.Errorf("told of %s, want %s", told, want)
		}
	})
	if n := home.joins.Load(); n != 1 {
		t.Errorf("joined %d times", n)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := alice.Await(ctx, "more", func(map[string]*Room) bool { return false }); err == nil {
		t.Error("waits for a person who has gone")
	}
}

func TestState(t *testing.T) {
	r := newRoom("!r:x")
	for _, s := range []string{
		`{"type":"m.room.create","state_key":"","sender":"@bot:x","content":{"type":"m.space"}}`,
		`{"type":"m.space.child","state_key":"!a:x","content":{"via":["x"]}}`,
		`{"type":"m.space.child","state_key":"!b:x","content":{"via":["x"]}}`,
		`{"type":"m.space.child","state_key":"!a:x","content":{}}`,
		`{"type":"m.room.canonical_alias","state_key":"","content":{"alias":"#s:x"}}`,
		`{"type":"m.room.member","state_key":"@a:x","content":{"membership":"join","displayname":"A"}}`,
		`{"type":"m.room.member","state_key":"@b:x","content":{"membership":"invite"}}`,
		`{"type":"m.room.member","state_key":"@a:x","content":{"membership":"leave"}}`,
		`{"type":"m.room.topic","state_key":"","content":{"topic":7}}`,
	} {
		var e Event
		if err := json.Unmarshal([]byte(s), &e); err != nil {
			t.Fatal(err)
		}
		e.decode(r.ID)
		r.setState(e)
	}
	if !r.Space || r.Creator != "@bot:x" || r.Alias != "#s:x" || len(r.Members) != 0 || !r.Invited["@b:x"] {
		t.Errorf("%+v", r)
	}
	if len(r.Children) != 1 || !r.Children["!b:x"] {
		t.Errorf("children %v", r.Children)
	}
}
