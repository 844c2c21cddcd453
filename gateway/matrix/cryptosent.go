//go:build goolm

package matrix

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

// sentRow is what a record became when it was encrypted. It is kept until the record is surely out of its lane, so that
// a retry sends the same bytes, and a send whose answer was not seen can be looked for.
type sentRow struct {
	Record  string
	Content json.RawMessage // of the m.room.encrypted event
	Of      []byte          // keyed hash of what was encrypted
	Room    ids.RoomID
	At      time.Time
}

// hash is a keyed hash of what is to be encrypted.
func (s *cryptoStore) hash(kind string, plain []byte) []byte {
	h := hmac.New(sha256.New, s.seal.names)
	h.Write([]byte(kind))
	h.Write([]byte{0})
	h.Write(plain)
	return h.Sum(nil)
}

func (s *cryptoStore) putSent(record string, r sentRow) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was, ok := s.bySum[record]; ok {
		delete(s.records, was)
	}
	sum := sumOf(r.Content)
	s.records[sum], s.bySum[record] = record, sum
	return s.put(bucketSent, s.key(record), r)
}

// sumOf tells ciphertexts apart.
func sumOf(content json.RawMessage) [sha256.Size]byte {
	var o object
	_ = json.Unmarshal(content, &o) // ours
	return sha256.Sum256([]byte(o.text("ciphertext")))
}

// loadSent reads what was on its way when the last process ended, and forgets what is too old to be.
func (s *cryptoStore) loadSent(ctx context.Context, now time.Time) error {
	return s.each(ctx, bucketSent, nil, func(key, raw []byte) error {
		var r sentRow
		s.mu.Lock()
		defer s.mu.Unlock()
		if json.Unmarshal(raw, &r) != nil || now.Sub(r.At) > maxOnItsWay {
			s.set(bucketSent, key, nil)
			return nil
		}
		sum := sumOf(r.Content)
		s.records[sum], s.bySum[r.Record] = r.Record, sum
		return nil
	})
}

// maxOnItsWay is how long what a record became is kept when nothing is heard of it: then it is encrypted again.
const maxOnItsWay = 30 * 24 * time.Hour

// recordOf is the record that became a ciphertext; "" when it is none that may be on its way.
func (s *cryptoStore) recordOf(ciphertext string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[sha256.Sum256([]byte(ciphertext))]
}

func (s *cryptoStore) sent(record string) (r sentRow, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.bySum[record]; !ok {
		return r, false, nil
	}
	ok, err = s.get(bucketSent, s.key(record), &r)
	return r, ok, err
}

func (s *cryptoStore) dropSent(record string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, s.bySum[record])
	delete(s.bySum, record)
	s.set(bucketSent, s.key(record), nil)
}
