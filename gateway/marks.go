package gateway

import (
	"encoding/binary"
	"hash/fnv"
	"sync"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// mark remembers a message of QoS 1 or 2 that was stored while nobody knows yet whether its acknowledgement went out.
type mark struct {
	client string
	packet uint16
	hash   uint64 // of topic and payload
}

func hash(m topic.Message) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(m.Topic)) // never fails
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(m.Payload)
	return h.Sum64()
}

// marks tells a message that is sent again because its acknowledgement was lost from a new one that looks the same.
//
// A message is a repetition only when DUP is set and its packet id, topic and payload are those of a mark. A mark of a
// client of the embedded broker dies as soon as the acknowledgement was handed to its connection; one of our own session
// with an outside broker dies when its packet id comes again without DUP, since brokers number on and on. In the store are
// the marks whose acknowledgements are not out or went out only lately, so that a crash makes no double, and those that
// the processes before this one left, until each of them is resolved. Safe for concurrent use.
type marks struct {
	mu      sync.Mutex
	live    map[markKey]uint64
	own     []markKey          // those of our own session in order of age
	pending []mark             // of batches whose acknowledgements are not out, in order
	recent  []mark             // acknowledged lately, at most maxRecent
	stored  bool               // the store holds pending, recent or some that were
	before  map[markKey]uint64 // left by the processes before this one
	changed bool               // before is not what the store holds of it
}

type markKey struct {
	client string
	packet uint16
}

const (
	maxOwnMarks = 4096            // of our own session; a broker has fewer in flight
	maxBefore   = 4096            // left by earlier processes
	maxRecent   = 128             // acknowledged, but perhaps not on the wire yet
	markTime    = 1 * time.Second // without a new one, after which all that were acknowledged are forgotten
)

// Where the store has them.
const (
	latestKey = "latest"
	beforeKey = "before"
)

func loadMarks(s Store) (*marks, error) {
	k := &marks{live: map[markKey]uint64{}, before: map[markKey]uint64{}}
	var all []mark
	for _, key := range []string{beforeKey, latestKey} {
		b, ok, err := s.Get(spaceMarks, key)
		if err != nil {
			return nil, err
		}
		if ok && key == latestKey {
			k.stored, k.changed = true, true
		}
		all = append(all, decodeMarks(b)...)
	}
	for _, m := range all[max(len(all)-maxBefore, 0):] {
		k.live[m.key()], k.before[m.key()] = m.hash, m.hash
	}
	return k, nil
}

func (m mark) key() markKey { return markKey{m.client, m.packet} }

func appendMark(b []byte, m mark) []byte {
	if len(m.client) > 255 {
		return b // a resend after a crash is taken again
	}
	b = binary.BigEndian.AppendUint64(b, m.hash)
	b = binary.BigEndian.AppendUint16(b, m.packet)
	return append(append(b, byte(len(m.client))), m.client...)
}

func decodeMarks(b []byte) (list []mark) {
	for len(b) >= 11 && len(b) >= 11+int(b[10]) {
		end := 11 + int(b[10])
		list = append(list, mark{hash: binary.BigEndian.Uint64(b), packet: binary.BigEndian.Uint16(b[8:]), client: string(b[11:end])})
		b = b[end:]
	}
	return list
}

// seen says whether m is a repetition. If not, it takes the place of what had its packet id.
func (k *marks) seen(m mark, dup bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := m.key()
	if _, ok := k.before[key]; ok { // from now on it is one of the latest
		delete(k.before, key)
		k.changed = true
	}
	h, ok := k.live[key]
	if dup && ok && h == m.hash {
		return true
	}
	k.live[key] = m.hash
	if m.client == "" && !ok {
		k.own = append(k.own, key)
		if len(k.own) > maxOwnMarks {
			delete(k.live, k.own[0])
			k.own = k.own[1:]
		}
	}
	return false
}

// items is what the commit of a batch with the marks fresh puts into the store.
func (k *marks) items(fresh []mark) []lane.Item {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(fresh) == 0 {
		return nil
	}
	k.pending = append(k.pending, fresh...)
	k.stored = true
	var b []byte
	for _, list := range [][]mark{k.recent, k.pending} {
		for _, m := range list {
			b = appendMark(b, m)
		}
	}
	return append(k.left(), lane.Item{Space: spaceMarks, Key: latestKey, Value: b})
}

// left is what brings the store's list of those before us up to date.
func (k *marks) left() []lane.Item {
	if !k.changed {
		return nil
	}
	k.changed = false
	var b []byte
	for key, hash := range k.before {
		b = appendMark(b, mark{key.client, key.packet, hash})
	}
	return []lane.Item{{Space: spaceMarks, Key: beforeKey, Value: b}}
}

// acked says that the acknowledgements of a batch are on their way.
func (k *marks) acked(done []mark) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pending = k.pending[len(done):] // batches end in their order
	k.recent = append(k.recent, done...)
	k.recent = k.recent[max(len(k.recent)-maxRecent, 0):]
	for _, m := range done {
		if m.client != "" && k.live[m.key()] == m.hash {
			delete(k.live, m.key())
		}
	}
}

// clear is what makes the store forget marks whose acknowledgements are out; nil when there is nothing to forget. again
// says that some are not out.
func (k *marks) clear() (items []lane.Item, again bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.stored || len(k.pending) > 0 {
		return nil, k.stored
	}
	k.stored, k.recent = false, nil
	return append(k.left(), lane.Item{Space: spaceMarks, Key: latestKey}), false
}
