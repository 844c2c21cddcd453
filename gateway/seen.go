package gateway

import (
	"errors"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// seenIDs knows the message ids that rules took with `id:`, and those of announced events: one id a device is taken once within
// 24 h. The router goroutine owns it.
type seenIDs struct {
	store Store
	fresh map[string]bool // not yet certain to be in the store
	order []string
	bytes map[string]map[ids.DeviceID]int // that are stored, by day and device
	all   int                             // of all of them
}

// So many bytes of ids are stored, and so many of one device. Beyond, an id is not remembered: what comes again is taken again.
const (
	maxIDBytes   = 48 << 20
	maxIDBytesOf = 12 << 20
	idOverhead   = 40 // bytes that the store needs besides the key
)

func loadSeenIDs(s Store) (*seenIDs, error) {
	t := &seenIDs{store: s, fresh: map[string]bool{}, bytes: map[string]map[ids.DeviceID]int{}}
	err := s.Each(spaceIDs, "", func(key string, _ []byte) error {
		t.count(key)
		return nil
	})
	return t, err
}

// Ids are kept by UTC day; today's and yesterday's count, so an id is known for 24 to 48 h.
func idKey(day time.Time, d ids.DeviceID, id string) string {
	return idDay(day) + "/" + string(d) + "/" + shorten([]byte(id))
}

func idDay(t time.Time) string { return t.UTC().Format("20060102") }

// count notes what a key takes.
func (s *seenIDs) count(key string) {
	day, rest, _ := strings.Cut(key, "/")
	device, _, _ := strings.Cut(rest, "/")
	if s.bytes[day] == nil {
		s.bytes[day] = map[ids.DeviceID]int{}
	}
	s.bytes[day][ids.DeviceID(device)] += len(key) + idOverhead
	s.all += len(key) + idOverhead
}

// full says whether no more ids of a device are stored.
func (s *seenIDs) full(d ids.DeviceID) bool {
	own := 0
	for _, devices := range s.bytes {
		own += devices[d]
	}
	return own >= maxIDBytesOf || s.all >= maxIDBytes
}

// seen says whether a device said this id before. A store that can't be read makes the message a new one: the commit that follows
// fails then.
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

// add remembers an id in the commit of b; false when there is no room for it.
func (s *seenIDs) add(b *batch, d ids.DeviceID, id string, now time.Time) bool {
	for day, devices := range s.bytes {
		if day >= idDay(now.AddDate(0, 0, -1)) {
			continue
		}
		for _, n := range devices { // forgetOldIDs takes them out of the store
			s.all -= n
		}
		delete(s.bytes, day)
	}
	if s.full(d) {
		return false
	}
	key := idKey(now, d, id)
	s.count(key)
	s.fresh[key] = true
	s.order = append(s.order, key)
	if len(s.order) > 4*batchRecords { // older ones were committed
		delete(s.fresh, s.order[0])
		s.order = s.order[1:]
	}
	b.change.Put = append(b.change.Put, lane.Item{Space: spaceIDs, Key: key, Value: []byte{1}})
	return true
}

// isNew says whether a device says an id for the first time, and remembers it.
func (g *Gateway) isNew(b *batch, d ids.DeviceID, id string, now time.Time) bool {
	if g.ids.seen(d, id, now) {
		g.metrics.repeated.Inc("id")
		return false
	}
	if !g.ids.add(b, d, id, now) {
		g.Alert("The device "+string(d)+" gives its messages more ids than I can remember, so one that it sends again may be posted again.", "ids "+string(d))
	}
	return true
}

// forgetOldIDs gives a commit that deletes some ids from before yesterday; empty when there are none.
func forgetOldIDs(s Store, now time.Time) (lane.Change, error) {
	var c lane.Change
	limit := idDay(now.AddDate(0, 0, -1))
	err := s.Each(spaceIDs, "", func(key string, _ []byte) error {
		if key >= limit || len(c.Put) >= batchRecords {
			return errEnough
		}
		c.Put = append(c.Put, lane.Item{Space: spaceIDs, Key: key})
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return c, err
}
