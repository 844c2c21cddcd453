//go:build goolm

package matrix

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"sync"
)

// memTable is a CryptoTable that a test can look into, make fail, and open again as it was on disk.
type memTable struct {
	mu      sync.Mutex
	rows    map[rowKey][]byte
	fail    bool // commits fail
	commits int
}

func newMemTable() *memTable { return &memTable{rows: map[rowKey][]byte{}} }

// clone is what a crash leaves.
func (t *memTable) clone() *memTable {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &memTable{rows: maps.Clone(t.rows)}
}

func (t *memTable) View(f func(CryptoRows) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return f(memRows{t.rows})
}

func (t *memTable) Commit(_ int, f func(CryptoRows) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fail {
		return errors.New("the disk is full")
	}
	rows := memRows{maps.Clone(t.rows)}
	if err := f(rows); err != nil {
		return err
	}
	t.rows = rows.rows
	t.commits++
	return nil
}

type memRows struct{ rows map[rowKey][]byte }

func (r memRows) Get(bucket string, key []byte) []byte { return r.rows[rowKey{bucket, string(key)}] }

func (r memRows) Put(bucket string, key, value []byte) error {
	r.rows[rowKey{bucket, string(key)}] = bytes.Clone(value)
	return nil
}

func (r memRows) Delete(bucket string, key []byte) error {
	delete(r.rows, rowKey{bucket, string(key)})
	return nil
}

func (r memRows) Each(bucket string, from []byte, f func(key, value []byte) bool) {
	var keys []string
	for k := range r.rows {
		if k.bucket == bucket && k.key >= string(from) {
			keys = append(keys, k.key)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !f([]byte(k), r.rows[rowKey{bucket, k}]) {
			return
		}
	}
}
