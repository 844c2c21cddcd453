//go:build e2e

package turn

import (
	"fmt"
	"os"
	"testing"

	"github.com/gatepost/gatepost/test/turn/load"
	"github.com/gatepost/gatepost/test/turn/relay"
)

// Ten thousand allocations come and go; goroutines, descriptors and memory are then what they were after the first thousand.
func TestTenThousandAllocationsLeaveNothing(t *testing.T) {
	s := serve(t, func(o *relay.Options) {
		opened(o)
		o.Extra = "  limits: {allocations: 2000}\n"
	})
	const fleets, clients = 10, 1000
	come := func() *load.Fleet {
		f, err := load.Open(load.Config{Server: s.Addr, Secret: secret, Clients: clients})
		must(t, err)
		t.Cleanup(func() { f.Close() })
		if _, err := f.Allocate(t.Context(), 32); err != nil {
			t.Fatal(err)
		}
		must(t, f.Bind(t.Context(), 32))
		return f
	}
	goroutines, open := s.metric("go_goroutines"), s.open()
	for range fleets {
		f := come()
		if n := s.metric("gatepost_turn_allocations"); n != clients {
			t.Fatalf("%v allocations, not %d", n, clients)
		}
		if n := s.open(); n < open+clients-2 { // two for the connections of metric
			t.Fatalf("%d descriptors with %d allocations, %d without: they are counted wrongly", n, clients, open)
		}
		must(t, f.Release(t.Context(), 32))
		f.Close()
	}
	until(t, "all allocations to be gone", func() bool { return s.metric("gatepost_turn_allocations") == 0 })
	until(t, "the descriptors to be closed", func() bool { return s.open() <= open+2 })
	if n := s.metric("go_goroutines"); n > goroutines+4 {
		t.Errorf("%v goroutines, %v before", n, goroutines)
	}
	if n := s.metric("gatepost_turn_ended_total", `reason="client"`); n != fleets*clients {
		t.Errorf("%v allocations ended, not %d", n, fleets*clients)
	}
}

// open is how many descriptors the relay has.
func (s *site) open() int {
	s.t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID()))
	must(s.t, err)
	return len(list)
}
