package matrix

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// account is a client in account mode that syncs into in.
func account(t testing.TB, h *homeserver, in *inbox) *Client {
	h.on(onWhoami, says(200, `{"user_id":"@gatepost:example.org","device_id":"D"}`))
	return newClient(t, h, func(cfg *Config) { cfg.Mode, cfg.Token, cfg.Inbox = Account, "t", in })
}

// syncs answers /sync by the position asked for; what is not listed waits like a quiet homeserver.
func syncs(answers map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if body, ok := answers[r.URL.Query().Get("since")]; ok {
			says(200, body)(w, r)
			return
		}
		select {
		case <-r.Context().Done():
		case <-time.After(syncPoll):
			says(200, fmt.Sprintf(`{"next_batch":%q}`, r.URL.Query().Get("since")))(w, r)
		}
	}
}

func timeline(next string, limited bool, events ...string) string {
	return fmt.Sprintf(`{"next_batch":%q,"rooms":{"join":{%q:{"timeline":{"events":[%s],"limited":%v,"prev_batch":"prev"}}}}}`, next, testRoom, strings.Join(events, ","), limited)
}

func TestSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, in := newHomeserver(t), &inbox{}
		h.on(onSync, syncs(map[string]string{
			"":   timeline("s1", true, message("$old", "@alice:example.org", "!open")),
			"s1": timeline("s2", false, message("$1", "@alice:example.org", "!on"), `{"type":"m.room.topic"}`, `7`),
			"s2": timeline("s3", false, message("$1", "@alice:example.org", "!on"), message("$2", "@alice:example.org", "!off")),
		}))
		stop := start(t, account(t, h, in))
		synctest.Wait()
		if got := in.ids(); !slices.Equal(got, []ids.EventID{"$1", "$2"}) {
			t.Errorf("stored %v", got)
		}
		if got, _ := in.Position(SourceSync); got != "s2" { // after a start the last answer is asked for again
			t.Errorf("position %q", got)
		}
		if n := in.commits(); n != 3 { // the first position, and one for each answer
			t.Errorf("%d commits", n)
		}
		stop()
	})
}

func TestSyncGoesOnFromThePosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, in := newHomeserver(t), &inbox{positions: map[string]string{SourceSync: "s7"}}
		h.on(onSync, syncs(map[string]string{"s7": timeline("s8", false, message("$1", "@alice:example.org", "!on"))}))
		stop := start(t, account(t, h, in))
		synctest.Wait()
		if got := in.ids(); len(got) != 1 {
			t.Errorf("stored %v", got)
		}
		stop()
	})
}

// A position is asked for only after what led to it is stored.
func TestSyncStoresBeforeItGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, in := newHomeserver(t), &inbox{positions: map[string]string{SourceSync: "s1"}}
		h.on(onSync, syncs(map[string]string{"s1": timeline("s2", false, message("$1", "@alice:example.org", "!on"))}))
		c := account(t, h, in)
		s := syncer{c: c, since: "s1", kept: "s1", keptAt: time.Now()}
		in.setFail(errors.New("no space"))
		if _, err := s.step(t.Context()); err == nil || s.since != "s1" {
			t.Errorf("went on to %q after %v", s.since, err)
		}
		in.setFail(nil)
		if _, err := s.step(t.Context()); err != nil || s.since != "s2" || len(in.ids()) != 1 {
			t.Errorf("%q %v %v", s.since, err, in.ids())
		}
		c.watch.close()
	})
}

// A homeserver that shuts down answers with a position beyond an event that it leaves out.
func TestSyncGoesBackAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, in := newHomeserver(t), &inbox{positions: map[string]string{SourceSync: "s1"}}
		var asked []string
		h.on(onSync, func(w http.ResponseWriter, r *http.Request) {
			since := r.URL.Query().Get("since")
			asked = append(asked, since)
			switch since {
			case "s1": // all is well
				says(200, timeline("s2", false, message("$1", "@alice:example.org", "!on")))(w, r)
			case "s2":
				if slices.Contains(asked, "s3") { // it is back
					says(200, timeline("s3", false, message("$2", "@alice:example.org", "!off")))(w, r)
					return
				}
				says(200, `{"next_batch":"s3"}`)(w, r) // it shuts down
			case "s3":
				says(502, ``)(w, r)
			}
		})
		stop := start(t, account(t, h, in))
		time.Sleep(time.Minute)
		stop()
		if got := in.ids(); !slices.Equal(got, []ids.EventID{"$1", "$2"}) {
			t.Errorf("stored %v", got)
		}
		if n := len(asked); n < 6 || n > 12 || asked[n-1] != "s3" { // it goes back once for a position
			t.Errorf("asked %v", asked)
		}
	})
}

func TestSyncFillsGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, in := newHomeserver(t), &inbox{positions: map[string]string{SourceSync: "s1"}}
		h.on(onSync, syncs(map[string]string{"s1": timeline("s2", true, message("$4", "@alice:example.org", "4"))}))
		h.on(onMessages, func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			if q.Get("to") != "s1" || q.Get("dir") != "b" {
				t.Errorf("query %v", q)
			}
			switch q.Get("from") {
			case "prev":
				says(200, `{"chunk":[`+message("$3", "@alice:example.org", "3")+`,`+message("$2", "@alice:example.org", "2")+`],"end":"p2"}`)(w, r)
			case "p2":
				says(200, `{"chunk":[`+message("$1", "@alice:example.org", "1")+`]}`)(w, r)
			}
		})
		stop := start(t, account(t, h, in))
		synctest.Wait()
		if got := in.ids(); !slices.Equal(got, []ids.EventID{"$1", "$2", "$3", "$4"}) {
			t.Errorf("stored %v, want the order of the room", got)
		}
		stop()
	})
}

func TestSyncGapsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, in := newHomeserver(t), &inbox{positions: map[string]string{SourceSync: "s1"}}
		var pages atomic.Int32
		h.on(onSync, syncs(map[string]string{"s1": timeline("s2", true, message("$last", "@alice:example.org", "x"))}))
		h.on(onMessages, func(w http.ResponseWriter, r *http.Request) {
			n := pages.Add(1)
			says(200, fmt.Sprintf(`{"chunk":[%s],"end":"p%d"}`, message(fmt.Sprintf("$%d", n), "@alice:example.org", "x"), n))(w, r)
		})
		c := account(t, h, in)
		sealed := ids.RoomID("!sealed:example.org")
		c.book.rooms[testRoom] = &bookedRoom{} // encryption may have been turned on in the gap
		c.book.rooms[sealed] = &bookedRoom{Encrypted: true, members: map[ids.UserID]bool{testBot: true}}
		stop := start(t, c)
		synctest.Wait()
		if n := pages.Load(); n != gapPages || len(in.ids()) != gapPages+1 {
			t.Errorf("%d pages, %d events", n, len(in.ids()))
		}
		if r := c.book.get(testRoom); r != nil {
			t.Errorf("a room is still held to be %+v", r)
		}
		c.book.doubt(sealed)
		if r := c.book.get(sealed); !r.Encrypted || r.members != nil {
			t.Errorf("an encrypted room is %+v", r)
		}
		stop()
	})
}

func TestSyncInvitations(t *testing.T) {
	invite := func(next, state string) string {
		return fmt.Sprintf(`{"next_batch":%q,"rooms":{"invite":{"!dm:example.org":{"invite_state":{"events":[%s]}}}}}`, next, state)
	}
	ours := `{"type":"m.room.join_rules","state_key":"","sender":"@alice:example.org","content":{}},{"type":"m.room.member","state_key":"@gatepost:example.org","sender":"@alice:example.org","content":{"membership":"invite"}}`
	theirs := `{"type":"m.room.member","state_key":"@bob:example.org","sender":"@alice:example.org","content":{"membership":"invite"}}`
	synctest.Test(t, func(t *testing.T) {
		h, in := newHomeserver(t), &inbox{}
		h.on(onSync, syncs(map[string]string{"": invite("s1", ours), "s1": invite("s2", theirs)}))
		stop := start(t, account(t, h, in))
		synctest.Wait()
		events := in.all()
		if len(events) != 1 {
			t.Fatalf("stored %+v", events)
		}
		e := events[0]
		if e.Room != "!dm:example.org" || e.Type != "m.room.member" || e.Sender != "@alice:example.org" || e.StateKey == nil || *e.StateKey != string(testBot) || !validEventID(string(e.ID)) {
			t.Errorf("%+v", e)
		}
		stop()
	})
}

func TestSyncAnswersThatAreNone(t *testing.T) {
	for name, f := range map[string]http.HandlerFunc{
		"HTML": says(200, `<html>`), "no position": says(200, `{}`), "500": says(500, ``), "nothing": hangsUp,
		"half": half(200), "long position": says(200, `{"next_batch":"`+strings.Repeat("x", maxToken+1)+`"}`), "429": limited("60", `{}`),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, in := newHomeserver(t), &inbox{positions: map[string]string{SourceSync: "s1"}}
				h.on(onSync, f)
				c := account(t, h, in)
				stop := start(t, c)
				synctest.Wait()
				if c.Ready() == nil {
					t.Error("ready")
				}
				time.Sleep(5 * time.Minute)
				if n := h.count("GET /_matrix/client/v3/sync"); n < 4 || n > 20 {
					t.Errorf("asked %d times in five minutes", n)
				}
				h.on(onSync, syncs(map[string]string{"s1": timeline("s2", false, message("$1", "@alice:example.org", "!on"))}))
				time.Sleep(2 * time.Minute)
				if got := in.ids(); len(got) != 1 || c.Ready() != nil {
					t.Errorf("after that: %v, %v", got, c.Ready())
				}
				stop()
			})
		})
	}
}

func TestSyncAnswerTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, in := newHomeserver(t), &inbox{positions: map[string]string{SourceSync: "s1"}}
		h.on(onSync, func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Query().Get("filter"), `"limit":100`) {
				tooLarge := strings.Repeat(" ", 4<<20)
				for range syncLimit>>22 + 1 {
					if _, err := io.WriteString(w, tooLarge); err != nil {
						return
					}
				}
				return
			}
			syncs(map[string]string{"s1": timeline("s2", false, message("$1", "@alice:example.org", "!on"))})(w, r)
		})
		stop := start(t, account(t, h, in))
		time.Sleep(10 * time.Second)
		if got := in.ids(); len(got) != 1 {
			t.Errorf("stored %v", got)
		}
		stop()
	})
}

// One event that is nested deeper than encoding/json reads does not stop those around it.
func TestSyncDeepEvent(t *testing.T) {
	deep := `{"type":"m.room.message","event_id":"$deep","sender":"@a:b","content":{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}}`
	synctest.Test(t, func(t *testing.T) {
		h, in := newHomeserver(t), &inbox{positions: map[string]string{SourceSync: "s1"}}
		h.on(onSync, syncs(map[string]string{"s1": timeline("s2", false, message("$1", "@a:b", "1"), deep, message("$2", "@a:b", "2"))}))
		stop := start(t, account(t, h, in))
		synctest.Wait()
		if got := in.ids(); !slices.Equal(got, []ids.EventID{"$1", "$2"}) {
			t.Errorf("stored %v", got)
		}
		stop()
	})
}

// A homeserver that does not wait is not asked without end, and its positions are not written each time.
func TestSyncDoesNotHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, in := newHomeserver(t), &inbox{}
		var n atomic.Int32
		h.on(onSync, func(w http.ResponseWriter, r *http.Request) {
			says(200, fmt.Sprintf(`{"next_batch":"s%d"}`, n.Add(1)))(w, r)
		})
		stop := start(t, account(t, h, in))
		time.Sleep(9*time.Minute + time.Second/2)
		if got := h.count("GET /_matrix/client/v3/sync"); got > 570+hurried+1 {
			t.Errorf("asked %d times in nine minutes", got)
		}
		if n := in.commits(); n != 1 {
			t.Errorf("%d commits without an event", n)
		}
		time.Sleep(2 * time.Minute)
		if n := in.commits(); n != 2 {
			t.Errorf("%d commits after ten minutes", n)
		}
		stop()
	})
}

// An appservice reads by /sync only where there is no ping.
func TestWhoSyncs(t *testing.T) {
	for _, c := range []struct {
		name string
		ping http.HandlerFunc
		want int
	}{
		{"Synapse", says(200, `{}`), 0},
		{"Dendrite", says(404, `{"errcode":"M_UNRECOGNIZED"}`), 1},
		{"no url in the registration", says(400, `{"errcode":"M_URL_NOT_SET"}`), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHomeserver(t)
				h.on(onPing, c.ping)
				h.on(onSync, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Query().Get("user_id") != string(testBot) {
						t.Errorf("query %v", r.URL.Query())
					}
					waits(w, r)
				})
				stop := start(t, newClient(t, h, nil))
				synctest.Wait()
				if n := h.count("GET /_matrix/client/v3/sync"); n != c.want {
					t.Errorf("%d syncs", n)
				}
				stop()
			})
		})
	}
}

func TestFiltersAreJSON(t *testing.T) {
	for _, f := range []string{messagesFilter, syncFilter(10)} {
		if !json.Valid([]byte(f)) || !strings.Contains(f, "m.room.redaction") {
			t.Error(f)
		}
	}
}

func FuzzSync(f *testing.F) {
	f.Add([]byte(timeline("s2", false, message("$1", "@a:b", "x"))))
	f.Add([]byte(`{"next_batch":"x","rooms":{"invite":{"!r":{"invite_state":{"events":[{"type":"m.room.member","state_key":"@gatepost:example.org","sender":"@a:b","content":{"membership":"invite"}},null]}}},"leave":{"bad":{}}}}`))
	h := newHomeserver(f)
	h.on(onMessages, says(403, `{"errcode":"M_FORBIDDEN"}`))
	c := account(f, h, &inbox{})
	f.Fuzz(func(t *testing.T, body []byte) {
		var res syncResponse
		if json.Unmarshal(prune(body, maxNesting), &res) != nil {
			return
		}
		for _, since := range []string{"", "s1"} {
			s := syncer{c: c, since: since}
			events, err := s.collect(t.Context(), res)
			if err != nil && lane.OutcomeOf(err).Verdict != lane.Retry {
				t.Fatal(err)
			}
			for _, e := range events {
				if !validEventID(string(e.ID)) || !validRoomID(string(e.Room)) || !validUserID(string(e.Sender)) || since == "" && e.Type != "m.room.member" {
					t.Fatalf("%+v", e)
				}
			}
		}
	})
}
