package broker

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func withAccounts(t testing.TB) func(*Config) {
	return func(cfg *Config) {
		cfg.Accounts = []Account{
			{User: "porch", Password: "p1", Publish: permissions(t, "want/porch/#", "porch/+"), Subscribe: permissions(t, "porch/cmd/#", "shared/+")},
			{User: "attic", Password: "p2", Publish: permissions(t, "attic/#", "porch/cmd/x"), Subscribe: permissions(t, "#")},
		}
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	f := start(t, withAccounts(t))
	for _, tc := range []struct {
		name     string
		login    login
		old, new int
	}{
		{"right", login{user: "porch", password: "p1"}, 0, 0},
		{"wrong password", login{user: "porch", password: "p2"}, 5, 0x86},
		{"longer password", login{user: "porch", password: "p11"}, 5, 0x86},
		{"nobody", login{user: "cellar", password: "p1"}, 5, 0x86},
		{"no user", login{}, 5, 0x86},
		{"will", login{user: "porch", password: "p1", will: "porch/a"}, 0, 0},
		{"foreign will", login{user: "porch", password: "p1", will: "attic/a"}, 5, 0x87},
		{"will with wildcard", login{user: "porch", password: "p1", will: "porch/+"}, 5, 0x87},
		{"$SYS will", login{user: "porch", password: "p1", will: "$SYS/a"}, 5, 0x87},
	} {
		for _, level := range []byte{3, 4, 5} {
			tc.login.id, tc.login.level, tc.login.clean = "dev", level, true
			want := tc.old
			if level == 5 {
				want = tc.new
			}
			if _, code, _ := try(t, f.addr, tc.login); code != want {
				t.Errorf("%s, level %d: CONNACK %#x, want %#x", tc.name, level, code, want)
			}
		}
	}
	l := login{id: "dev", level: 5, user: "porch", password: "p1", props: append([]byte{0x15}, str("SCRAM")...)}
	if _, code, _ := try(t, f.addr, l); code != 0x8C {
		t.Errorf("enhanced authentication: CONNACK %#x, want 8c", code)
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	f := start(t, withAccounts(t))
	attic := connect(t, f.addr, login{id: "dev", user: "attic", password: "p2", clean: true})
	attic.subscribe(t, 1, 0, "#")
	for _, tc := range []struct {
		topic string
		may   bool
	}{
		{"want/porch/a", true},
		{"want/porch", true},
		{"porch/a", true},
		{"porch/a/b", false},
		{"want/attic/a", false},
		{"want/porchx", false},
		{"attic/a", false},
		{"$share/g/porch/a", false},
	} {
		before := len(f.delivered())
		old := connect(t, f.addr, login{id: "old", user: "porch", password: "p1", clean: true})
		old.send(t, old.publish(publish{topic: tc.topic, qos: 1, id: 1, payload: "x"}))
		now := connect(t, f.addr, login{id: "new", level: 5, user: "porch", password: "p1", clean: true})
		now.send(t, now.publish(publish{topic: tc.topic, qos: 2, id: 1, payload: "x"}))
		rec := now.want(t, kindPubrec)
		if tc.may {
			old.want(t, kindPuback)
			attic.want(t, kindPublish)
			attic.want(t, kindPublish)
			if rec.code() != 0 {
				t.Errorf("%s: PUBREC code %x", tc.topic, rec.code())
			}
			continue
		}
		old.wantClosed(t) // 3.1.1 has no other way to say no
		if rec.code() != 0x87 {
			t.Errorf("%s: PUBREC code %x, want 87", tc.topic, rec.code())
		}
		attic.quiet(t)
		if n := len(f.delivered()); n != before {
			t.Errorf("%s: delivered", tc.topic)
		}
	}
	porch := connect(t, f.addr, login{id: "dev", user: "porch", password: "p1", clean: true})
	asked := []string{"porch/cmd/#", "porch/cmd/a/+", "#", "porch/#", "+/cmd/a", "attic/a", "shared/a", "shared/#", "$share/g/shared/a", "$share/g/attic/a"}
	if codes := porch.subscribe(t, 1, 1, asked...); fmt.Sprintf("%x", codes) != "01018080808001800180" {
		t.Errorf("SUBACK %x", codes)
	}
	now := connect(t, f.addr, login{id: "new", level: 5, user: "porch", password: "p1", clean: true})
	if codes := now.subscribe(t, 1, 1, "attic/a"); codes[0] != 0x87 {
		t.Errorf("SUBACK %x, want 87", codes)
	}
	attic.send(t, attic.publish(publish{topic: "porch/cmd/x", qos: 1, id: 3, payload: "on"}))
	porch.want(t, kindPublish)
}

func TestClientIDsAreKeptApartByAccount(t *testing.T) {
	t.Parallel()
	f := start(t, withAccounts(t))
	a := connect(t, f.addr, login{id: "same", user: "porch", password: "p1"})
	a.subscribe(t, 1, 1, "porch/cmd/#")
	b := connect(t, f.addr, login{id: "same", user: "attic", password: "p2"})
	a.quiet(t)
	b.quiet(t)
	a.send(t, a.publish(publish{topic: "want/porch/x", qos: 1, id: 1, payload: "x"}))
	a.want(t, kindPuback)
	if m := f.await(t, 1)[0]; m.Client != "porch\x00same" {
		t.Errorf("client %q", m.Client)
	}
	again, code, present := try(t, f.addr, login{id: "same", user: "porch", password: "p1"})
	if code != 0 || !present {
		t.Errorf("takeover: CONNACK %d, session present %v", code, present)
	}
	a.wantClosed(t)
	b.quiet(t)
	b.send(t, b.publish(publish{topic: "porch/cmd/x", qos: 1, id: 2, payload: "on"}))
	b.want(t, kindPuback)
	again.want(t, kindPublish)
}

func TestSetAccounts(t *testing.T) {
	t.Parallel()
	f := start(t, withAccounts(t))
	cfg := Config{}
	withAccounts(t)(&cfg)
	list := cfg.Accounts
	porch := connect(t, f.addr, login{id: "p", user: "porch", password: "p1", clean: true})
	attic := connect(t, f.addr, login{id: "a", level: 5, user: "attic", password: "p2", clean: true})
	if err := f.SetAccounts(list); err != nil {
		t.Fatal(err)
	}
	porch.quiet(t)
	attic.quiet(t)
	if err := f.SetAccounts(append(list, list[0])); err == nil {
		t.Error("an account that is there twice was taken")
	}
	changed := []Account{list[0], list[1]}
	changed[1].Publish = permissions(t, "attic/+")
	if err := f.SetAccounts(changed); err != nil {
		t.Fatal(err)
	}
	porch.quiet(t)
	if p := attic.want(t, kindDisconnect); p.body[0] != 0x87 {
		t.Errorf("DISCONNECT reason %x, want 87", p.body[0])
	}
	attic.wantClosed(t)
	if err := f.SetAccounts([]Account{list[0], {User: "attic", Password: "new"}}); err != nil {
		t.Fatal(err)
	}
	if _, code, _ := try(t, f.addr, login{id: "a", user: "attic", password: "p2"}); code != 5 {
		t.Errorf("old password: CONNACK %d", code)
	}
	connect(t, f.addr, login{id: "a", user: "attic", password: "new"})
	if err := f.SetAccounts(nil); err != nil { // on loopback
		t.Fatal(err)
	}
	porch.wantClosed(t)
	open := connect(t, f.addr, login{id: "open", clean: true})
	if err := f.SetAccounts(list); err != nil {
		t.Fatal(err)
	}
	open.wantClosed(t)
}

func TestSetAccountsDoesNotOpenTheBroker(t *testing.T) {
	t.Parallel()
	f := start(t, func(cfg *Config) {
		withAccounts(t)(cfg)
		cfg.Listeners = []string{"mqtt://127.0.0.1:0", "mqtt://0.0.0.0:0"}
	})
	if err := f.SetAccounts(nil); !errors.Is(err, ErrOpen) {
		t.Errorf("error %v, want ErrOpen", err)
	}
	if _, code, _ := try(t, f.addr, login{id: "x", clean: true}); code != 5 {
		t.Errorf("CONNACK %d after the refused change", code)
	}
}

func TestLoginRate(t *testing.T) {
	t.Parallel()
	f := start(t, func(cfg *Config) {
		withAccounts(t)(cfg)
		cfg.Limits.LoginFailures = 3
	})
	for range 3 {
		try(t, f.addr, login{id: "x", user: "porch", password: "guess"})
	}
	if _, code, _ := try(t, f.addr, login{id: "x", user: "porch", password: "p1"}); code != 5 {
		t.Errorf("CONNACK %d after three failures", code)
	}
	connect(t, f.addr, login{id: "x", user: "attic", password: "p2"}) // another user of the same address is not locked out
}

func TestLogins(t *testing.T) {
	t.Parallel()
	l := logins{limit: 2}
	now := time.Unix(1e9, 0)
	addr, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	fail := func(n int, user string) {
		for range n {
			l.failed(addr, user, now)
		}
	}
	check := func(a netip.Addr, user string, want bool) {
		t.Helper()
		if got := l.blocked(a, user, now); got != want {
			t.Errorf("%v %q at %d: blocked %v, want %v", a, user, now.Unix(), got, want)
		}
	}
	check(addr, "a", false)
	fail(2, "a")
	check(addr, "a", true)
	check(addr, "b", false)
	check(other, "a", false)
	for i := range 9 {
		fail(2, fmt.Sprint("u", i))
	}
	check(addr, "b", true) // 20 failures of the address
	check(other, "b", false)
	now = now.Add(59 * time.Second)
	check(addr, "a", true)
	now = now.Add(time.Second)
	check(addr, "a", false)
	check(addr, "b", false)
	for i := range 2 * loginEntries {
		l.failed(other, fmt.Sprint("u", i), now)
	}
	if len(l.fails) > loginEntries+2 {
		t.Errorf("%d entries kept", len(l.fails))
	}
}

func TestLimitAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "fe80::1%eth0": "fe80::", "::1": "::",
	} {
		if got := limitAddress(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if got := limitAddress(netip.Addr{}); got.IsValid() {
		t.Errorf("no address: %v", got)
	}
}
