package turn

import (
	"strconv"
	"testing"

	"github.com/pion/stun/v4"
)

func TestARevokedCredentialIsGoodForNothing(t *testing.T) {
	s := startServer(t, false, func(c *Config) { c.Users = []User{{Name: "static", Password: "p"}} })
	a, b := s.wire(0, "a"), s.wire(0, "b")
	a.allocate()
	b.allocate()
	if n, err := s.Revoke(a.name); n != 1 || err != nil {
		t.Errorf("%d allocations ended, %v", n, err)
	}
	if all := s.Allocations(); len(all) != 1 || all[0].Username != b.name {
		t.Errorf("left are %+v", all)
	}
	a.want("Refresh", a.ask(stun.MethodRefresh), 401)
	a.want("Allocate", a.ask(stun.MethodAllocate, requestedTransport()), 401)
	b.want("Refresh", b.ask(stun.MethodRefresh), 0)
	for _, name := range []string{"static", "nobody"} {
		if n, err := s.Revoke(name); n != 0 || err != nil || s.handler.revoked.has(name) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if _, err := s.Revoke(b.name); err == nil {
		t.Error("no error of a server that has ended")
	}
}

func TestWhatIsRevokedIsBounded(t *testing.T) {
	var r revoked
	r.add("first", 100, 0)
	r.add("second", 200, 0)
	for i := range maxRevoked - 2 {
		r.add(strconv.Itoa(i), 300, 0)
	}
	r.add("one more", 300, 50)
	if r.has("first") || !r.has("second") || !r.has("one more") || len(r.expires) != maxRevoked {
		t.Errorf("of too many: %d", len(r.expires))
	}
	r.add("later", 1000, 400)
	if len(r.expires) != 1 || !r.has("later") {
		t.Errorf("%d are kept that have expired", len(r.expires)-1)
	}
}
