package turn

import "sync/atomic"

// inboxLen is how many datagrams may wait for a worker from the others; above it they are lost.
const inboxLen = 256

// homes says which worker has a relayed address of ours. It is read without locks, by any worker for each packet between
// two clients of this server.
type homes struct {
	ips    [][16]byte
	tables []*[1 << 16]atomic.Uint64
}

// home is a place: the worker and the handle of the socket there. The zero home is none.
type home struct {
	worker int
	handle int32
}

func newHomes(ips [][16]byte) *homes {
	h := &homes{ips: ips}
	for range ips {
		h.tables = append(h.tables, new([1 << 16]atomic.Uint64))
	}
	return h
}

func (h *homes) slot(e endpoint) *atomic.Uint64 {
	for i := range h.ips {
		if h.ips[i] == e.ip {
			return &h.tables[i][e.port]
		}
	}
	return nil
}

func (h *homes) set(e endpoint, to home) {
	if slot := h.slot(e); slot != nil {
		slot.Store(uint64(to.worker)<<32 | uint64(uint32(to.handle)))
	}
}

func (h *homes) find(e endpoint) home {
	slot := h.slot(e)
	if slot == nil {
		return home{}
	}
	v := slot.Load()
	return home{worker: int(v >> 32), handle: int32(uint32(v))}
}

// parcel is a datagram on its way from one worker to another.
type parcel struct {
	from, to endpoint // relayed addresses, both ours
	handle   int32    // of to, unless it has moved
	n        int
	slot     [slotSize]byte
}

// parcels are kept for the next use; there are never more than wait and are being worked on.
type parcels struct{ free chan *parcel }

func newParcels(workers int) *parcels {
	return &parcels{make(chan *parcel, workers*inboxLen)}
}

func (p *parcels) get() *parcel {
	select {
	case got := <-p.free:
		return got
	default:
		return new(parcel)
	}
}

func (p *parcels) put(done *parcel) {
	select {
	case p.free <- done:
	default:
	}
}

// deliver brings data from a relayed address of ours to another one, inside the process: a NAT in front of us may not let
// it back in, and the host's own addresses are refused as peers.
func (w *worker) deliver(from *socket, to endpoint, data []byte) {
	at := w.s.homes.find(to)
	if at.handle == 0 {
		w.drops[dropNoAllocation]++
		return
	}
	if at.worker == w.index {
		slot := w.path.room()
		copy(slot[headroom:], data)
		w.arrive(from.public, to, at.handle, slot, len(data))
		return
	}
	p := w.s.parcels.get()
	p.from, p.to, p.handle, p.n = from.public, to, at.handle, len(data)
	copy(p.slot[headroom:], data)
	other := w.s.workers[at.worker]
	select {
	case other.inbox <- p:
		other.path.wake()
	default:
		w.drops[dropSend]++
		w.s.parcels.put(p)
	}
}

// arrive is the other end of deliver, in the worker that has the address.
func (w *worker) arrive(from, to endpoint, handle int32, slot []byte, n int) {
	s := w.sockets.at(handle)
	if s == nil || s.public != to { // it ended meanwhile
		w.drops[dropNoAllocation]++
		return
	}
	w.fromPeer(s, from, slot, n)
}

// posted says whether something of other workers waits. Safe for concurrent use.
func (w *worker) posted() bool { return len(w.inbox) > 0 }

// readInbox takes what waits, as much as was there at the beginning. flush sends what was queued.
func (w *worker) readInbox(flush func()) {
	for range len(w.inbox) {
		p := <-w.inbox
		w.arrive(p.from, p.to, p.handle, p.slot[:], p.n)
		flush()
		w.s.parcels.put(p)
	}
}
