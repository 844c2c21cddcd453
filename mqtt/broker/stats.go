package broker

import "sync/atomic"

// stats count what goes through all connections.
type stats struct {
	packetsIn, packetsOut   atomic.Int64
	messagesIn, messagesOut atomic.Int64 // PUBLISH
	bytesIn, bytesOut       atomic.Int64
	dropped                 atomic.Int64 // messages for one client that did not fit
	mostConnected           atomic.Int64
}

func (s *stats) sent(bytes int, publish bool) {
	s.packetsOut.Add(1)
	s.bytesOut.Add(int64(bytes))
	if publish {
		s.messagesOut.Add(1)
	}
}

func (s *stats) received(bytes int, publish bool) {
	s.packetsIn.Add(1)
	s.bytesIn.Add(int64(bytes))
	if publish {
		s.messagesIn.Add(1)
	}
}

// noteConnected keeps the highest number of clients at the same time.
func (s *stats) noteConnected(n int) {
	for {
		most := s.mostConnected.Load()
		if int64(n) <= most || s.mostConnected.CompareAndSwap(most, int64(n)) {
			return
		}
	}
}
