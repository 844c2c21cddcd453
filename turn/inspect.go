package turn

import (
	"slices"
	"strconv"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
)

// inside runs f as each worker, one after another.
func (s *Server) inside(f func(*worker)) {
	if !s.running.Load() {
		return
	}
	for _, w := range s.workers {
		w.path.enter(func() { f(w) })
	}
}

// Allocations are pictures of all allocations that live, in no order; none unless Run runs.
func (s *Server) Allocations() []AllocationInfo {
	var all []AllocationInfo
	s.inside(func(w *worker) {
		for _, a := range w.table.list {
			all = append(all, s.info(a))
		}
	})
	return all
}

// Usage is what the allocations that live under a username (the whole of it, as the client sends it) have relayed in both
// directions. Of those that have ended, Config.OnEnd told.
func (s *Server) Usage(username string) (toPeer, toClient Traffic) {
	s.inside(func(w *worker) {
		for _, a := range w.table.list {
			if a.username == username {
				toPeer.join(a.toPeer)
				toClient.join(a.toClient)
			}
		}
	})
	return toPeer, toClient
}

// Kick ends the allocations that which chooses, and says how many they were. Clients learn of it when they next ask for
// something.
func (s *Server) Kick(which func(AllocationInfo) bool) (int, error) {
	if !s.running.Load() {
		return 0, ErrNotRunning
	}
	n := 0
	s.inside(func(w *worker) {
		for _, a := range slices.Clone(w.table.list) {
			if which(s.info(a)) {
				w.end(a, EndKicked)
				n++
			}
		}
	})
	return n, nil
}

func (s *Server) info(a *allocation) AllocationInfo {
	i := AllocationInfo{
		ID:          strconv.FormatUint(a.id, 10),
		User:        a.account.name,
		Username:    a.username,
		Client:      a.tuple.client.addrPort(),
		Transport:   a.transport.String(),
		Since:       s.began.Add(time.Duration(a.since)),
		Expires:     s.began.Add(time.Duration(a.expires)),
		Permissions: len(a.permissions),
		Channels:    len(a.channels),
		ToPeer:      a.toPeer,
		ToClient:    a.toClient,
	}
	for _, r := range a.relay {
		if r.public.IsValid() {
			i.Relayed = append(i.Relayed, r.public)
		}
	}
	return i
}

// ended tells everybody who wants to know of an allocation's end. A worker calls it.
func (s *Server) ended(a *allocation, why EndReason, now instant) {
	e := Ended{AllocationInfo: s.info(a), Reason: why, Duration: time.Duration(now - a.since)}
	s.metrics.ended.Inc(string(why))
	s.log.Info("allocation ended", logkey.User, e.User, logkey.Client, e.Client.String(), logkey.Reason, string(why),
		logkey.Took, e.Duration.Round(time.Millisecond).String(),
		logkey.ToPeerPackets, e.ToPeer.Packets, logkey.ToPeerBytes, e.ToPeer.Bytes,
		logkey.ToClientPackets, e.ToClient.Packets, logkey.ToClientBytes, e.ToClient.Bytes)
	if s.cfg.OnEnd != nil {
		s.cfg.OnEnd(e)
	}
	select {
	case s.live <- struct{}{}:
	default:
	}
}

func (t *Traffic) join(other Traffic) {
	t.Packets += other.Packets
	t.Bytes += other.Bytes
}

func (t *Traffic) add(n int) {
	t.Packets++
	t.Bytes += uint64(n)
}
