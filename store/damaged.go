package store

import (
	"bytes"

	"go.etcd.io/bbolt"

	"github.com/gatepost/gatepost/internal/logkey"
)

// Of what is set aside so many are kept, the newest, and of each so many bytes: enough for a person to look at.
const (
	maxDamaged      = 1000
	maxDamagedBytes = 64 << 10
)

// putAside keeps a damaged value apart. The caller deletes or overwrites it at its old place.
func putAside(tx *bbolt.Tx, bucket, key, value []byte) (seq uint64, err error) {
	aside := tx.Bucket(buckets().damaged)
	if seq, err = aside.NextSequence(); err != nil {
		return 0, err
	}
	if seq > maxDamaged {
		if err := aside.Delete(seqKey(seq - maxDamaged)); err != nil {
			return 0, err
		}
	}
	payload := appendString(appendString(nil, string(bucket)), string(key))
	payload = append(payload, value[:min(len(value), maxDamagedBytes)]...)
	return seq, aside.Put(seqKey(seq), seal(nil, payload))
}

func (b *batch) putAside(bucket, key, value []byte, reason string) error {
	seq, err := putAside(b.tx, bucket, key, value)
	b.aside = append(b.aside, setAside{string(bucket), reason, seq})
	return err
}

// dropDamaged sets the values of the given keys of a bucket aside, if they are still bad: a writer may have been faster.
// Readers give what they can whether or not this works.
func (s *Store) dropDamaged(bucket []byte, keys [][]byte, bad func(key, value []byte) bool) {
	if len(keys) == 0 {
		return
	}
	r := s.request(func(b *batch) error {
		from := b.tx.Bucket(bucket)
		for _, key := range keys {
			value := from.Get(key)
			if value == nil || !bad(key, value) {
				continue
			}
			if err := b.putAside(bucket, key, value, "checksum"); err != nil {
				return err
			}
			if bytes.Equal(bucket, buckets().dead) {
				b.s.dead.n--
				b.s.dead.bytes -= int64(len(value))
			}
			if err := from.Delete(key); err != nil {
				return err
			}
		}
		return nil
	}, len(keys), 0)
	r.relief = true
	if err := s.do(r); err != nil {
		s.log.Error("damaged value cannot be set aside", logkey.Part, string(bucket), logkey.Error, err.Error())
	}
}

// unsealed says whether the envelope of a value is broken.
func unsealed(_, value []byte) bool {
	_, err := unseal(value)
	return err != nil
}

// Damaged is how many damaged values have been set aside since the file was made.
func (s *Store) Damaged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.damaged
}
