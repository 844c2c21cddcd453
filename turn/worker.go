package turn

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
)

// tickEvery is how often a worker sweeps out what has expired and hands in what it counted.
const tickEvery = instant(time.Second)

// worker has some of the clients: their allocations and their sockets, which nobody else touches. Everything of it runs
// where its path runs it, one call at a time; what others may call is said to be so.
type worker struct {
	s       *Server
	index   int
	path    path
	table   *table
	sockets sockets
	now     instant // of this turn
	ticked  instant
	random  *rand.ChaCha8
	reply   []byte

	inbox   chan *parcel // from other workers
	drops   map[string]int64
	relayed [2]Traffic // to peers, to clients
}

func newWorker(s *Server, index int) (*worker, error) {
	w := &worker{
		s: s, index: index,
		table: newTable(),
		reply: make([]byte, 0, maxDatagram),
		inbox: make(chan *parcel, inboxLen),
		drops: map[string]int64{},
	}
	var seed [32]byte
	if _, err := io.ReadFull(s.cfg.Rand, seed[:]); err != nil {
		return nil, fmt.Errorf("random source: %w", err)
	}
	w.random = rand.NewChaCha8(seed)
	var err error
	w.path, err = newPath(w, s.portable)
	return w, err
}

// clock begins a turn.
func (w *worker) clock() { w.now = w.s.clock() }

// fromClient takes one datagram, or one message of a stream. r is good during the call only.
func (w *worker) fromClient(r *route, b []byte) {
	switch {
	case len(b) < channelHeader:
		w.drops[dropMalformed]++
	case b[0]>>6 == 1:
		w.channelData(r, b)
	case b[0]>>6 == 0:
		w.stun(r, b)
	default:
		w.drops[dropMalformed]++
	}
}

// channelData sends what came on a channel to the channel's peer (RFC 8656 section 12.6). Over UDP there may be padding.
func (w *worker) channelData(r *route, b []byte) {
	length := int(binary.BigEndian.Uint16(b[2:]))
	if channelHeader+length > len(b) {
		w.drops[dropMalformed]++
		return
	}
	a := w.table.find(r.tuple)
	if a == nil || a.expires <= w.now {
		w.drops[dropNoAllocation]++
		return
	}
	c := a.channelByNumber(binary.BigEndian.Uint16(b), w.now)
	if c == nil {
		w.drops[dropNoChannel]++
		return
	}
	w.send(a, c.peer, b[channelHeader:channelHeader+length], c.local, false)
}

// send relays data of a client to a peer that the control plane agreed to.
func (w *worker) send(a *allocation, peer endpoint, data []byte, local, whole bool) {
	s := w.sockets.at(a.relay[peer.family()].handle)
	if s == nil || s.alloc != a {
		w.drops[dropPeer]++
		return
	}
	if !a.account.take(w.now, len(data)) {
		w.drops[dropRate]++
		return
	}
	a.toPeer.add(len(data))
	w.relayed[0].add(len(data))
	if local {
		w.deliver(s, peer, data)
		return
	}
	w.path.toPeer(s, peer, data, whole)
}

// fromPeer relays a datagram of n bytes, which begins at headroom in slot and has tailroom after it, to the client of s.
func (w *worker) fromPeer(s *socket, from endpoint, slot []byte, n int) {
	a := s.alloc
	if a.expires <= w.now || !a.permitted(from.ip, w.now) {
		w.drops[dropNoPermission]++
		return
	}
	if !a.account.take(w.now, n) {
		w.drops[dropRate]++
		return
	}
	var b []byte
	if c := a.channelByPeer(from, w.now); c != nil {
		b = slot[headroom-channelHeader : headroom+n]
		binary.BigEndian.PutUint16(b, c.number)
		binary.BigEndian.PutUint16(b[2:], uint16(n))
		if s.route.stream != nil { // RFC 8656 section 12.5
			b = pad(b)
		}
	} else {
		b = w.indication(from, slot, n)
	}
	a.toClient.add(n)
	w.relayed[1].add(n)
	w.toClient(&s.route, b)
}

// indication makes a Data indication round the datagram in slot (RFC 8656 section 11.4), without making garbage.
func (w *worker) indication(from endpoint, slot []byte, n int) []byte {
	address := 8
	ip := from.ip[12:]
	if from.family() == ipv6 {
		address, ip = 20, from.ip[:]
	}
	const attribute = 4
	begin := headroom - attribute - address - attribute - stunHeader
	b := pad(slot[begin : headroom+n])
	const dataIndication, xorPeerAddress, data = 0x0017, 0x0012, 0x0013
	binary.BigEndian.PutUint16(b, dataIndication)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-stunHeader))
	binary.BigEndian.PutUint32(b[4:], magicCookie)
	binary.BigEndian.PutUint32(b[8:], uint32(w.random.Uint64()))
	binary.BigEndian.PutUint64(b[12:], w.random.Uint64())
	at := b[stunHeader:]
	binary.BigEndian.PutUint16(at, xorPeerAddress)
	binary.BigEndian.PutUint16(at[2:], uint16(address))
	at[4], at[5] = 0, from.family().wire()
	binary.BigEndian.PutUint16(at[6:], from.port^magicCookie>>16)
	for i := range ip {
		at[8+i] = ip[i] ^ b[4+i] // cookie and transaction id, as they stand
	}
	at = at[attribute+address:]
	binary.BigEndian.PutUint16(at, data)
	binary.BigEndian.PutUint16(at[2:], uint16(n))
	return b
}

// pad makes b longer up to a multiple of 4, in place.
func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0) // tailroom
	}
	return b
}

func (w *worker) toClient(r *route, b []byte) {
	if r.stream == nil {
		w.path.toClient(r, b)
	} else if !r.stream.out.put(b) {
		w.drops[dropSlowClient]++
	}
}

// stun has the control plane answer, and does what it says.
func (w *worker) stun(r *route, b []byte) {
	req := request{message: b, from: r.tuple, transport: r.transport, now: w.now, wall: w.s.cfg.Now()}
	res := w.s.handler.handle(w.table, req, w.reply[:0])
	w.perform(r, &res)
	for res.open != nil {
		o := res.open
		handle, err := w.open(o, r)
		res = w.s.handler.opened(w.table, o, handle, err, w.reply[:0])
		w.perform(r, &res)
		if r.stream != nil && res.open == nil {
			r.stream.allocated.Store(w.table.find(r.tuple) != nil)
		}
	}
}

// perform does what a result says, up to what it wants opened.
func (w *worker) perform(r *route, res *result) {
	if res.ended != nil {
		w.closed(res.ended, res.why)
	}
	if res.shrunk != nil {
		w.close(res.shrunk, res.dropped.handle)
	}
	if len(res.reply) > 0 {
		if r.stream == nil {
			w.path.answer(r, res.reply)
		} else {
			w.toClient(r, res.reply)
		}
	}
	if res.data != nil {
		w.send(res.sender, res.peer, res.data, res.local, res.whole)
	}
}

// open binds a relay socket.
func (w *worker) open(o *opening, r *route) (int32, error) {
	s := &socket{alloc: o.alloc, public: endpointOf(o.relay), route: *r}
	w.sockets.add(s)
	at := netip.AddrPortFrom(w.s.bindAddr(o.relay.Addr()), o.relay.Port())
	if err := w.path.open(s, at); err != nil {
		w.sockets.remove(s.handle)
		w.s.log.Debug("relay port not available", logkey.Address, at.String(), logkey.Error, err)
		return 0, err
	}
	w.s.homes.set(s.public, home{worker: w.index, handle: s.handle})
	return s.handle, nil
}

// close closes a relay socket of an allocation, and gives it, or nil if there is none.
func (w *worker) close(a *allocation, handle int32) *socket {
	s := w.sockets.at(handle)
	if s == nil || s.alloc != a {
		return nil
	}
	w.s.homes.set(s.public, home{})
	w.path.close(s)
	w.sockets.remove(handle)
	return s
}

// closed frees what the edge has of an allocation that the control plane has forgotten, and tells who wants to know.
func (w *worker) closed(a *allocation, why EndReason) {
	for f := range families {
		if s := w.close(a, a.relay[f].handle); s != nil && s.route.stream != nil {
			s.route.stream.released()
		}
	}
	w.s.ended(a, why, w.now)
}

// end ends an allocation for a reason of the edge.
func (w *worker) end(a *allocation, why EndReason) {
	w.s.handler.end(w.table, a, w.now)
	w.closed(a, why)
}

// endAll ends all allocations, and hands in what was counted.
func (w *worker) endAll(why EndReason) {
	for _, a := range slices.Clone(w.table.list) {
		w.end(a, why)
	}
	w.count()
}

// fromStream takes the whole messages that a stream has read, and its end.
func (w *worker) fromStream(s *stream) {
	for b := s.whole; len(b) > 0; {
		size, err := frameSize(b)
		if err != nil || size == 0 || size > len(b) {
			break // the stream looked before
		}
		w.fromClient(&s.route, b[:size])
		b = b[size:]
	}
	if s.over {
		if a := w.table.find(s.route.tuple); a != nil {
			w.end(a, EndDisconnected)
		}
	}
}

// untilTick is how long there is nothing to do if nothing comes.
func (w *worker) untilTick() time.Duration {
	return max(0, time.Duration(w.ticked+tickEvery-w.now))
}

// tick does now and then what has no packet to begin it.
func (w *worker) tick() {
	if w.now < w.ticked+tickEvery {
		return
	}
	w.ticked = w.now
	w.s.handler.sweep(w.table, w.now, func(a *allocation) { w.closed(a, EndExpired) })
	w.count()
}

// count hands in what was counted since the last time.
func (w *worker) count() {
	m := &w.s.metrics
	for i, direction := range []string{toPeer, toClient} {
		if t := &w.relayed[i]; t.Packets > 0 {
			m.packets.Add(float64(t.Packets), direction)
			m.bytes.Add(float64(t.Bytes), direction)
			*t = Traffic{}
		}
	}
	if n := w.path.lost(); n > 0 {
		w.drops[dropSend] += n
	}
	for reason, n := range w.drops {
		if n > 0 {
			m.dropped.Add(float64(n), reason)
			w.drops[reason] = 0
		}
	}
}
