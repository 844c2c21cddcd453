package broker

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// countedPassword is a slow password that tells how often it was compared, and by how many at the same time.
type countedPassword struct {
	right     string
	n         *atomic.Int64
	now, most *atomic.Int64
}

func (p countedPassword) verify(given []byte) bool {
	p.n.Add(1)
	if now := p.now.Add(1); now > p.most.Load() {
		p.most.Store(now)
	}
	defer p.now.Add(-1)
	for range 100 {
		runtime.Gosched() // others have the chance to come in, if they may
	}
	return string(given) == p.right
}

func (countedPassword) slow() bool { return true }

// startCounted runs a broker with the accounts "slow" (password "right") and "plain" ("p").
func startCounted(t *testing.T, change func(*Config)) (*fixture, countedPassword) {
	t.Helper()
	f := start(t, func(cfg *Config) {
		cfg.Accounts = []Account{{User: "slow", Password: "x"}, {User: "plain", Password: "p", Subscribe: permissions(t, "#")}}
		if change != nil {
			change(cfg)
		}
	})
	p := countedPassword{"right", new(atomic.Int64), new(atomic.Int64), new(atomic.Int64)}
	all := *f.accounts.Load()
	all["slow"].password = p
	return f, p
}

func TestHashedLogins(t *testing.T) {
	t.Parallel()
	f := start(t, func(cfg *Config) {
		cfg.Limits.LoginFailures = 100
		cfg.Accounts = []Account{
			{User: "argon", Hash: cheapHash("p1")}, {User: "bcrypt", Hash: cheapBcrypt(t, "p2")}, {User: "card", Anonymous: true},
		}
	})
	for _, tc := range []struct {
		user, password string
		want           int
	}{
		{"argon", "p1", 0},
		{"argon", "p1", 0},
		{"argon", "p2", 5},
		{"argon", "p1", 0},
		{"argon", "", 5},
		{"bcrypt", "p2", 0},
		{"bcrypt", "p1", 5},
		{"bcrypt", "p2", 0},
		{"nobody", "p1", 5},
		{"card", "", 5},
		{"card", "p1", 5},
		{"", "", 0},
	} {
		if _, code, _ := try(t, f.addr, login{id: "x", user: tc.user, password: tc.password, clean: true}); code != tc.want {
			t.Errorf("%q %q: CONNACK %d, want %d", tc.user, tc.password, code, tc.want)
		}
	}
	before := *f.accounts.Load()
	if err := f.SetAccounts([]Account{{User: "argon", Hash: cheapHash("p1")}, {User: "bcrypt", Hash: cheapHash("p2")}}); err != nil {
		t.Fatal(err)
	}
	after := *f.accounts.Load()
	if before["argon"] != after["argon"] || before["bcrypt"] == after["bcrypt"] {
		t.Error("an account that is the same was replaced, or one that is not was kept")
	}
}

// What was right once is not hashed again, also when many come at once; another password is.
func TestARightPasswordIsHashedOnce(t *testing.T) {
	t.Parallel()
	f, p := startCounted(t, nil)
	hold(t, f)
	const n = 30
	var conns []*raw
	for range n {
		c := dial(t, f.addr)
		c.send(t, login{id: "", user: "slow", password: "right", clean: true}.encode())
		conns = append(conns, c)
	}
	release(f)
	for _, c := range conns {
		if a := c.want(t, kindConnack); a.body[1] != 0 {
			t.Fatalf("CONNACK %d", a.body[1])
		}
	}
	if got := p.n.Load(); got != 1 {
		t.Errorf("compared %d times, want once", got)
	}
	if _, code, _ := try(t, f.addr, login{id: "x", user: "slow", password: "right2", clean: true}); code != 5 || p.n.Load() != 2 {
		t.Errorf("another password: CONNACK %d after %d comparisons", code, p.n.Load())
	}
}

// hold takes all places for hashing, as a flood does.
func hold(t *testing.T, f *fixture) {
	t.Helper()
	for range cap(f.verifier.slots) {
		if !f.verifier.enter(patience, nil) {
			t.Fatal("no place")
		}
	}
}

func release(f *fixture) {
	for range cap(f.verifier.slots) {
		f.verifier.leave()
	}
}

// While all places for hashing are taken, clients that are connected go on, those whose password is known get in, and the
// others are told to come later. Nothing is computed for who has failed too often.
func TestAFloodOfLogins(t *testing.T) {
	t.Parallel()
	f, p := startCounted(t, func(cfg *Config) {
		cfg.Limits.LoginFailures, cfg.Limits.ConnectTime = 3, 300*time.Millisecond
	})
	here := connect(t, f.addr, login{id: "here", user: "slow", password: "right", clean: true})
	hold(t, f)
	var flood []*raw
	for range 20 {
		c := dial(t, f.addr)
		c.level = 5
		c.send(t, login{id: "x", level: 5, user: "slow", password: "guess", clean: true}.encode())
		flood = append(flood, c)
	}
	here.quiet(t)
	connect(t, f.addr, login{id: "back", user: "slow", password: "right", clean: true})
	connect(t, f.addr, login{id: "plain", user: "plain", password: "p", clean: true})
	for _, c := range flood {
		if a := c.want(t, kindConnack); a.body[1] != 0x89 {
			t.Fatalf("CONNACK %x, want 89: server busy", a.body[1])
		}
	}
	if _, code, _ := try(t, f.addr, login{id: "x", level: 4, user: "slow", password: "guess", clean: true}); code != 3 {
		t.Errorf("3.1.1: CONNACK %x, want 3: server unavailable", code)
	}
	if n := p.n.Load(); n != 1 {
		t.Errorf("%d comparisons while there was no place", n)
	}
	release(f)
}

// Guesses that stand in line together are not all looked at: the failures of the first count for the others.
func TestGuessesInLine(t *testing.T) {
	t.Parallel()
	f, p := startCounted(t, func(cfg *Config) { cfg.Limits.LoginFailures = 3 })
	hold(t, f)
	var guesses []*raw
	for range 20 {
		c := dial(t, f.addr)
		c.send(t, login{id: "x", user: "slow", password: "guess", clean: true}.encode())
		guesses = append(guesses, c)
	}
	eventually(t, "all stand in line", func() bool { return f.verifier.waiting.Load() == 20 })
	release(f)
	for _, c := range guesses {
		if a := c.want(t, kindConnack); a.body[1] != 5 {
			t.Fatalf("CONNACK %d, want 5", a.body[1])
		}
	}
	places := int64(cap(f.verifier.slots))
	if n := p.n.Load(); n < 3 || n > 3+places-1 {
		t.Errorf("%d of 20 guesses were hashed, want 3", n)
	}
	if most := p.most.Load(); most > places {
		t.Errorf("%d at the same time, want %d at most", most, places)
	}
}

func TestAnonymousAccount(t *testing.T) {
	t.Parallel()
	f := start(t, func(cfg *Config) {
		withAccounts(t)(cfg)
		cfg.Accounts = append(cfg.Accounts, Account{User: "guest", Anonymous: true, Subscribe: permissions(t, "shared/+", "own/{client}")})
	})
	c := connect(t, f.addr, login{id: "x", level: 5, clean: true})
	if codes := c.subscribe(t, 1, 0, "shared/a", "own/x", "porch/a", "#"); string(codes) != "\x00\x00\x87\x87" {
		t.Errorf("SUBACK %x", codes)
	}
	c.send(t, c.publish(publish{topic: "want/porch/a", qos: 1, id: 1, payload: "x"}))
	if code := c.want(t, kindPuback).code(); code != 0x87 {
		t.Errorf("publish: code %x, want 87", code)
	}
	if list := f.Clients(); len(list) != 1 || list[0].Account != "guest" {
		t.Errorf("clients: %+v", list)
	}
	for _, l := range []login{{user: "guest", password: "x"}, {user: "porch", password: "x"}, {user: "nobody"}} {
		l.id, l.clean = "y", true
		if _, code, _ := try(t, f.addr, l); code != 5 {
			t.Errorf("%q: CONNACK %d, want 5", l.user, code)
		}
	}
	if err := f.SetAccounts([]Account{{User: "porch", Password: "p1"}}); err != nil {
		t.Fatal(err)
	}
	c.wantClosed(t)
}

func TestDecoyIsSlowWhereOthersAre(t *testing.T) {
	t.Parallel()
	plain, slow := &account{password: newPlainPassword("x")}, &account{password: bcryptHash("x")}
	if d := decoy(accounts{"a": plain, "b": {}}); d.slow() {
		t.Error("slow without need")
	}
	if d := decoy(accounts{"a": plain, "b": slow}); !d.slow() {
		t.Error("a user who is not there is found out by time")
	}
}
