package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

func mustFilter(t testing.TB, s string) topic.Filter {
	t.Helper()
	f, err := topic.ParseFilter(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// ownRetained counts what the broker retains about itself.
func (f *fixture) ownRetained() int {
	f.retained.mu.Lock()
	defer f.retained.mu.Unlock()
	return f.retained.own
}

func TestSessions(t *testing.T) {
	t.Parallel()
	f := start(t, withAccounts(t))
	began := time.Now().Add(-time.Second)
	away := connect(t, f.addr, login{id: "away", level: 3, user: "porch", password: "p1"})
	away.subscribe(t, 1, 1, "shared/a", "porch/cmd/#")
	away.Close()
	eventually(t, "it has gone", func() bool { return len(f.Clients()) == 0 })
	if err := f.Publish(t.Context(), "shared/a", []byte("x"), 1, false); err != nil {
		t.Fatal(err)
	}
	here := connect(t, f.addr, login{id: "here", level: 5, user: "attic", password: "p2", clean: true})
	list := f.Sessions()
	if len(list) != 2 {
		t.Fatalf("%d sessions: %+v", len(list), list)
	}
	for _, c := range list {
		if c.Since.Before(began) || c.Since.After(time.Now()) {
			t.Errorf("%s: since %v", c.ID, c.Since)
		}
	}
	list[0].Since, list[1].Since = time.Time{}, time.Time{}
	if want := (Client{ID: "here", Account: "attic", Connected: true, Address: here.LocalAddr().String(), Protocol: "5", Transport: "mqtt"}); list[0] != want {
		t.Errorf("got  %+v\nwant %+v", list[0], want)
	}
	if want := (Client{ID: "away", Account: "porch", Address: away.LocalAddr().String(), Protocol: "3.1", Transport: "mqtt", Subscriptions: 2, Waiting: 1}); list[1] != want {
		t.Errorf("got  %+v\nwant %+v", list[1], want)
	}
	if list := f.Clients(); len(list) != 1 || list[0].ID != "here" {
		t.Errorf("connected: %+v", list)
	}
}

func TestKick(t *testing.T) {
	t.Parallel()
	f := start(t, withAccounts(t))
	kick := func(account, client string, forget, want bool) {
		t.Helper()
		found, err := f.Kick(t.Context(), account, client, forget)
		if err != nil || found != want {
			t.Errorf("kick %q %q: %v, %v; want %v", account, client, found, err, want)
		}
	}
	l := login{id: "dev", level: 5, user: "porch", password: "p1", will: "want/porch/will", props: []byte{0x11, 0, 0, 1, 0}}
	c := connect(t, f.addr, l)
	c.subscribe(t, 1, 1, "shared/a")
	kick("attic", "dev", false, false)
	kick("", "dev", true, false)
	c.quiet(t)
	kick("porch", "dev", false, true)
	if p := c.want(t, kindDisconnect); p.body[0] != 0x98 {
		t.Errorf("DISCONNECT reason %x, want 98", p.body[0])
	}
	c.wantClosed(t)
	f.await(t, 1) // its will
	c, _, present := try(t, f.addr, l)
	if !present {
		t.Error("the session is gone")
	}
	kick("porch", "dev", true, true)
	c.wantClosed(t)
	if list := f.Sessions(); len(list) != 0 {
		t.Errorf("still there: %+v", list)
	}
	if c, _, present = try(t, f.addr, l); present {
		t.Error("a forgotten session came back")
	}
	if err := f.Publish(t.Context(), "shared/a", []byte("x"), 1, false); err != nil {
		t.Fatal(err)
	}
	c.quiet(t) // the subscription is gone too
	c.Close()
	eventually(t, "it has gone", func() bool { return len(f.Clients()) == 0 })
	kick("porch", "dev", true, true) // one that is away
	kick("porch", "dev", true, false)
}

// A client that comes back at once, again and again, cannot keep a session that is to be forgotten.
func TestForgetWinsAgainstReconnects(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	connect(t, f.addr, login{id: "dev"}).subscribe(t, 1, 1, "old")
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			c := dial(t, f.addr)
			if _, err := c.Write(login{id: "dev"}.encode()); err == nil {
				_, _ = c.read(patience) // it may be refused
			}
			c.Close()
		}
	}()
	for range 20 {
		if _, err := f.Kick(t.Context(), "", "dev", true); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-ended
	for _, s := range f.Sessions() {
		if s.Subscriptions > 0 {
			t.Errorf("the old session is there: %+v", s)
		}
	}
}

func TestRetainedMessages(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := connect(t, f.addr, login{id: "dev", clean: true})
	for i := range 5 {
		c.send(t, c.publish(publish{topic: fmt.Sprint("state/", i), qos: 1, id: 1, retain: true, payload: strings.Repeat("x", i+1)}))
		c.want(t, kindPuback)
	}
	list, total := f.Retained(mustFilter(t, "#"), 3, 2)
	if total != 5 || len(list) != 3 {
		t.Fatalf("%d of %d: %+v", len(list), total, list)
	}
	if r := list[2]; r.Topic != "state/2" || r.Bytes != 3 || string(r.Payload) != "xx" || r.QoS != 1 {
		t.Errorf("%+v", r)
	}
	if n := f.retained.len(); n != 5 {
		t.Errorf("%d retained messages counted", n)
	}
	c.subscribe(t, 2, 0, "state/3")
	c.want(t, kindPublish)
	if n, err := f.DropRetained(t.Context(), mustFilter(t, "state/3")); n != 1 || err != nil {
		t.Errorf("%d dropped, %v", n, err)
	}
	if p := c.want(t, kindPublish); p.payload() != "" {
		t.Errorf("subscribers were told %q", p.payload())
	}
	if n, err := f.DropRetained(t.Context(), mustFilter(t, "#")); n != 4 || err != nil {
		t.Errorf("%d dropped, %v", n, err)
	}
	before := f.ownRetained()
	if n, err := f.DropRetained(t.Context(), mustFilter(t, "$SYS/#")); n != 0 || err != nil || before == 0 {
		t.Errorf("%d of the broker's own dropped, %v", n, err)
	}
	if _, total := f.Retained(mustFilter(t, "#"), 3, 2); total != 0 {
		t.Errorf("%d are left", total)
	}
}

func TestSysTopics(t *testing.T) {
	t.Parallel()
	f := start(t, func(cfg *Config) {
		withAccounts(t)(cfg)
		cfg.Version = "gatepost v1"
		cfg.Accounts = append(cfg.Accounts, Account{User: "watch", Password: "p", Publish: permissions(t, "#"), Subscribe: permissions(t, "$SYS/#")})
	})
	attic := connect(t, f.addr, login{id: "a", user: "attic", password: "p2", clean: true}) // may subscribe to #
	if codes := attic.subscribe(t, 1, 0, "#", "$SYS/#", "$SYS/broker/version"); fmt.Sprintf("%x", codes) != "008080" {
		t.Errorf("SUBACK %x", codes)
	}
	attic.quiet(t)
	names := func() (all []string) {
		list, _ := f.Retained(mustFilter(t, "$SYS/#"), 100, 0)
		for _, r := range list {
			all = append(all, r.Topic)
		}
		return all
	}
	eventually(t, "all are there", func() bool {
		return f.ownRetained() == len(f.sysTopics(0)) && slices.Contains(names(), "$SYS/broker/version")
	})
	if all := names(); len(all) != len(f.sysTopics(0)) {
		t.Errorf("more than was meant: %q", all)
	}
	watch := connect(t, f.addr, login{id: "w", user: "watch", password: "p", clean: true})
	if codes := watch.subscribe(t, 1, 0, "$SYS/broker/version"); codes[0] != 0 {
		t.Errorf("SUBACK %x", codes)
	}
	if p := watch.want(t, kindPublish); p.payload() != "gatepost v1" {
		t.Errorf("version %q", p.payload())
	}
	watch.send(t, watch.publish(publish{topic: "$SYS/broker/version", payload: "mine"}))
	watch.quiet(t)
	now := f.sysTopics(90 * time.Second)
	for name, want := range map[string]string{
		"uptime": "90 seconds", "clients/connected": "2", "clients/disconnected": "0", "clients/total": "2", "subscriptions/count": "2",
		"shared_subscriptions/count": "0", "retained messages/count": "0", "version": "gatepost v1",
	} {
		if got := now["$SYS/broker/"+name]; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"messages/received", "messages/sent", "bytes/received", "bytes/sent", "publish/messages/sent", "clients/maximum"} {
		if got := now["$SYS/broker/"+name]; got == "0" || got == "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}
