package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
)

func TestDamagedValuesAreSetAside(t *testing.T) {
	names := buckets()
	folder := t.TempDir()
	s := open(t, Options{Path: folder})
	commit(t, s, lane.Change{
		Append: []lane.Record{event("a", "1"), event("a", "2"), event("a", "3"), event("a", "4"), event("b", "5")},
		Put:    []lane.Item{{Space: "s", Key: "1", Value: []byte("one")}, {Space: "s", Key: "2", Value: []byte("two")}, {Space: "s", Key: "3", Value: []byte("three")}},
		Bury:   []lane.DeadLetter{{Record: event("a", "8")}, {Record: event("a", "9")}, {Record: event("a", "10")}},
	})
	if _, err := s.Accept("sync", "pos", []room.Event{{ID: "$a", Content: []byte(`{}`)}, {ID: "$b", Content: []byte(`{}`)}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		bucket, key []byte
		offset      int
	}{
		{names.records, seqKey(1), -1}, // a body
		{names.records, seqKey(2), -1},
		{names.records, seqKey(5), recordHead}, // a head
		{names.spaces, spaceKey("s", "1"), -1},
		{names.spaces, spaceKey("s", "2"), 0},
		{names.dead, seqKey(1), -1},
		{names.dead, seqKey(3), -1},
		{names.inbox, seqKey(1), -1},
		{names.positions, []byte("sync"), -1},
	} {
		spoil(t, folder, c.bucket, c.key, c.offset)
	}
	if r, err := Check(folder); err != nil || !r.Readable() || r.Damaged != 9 || len(r.Problems) != 9 || !errors.Is(r.Err(), errDamaged) {
		t.Errorf("Check says %v: %+v", err, r)
	}
	s = open(t, Options{Path: folder})
	if n := s.Damaged(); n != 1 {
		t.Errorf("%d set aside at Open, want that without a head", n)
	}
	var got []string
	for {
		r, ok, _, err := s.Take("a", when(1))
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if r.Gap != nil {
			got = append(got, fmt.Sprint("gap ", r.Gap.Dropped))
		} else {
			got = append(got, r.ID)
		}
		commit(t, s, lane.Change{Finish: []lane.Ref{{Lane: "a", Seq: r.Seq}}})
	}
	if fmt.Sprint(got) != "[gap map[event:1] gap map[event:1] 3 4]" {
		t.Errorf("the lane gave %v", got)
	}
	if _, ok, _, err := s.Take("b", when(1)); ok || err != nil {
		t.Errorf("the record without a head: %v, %v", ok, err)
	}
	if _, ok, err := s.Get("s", "1"); ok || err != nil {
		t.Errorf("damaged value: %v, %v", ok, err)
	}
	var keys []string
	if err := s.Each("s", "", func(key string, _ []byte) error { keys = append(keys, key); return nil }); err != nil || fmt.Sprint(keys) != "[3]" {
		t.Errorf("%v: %v", err, keys)
	}
	letters, err := s.DeadLetters(0, 10)
	if err != nil || len(letters) != 1 || letters[0].Record.ID != "9" {
		t.Errorf("%v: %v", err, letters)
	}
	if events, err := s.Events(0, 10); err != nil || len(events) != 1 || events[0].ID != "$b" {
		t.Errorf("%v: %v", err, events)
	}
	if p, err := s.Position("sync"); p != "" || err != nil {
		t.Errorf("position %q, %v", p, err)
	}
	if n := s.Damaged(); n != 9 {
		t.Errorf("%d set aside", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Check(folder); err != nil || r.Err() != nil || r.Aside != 9 {
		t.Errorf("afterwards Check says %v: %+v", err, r)
	}
}

func TestDamagedGapMarkerKeepsItsNumber(t *testing.T) {
	folder := t.TempDir()
	s := open(t, Options{Path: folder})
	gap := lane.Gap{Dropped: map[lane.Class]int{lane.Event: 7}, From: when(1), To: when(2)}
	commit(t, s, lane.Change{Append: []lane.Record{{Lane: "a", ID: "1", Class: lane.Event, At: when(2), Gap: &gap}}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	spoil(t, folder, buckets().records, seqKey(1), -1)
	s = open(t, Options{Path: folder})
	r, ok, _, err := s.Take("a", when(3))
	if err != nil || !ok || r.Gap == nil || r.Gap.Count() != 7 || s.Damaged() != 1 {
		t.Errorf("%v, %v: %+v, %d set aside", ok, err, r, s.Damaged())
	}
}

func TestMergeIntoDamagedRecord(t *testing.T) {
	folder := t.TempDir()
	state := lane.Record{Lane: "a", ID: "1", Class: lane.State, Key: "k", At: when(1)}
	s := open(t, Options{Path: folder})
	commit(t, s, lane.Change{Append: []lane.Record{state}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	spoil(t, folder, buckets().records, seqKey(1), -1)
	s = open(t, Options{Path: folder})
	state.ID = "2"
	commit(t, s, lane.Change{Append: []lane.Record{state}})
	records, err := s.Records("a", 10)
	if err != nil || len(records) != 2 || records[0].Gap == nil || records[1].ID != "2" {
		t.Errorf("%v: %+v", err, records)
	}
}

func TestBackupAndRestore(t *testing.T) {
	folder, other := t.TempDir(), filepath.Join(t.TempDir(), "new")
	s := open(t, Options{Path: folder})
	if err := s.Identify(Identity{ServerName: "x", Bot: "b", Mode: "appservice"}); err != nil {
		t.Fatal(err)
	}
	commit(t, s, lane.Change{Append: []lane.Record{event("a", "1"), event("a", "2")}})
	var b bytes.Buffer
	if n, err := s.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatal(n, err)
	}
	commit(t, s, lane.Change{Append: []lane.Record{event("a", "3")}}) // not in the snapshot
	snapshot := filepath.Join(t.TempDir(), "snapshot")
	if err := os.WriteFile(snapshot, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := CheckFile(snapshot); err != nil || r.Err() != nil || r.Records != 2 || r.Lanes != 1 {
		t.Errorf("%v: %+v", err, r)
	}
	if err := Restore(other, snapshot); err != nil {
		t.Fatal(err)
	}
	if err := Restore(other, snapshot); !errors.Is(err, ErrExists) {
		t.Errorf("a second time: %v", err)
	}
	restored := open(t, Options{Path: other})
	if l := restored.Lanes(); len(l) != 1 || l[0].Records != 2 {
		t.Errorf("restored %v", l)
	}
	if err := os.WriteFile(snapshot, b.Bytes()[:20_000], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Restore(filepath.Join(other, "none"), snapshot); !errors.Is(err, ErrCorrupt) {
		t.Errorf("half a snapshot: %v", err)
	}
	if _, err := CheckFile(filepath.Join(other, "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no snapshot: %v", err)
	}
}

func TestIdentity(t *testing.T) {
	folder := t.TempDir()
	s := open(t, Options{Path: folder})
	if _, ok, err := s.Identity(); ok || err != nil {
		t.Errorf("a new store: %v, %v", ok, err)
	}
	id := Identity{ServerName: "example.org", Bot: "gatepost", Mode: "appservice"}
	if err := errors.Join(s.Identify(id), s.Identify(id), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Path: folder})
	other := id
	other.ServerName = "example.com"
	var told OtherIdentityError
	if err := s.Identify(other); !errors.As(err, &told) || told.Have != id || told.Want != other {
		t.Errorf("got %v", err)
	}
	if have, ok, err := s.Identity(); !ok || err != nil || have != id {
		t.Errorf("%v, %v: %+v", ok, err, have)
	}
}

// grown makes a store whose file is mostly free.
func grown(t *testing.T, folder string, mib int) {
	t.Helper()
	s := open(t, Options{Path: folder, LaneBytes: 64 << 20})
	var c lane.Change
	var refs []lane.Ref
	for i := range mib {
		r := event("a", fmt.Sprint(i))
		r.Post.Data = make([]byte, 1<<20)
		c.Append = append(c.Append, r)
		refs = append(refs, lane.Ref{Lane: "a", Seq: uint64(i + 1)})
	}
	c.Append = append(c.Append, event("a", "last"))
	commit(t, s, c)
	commit(t, s, lane.Change{Finish: refs})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCompact(t *testing.T) {
	folder := t.TempDir()
	grown(t, folder, 6)
	before, after, err := Compact(folder)
	if err != nil || before < 6<<20 || after > 2<<20 {
		t.Errorf("%v: from %d to %d bytes", err, before, after)
	}
	s := open(t, Options{Path: folder})
	commit(t, s, lane.Change{Append: []lane.Record{event("a", "new")}})
	records, err := s.Records("a", 10)
	if err != nil || len(records) != 2 || records[0].ID != "last" || records[1].Seq != 8 {
		t.Errorf("%v: %d records", err, len(records))
	}
}

func TestOpenMakesTheFileSmaller(t *testing.T) {
	folder := t.TempDir()
	grown(t, folder, compactFrom>>20)
	s := open(t, Options{Path: folder})
	if size, err := s.Size(); err != nil || size.File > 4<<20 || size.Used > size.File {
		t.Errorf("%v: %+v", err, size)
	}
	if r, ok, _, err := s.Take("a", when(1)); !ok || err != nil || r.ID != "last" {
		t.Errorf("%v, %v: %s", ok, err, r.ID)
	}
}
