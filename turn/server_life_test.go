package turn

import (
	"context"
	"errors"
	"math/bits"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

func TestDrain(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		s := startServer(t, portable, func(c *Config) {
			c.Listen = []string{"udp://127.0.0.1:0", "tcp://127.0.0.1:0"}
			c.Drain = time.Hour
		})
		w, late, to := s.wire(0, "a"), s.wire(0, "b"), newPeer(t, "127.0.0.1")
		relayed := net.UDPAddrFromAddrPort(w.allocate())
		w.permit(to.LocalAddr())
		stopped := make(chan error, 1)
		go func() { stopped <- s.stop() }()
		within(t, "it drains", s.handler.draining.Load)
		late.want("Allocate while it drains", late.try(), 508)
		if conn, err := net.Dial("tcp", s.Addrs()[1].String()); err == nil {
			conn.Close()
			t.Error("a connection was accepted while it drains")
		}
		sender(t, to, relayed, "still here")()
		if b, err := w.read(); err != nil || !w.isDataFrom(to.LocalAddr(), b, []byte("still here")) {
			t.Errorf("%x, %v", b, err)
		}
		w.want("Refresh", w.ask(stun.MethodRefresh), 0)
		select {
		case <-stopped:
			t.Fatal("it stopped with an allocation")
		default:
		}
		w.want("Refresh with lifetime 0", w.ask(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 0)), 0)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

func TestDrainEnds(t *testing.T) {
	reasons := make(chan EndReason, 1)
	s := startServer(t, false, func(c *Config) {
		c.Drain = time.Millisecond
		c.OnEnd = func(e Ended) { reasons <- e.Reason }
	})
	s.wire(0, "a").allocate()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if got := <-reasons; got != EndStopped {
		t.Errorf("ended: %s", got)
	}
}

func TestListenTakesAllOrNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	eachPath(t, func(t *testing.T, portable bool) {
		s, err := newServer(Config{
			Listen: []string{"udp://127.0.0.1:0", "tcp://" + taken.Addr().String()}, Realm: testRealm, Secrets: []string{testSecret},
		}, portable)
		if err != nil {
			t.Fatal(err)
		}
		before := descriptors(t)
		if err := s.Listen(); err == nil {
			t.Fatal("it listens where somebody else does")
		}
		if after := descriptors(t); after > before {
			t.Errorf("%d descriptors before, %d after", before, after)
		}
	})
}

// descriptors is how many files the process has open; 0 where the system does not say.
func descriptors(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil && runtime.GOOS == "linux" {
		t.Fatal(err)
	}
	return len(names)
}

// TestAllocationsComeAndGo makes many allocations in each way they end, and looks that nothing is left.
func TestAllocationsComeAndGo(t *testing.T) {
	many := 2000
	eachPath(t, func(t *testing.T, portable bool) {
		cert, key := writeCertificate(t, t.TempDir(), "first")
		reasons := map[EndReason]int{}
		s := startServer(t, portable, func(c *Config) {
			c.Listen, c.CertFile, c.KeyFile = []string{"udp://127.0.0.1:0", "tcp://127.0.0.1:0", "tls://127.0.0.1:0"}, cert, key
			c.Limits.AllocationsPerUser, c.Limits.AnswersPerSource, c.Limits.Answers, c.Limits.ConnectionsPerIP = many, many*4, many*4, many
			c.OnEnd = func(e Ended) { reasons[e.Reason]++ }
		})
		files, goroutines := descriptors(t), runtime.NumGoroutine()
		for i := 0; i < many; {
			var batch []*wire
			for range 100 {
				over := 0 // one in 20 over TCP, one over TLS
				if i%20 < 2 {
					over = 1 + i%20
				}
				w := s.wire(over, "a")
				w.allocate()
				batch = append(batch, w)
				i++
			}
			for j, w := range batch {
				switch {
				case w.stream && j%2 == 0: // its end is the connection's
				case j%3 == 0:
					w.want("Refresh", w.ask(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 0)), 0)
				default:
					if n, err := s.Kick(w.is); n != 1 || err != nil {
						t.Fatalf("kicked %d, %v", n, err)
					}
				}
				w.conn.Close()
			}
		}
		within(t, "all are gone", func() bool { return len(s.Allocations()) == 0 && s.streams.gate.count() == 0 })
		within(t, "no descriptor is left", func() bool { return descriptors(t) <= files })
		within(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
		taken, live := 0, 0
		for _, pool := range s.handler.ports.pools {
			for i := range pool.live {
				taken += bits.OnesCount64(pool.taken[i])
				live += bits.OnesCount64(pool.live[i].Load())
			}
		}
		if busy := len(s.handler.ports.blocked); live != 0 || taken != busy { // busy: of other programs
			t.Errorf("%d ports are live, %d taken, %d blocked", live, taken, busy)
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if total := reasons[EndClient] + reasons[EndKicked] + reasons[EndDisconnected]; total != many || reasons[EndClient] == 0 || reasons[EndDisconnected] == 0 {
			t.Errorf("ended: %v", reasons)
		}
	})
}

// TestNoGarbagePerPacket holds what the packet path promises: nothing is allocated for a packet, by no party to it.
func TestNoGarbagePerPacket(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		s := startServer(t, portable, func(c *Config) { c.Limits.BytesPerSecondPerUser = 1 << 40 })
		w, to := s.wire(0, "a"), newPeer(t, "127.0.0.1").(*net.UDPConn)
		relayed := w.allocate()
		data := make([]byte, 172)
		buf := make([]byte, 2048)
		deadline := time.Now().Add(time.Minute)
		for _, conn := range []net.Conn{w.conn, to} {
			if err := conn.SetReadDeadline(deadline); err != nil {
				t.Fatal(err)
			}
		}
		up := func(b []byte) func() {
			return func() {
				if _, err := w.conn.Write(b); err != nil {
					t.Fatal(err)
				}
				if _, _, err := to.ReadFromUDPAddrPort(buf); err != nil {
					t.Fatal(err)
				}
			}
		}
		down := func() {
			if _, err := to.WriteToUDPAddrPort(data, relayed); err != nil {
				t.Fatal(err)
			}
			if _, err := w.conn.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
		none := func(what string, f func()) {
			t.Helper()
			if n := testing.AllocsPerRun(200, f); n != 0 {
				t.Errorf("%s: %v allocations for a packet", what, n)
			}
		}
		w.permit(to.LocalAddr())
		if err := w.conn.SetReadDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		none("Send indication", up(w.sendIndication(to.LocalAddr(), data)))
		none("Data indication", down)
		w.bind(0x4000, to.LocalAddr())
		if err := w.conn.SetReadDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		none("ChannelData from the client", up(channelData(0x4000, data)))
		none("ChannelData to the client", down)
	})
}

// TestTheCollectorIsNotKeptWaiting: a loop of raw system calls can hang the garbage collector for ever.
func TestTheCollectorIsNotKeptWaiting(t *testing.T) {
	s := startServer(t, false, func(c *Config) { c.Limits.BytesPerSecondPerUser = 1 << 40 })
	w, to := s.wire(0, "a"), newPeer(t, "127.0.0.1")
	w.allocate()
	w.bind(0x4000, to.LocalAddr())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for b := channelData(0x4000, make([]byte, 100)); ctx.Err() == nil; {
			_, _ = w.conn.Write(b)
		}
	}()
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		for range 20 {
			runtime.GC()
		}
	}()
	select {
	case <-collected:
	case <-time.After(patience):
		t.Error("the collector waits for the worker")
	}
	cancel()
	<-done
}

func TestGoroutinesDoNotGrowWithAllocations(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // the portable path has one for each relay socket
	}
	s := startServer(t, false, func(c *Config) { c.Limits.AllocationsPerUser = 100 })
	before := runtime.NumGoroutine()
	for range 50 {
		s.wire(0, "a").allocate()
	}
	if after := runtime.NumGoroutine(); after > before+5 {
		t.Errorf("%d goroutines before, %d with 50 allocations", before, after)
	}
}

func TestPartiesOfManyWorkers(t *testing.T) {
	s := startServer(t, false, func(c *Config) {
		c.Workers = 4
		c.Listen = []string{"udp://127.0.0.1:0", "tcp://127.0.0.1:0"}
		c.Limits.AllocationsPerUser = 100
	})
	if runtime.GOOS != "linux" {
		return
	}
	var all []*wire
	for i := range 40 {
		w := s.wire(i%2, "a")
		w.allocate()
		all = append(all, w)
	}
	var per []int
	s.inside(func(w *worker) { per = append(per, w.table.len()) })
	if slices.Contains(per, 40) || len(per) != 4 {
		t.Errorf("allocations of each worker: %v", per)
	}
	text := []byte("to a neighbour")
	for i := range all {
		a, b := all[i], all[(i+7)%len(all)]
		relayed := func(w *wire) net.Addr {
			for _, info := range s.Allocations() {
				if w.is(info) {
					return net.UDPAddrFromAddrPort(info.Relayed[0])
				}
			}
			t.Fatal("no allocation")
			return nil
		}
		b.permit(relayed(a))
		a.permit(relayed(b))
		a.write(a.sendIndication(relayed(b), text))
		got, err := b.read()
		if err != nil || !b.isDataFrom(relayed(a), got, text) {
			t.Fatalf("%d: %q, %v", i, got, err)
		}
	}
}

func TestTooManyWorkers(t *testing.T) {
	cfg := Config{Listen: []string{"udp://127.0.0.1:0"}, Realm: testRealm, Secrets: []string{testSecret}}
	for _, c := range []struct {
		workers  int
		portable bool
	}{{2, true}, {maxWorkers + 1, false}} {
		cfg.Workers = c.workers
		if _, err := newServer(cfg, c.portable); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
