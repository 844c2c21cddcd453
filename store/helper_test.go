package store

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"hash/fnv"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

func marshal(v any) ([]byte, error) { return json.Marshal(v) }

// resum makes the checksums of a record whose head ends at end right.
func resum(b []byte, end int) []byte {
	binary.LittleEndian.PutUint32(b[9:], crc32.Checksum(b[end:], castagnoli()))
	binary.LittleEndian.PutUint32(b[1:], headSum(b, end))
	return b
}

// open gives a store in a folder; closing it is up to the caller, or the end of the test.
func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func commit(t testing.TB, s *Store, c lane.Change) {
	t.Helper()
	if err := s.Commit(c); err != nil {
		t.Fatal(err)
	}
}

func event(key ids.RoomKey, id string) lane.Record {
	return lane.Record{Lane: key, ID: id, Class: lane.Event, At: when(1), Post: lane.Post{Kind: lane.Text, Text: "text of " + id}}
}

// edit changes the file of a closed store.
func edit(t testing.TB, folder string, f func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(folder, fileName), 0o600, boltOptions(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(f); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// spoil flips a bit at offset (from the end if negative) of one value of a closed store.
func spoil(t testing.TB, folder string, bucket, key []byte, offset int) {
	t.Helper()
	edit(t, folder, func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		v := append([]byte(nil), b.Get(key)...)
		if offset < 0 {
			offset += len(v)
		}
		v[offset] ^= 4
		return b.Put(append([]byte(nil), key...), v)
	})
}

func readFile(t testing.TB, folder string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, fileName))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, folder string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, fileName), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func fnvSum(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b)
	return h.Sum64()
}
