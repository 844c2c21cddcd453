package mqtt

import (
	"testing"
)

func TestSuite(t *testing.T) {
	suite(t, func(t *testing.T, s setup) broker {
		t.Helper()
		b := newFakeBroker(t, s)
		scheme := map[[2]bool]string{{}: "mqtt", {true, false}: "mqtts", {false, true}: "ws", {true, true}: "wss"}[[2]bool{s.tls != nil, s.ws}]
		addr := b.ln.Addr().String()
		return broker{url: scheme + "://" + addr, addr: addr, forget: b.forget}
	})
}
