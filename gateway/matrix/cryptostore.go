//go:build goolm

package matrix

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"

	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/internal/logkey"
)

// cryptoStore is mautrix's crypto.Store over a CryptoTable. What is changed is seen at once by whoever reads, and is durable
// when Flush returns nil: the requests of the machine flush before they go out (flushed), so nothing that the network saw
// follows from what a crash can undo. All that was changed since the last Flush is one commit.
//
// Rows are sealed; a row that can't be opened or read is as if it was not there. Safe for concurrent use.
type cryptoStore struct {
	table CryptoTable
	seal  *sealer
	log   *slog.Logger

	flush sync.Mutex // held during a commit; taken before mu

	mu      sync.Mutex
	pending map[rowKey][]byte // changed since the last commit; nil is deleted
	leaving map[rowKey][]byte // being committed

	// Who encrypts changes the session it was given, so there is one of each in memory.
	account  *crypto.OlmAccount
	olm      map[id.SenderKey]crypto.OlmSessionList
	outbound map[id.RoomID]*crypto.OutboundGroupSession
	outdated map[id.UserID]bool // users whose devices may have changed
	tracked  map[id.UserID]bool // users whose devices are known, as far as their rows were looked at
	lists    int                // see peopleRow

	records map[[sha256.Size]byte]string // what may be on its way, by the sum of its ciphertext
	bySum   map[string][sha256.Size]byte
}

var _ crypto.Store = (*cryptoStore)(nil)

type rowKey struct {
	bucket, key string
}

// pickleKey closes mautrix's own form of sessions within the rows, which are sealed anyway.
const pickleKey = "gatepost"

const rowCheck, checkText = "check", "gatepost"

// openCryptoStore reads what is in memory all the time. ErrWrongKey: the file was written with another key.
func openCryptoStore(table CryptoTable, key []byte, log *slog.Logger) (*cryptoStore, error) {
	seal, err := newSealer(key)
	if err != nil {
		return nil, err
	}
	s := &cryptoStore{
		table: table, seal: seal, log: log, pending: map[rowKey][]byte{},
		olm: map[id.SenderKey]crypto.OlmSessionList{}, outbound: map[id.RoomID]*crypto.OutboundGroupSession{}, outdated: map[id.UserID]bool{}, tracked: map[id.UserID]bool{},
		records: map[[sha256.Size]byte]string{}, bySum: map[string][sha256.Size]byte{},
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	var outdated []id.UserID
	if _, err := s.get(bucketSelf, s.key(rowOutdated), &outdated); err != nil {
		return nil, err
	}
	for _, u := range outdated {
		s.outdated[u] = true
	}
	if _, err := s.get(bucketSelf, s.key(rowLists), &s.lists); err != nil {
		return nil, err
	}
	return s, nil
}

// check makes sure that the key is the one that the file was written with. The row's key does not depend on it.
func (s *cryptoStore) check() error {
	key := []byte(rowCheck)
	var sealed []byte
	if err := s.table.View(func(r CryptoRows) error {
		sealed = bytes.Clone(r.Get(bucketSelf, key))
		return nil
	}); err != nil {
		return err
	}
	if sealed == nil {
		return s.table.Commit(64, func(r CryptoRows) error {
			return r.Put(bucketSelf, key, s.seal.seal(bucketSelf, key, []byte(checkText)))
		})
	}
	if text, err := s.seal.open(bucketSelf, key, sealed); err != nil || string(text) != checkText {
		return ErrWrongKey
	}
	return nil
}

// Flush makes all that was changed durable.
func (s *cryptoStore) Flush(context.Context) error {
	s.flush.Lock()
	defer s.flush.Unlock()
	s.mu.Lock()
	if len(s.pending) == 0 {
		s.mu.Unlock()
		return nil
	}
	s.leaving, s.pending = s.pending, map[rowKey][]byte{}
	leaving := s.leaving
	s.mu.Unlock()

	size := 0
	for k, v := range leaving {
		size += len(k.key) + len(v)
	}
	err := s.table.Commit(size, func(r CryptoRows) error {
		var err error
		for k, v := range leaving {
			if v == nil {
				err = r.Delete(k.bucket, []byte(k.key))
			} else {
				err = r.Put(k.bucket, []byte(k.key), s.seal.seal(k.bucket, []byte(k.key), v))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = nil
	if err != nil { // what was changed since then counts
		maps.Copy(leaving, s.pending)
		s.pending = leaving
		return fmt.Errorf("matrix: keep keys: %w", err)
	}
	return nil
}

// set changes a row. s.mu is held.
func (s *cryptoStore) set(bucket string, key, value []byte) {
	s.pending[rowKey{bucket, string(key)}] = value
}

// put changes a row to v as JSON. s.mu is held.
func (s *cryptoStore) put(bucket string, key []byte, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	s.set(bucket, key, raw)
	return nil
}

// raw is the value of a row, nil when there is none or it can't be opened. s.mu is held.
func (s *cryptoStore) raw(bucket string, key []byte) ([]byte, error) {
	k := rowKey{bucket, string(key)}
	for _, changed := range []map[rowKey][]byte{s.pending, s.leaving} {
		if v, ok := changed[k]; ok {
			return v, nil
		}
	}
	var value []byte
	err := s.table.View(func(r CryptoRows) error {
		sealed := r.Get(bucket, key)
		if sealed == nil {
			return nil
		}
		var err error
		value, err = s.seal.open(bucket, key, sealed)
		return err
	})
	if errors.Is(err, errSealed) {
		s.lost(bucket, err)
		return nil, nil
	}
	return value, err
}

// get reads a row that put wrote; ok is false when there is none or it can't be read. s.mu is held.
func (s *cryptoStore) get(bucket string, key []byte, into any) (ok bool, err error) {
	raw, err := s.raw(bucket, key)
	if err != nil || raw == nil {
		return false, err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		s.lost(bucket, err)
		return false, nil
	}
	return true, nil
}

func (s *cryptoStore) lost(bucket string, err error) {
	s.log.Error("a key can't be read and is as if it was not there", logkey.Part, bucket, logkey.Error, err)
}

// each calls f for every row of a bucket whose key begins with prefix, after a Flush. s.mu is not held; f may take it.
func (s *cryptoStore) each(ctx context.Context, bucket string, prefix []byte, f func(key, value []byte) error) error {
	if err := s.Flush(ctx); err != nil {
		return err
	}
	type row struct{ key, value []byte }
	var rows []row
	err := s.table.View(func(r CryptoRows) error {
		r.Each(bucket, prefix, func(key, sealed []byte) bool {
			if !bytes.HasPrefix(key, prefix) {
				return false
			}
			value, err := s.seal.open(bucket, key, sealed)
			if err != nil {
				s.lost(bucket, err)
				return true
			}
			rows = append(rows, row{bytes.Clone(key), value})
			return true
		})
		return nil
	})
	for _, r := range rows {
		if err == nil {
			err = f(r.key, r.value)
		}
	}
	return err
}

// key is the key of a row; see sealer.name.
func (s *cryptoStore) key(parts ...string) []byte { return s.seal.name(parts...) }
