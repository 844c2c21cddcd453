package store

import (
	"bytes"

	"go.etcd.io/bbolt"

	"github.com/gatepost/gatepost/gateway/lane"
)

// spaceKey is the key of a value in the bucket of all spaces.
func spaceKey(space, key string) []byte {
	k := make([]byte, 0, len(space)+1+len(key))
	return append(append(append(k, space...), 0), key...)
}

// put sets or, with a nil value, deletes one value.
func (b *batch) put(item lane.Item) error {
	key := spaceKey(item.Space, item.Key)
	if item.Value == nil {
		return b.spaces.Delete(key)
	}
	return b.spaces.Put(key, b.keep(func(dst []byte) []byte { return seal(dst, item.Value) }))
}

// Get returns a copy of a value; ok is false when there is none, or when it was damaged (it is set aside then). Safe for
// concurrent use.
func (s *Store) Get(space, key string) (value []byte, ok bool, err error) {
	if err := checkKey(space, key); err != nil {
		return nil, false, err
	}
	name, k := buckets().spaces, spaceKey(space, key)
	damaged := false
	err = s.view(func(tx *bbolt.Tx) error {
		sealed := tx.Bucket(name).Get(k)
		if sealed == nil {
			return nil
		}
		payload, err := unseal(sealed)
		if err != nil {
			damaged = true
			return nil
		}
		value, ok = append([]byte{}, payload...), true
		return nil
	})
	if damaged {
		s.dropDamaged(name, [][]byte{k}, unsealed)
	}
	return value, ok, err
}

// Each calls f for the keys that begin with prefix, in order, with values that live until f returns. f must not call the
// Store. An error of f ends it and comes back. Damaged values are set aside and left out. Safe for concurrent use.
func (s *Store) Each(space, prefix string, f func(key string, value []byte) error) error {
	if err := checkKey(space, prefix); err != nil {
		return err
	}
	name, start := buckets().spaces, spaceKey(space, prefix)
	var damaged [][]byte
	err := s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(name).Cursor()
		for k, v := c.Seek(start); bytes.HasPrefix(k, start); k, v = c.Next() {
			payload, err := unseal(v)
			if err != nil {
				damaged = append(damaged, bytes.Clone(k))
				continue
			}
			if err := f(string(k[len(space)+1:]), payload); err != nil {
				return err
			}
		}
		return nil
	})
	s.dropDamaged(name, damaged, unsealed)
	return err
}
