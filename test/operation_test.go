//go:build e2e || interop

package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

func TestARestartKeepsRoomsAndLosesNothing(t *testing.T) {
	modes(t, func(t *testing.T, mode string) {
		p := settle(t, mode, plain)
		c := p.device(device.Config{ClientID: "porch"})
		p.publish(c, "plain/porch/n", "1")
		p.message(p.alice, "porch", "the first", body("n: 1"))
		p.gate.Kill()
		p.must(p.gate.Start(p.ctx))
		p.publish(c, "plain/porch/n", "2")
		p.message(p.alice, "porch", "the second", body("n: 2"))
		if code, err := p.gate.Stop(10 * time.Second); err != nil || code != 0 {
			t.Errorf("stopped with %d, %v", code, err)
		}
		p.must(p.gate.Start(p.ctx))
		p.publish(c, "plain/porch/n", "3")
		room, _ := p.message(p.alice, "porch", "the third", body("n: 3"))
		if n := p.roomCount(p.alice, "porch"); n != 1 {
			t.Errorf("%d rooms", n)
		}
		events, err := p.alice.History(p.ctx, room)
		p.must(err)
		var got []string
		for _, e := range events {
			if e.Type == "m.room.message" {
				got = append(got, e.Content.Body)
			}
		}
		if strings.Join(got, ", ") != "n: 1, n: 2, n: 3" {
			t.Errorf("in the room: %q", got)
		}
	})
}

func TestAHomeserverThatComesLater(t *testing.T) {
	p := plan(t, "appservice", plain)
	p.must(p.gate.Launch())
	p.awaitStatus("/readyz", http.StatusServiceUnavailable, "connection refused")
	p.awaitStatus("/healthz", http.StatusOK, "")
	c := p.device(device.Config{ClientID: "porch"})
	for i := range 5 {
		p.publish(c, "plain/porch/n", fmt.Sprint(i)) // acknowledged: it is on disk
	}
	p.openHomeserver()
	p.awaitStatus("/readyz", http.StatusOK, "")
	for i := range 5 {
		p.message(p.alice, "porch", "a message from before", body(fmt.Sprintf("n: %d", i)))
	}
}

func TestWrongTokens(t *testing.T) {
	p := plan(t, "appservice", plain)
	right := p.reg
	wrong := right
	wrong.ASToken = "some-other-token-of-somebody-else"
	p.openHomeserver()
	p.must(wrong.WriteFile(p.set.Registration, p.hs.ServerName()))
	p.must(p.gate.Launch())
	c := p.device(device.Config{ClientID: "porch"})
	p.publish(c, "plain/porch/n", "1")
	if text := p.awaitStatus("/readyz", http.StatusServiceUnavailable, ""); strings.Contains(text, wrong.ASToken) {
		t.Errorf("the token is shown: %s", text)
	}
	_, err := p.gate.Log().Await(p.ctx, 0, "is the registration loaded")
	p.must(err)
	p.gate.Kill()
	p.must(right.WriteFile(p.set.Registration, p.hs.ServerName()))
	p.must(p.gate.Start(p.ctx))
	p.message(p.alice, "porch", "what was acknowledged meanwhile", body("n: 1"))

	transaction := func(token, body string) int {
		req, err := http.NewRequestWithContext(p.ctx, http.MethodPut, right.URL+"/_matrix/app/v1/transactions/t1", strings.NewReader(body))
		p.must(err)
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(req)
		p.must(err)
		p.must(resp.Body.Close())
		return resp.StatusCode
	}
	for _, c := range []struct {
		token, body string
		want        int
	}{
		{"", `{"events":[]}`, 401},
		{"wrong", `{"events":[]}`, 403},
		{right.HSToken, `{"events":[`, 400},
		{right.HSToken, `[1,2]`, 400},
		{right.HSToken, `{"events":[{"type":"m.room.message","room_id":"!x:y","event_id":"$1","sender":"@a:b","content":{"f":1.5e300,"n":123456789012345678901234567890}}]}`, 200},
		{right.HSToken, `{"events":["` + strings.Repeat("x", 40<<20) + `"]}`, 413},
	} {
		if got := transaction(c.token, c.body); got != c.want {
			t.Errorf("%.60s: answered %d, want %d", c.body, got, c.want)
		}
	}
	p.publish(c, "plain/porch/n", "2")
	p.message(p.alice, "porch", "life after that", body("n: 2"))
}

func TestReload(t *testing.T) {
	p := settle(t, "appservice", plain)
	c := p.device(device.Config{ClientID: "porch"})
	p.publish(c, "plain/porch/n", "1")
	p.message(p.alice, "porch", "the first", body("n: 1"))

	n := p.gate.Log().Len()
	bad := p.set
	bad.Devices += "- topic: a/#/b\n  clas: event\n"
	p.must(p.gate.Configure(bad.YAML()))
	p.must(p.gate.Reload())
	line, err := p.gate.Log().Await(p.ctx, n, "the configuration is bad")
	p.must(err)
	if !strings.Contains(line, "clas") {
		t.Errorf("the log does not say what is bad: %s", line)
	}
	p.publish(c, "plain/porch/n", "2")
	p.message(p.alice, "porch", "the old rules at work", body("n: 2"))

	n = p.gate.Log().Len()
	good := p.set
	good.Devices += "- topic: new/{device}\n  class: event\n"
	p.must(p.gate.Configure(good.YAML()))
	p.must(p.gate.Reload())
	_, err = p.gate.Log().Await(p.ctx, n, "configuration read again")
	p.must(err)
	p.publish(c, "new/attic", "hello")
	p.message(p.alice, "attic", "the new rule at work", body("attic: hello"))
}

// ends runs gatepost to its end and gives the exit code.
func (p *place) ends() int {
	p.t.Helper()
	p.must(p.gate.Launch())
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	code, err := p.gate.Wait(ctx)
	p.must(err)
	return code
}

func TestWhatKeepsItFromStarting(t *testing.T) {
	p := plan(t, "appservice", plain)
	ends := func(want int, text string) {
		t.Helper()
		n := p.gate.Log().Len()
		if code := p.ends(); code != want {
			t.Errorf("ended with %d, want %d", code, want)
		}
		if said := strings.Join(p.gate.Log().Since(n), "\n"); !strings.Contains(said, text) {
			t.Errorf("said\n%s\nbut nothing of %q", said, text)
		}
	}
	taken, err := net.Listen("tcp", p.broker)
	p.must(err)
	ends(1, "already in use")
	p.must(taken.Close())

	p.must(p.gate.Configure("matrix: {homeserver: 'http://127.0.0.1:1', server_name: x}\nmqtt: {listen: ['mqtt://127.0.0.1:1']}\nnonsense: 1\n"))
	ends(3, "nonsense")

	other := p.set
	other.ServerName, other.Owners, other.Members = "elsewhere.example", nil, nil
	p.must(p.reg.WriteFile(p.set.Registration, "elsewhere.example"))
	p.must(p.gate.Configure(other.YAML()))
	ends(3, "elsewhere.example")
	p.must(p.reg.WriteFile(p.set.Registration, p.hs.ServerName()))
	p.must(p.gate.Configure(p.set.YAML()))

	p.must(os.WriteFile(p.gate.Dir+"/data/gatepost.db", []byte("not a store"), 0o600))
	ends(4, "corrupt")
}

func TestTwoOfThem(t *testing.T) {
	p := settle(t, "appservice", plain)
	r, err := p.gate.Do(p.ctx, "run")
	p.must(err)
	if r.Code != 1 || !strings.Contains(r.Stderr, "gatepost") {
		t.Errorf("the second ended with %d: %s", r.Code, r.Stderr)
	}
	p.awaitStatus("/readyz", http.StatusOK, "")
}

func TestTheCommandLineOfARunningGateway(t *testing.T) {
	p := settle(t, "appservice", door)
	l := p.lock()
	room := p.roomOf(l)
	do := func(args ...string) string {
		t.Helper()
		r, err := p.gate.Do(p.ctx, args...)
		p.must(err)
		if r.Code != 0 {
			t.Errorf("%v: %d: %s%s", args, r.Code, r.Stdout, r.Stderr)
		}
		return r.Stdout
	}
	var devices []struct {
		ID     string `json:"id"`
		RoomID string `json:"room_id"`
	}
	if err := json.NewDecoder(bytes.NewReader([]byte(do("devices", "--json")))).Decode(&devices); err != nil || len(devices) != 1 || devices[0].ID != "door" || devices[0].RoomID != room {
		t.Errorf("devices: %+v, %v", devices, err)
	}
	do("send", "--device", "door", "hello from the shell")
	p.message(p.alice, "Front door", "what was sent from the shell", body("hello from the shell"))
	if out := do("send", "--command", "--device", "door", "unlock"); !strings.Contains(out, "confirmed") {
		t.Errorf("the command ended with %s", out)
	}
	if out := do("commands"); !strings.Contains(out, "unlock") || !strings.Contains(out, "confirmed") {
		t.Errorf("commands: %s", out)
	}
	do("rooms")
	do("outbox")
	do("deadletters")
	backup := p.gate.Dir + "/copy.tar"
	do("backup", backup)
	if info, err := os.Stat(backup); err != nil || info.Size() == 0 {
		t.Errorf("backup: %v", err)
	}
	if out := do("try", "--topic", "home/door/event", "--payload", "x"); !strings.Contains(out, "event: x") {
		t.Errorf("try: %s", out)
	}
}

func TestAnAliasThatAStrangerTookFirst(t *testing.T) {
	p := settle(t, "account", plain)
	_, err := p.bob.CreateRoom(p.ctx, "gatepost_porch")
	p.must(err)
	c := p.device(device.Config{ClientID: "porch"})
	p.publish(c, "plain/porch/n", "1")
	room, _ := p.message(p.alice, "porch", "the message in a room of ours", body("n: 1"))
	p.must(p.alice.Await(p.ctx, "our own alias", func(rooms map[string]*harness.Room) bool {
		return rooms[room].Alias == "#gatepost_porch_1:"+p.hs.ServerName() && rooms[room].Creator == p.user("gatepost")
	}))
}
