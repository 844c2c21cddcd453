package matrix

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
)

func TestProbe(t *testing.T) {
	h := newHomeserver(t)
	c := newClient(t, h, nil)
	if !errors.Is(c.Ready(), ErrNotAsked) {
		t.Errorf("before: %v", c.Ready())
	}
	if err := c.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, ok := c.Abilities()
	want := Abilities{RoomVersion: "12", MaxUpload: 1000, Ping: true, Devices: true, AsyncUpload: true, DelayedEvents: true}
	if !ok || got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if c.Ready() != nil {
		t.Error(c.Ready())
	}
	if _, ok := c.Offset(); !ok {
		t.Error("no clock")
	}
}

func TestProbeOfAPlainHomeserver(t *testing.T) {
	h := newHomeserver(t)
	none := says(404, `{"errcode":"M_UNRECOGNIZED"}`)
	for _, pattern := range []string{onCaps, onMedia, onDevice, onPing} {
		h.on(pattern, none)
	}
	h.on(onVersions, says(200, `{"versions":["v1.2"]}`))
	c := probed(t, h, nil)
	if got, ok := c.Abilities(); !ok || got != (Abilities{}) {
		t.Errorf("%+v", got)
	}
}

func TestProbeRefused(t *testing.T) {
	for _, c := range []struct {
		name, pattern string
		h             http.HandlerFunc
		is            error
		text          string
		verdict       lane.Verdict
	}{
		{"wrong as_token", onWhoami, says(401, `{"errcode":"M_UNKNOWN_TOKEN","error":"Unknown token"}`), ErrRefused, "is the registration loaded", lane.Stop},
		{"another server", onWhoami, says(200, `{"user_id":"@gatepost-as:other.org"}`), ErrServerName, `the homeserver is "other.org", the configuration says "example.org"`, lane.Retry},
		{"hostile whoami", onWhoami, says(200, `{"user_id":7}`), nil, "cannot be read", lane.Retry},
		{"bot not in the namespace", onRegister, says(400, `{"errcode":"M_EXCLUSIVE","error":"not yours"}`), ErrRefused, "namespaces.users", lane.Dead},
		{"cannot speak as the bot", onWhoami, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("user_id") != "" {
				says(403, `{"errcode":"M_FORBIDDEN","error":"masquerade"}`)(w, r)
				return
			}
			says(200, `{"user_id":"@as:example.org"}`)(w, r)
		}, ErrRefused, "speaking as @gatepost:example.org", lane.Dead},
		{"wrong id", onPing, says(403, `{"errcode":"M_FORBIDDEN","error":"Mismatching application service ID in path"}`), ErrRefused, `"gatepost" is not the id of our registration`, lane.Dead},
		{"rate limited", onCaps, says(429, `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":5000}`), nil, "M_LIMIT_EXCEEDED", lane.Retry},
		{"no homeserver", onVersions, says(200, `<html>welcome to nginx</html>`), nil, "cannot be read", lane.Retry},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHomeserver(t)
			h.on(c.pattern, c.h)
			client := newClient(t, h, nil)
			err := client.Probe(t.Context())
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v", err)
			}
			if got := lane.OutcomeOf(err).Verdict; got != c.verdict {
				t.Errorf("verdict %v, want %v", got, c.verdict)
			}
			if client.Ready() == nil {
				t.Error("ready")
			}
			if strings.Contains(err.Error(), "as-secret") {
				t.Error("the token is in the text")
			}
		})
	}
}

// Whatever the homeserver does, Run stays, asks with pauses, and is there when it comes back.
func TestRunWaitsForTheHomeserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHomeserver(t)
		h.setAway(true)
		c := newClient(t, h, nil)
		stop := start(t, c)
		time.Sleep(10 * time.Minute)
		if err := c.Ready(); lane.OutcomeOf(err).Code != "network" {
			t.Errorf("away: %v", err)
		}
		h.setAway(false)
		time.Sleep(maxWait + time.Second)
		if c.Ready() != nil {
			t.Errorf("back: %v", c.Ready())
		}
		const ping = "POST /_matrix/client/v1/appservice/gatepost/ping"
		if n := h.count(ping); n != 1 {
			t.Errorf("%d pings", n)
		}

		// Away again: noticed by whoever sends; the first answer after it brings a ping, which ends the homeserver's back-off.
		h.on(onSend, says(200, `{"event_id":"$1"}`))
		h.setAway(true)
		c.watch.close()
		if o := c.Send(t.Context(), testRoom, testGhost, textRecord()); o.Verdict != lane.Retry {
			t.Errorf("away: %+v", o)
		}
		time.Sleep(time.Hour)
		if n := h.count(ping); n != 1 {
			t.Errorf("%d pings without a homeserver", n)
		}
		h.setAway(false)
		if o := c.Send(t.Context(), testRoom, testGhost, textRecord()); o.Verdict != lane.Done {
			t.Errorf("back: %+v", o)
		}
		time.Sleep(time.Minute)
		if n := h.count(ping); n != 2 {
			t.Errorf("%d pings after it came back", n)
		}
		stop()
	})
}

// A homeserver backs off from a transaction that we could not store; pings tell it to try again until one is stored.
func TestATransactionThatWasNotStoredIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, in := newHomeserver(t), &inbox{}
		c := newClient(t, h, func(cfg *Config) { cfg.Inbox = in })
		stop := start(t, c)
		time.Sleep(time.Hour)
		body := `{"events":[` + message("$1", "@alice:example.org", "!on") + `]}`
		for i, step := range []struct {
			fail error
			want int
		}{{nil, 1}, {errors.New("no space"), 2}, {errors.New("no space"), 3}, {nil, 3}} {
			in.setFail(step.fail)
			ask(c, "PUT", "/_matrix/app/v1/transactions/t1", body, "Authorization", "Bearer hs-secret")
			time.Sleep(minAgain + time.Second)
			if n := h.count("POST /_matrix/client/v1/appservice/gatepost/ping"); n != step.want {
				t.Errorf("step %d: %d pings, want %d", i, n, step.want)
			}
		}
		stop()
	})
}

func TestRunAfterATokenIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHomeserver(t)
		c := newClient(t, h, nil)
		stop := start(t, c)
		synctest.Wait()
		if c.Ready() != nil {
			t.Fatal(c.Ready())
		}
		refused := says(401, `{"errcode":"M_UNKNOWN_TOKEN","error":"Unknown token"}`)
		h.on(onSend, refused)
		whoami := h.handlers[onWhoami]
		h.on(onWhoami, refused)
		if o := c.Send(t.Context(), testRoom, testGhost, textRecord()); o.Verdict != lane.Stop {
			t.Errorf("got %+v", o)
		}
		time.Sleep(10 * time.Minute)
		if err := c.Ready(); !errors.Is(err, ErrRefused) {
			t.Errorf("got %v", err)
		}
		h.on(onWhoami, whoami) // the registration is loaded again
		time.Sleep(maxWait + time.Second)
		if c.Ready() != nil {
			t.Error(c.Ready())
		}
		stop()
	})
}

func TestUnreachableListener(t *testing.T) {
	h := newHomeserver(t)
	h.on(onPing, says(502, `{"errcode":"M_CONNECTION_FAILED","error":"refused"}`))
	tool := newClient(t, h, nil)
	if err := tool.Probe(t.Context()); err != nil {
		t.Errorf("without a listener: %v", err)
	}
	c := newClient(t, h, func(cfg *Config) { cfg.Listen = "127.0.0.1:0" })
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	defer c.listener.Close()
	err := c.Probe(t.Context())
	if !errors.Is(err, ErrUnreachable) || !errors.Is(c.Ready(), ErrUnreachable) {
		t.Errorf("got %v, ready: %v", err, c.Ready())
	}
	if a, ok := c.Abilities(); !ok || !a.Ping {
		t.Error("what is known is not kept: sending works")
	}
}

func TestAccountLogsInOnce(t *testing.T) {
	h := newHomeserver(t)
	logins, valid, device := 0, "tok1", ""
	h.on(onLogin, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		body := decode(t, raw)
		logins++
		device, _ = body["device_id"].(string)
		if body["password"] != "pw" || r.Header.Get("Authorization") != "" {
			t.Errorf("log-in %s", raw)
		}
		says(200, `{"user_id":"@gatepost:example.org","access_token":"`+valid+`","device_id":"DEV"}`)(w, r)
	})
	h.on(onWhoami, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+valid || r.URL.RawQuery != "" {
			says(401, `{"errcode":"M_UNKNOWN_TOKEN"}`)(w, r)
			return
		}
		says(200, `{"user_id":"@gatepost:example.org","device_id":"DEV"}`)(w, r)
	})
	kept := secrets{}
	password := func(cfg *Config) { cfg.Mode, cfg.Password, cfg.Secrets = Account, "pw", kept }
	probed(t, h, password)
	probed(t, h, password) // a restart
	if logins != 1 || device != "" {
		t.Errorf("%d log-ins, device %q", logins, device)
	}
	valid = "tok2" // somebody ended the session
	probed(t, h, password)
	if logins != 2 || device != "DEV" {
		t.Errorf("%d log-ins, device %q", logins, device)
	}

	token := newClient(t, h, func(cfg *Config) { cfg.Mode, cfg.Token = Account, "old" })
	if err := token.Probe(t.Context()); !errors.Is(err, ErrRefused) || logins != 2 {
		t.Errorf("with a token that ended: %v", err)
	}
	other := newClient(t, h, func(cfg *Config) { cfg.Mode, cfg.Token, cfg.Bot = Account, "tok2", "someone" })
	if err := other.Probe(t.Context()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "that of") {
		t.Errorf("with somebody else's token: %v", err)
	}
	h.on(onLogin, says(403, `{"errcode":"M_FORBIDDEN","error":"Invalid username or password"}`))
	wrong := newClient(t, h, func(cfg *Config) { cfg.Mode, cfg.Password, cfg.Secrets = Account, "no", secrets{} })
	if err := wrong.Probe(t.Context()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "Invalid username") {
		t.Errorf("with a wrong password: %v", err)
	}
}

// After a start the sender may be faster than the log-in; it must come back rather than stop.
func TestAnAccountAsksNothingBeforeItsLogIn(t *testing.T) {
	h := newHomeserver(t)
	c := newClient(t, h, func(cfg *Config) { cfg.Mode, cfg.Password, cfg.Secrets = Account, "pw", secrets{} })
	_, _, err := c.Resolve(t.Context(), "#gatepost_x:example.org")
	if lane.OutcomeOf(err).Verdict != lane.Retry {
		t.Errorf("%v", err)
	}
	if n := h.count("GET /_matrix/client/v3/directory/room/#gatepost_x:example.org"); n != 0 || !errors.Is(c.Ready(), ErrNotAsked) {
		t.Errorf("asked %d times, ready: %v", n, c.Ready())
	}
}

func TestOffset(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	h := newHomeserver(t)
	c := newClient(t, h, func(cfg *Config) { cfg.Now = func() time.Time { return now } })
	if _, ok := c.Offset(); ok {
		t.Error("known before any answer")
	}
	for _, r := range []struct {
		date string
		want time.Duration
	}{
		{"Sun, 22 Nov 2026 13:00:00 GMT", time.Hour + time.Second/2},
		{"nonsense", time.Hour + time.Second/2},
		{"Thu, 01 Jan 1970 00:00:10 GMT", time.Hour + time.Second/2},
		{"Sun, 22 Nov 2026 11:59:59 GMT", -time.Second / 2},
	} {
		c.watch.readClock(r.date)
		if got, ok := c.Offset(); !ok || got != r.want {
			t.Errorf("%s: %v %v, want %v", r.date, got, ok, r.want)
		}
	}
}

func TestNewSaysAllThatIsWrong(t *testing.T) {
	_, err := New(Config{Homeserver: "homeserver:8008", ServerName: "a/b", Bot: "Bot", Mode: "bridge", GhostPrefix: "#"})
	for _, want := range []string{"Homeserver", "ServerName", "Bot", "GhostPrefix", "Mode"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in %v", want, err)
		}
	}
	for name, cfg := range map[string]Config{
		"no as_token":        {Mode: Appservice},
		"no hs_token":        {Mode: Appservice, ASToken: "a", Listen: "127.0.0.1:0"},
		"a bot like a ghost": {Mode: Appservice, ASToken: "a", Bot: "gatepost_bot"},
		"no token":           {Mode: Account},
		"token and password": {Mode: Account, Token: "t", Password: "p", Secrets: secrets{}},
		"password, nowhere":  {Mode: Account, Password: "p"},
	} {
		cfg.Homeserver, cfg.ServerName = "https://matrix.example.org/base", "example.org"
		if cfg.Bot == "" {
			cfg.Bot = "gatepost"
		}
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRunNeedsAnInbox(t *testing.T) {
	c := newClient(t, newHomeserver(t), func(cfg *Config) { cfg.Inbox = nil })
	if err := c.Run(context.Background()); err == nil {
		t.Error("ran without an inbox")
	}
}
