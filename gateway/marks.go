package gateway

import (
	"encoding/binary"
	"hash/fnv"
	"sync"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
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
// with an outside broker dies when its packet id comes again without DUP, since brokers number on and on. The marks of
// the latest batches are in the store until a second after their acknowledgements, so that a crash between commit and
// acknowledgement makes no double. Safe for concurrent use.
type marks struct {
	mu      sync.Mutex
	live    map[markKey]uint64
	own     []markKey // those of our own session in order of age
	pending []mark    // of batches whose acknowledgements are not known to be out: what the store holds
	stored  bool
}

type markKey struct {
	client string
	packet uint16
}

// At most so many marks of our own session; a broker has fewer in flight.
const maxOwnMarks = 4096

const marksKey = "latest"

func loadMarks(s Store) (*marks, error) {
	k := &marks{live: map[markKey]uint64{}}
	b, ok, err := s.Get(spaceMarks, marksKey)
	if err != nil || !ok {
		return k, err
	}
	for len(b) >= 11 {
		n := int(b[10])
		if len(b) < 11+n {
			break
		}
		k.live[markKey{string(b[11 : 11+n]), binary.BigEndian.Uint16(b[8:])}] = binary.BigEndian.Uint64(b)
		b = b[11+n:]
	}
	k.stored = true
	return k, nil
}

// seen says whether m is a repetition. If not, it takes the place of what had its packet id.
func (k *marks) seen(m mark, dup bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := markKey{m.client, m.packet}
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
	if len(fresh) == 0 && !k.stored {
		return nil
	}
	var b []byte
	for _, list := range [][]mark{k.pending, fresh} {
		for _, m := range list {
			if len(m.client) > 255 {
				continue // a resend after a crash is taken again
			}
			b = binary.BigEndian.AppendUint64(b, m.hash)
			b = binary.BigEndian.AppendUint16(b, m.packet)
			b = append(append(b, byte(len(m.client))), m.client...)
		}
	}
	k.pending = append(k.pending, fresh...)
	k.stored = true
	return []lane.Item{{Space: spaceMarks, Key: marksKey, Value: b}}
}

// acked says that the acknowledgements of a batch are on their way.
func (k *marks) acked(done []mark) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pending = k.pending[min(len(done), len(k.pending)):] // batches end in their order
	for _, m := range done {
		if key := (markKey{m.client, m.packet}); m.client != "" && k.live[key] == m.hash {
			delete(k.live, key)
		}
	}
}

// clear is what makes the store forget marks whose acknowledgements are out; nil when there is nothing to forget.
func (k *marks) clear() []lane.Item {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.stored || len(k.pending) > 0 {
		return nil
	}
	k.stored = false
	return []lane.Item{{Space: spaceMarks, Key: marksKey}}
}

// seenIDs knows the message ids that rules took with `id:`: one id a device is taken once within 24 h.
type seenIDs struct {
	store Store
	fresh map[string]bool // not yet certain to be in the store
	order []string
}

// Ids are kept by UTC day; today's and yesterday's count, so an id is known for 24 to 48 h.
func idKey(day time.Time, d ids.DeviceID, id string) string {
	return day.UTC().Format("20060102") + "/" + string(d) + "/" + shorten([]byte(id))
}

// Only the router goroutine calls seen and add. A store that can't be read makes the message a new one: the commit that
// follows fails then.
func (s *seenIDs) seen(d ids.DeviceID, id string, now time.Time) bool {
	for _, day := range []time.Time{now, now.AddDate(0, 0, -1)} {
		key := idKey(day, d, id)
		if s.fresh[key] {
			return true
		}
		if _, ok, err := s.store.Get(spaceIDs, key); ok && err == nil {
			return true
		}
	}
	return false
}

func (s *seenIDs) add(d ids.DeviceID, id string, now time.Time) lane.Item {
	key := idKey(now, d, id)
	s.fresh[key] = true
	s.order = append(s.order, key)
	if len(s.order) > 4*batchRecords { // older ones were committed
		delete(s.fresh, s.order[0])
		s.order = s.order[1:]
	}
	return lane.Item{Space: spaceIDs, Key: key, Value: []byte{1}}
}

// forgetOld gives a commit that deletes some ids from before yesterday; empty when there are none.
func forgetOldIDs(s Store, now time.Time) (lane.Change, error) {
	var c lane.Change
	limit := now.UTC().AddDate(0, 0, -1).Format("20060102")
	enough := errEnough
	err := s.Each(spaceIDs, "", func(key string, _ []byte) error {
		if key >= limit || len(c.Put) >= batchRecords {
			return enough
		}
		c.Put = append(c.Put, lane.Item{Space: spaceIDs, Key: key})
		return nil
	})
	if err == enough { //nolint:errorlint // our own value, never wrapped
		err = nil
	}
	return c, err
}
